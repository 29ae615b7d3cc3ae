/* SPDX-License-Identifier: BSD-3-Clause */
/* Hostile bytes for a port: random ones, frames that begin well and end
 * badly, lengths that claim 4 GiB, connections that say nothing.
 *
 *   noise tcp:127.0.0.1:PORT SECONDS [SEED]
 *
 * Connections are few at a time and the end is by the clock. Exit 0 when it
 * could connect throughout (the victim lives), 1 otherwise. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/cursor.h"
#include "lib/base/os.h"
#include "lib/wire/msg.h"

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void say(int fd, const void *buf, size_t len)
{
    const uint8_t *p = buf;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* thrown out: as it should be */
        p += n;
        len -= (size_t)n;
    }
}

static void say_random(int fd, size_t len)
{
    uint8_t buf[4096];
    while (len > 0) {
        size_t n = len < sizeof(buf) ? len : sizeof(buf);
        for (size_t i = 0; i < n; i++)
            buf[i] = (uint8_t)draw();
        say(fd, buf, n);
        len -= n;
    }
}

/* A frame head with the right magic and the lengths given. */
static void say_head(int fd, uint8_t type, uint32_t hlen, uint32_t plen)
{
    uint8_t b[KT_FRAME_BYTES];
    struct kt_cur c = kt_cur_w(b, sizeof(b));
    kt_put_u32(&c, KT_MAGIC);
    kt_put_u8(&c, KT_PROTO);
    kt_put_u8(&c, type);
    kt_put_u16(&c, 0);
    kt_put_u32(&c, hlen);
    kt_put_u32(&c, plen);
    kt_put_u64(&c, draw());
    say(fd, b, sizeof(b));
}

/* A HELLO that is in order, then whatever comes. */
static void say_hello(int fd)
{
    uint8_t b[1024];
    struct kt_msg m = {.type = KT_MSG_HELLO};
    m.u.hello.role = (uint8_t)(1 + draw() % 4);
    m.u.hello.cls = (uint8_t)(1 + draw() % 3);
    m.u.hello.id.b[0] = (uint8_t)draw();
    memcpy(m.u.hello.name, "noise", 6);
    int n = kt_msg_encode(&m, b, sizeof(b));
    if (n > 0)
        say(fd, b, (size_t)n);
}

static void attack(int fd)
{
    switch (draw() % 7) {
    case 0:
        say_random(fd, draw() % 65536);
        break;
    case 1:
        say_head(fd, KT_MSG_HELLO, 0xffffffff, 0xffffffff);
        break;
    case 2:
        say_head(fd, (uint8_t)draw(), (uint32_t)draw(), (uint32_t)draw());
        say_random(fd, 8192);
        break;
    case 3:
        say_head(fd, KT_MSG_HELLO, 200, 0);
        say_random(fd, 200);
        break;
    case 4:
        say_hello(fd);
        say_head(fd, (uint8_t)draw(), 24 + (uint32_t)draw() % 512,
                 (uint32_t)draw() % (1u << 20));
        say_random(fd, 65536);
        break;
    case 5:
        say_hello(fd);
        say_head(fd, KT_MSG_WRITE, 100, 0xffffffffu);
        say_random(fd, 1u << 16);
        break;
    default: /* silence */
        poll(NULL, 0, 5);
        break;
    }
}

int main(int argc, char **argv)
{
    struct kt_addr a;
    if (argc < 3 || kt_addr_parse(argv[1], &a) < 0 || !kt_addr_is_local(&a)) {
        fputs("usage: noise tcp:127.0.0.1:PORT SECONDS [SEED]\n", stderr);
        return 2;
    }
    uint64_t until = kt_now_ms() + strtoull(argv[2], NULL, 10) * 1000;
    state = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)getpid();
    printf("seed %llu\n", (unsigned long long)state);
    unsigned refused = 0, done = 0;
    while (kt_now_ms() < until && refused < 50) {
        int fd = kt_connect_wait(&a, 2000);
        if (fd < 0) {
            refused++;
            poll(NULL, 0, 100);
            continue;
        }
        refused = 0;
        attack(fd);
        close(fd);
        if (++done % 64 == 0)
            poll(NULL, 0, 5);
    }
    printf("%u connections\n", done);
    return refused >= 50;
}
