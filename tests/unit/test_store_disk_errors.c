/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk that refuses to read or to write some places of a file: pread,
 * preadv2 and pwrite of libc are wrapped (--wrap). And one that lets a record
 * rot. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/sum.h"
#include "replicator/store/logfmt.h"
#include "tests/unit/store_model.h"

#define SLOTS 16u
#define CHAIN 3u
#define SECTORS 70u

static struct {
    const char *file; /* in its path; NULL: all is well */
    uint64_t first, end;
} dead_read, dead_write;

static bool is_dead(const char *file, uint64_t first, uint64_t end, int fd,
                    uint64_t off, uint64_t len)
{
    char link[64], path[256];

    if (!file)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    path[n < 0 ? 0 : n] = '\0';
    return strstr(path, file) && off < end && off + len > first;
}

ssize_t __real_pread(int fd, void *buf, size_t len, off_t off);
ssize_t __real_preadv2(int fd, const struct iovec *v, int n, off_t off, int f);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t off);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t off);
ssize_t __wrap_preadv2(int fd, const struct iovec *v, int n, off_t off, int f);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t off);

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t off)
{
    if (is_dead(dead_read.file, dead_read.first, dead_read.end, fd,
                (uint64_t)off, len)) {
        errno = EIO;
        return -1;
    }
    return __real_pread(fd, buf, len, off);
}

ssize_t __wrap_preadv2(int fd, const struct iovec *v, int n, off_t off, int f)
{
    uint64_t len = 0;

    for (int i = 0; i < n; i++)
        len += v[i].iov_len;
    if (is_dead(dead_read.file, dead_read.first, dead_read.end, fd,
                (uint64_t)off, len)) {
        errno = EIO;
        return -1;
    }
    return __real_preadv2(fd, v, n, off, f);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t off)
{
    if (is_dead(dead_write.file, dead_write.first, dead_write.end, fd,
                (uint64_t)off, len)) {
        errno = EIO;
        return -1;
    }
    return __real_pwrite(fd, buf, len, off);
}

static void refuse_reads(const char *file, uint64_t off, uint64_t len)
{
    dead_read.file = file;
    dead_read.first = off;
    dead_read.end = off + len;
}

/* Extent 0 in slot 0, applied; sector 8 holds written zeros. Open. */
static void make_store(struct rig *g, struct model *m)
{
    rig_init(g, SLOTS);
    rig_open(g);
    struct store_chain *c = make_chain(g, m, CHAIN);
    for (uint32_t i = 0; i < SECTORS; i++)
        assert_int_equal(do_write(g, m, 0, i), 0);
    struct kt_record r = model_record(m, KT_OP_WRITE);
    r.off = 8 * KT_SECTOR_BYTES;
    r.len = KT_SECTOR_BYTES;
    struct kt_buf *zeros = kt_buf_new(KT_SECTOR_BYTES, 1);
    memset(zeros->data, 0, KT_SECTOR_BYTES);
    zeros->data_len = KT_SECTOR_BYTES;
    zeros->n_sums = 1;
    kt_sum_sectors(zeros->data, KT_SECTOR_BYTES, zeros->sums);
    assert_int_equal(do_append(g, &r, zeros), 0);
    kt_buf_unref(zeros);
    m->at = r.id;
    store_acked(g->s, c, m->at.seq);
    rig_close(g);
    rig_open(g);
}

static int read_some(struct rig *g, uint32_t first, uint32_t n,
                     struct store_read *r)
{
    *r = (struct store_read){.op.done = rig_done,
                             .chain = store_chain_find(g->s, CHAIN),
                             .off = first * KT_SECTOR_BYTES,
                             .len = n * KT_SECTOR_BYTES};
    store_read(g->s, r);
    return rig_wait(g, &r->op);
}

static void only_what_the_disk_refuses_is_bad(void **state)
{
    struct store_info i;
    struct store_read r;
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    assert_int_equal(read_some(&g, 4, 64, &r), 0);
    struct kt_buf *theirs = r.ret_buf;
    refuse_reads("/data.000", 9 * KT_SECTOR_BYTES + 512, 512);
    for (unsigned k = 0; k < 3; k++) {
        assert_int_equal(read_some(&g, 4, 64, &r), KT_E_CORRUPT);
        assert_int_equal(r.ret_bad, 9 * KT_SECTOR_BYTES);
    }
    store_info(g.s, &i);
    assert_int_equal(i.bad_sectors, 1);
    assert_int_equal(i.err, 0);
    assert_int_equal(read_some(&g, 10, 50, &r), 0);
    kt_buf_unref(r.ret_buf);
    struct store_mend mend = {.op.done = rig_done,
                              .chain = store_chain_find(g.s, CHAIN),
                              .off = 4 * KT_SECTOR_BYTES,
                              .len = 64 * KT_SECTOR_BYTES,
                              .buf = theirs};
    store_mend(g.s, &mend);
    assert_int_equal(rig_wait(&g, &mend.op), 0);
    assert_int_equal(mend.ret_mended, 1); /* written anew */
    assert_int_equal(mend.ret_left, 0);
    refuse_reads(NULL, 0, 0);
    assert_int_equal(read_some(&g, 4, 64, &r), 0);
    kt_buf_unref(r.ret_buf);
    kt_buf_unref(theirs);
    rig_free(&g);
}

/* Zeros are no sign that the disk gave nothing. */
static void written_zeros_that_cannot_be_read_are_bad_too(void **state)
{
    struct store_read r;
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    refuse_reads("/data.000", 8 * KT_SECTOR_BYTES, KT_SECTOR_BYTES);
    assert_int_equal(read_some(&g, 8, 1, &r), KT_E_CORRUPT);
    assert_int_equal(r.ret_bad, 8 * KT_SECTOR_BYTES);
    refuse_reads(NULL, 0, 0);
    assert_int_equal(read_some(&g, 8, 1, &r), 0);
    kt_buf_unref(r.ret_buf);
    rig_free(&g);
}

/* To write a part of their page, it would have to be read. */
static void sums_that_cannot_be_read_stay_and_the_store_goes_on(void **state)
{
    struct store_info i;
    struct store_read r;
    struct rig g;
    struct model m;
    (void)state;
    make_store(&g, &m);
    assert_int_equal(read_some(&g, 0, 8, &r), 0);
    struct kt_buf *theirs = r.ret_buf;
    refuse_reads("/csum.000", 0, 8);
    dead_write.file = "/csum.000";
    dead_write.first = 0;
    dead_write.end = 4096;
    assert_int_equal(read_some(&g, 0, 8, &r), KT_E_CORRUPT);
    struct store_mend mend = {.op.done = rig_done,
                              .chain = store_chain_find(g.s, CHAIN),
                              .len = 8 * KT_SECTOR_BYTES,
                              .buf = theirs};
    store_mend(g.s, &mend);
    assert_int_equal(rig_wait(&g, &mend.op), 0);
    assert_int_equal(mend.ret_left, 1);
    store_info(g.s, &i);
    assert_int_equal(i.err, 0);
    refuse_reads(NULL, 0, 0);
    dead_write.file = NULL;
    kt_buf_unref(theirs);
    rig_free(&g);
}

/* What a start does to the index before it says in the superblock that the
 * store is open is no damage when the start ends in between. */
static void a_start_that_was_cut_off_does_no_damage(void **state)
{
    struct rig g;
    struct model m, n;
    (void)state;
    make_store(&g, &m);
    make_chain(&g, &n, CHAIN + 1);
    assert_int_equal(do_write(&g, &n, 0, 0), 0);
    assert_int_equal(do_drop(&g, CHAIN + 1), 0);
    assert_int_equal(do_write(&g, &m, 1, 0), 0);
    store_acked(g.s, store_chain_find(g.s, CHAIN), m.at.seq);
    rig_close(&g);
    dead_write.file = "/super.";
    dead_write.first = 0;
    dead_write.end = UINT64_MAX;
    assert_true(rig_try_open(&g) < 0);
    dead_write.file = NULL;
    rig_open(&g);
    assert_non_null(store_chain_find(g.s, CHAIN));
    rig_free(&g);
}

/* Nothing in the log says that its last record was durable. */
static void rot_of_the_last_synced_record_is_no_torn_write(void **state)
{
    struct rig g;
    struct model m;
    uint64_t durable;
    int status;
    (void)state;
    rig_init(&g, SLOTS);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        rig_open(&g);
        (void)make_chain(&g, &m, CHAIN);
        for (uint32_t i = 0; i < 40; i++)
            assert_int_equal(do_write(&g, &m, 0, i), 0);
        assert_int_equal(do_sync(&g, CHAIN, &durable), 0);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    uint32_t at = rig_record_at(39) + LOG_REC_HEAD_BYTES + 100;
    rig_flip(&g, "log.00000001", at);
    assert_int_equal(rig_try_open(&g), KT_E_CORRUPT);
    assert_non_null(strstr(g.why, "damaged"));
    struct kt_id boot = g.boot; /* what power that was lost left behind */
    kt_id_random(&g.boot);
    assert_int_equal(rig_try_open(&g), 0);
    rig_close(&g);
    g.boot = boot;
    rig_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_the_disk_refuses_is_bad),
        cmocka_unit_test(written_zeros_that_cannot_be_read_are_bad_too),
        cmocka_unit_test(sums_that_cannot_be_read_stay_and_the_store_goes_on),
        cmocka_unit_test(a_start_that_was_cut_off_does_no_damage),
        cmocka_unit_test(rot_of_the_last_synced_record_is_no_torn_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
