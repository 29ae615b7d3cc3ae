/* SPDX-License-Identifier: BSD-3-Clause */
/* The store on disk at its limits: directories it may not use, a log that goes
 * round, disks that fail or are full. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "tests/unit/store_model.h"

/* ---- directories ---- */

static void one_directory_serves_one_process(void **state)
{
    struct rig g, other;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    other = g;
    assert_int_equal(rig_try_open(&other), -EBUSY);
    assert_non_null(strstr(other.why, g.dir));
    assert_non_null(strstr(other.why, "in use"));
    rig_free(&g);
}

static void an_empty_directory_is_not_a_store_unless_asked(void **state)
{
    struct rig g;
    struct store_opts o = {.create = false};
    (void)state;
    rig_init(&g, 8);
    assert_int_equal(store_open(g.dir, &o, &g.s, g.why, sizeof(g.why)),
                     -ENOENT);
    assert_non_null(strstr(g.why, "no store"));
    assert_int_equal(
        store_open("/nonexistent/dir", &o, &g.s, g.why, sizeof(g.why)),
        -ENOENT);
    g.s = NULL;
    rig_free(&g);
}

static void touch(const struct rig *g, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%.60s/%.60s", g->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void a_directory_of_other_files_is_left_alone(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g, 8);
    touch(&g, "holiday.jpg");
    assert_int_equal(rig_try_open(&g), -ENOTEMPTY);
    assert_non_null(strstr(g.why, "not a store"));
    rig_free(&g);
}

static void a_store_without_superblocks_is_not_made_anew(void **state)
{
    struct rig g;
    char path[128];
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    rig_close(&g);
    for (char c = 'a'; c <= 'b'; c++) {
        snprintf(path, sizeof(path), "%.60s/super.%c", g.dir, c);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rig_try_open(&g), KT_E_CORRUPT);
    assert_non_null(strstr(g.why, "superblocks"));
    /* But one that was never finished is. */
    touch(&g, "creating");
    rig_open(&g);
    rig_free(&g);
}

static void another_users_directory_is_refused(void **state)
{
    struct rig g;
    (void)state;
    if (geteuid() != 0) {
        print_message("only root can act as another user\n");
        skip();
    }
    rig_init(&g, 8);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (setuid(65534))
            _exit(2);
        int err = rig_try_open(&g);
        _exit(err == -EACCES && g.why[0] ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    rig_free(&g);
}

/* ---- the log ---- */

#define MIB_RECORD (KT_RECORD_BYTES_MAX)

static int write_mib(struct rig *g, struct model *m)
{
    struct kt_record r = model_record(m, KT_OP_WRITE);
    r.extent = m->at.seq % 4;
    r.off = (uint32_t)(m->at.seq / 4 % 4) * MIB_RECORD;
    r.len = MIB_RECORD;
    return do_op(g, m, r, m->at.seq * 5 + 1);
}

static unsigned count_segments(const struct rig *g)
{
    unsigned n = 0;
    for (unsigned i = 1; i < 300; i++) {
        char path[128];
        snprintf(path, sizeof(path), "%.60s/log.%08u", g->dir, i);
        n += access(path, F_OK) == 0;
    }
    return n;
}

static void an_acked_log_goes_round(void **state)
{
    struct rig g;
    struct model m;
    static struct store_log_read r;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    struct store_chain *c = make_chain(&g, &m, 1);
    for (unsigned i = 0; i < 120; i++) {
        assert_int_equal(write_mib(&g, &m), 0);
        store_acked(g.s, c, m.at.seq);
    }
    assert_true(count_segments(&g) <= 40);
    check_chain(&g, &m);
    r = (struct store_log_read){
        .op.done = rig_done, .chain = c, .after = 1, .max_records = 4};
    store_log_read(g.s, &r);
    assert_int_equal(rig_wait(&g, &r.op), -ENODATA);
    r.after = m.at.seq - 3;
    store_log_read(g.s, &r);
    assert_int_equal(rig_wait(&g, &r.op), 0);
    assert_int_equal(r.ret_n, 3);
    for (unsigned i = 0; i < r.ret_n; i++)
        kt_buf_unref(r.bufs[i]);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    c = store_chain_find(g.s, 1);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(write_mib(&g, &m), 0);
        store_acked(g.s, c, m.at.seq);
    }
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void unacked_records_do_not_stop_the_log(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    for (unsigned i = 0; i < 80; i++) /* 2 MiB segments, 32 of them */
        assert_int_equal(write_mib(&g, &m), 0);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    store_acked(g.s, store_chain_find(g.s, 1), m.at.seq);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

#define AT_ONCE 40u
static struct store_append many[AT_ONCE];
static unsigned n_many;

static void many_done(struct store_op *op, int err)
{
    /* In order, whether they waited or were refused. */
    assert_ptr_equal(op, &many[n_many].op);
    op->err = err;
    n_many++;
}

static void appends_that_wait_keep_their_order_and_their_slots(void **state)
{
    struct rig g;
    struct model m;
    (void)state;
    rig_init(&g, 4);
    rig_open(&g);
    struct store_chain *c = make_chain(&g, &m, 1);
    assert_int_equal(store_grant(g.s, c, 3), 3);
    n_many = 0;
    for (unsigned i = 0; i < AT_ONCE; i++) { /* far more than two segments */
        struct kt_record r = model_record(&m, KT_OP_WRITE);
        r.extent = i / 10;
        r.off = i % 4 * MIB_RECORD;
        r.len = MIB_RECORD;
        r.id.seq += i == 25; /* a gap */
        many[i] = (struct store_append){.op.done = many_done,
                                        .chain = c,
                                        .rec = r,
                                        .buf = model_payload(&r, i * 5 + 1)};
        store_append(g.s, &many[i]);
        kt_buf_unref(many[i].buf);
        if (i != 25)
            model_fold(&m, &r, i * 5 + 1);
    }
    /* The fourth extent took what was not set aside; nothing is left. */
    assert_int_equal(store_grant(g.s, c, 1), 0);
    while (n_many < AT_ONCE)
        rig_step(&g);
    for (unsigned i = 0; i < AT_ONCE; i++)
        assert_int_equal(many[i].op.err, i == 25 ? KT_E_GAP : 0);
    check_chain(&g, &m);
    rig_free(&g);
}

/* ---- failing disks ---- */

/* From now on every write of this process past its first byte fails. */
static void break_writes(bool broken)
{
    struct rlimit l;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = broken ? 1 : l.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void after_a_failed_write_everything_fails_and_nothing_is_lost(void **s)
{
    struct rig g;
    struct model m;
    struct store_info i;
    uint64_t durable;
    (void)s;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    for (uint32_t k = 0; k < 20; k++)
        assert_int_equal(do_write(&g, &m, k % 3, k), 0);
    break_writes(true);
    assert_int_equal(do_write(&g, &m, 0, 99), KT_E_FAULTY);
    store_info(g.s, &i);
    assert_int_equal(i.err, -EFBIG);
    break_writes(false);
    /* The disk works again: that makes no difference (I17). */
    assert_int_equal(do_write(&g, &m, 0, 99), KT_E_FAULTY);
    assert_int_equal(do_sync(&g, 1, &durable), KT_E_FAULTY);
    assert_int_equal(do_save(&g, 1, 5, NULL), KT_E_FAULTY);
    int err;
    do_read(&g, 1, 0, 0, &err);
    assert_int_equal(err, KT_E_FAULTY);
    assert_null(store_chain_create(g.s, 2, 4));
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

static void a_failed_commit_of_the_index_makes_the_store_faulty(void **state)
{
    struct rig g;
    struct model m;
    struct store_info i;
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    make_chain(&g, &m, 1);
    assert_int_equal(do_save(&g, 1, 4, NULL), 0);
    break_writes(true);
    assert_int_equal(do_save(&g, 1, 5, NULL), KT_E_FAULTY);
    break_writes(false);
    store_info(g.s, &i);
    assert_true(i.err < 0);
    rig_close(&g);
    rig_open(&g);
    struct store_chain_info ci;
    store_chain_info(store_chain_find(g.s, 1), &ci);
    assert_int_equal(ci.promised, 4);
    rig_free(&g);
}

static void a_failed_batch_loses_nothing(void **state)
{
    struct rig g;
    struct model m;
    struct store_info i = {.err = 0};
    (void)state;
    rig_init(&g, 8);
    rig_open(&g);
    struct store_chain *c = make_chain(&g, &m, 1);
    for (uint32_t k = 0; k < 20; k++)
        assert_int_equal(do_write(&g, &m, k % 3, k), 0);
    break_writes(true);
    store_acked(g.s, c, m.at.seq);
    while (!i.err) { /* the next tick applies */
        rig_step(&g);
        store_info(g.s, &i);
    }
    break_writes(false);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    store_acked(g.s, store_chain_find(g.s, 1), m.at.seq);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    rig_free(&g);
}

/* ---- full disks: a tmpfs of our own ---- */

static bool mount_small(struct rig *g, const char *size)
{
    char opt[32];
    snprintf(opt, sizeof(opt), "size=%s", size);
    if (geteuid() == 0 && mount("none", g->dir, "tmpfs", 0, opt) == 0)
        return true;
    print_message("a small file system cannot be mounted here: %s\n",
                  geteuid() ? "not root" : strerror(errno));
    rig_free(g);
    return false;
}

static void a_disk_too_small_for_a_store_is_refused(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g, 8);
    if (!mount_small(&g, "16m"))
        skip();
    assert_int_equal(rig_try_open(&g), -ENOSPC);
    assert_non_null(strstr(g.why, "needs"));
    umount(g.dir);
    rig_free(&g);
}

static void a_full_disk_refuses_extents_and_nothing_else(void **state)
{
    struct rig g;
    struct model m;
    char path[128];
    (void)state;
    rig_init(&g, 64);
    if (!mount_small(&g, "110m"))
        skip();
    rig_open(&g);
    struct store_chain *c = make_chain(&g, &m, 1);
    assert_int_equal(do_write(&g, &m, 0, 0), 0);
    assert_int_equal(do_write(&g, &m, 1, 0), 0);
    /* Somebody else fills the disk to the last byte. */
    snprintf(path, sizeof(path), "%.60s/other", g.dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    static char b[1 << 16];
    while (write(fd, b, sizeof(b)) > 0)
        continue;
    /* Overwrites go on, many times the log's size. */
    for (unsigned i = 0; i < 60; i++) {
        struct kt_record r = model_record(&m, KT_OP_WRITE);
        r.extent = i % 2;
        r.len = MIB_RECORD;
        assert_int_equal(do_op(&g, &m, r, i * 5 + 1), 0);
        store_acked(g.s, c, m.at.seq);
    }
    /* What was made ready before is used up; then it is full. */
    uint32_t n = 0;
    for (unsigned i = 0; i < 40; i++) {
        n = store_grant(g.s, c, 64);
        rig_step(&g);
    }
    assert_true(n < 62);
    assert_true(store_is_full(g.s));
    store_ungrant(g.s, c);
    assert_int_equal(do_save(&g, 1, 7, NULL), 0);
    check_chain(&g, &m);
    rig_close(&g);
    rig_open(&g);
    check_chain(&g, &m);
    rig_close(&g);
    close(fd);
    umount(g.dir);
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_directory_serves_one_process),
        cmocka_unit_test(an_empty_directory_is_not_a_store_unless_asked),
        cmocka_unit_test(a_directory_of_other_files_is_left_alone),
        cmocka_unit_test(a_store_without_superblocks_is_not_made_anew),
        cmocka_unit_test(another_users_directory_is_refused),
        cmocka_unit_test(an_acked_log_goes_round),
        cmocka_unit_test(unacked_records_do_not_stop_the_log),
        cmocka_unit_test(appends_that_wait_keep_their_order_and_their_slots),
        cmocka_unit_test(
            after_a_failed_write_everything_fails_and_nothing_is_lost),
        cmocka_unit_test(a_failed_commit_of_the_index_makes_the_store_faulty),
        cmocka_unit_test(a_failed_batch_loses_nothing),
        cmocka_unit_test(a_disk_too_small_for_a_store_is_refused),
        cmocka_unit_test(a_full_disk_refuses_extents_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
