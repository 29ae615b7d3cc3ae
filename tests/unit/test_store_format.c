/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes of the store on disk: pinned, and refused when they are damaged. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/logfmt.h"
#include "replicator/store/super.h"
#include "tests/unit/unit.h"

static struct log_rec_head some_head(void)
{
    struct log_rec_head h = {.uuid = 0x1122334455667788,
                             .seg = 3,
                             .lsn = 77,
                             .incarnation = 5,
                             .durable_lsn = 70,
                             .n_extents = 64,
                             .n_sums = 2,
                             .data_len = 4096,
                             .sums_sum = 9,
                             .rec = {.chain = 7,
                                     .id = {2, 41},
                                     .prev = {2, 40},
                                     .token = 1,
                                     .wseq = 6,
                                     .wstable = 4,
                                     .op = KT_OP_WRITE,
                                     .flags = KT_RF_FUA,
                                     .extent = 9,
                                     .off = 8192,
                                     .len = 8192}};
    return h;
}

static void a_record_head_is_what_it_was(void **state)
{
    uint8_t b[LOG_REC_HEAD_BYTES];
    struct log_rec_head h = some_head(), back;
    (void)state;
    log_rec_encode(&h, b);
    static const uint8_t first[] = {'K',  'T',  'R',  'C',  64,   0,
                                    0,    0,    0x88, 0x77, 0x66, 0x55,
                                    0x44, 0x33, 0x22, 0x11, 3,    0};
    assert_memory_equal(b, first, sizeof(first));
    assert_int_equal(b[24], 77);
    assert_int_equal(b[72], 7);
    assert_int_equal(b[136], KT_OP_WRITE);
    assert_int_equal(b[140], 9);
    assert_int_equal(log_rec_decode(b, &back), 0);
    assert_int_equal(back.lsn, 77);
    assert_int_equal(back.durable_lsn, 70);
    uint8_t again[LOG_REC_HEAD_BYTES];
    log_rec_encode(&back, again);
    assert_memory_equal(again, b, sizeof(b));
}

static void every_flipped_bit_of_a_record_head_is_seen(void **state)
{
    uint8_t b[LOG_REC_HEAD_BYTES];
    struct log_rec_head h = some_head(), back;
    (void)state;
    log_rec_encode(&h, b);
    log_rec_end(b);
    assert_int_equal(log_rec_decode(b, &back), 0);
    assert_true(back.ends && back.lsn == h.lsn);
    for (unsigned i = 0; i < 8 * sizeof(b); i++) {
        b[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(log_rec_decode(b, &back), KT_E_CORRUPT);
        b[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
}

static void payload_and_sums_must_fit_together(void **state)
{
    static uint8_t data[4096] = {1, 2, 3};
    struct log_rec_head h = some_head();
    uint64_t sums[2] = {0, kt_sum64(data, sizeof(data))};
    (void)state;
    h.sums_sum = kt_sum64(sums, sizeof(sums));
    assert_true(log_rec_check(&h, sums, data));
    data[4000] ^= 1;
    assert_false(log_rec_check(&h, sums, data));
    data[4000] ^= 1;
    sums[0] = 5;
    assert_false(log_rec_check(&h, sums, data));
    h.sums_sum = kt_sum64(sums, sizeof(sums));
    assert_false(log_rec_check(&h, sums, data)); /* one sector too few */
}

static void every_flipped_bit_of_a_segment_head_is_seen(void **state)
{
    static uint8_t b[LOG_SEG_HEAD_BYTES];
    struct log_seg_head h = {.no = 4, .incarnation = 2, .bytes = 2u << 20};
    struct log_seg_head back;
    (void)state;
    log_seg_encode(&h, b);
    assert_memory_equal(b, "KTLOG001", 8);
    assert_int_equal(log_seg_decode(b, &back), 0);
    assert_int_equal(back.no, 4);
    for (unsigned i = 0; i < 8 * sizeof(b); i += 3) {
        b[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(log_seg_decode(b, &back), KT_E_CORRUPT);
        b[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
}

static void the_newer_whole_superblock_counts(void **state)
{
    char dir[] = "/tmp/kt-super-XXXXXX", cmd[64];
    struct super s = {.incarnation = 4,
                      .capacity = 1 << 22,
                      .seg_bytes = LOG_SEG_BYTES_MIN,
                      .clean = true};
    struct super back;
    (void)state;
    assert_non_null(mkdtemp(dir));
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(super_save(fd, &s), 0);
    s.incarnation = 5;
    s.clean = false;
    assert_int_equal(super_save(fd, &s), 0);
    assert_int_equal(super_load(fd, &back), 0);
    assert_int_equal(back.incarnation, 5);
    assert_false(back.clean);
    assert_false(back.one_bad);
    /* A torn write of the newer copy leaves the older. */
    int f = openat(fd, "super.a", O_RDWR);
    assert_int_equal(kt_pwrite_all(f, "xyz", 3, 100), 0);
    assert_int_equal(super_load(fd, &back), 0);
    assert_int_equal(back.incarnation, 4);
    assert_true(back.one_bad);
    assert_int_equal(ftruncate(f, 17), 0);
    assert_int_equal(super_load(fd, &back), 0);
    assert_int_equal(back.incarnation, 4);
    /* Whatever its sum says, it must make sense. */
    for (unsigned i = 0; i < 4; i++) {
        s.seg_bytes = i == 0 ? 0 : i == 1 ? UINT32_MAX : LOG_SEG_BYTES_MIN;
        s.capacity = i < 2 ? 1 << 22 : SUPER_CAPACITY_MAX + (i == 2);
        for (unsigned both = 0; both < 2; both++)
            assert_int_equal(super_save(fd, &s), 0);
        assert_int_equal(super_load(fd, &back), i < 3 ? KT_E_CORRUPT : 0);
    }
    close(f);
    close(fd);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    assert_int_equal(system(cmd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_head_is_what_it_was),
        cmocka_unit_test(every_flipped_bit_of_a_record_head_is_seen),
        cmocka_unit_test(payload_and_sums_must_fit_together),
        cmocka_unit_test(every_flipped_bit_of_a_segment_head_is_seen),
        cmocka_unit_test(the_newer_whole_superblock_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
