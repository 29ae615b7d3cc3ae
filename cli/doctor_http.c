/* SPDX-License-Identifier: BSD-3-Clause */
/* HTTP 1.0, so that an answer is never in pieces and ends with the
 * connection. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "lib/base/os.h"

#define TIME_MS 10000u
#define ANSWER_BYTES_MAX ((size_t)64 << 20)

static int send_all(int fd, const char *text)
{
    size_t n = strlen(text);

    while (n > 0) {
        ssize_t k = write(fd, text, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return k < 0 ? -errno : -EIO;
        text += k;
        n -= (size_t)k;
    }
    return 0;
}

/* Everything up to the end, as a string; or NULL. */
static char *read_end(int fd, int *ret_err)
{
    uint64_t until = kt_now_ms() + TIME_MS;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t n = 0, cap = 0;
    char *buf = NULL;

    for (;;) {
        if (n + 1 >= cap) {
            char *more = cap < ANSWER_BYTES_MAX
                             ? realloc(buf, cap ? 2 * cap : 4096)
                             : NULL;
            if (!more) {
                *ret_err = -ENOMEM;
                break;
            }
            buf = more;
            cap = cap ? 2 * cap : 4096;
        }
        uint64_t now = kt_now_ms();
        if (now >= until || poll(&p, 1, (int)(until - now)) == 0) {
            *ret_err = -ETIMEDOUT;
            break;
        }
        ssize_t k = read(fd, buf + n, cap - n - 1);
        if (k == 0) {
            buf[n] = '\0';
            return buf;
        }
        if (k < 0 && errno != EINTR) {
            *ret_err = -errno;
            break;
        }
        n += k > 0 ? (size_t)k : 0;
    }
    free(buf);
    return NULL;
}

int doctor_http(const char *socket, const char *method, const char *target,
                const char *body, json_t **ret_json)
{
    struct kt_addr a = {.kind = KT_ADDR_UNIX};
    char head[512];
    int status = 0, err;

    if (strlen(socket) >= sizeof(a.host))
        return -ENAMETOOLONG;
    snprintf(a.host, sizeof(a.host), "%s", socket);
    int fd = kt_connect_wait(&a, TIME_MS);
    if (fd < 0)
        return fd;
    snprintf(head, sizeof(head),
             "%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
             method, target, strlen(body));
    err = send_all(fd, head);
    if (err == 0)
        err = send_all(fd, body);
    char *text = err == 0 ? read_end(fd, &err) : NULL;
    close(fd);
    if (!text)
        return err;
    const char *end = strstr(text, "\r\n\r\n");
    json_t *o = NULL;
    if (end && sscanf(text, "HTTP/%*d.%*d %d", &status) == 1 && status == 200)
        o = json_loads(end + 4, JSON_DECODE_ANY, NULL);
    free(text);
    if (!o)
        return -EPROTO;
    *ret_json = o;
    return 0;
}
