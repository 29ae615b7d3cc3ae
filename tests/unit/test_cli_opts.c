/* SPDX-License-Identifier: BSD-3-Clause */
/* Words, options, help, and what is refused before the hub is asked. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tests/unit/cli_fake.h"
#include "tests/unit/unit.h"

#define SAYS(text, part) assert_non_null(strstr((text), (part)))

static void no_words_show_help_and_are_wrong_use(void **state)
{
    (void)state;
    struct said *s = fake_run(NULL, NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->out, "Usage: kenter OBJECT VERB");
}

static void every_verb_has_help(void **state)
{
    (void)state;
    for (const struct cli_verb *const *o = cli_objects; *o; o++) {
        for (const struct cli_verb *v = *o; v->object; v++) {
            struct said *s =
                v->verb ? fake_run(NULL, v->object, v->verb, "--help", NULL)
                        : fake_run(NULL, v->object, "--help", NULL);
            assert_int_equal(s->status, CLI_DONE);
            SAYS(s->out, v->help);
            SAYS(s->out, "--context FILE");
            SAYS(s->out, "--json");
            for (const struct cli_opt *p = v->opts; p && p->name; p++)
                SAYS(s->out, p->name);
            assert_string_equal(s->err, "");
        }
    }
}

static void the_overview_names_every_verb(void **state)
{
    (void)state;
    struct said *s = fake_run(NULL, "--help", NULL);
    assert_int_equal(s->status, CLI_DONE);
    for (const struct cli_verb *const *o = cli_objects; *o; o++) {
        for (const struct cli_verb *v = *o; v->object; v++)
            SAYS(s->out, v->verb ? v->verb : v->object);
    }
    for (const char *line = s->out; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        assert_true(strcspn(line, "\n") <= 80);
    }
}

static void an_object_alone_lists_its_verbs(void **state)
{
    (void)state;
    struct said *s = fake_run(NULL, "volume", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->out, "volume create NAME");
    assert_int_equal(fake_run(NULL, "volume", "--help", NULL)->status,
                     CLI_DONE);
}

static void the_version_is_told(void **state)
{
    (void)state;
    struct said *s = fake_run(NULL, "--version", NULL);
    assert_int_equal(s->status, CLI_DONE);
    assert_memory_equal(s->out, "kenter ", 7);
}

static void unknown_words_are_wrong_use(void **state)
{
    (void)state;
    struct said *s = fake_run(NULL, "walrus", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->err, "walrus");
    s = fake_run(NULL, "volume", "paint", "v", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->err, "paint");
    s = fake_run(NULL, "volume", "ls", "--colour", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->err, "--colour");
    s = fake_run(NULL, "volume", "ls", "-x", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    s = fake_run(NULL, "volume", "inspect", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->err, "NAME");
    s = fake_run(NULL, "volume", "inspect", "a", "b", NULL);
    assert_int_equal(s->status, CLI_USAGE);
}

static void values_are_given_both_ways_and_once(void **state)
{
    (void)state;
    struct said *s = fake_run(NULL, "volume", "create", "v", "--size", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->err, "--size SIZE");
    s = fake_run(NULL, "volume", "create", "v", "--size=1G", "--size", "2G",
                 NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->err, "twice");
    s = fake_run(NULL, "volume", "ls", "--json=yes", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->err, "no value");
}

static void a_volume_that_cannot_be_is_refused_here(void **state)
{
    static const char *const bad[][3] = {
        {"v", "--size=0", "too small"},
        {"v", "--size=17E", "too large"},
        {"v", "--size=65T", "too large"},
        {"v", "--size=4097", "8192"},
        {"v", "--size=big", "not a size"},
        {"v", "--size=-1", "not a size"},
        {"a/b", "--size=1G", "cannot be the name"},
        {"", "--size=1G", "cannot be the name"},
        {"..", "--size=1G", "cannot be the name"},
        {"v\n", "--size=1G", "cannot be the name"},
    };
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(bad); i++) {
        struct said *s =
            fake_run(NULL, "volume", "create", bad[i][0], bad[i][1], NULL);
        assert_int_equal(s->status, CLI_USAGE);
        SAYS(s->err, bad[i][2]);
        assert_string_equal(s->out, "");
    }
    struct said *s = fake_run(NULL, "volume", "create", "v", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    SAYS(s->err, "--size");
}

static void options_out_of_range_are_refused(void **state)
{
    static const char *const bad[] = {
        "--replicas=0",       "--replicas=6",
        "--replicas=two",     "--replicas=3x",
        "--min-write=0",      "--segment=5M",
        "--segment=1M",       "--segment=32G",
        "--durability=often", "--min-write=99999999999999999999",
    };
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(bad); i++) {
        struct said *s =
            fake_run(NULL, "volume", "create", "v", "--size=1G", bad[i], NULL);
        assert_int_equal(s->status, CLI_USAGE);
        assert_true(strlen(s->err) > 20);
    }
    struct said *s = fake_run(NULL, "volume", "create", "v", "--size=1G",
                              "--replicas=2", "--min-write=3", NULL);
    assert_int_equal(s->status, CLI_USAGE);
}

static void a_missing_context_says_how_to_make_one(void **state)
{
    (void)state;
    struct said *s = fake_run(NULL, "volume", "ls",
                              "--context=/nonexistent/context.json", NULL);
    assert_int_equal(s->status, CLI_FAILED);
    SAYS(s->err, "/nonexistent/context.json");
    SAYS(s->err, "kenter sandbox up");
    SAYS(s->err, "--context");
}

static void a_damaged_context_is_named(void **state)
{
    char dir[64];

    (void)state;
    fake_dir(dir);
    fake_write(dir, "context.json", "{\"version\": 1, \"hub\"");
    struct said *s = fake_run(dir, "node", "ls", NULL);
    assert_int_equal(s->status, CLI_FAILED);
    SAYS(s->err, "context.json");
    fake_remove(dir);
}

static void a_sandbox_that_is_none_is_refused(void **state)
{
    char dir[64], opt[96];

    (void)state;
    fake_dir(dir);
    snprintf(opt, sizeof(opt), "--dir=%s", dir);
    struct said *s = fake_run(NULL, "sandbox", "down", "--dir", "", NULL);
    assert_int_equal(s->status, CLI_USAGE);
    s = fake_run(NULL, "sandbox", "status", opt, NULL);
    assert_int_equal(s->status, CLI_FAILED);
    SAYS(s->err, "no sandbox");
    fake_write(dir, "precious", "data");
    s = fake_run(NULL, "sandbox", "up", opt, NULL);
    assert_int_equal(s->status, CLI_FAILED);
    SAYS(s->err, "other files");
    s = fake_run(NULL, "sandbox", "down", "--wipe", opt, NULL);
    assert_int_equal(s->status, CLI_FAILED);
    fake_write(dir, "sandbox.json", "{\"kind\": \"toy\"}");
    s = fake_run(NULL, "sandbox", "down", "--wipe", opt, NULL);
    assert_int_equal(s->status, CLI_FAILED);
    snprintf(opt, sizeof(opt), "%s/precious", dir);
    assert_int_equal(access(opt, F_OK), 0);
    fake_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_words_show_help_and_are_wrong_use),
        cmocka_unit_test(every_verb_has_help),
        cmocka_unit_test(the_overview_names_every_verb),
        cmocka_unit_test(an_object_alone_lists_its_verbs),
        cmocka_unit_test(the_version_is_told),
        cmocka_unit_test(unknown_words_are_wrong_use),
        cmocka_unit_test(values_are_given_both_ways_and_once),
        cmocka_unit_test(a_volume_that_cannot_be_is_refused_here),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(a_missing_context_says_how_to_make_one),
        cmocka_unit_test(a_damaged_context_is_named),
        cmocka_unit_test(a_sandbox_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
