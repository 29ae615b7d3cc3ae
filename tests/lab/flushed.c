/* SPDX-License-Identifier: BSD-3-Clause */
/* A writer that remembers what it was promised, also when it is killed.
 *
 *   flushed write URI RECORD [SECONDS]   writes 4 KiB blocks, 16 in flight,
 *       with flushes and FUA; ends by SIGTERM or after so long, with a flush
 *   flushed check URI RECORD             reads them all: each holds what was
 *       flushed last or a newer write; and flushes, so that what it saw stays
 *
 * RECORD takes one entry for each thing that happens, in its order; an attempt
 * is in it before the request is sent. A block is written once at a time. What
 * a check saw is what the block holds from then on: an older attempt must not
 * come back, its writer is gone. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libnbd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define BLOCKS_MAX 8192u
#define STAMPS_MAX (UINT64_C(1) << 24)
#define DEPTH 16u
#define FLUSH_EVERY 40u

enum kind { ATTEMPT = 1, DONE, DURABLE, FLUSH_BEGIN, FLUSH_END, SEEN };

struct entry {
    uint32_t kind, block;
    uint64_t stamp;
};

struct slot {
    bool busy, fua;
    uint32_t block;
    uint64_t stamp;
    uint64_t buf[BLOCK / 8];
};

/* What the record says of a block. */
struct known {
    uint64_t floor;   /* durable */
    uint64_t done;    /* acknowledged */
    uint64_t flushed; /* done when the flush under way began */
    uint64_t barrier; /* attempts up to this one are decided */
    bool busy;
};

static struct {
    struct nbd_handle *nbd;
    int record;
    uint32_t blocks;
    uint64_t last, acks, flushes, lost, newer;
    bool flushing;
    uint64_t since_flush;
    struct slot slots[DEPTH];
    struct known known[BLOCKS_MAX];
    uint32_t place[STAMPS_MAX]; /* 1 + block an attempt was for */
} f;

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
    (void)sig;
    stop = 1;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "flushed: %s: %s\n", what, why);
    exit(1);
}

static void note(enum kind kind, uint32_t block, uint64_t stamp)
{
    struct entry e = {.kind = kind, .block = block, .stamp = stamp};
    if (write(f.record, &e, sizeof e) != (ssize_t)sizeof e)
        die("record", strerror(errno));
}

static void apply(const struct entry *e)
{
    struct known *k = &f.known[e->block];
    switch (e->kind) {
    case ATTEMPT:
        f.place[e->stamp] = 1 + e->block;
        f.last = e->stamp;
        break;
    case DURABLE:
        k->floor = e->stamp;
        k->done = e->stamp;
        f.acks++;
        break;
    case DONE:
        k->done = e->stamp;
        f.acks++;
        break;
    case FLUSH_BEGIN:
        for (uint32_t i = 0; i < BLOCKS_MAX; i++)
            f.known[i].flushed = f.known[i].done;
        break;
    case FLUSH_END:
        for (uint32_t i = 0; i < BLOCKS_MAX; i++) {
            k = &f.known[i];
            k->floor = k->flushed > k->floor ? k->flushed : k->floor;
        }
        f.flushes++;
        break;
    case SEEN:
        *k = (struct known){.floor = e->stamp,
                            .done = e->stamp,
                            .flushed = e->stamp,
                            .barrier = f.last};
        break;
    default:
        die("record", "it is damaged");
    }
}

static void load(const char *path)
{
    struct entry e;
    ssize_t n;
    f.record = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (f.record < 0)
        die(path, strerror(errno));
    while ((n = read(f.record, &e, sizeof e)) == (ssize_t)sizeof e) {
        if (e.block >= BLOCKS_MAX || e.stamp >= STAMPS_MAX)
            die("record", "it is damaged");
        apply(&e);
    }
    if (n != 0)
        die(path, "its last entry is cut");
}

static uint64_t draw(void)
{
    static uint64_t seed;
    if (!seed)
        seed = f.last * 0x9e3779b97f4a7c15ull + 1;
    uint64_t z = seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void fill(uint64_t *buf, uint64_t block, uint64_t stamp)
{
    for (size_t i = 0; i < BLOCK / 8; i += 2) {
        buf[i] = stamp ? block * 1000003 + i : 0;
        buf[i + 1] = stamp;
    }
}

static int wrote(void *user, int *error)
{
    struct slot *s = user;
    if (*error)
        die("write", strerror(*error));
    note(s->fua ? DURABLE : DONE, s->block, s->stamp);
    f.known[s->block].busy = false;
    s->busy = false;
    f.acks++;
    f.since_flush++;
    return 1;
}

static int flushed(void *user, int *error)
{
    (void)user;
    if (*error)
        die("flush", strerror(*error));
    note(FLUSH_END, 0, 0);
    f.flushes++;
    f.flushing = false;
    return 1;
}

static void write_one(struct slot *s)
{
    do
        s->block = (uint32_t)(draw() % f.blocks);
    while (f.known[s->block].busy);
    if (f.last + 1 >= STAMPS_MAX)
        die("write", "too many for one record");
    s->stamp = ++f.last;
    s->fua = draw() % 16 == 0;
    s->busy = f.known[s->block].busy = true;
    fill(s->buf, s->block, s->stamp);
    note(ATTEMPT, s->block, s->stamp);
    nbd_completion_callback cb = {.callback = wrote, .user_data = s};
    if (nbd_aio_pwrite(f.nbd, s->buf, BLOCK, (uint64_t)s->block * BLOCK, cb,
                       s->fua ? LIBNBD_CMD_FLAG_FUA : 0) < 0)
        die("write", nbd_get_error());
}

static void flush_begin(void)
{
    f.since_flush = 0;
    f.flushing = true;
    note(FLUSH_BEGIN, 0, 0);
    nbd_completion_callback cb = {.callback = flushed};
    if (nbd_aio_flush(f.nbd, cb, 0) < 0)
        die("flush", nbd_get_error());
}

static void turn(void)
{
    if (nbd_poll(f.nbd, 100) < 0 && nbd_get_errno() != EINTR)
        die("connection", nbd_get_error());
}

static bool anything_in_flight(void)
{
    for (uint32_t i = 0; i < DEPTH; i++)
        if (f.slots[i].busy)
            return true;
    return f.flushing;
}

static void write_all(unsigned seconds)
{
    alarm(seconds);
    while (!stop) {
        for (uint32_t i = 0; i < DEPTH; i++)
            if (!f.slots[i].busy)
                write_one(&f.slots[i]);
        if (!f.flushing && f.since_flush >= FLUSH_EVERY)
            flush_begin();
        turn();
    }
    while (anything_in_flight())
        turn();
    flush_begin();
    while (anything_in_flight())
        turn();
    printf("%" PRIu64 " writes and %" PRIu64 " flushes acknowledged\n", f.acks,
           f.flushes);
}

static void check_one(uint32_t block)
{
    static uint64_t got[BLOCK / 8], want[BLOCK / 8];
    const struct known *k = &f.known[block];
    if (nbd_pread(f.nbd, got, BLOCK, (uint64_t)block * BLOCK, 0) < 0)
        die("read", nbd_get_error());
    uint64_t stamp = got[1];
    bool legal = stamp == k->floor ||
                 (stamp > k->floor && stamp > k->barrier &&
                  stamp < STAMPS_MAX && f.place[stamp] == 1 + block);
    fill(want, block, stamp);
    if (!legal || memcmp(got, want, BLOCK) != 0) {
        f.lost++;
        fprintf(stderr,
                "flushed: block %" PRIu32 " holds write %" PRIu64
                "; durable was %" PRIu64 ", acknowledged %" PRIu64
                ", open those after %" PRIu64 "\n",
                block, stamp, k->floor, k->done, k->barrier);
        return;
    }
    f.newer += stamp != k->floor;
    note(SEEN, block, stamp);
}

/* Flushed before anything is read: what is noted as seen stays so. */
static void check_all(void)
{
    if (nbd_flush(f.nbd, 0) < 0)
        die("flush", nbd_get_error());
    for (uint32_t i = 0; i < f.blocks; i++)
        check_one(i);
    printf("%" PRIu64 " blocks newer than flushed, %" PRIu64 " lost; %" PRIu64
           " writes, %" PRIu64 " flushes\n",
           f.newer, f.lost, f.acks, f.flushes);
}

int main(int argc, char **argv)
{
    if (argc < 4 || (strcmp(argv[1], "write") && strcmp(argv[1], "check"))) {
        fputs("usage: flushed write|check URI RECORD [SECONDS]\n", stderr);
        return 2;
    }
    if (!strcmp(argv[1], "write")) {
        struct sigaction sa = {.sa_handler = on_term};
        sigaction(SIGTERM, &sa, NULL);
        sigaction(SIGALRM, &sa, NULL);
    }
    load(argv[3]);
    f.nbd = nbd_create();
    if (!f.nbd || nbd_connect_uri(f.nbd, argv[2]) < 0)
        die("connect", nbd_get_error());
    int64_t size = nbd_get_size(f.nbd);
    if (size < (int64_t)(2 * DEPTH * BLOCK))
        die("connect", "the disk is too small");
    f.blocks =
        size / BLOCK > BLOCKS_MAX ? BLOCKS_MAX : (uint32_t)(size / BLOCK);
    if (!strcmp(argv[1], "write"))
        write_all(argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 3600);
    else
        check_all();
    nbd_shutdown(f.nbd, 0);
    nbd_close(f.nbd);
    return f.lost ? 1 : 0;
}
