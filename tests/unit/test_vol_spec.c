/* SPDX-License-Identifier: BSD-3-Clause */
#include "volplugin/core/spec.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/err.h"
#include "tests/unit/unit.h"
#include "volplugin/core/say.h"

static char why[VOL_WHY_BYTES];

static int add(struct vol_spec *s, const char *key, const char *value)
{
    return vol_spec_add(s, key, value, why);
}

static void options_and_their_synonyms_are_understood(void **state)
{
    struct vol_spec s = {0};
    char text[VOL_SPEC_TEXT_BYTES];
    (void)state;
    assert_string_equal(vol_spec_text(&s, text), "no options");
    assert_int_equal(add(&s, "capacity", "10G"), 0);
    assert_int_equal(add(&s, "replication-factor", "3"), 0);
    assert_int_equal(add(&s, "network", "default"), 0);
    assert_int_equal(add(&s, "fstype", "xfs"), 0);
    assert_int_equal(add(&s, "fsopts", "-i maxpct=5"), 0);
    assert_int_equal(add(&s, "mountopts", "noatime,nodiratime"), 0);
    assert_int_equal(add(&s, "min-write", "2"), 0);
    assert_int_equal(add(&s, "segment", "64M"), 0);
    assert_int_equal(add(&s, "durability", "sync"), 0);
    assert_int_equal(add(&s, "uid", "70"), 0);
    assert_int_equal(add(&s, "gid", "0"), 0);
    assert_int_equal(add(&s, "mode", "0700"), 0);
    assert_int_equal(vol_spec_check(&s, why), 0);
    assert_string_equal(
        vol_spec_text(&s, text),
        "size=10737418240 replicas=3 min-write=2 segment=67108864 "
        "durability=sync pool=default fs=xfs mkfs=-i maxpct=5 "
        "mountopts=noatime,nodiratime uid=70 gid=0 mode=0700");
    assert_int_equal(s.given, (1u << VOL_OPT_NONE) - 1);
}

static void what_cannot_be_is_refused_and_changes_nothing(void **state)
{
    static const struct {
        const char *key, *value;
    } bad[] = {
        {"size", ""},       {"size", "0"},          {"size", "5000"},
        {"size", "-1"},     {"size", "65T"},        {"size", "17E"},
        {"size", "ten"},    {"replicas", "0"},      {"replicas", "6"},
        {"replicas", "3x"}, {"replicas", ""},       {"repl", "99999999999"},
        {"min-write", "0"}, {"segment", "3M"},      {"segment", "12M"},
        {"segment", "32G"}, {"durability", "fast"}, {"pool", "a/b"},
        {"fs", "btrfs"},    {"mkfs", "a;b"},        {"mkfs", "/dev/sda"},
        {"mkfs", ""},       {"mountopts", "a b"},   {"mountopts", "a/b"},
        {"uid", "root"},    {"uid", "2147483648"},  {"mode", "8"},
        {"mode", "10000"},  {"mode", ""},           {"fs", "ext4\n"},
    };
    struct vol_spec s = {0}, zero = {0};
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(bad); i++) {
        assert_int_equal(add(&s, bad[i].key, bad[i].value), KT_E_INVALID);
        assert_non_null(strstr(why, " cannot be: it is "));
        assert_memory_equal(&s, &zero, sizeof(s));
    }
    char words[VOL_WORDS_BYTES + 1];
    memset(words, 'x', sizeof(words));
    words[VOL_WORDS_BYTES] = '\0';
    assert_int_equal(add(&s, "mountopts", words), KT_E_INVALID);
    words[VOL_WORDS_BYTES - 1] = '\0';
    assert_int_equal(add(&s, "mountopts", words), 0);
}

static void the_nearest_option_is_named(void **state)
{
    static const struct {
        const char *key, *says;
    } all[] = {
        {"sise", "did you mean \"size\"?"},
        {"Size", "did you mean \"size\"?"},
        {"szie", "did you mean \"size\"?"},
        {"replica", "did you mean \"replicas\"?"},
        {"min_write", "did you mean \"min-write\"?"},
        {"fs-type", "did you mean \"fstype\"?"},
        {"mountopt", "did you mean \"mountopts\"?"},
        {"replication_factor", "did you mean \"replication-factor\"?"},
        {"colour", "the options are size, replicas, "},
        {"", "the options are size"},
        {"encrypted", "not there yet"},
    };
    struct vol_spec s = {0};
    char key[300];
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(all); i++) {
        assert_int_equal(add(&s, all[i].key, "1"), KT_E_INVALID);
        assert_non_null(strstr(why, all[i].says));
    }
    memset(key, 'x', sizeof(key));
    key[sizeof(key) - 1] = '\0';
    assert_int_equal(add(&s, key, "1"), KT_E_INVALID);
    assert_true(strlen(why) < 300); /* not all of it is shown */
    assert_int_equal(add(&s, "a\nb\"", "1"), KT_E_INVALID);
    assert_non_null(strstr(why, "\"a?b?\""));
    assert_int_equal(s.given, 0);
}

static void an_option_under_two_names_is_refused(void **state)
{
    struct vol_spec s = {0};
    (void)state;
    assert_int_equal(add(&s, "size", "10G"), 0);
    assert_int_equal(add(&s, "capacity", "10G"), KT_E_INVALID);
    assert_non_null(strstr(why, "twice"));
}

static void min_write_above_replicas_is_refused(void **state)
{
    struct vol_spec s = {0};
    (void)state;
    assert_int_equal(add(&s, "min-write", "3"), 0);
    assert_int_equal(vol_spec_check(&s, why), 0); /* of the default */
    assert_int_equal(add(&s, "replicas", "2"), 0);
    assert_int_equal(vol_spec_check(&s, why), KT_E_INVALID);
    assert_non_null(strstr(why, "min-write=3 is more than replicas=2"));
}

static void only_what_is_asked_for_is_compared(void **state)
{
    struct vol_spec asked = {0}, have = {0};
    (void)state;
    assert_int_equal(add(&have, "size", "10G"), 0);
    assert_int_equal(add(&have, "replicas", "3"), 0);
    assert_int_equal(vol_spec_differs(&asked, &have), 0);
    assert_int_equal(add(&asked, "size", "10240M"), 0); /* the same */
    assert_int_equal(vol_spec_differs(&asked, &have), 0);
    assert_int_equal(add(&asked, "fs", "xfs"), 0); /* not known of have */
    assert_int_equal(vol_spec_differs(&asked, &have), 0);
    assert_int_equal(add(&asked, "replicas", "2"), 0);
    assert_int_equal(vol_spec_differs(&asked, &have), 1u << VOL_OPT_REPLICAS);
}

static void names_and_ids_of_mounts_are_bounded(void **state)
{
    char id[VOL_MOUNT_ID_MAX + 2];
    (void)state;
    assert_null(vol_name_wrong("stack_db-1.2"));
    assert_non_null(vol_name_wrong(NULL));
    assert_non_null(vol_name_wrong(""));
    assert_non_null(vol_name_wrong("../x"));
    assert_non_null(vol_name_wrong("a/b"));
    assert_non_null(vol_name_wrong("a b"));
    memset(id, 'f', sizeof(id));
    id[VOL_MOUNT_ID_MAX + 1] = '\0';
    assert_false(vol_mount_id_valid(id));
    id[VOL_MOUNT_ID_MAX] = '\0';
    assert_true(vol_mount_id_valid(id));
    assert_false(vol_mount_id_valid(NULL));
    assert_false(vol_mount_id_valid(""));
    assert_false(vol_mount_id_valid("a:b"));
    assert_false(vol_mount_id_valid("a/b"));
}

static void sentences_end_where_their_room_ends(void **state)
{
    char buf[8];
    struct vol_say s;
    (void)state;
    vol_say_init(&s, buf, sizeof(buf));
    vol_say_uint(&s, 0);
    vol_say_uint(&s, UINT64_MAX);
    assert_string_equal(buf, "0184467");
    vol_say(&s, "more");
    assert_string_equal(buf, "0184467");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_their_synonyms_are_understood),
        cmocka_unit_test(what_cannot_be_is_refused_and_changes_nothing),
        cmocka_unit_test(the_nearest_option_is_named),
        cmocka_unit_test(an_option_under_two_names_is_refused),
        cmocka_unit_test(min_write_above_replicas_is_refused),
        cmocka_unit_test(only_what_is_asked_for_is_compared),
        cmocka_unit_test(names_and_ids_of_mounts_are_bounded),
        cmocka_unit_test(sentences_end_where_their_room_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
