/* SPDX-License-Identifier: BSD-3-Clause */
/* One flipped bit in any file of a store that is not open: it is refused with
 * a sentence, or every read gives the right bytes or KT_E_CORRUPT. Nothing is
 * silently different, and the process lives.
 *
 * KT_FLIPS: how many (500). KT_FLIPS_SEED: the first store's. KT_FLIPS_KIND:
 * only files of this one of `kinds`. KT_LEDGER: a line for tests/ledger.tsv. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/check.h"
#include "tests/store/life.h"

static const char *const kinds[] = {"data.", "csum.",  "log.",
                                    "meta.", "super.", "synced"};
#define KINDS KT_ARRAY_LEN(kinds)
#define QUIET 4u /* from here on there is a spare, or one can do without */

enum outcome { INTACT, CORRUPT_READ, REFUSED, WRONG, CRASHED, OUTCOMES };

/* Filled in by the child. */
struct verdict {
    uint32_t outcome;
    uint32_t bad_sectors;
    char text[512];
};

struct bench {
    struct rig live, look;
    struct disk disk;
    struct owed owed;
    struct shim_log log;
    struct verdict *said; /* shared with the child */
};

static char where[160];

static int say_where(void **state)
{
    (void)state;
    if (where[0])
        print_error("at: %s\n", where);
    return 0;
}

/* A store with applied and unapplied records; killed: not closed either. */
static void bench_open(struct bench *b, uint64_t seed, bool killed)
{
    struct life_opts o = {.seed = seed, .records = 120};
    memset(b, 0, sizeof(*b));
    rig_init(&b->live, LIFE_SLOTS);
    rig_init(&b->look, LIFE_SLOTS);
    owed_init(&b->owed);
    b->disk.next_file = 1;
    shim_record(b->live.dir, &b->log, NULL, 0, 1);
    life_live(&b->live, &b->owed, &o);
    shim_off();
    uint32_t end = killed ? b->log.n - 12 : b->log.n;
    for (uint32_t i = 0; i < end; i++) {
        const struct shim_op *op = &b->log.ops[i];
        if (op->kind == SHIM_EVENT)
            owed_mark(&b->owed, &op->event);
        disk_do(&b->disk, op);
    }
    disk_choose(&b->disk, DISK_ALL, 0);
    disk_settle(&b->disk);
    shim_log_free(&b->log);
    b->look.boot = b->live.boot;
    b->said = mmap(NULL, sizeof(*b->said), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(b->said != MAP_FAILED);
}

static void bench_close(struct bench *b)
{
    munmap(b->said, sizeof(*b->said));
    disk_free(&b->disk);
    owed_free(&b->owed);
    rig_free(&b->live);
    rig_free(&b->look);
}

/* ---- in the child ---- */

static void say(struct verdict *v, enum outcome o, const char *text)
{
    if (o > v->outcome || !v->text[0])
        snprintf(v->text, sizeof(v->text), "%s", text);
    v->outcome = o > v->outcome ? (uint32_t)o : v->outcome;
}

static void read_sector(struct rig *g, const struct model *m, uint32_t e,
                        uint32_t k, struct verdict *v)
{
    int err;
    uint64_t stamp = do_read(g, m->chain, e, k, &err);
    if (err == KT_E_CORRUPT) {
        v->bad_sectors++;
        say(v, CORRUPT_READ, "a read said that the bytes are damaged");
    } else if (err || stamp != m->stamp[e][k]) {
        say(v, WRONG, err ? kt_strerror(err) : "wrong bytes were read");
    }
}

/* What life.c writes: the first MiB of each extent. All at once, and sector by
 * sector when that is refused. */
static void read_extent(struct rig *g, const struct model *m, uint32_t e,
                        struct verdict *v)
{
    struct store_read r = {.op.done = rig_done,
                           .chain = store_chain_find(g->s, m->chain),
                           .extent = e,
                           .len = KT_RECORD_BYTES_MAX};
    store_read(g->s, &r);
    if (rig_wait(g, &r.op)) {
        for (uint32_t k = 0; k < KT_RECORD_SECTORS_MAX; k++)
            read_sector(g, m, e, k, v);
        return;
    }
    const uint8_t *data = r.ret_buf->data;
    bool right = kt_buf_check(r.ret_buf);
    for (uint32_t k = 0; k < KT_RECORD_SECTORS_MAX && right; k++) {
        uint64_t stamp = 0;
        if (r.ret_buf->sums[k]) {
            memcpy(&stamp, data, sizeof(stamp));
            data += KT_SECTOR_BYTES;
        }
        right = stamp == m->stamp[e][k];
    }
    kt_buf_unref(r.ret_buf);
    if (!right)
        say(v, WRONG, "wrong bytes were read");
}

/* Whether the offline check sees anything. */
static bool is_told(const struct rig *g)
{
    struct store_check c = {.boot = g->boot};
    char why[512];
    return store_check(g->dir, &c, why, sizeof(why)) || c.problems;
}

static void judge(struct rig *g, const struct owed *o, struct verdict *v)
{
    bool told = is_told(g);
    if (rig_try_open(g)) {
        bool clear = strstr(g->why, g->dir) && strchr(g->why, ';');
        say(v, clear ? REFUSED : WRONG, g->why);
        if (!told)
            say(v, WRONG, "the offline check calls it sound");
        return;
    }
    for (uint32_t i = 0; i < LIFE_CHAINS; i++) {
        const struct past *p = &o->chains[i];
        struct store_chain *c = store_chain_find(g->s, p->id);
        struct store_chain_info info = {.chain = 0};
        if (c)
            store_chain_info(c, &info);
        uint64_t seq = info.applied.seq;
        if (seq < p->durable || seq > p->submitted || (o->closed && !c) ||
            (o->closed && seq < p->submitted) || info.promised < p->saved)
            say(v, WRONG, "records or promises are missing");
        else if (c)
            for (uint32_t e = 0; e < MODEL_EXTENTS; e++)
                read_extent(g, &p->at[seq - p->first], e, v);
    }
    rig_close(g);
    if (v->outcome != INTACT && !told)
        say(v, WRONG, "the offline check calls it sound");
}

/* ---- one flip ---- */

struct flip {
    struct dfile *f;
    char name[SHIM_NAME_BYTES];
    uint64_t at;
    uint8_t bit;
};

static struct flip draw(struct bench *b, uint32_t kind, uint64_t *rng)
{
    struct shim_file names[DISK_FILES_MAX], of[DISK_FILES_MAX];
    uint32_t n = disk_names(&b->disk, names, DISK_FILES_MAX), k = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!strncmp(names[i].name, kinds[kind], strlen(kinds[kind])))
            of[k++] = names[i];
    assert_true(k > 0);
    struct flip p = {.bit = (uint8_t)(1u << model_rand(rng, 8))};
    do { /* most in files and places that hold something */
        struct shim_file *f = &of[model_rand(rng, k)];
        memcpy(p.name, f->name, sizeof(p.name));
        p.f = b->disk.files[f->file];
    } while (p.f->top == 0);
    unsigned tries = model_rand(rng, 8) ? 200 : 1;
    do
        p.at = model_rand(rng, tries > 1 ? p.f->top : p.f->size);
    while (--tries && p.f->base[p.at] == 0);
    if (p.at >= p.f->top)
        p.f->top = (p.at / DISK_UNIT + 1) * DISK_UNIT;
    return p;
}

static enum outcome flip_and_look(struct bench *b, const struct flip *p)
{
    int status;
    memset(b->said, 0, sizeof(*b->said));
    p->f->base[p->at] ^= p->bit;
    disk_choose(&b->disk, DISK_ALL, 0);
    disk_write(&b->disk, b->look.dir);
    p->f->base[p->at] ^= p->bit;
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60); /* a store that hangs is as bad as one that crashes */
        shim_quick();
        judge(&b->look, &b->owed, b->said);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return CRASHED;
    return (enum outcome)b->said->outcome;
}

struct totals {
    uint64_t flips, by[KINDS][OUTCOMES];
};

static bool one(struct bench *b, uint32_t kind, uint64_t *rng,
                struct totals *sum)
{
    struct flip p = draw(b, kind, rng);
    enum outcome o = flip_and_look(b, &p);
    sum->flips++;
    sum->by[kind][o]++;
    /* One bit is in one sector, or in the sum of one. */
    bool many = b->said->bad_sectors > 1;
    if (o < WRONG && !many)
        return true;
    print_error("%s byte %llu ^ %#x: %s, %u sectors: %s\n", p.name,
                (unsigned long long)p.at, p.bit,
                o == CRASHED ? "crashed" : "wrong", b->said->bad_sectors,
                b->said->text);
    return false;
}

static uint64_t number(const char *name, uint64_t unless)
{
    const char *v = getenv(name);
    return v && v[0] ? strtoull(v, NULL, 10) : unless;
}

static void tell(const struct totals *t)
{
    for (uint32_t k = 0; k < KINDS; k++)
        print_message("%-6s %llu intact, %llu reads refused, %llu stores "
                      "refused, %llu wrong, %llu crashed\n",
                      kinds[k], (unsigned long long)t->by[k][INTACT],
                      (unsigned long long)t->by[k][CORRUPT_READ],
                      (unsigned long long)t->by[k][REFUSED],
                      (unsigned long long)t->by[k][WRONG],
                      (unsigned long long)t->by[k][CRASHED]);
    if (getenv("KT_LEDGER"))
        printf("ledger\tmake flips\t%llu flips\tone bit each: data, csum, "
               "log, index, superblock, synced\t0\t\n",
               (unsigned long long)t->flips);
}

static void a_flipped_bit_is_never_read_as_data(void **state)
{
    static struct bench b;
    struct totals sum = {.flips = 0};
    const char *v = getenv("KT_VALGRIND"), *a = getenv("KT_SANITIZERS");
    uint64_t flips = v && v[0] ? 20 : a && strcmp(a, "no") != 0 ? 100 : 500;
    flips = number("KT_FLIPS", flips);
    uint64_t seed = number("KT_FLIPS_SEED", 1);
    unsigned bad = 0;
    (void)state;
    while (sum.flips < flips) {
        uint64_t rng = seed;
        bool killed = seed % 2 == 0;
        bench_open(&b, seed, killed);
        for (uint32_t i = 0; i < 250 && sum.flips < flips; i++) {
            snprintf(where, sizeof(where), "KT_FLIPS_SEED=%llu flip %u%s",
                     (unsigned long long)seed, i, killed ? ", killed" : "");
            bad += !one(&b, (uint32_t)number("KT_FLIPS_KIND", i % KINDS), &rng,
                        &sum);
        }
        bench_close(&b);
        seed++;
    }
    where[0] = '\0';
    tell(&sum);
    assert_int_equal(bad, 0);
    bool one_kind = getenv("KT_FLIPS_KIND") != NULL;
    for (uint32_t k = 0; k < KINDS; k++) /* the flips hit something */
        assert_true(flips < 500 || one_kind || k >= QUIET ||
                    sum.by[k][CORRUPT_READ] + sum.by[k][REFUSED] > 0);
}

int main(void)
{
    bench_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_flipped_bit_is_never_read_as_data,
                                  say_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
