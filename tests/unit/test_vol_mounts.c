/* SPDX-License-Identifier: BSD-3-Clause */
#include "volplugin/core/mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "tests/unit/unit.h"

#define SLOTS 4
#define REFS 6
#define WAITS 8

static struct vol_slot slots[SLOTS];
static struct vol_ref refs[REFS];
static struct vol_wait waits[WAITS];
static struct vol_table table;
static char said[2048]; /* the actions of the last event */
static uint64_t now;

static struct kt_id vol(unsigned v)
{
    struct kt_id id = {.b = {(uint8_t)v}};

    return id;
}

static void emit(void *ctx, const struct vol_action *a)
{
    char *at = said + strlen(said);
    size_t left = sizeof(said) - strlen(said);
    (void)ctx;

    switch (a->type) {
    case VOL_ACT_RAISE:
        snprintf(at, left, "raise%u ", a->volume.b[0]);
        break;
    case VOL_ACT_LOWER:
        snprintf(at, left, "lower%u ", a->volume.b[0]);
        break;
    case VOL_ACT_SAVE:
        snprintf(at, left, "save%u.%s=%u ", a->volume.b[0], a->id, a->count);
        break;
    case VOL_ACT_ANSWER:
        snprintf(at, left, a->err ? "no%llu " : "yes%llu ",
                 (unsigned long long)a->req);
        break;
    }
}

static void step(struct vol_event ev)
{
    const struct vol_out out = {.emit = emit};

    said[0] = '\0';
    ev.now_ms = now;
    vol_step(&table, &ev, &out);
}

#define SAYS(text) assert_string_equal(said, text)

static void mount(unsigned v, const char *id, uint64_t req)
{
    step((struct vol_event){
        .type = VOL_EV_MOUNT, .volume = vol(v), .id = id, .req = req});
}

static void unmount(unsigned v, const char *id, uint64_t req)
{
    step((struct vol_event){
        .type = VOL_EV_UNMOUNT, .volume = vol(v), .id = id, .req = req});
}

static void done(enum vol_ev_type type, unsigned v, int err)
{
    step((struct vol_event){
        .type = type, .volume = vol(v), .err = err, .mounted = true});
}

/* Unmounted it is, but not detached. */
static void half_done(unsigned v)
{
    step((struct vol_event){
        .type = VOL_EV_LOWERED, .volume = vol(v), .err = -16});
}

static void tick(void)
{
    step((struct vol_event){.type = VOL_EV_TICK});
}

static int set_up(void **state)
{
    (void)state;
    memset(slots, 0, sizeof(slots));
    memset(refs, 0, sizeof(refs));
    memset(waits, 0, sizeof(waits));
    table = (struct vol_table){.slots = slots,
                               .refs = refs,
                               .waits = waits,
                               .n_slots = SLOTS,
                               .n_refs = REFS,
                               .n_waits = WAITS};
    now = 1000000;
    return 0;
}

/* Nothing is left of anything. */
static void all_idle(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        assert_false(slots[i].used);
    for (unsigned i = 0; i < REFS; i++)
        assert_false(refs[i].used);
    for (unsigned i = 0; i < WAITS; i++)
        assert_false(waits[i].used);
}

static void a_mount_is_saved_before_it_is_answered(void **state)
{
    (void)state;
    mount(1, "a", 7);
    SAYS("raise1 ");
    done(VOL_EV_RAISED, 1, 0);
    SAYS("save1.a=1 yes7 ");
    unmount(1, "a", 8);
    SAYS("save1.a=0 lower1 yes8 ");
    done(VOL_EV_LOWERED, 1, 0);
    SAYS("");
    all_idle();
}

static void one_id_twice_counts_twice(void **state)
{
    (void)state;
    mount(1, "a", 1);
    done(VOL_EV_RAISED, 1, 0);
    mount(1, "a", 2); /* docker cp into the running container */
    SAYS("save1.a=2 yes2 ");
    unmount(1, "a", 3);
    SAYS("save1.a=1 yes3 "); /* which must not lose its mount */
    unmount(1, "a", 4);
    SAYS("save1.a=0 lower1 yes4 ");
    done(VOL_EV_LOWERED, 1, 0);
    all_idle();
}

static void several_ids_hold_one_mount(void **state)
{
    (void)state;
    mount(1, "a", 1);
    mount(1, "b", 2);
    SAYS(""); /* it is being raised already */
    done(VOL_EV_RAISED, 1, 0);
    SAYS("save1.a=1 yes1 save1.b=1 yes2 ");
    unmount(1, "a", 3);
    SAYS("save1.a=0 yes3 ");
    unmount(1, "b", 4);
    SAYS("save1.b=0 lower1 yes4 ");
}

static void an_unknown_unmount_is_a_success_and_changes_nothing(void **state)
{
    (void)state;
    unmount(1, "a", 1);
    SAYS("yes1 ");
    all_idle();
    mount(1, "a", 2);
    done(VOL_EV_RAISED, 1, 0);
    unmount(1, "b", 3);
    SAYS("yes3 ");
    unmount(2, "a", 4);
    SAYS("yes4 ");
    assert_int_equal(vol_find(&table, &slots[0].volume)->count, 1);
}

static void a_mount_that_fails_leaves_no_count(void **state)
{
    (void)state;
    mount(1, "a", 1);
    mount(1, "a", 2);
    done(VOL_EV_RAISED, 1, -5);
    SAYS("no1 no2 ");
    all_idle();
    mount(1, "a", 3); /* and the next one begins anew */
    SAYS("raise1 ");
}

static void who_hangs_up_is_forgotten_and_the_mount_taken_back(void **state)
{
    (void)state;
    mount(1, "a", 1);
    step((struct vol_event){.type = VOL_EV_HANGUP, .req = 1});
    SAYS("");
    done(VOL_EV_RAISED, 1, 0);
    SAYS("lower1 ");
    done(VOL_EV_LOWERED, 1, 0);
    all_idle();

    mount(1, "a", 2);
    mount(1, "b", 3);
    step((struct vol_event){.type = VOL_EV_HANGUP, .req = 2});
    done(VOL_EV_RAISED, 1, 0);
    SAYS("save1.b=1 yes3 "); /* the other one keeps it */
    step((struct vol_event){.type = VOL_EV_HANGUP, .req = 99});
    SAYS("");
}

static void a_mount_while_it_is_lowered_waits_and_raises_again(void **state)
{
    (void)state;
    mount(1, "a", 1);
    done(VOL_EV_RAISED, 1, 0);
    unmount(1, "a", 2);
    mount(1, "b", 3);
    SAYS("");
    done(VOL_EV_LOWERED, 1, 0);
    SAYS("raise1 ");
    done(VOL_EV_RAISED, 1, 0);
    SAYS("save1.b=1 yes3 ");
}

static void a_busy_volume_is_lowered_again_later(void **state)
{
    (void)state;
    mount(1, "a", 1);
    done(VOL_EV_RAISED, 1, 0);
    unmount(1, "a", 2);
    done(VOL_EV_LOWERED, 1, -16);
    SAYS("");
    tick();
    SAYS("");
    now += VOL_RETRY_MS;
    tick();
    SAYS("lower1 ");
    done(VOL_EV_LOWERED, 1, -16);
    now += VOL_RETRY_MS;
    tick();
    SAYS(""); /* twice as long */
    now += VOL_RETRY_MS;
    tick();
    SAYS("lower1 ");
    mount(1, "b", 3); /* it is still mounted: that will do */
    done(VOL_EV_LOWERED, 1, -16);
    SAYS("save1.b=1 yes3 ");
}

/* Told that it is mounted, a container would write beside it. */
static void what_is_unmounted_and_not_detached_is_not_up(void **state)
{
    (void)state;
    mount(1, "a", 1);
    done(VOL_EV_RAISED, 1, 0);
    unmount(1, "a", 2);
    half_done(1);
    SAYS("");
    mount(1, "b", 3);
    SAYS("");
    tick();
    SAYS("");
    now += VOL_RETRY_MS;
    tick();
    SAYS("lower1 ");
    tick();
    SAYS(""); /* once */
    half_done(1);
    now += 2 * VOL_RETRY_MS;
    tick();
    SAYS("lower1 ");
    done(VOL_EV_LOWERED, 1, 0);
    SAYS("raise1 ");
    done(VOL_EV_RAISED, 1, 0);
    SAYS("save1.b=1 yes3 ");
}

static void after_a_restart_counts_and_mounts_are_put_together(void **state)
{
    (void)state;
    step((struct vol_event){
        .type = VOL_EV_RESTORE, .volume = vol(1), .id = "a", .count = 2});
    step((struct vol_event){
        .type = VOL_EV_RESTORE, .volume = vol(2), .id = "b", .count = 1});
    step((struct vol_event){
        .type = VOL_EV_FOUND, .volume = vol(1), .mounted = true});
    step((struct vol_event){
        .type = VOL_EV_FOUND, .volume = vol(3), .mounted = true});
    step((struct vol_event){.type = VOL_EV_START});
    /* 1 goes on; 2 is not mounted any more; of 3 nobody was told. */
    SAYS("save2.b=0 lower3 ");
    unmount(1, "a", 1);
    SAYS("save1.a=1 yes1 ");
    unmount(1, "a", 2);
    SAYS("save1.a=0 lower1 yes2 ");
    done(VOL_EV_LOWERED, 1, 0);
    done(VOL_EV_LOWERED, 3, 0);
    all_idle();
}

static void what_a_restart_finds_half_way_comes_down(void **state)
{
    (void)state;
    step((struct vol_event){
        .type = VOL_EV_RESTORE, .volume = vol(1), .id = "a", .count = 1});
    step((struct vol_event){.type = VOL_EV_FOUND, .volume = vol(1)});
    step((struct vol_event){.type = VOL_EV_START});
    /* Attached, not mounted: what was told of it is over. */
    SAYS("save1.a=0 ");
    mount(1, "b", 1);
    SAYS("");
    tick();
    SAYS("lower1 ");
    done(VOL_EV_LOWERED, 1, 0);
    SAYS("raise1 ");
    done(VOL_EV_RAISED, 1, 0);
    SAYS("save1.b=1 yes1 ");
    unmount(1, "b", 2);
    SAYS("save1.b=0 lower1 yes2 ");
    done(VOL_EV_LOWERED, 1, 0);
    all_idle();
}

static void full_tables_refuse_and_lose_nothing(void **state)
{
    char id[8];
    (void)state;
    for (unsigned i = 0; i < REFS; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        mount(1, id, i);
    }
    mount(1, "x", 100);
    SAYS("no100 ");
    mount(2, "x", 101);
    SAYS("no101 ");
    assert_null(vol_find(&table, &(struct kt_id){.b = {2}}));
    done(VOL_EV_RAISED, 1, 0);
    for (unsigned i = 0; i < REFS; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        unmount(1, id, i);
    }
    done(VOL_EV_LOWERED, 1, 0);
    all_idle();
    for (unsigned v = 1; v <= SLOTS; v++)
        mount(v, "a", v);
    mount(SLOTS + 1, "a", 9);
    SAYS("no9 ");
}

/* Any order of events: counts add up, everyone is answered once, and with
 * nobody left everything comes down. */
static void random_events_keep_the_books(void **state)
{
    uint64_t req = 0;
    unsigned raised = 0;
    (void)state;
    srandom(7);
    for (unsigned n = 0; n < 200000; n++) {
        unsigned v = 1 + (unsigned)random() % 3;
        char id[2] = {(char)('a' + random() % 2), 0};
        struct kt_id vid = vol(v);
        const struct vol_slot *s = vol_find(&table, &vid);
        switch (random() % 8) {
        case 0:
            mount(v, id, ++req);
            break;
        case 1:
        case 6:
            unmount(v, id, 0);
            break;
        case 2:
            step((struct vol_event){.type = VOL_EV_HANGUP, .req = req});
            break;
        case 3:
            if (s && s->phase == VOL_RAISING)
                done(VOL_EV_RAISED, v, random() % 3 ? 0 : -5), raised++;
            break;
        case 4:
            if (s && s->phase == VOL_LOWERING)
                done(VOL_EV_LOWERED, v, random() % 3 ? 0 : -16);
            break;
        default:
            now += 500;
            step((struct vol_event){.type = VOL_EV_TICK});
            break;
        }
        for (unsigned i = 0; i < SLOTS; i++) {
            uint32_t count = 0, waiting = 0;
            for (unsigned k = 0; k < REFS; k++) {
                if (refs[k].used && refs[k].slot == i) {
                    count += refs[k].count;
                    waiting += refs[k].count - refs[k].answered;
                }
            }
            assert_true(slots[i].used || count == 0);
            if (slots[i].used) {
                assert_int_equal(slots[i].count, count);
                assert_int_equal(slots[i].waiting, waiting);
                assert_true(slots[i].phase != VOL_IDLE);
                assert_true(slots[i].phase != VOL_UP || waiting == 0);
            }
        }
    }
    assert_true(raised > 1000);
    for (unsigned v = 1; v <= 3; v++) {
        struct kt_id vid = vol(v);
        const struct vol_slot *s = vol_find(&table, &vid);
        if (s && s->phase == VOL_RAISING)
            done(VOL_EV_RAISED, v, 0);
        for (unsigned k = 0; k < 1000; k++)
            unmount(v, k % 2 ? "a" : "b", 0);
        now += VOL_RETRY_MS_MAX;
        step((struct vol_event){.type = VOL_EV_TICK});
        done(VOL_EV_LOWERED, v, 0);
        if (vol_find(&table, &vid)) { /* who waited for it to go down */
            done(VOL_EV_RAISED, v, 0);
            for (unsigned k = 0; k < 1000; k++)
                unmount(v, k % 2 ? "a" : "b", 0);
            done(VOL_EV_LOWERED, v, 0);
        }
    }
    all_idle();
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, set_up)
    const struct CMUnitTest tests[] = {
        CASE(a_mount_is_saved_before_it_is_answered),
        CASE(one_id_twice_counts_twice),
        CASE(several_ids_hold_one_mount),
        CASE(an_unknown_unmount_is_a_success_and_changes_nothing),
        CASE(a_mount_that_fails_leaves_no_count),
        CASE(who_hangs_up_is_forgotten_and_the_mount_taken_back),
        CASE(a_mount_while_it_is_lowered_waits_and_raises_again),
        CASE(a_busy_volume_is_lowered_again_later),
        CASE(what_is_unmounted_and_not_detached_is_not_up),
        CASE(after_a_restart_counts_and_mounts_are_put_together),
        CASE(what_a_restart_finds_half_way_comes_down),
        CASE(full_tables_refuse_and_lose_nothing),
        CASE(random_events_keep_the_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
