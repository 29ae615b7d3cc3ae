/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/base/id.h"

#include <errno.h>

#include "tests/unit/unit.h"

static void an_identity_is_written_as_32_small_digits(void **state)
{
    struct kt_id id;
    char hex[KT_ID_HEX_BYTES];
    (void)state;
    for (int i = 0; i < 16; i++)
        id.b[i] = (uint8_t)(i * 17);
    assert_string_equal(kt_id_hex(&id, hex),
                        "00112233445566778899aabbccddeeff");
}

static void a_uuid_has_its_dashes(void **state)
{
    char uuid[KT_ID_UUID_BYTES];
    struct kt_id id;
    (void)state;
    assert_int_equal(kt_id_parse("00112233445566778899aabbccddeeff", &id), 0);
    assert_string_equal(kt_id_uuid(&id, uuid),
                        "00112233-4455-6677-8899-aabbccddeeff");
}

static void what_was_written_is_read_back(void **state)
{
    struct kt_id a, b;
    char hex[KT_ID_HEX_BYTES];
    (void)state;
    for (int i = 0; i < 100; i++) {
        kt_id_random(&a);
        assert_int_equal(kt_id_parse(kt_id_hex(&a, hex), &b), 0);
        assert_true(kt_id_eq(&a, &b));
    }
    assert_int_equal(kt_id_parse("00112233445566778899AABBCCDDEEFF", &a), 0);
    assert_int_equal(a.b[15], 0xff);
}

static void anything_but_32_digits_is_refused(void **state)
{
    static const char *const bad[] = {
        NULL,
        "",
        "0",
        "00112233445566778899aabbccddeef",
        "00112233445566778899aabbccddeeff0",
        "00112233445566778899aabbccddeefg",
        "00112233-4455-6677-8899-aabbccdde",
        " 0112233445566778899aabbccddeeff",
        "0x112233445566778899aabbccddeeff",
    };
    struct kt_id id = {{42}};
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(bad); i++)
        assert_int_equal(kt_id_parse(bad[i], &id), -EINVAL);
    assert_int_equal(id.b[0], 42);
}

static void fresh_identities_differ_and_are_never_zero(void **state)
{
    struct kt_id a, b;
    (void)state;
    kt_id_random(&a);
    kt_id_random(&b);
    assert_false(kt_id_eq(&a, &b));
    assert_false(kt_id_is_zero(&a));
}

static void the_boot_has_one_identity(void **state)
{
    struct kt_id a, b;
    (void)state;
    assert_int_equal(kt_boot_id(&a), 0);
    assert_int_equal(kt_boot_id(&b), 0);
    assert_true(kt_id_eq(&a, &b));
    assert_false(kt_id_is_zero(&a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_identity_is_written_as_32_small_digits),
        cmocka_unit_test(a_uuid_has_its_dashes),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(anything_but_32_digits_is_refused),
        cmocka_unit_test(fresh_identities_differ_and_are_never_zero),
        cmocka_unit_test(the_boot_has_one_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
