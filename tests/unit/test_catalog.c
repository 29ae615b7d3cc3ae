/* SPDX-License-Identifier: BSD-3-Clause */
#include "volplugin/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "tests/unit/unit.h"
#include "volplugin/catalog_json.h"

static char dir[64];
static struct catalog *cat;
static char why[512];

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/kt-cat.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    return catalog_open(dir, &cat, why, sizeof(why));
}

static int tear_down(void **state)
{
    static const char *const files[] = {"lock", "data.mdb", "lock.mdb"};
    char path[96];
    (void)state;

    catalog_free(cat);
    cat = NULL;
    for (unsigned i = 0; i < KT_ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static struct cat_volume volume(const char *name, unsigned id)
{
    struct cat_volume v;

    memset(&v, 0, sizeof(v));
    snprintf(v.name, sizeof(v.name), "%s", name);
    v.id.b[0] = (uint8_t)id;
    v.id.b[1] = (uint8_t)(id >> 8);
    v.created_s = 1700000000;
    snprintf(v.state, sizeof(v.state), "healthy");
    assert_int_equal(vol_spec_add(&v.spec, "size", "1G", why), 0);
    return v;
}

static bool none(void *arg, const struct kt_id *id)
{
    (void)arg;
    (void)id;
    return false;
}

static bool only(void *arg, const struct kt_id *id)
{
    return kt_id_eq(arg, id);
}

static int count(void *arg, const struct cat_volume *v)
{
    (void)v;
    ++*(unsigned *)arg;
    return 0;
}

static unsigned rows(void)
{
    unsigned n = 0;

    assert_int_equal(catalog_each(cat, count, &n), 0);
    return n;
}

static void what_is_put_is_there_after_a_restart(void **state)
{
    struct cat_volume v = volume("db", 1), got, other;
    (void)state;
    assert_int_equal(vol_spec_add(&v.spec, "mode", "0750", why), 0);
    assert_int_equal(vol_spec_add(&v.spec, "uid", "70", why), 0);
    assert_int_equal(vol_spec_add(&v.spec, "mkfs", "-i 8192", why), 0);
    snprintf(v.holder, sizeof(v.holder), "n2");
    v.holder_pid = 4711;
    assert_int_equal(catalog_put(cat, &v), 0);
    catalog_free(cat);
    assert_int_equal(catalog_open(dir, &cat, why, sizeof(why)), 0);
    memset(&got, 0xff, sizeof(got));
    assert_int_equal(catalog_get(cat, "db", &got), 0);
    assert_memory_equal(&got, &v, sizeof(v));
    assert_int_equal(catalog_by_id(cat, &v.id, &other), 0);
    assert_memory_equal(&other, &v, sizeof(v));
    assert_int_equal(catalog_get(cat, "d", &got), KT_E_NO_VOLUME);
    assert_int_equal(catalog_del(cat, "db"), 0);
    assert_int_equal(catalog_del(cat, "db"), 0);
    assert_int_equal(catalog_get(cat, "db", &got), KT_E_NO_VOLUME);
    assert_int_equal(catalog_by_id(cat, &v.id, &other), KT_E_NO_VOLUME);
}

static void a_second_plugin_is_refused(void **state)
{
    struct catalog *second;
    (void)state;
    assert_int_equal(catalog_open(dir, &second, why, sizeof(why)),
                     -EWOULDBLOCK);
    assert_non_null(strstr(why, "another kenter-volplugin"));
}

static void the_hubs_list_takes_the_place_of_the_old(void **state)
{
    struct cat_volume list[2] = {volume("c", 3), volume("a", 1)}, got;
    struct cat_volume local = volume("a", 1), gone = volume("b", 2);
    (void)state;
    assert_int_equal(vol_spec_add(&local.spec, "fs", "xfs", why), 0);
    assert_int_equal(catalog_put(cat, &local), 0);
    assert_int_equal(catalog_put(cat, &gone), 0);
    list[1].created_s = 0;
    snprintf(list[1].state, sizeof(list[1].state), "degraded");
    assert_int_equal(
        catalog_replace(cat, list, 2, catalog_changes(cat), only, &gone.id), 0);
    /* A list from before something changed here says nothing. */
    uint64_t before = catalog_changes(cat);
    assert_int_equal(catalog_put(cat, &local), 0);
    assert_int_equal(catalog_replace(cat, NULL, 0, before, none, NULL), 0);
    assert_int_equal(rows(), 3); /* b is mounted here: it stays */
    assert_int_equal(
        catalog_replace(cat, list, 2, catalog_changes(cat), none, NULL), 0);
    assert_int_equal(rows(), 2);
    assert_int_equal(catalog_by_id(cat, &gone.id, &got), KT_E_NO_VOLUME);
    assert_int_equal(catalog_get(cat, "a", &got), 0);
    assert_string_equal(got.spec.fs, "xfs"); /* known to this node only */
    assert_string_equal(got.state, "degraded");
    assert_true(got.created_s == 1700000000);
    assert_int_equal(
        catalog_replace(cat, NULL, 0, catalog_changes(cat), none, NULL), 0);
    assert_int_equal(rows(), 0);
}

static void a_name_made_anew_is_another_volume(void **state)
{
    struct cat_volume old = volume("a", 1), new = volume("a", 2), got;
    (void)state;
    assert_int_equal(vol_spec_add(&old.spec, "fs", "xfs", why), 0);
    assert_int_equal(catalog_put(cat, &old), 0);
    /* Mounted here under the old id: it keeps the name until it is not. */
    assert_int_equal(
        catalog_replace(cat, &new, 1, catalog_changes(cat), only, &old.id), 0);
    assert_int_equal(catalog_get(cat, "a", &got), 0);
    assert_true(kt_id_eq(&got.id, &old.id));
    assert_int_equal(
        catalog_replace(cat, &new, 1, catalog_changes(cat), none, NULL), 0);
    assert_int_equal(catalog_get(cat, "a", &got), 0);
    assert_true(kt_id_eq(&got.id, &new.id));
    assert_false(vol_spec_has(&got.spec, VOL_OPT_FS));
    assert_int_equal(catalog_by_id(cat, &old.id, &got), KT_E_NO_VOLUME);
}

struct seen {
    unsigned n;
    uint32_t sum;
};

static void see(void *arg, const struct kt_id *v, const char *id, uint32_t n)
{
    struct seen *s = arg;

    assert_int_equal(v->b[0], 7);
    assert_true(vol_mount_id_valid(id));
    s->n++;
    s->sum += n;
}

static void counts_are_kept_and_forgotten(void **state)
{
    const struct kt_id id = {.b = {7}};
    char longest[VOL_MOUNT_ID_MAX + 1];
    struct seen s = {0};
    (void)state;
    memset(longest, 'f', VOL_MOUNT_ID_MAX);
    longest[VOL_MOUNT_ID_MAX] = '\0';
    assert_int_equal(catalog_ref_save(cat, &id, "a", 1), 0);
    assert_int_equal(catalog_ref_save(cat, &id, "a", 2), 0);
    assert_int_equal(catalog_ref_save(cat, &id, longest, 5), 0);
    assert_int_equal(catalog_ref_save(cat, &id, "b", 1), 0);
    assert_int_equal(catalog_ref_save(cat, &id, "b", 0), 0);
    assert_int_equal(catalog_ref_save(cat, &id, "never", 0), 0);
    catalog_free(cat);
    assert_int_equal(catalog_open(dir, &cat, why, sizeof(why)), 0);
    assert_int_equal(catalog_refs(cat, see, &s), 0);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.sum, 7);
}

static void rows_that_are_damaged_are_an_error(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"id\":\"12\"}",
        "{\"id\":\"00000000000000000000000000000000\",\"spec\":{\"x\":1}}",
        "{\"id\":\"00000000000000000000000000000000\",\"spec\":{\"size\":-1}}",
        "{\"id\":\"00000000000000000000000000000000\",\"spec\":{\"size\":[]}}",
    };
    struct cat_volume v;
    (void)state;
    for (unsigned i = 0; i < KT_ARRAY_LEN(bad); i++) {
        json_t *o = json_loads(bad[i], 0, NULL);
        assert_non_null(o);
        assert_int_equal(catalog_from_json("a", o, &v), KT_E_CORRUPT);
        json_decref(o);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_is_put_is_there_after_a_restart),
        CASE(a_second_plugin_is_refused),
        CASE(the_hubs_list_takes_the_place_of_the_old),
        CASE(a_name_made_anew_is_another_volume),
        CASE(counts_are_kept_and_forgotten),
        cmocka_unit_test(rows_that_are_damaged_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
