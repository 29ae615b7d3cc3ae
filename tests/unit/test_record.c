/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <string.h>

#include "lib/wire/record.h"

static struct kt_record good(uint8_t op)
{
    return (struct kt_record){
        .chain = 1,
        .id = {1, 1},
        .op = op,
        .len = op >= KT_OP_COPY_START && op != KT_OP_BASE ? 0 : 8192,
    };
}

static void every_operation_has_a_valid_form(void **state)
{
    static const uint8_t ops[] = {KT_OP_WRITE,      KT_OP_ZERO, KT_OP_TRIM,
                                  KT_OP_COPY_START, KT_OP_BASE, KT_OP_BASE_END,
                                  KT_OP_RESET};
    (void)state;
    for (size_t i = 0; i < sizeof(ops); i++) {
        struct kt_record r = good(ops[i]);
        assert_null(kt_record_invalid(&r, 1));
    }
    for (unsigned op = 0; op < 256; op++) {
        struct kt_record r = good((uint8_t)op);
        if (!memchr(ops, (int)op, sizeof(ops)))
            assert_non_null(kt_record_invalid(&r, 1));
    }
}

static void ranges_stay_within_the_extent(void **state)
{
    (void)state;
    struct kt_record r = good(KT_OP_ZERO);
    r.len = KT_EXTENT_BYTES;
    assert_null(kt_record_invalid(&r, 1));
    assert_true(kt_record_frees(&r));
    r.off = 4096;
    assert_non_null(kt_record_invalid(&r, 1));
    r.off = UINT32_MAX & ~4095u;
    r.len = 8192; /* the sum wraps */
    assert_non_null(kt_record_invalid(&r, 1));
    r = good(KT_OP_TRIM);
    r.len = 0;
    assert_non_null(kt_record_invalid(&r, 1));
    r.len = 100;
    assert_non_null(kt_record_invalid(&r, 1));
    r = good(KT_OP_WRITE);
    r.off = 1;
    assert_non_null(kt_record_invalid(&r, 1));
    r.off = 0;
    r.len = KT_RECORD_BYTES_MAX;
    assert_null(kt_record_invalid(&r, 1));
    r.len += 4096;
    assert_non_null(kt_record_invalid(&r, 1));
    r = good(KT_OP_WRITE);
    r.extent = 7;
    assert_non_null(kt_record_invalid(&r, 7));
    assert_null(kt_record_invalid(&r, 8));
}

static void flags_belong_to_their_operations(void **state)
{
    (void)state;
    struct kt_record r = good(KT_OP_WRITE);
    r.flags = KT_RF_FUA | KT_RF_SKIP;
    assert_null(kt_record_invalid(&r, 1));
    r.flags = KT_RF_NO_HOLE;
    assert_non_null(kt_record_invalid(&r, 1));
    r.flags = 16;
    assert_non_null(kt_record_invalid(&r, 1));
    r = good(KT_OP_ZERO);
    r.flags = KT_RF_NO_HOLE;
    assert_null(kt_record_invalid(&r, 1));
    r = good(KT_OP_BASE_END);
    r.flags = KT_RF_ALLOC;
    assert_null(kt_record_invalid(&r, 1));
    r.flags = KT_RF_SKIP;
    assert_non_null(kt_record_invalid(&r, 1));
}

static void keep_names_only_sectors_of_the_record(void **state)
{
    (void)state;
    struct kt_record r = good(KT_OP_BASE);
    r.keep[0] = 3;
    assert_null(kt_record_invalid(&r, 1));
    r.keep[0] = 4;
    assert_non_null(kt_record_invalid(&r, 1));
    r.keep[0] = 0;
    r.keep[3] = 1;
    assert_non_null(kt_record_invalid(&r, 1));
    r.len = KT_RECORD_BYTES_MAX;
    memset(r.keep, 0xff, sizeof(r.keep));
    assert_null(kt_record_invalid(&r, 1));
}

static struct kt_record step(uint64_t token, uint64_t wseq, uint64_t wstable,
                             uint64_t seq)
{
    struct kt_record r = good(KT_OP_WRITE);
    r.token = token;
    r.wseq = wseq;
    r.wstable = wstable;
    r.id.seq = seq;
    return r;
}

static void fold(struct kt_dedup *d, struct kt_record r)
{
    kt_dedup_fold(d, &r);
}

static void an_executed_write_is_seen_again(void **state)
{
    (void)state;
    struct kt_dedup d = {0};
    uint64_t seq = 0;
    assert_int_equal(kt_dedup_check(&d, 5, 1, &seq), KT_DEDUP_NEW);
    fold(&d, step(5, 1, 0, 100));
    fold(&d, step(5, 3, 0, 101));
    assert_int_equal(kt_dedup_check(&d, 5, 1, &seq), KT_DEDUP_SEEN);
    assert_int_equal(seq, 100);
    assert_int_equal(kt_dedup_check(&d, 5, 3, &seq), KT_DEDUP_SEEN);
    assert_int_equal(seq, 101);
    assert_int_equal(kt_dedup_check(&d, 5, 2, &seq), KT_DEDUP_NEW);
    assert_int_equal(kt_dedup_check(&d, 5, 512, &seq), KT_DEDUP_NEW);
    assert_int_equal(kt_dedup_check(&d, 5, 513, &seq), KT_DEDUP_AHEAD);
    assert_int_equal(kt_dedup_check(&d, 5, UINT64_MAX, &seq), KT_DEDUP_AHEAD);
    assert_int_equal(kt_dedup_check(&d, 4, 2, &seq), KT_DEDUP_STALE);
    assert_int_equal(kt_dedup_check(&d, 6, 1, &seq), KT_DEDUP_NEW);
}

static void settled_writes_are_stale(void **state)
{
    (void)state;
    struct kt_dedup d = {0};
    uint64_t seq;
    fold(&d, step(5, 1, 0, 100));
    fold(&d, step(5, 4, 2, 101));
    assert_int_equal(kt_dedup_check(&d, 5, 1, &seq), KT_DEDUP_STALE);
    assert_int_equal(kt_dedup_check(&d, 5, 2, &seq), KT_DEDUP_STALE);
    assert_int_equal(kt_dedup_check(&d, 5, 3, &seq), KT_DEDUP_NEW);
    assert_int_equal(kt_dedup_check(&d, 5, 514, &seq), KT_DEDUP_NEW);
    /* An older wstable in a later record does not move it back. */
    fold(&d, step(5, 3, 0, 102));
    assert_int_equal(kt_dedup_check(&d, 5, 2, &seq), KT_DEDUP_STALE);
}

static void a_window_slot_never_speaks_of_an_older_lap(void **state)
{
    (void)state;
    struct kt_dedup d = {0};
    uint64_t seq;
    for (uint64_t w = 1; w <= 5000; w++) {
        uint64_t wstable = w > 100 ? w - 100 : 0;
        if (w % 3 != 0)
            fold(&d, step(1, w, wstable, w + 7));
        for (uint64_t v = d.wstable + 1; v <= d.wstable + 512; v++) {
            int want = v <= w && v % 3 != 0 ? KT_DEDUP_SEEN : KT_DEDUP_NEW;
            assert_int_equal(kt_dedup_check(&d, 1, v, &seq), want);
            if (want == KT_DEDUP_SEEN)
                assert_int_equal(seq, v + 7);
        }
    }
    fold(&d, step(1, 100000, 99999, 9));
    for (uint64_t v = 100001; v < 100512; v++)
        assert_int_equal(kt_dedup_check(&d, 1, v, &seq), KT_DEDUP_NEW);
}

static void
a_new_token_starts_afresh_and_an_old_one_changes_nothing(void **state)
{
    (void)state;
    struct kt_dedup d = {0};
    uint64_t seq;
    fold(&d, step(5, 1, 0, 100));
    fold(&d, step(6, 2, 0, 101));
    assert_int_equal(kt_dedup_check(&d, 6, 1, &seq), KT_DEDUP_NEW);
    fold(&d, step(5, 1, 0, 102));
    assert_int_equal(kt_dedup_check(&d, 6, 1, &seq), KT_DEDUP_NEW);
    assert_int_equal(d.token, 6);
}

static void the_filter_survives_its_bytes(void **state)
{
    (void)state;
    struct kt_dedup d = {.token = 0x0102030405060708, .wstable = 9};
    struct kt_dedup e;
    uint8_t b[KT_DEDUP_BYTES];
    for (unsigned i = 0; i < KT_WSEQ_WINDOW; i++)
        d.window[i] = i * 77;
    kt_dedup_encode(&d, b);
    assert_int_equal(b[0], 8);
    assert_int_equal(b[7], 1);
    assert_int_equal(b[16 + 8], 77);
    kt_dedup_decode(&e, b);
    assert_memory_equal(&d, &e, sizeof(d));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_has_a_valid_form),
        cmocka_unit_test(ranges_stay_within_the_extent),
        cmocka_unit_test(flags_belong_to_their_operations),
        cmocka_unit_test(keep_names_only_sectors_of_the_record),
        cmocka_unit_test(an_executed_write_is_seen_again),
        cmocka_unit_test(settled_writes_are_stale),
        cmocka_unit_test(a_window_slot_never_speaks_of_an_older_lap),
        cmocka_unit_test(
            a_new_token_starts_afresh_and_an_old_one_changes_nothing),
        cmocka_unit_test(the_filter_survives_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
