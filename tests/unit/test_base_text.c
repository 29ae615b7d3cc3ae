/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/base/text.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/unit.h"

static void names_follow_the_pattern(void **state)
{
    static const char *const good[] = {"a", "0", "db-1", "A.b_c-d", "a.."};
    static const char *const bad[] = {NULL,       "",    ".",    "..",  "-a",
                                      "_a",       "a/b", "/a",   "a b", "a\n",
                                      "\xc3\xa4", "a:",  "a\\b", "a%2e"};
    char name[66];
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(good); i++)
        assert_true(kt_name_valid(good[i]));
    for (size_t i = 0; i < KT_ARRAY_LEN(bad); i++)
        assert_false(kt_name_valid(bad[i]));
    memset(name, 'x', sizeof(name));
    name[KT_NAME_MAX] = '\0';
    assert_true(kt_name_valid(name));
    name[KT_NAME_MAX] = 'x';
    name[KT_NAME_MAX + 1] = '\0';
    assert_false(kt_name_valid(name));
}

static void sizes_are_powers_of_1024(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"1K", 1024},
        {"512M", 512ull << 20},
        {"10G", 10ull << 30},
        {"10g", 10ull << 30},
        {"10GB", 10ull << 30},
        {"10GiB", 10ull << 30},
        {"64T", 64ull << 40},
        {"1P", 1ull << 50},
        {"7E", 7ull << 60},
        {"9223372036854775807", INT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(good); i++) {
        uint64_t v = 1;
        assert_int_equal(kt_size_parse(good[i].text, &v), 0);
        assert_true(v == good[i].bytes);
    }
}

static void what_is_no_size_is_refused_and_changes_nothing(void **state)
{
    static const char *const bad[] = {NULL,
                                      "",
                                      "G",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1.5G",
                                      "1e30",
                                      "0x1",
                                      "10X",
                                      "10GG",
                                      "1B",
                                      "1Gi",
                                      "1GiBx",
                                      "1Gb",
                                      "99999999999999999999z"};
    static const char *const large[] = {"8E", "17E", "9223372036854775808",
                                        "18446744073709551616",
                                        "99999999999999999999G"};
    uint64_t v = 42;
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(bad); i++)
        assert_int_equal(kt_size_parse(bad[i], &v), -EINVAL);
    for (size_t i = 0; i < KT_ARRAY_LEN(large); i++)
        assert_int_equal(kt_size_parse(large[i], &v), -ERANGE);
    assert_true(v == 42);
}

static void sizes_are_shown_with_at_most_one_decimal(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } all[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1 KiB"},
        {1536, "1.5 KiB"},
        {(1 << 20) - 1, "1 MiB"},
        {1023 * 1024 + 512, "1023.5 KiB"},
        {10ull << 30, "10 GiB"},
        {(3ull << 30) / 2, "1.5 GiB"},
        {64ull << 40, "64 TiB"},
        {1ull << 50, "1 PiB"},
        {UINT64_MAX, "16 EiB"},
    };
    char text[KT_SIZE_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(all); i++)
        assert_string_equal(kt_size_format(all[i].bytes, text), all[i].text);
}

static void addresses_come_back_as_they_went(void **state)
{
    static const char *const good[] = {
        "tcp:127.0.0.1:9720", "tcp:0.0.0.0:0", "tcp:[::1]:65535",
        "unix:/run/kenter/hub.sock", "unix:relative"};
    char text[KT_ADDR_TEXT_BYTES];
    struct kt_addr a;
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(good); i++) {
        assert_int_equal(kt_addr_parse(good[i], &a), 0);
        assert_string_equal(kt_addr_format(&a, text), good[i]);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {NULL,
                                      "",
                                      "tcp:",
                                      "tcp:1.2.3.4",
                                      "tcp:1.2.3.4:",
                                      "tcp:1.2.3.4:65536",
                                      "tcp:1.2.3.4:-1",
                                      "tcp:1.2.3.4:1x",
                                      "tcp:localhost:9720",
                                      "tcp:::1:9720",
                                      "tcp:[::1]",
                                      "tcp:[::1]9720",
                                      "tcp:[1.2.3.4]:1",
                                      "tcp::9720",
                                      "tcp:1.2.3.4:000001",
                                      "unix:",
                                      "udp:1.2.3.4:5",
                                      "/x"};
    struct kt_addr a = {.kind = KT_ADDR_NONE, .port = 42};
    char path[200] = "unix:";
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(bad); i++)
        assert_int_equal(kt_addr_parse(bad[i], &a), -EINVAL);
    memset(path + 5, 'p', 107);
    assert_int_equal(kt_addr_parse(path, &a), 0);
    a.kind = KT_ADDR_NONE;
    path[5 + 107] = 'p';
    assert_int_equal(kt_addr_parse(path, &a), -EINVAL);
    assert_int_equal(a.kind, KT_ADDR_NONE);
}

static void only_loopback_and_unix_are_local(void **state)
{
    static const char *const local[] = {"tcp:127.0.0.1:1", "tcp:127.9.9.9:1",
                                        "tcp:[::1]:1", "unix:/x"};
    static const char *const far[] = {"tcp:0.0.0.0:1", "tcp:10.0.0.1:1",
                                      "tcp:[::]:1", "tcp:[fe80::1]:1"};
    struct kt_addr a;
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(local); i++) {
        assert_int_equal(kt_addr_parse(local[i], &a), 0);
        assert_true(kt_addr_is_local(&a));
    }
    for (size_t i = 0; i < KT_ARRAY_LEN(far); i++) {
        assert_int_equal(kt_addr_parse(far[i], &a), 0);
        assert_false(kt_addr_is_local(&a));
    }
    memset(&a, 0, sizeof(a));
    assert_false(kt_addr_is_local(&a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_follow_the_pattern),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(what_is_no_size_is_refused_and_changes_nothing),
        cmocka_unit_test(sizes_are_shown_with_at_most_one_decimal),
        cmocka_unit_test(addresses_come_back_as_they_went),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(only_loopback_and_unix_are_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
