/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static char dir[] = "/tmp/kt-test-os-XXXXXX";

static char *in_dir(const char *name)
{
    static char path[4][128];
    static unsigned n;
    char *p = path[n++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
    return p;
}

static void the_clock_goes_forward(void **state)
{
    (void)state;
    uint64_t us = kt_now_us(), ms = kt_now_ms();
    assert_true(us > 0);
    assert_true(ms >= us / 1000);
    assert_true(kt_now_us() >= us);
}

static void what_was_written_at_an_offset_is_read_back(void **state)
{
    char out[5] = "";
    (void)state;
    int fd = open(in_dir("rw"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(kt_pwrite_all(fd, "hello", 5, 10), 0);
    assert_int_equal(kt_pread_all(fd, out, 5, 10), 0);
    assert_memory_equal(out, "hello", 5);
    assert_int_equal(kt_pread_all(fd, out, 5, 8), 0);
    assert_memory_equal(out, "\0\0hel", 5);
    /* The end of the file inside the range is an error, not a short read. */
    assert_int_equal(kt_pread_all(fd, out, 5, 11), -EIO);
    assert_int_equal(kt_pread_all(fd, out, 0, 99), 0);
    close(fd);
    assert_int_equal(kt_pread_all(fd, out, 1, 0), -EBADF);
    assert_int_equal(kt_pwrite_all(fd, out, 1, 0), -EBADF);
}

static void a_file_is_replaced_whole_and_leaves_nothing_behind(void **state)
{
    char *text = NULL;
    char *path = in_dir("config");
    struct stat st;
    (void)state;
    assert_int_equal(kt_write_file(path, "one", 0600), 0);
    assert_int_equal(kt_write_file(path, "two\n", 0600), 0);
    assert_int_equal(kt_read_file(path, 100, &text), 0);
    assert_string_equal(text, "two\n");
    free(text);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(unlink(path), 0);
    /* With the temporary files gone too, the directory can be removed. */
    unlink(in_dir("rw"));
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void writing_into_no_directory_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(kt_write_file(in_dir("no/such"), "x", 0600), -ENOENT);
    assert_int_equal(kt_sync_parent(in_dir("no/such")), -ENOENT);
    assert_int_equal(kt_sync_parent(in_dir("x")), 0);
    assert_int_equal(kt_sync_parent("/x"), 0);
    assert_int_equal(kt_sync_parent("x"), 0);
}

static void a_file_over_the_limit_is_not_read(void **state)
{
    char *text = NULL;
    char *path = in_dir("limit");
    (void)state;
    assert_int_equal(kt_write_file(path, "12345678", 0600), 0);
    assert_int_equal(kt_read_file(path, 7, &text), -EFBIG);
    assert_null(text);
    assert_int_equal(kt_read_file(path, 8, &text), 0);
    assert_string_equal(text, "12345678");
    free(text);
    text = NULL;
    assert_int_equal(kt_write_file(path, "", 0600), 0);
    assert_int_equal(kt_read_file(path, 8, &text), 0);
    assert_string_equal(text, "");
    free(text);
}

static void what_cannot_be_read_as_text_is_refused(void **state)
{
    char *text = NULL;
    char *path = in_dir("nul");
    (void)state;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(kt_pwrite_all(fd, "a\0b", 3, 0), 0);
    close(fd);
    assert_int_equal(kt_read_file(path, 8, &text), -EINVAL);
    assert_int_equal(kt_read_file(dir, 8, &text), -EISDIR);
    assert_int_equal(kt_read_file(in_dir("none"), 8, &text), -ENOENT);
    assert_null(text);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const left[] = {"rw", "config", "limit", "nul"};
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(left); i++)
        unlink(in_dir(left[i]));
    return rmdir(dir);
}

static int64_t give(const void *arg)
{
    /* It has none of our descriptors but its own. */
    return fcntl(4, F_GETFD) < 0 ? *(const int64_t *)arg : 0;
}

static int64_t hang(const void *arg)
{
    close(*(const int *)arg); /* which it does not hold */
    while (pause() < 0)
        errno = 0;
    return 0;
}

static void a_call_that_does_not_return_is_left(void **state)
{
    struct kt_apart a;
    int p[2], fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int64_t r, want[] = {7, INT64_C(-5000000000), -EAGAIN};
    char c;
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kt_apart_begin(&a, give, &want[i]), 0);
        assert_true(kt_apart_wait(&a, -1, &r));
        assert_true(r == want[i]);
    }
    assert_int_equal(pipe(p), 0);
    assert_int_equal(kt_apart_begin(&a, hang, &p[1]), 0);
    assert_false(kt_apart_wait(&a, 20, &r));
    assert_int_equal(kill((pid_t)a.pid, 0), 0);
    close(p[1]);
    assert_int_equal(read(p[0], &c, 1), 0); /* ours was the last end of it */
    kt_apart_leave(&a);
    for (int i = 0; i < 10000 && kill((pid_t)a.pid, 0) == 0; i++)
        usleep(1000);
    assert_int_equal(kill((pid_t)a.pid, 0), -1);
    assert_int_equal(kt_apart_begin(&a, hang, &p[1]), 0);
    assert_int_equal(kill((pid_t)a.pid, SIGKILL), 0);
    assert_true(kt_apart_wait(&a, -1, &r));
    assert_true(r == -EIO);
    close(p[0]);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_goes_forward),
        cmocka_unit_test(what_was_written_at_an_offset_is_read_back),
        cmocka_unit_test(a_file_is_replaced_whole_and_leaves_nothing_behind),
        cmocka_unit_test(writing_into_no_directory_is_an_error),
        cmocka_unit_test(a_file_over_the_limit_is_not_read),
        cmocka_unit_test(what_cannot_be_read_as_text_is_refused),
        cmocka_unit_test(a_call_that_does_not_return_is_left),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
