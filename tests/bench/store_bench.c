/* SPDX-License-Identifier: BSD-3-Clause */
/* The store alone, through its own interface, beside the bare disk: one round
 * of every figure.
 *
 *   store_bench DIR SECONDS BYTES
 *
 * DIR keeps the store and a raw file of BYTES each from round to round. A line
 * a figure: name, operations per second of the store, of the raw file (pwrite
 * with O_DIRECT, the same pattern and depth, fdatasync after each for "flush"),
 * of appends with O_DIRECT|O_DSYNC one after another; then how many bytes were
 * written for each byte the store was given, by /proc/self/io and by the disk.
 * The first counts whole folios of the page cache, however little of them
 * changed; the second everybody's writes, and is 0 where no disk can be asked.
 * Time without flushes counts until everything is in the slots; with them,
 * until the last one is done. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/store.h"

#define DEPTH_MAX 16u
#define CHAIN 1u

struct figure {
    const char *name;
    uint32_t bytes, depth;
    bool random, flush, fua;
};

static const struct figure figures[] = {
    {"seq-4k-qd1", 4096, 1, false, false, false},
    {"seq-4k-qd16", 4096, 16, false, false, false},
    {"rand-4k-qd1", 4096, 1, true, false, false},
    {"rand-4k-qd16", 4096, 16, true, false, false},
    {"seq-1M-qd1", 1u << 20, 1, false, false, false},
    {"seq-1M-qd16", 1u << 20, 16, false, false, false},
    {"rand-1M-qd1", 1u << 20, 1, true, false, false},
    {"rand-1M-qd16", 1u << 20, 16, true, false, false},
    {"seq-4k-qd1-flush", 4096, 1, false, true, false},
    {"seq-4k-qd16-flush", 4096, 16, false, true, false},
    {"rand-4k-qd1-flush", 4096, 1, true, true, false},
    {"rand-4k-qd16-flush", 4096, 16, true, true, false},
    {"seq-1M-qd1-flush", 1u << 20, 1, false, true, false},
    {"seq-1M-qd16-flush", 1u << 20, 16, false, true, false},
    {"rand-1M-qd1-flush", 1u << 20, 1, true, true, false},
    {"rand-1M-qd16-flush", 1u << 20, 16, true, true, false},
    {"rand-4k-qd1-fua", 4096, 1, true, true, true},
};

struct lane {
    struct store_append append;
    struct store_sync sync;
    struct bench *b;
    bool busy;
};

struct bench {
    const char *dir;
    const struct figure *f;
    uint64_t bytes, window_us, end_us, rng, next, n_done;
    /* the store */
    struct store *s;
    struct store_chain *c;
    struct kt_rid at;
    struct kt_buf *payload;
    struct lane lanes[DEPTH_MAX];
    /* the raw file */
    int fd;
    atomic_ullong raw_next, raw_done;
};

static int bell;

static void die(const char *what, int err)
{
    fprintf(stderr, "store_bench: %s: %s\n", what, kt_strerror(err));
    exit(1);
}

static void check(const char *what, int err)
{
    if (err)
        die(what, err);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Where operation n goes. */
static uint64_t place(const struct bench *b, uint64_t n)
{
    uint64_t blocks = b->bytes / b->f->bytes;
    return (b->f->random ? mix(b->rng + n) : n) % blocks * b->f->bytes;
}

/* ---- the store ---- */

static void ring(void *arg)
{
    uint64_t one = 1;
    (void)arg;
    if (write(bell, &one, sizeof(one)) < 0)
        die("eventfd", -errno);
}

static void turn(struct bench *b)
{
    struct pollfd p = {.fd = bell, .events = POLLIN};
    uint64_t n;
    if (poll(&p, 1, 1000) == 1 && read(bell, &n, sizeof(n)) < 0)
        die("eventfd", -errno);
    store_poll(b->s);
}

static struct kt_buf *payload_new(uint32_t bytes)
{
    struct kt_buf *b = kt_buf_new(bytes, bytes / KT_SECTOR_BYTES);
    if (!b)
        die("payload", -ENOMEM);
    for (uint32_t i = 0; i < bytes / 8; i++) {
        uint64_t v = mix(i + 1);
        memcpy(b->data + 8 * (size_t)i, &v, 8);
    }
    b->data_len = bytes;
    for (uint32_t i = 0; i < b->n_sums; i++)
        b->sums[i] =
            kt_sum64(b->data + (size_t)i * KT_SECTOR_BYTES, KT_SECTOR_BYTES);
    return b;
}

static void lane_start(struct lane *l);

static void lane_next(struct lane *l)
{
    l->b->n_done++;
    l->busy = false;
    if (kt_now_us() < l->b->end_us)
        lane_start(l);
}

static void sync_done(struct store_op *op, int err)
{
    check("flush", err);
    lane_next(kt_container_of(op, struct lane, sync.op));
}

static void append_done(struct store_op *op, int err)
{
    struct lane *l = kt_container_of(op, struct lane, append.op);
    struct bench *b = l->b;
    check("write", err);
    store_acked(b->s, b->c, l->append.rec.id.seq);
    if (!b->f->flush || b->f->fua) {
        lane_next(l);
        return;
    }
    l->sync = (struct store_sync){.op.done = sync_done, .chain = b->c};
    store_sync(b->s, &l->sync);
}

static void lane_start(struct lane *l)
{
    struct bench *b = l->b;
    uint64_t at = place(b, b->next++), seq = b->at.seq + 1;
    l->busy = true;
    l->append = (struct store_append){
        .op.done = append_done,
        .chain = b->c,
        .buf = b->payload,
        .rec = {.chain = CHAIN,
                .op = KT_OP_WRITE,
                .flags = b->f->fua ? KT_RF_FUA : 0,
                .id = {1, seq},
                .prev = b->at,
                .token = 1,
                .wseq = seq,
                .wstable = seq > DEPTH_MAX ? seq - DEPTH_MAX : 0,
                .extent = (uint32_t)(at / KT_EXTENT_BYTES),
                .off = (uint32_t)(at % KT_EXTENT_BYTES),
                .len = b->f->bytes}};
    b->at = l->append.rec.id;
    store_append(b->s, &l->append);
}

static bool is_busy(const struct bench *b)
{
    for (uint32_t i = 0; i < DEPTH_MAX; i++)
        if (b->lanes[i].busy)
            return true;
    return false;
}

static void store_begin(struct bench *b)
{
    char dir[4096], why[512] = "";
    struct store_opts o = {.capacity_bytes = b->bytes + (64u << 20),
                           .create = true,
                           .notify = ring};
    struct store_chain_info i;
    check("boot id", kt_boot_id(&o.boot));
    snprintf(dir, sizeof(dir), "%s/store", b->dir);
    if (mkdir(dir, 0700) && errno != EEXIST)
        die(dir, -errno);
    if (store_open(dir, &o, &b->s, why, sizeof(why))) {
        fprintf(stderr, "store_bench: %s\n", why);
        exit(1);
    }
    b->c = store_chain_find(b->s, CHAIN);
    if (!b->c)
        b->c = store_chain_create(b->s, CHAIN,
                                  (uint32_t)(b->bytes / KT_EXTENT_BYTES));
    if (!b->c)
        die("chain", -ENOMEM);
    store_chain_info(b->c, &i);
    b->at = i.applied;
}

struct written {
    double own, disk;
};

static void written_own(struct written *w)
{
    unsigned long long n = 0;
    char line[128];
    FILE *f = fopen("/proc/self/io", "r");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "write_bytes: %llu", &n) == 1)
            break;
    if (f)
        fclose(f);
    w->own = (double)n;
}

static void written_disk(struct written *w, const char *dir)
{
    unsigned long long sectors = 0;
    char path[64];
    struct stat st;
    check(dir, stat(dir, &st) ? -errno : 0);
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(st.st_dev),
             minor(st.st_dev));
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%*u %*u %*u %*u %*u %*u %llu", &sectors) != 1)
        sectors = 0;
    if (f)
        fclose(f);
    w->disk = (double)sectors * 512;
}

static struct written written(const struct bench *b)
{
    struct written w;
    written_own(&w);
    written_disk(&w, b->dir);
    return w;
}

/* Operations per second; ret_w: bytes written for one given. */
static double store_round(struct bench *b, struct written *ret_w)
{
    store_begin(b);
    struct written had = written(b);
    b->payload = payload_new(b->f->bytes);
    uint64_t from = kt_now_us();
    b->end_us = from + b->window_us;
    b->n_done = 0;
    for (uint32_t i = 0; i < b->f->depth; i++) {
        b->lanes[i].b = b;
        lane_start(&b->lanes[i]);
    }
    while (is_busy(b))
        turn(b);
    uint64_t end = kt_now_us();
    store_close(b->s);
    if (!b->f->flush)
        end = kt_now_us();
    kt_buf_unref(b->payload);
    double given = (double)b->n_done * b->f->bytes;
    struct written has = written(b);
    ret_w->own = (has.own - had.own) / given;
    ret_w->disk = (has.disk - had.disk) / given;
    return (double)b->n_done * 1e6 / (double)(end - from);
}

/* Every extent has its slot before anything is measured. */
static void store_fill(struct bench *b)
{
    static const struct figure fill = {"fill", 1u << 20, 8, false, 0, 0};
    struct written w;
    store_begin(b);
    bool filled = b->at.seq * fill.bytes >= b->bytes;
    store_close(b->s);
    b->f = &fill;
    while (!filled && b->next * fill.bytes < b->bytes)
        store_round(b, &w);
}

/* ---- the raw file ---- */

static uint8_t *block_new(uint32_t bytes)
{
    void *p;
    if (posix_memalign(&p, 4096, bytes))
        die("block", -ENOMEM);
    memset(p, 0x5a, bytes);
    return p;
}

static void raw_open(struct bench *b, int flags)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/raw", b->dir);
    b->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    if (b->fd < 0)
        die(path, -errno);
}

/* Written, not only allocated: the first write of a block costs more. */
static void raw_fill(struct bench *b)
{
    const uint32_t step = 1u << 20;
    struct stat st;
    raw_open(b, 0);
    uint8_t *p = block_new(step);
    check("raw file", fstat(b->fd, &st) ? -errno : 0);
    for (uint64_t at = (uint64_t)st.st_size; at < b->bytes; at += step)
        check("raw file", kt_pwrite_all(b->fd, p, step, at));
    check("raw file", fsync(b->fd) ? -errno : 0);
    free(p);
    close(b->fd);
}

static void *raw_main(void *arg)
{
    struct bench *b = arg;
    uint8_t *p = block_new(b->f->bytes);
    while (kt_now_us() < b->end_us) {
        check("raw write",
              kt_pwrite_all(b->fd, p, b->f->bytes, place(b, b->raw_next++)));
        if (b->f->flush && fdatasync(b->fd))
            die("raw flush", -errno);
        b->raw_done++;
    }
    free(p);
    return NULL;
}

static double raw_round(struct bench *b)
{
    pthread_t t[DEPTH_MAX];
    raw_open(b, O_DIRECT);
    uint64_t from = kt_now_us();
    b->end_us = from + b->window_us;
    b->raw_done = 0;
    for (uint32_t i = 0; i < b->f->depth; i++)
        check("thread", -pthread_create(&t[i], NULL, raw_main, b));
    for (uint32_t i = 0; i < b->f->depth; i++)
        pthread_join(t[i], NULL);
    close(b->fd);
    return (double)b->raw_done * 1e6 / (double)(kt_now_us() - from);
}

static double append_round(struct bench *b)
{
    uint8_t *p = block_new(b->f->bytes);
    raw_open(b, O_DIRECT | O_DSYNC);
    uint64_t from = kt_now_us(), n = 0, blocks = b->bytes / b->f->bytes;
    while (kt_now_us() < from + b->window_us)
        check("append",
              kt_pwrite_all(b->fd, p, b->f->bytes, n++ % blocks * b->f->bytes));
    close(b->fd);
    free(p);
    return (double)n * 1e6 / (double)(kt_now_us() - from);
}

int main(int argc, char **argv)
{
    static struct bench b;
    const char *only = getenv("KT_BENCH_ONLY");
    if (argc != 4) {
        fprintf(stderr, "usage: store_bench DIR SECONDS BYTES\n");
        return 2;
    }
    b.dir = argv[1];
    b.window_us = (uint64_t)(strtod(argv[2], NULL) * 1e6);
    b.bytes = strtoull(argv[3], NULL, 10);
    b.rng = kt_now_us();
    bell = eventfd(0, EFD_CLOEXEC);
    if (bell < 0 || !b.window_us || !b.bytes || b.bytes % KT_EXTENT_BYTES) {
        fprintf(stderr, "store_bench: BYTES is a multiple of 4 MiB\n");
        return 2;
    }
    raw_fill(&b);
    store_fill(&b);
    for (uint32_t i = 0; i < KT_ARRAY_LEN(figures); i++) {
        struct written w;
        b.f = &figures[i];
        if (only && only[0] && !strstr(b.f->name, only))
            continue;
        double ours = store_round(&b, &w);
        double raw = raw_round(&b), append = append_round(&b);
        printf("%s\t%.1f\t%.1f\t%.1f\t%.3f\t%.3f\n", b.f->name, ours, raw,
               append, w.own, w.disk);
        fflush(stdout);
    }
    return 0;
}
