/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/base/cursor.h"

#include "tests/unit/unit.h"

static void numbers_are_little_endian_on_the_wire(void **state)
{
    uint8_t buf[15];
    static const uint8_t want[] = {0x01, 0x34, 0x12, 0x78, 0x56,
                                   0x34, 0x12, 0xf0, 0xde, 0xbc,
                                   0x9a, 0x78, 0x56, 0x34, 0x12};
    (void)state;
    struct kt_cur c = kt_cur_w(buf, sizeof(buf));
    kt_put_u8(&c, 1);
    kt_put_u16(&c, 0x1234);
    kt_put_u32(&c, 0x12345678);
    kt_put_u64(&c, 0x123456789abcdef0);
    assert_false(c.bad);
    assert_int_equal(c.left, 0);
    assert_memory_equal(buf, want, sizeof(want));

    c = kt_cur_r(buf, sizeof(buf));
    assert_int_equal(kt_get_u8(&c), 1);
    assert_int_equal(kt_get_u16(&c), 0x1234);
    assert_int_equal(kt_get_u32(&c), 0x12345678);
    assert_true(kt_get_u64(&c) == 0x123456789abcdef0);
    assert_false(c.bad);
}

static void reading_past_the_end_gives_zeros_and_sticks(void **state)
{
    const uint8_t buf[3] = {1, 2, 3};
    uint8_t out[4] = {9, 9, 9, 9};
    (void)state;
    struct kt_cur c = kt_cur_r(buf, sizeof(buf));
    assert_int_equal(kt_get_u32(&c), 0);
    assert_true(c.bad);
    /* The failure sticks though one byte would fit. */
    assert_int_equal(kt_get_u8(&c), 0);
    kt_get_bytes(&c, out, 4);
    assert_int_equal(out[0] | out[1] | out[2] | out[3], 0);
}

static void writing_past_the_end_writes_nothing(void **state)
{
    uint8_t buf[4] = {7, 7, 7, 7};
    (void)state;
    struct kt_cur c = kt_cur_w(buf, 3);
    kt_put_u32(&c, 0);
    assert_true(c.bad);
    kt_put_u8(&c, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(buf[i], 7);
}

static void a_length_near_the_largest_does_not_wrap(void **state)
{
    uint8_t buf[8];
    (void)state;
    struct kt_cur c = kt_cur_r(buf, sizeof(buf));
    assert_null(kt_cur_take(&c, SIZE_MAX));
    assert_true(c.bad);
    assert_ptr_equal(c.p, buf);
}

static void short_strings_come_back_as_they_went(void **state)
{
    uint8_t buf[64];
    char s[8];
    (void)state;
    struct kt_cur c = kt_cur_w(buf, sizeof(buf));
    kt_put_str8(&c, "abc");
    kt_put_str8(&c, "");
    assert_false(c.bad);
    assert_int_equal(c.left, sizeof(buf) - 5);
    c = kt_cur_r(buf, 5);
    kt_get_str8(&c, s, sizeof(s));
    assert_string_equal(s, "abc");
    kt_get_str8(&c, s, sizeof(s));
    assert_string_equal(s, "");
    assert_false(c.bad);
}

static void a_string_that_does_not_fit_is_refused(void **state)
{
    const uint8_t buf[] = {3, 'a', 'b', 'c'};
    char s[4];
    (void)state;
    struct kt_cur c = kt_cur_r(buf, sizeof(buf));
    kt_get_str8(&c, s, 3); /* no room for the NUL */
    assert_true(c.bad);
    assert_string_equal(s, "");
    c = kt_cur_r(buf, 3); /* cut off */
    kt_get_str8(&c, s, sizeof(s));
    assert_true(c.bad);
    assert_string_equal(s, "");
}

static void a_string_with_a_nul_inside_is_refused(void **state)
{
    const uint8_t buf[] = {3, 'a', 0, 'c'};
    char s[8];
    (void)state;
    struct kt_cur c = kt_cur_r(buf, sizeof(buf));
    kt_get_str8(&c, s, sizeof(s));
    assert_true(c.bad);
    assert_string_equal(s, "");
}

static void a_string_of_more_than_255_bytes_is_not_written(void **state)
{
    uint8_t buf[400];
    char s[300];
    (void)state;
    memset(s, 'x', sizeof(s));
    s[256] = '\0';
    struct kt_cur c = kt_cur_w(buf, sizeof(buf));
    kt_put_str8(&c, s);
    assert_true(c.bad);
    assert_int_equal(c.left, sizeof(buf));
}

static void identities_come_back_as_they_went(void **state)
{
    struct kt_id in, out;
    uint8_t buf[16];
    (void)state;
    for (int i = 0; i < 16; i++)
        in.b[i] = (uint8_t)(i * 17);
    struct kt_cur c = kt_cur_w(buf, sizeof(buf));
    kt_put_id(&c, &in);
    assert_false(c.bad);
    c = kt_cur_r(buf, sizeof(buf));
    kt_get_id(&c, &out);
    assert_true(kt_id_eq(&in, &out));
    c = kt_cur_r(buf, 15);
    kt_get_id(&c, &out);
    assert_true(c.bad);
    assert_true(kt_id_is_zero(&out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian_on_the_wire),
        cmocka_unit_test(reading_past_the_end_gives_zeros_and_sticks),
        cmocka_unit_test(writing_past_the_end_writes_nothing),
        cmocka_unit_test(a_length_near_the_largest_does_not_wrap),
        cmocka_unit_test(short_strings_come_back_as_they_went),
        cmocka_unit_test(a_string_that_does_not_fit_is_refused),
        cmocka_unit_test(a_string_with_a_nul_inside_is_refused),
        cmocka_unit_test(a_string_of_more_than_255_bytes_is_not_written),
        cmocka_unit_test(identities_come_back_as_they_went),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
