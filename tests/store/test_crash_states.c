/* SPDX-License-Identifier: BSD-3-Clause */
/* The store after power was lost at any place of its work, in any legal state
 * of its disk: it opens, nothing flushed is missing, and what it holds is a
 * prefix of what was asked for.
 *
 * A line of lives: each is recorded, states of its disk are drawn and checked,
 * and one of them is where the next life begins, so recovery is cut off too.
 *
 * KT_CRASH_STATES: how many (5000). KT_CRASH_SEED: the first line's number.
 * KT_CRASH_LIE: files whose names begin so are not synced, whatever the store
 * asks for. KT_LEDGER: print a line for tests/ledger.tsv at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "tests/store/life.h"

#define LIVES 6u
#define STATES_A_LIFE 40u

struct totals {
    uint64_t states, lives, ops, kills, pending, by_how[DISK_HOWS];
    uint64_t rounds; /* log segments that were used again */
};

/* One line of lives. */
struct line {
    struct rig live, look; /* where it works; where states are checked */
    struct disk disk;
    struct owed owed;
    struct shim_log log;
    uint64_t seed, rng;
    struct totals *sum;
};

/* Said when a check fails. */
static char where[160];

static int say_where(void **state)
{
    (void)state;
    if (where[0])
        print_error("at: %s\n", where);
    return 0;
}

static void line_open(struct line *l, uint64_t seed, struct totals *sum)
{
    memset(l, 0, sizeof(*l));
    rig_init(&l->live, LIFE_SLOTS);
    rig_init(&l->look, LIFE_SLOTS);
    owed_init(&l->owed);
    l->disk.next_file = 1;
    l->disk.lying = getenv("KT_CRASH_LIE");
    l->seed = l->rng = seed;
    l->sum = sum;
}

static void line_close(struct line *l)
{
    shim_log_free(&l->log);
    disk_free(&l->disk);
    owed_free(&l->owed);
    rig_free(&l->live);
    rig_free(&l->look);
    where[0] = '\0';
}

static void live(struct line *l, const struct life_opts *o)
{
    struct shim_file files[DISK_FILES_MAX];
    uint32_t n = disk_names(&l->disk, files, DISK_FILES_MAX);
    shim_log_free(&l->log);
    shim_record(l->live.dir, &l->log, files, n, l->disk.next_file);
    life_live(&l->live, &l->owed, o);
    shim_off();
    l->sum->lives++;
    l->sum->ops += l->log.n;
    for (uint32_t i = 0; i < l->log.n; i++)
        l->sum->rounds += l->log.ops[i].kind == SHIM_RENAME;
}

/* Goes on to this place of the log. */
static void advance(struct line *l, uint32_t upto)
{
    while (l->disk.op < upto) {
        const struct shim_op *op = &l->log.ops[l->disk.op];
        if (op->kind == SHIM_EVENT)
            owed_mark(&l->owed, &op->event);
        disk_do(&l->disk, op);
    }
}

/* Makes one state and checks it. A kill is all of it, on the same boot. */
static void look(struct line *l, enum disk_how how, bool killed,
                 struct store_chain_info ret_i[LIFE_CHAINS])
{
    uint64_t seed = model_rand(&l->rng, UINT64_MAX);
    snprintf(where, sizeof(where),
             "KT_CRASH_SEED=%llu life %llu op %u of %u, choice %d, killed %d",
             (unsigned long long)l->seed, (unsigned long long)l->sum->lives,
             l->disk.op, l->log.n, how, killed);
    disk_choose(&l->disk, how, seed);
    disk_write(&l->disk, l->look.dir);
    shim_quick();
    l->look.boot = l->live.boot;
    l->look.boot.b[1] = !killed;
    owed_check(&l->look, &l->owed, killed, l->sum->states % 8 == 0, ret_i);
    shim_off();
    l->sum->states++;
    l->sum->kills += killed;
    l->sum->by_how[how]++;
    for (uint32_t i = 0; i < l->disk.next_file; i++)
        l->sum->pending += l->disk.files[i] ? l->disk.files[i]->n_secs : 0;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Draws places of the log, ascending, and states there. The line goes on from
 * the last one looked at, which is chosen still. */
static void look_around(struct line *l, uint32_t n, uint32_t end)
{
    uint32_t at[STATES_A_LIFE];
    struct store_chain_info i[LIFE_CHAINS];
    for (uint32_t k = 0; k < n; k++)
        at[k] = (uint32_t)model_rand(&l->rng, end + 1);
    qsort(at, n, sizeof(at[0]), by_number);
    for (uint32_t k = 0; k < n; k++) {
        advance(l, at[k]);
        enum disk_how how = (enum disk_how)model_rand(&l->rng, DISK_HOWS);
        look(l, how, how == DISK_ALL && l->owed.opened, i);
    }
    disk_settle(&l->disk);
    for (uint32_t k = 0; k < LIFE_CHAINS; k++)
        owed_restart(&l->owed, k, &i[k]);
    shim_off();
    disk_write(&l->disk, l->live.dir);
    l->live.boot.b[0]++;
}

static struct life_opts next_life(struct line *l)
{
    struct life_opts o = {.seed = model_rand(&l->rng, UINT64_MAX),
                          .records = 20 + (uint32_t)model_rand(&l->rng, 60)};
    o.large = l->seed % 8 == 7;
    return o;
}

static void run_line(uint64_t seed, uint64_t states, struct totals *sum)
{
    static struct line l;
    line_open(&l, seed, sum);
    for (unsigned k = 0; k < LIVES && sum->states < states; k++) {
        struct life_opts o = next_life(&l);
        live(&l, &o);
        uint32_t end = l.log.n;
        if (k + 1 < LIVES && k % 2) /* often in the middle of recovery */
            end = end / 4;
        look_around(&l, STATES_A_LIFE, end);
    }
    line_close(&l);
}

static uint64_t number(const char *name, uint64_t unless)
{
    const char *v = getenv(name);
    return v && v[0] ? strtoull(v, NULL, 10) : unless;
}

/* A program that is watched runs many times slower. */
static uint64_t states_unless_told(void)
{
    const char *v = getenv("KT_VALGRIND"), *a = getenv("KT_SANITIZERS");
    if (v && v[0])
        return 100;
    return a && strcmp(a, "no") != 0 ? 1000 : 5000;
}

static void tell(const struct totals *t, uint64_t ms)
{
    print_message(
        "%llu states of %llu lives, %llu calls, %llu kills, %llu sectors not "
        "durable, %llu segments used again, %llu s\n",
        (unsigned long long)t->states, (unsigned long long)t->lives,
        (unsigned long long)t->ops, (unsigned long long)t->kills,
        (unsigned long long)(t->pending / t->states),
        (unsigned long long)t->rounds, (unsigned long long)ms / 1000);
    if (getenv("KT_LEDGER"))
        printf("ledger\tmake crash-states\t%llu states, %llu lives, %llu "
               "calls\t%llu kills, %llu power losses\t0\t%llu s; %llu sectors "
               "not durable on average\n",
               (unsigned long long)t->states, (unsigned long long)t->lives,
               (unsigned long long)t->ops, (unsigned long long)t->kills,
               (unsigned long long)(t->states - t->kills),
               (unsigned long long)ms / 1000,
               (unsigned long long)(t->pending / t->states));
}

static void after_a_crash_a_prefix_with_all_that_was_flushed_is_there(void **s)
{
    struct totals sum = {.states = 0};
    uint64_t states = number("KT_CRASH_STATES", states_unless_told());
    uint64_t seed = number("KT_CRASH_SEED", 1), from = kt_now_ms();
    (void)s;
    while (sum.states < states)
        run_line(seed++, states, &sum);
    tell(&sum, kt_now_ms() - from);
    for (unsigned i = 0; i < DISK_HOWS; i++)
        assert_true(states < 400 || sum.by_how[i] > 0);
    assert_true(states < 3000 || sum.rounds > 0);
}

static void a_full_replay_is_what_stands_in_the_real_files(void **state)
{
    static struct line l;
    struct totals sum = {.states = 0};
    struct store_chain_info i[LIFE_CHAINS];
    (void)state;
    for (uint64_t seed = 7; seed <= 8; seed++) {
        line_open(&l, seed, &sum);
        for (unsigned k = 0; k < 3; k++) {
            struct life_opts o = next_life(&l);
            o.records = 60;
            live(&l, &o);
            advance(&l, l.log.n);
            disk_choose(&l.disk, DISK_ALL, 0);
            assert_true(disk_same_as(&l.disk, l.live.dir));
            look(&l, DISK_NONE, false, i);
            look_around(&l, 1, l.log.n);
        }
        line_close(&l);
    }
}

/* The check can say no: with syncs of any kind of file left out it does. */
static void a_sync_that_is_left_out_is_noticed(void **state)
{
    /* The last is of no file: there nothing may be noticed, in this place and
     * after all the others. */
    static const struct {
        const char *lie;
        int want;
    } kinds[] = {{"log.", 1},   {"data.", 1}, {"csum.", 1},  {"meta.", 1},
                 {"super.", 1}, {".", 1},     {"nothing", 0}};
    char exe[256], cmd[640];
    struct rig g; /* what fails leaves its directories, in this one */
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    (void)state;
    assert_true(n > 0);
    exe[n] = '\0';
    rig_init(&g, LIFE_SLOTS);
    for (unsigned i = 0; i < KT_ARRAY_LEN(kinds); i++) {
        snprintf(cmd, sizeof(cmd),
                 "TMPDIR=%s KT_CRASH_STATES=%d KT_CRASH_LIE=%s '%s' "
                 ">/dev/null 2>&1",
                 g.dir, kinds[i].want ? 4000 : 200, kinds[i].lie, exe);
        int rc = system(cmd);
        if (!WIFEXITED(rc) || WEXITSTATUS(rc) != kinds[i].want)
            fail_msg("%s: exit %d, not %d", kinds[i].lie, rc, kinds[i].want);
    }
    rig_free(&g);
}

int main(void)
{
    bench_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            after_a_crash_a_prefix_with_all_that_was_flushed_is_there,
            say_where),
        cmocka_unit_test_teardown(
            a_full_replay_is_what_stands_in_the_real_files, say_where),
        cmocka_unit_test(a_sync_that_is_left_out_is_noticed),
    };
    return getenv("KT_CRASH_LIE") || getenv("KT_LEDGER")
               ? _cmocka_run_group_tests("crash", tests, 1, NULL, NULL)
               : cmocka_run_group_tests(tests, NULL, NULL);
}
