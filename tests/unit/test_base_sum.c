/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/base/sum.h"

#include <stdlib.h>
#include <string.h>

/* The shared library, as a second opinion on the code compiled in. */
#include <xxhash.h>

#include "tests/unit/unit.h"

static void the_sum_is_xxh3_of_64_bits(void **state)
{
    uint8_t buf[KT_SECTOR_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)(i * 7);
    /* Pinned: these numbers are on disks. */
    assert_true(kt_sum64("", 0) == 0x2d06800538d394c2);
    for (size_t n = 0; n <= sizeof(buf); n += n < 300 ? 1 : 97)
        assert_true(kt_sum64(buf, n) == XXH3_64bits(buf, n));
}

static void the_long_sum_is_xxh3_of_128_bits_low_half_first(void **state)
{
    static const char text[] = "kenter";
    (void)state;
    struct kt_id id = kt_sum128(text, 6);
    XXH128_hash_t h = XXH3_128bits(text, 6);
    uint64_t low = 0, high = 0;
    for (int i = 7; i >= 0; i--) {
        low = low << 8 | id.b[i];
        high = high << 8 | id.b[8 + i];
    }
    assert_true(low == h.low64);
    assert_true(high == h.high64);
}

static void every_sector_has_its_own_sum(void **state)
{
    size_t len = 3 * KT_SECTOR_BYTES;
    uint8_t *buf = calloc(1, len);
    uint64_t sums[3];
    (void)state;
    assert_non_null(buf);
    buf[KT_SECTOR_BYTES] = 1;
    kt_sum_sectors(buf, len, sums);
    assert_true(sums[0] == sums[2]);
    assert_true(sums[0] != sums[1]);
    assert_true(sums[0] != 0);
    assert_true(sums[1] == kt_sum64(buf + KT_SECTOR_BYTES, KT_SECTOR_BYTES));
    assert_true(kt_sum_check(buf, len, sums));
    assert_true(kt_sum_check(buf, 0, sums));
    free(buf);
}

static void every_flipped_bit_is_seen(void **state)
{
    uint8_t *buf = calloc(2, KT_SECTOR_BYTES);
    uint64_t sums[2];
    (void)state;
    assert_non_null(buf);
    for (size_t i = 0; i < 2 * KT_SECTOR_BYTES; i++)
        buf[i] = (uint8_t)(i >> 3);
    kt_sum_sectors(buf, 2 * KT_SECTOR_BYTES, sums);
    for (size_t bit = 0; bit < 2 * 8 * KT_SECTOR_BYTES; bit += 13) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(kt_sum_check(buf, 2 * KT_SECTOR_BYTES, sums));
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(kt_sum_check(buf, 2 * KT_SECTOR_BYTES, sums));
    free(buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_is_xxh3_of_64_bits),
        cmocka_unit_test(the_long_sum_is_xxh3_of_128_bits_low_half_first),
        cmocka_unit_test(every_sector_has_its_own_sum),
        cmocka_unit_test(every_flipped_bit_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
