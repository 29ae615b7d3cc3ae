/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter volume verify against replicas that answer as told. */
#include <stdio.h>
#include <string.h>

#include "cli/verify.h"
#include "tests/unit/cli_fake.h"
#include "tests/unit/unit.h"

#define SAYS(text, part) assert_non_null(strstr((text), (part)))

static struct kt_digest_row row(uint32_t extent, uint64_t seq, uint8_t sum)
{
    struct kt_digest_row r = {.extent = extent, .state = KT_DIGEST_F_ALLOC};

    r.id = (struct kt_rid){.epoch = 3, .seq = seq};
    r.sum.b[0] = sum;
    return r;
}

static void rows_of_one_id_must_be_equal(void **state)
{
    struct kt_digest_row r[3] = {row(1, 5, 7), row(1, 5, 7), row(1, 5, 7)};

    (void)state;
    assert_int_equal(verify_rows(r, 3), VERIFY_SAME);
    r[2].sum.b[15] = 1;
    assert_int_equal(verify_rows(r, 3), VERIFY_DAMAGE);
    r[2] = r[0];
    r[1].state |= KT_DIGEST_F_PARTIAL;
    assert_int_equal(verify_rows(r, 3), VERIFY_DAMAGE);
    r[1] = r[0];
    r[1].id.seq++;
    assert_int_equal(verify_rows(r, 3), VERIFY_BUSY);
    assert_int_equal(verify_rows(r, 1), VERIFY_SAME);
}

/* ---- replicas ---- */

static unsigned same(unsigned tries, struct kt_digest_row *rows)
{
    (void)tries;
    rows[0] = row(0, 5, 1);
    rows[1] = row(7, 6, 2);
    return 2;
}

static unsigned damaged(unsigned tries, struct kt_digest_row *rows)
{
    (void)tries;
    rows[0] = row(0, 5, 1);
    rows[1] = row(7, 6, 3);
    return 2;
}

/* Behind at first, then the same. */
static unsigned late(unsigned tries, struct kt_digest_row *rows)
{
    rows[0] = row(0, 5, 1);
    rows[1] = row(7, tries < 4 ? 4 : 6, tries < 4 ? 9 : 2);
    return 2;
}

/* Extent 7 was never written here, and stays so. */
static unsigned lacking(unsigned tries, struct kt_digest_row *rows)
{
    (void)tries;
    rows[0] = row(0, 5, 1);
    return 1;
}

/* Extent 7 is written all the time. */
static unsigned restless(unsigned tries, struct kt_digest_row *rows)
{
    rows[0] = row(0, 5, 1);
    rows[1] = row(7, 100 + tries, 4);
    return 2;
}

static struct said *verify(unsigned (*first)(unsigned, struct kt_digest_row *),
                           unsigned (*second)(unsigned, struct kt_digest_row *),
                           const char *option)
{
    struct fake n1 = {.rows = first}, n2 = {.rows = second}, hub = {0};
    char json[1200], s1[KT_ID_HEX_BYTES], s2[KT_ID_HEX_BYTES];
    struct fake_reply replies[] = {{"volume-inspect", json}, {NULL, NULL}};

    fake_dir(hub.dir);
    memcpy(n1.dir, hub.dir, sizeof(n1.dir));
    memcpy(n2.dir, hub.dir, sizeof(n2.dir));
    n1.store.b[0] = 1;
    n2.store.b[0] = 2;
    assert_int_equal(kt_boot_id(&n1.boot), 0);
    n2.boot = n1.boot;
    fake_start(&n1, "n1");
    fake_start(&n2, "n2");
    snprintf(json, sizeof(json),
             "{\"ok\":true,\"volume\":{\"name\":\"v\",\"chains\":[{\"id\":5,"
             "\"seg\":0,\"epoch\":3,\"first_extent\":100,\"extents\":300,"
             "\"members\":[{\"node\":\"n1\",\"store\":\"%s\",\"state\":"
             "\"serving\",\"addresses\":[\"%s\"]},{\"node\":\"n2\",\"store\":"
             "\"%s\",\"state\":\"serving\",\"addresses\":[\"tcp:127.0.0.1:1\","
             "\"%s\"]},{\"node\":\"n3\",\"state\":\"offline\"}]}]}}",
             kt_id_hex(&n1.store, s1), n1.addr, kt_id_hex(&n2.store, s2),
             n2.addr);
    hub.replies = replies;
    fake_start(&hub, "hub");
    fake_context(hub.dir, hub.addr);
    struct said *s = fake_run(hub.dir, "volume", "verify", "v", option, NULL);
    fake_stop(&hub);
    fake_stop(&n1);
    fake_stop(&n2);
    fake_remove(hub.dir);
    return s;
}

static void equal_replicas_pass(void **state)
{
    (void)state;
    struct said *s = verify(same, same, NULL);
    assert_string_equal(s->err, "");
    assert_int_equal(s->status, CLI_DONE);
    assert_string_equal(s->out,
                        "300 extents compared on 2 replicas, 0 differ\n");
}

static void a_write_on_its_way_is_waited_for(void **state)
{
    (void)state;
    struct said *s = verify(same, late, NULL);
    assert_int_equal(s->status, CLI_DONE);
    SAYS(s->out, "0 differ");
}

static void damage_is_named(void **state)
{
    (void)state;
    struct said *s = verify(same, damaged, NULL);
    assert_int_equal(s->status, CLI_FAILED);
    SAYS(s->out, "extent 107 differs: n1 has 3.6 sum 02000000, n2 has 3.6 sum "
                 "03000000");
    SAYS(s->out, "300 extents compared on 2 replicas, 1 differ");
    SAYS(s->err, "1 extents of v differ");
}

static void a_record_that_never_came_is_damage(void **state)
{
    (void)state;
    struct said *s = verify(same, lacking, "--json");
    assert_int_equal(s->status, CLI_FAILED);
    json_t *o = json_loads(s->out, 0, NULL);
    assert_non_null(o);
    assert_true(json_is_false(json_object_get(o, "ok")));
    const json_t *e = json_array_get(json_object_get(o, "differ"), 0);
    assert_int_equal(cli_js_uint(e, "extent"), 107);
    assert_int_equal(json_array_size(json_object_get(e, "replicas")), 2);
    json_decref(o);
}

static void an_extent_that_never_rests_is_told(void **state)
{
    (void)state;
    struct said *s = verify(same, restless, NULL);
    assert_int_equal(s->status, CLI_FAILED);
    SAYS(s->out, "299 extents compared on 2 replicas, 0 differ");
    SAYS(s->err, "fewer writes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_one_id_must_be_equal),
        cmocka_unit_test(equal_replicas_pass),
        cmocka_unit_test(a_write_on_its_way_is_waited_for),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(a_record_that_never_came_is_damage),
        cmocka_unit_test(an_extent_that_never_rests_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
