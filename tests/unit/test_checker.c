/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulator's checker against an exhaustive search, and its verdicts on
 * histories a person can judge. */
#include "tests/unit/unit.h"

#include <string.h>

#include "tests/sim/checker.h"

#define OPS_MAX 9u
#define HISTORIES 250000u

static uint64_t seed = 20261122;

static uint64_t draw(uint64_t n)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
}

/* ---- the search: every order that real time allows ---- */

/* One of the operations not yet placed must come first: any that no other
 * one precedes. An optional write may be left out for good. */
static bool search(const struct check_op *ops, unsigned n, unsigned done,
                   uint64_t value)
{
    if (done == (1u << n) - 1)
        return true;
    uint64_t first_end = CHECK_NEVER;
    for (unsigned i = 0; i < n; i++) {
        if (!(done & 1u << i) && ops[i].f < first_end)
            first_end = ops[i].f;
    }
    for (unsigned i = 0; i < n; i++) {
        const struct check_op *o = &ops[i];
        if (done & 1u << i)
            continue;
        if (o->optional && search(ops, n, done | 1u << i, value))
            return true;
        if (o->s > first_end)
            continue;
        if (o->kind == CHECK_READ && o->id != value)
            continue;
        uint64_t next = o->kind == CHECK_WRITE ? o->id : value;
        if (search(ops, n, done | 1u << i, next))
            return true;
    }
    return false;
}

/* Distinct stamps: a random order of all the starts and ends. */
static void draw_times(struct check_op *ops, unsigned n)
{
    uint64_t at[2 * OPS_MAX];
    for (unsigned i = 0; i < 2 * n; i++)
        at[i] = i + 1;
    unsigned span = 2 + (unsigned)draw(2 * n); /* how far they may stray */
    for (unsigned i = 0; i + 1 < 2 * n; i++) {
        unsigned far = 2 * n - i < span ? 2 * n - i : span;
        unsigned j = i + (unsigned)draw(far);
        uint64_t t = at[i];
        at[i] = at[j];
        at[j] = t;
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t a = at[2 * i], b = at[2 * i + 1];
        ops[i].s = a < b ? a : b;
        ops[i].f = a < b ? b : a;
    }
}

static unsigned draw_history(struct check_op *ops)
{
    unsigned n = 2 + (unsigned)draw(OPS_MAX - 1), writes = 0;
    memset(ops, 0, n * sizeof(*ops));
    draw_times(ops, n);
    for (unsigned i = 0; i < n; i++) {
        if (draw(2)) {
            ops[i].kind = CHECK_WRITE;
            ops[i].id = ++writes;
            ops[i].optional = draw(4) == 0;
            if (ops[i].optional && draw(2))
                ops[i].f = CHECK_NEVER;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (ops[i].kind == CHECK_READ)
            ops[i].id = draw(writes + 1);
    }
    return n;
}

static void agrees_with_an_exhaustive_search(void **state)
{
    struct check_op ops[OPS_MAX];
    uint64_t ids[2];
    unsigned good = 0;
    (void)state;
    for (unsigned i = 0; i < HISTORIES; i++) {
        unsigned n = draw_history(ops);
        bool expected = search(ops, n, 0, 0);
        bool said = check_register(ops, n, 0, ids) == NULL;
        if (said != expected)
            fail_msg("history %u of %u ops: said %d", i, n, said);
        good += said;
    }
    /* Both answers were given often. */
    assert_in_range(good, HISTORIES / 10, HISTORIES / 10 * 9);
}

/* ---- histories a person can judge ---- */

#define W(i, from, to)                                                         \
    {                                                                          \
        .kind = CHECK_WRITE, .id = (i), .s = (from), .f = (to)                 \
    }
#define R(i, from, to)                                                         \
    {                                                                          \
        .kind = CHECK_READ, .id = (i), .s = (from), .f = (to)                  \
    }
#define VERDICT(ops) check_register((ops), sizeof(ops) / sizeof(*(ops)), 0, ids)

static void an_acknowledged_write_is_seen(void **state)
{
    uint64_t ids[2];
    struct check_op lost[] = {W(1, 1, 2), R(0, 3, 4)};
    struct check_op kept[] = {W(1, 1, 2), R(1, 3, 4)};
    struct check_op open[] = {W(1, 1, 5), R(0, 3, 4)};
    (void)state;
    assert_non_null(VERDICT(lost));
    assert_null(VERDICT(kept));
    assert_null(VERDICT(open));
}

static void reads_do_not_go_back(void **state)
{
    uint64_t ids[2];
    struct check_op back[] = {W(1, 1, 9), R(1, 2, 3), R(0, 4, 5)};
    struct check_op fore[] = {W(1, 1, 9), R(0, 2, 3), R(1, 4, 5)};
    (void)state;
    assert_non_null(VERDICT(back));
    assert_null(VERDICT(fore));
}

static void an_unknown_outcome_ends_with_the_fence(void **state)
{
    uint64_t ids[2];
    struct check_op late[] = {W(1, 1, 4), W(2, 5, 6), R(2, 7, 8), R(1, 9, 10)};
    (void)state;
    late[0].optional = true;
    assert_non_null(VERDICT(late)); /* it was fenced at 4 */
    late[0].f = CHECK_NEVER;
    assert_null(VERDICT(late));
}

static void what_was_refused_or_never_written_is_not_read(void **state)
{
    uint64_t ids[2];
    struct check_op refused[] = {W(1, 1, 2), R(1, 3, 4)};
    struct check_op never[] = {R(7, 1, 2)};
    struct check_op future[] = {R(1, 1, 2), W(1, 3, 4)};
    (void)state;
    refused[0].refused = true;
    assert_non_null(VERDICT(refused));
    assert_non_null(VERDICT(never));
    assert_int_equal(ids[0], 7);
    assert_non_null(VERDICT(future));
}

static void a_history_may_begin_with_any_value(void **state)
{
    uint64_t ids[2];
    struct check_op ops[] = {R(9, 1, 2), W(1, 3, 4), R(1, 5, 6)};
    struct check_op old[] = {W(1, 3, 4), R(9, 5, 6)};
    (void)state;
    assert_null(check_register(ops, 3, 9, ids));
    assert_non_null(check_register(ops, 3, 0, ids));
    assert_non_null(check_register(old, 2, 9, ids));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_an_exhaustive_search),
        cmocka_unit_test(an_acknowledged_write_is_seen),
        cmocka_unit_test(reads_do_not_go_back),
        cmocka_unit_test(an_unknown_outcome_ends_with_the_fence),
        cmocka_unit_test(what_was_refused_or_never_written_is_not_read),
        cmocka_unit_test(a_history_may_begin_with_any_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
