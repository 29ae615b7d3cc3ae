/* SPDX-License-Identifier: BSD-3-Clause */
/* Every call of the store that can fail does, once: the first one, the second
 * one, ... until a life passes without meeting the failure. It must not crash,
 * must be faulty at once and for good when a write or a sync failed (A6), must
 * never sync a file again whose sync failed, and what it acknowledged is there
 * whatever the disk made of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/store/life.h"

#define RECORDS 24u
#define NTH_MAX 5000u

/* A store to begin with, and room for a life in it. */
struct bench {
    struct rig live, look;
    struct disk disk;
    struct owed owed;
    struct shim_log log;
};

static char where[160];

static int say_where(void **state)
{
    (void)state;
    if (where[0])
        print_error("at: %s\n", where);
    return 0;
}

static int live(struct bench *b, const struct life_opts *o, unsigned mask,
                uint64_t nth, bool stays, int err)
{
    struct shim_file files[DISK_FILES_MAX];
    uint32_t n = disk_names(&b->disk, files, DISK_FILES_MAX);
    shim_record(b->live.dir, &b->log, files, n, b->disk.next_file);
    shim_fail(mask, nth, stays, err);
    int r = life_live(&b->live, &b->owed, o);
    shim_off();
    return r;
}

static void advance(struct bench *b)
{
    for (uint32_t i = 0; i < b->log.n; i++) {
        const struct shim_op *op = &b->log.ops[i];
        if (op->kind == SHIM_EVENT)
            owed_mark(&b->owed, &op->event);
        disk_do(&b->disk, op);
    }
}

static void look(struct bench *b, enum disk_how how, uint64_t seed,
                 struct store_chain_info ret_i[LIFE_CHAINS])
{
    bool killed = how == DISK_ALL && b->owed.opened;
    disk_choose(&b->disk, how, seed);
    disk_write(&b->disk, b->look.dir);
    shim_quick();
    b->look.boot = b->live.boot;
    b->look.boot.b[1] = !killed;
    owed_check(&b->look, &b->owed, killed, false, ret_i);
    shim_off();
}

/* old: with a life behind it, of which some was applied and some was not. */
static void bench_open(struct bench *b, bool old)
{
    struct store_chain_info i[LIFE_CHAINS];
    struct life_opts o = {.seed = 5, .records = 30};
    memset(b, 0, sizeof(*b));
    rig_init(&b->live, LIFE_SLOTS);
    rig_init(&b->look, LIFE_SLOTS);
    owed_init(&b->owed);
    b->disk.next_file = 1;
    if (!old)
        return;
    live(b, &o, 0, 0, false, 0);
    advance(b);
    look(b, DISK_ALL, 1, i);
    disk_settle(&b->disk);
    disk_write(&b->disk, b->live.dir);
    for (uint32_t k = 0; k < LIFE_CHAINS; k++)
        owed_restart(&b->owed, k, &i[k]);
    shim_log_free(&b->log);
    b->live.boot.b[0]++;
}

static void bench_close(struct bench *b)
{
    shim_log_free(&b->log);
    disk_free(&b->disk);
    owed_free(&b->owed);
    rig_free(&b->live);
    rig_free(&b->look);
}

struct trial {
    const char *name;
    unsigned mask;
    int err;
    bool stays, old;
};

/* True: the life met no failure. */
static bool try_nth(const struct trial *t, uint64_t nth)
{
    static struct bench b;
    struct store_chain_info i[LIFE_CHAINS];
    struct life_opts o = {.seed = 11, .records = RECORDS};
    o.failing = true;
    o.faulty = t->mask & (SHIM_F_WRITE | SHIM_F_SYNC);
    snprintf(where, sizeof(where), "%s number %llu, %s store, %s", t->name,
             (unsigned long long)nth, t->old ? "an old" : "a new",
             t->stays ? "and all after it" : "once");
    bench_open(&b, t->old);
    int err = live(&b, &o, t->mask, nth, t->stays, t->err);
    bool met = shim_failed();
    if (!met && err)
        fail_msg("nothing failed, and yet: %d", err);
    assert_int_equal(shim_retries(), 0);
    shim_fail(0, 0, false, 0);
    advance(&b);
    look(&b, DISK_ALL, nth, i);
    look(&b, DISK_NONE, nth, i);
    look(&b, DISK_WRITES, nth, i);
    bench_close(&b);
    where[0] = '\0';
    return !met;
}

static void try_all(const struct trial *t)
{
    uint64_t nth = 1, step = 1;
    const char *v = getenv("KT_VALGRIND"), *a = getenv("KT_SANITIZERS");
    if (v && v[0])
        step = 17;
    else if (a && strcmp(a, "no") != 0)
        step = 5;
    while (nth < NTH_MAX && !try_nth(t, nth))
        nth += step;
    print_message("%s, %s store%s: %llu\n", t->name, t->old ? "old" : "new",
                  t->stays ? ", for good" : "", (unsigned long long)nth - 1);
    assert_true(nth > 1 && nth < NTH_MAX);
}

static void try_both(struct trial t)
{
    t.old = false;
    try_all(&t);
    t.old = true;
    try_all(&t);
}

static void any_write_may_fail(void **state)
{
    (void)state;
    try_both((struct trial){.name = "write", .mask = SHIM_F_WRITE, .err = EIO});
    try_both((struct trial){
        .name = "write", .mask = SHIM_F_WRITE, .err = EIO, .stays = true});
}

static void any_sync_may_fail_and_is_not_tried_again(void **state)
{
    (void)state;
    try_both((struct trial){.name = "sync", .mask = SHIM_F_SYNC, .err = EIO});
    try_both((struct trial){
        .name = "sync", .mask = SHIM_F_SYNC, .err = EIO, .stays = true});
}

static void any_change_of_names_may_fail(void **state)
{
    (void)state;
    try_both((struct trial){.name = "name", .mask = SHIM_F_NAME, .err = EIO});
}

static void room_may_be_out_at_any_time(void **state)
{
    (void)state;
    try_both(
        (struct trial){.name = "room", .mask = SHIM_F_SPACE, .err = ENOSPC});
    try_both((struct trial){
        .name = "room", .mask = SHIM_F_SPACE, .err = ENOSPC, .stays = true});
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    try_both((struct trial){
        .name = "allocation", .mask = SHIM_F_MEMORY, .err = ENOMEM});
}

int main(void)
{
    bench_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(any_write_may_fail, say_where),
        cmocka_unit_test_teardown(any_sync_may_fail_and_is_not_tried_again,
                                  say_where),
        cmocka_unit_test_teardown(any_change_of_names_may_fail, say_where),
        cmocka_unit_test_teardown(room_may_be_out_at_any_time, say_where),
        cmocka_unit_test_teardown(any_allocation_may_fail, say_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
