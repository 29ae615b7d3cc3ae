/* SPDX-License-Identifier: BSD-3-Clause */
/* What the verbs ask the hub and what they make of the answers. */
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"
#include "tests/unit/cli_fake.h"
#include "tests/unit/unit.h"

#define SAYS(text, part) assert_non_null(strstr((text), (part)))

static const char volume[] =
    "{\"ok\":true,\"volume\":{\"name\":\"db\",\"id\":"
    "\"0123456789abcdef0123456789abcdef\",\"size\":10737418240,\"pool\":"
    "\"default\",\"state\":\"ready\",\"replicas\":3,\"min_write\":2,"
    "\"durability\":\"flush\",\"segment\":17179869184,\"created\":1790000000,"
    "\"holder\":{\"node\":\"here\",\"client\":\"ab\",\"pid\":4711,\"token\":7,"
    "\"since\":1790000001},\"chains\":[{\"id\":5,\"seg\":0,\"epoch\":9,"
    "\"phase\":\"active\",\"vgen\":1,\"first_extent\":0,\"extents\":2560,"
    "\"members\":[{\"node\":\"n1\",\"store\":\"01\",\"state\":\"serving\","
    "\"role\":\"head\",\"applied\":{\"epoch\":9,\"seq\":120}},{\"node\":"
    "\"n2\",\"state\":\"syncing\",\"role\":\"syncing\",\"applied\":{\"epoch\":"
    "8,\"seq\":99}}]}]}}";

static const struct fake_reply replies[] = {
    {"volume-create", volume},
    {"volume-inspect", volume},
    {"volume-ls",
     "{\"ok\":true,\"volumes\":[{\"name\":\"db\",\"size\":10737418240,"
     "\"replicas\":3,\"pool\":\"default\",\"state\":\"ready\",\"holder\":null},"
     "{\"name\":\"\\u0007bell\",\"size\":\"much\",\"holder\":7}]}"},
    {"volume-rm",
     "{\"ok\":false,\"err\":\"IN_USE\",\"message\":\"volume db is attached on "
     "here (pid 4711): detach it first.\"}"},
    {"node-ls",
     "{\"ok\":true,\"nodes\":[{\"name\":\"n1\",\"id\":\"01\",\"state\":\"up\","
     "\"addresses\":[\"tcp:127.0.0.1:1\",\"unix:/x\"],\"stores\":[{\"uuid\":"
     "\"02\",\"size\":1073741824,\"used\":4194304,\"state\":\"ok\"}]}]}"},
    {"node-inspect", NULL},
    {"status",
     "{\"ok\":true,\"health\":\"degraded\",\"insecure_links\":true,\"why\":["
     "\"node n2 is down\"],\"nodes\":{\"up\":2,\"total\":3},\"volumes\":[{"
     "\"name\":\"db\",\"health\":\"degraded\",\"why\":[\"2 of 3 replicas\"]}],"
     "\"operations\":[{\"kind\":\"resync\",\"volume\":\"db\",\"done\":3,"
     "\"total\":9}]}"},
    {NULL, NULL},
};

static struct fake hub = {.replies = replies};

static int start(void **state)
{
    (void)state;
    fake_dir(hub.dir);
    hub.cluster.b[15] = 1;
    fake_start(&hub, "hub");
    fake_context(hub.dir, hub.addr);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fake_stop(&hub);
    fake_remove(hub.dir);
    return 0;
}

static void a_volume_is_asked_for_as_the_options_say(void **state)
{
    (void)state;
    struct said *s = fake_run(hub.dir, "volume", "create", "db", "--size",
                              "10G", "--replicas=3", "--min-write=2",
                              "--segment=64M", "--durability=sync", NULL);
    assert_int_equal(s->status, CLI_DONE);
    SAYS(s->out, "volume db made: 10 GiB on 3 replicas.");
    assert_string_equal(s->err, "");
}

static void a_volume_inspected_is_the_document_of_the_contract(void **state)
{
    (void)state;
    struct said *s =
        fake_run(hub.dir, "volume", "inspect", "--json", "db", NULL);
    assert_int_equal(s->status, CLI_DONE);
    json_t *o = json_loads(s->out, 0, NULL);
    assert_non_null(o);
    assert_string_equal(cli_js_text(o, "name"), "db");
    assert_int_equal(cli_js_uint(o, "size"), 10737418240);
    assert_null(json_object_get(o, "ok"));
    const json_t *m = json_array_get(
        json_object_get(json_array_get(json_object_get(o, "chains"), 0),
                        "members"),
        1);
    assert_string_equal(cli_js_text(m, "state"), "syncing");
    json_decref(o);
}

static void a_volume_inspected_is_readable(void **state)
{
    (void)state;
    struct said *s = fake_run(hub.dir, "volume", "inspect", "db", NULL);
    assert_int_equal(s->status, CLI_DONE);
    SAYS(s->out, "here (pid 4711)");
    SAYS(s->out, "n1    serving  head     9.120");
    SAYS(s->out, "writes wait below 2");
}

static void strange_answers_are_shown_without_harm(void **state)
{
    (void)state;
    struct said *s = fake_run(hub.dir, "volume", "ls", NULL);
    assert_int_equal(s->status, CLI_DONE);
    SAYS(s->out, "db");
    SAYS(s->out, "?bell");
    assert_null(strchr(s->out, '\a'));
}

static void a_refusal_is_one_sentence_and_exit_1(void **state)
{
    (void)state;
    struct said *s = fake_run(hub.dir, "volume", "rm", "db", NULL);
    assert_int_equal(s->status, CLI_FAILED);
    assert_string_equal(s->err, "kenter: volume db is attached on here (pid "
                                "4711): detach it first.\n");
    assert_string_equal(s->out, "");
}

static void a_hub_that_hangs_up_is_told(void **state)
{
    (void)state;
    struct said *s = fake_run(hub.dir, "node", "inspect", "n1", NULL);
    assert_int_equal(s->status, CLI_FAILED);
    SAYS(s->err, "hub");
}

static void nodes_are_listed(void **state)
{
    (void)state;
    struct said *s = fake_run(hub.dir, "node", "ls", NULL);
    assert_int_equal(s->status, CLI_DONE);
    SAYS(s->out, "tcp:127.0.0.1:1 unix:/x");
    SAYS(s->out, "1 GiB");
    s = fake_run(hub.dir, "node", "ls", "--json", NULL);
    json_t *o = json_loads(s->out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(o, "nodes")), 1);
    json_decref(o);
}

static void a_degraded_cluster_is_an_answer(void **state)
{
    (void)state;
    struct said *s = fake_run(hub.dir, "status", NULL);
    assert_int_equal(s->status, CLI_DONE);
    assert_memory_equal(s->out, "degraded\n", 9);
    SAYS(s->out, "node n2 is down");
    SAYS(s->out, "2 of 3 up");
    SAYS(s->out, "not encrypted");
    SAYS(s->out, "resync db: 3 of 9");
}

static void a_hub_that_is_away_fails_at_once(void **state)
{
    char dir[64];

    (void)state;
    fake_dir(dir);
    fake_context(dir, "unix:/tmp/kt-cli-nobody.sock");
    struct said *s = fake_run(dir, "status", NULL);
    assert_int_equal(s->status, CLI_FAILED);
    SAYS(s->err, "kt-cli-nobody.sock");
    fake_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_volume_is_asked_for_as_the_options_say),
        cmocka_unit_test(a_volume_inspected_is_the_document_of_the_contract),
        cmocka_unit_test(a_volume_inspected_is_readable),
        cmocka_unit_test(strange_answers_are_shown_without_harm),
        cmocka_unit_test(a_refusal_is_one_sentence_and_exit_1),
        cmocka_unit_test(a_hub_that_hangs_up_is_told),
        cmocka_unit_test(nodes_are_listed),
        cmocka_unit_test(a_degraded_cluster_is_an_answer),
        cmocka_unit_test(a_hub_that_is_away_fails_at_once),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
