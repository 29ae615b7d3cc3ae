/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses as text. Literals only: no name is ever resolved here. */
#include "lib/base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static bool is_v4(const char *host)
{
    struct in_addr a;
    return inet_pton(AF_INET, host, &a) == 1;
}

static bool is_v6(const char *host)
{
    struct in6_addr a;
    return inet_pton(AF_INET6, host, &a) == 1;
}

/* Decimal, 0 to 65535, nothing after it. */
static int port_parse(const char *text, uint16_t *ret_port)
{
    unsigned v = 0;

    if (!*text || strlen(text) > 5)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        v = v * 10 + (unsigned)(*text - '0');
    }
    if (v > 65535)
        return -EINVAL;
    *ret_port = (uint16_t)v;
    return 0;
}

static int tcp_parse(const char *text, struct kt_addr *ret_addr)
{
    struct kt_addr a = {.kind = KT_ADDR_TCP};
    bool v6 = *text == '[';
    const char *host = v6 ? text + 1 : text;
    const char *end = v6 ? strchr(host, ']') : strchr(host, ':');

    if (!end || end == host || (size_t)(end - host) >= sizeof(a.host))
        return -EINVAL;
    memcpy(a.host, host, (size_t)(end - host));
    if (v6)
        end++;
    if (*end != ':' || !(v6 ? is_v6(a.host) : is_v4(a.host)))
        return -EINVAL;
    int r = port_parse(end + 1, &a.port);
    if (r < 0)
        return r;
    *ret_addr = a;
    return 0;
}

int kt_addr_parse(const char *text, struct kt_addr *ret_addr)
{
    if (!text)
        return -EINVAL;
    if (strncmp(text, "tcp:", 4) == 0)
        return tcp_parse(text + 4, ret_addr);
    if (strncmp(text, "unix:", 5) != 0)
        return -EINVAL;

    struct kt_addr a = {.kind = KT_ADDR_UNIX};
    size_t n = strlen(text + 5);
    if (n == 0 || n >= sizeof(a.host))
        return -EINVAL;
    memcpy(a.host, text + 5, n + 1);
    *ret_addr = a;
    return 0;
}

char *kt_addr_format(const struct kt_addr *a, char ret_text[KT_ADDR_TEXT_BYTES])
{
    switch (a->kind) {
    case KT_ADDR_TCP:
        snprintf(ret_text, KT_ADDR_TEXT_BYTES,
                 strchr(a->host, ':') ? "tcp:[%s]:%u" : "tcp:%s:%u", a->host,
                 (unsigned)a->port);
        break;
    case KT_ADDR_UNIX:
        snprintf(ret_text, KT_ADDR_TEXT_BYTES, "unix:%s", a->host);
        break;
    case KT_ADDR_NONE:
    default:
        snprintf(ret_text, KT_ADDR_TEXT_BYTES, "none");
        break;
    }
    return ret_text;
}

bool kt_addr_is_local(const struct kt_addr *a)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (a->kind == KT_ADDR_UNIX)
        return true;
    if (a->kind != KT_ADDR_TCP)
        return false;
    if (inet_pton(AF_INET, a->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, a->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
