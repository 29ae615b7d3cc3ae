/* SPDX-License-Identifier: BSD-3-Clause */
/* The offline check of a store, and its report. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/daemon/check.h"
#include "replicator/store/logfmt.h"
#include "tests/unit/store_model.h"

#define SLOTS 16u
#define CHAIN 3u

/* A closed store; 20 records, then 4 that are not in the slots. */
static void make_store(struct rig *g, struct model *m)
{
    rig_init(g, SLOTS);
    rig_open(g);
    struct store_chain *c = make_chain(g, m, CHAIN);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(do_write(g, m, i % 2, i), 0);
    store_acked(g->s, c, m->at.seq);
    rig_close(g);
    rig_open(g);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(do_write(g, m, 2, i), 0);
    rig_close(g);
}

static int report(const struct rig *g, bool json, char **ret_text)
{
    size_t n;
    FILE *f = open_memstream(ret_text, &n);
    assert_non_null(f);
    int rc = check_main(g->dir, json, f);
    fclose(f);
    return rc;
}

static json_t *report_json(const struct rig *g, int want)
{
    char *text;
    assert_int_equal(report(g, true, &text), want);
    json_t *j = json_loads(text, 0, NULL);
    assert_non_null(j);
    free(text);
    return j;
}

static json_int_t number(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static void expect_text(const struct rig *g, int want, const char *part)
{
    char *text;
    assert_int_equal(report(g, false, &text), want);
    if (!strstr(text, part))
        fail_msg("no \"%s\" in: %s", part, text);
    free(text);
}

static void a_sound_store_is_called_sound_and_not_changed(void **state)
{
    struct rig g;
    struct model m;
    struct stat before, after;
    char path[96];
    (void)state;
    make_store(&g, &m);
    snprintf(path, sizeof(path), "%s/super.a", g.dir);
    assert_int_equal(stat(path, &before), 0);
    json_t *j = report_json(&g, CHECK_SOUND);
    assert_true(json_is_true(json_object_get(j, "sound")));
    assert_true(json_is_true(json_object_get(j, "clean")));
    assert_int_equal(number(j, "chains"), 1);
    assert_int_equal(number(j, "extents"), 3);
    assert_int_equal(number(j, "sectors"), 20);
    assert_int_equal(number(j, "records"), 24);
    assert_int_equal(number(j, "fresh"), 4);
    assert_int_equal(number(j, "slots"), SLOTS);
    assert_int_equal(number(j, "slots_used"), 2);
    assert_int_equal(number(j, "incarnation"), 2);
    json_decref(j);
    expect_text(&g, CHECK_SOUND, "sound: every sum matches");
    assert_int_equal(stat(path, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim,
                        sizeof(before.st_mtim));
    rig_open(&g); /* and it opens as if nothing had been */
    check_chain(&g, &m);
    rig_free(&g);
}

static void what_is_in_use_or_not_there_is_not_looked_at(void **state)
{
    struct rig g;
    struct model m;
    char *text;
    (void)state;
    make_store(&g, &m);
    rig_open(&g);
    assert_int_equal(report(&g, false, &text), CHECK_FAILED);
    assert_string_equal(text, "");
    free(text);
    rig_close(&g);
    struct rig none = g;
    snprintf(none.dir, sizeof(none.dir), "/nonexistent/store");
    assert_int_equal(report(&none, false, &text), CHECK_FAILED);
    free(text);
    rig_free(&g);
}

static void a_damaged_sector_is_named(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    /* The slots were taken in order: extent 0 has slot 0, extent 1 slot 1. */
    rig_flip(&g, "data.000", KT_EXTENT_BYTES + 7 * KT_SECTOR_BYTES + 99);
    json_t *j = report_json(&g, CHECK_DAMAGED);
    assert_false(json_is_true(json_object_get(j, "sound")));
    assert_int_equal(number(j, "n_problems"), 1);
    json_t *p = json_array_get(json_object_get(j, "problems"), 0);
    assert_string_equal(json_string_value(json_object_get(p, "part")),
                        "sector");
    assert_int_equal(number(p, "chain"), CHAIN);
    assert_int_equal(number(p, "extent"), 1);
    assert_int_equal(number(p, "sector"), 7);
    assert_int_equal(number(p, "offset"),
                     KT_EXTENT_BYTES + 7 * KT_SECTOR_BYTES);
    json_decref(j);
    expect_text(&g, CHECK_DAMAGED, "chain 3, extent 1, sector 7: its bytes");
    expect_text(&g, CHECK_DAMAGED, "answered by the other replicas");
    rig_flip(&g, "data.000", KT_EXTENT_BYTES + 7 * KT_SECTOR_BYTES + 99);
    rig_flip(&g, "csum.000", 8 * 4 + 1);
    expect_text(&g, CHECK_DAMAGED, "chain 3, extent 0, sector 4: its bytes");
    rig_flip(&g, "csum.000", 8 * 4 + 1);
    /* A sector that nothing was written to is nobody's. */
    rig_flip(&g, "data.000", KT_EXTENT_BYTES + 500 * KT_SECTOR_BYTES);
    expect_text(&g, CHECK_SOUND, "sound");
    rig_free(&g);
}

/* Where a batch was cut off, replay mends what the sum does not match. */
static void a_sector_that_the_log_holds_again_is_no_damage(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    rig_open(&g);
    assert_int_equal(do_write(&g, &m, 1, 7), 0);
    rig_close(&g);
    rig_flip(&g, "data.000", KT_EXTENT_BYTES + 7 * KT_SECTOR_BYTES + 99);
    expect_text(&g, CHECK_SOUND, "sound");
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void what_damages_the_whole_store_is_told_apart(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    rig_flip(&g, "super.a", 50);
    expect_text(&g, CHECK_DAMAGED, "superblock: one of the two");
    rig_flip(&g, "super.b", 50);
    expect_text(&g, CHECK_DAMAGED, "both superblocks");
    expect_text(&g, CHECK_DAMAGED, "cannot be opened");
    rig_flip(&g, "super.a", 50);
    rig_flip(&g, "super.b", 50);
    rig_flip(&g, "log.00000001", rig_record_at(21) + 300);
    expect_text(&g, CHECK_DAMAGED, "log: the log of the store");
    expect_text(&g, CHECK_DAMAGED, "20 sectors"); /* looked at all the same */
    rig_flip(&g, "log.00000001", rig_record_at(21) + 300);
    expect_text(&g, CHECK_SOUND, "sound");
    rig_flip(&g, "meta.mdb", 4096 + 10);
    expect_text(&g, CHECK_DAMAGED, "index: the index of the store");
    rig_free(&g);
}

/* Not synced, so that without power it may be missing; after a kill it is
 * damaged, as there are others behind it. */
static void after_a_kill_a_bad_record_is_no_end_of_the_log(void **state)
{
    struct rig g;
    struct model m;
    struct store_info i;
    (void)state;
    rig_init(&g, SLOTS);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        rig_open(&g);
        make_chain(&g, &m, CHAIN);
        for (uint32_t k = 0; k < 10; k++)
            if (do_write(&g, &m, 0, k))
                _exit(2);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    rig_flip(&g, "log.00000001", rig_record_at(4) + 999);
    assert_int_equal(rig_try_open(&g), KT_E_CORRUPT);
    assert_non_null(strstr(g.why, "record 5 cannot be read"));
    g.boot.b[0]++;
    rig_open(&g);
    struct store_chain_info ci;
    store_chain_info(store_chain_find(g.s, CHAIN), &ci);
    assert_int_equal(ci.applied.seq, 4);
    store_info(g.s, &i);
    assert_int_equal(i.cont_base, i.incarnation);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_store_is_called_sound_and_not_changed),
        cmocka_unit_test(what_is_in_use_or_not_there_is_not_looked_at),
        cmocka_unit_test(a_damaged_sector_is_named),
        cmocka_unit_test(a_sector_that_the_log_holds_again_is_no_damage),
        cmocka_unit_test(what_damages_the_whole_store_is_told_apart),
        cmocka_unit_test(after_a_kill_a_bad_record_is_no_end_of_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
