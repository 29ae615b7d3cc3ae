/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "replicator/daemon/options.h"

static char why[512];

/* Arguments as a list that ends with NULL. */
#define PARSE(o, ...) parse_list(o, (const char *[]){__VA_ARGS__, NULL})

static int parse_list(struct options *o, const char *const *args)
{
    static char text[32][128];
    char *argv[33];
    int n = 0;
    snprintf(text[n++], sizeof(text[0]), "kenter-replicator");
    for (; *args; args++)
        snprintf(text[n++], sizeof(text[0]), "%s", *args);
    for (int i = 0; i < n; i++)
        argv[i] = text[i];
    argv[n] = NULL;
    return options_parse(n, argv, o, why, sizeof(why));
}

static void the_least_that_is_needed_is_filled_in(void **state)
{
    (void)state;
    struct options o;
    assert_int_equal(
        PARSE(&o, "--store", "/s", "--hub", "tcp:127.0.0.1:1", "--node", "n1"),
        0);
    assert_string_equal(o.store_dir, "/s");
    assert_int_equal(o.n_hubs, 1);
    assert_int_equal(o.n_listen, 1);
    assert_int_equal(o.listen[0].kind, KT_ADDR_TCP);
    assert_string_equal(o.listen[0].host, "127.0.0.1");
    assert_int_equal(o.listen[0].port, KT_REPLICATOR_PORT);
    assert_string_equal(o.node, "n1");
    assert_false(o.create);
    assert_false(o.insecure);
    assert_int_equal(o.log_level, KT_LOG_INFO);
}

static void everything_can_be_said(void **state)
{
    (void)state;
    struct options o;
    assert_int_equal(
        PARSE(&o, "--store=/s", "--create", "--hub=unix:/h", "--hub",
              "tcp:[::1]:2", "--listen=unix:/r", "--listen", "tcp:192.0.2.1:0",
              "--node=n", "--cluster", "000102030405060708090a0b0c0d0e0f",
              "--capacity=2G", "--resync-rate=3M", "--insecure-links",
              "--scrub-rate=1M", "--scrub-every=0.5", "--pid-file=/p",
              "--address-file=/a", "--log-level=debug"),
        0);
    assert_true(o.create);
    assert_true(o.insecure);
    assert_int_equal(o.n_hubs, 2);
    assert_int_equal(o.n_listen, 2);
    assert_int_equal(o.hubs[1].port, 2);
    assert_true(o.have_cluster);
    assert_int_equal(o.cluster.b[15], 15);
    assert_int_equal(o.capacity_bytes, 2ull << 30);
    assert_int_equal(o.resync_rate, 3u << 20);
    assert_int_equal(o.scrub_rate, 1u << 20);
    assert_int_equal(o.scrub_every_s, 43200);
    assert_string_equal(o.pid_file, "/p");
    assert_string_equal(o.address_file, "/a");
    assert_int_equal(o.log_level, KT_LOG_DEBUG);
}

static void what_cannot_be_is_refused_with_a_sentence(void **state)
{
    (void)state;
    struct options o;
#define REFUSED(text, ...)                                                     \
    do {                                                                       \
        assert_int_not_equal(PARSE(&o, __VA_ARGS__), 0);                       \
        assert_non_null(strstr(why, text));                                    \
    } while (0)
    REFUSED("--store", "--hub", "unix:/h");
    REFUSED("--hub", "--store", "/s");
    REFUSED("needs a value", "--store");
    REFUSED("not an option", "--stor3", "/s");
    REFUSED("only options", "--store", "/s", "--hub", "unix:/h", "more");
    REFUSED("not an address", "--hub", "localhost");
    REFUSED("wildcard", "--listen", "tcp:0.0.0.0:9721");
    REFUSED("begin with /", "--listen", "unix:r.sock");
    REFUSED("--node", "--node", "a/b");
    REFUSED("--cluster", "--cluster", "12");
    REFUSED("--capacity", "--capacity", "ten");
    REFUSED("4M", "--capacity", "4096");
    REFUSED("50M", "--resync-rate", "slow");
    REFUSED("64K", "--resync-rate", "1");
    REFUSED("64K", "--scrub-rate", "2");
    REFUSED("number of days", "--scrub-every", "weekly");
    REFUSED("number of days", "--scrub-every", "-1");
    REFUSED("number of days", "--scrub-every", "4000");
    REFUSED("--log-level", "--log-level", "loud");
}

static void help_and_version_need_nothing_else(void **state)
{
    (void)state;
    struct options o;
    assert_int_equal(PARSE(&o, "--help"), 0);
    assert_true(o.help);
    assert_int_equal(PARSE(&o, "--version", "--nonsense"), 0);
    assert_true(o.version);
}

static void checking_a_store_needs_nothing_else_and_takes_nothing_else(void **s)
{
    (void)s;
    struct options o;
    assert_int_equal(PARSE(&o, "--check-store", "/s"), 0);
    assert_string_equal(o.check_dir, "/s");
    assert_false(o.json);
    assert_int_equal(PARSE(&o, "--check-store", "/s", "--json"), 0);
    assert_true(o.json);
    REFUSED("starts nothing", "--check-store", "/s", "--store", "/s");
    REFUSED("starts nothing", "--check-store", "/s", "--hub", "unix:/h");
    REFUSED("--check-store", "--store", "/s", "--hub", "unix:/h", "--json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_that_is_needed_is_filled_in),
        cmocka_unit_test(everything_can_be_said),
        cmocka_unit_test(what_cannot_be_is_refused_with_a_sentence),
        cmocka_unit_test(help_and_version_need_nothing_else),
        cmocka_unit_test(
            checking_a_store_needs_nothing_else_and_takes_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
