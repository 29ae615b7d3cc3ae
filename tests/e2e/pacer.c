/* SPDX-License-Identifier: BSD-3-Clause */
/* A closed-loop writer that remembers: one 4 KiB request at a time over NBD,
 * each sector stamped with its place and a number that grows, reads checked
 * against what was acknowledged, the longest time without a completion kept.
 *
 *   pacer URI --stop FILE [--sectors N] [--offset BYTES] [--flush-every N]
 *       [--pause MS]
 *
 * Runs until FILE exists (at most an hour), then reads every sector back and
 * prints one JSON line. Exit 1 when a request failed or a read was wrong. */
#include <inttypes.h>
#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 4096u
#define SECTORS_MAX 65536u
#define RUN_MS_MAX 3600000u

struct pacer {
    struct nbd_handle *nbd;
    const char *uri, *stop;
    uint64_t offset;
    uint32_t sectors, flush_every, pause_ms;
    uint64_t *stamps; /* acknowledged, per sector */
    uint64_t next, seed, ops, errors, wrong;
    uint64_t last_ms, longest_ms;
};

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t draw(struct pacer *p)
{
    uint64_t z = p->seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void fill(uint64_t *buf, uint64_t place, uint64_t stamp)
{
    for (size_t i = 0; i < SECTOR / 8; i += 2) {
        buf[i] = place * 1000003 + i;
        buf[i + 1] = stamp;
    }
}

static void completed(struct pacer *p)
{
    uint64_t now = now_ms();
    uint64_t gap = now - p->last_ms;
    p->longest_ms = gap > p->longest_ms ? gap : p->longest_ms;
    p->last_ms = now;
    p->ops++;
}

static void failed(struct pacer *p, const char *what)
{
    p->errors++;
    fprintf(stderr, "pacer: %s: %s\n", what, nbd_get_error());
}

static void write_one(struct pacer *p)
{
    static uint64_t buf[SECTOR / 8];
    uint64_t at = draw(p) % p->sectors;
    uint64_t stamp = ++p->next;
    uint32_t flags = draw(p) % 16 == 0 ? LIBNBD_CMD_FLAG_FUA : 0;
    fill(buf, at, stamp);
    if (nbd_pwrite(p->nbd, buf, SECTOR, p->offset + at * SECTOR, flags) < 0) {
        failed(p, "write");
        return;
    }
    p->stamps[at] = stamp;
    completed(p);
}

static void read_one(struct pacer *p, uint64_t at)
{
    static uint64_t got[SECTOR / 8], want[SECTOR / 8];
    if (nbd_pread(p->nbd, got, SECTOR, p->offset + at * SECTOR, 0) < 0) {
        failed(p, "read");
        return;
    }
    completed(p);
    if (!p->stamps[at])
        return;
    fill(want, at, p->stamps[at]);
    if (memcmp(got, want, SECTOR) != 0) {
        p->wrong++;
        fprintf(stderr,
                "pacer: sector %" PRIu64 " holds stamp %" PRIu64
                ", acknowledged was %" PRIu64 "\n",
                at, got[1], p->stamps[at]);
    }
}

static void run(struct pacer *p)
{
    uint64_t begin = now_ms();
    p->last_ms = begin;
    while (access(p->stop, F_OK) != 0 && now_ms() - begin < RUN_MS_MAX &&
           p->errors < 10) {
        if (draw(p) % 4 == 0)
            read_one(p, draw(p) % p->sectors);
        else
            write_one(p);
        if (p->pause_ms) {
            usleep(p->pause_ms * 1000);
            p->last_ms = now_ms(); /* our own pause is no gap */
        }
        if (p->flush_every && p->next % p->flush_every == 0) {
            if (nbd_flush(p->nbd, 0) < 0)
                failed(p, "flush");
            else
                completed(p);
        }
    }
    uint64_t longest = p->longest_ms;
    for (uint64_t at = 0; at < p->sectors && p->errors < 10; at++)
        read_one(p, at);
    p->longest_ms = longest;
}

static uint64_t number(const char *text)
{
    char *end = NULL;
    uint64_t v = strtoull(text, &end, 10);
    if (!end || *end || end == text) {
        fprintf(stderr, "pacer: \"%s\" is not a number\n", text);
        exit(2);
    }
    return v;
}

static bool parse(struct pacer *p, int argc, char **argv)
{
    p->sectors = 1024;
    p->flush_every = 64;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--stop") == 0 && more)
            p->stop = argv[++i];
        else if (strcmp(argv[i], "--sectors") == 0 && more)
            p->sectors = (uint32_t)number(argv[++i]);
        else if (strcmp(argv[i], "--offset") == 0 && more)
            p->offset = number(argv[++i]);
        else if (strcmp(argv[i], "--flush-every") == 0 && more)
            p->flush_every = (uint32_t)number(argv[++i]);
        else if (strcmp(argv[i], "--pause") == 0 && more)
            p->pause_ms = (uint32_t)number(argv[++i]);
        else if (!p->uri && argv[i][0] != '-')
            p->uri = argv[i];
        else
            return false;
    }
    return p->uri && p->stop && p->sectors && p->sectors <= SECTORS_MAX;
}

int main(int argc, char **argv)
{
    struct pacer p = {.seed = (uint64_t)getpid()};
    if (!parse(&p, argc, argv)) {
        fputs("usage: pacer URI --stop FILE [--sectors N] [--offset BYTES]"
              " [--flush-every N] [--pause MS]\n",
              stderr);
        return 2;
    }
    p.stamps = calloc(p.sectors, sizeof(*p.stamps));
    p.nbd = nbd_create();
    if (!p.stamps || !p.nbd || nbd_connect_uri(p.nbd, p.uri) < 0) {
        fprintf(stderr, "pacer: cannot connect: %s\n", nbd_get_error());
        return 1;
    }
    run(&p);
    printf("{\"ops\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"wrong\":%" PRIu64
           ",\"longest_ms\":%" PRIu64 "}\n",
           p.ops, p.errors, p.wrong, p.longest_ms);
    nbd_shutdown(p.nbd, 0);
    nbd_close(p.nbd);
    free(p.stamps);
    return p.errors || p.wrong;
}
