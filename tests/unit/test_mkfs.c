/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "mkfs-helper/mkfs.h"
#include "tests/unit/unit.h"

#define MIB (1ull << 20)

static char path[64];

/* A sparse file with one byte at `at` (UINT64_MAX: none). */
static void make(uint64_t size, uint64_t at)
{
    snprintf(path, sizeof(path), "/tmp/kt-mkfs.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    if (at != UINT64_MAX)
        assert_int_equal(pwrite(fd, "x", 1, (off_t)at), 1);
    close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    if (path[0])
        unlink(path);
    path[0] = '\0';
    return 0;
}

static int probe(uint64_t size, struct mkfs_found *f, char *why)
{
    struct mkfs_target t = {.path = path, .size_bytes = size};

    return mkfs_probe(&t, f, why);
}

static void the_first_byte_that_is_not_zero_is_found(void **state)
{
    uint8_t b[64];
    (void)state;
    memset(b, 0, sizeof(b));
    assert_int_equal(mkfs_first_nonzero(b, 0), 0);
    assert_int_equal(mkfs_first_nonzero(b, sizeof(b)), sizeof(b));
    for (unsigned i = 0; i < sizeof(b); i++) {
        b[i] = 1;
        assert_int_equal(mkfs_first_nonzero(b, sizeof(b)), i);
        assert_int_equal(mkfs_first_nonzero(b, i), i);
        b[i] = 0;
    }
}

static void a_hole_is_blank_and_all_of_it_was_seen(void **state)
{
    char why[MKFS_WHY_BYTES];
    struct mkfs_found f;
    (void)state;
    make(5ull << 30, UINT64_MAX); /* more than is read through */
    assert_int_equal(probe(5ull << 30, &f, why), 0);
    assert_int_equal(f.kind, MKFS_BLANK);
    assert_true(f.whole);
    assert_true(f.size_bytes == 5ull << 30);
}

static void one_byte_anywhere_is_something(void **state)
{
    static const uint64_t at[] = {0,
                                  1,
                                  64 * MIB,
                                  200 * MIB + 4097,
                                  256 * MIB,
                                  512 * MIB - 4096,
                                  512 * MIB - 1};
    char why[MKFS_WHY_BYTES];
    struct mkfs_found f;
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(at); i++) {
        make(512 * MIB, at[i]);
        assert_int_equal(probe(0, &f, why), 0);
        assert_int_equal(f.kind, MKFS_OTHER);
        assert_non_null(strstr(f.what, "not zero"));
        unlink(path);
    }
}

static void another_size_than_expected_is_refused(void **state)
{
    char why[MKFS_WHY_BYTES] = "";
    struct mkfs_found f;
    (void)state;
    make(64 * MIB, UINT64_MAX);
    assert_int_equal(probe(64 * MIB + 4096, &f, why), -EINVAL);
    assert_non_null(strstr(why, "another size"));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(probe(0, &f, why), -EINVAL);
}

static void what_is_no_device_or_not_there_is_an_error(void **state)
{
    char why[MKFS_WHY_BYTES] = "";
    struct mkfs_target t = {.path = "/dev/null"};
    struct mkfs_found f;
    (void)state;
    assert_int_equal(mkfs_probe(&t, &f, why), -ENOTBLK);
    t.path = "/nowhere/at/all";
    assert_int_equal(mkfs_probe(&t, &f, why), -ENOENT);
    assert_non_null(strstr(why, "/nowhere/at/all"));
}

static void without_the_hubs_word_nothing_is_formatted(void **state)
{
    char why[MKFS_WHY_BYTES] = "", uuid[MKFS_UUID_BYTES] = "-";
    struct mkfs_target t = {.path = path};
    struct mkfs_wish w = {.fs = "ext4"};
    struct mkfs_found f;
    (void)state;
    make(64 * MIB, UINT64_MAX);
    assert_int_equal(mkfs_format(&t, &w, uuid, why), KT_E_REFUSED);
    assert_string_equal(uuid, "-");
    assert_int_equal(probe(0, &f, why), 0);
    assert_int_equal(f.kind, MKFS_BLANK);
}

static void exit_codes_of_e2fsck_are_understood(void **state)
{
    (void)state;
    assert_null(mkfs_fsck_verdict(0));
    assert_null(mkfs_fsck_verdict(1));
    assert_null(mkfs_fsck_verdict(2));
    assert_null(mkfs_fsck_verdict(3));
    for (int bad = 4; bad <= 128; bad *= 2) {
        assert_non_null(mkfs_fsck_verdict(bad));
        assert_non_null(mkfs_fsck_verdict(bad | 1));
    }
}

static void the_size_of_an_ext4_is_read_from_its_superblock(void **state)
{
    uint8_t sb[1024];
    (void)state;
    memset(sb, 0, sizeof(sb));
    assert_true(mkfs_ext4_bytes(sb) == 0);
    sb[56] = 0x53;
    sb[57] = 0xef;
    sb[24] = 2;   /* 4 KiB */
    sb[5] = 0x40; /* 16384 blocks */
    assert_true(mkfs_ext4_bytes(sb) == 64 * MIB);
    sb[336] = 1; /* counts only with the 64-bit feature */
    assert_true(mkfs_ext4_bytes(sb) == 64 * MIB);
    sb[96] = 0x80;
    assert_true(mkfs_ext4_bytes(sb) == (1ull << 44) + 64 * MIB);
    sb[24] = 7;
    assert_true(mkfs_ext4_bytes(sb) == 0);
    sb[24] = 6;
    sb[339] = 0xff;
    assert_true(mkfs_ext4_bytes(sb) == 0);
}

static void a_program_is_run_and_its_last_words_kept(void **state)
{
    const char *const say[] = {"sh", "-c", "echo a; echo b >&2; exit 3", NULL};
    const char *const much[] = {"sh", "-c", "seq 5000; kill -9 $$", NULL};
    const char *const none[] = {"kenter-no-such-program", NULL};
    const char *const masked[] = {"sh", "-c", "kill -TERM $$; echo lives",
                                  NULL};
    sigset_t term;
    char out[64];
    (void)state;
    assert_int_equal(kt_run(say, out, sizeof(out)), 3);
    assert_string_equal(out, "a b");
    assert_int_equal(kt_run(much, out, sizeof(out)), 128 + 9);
    assert_non_null(strstr(out, "4999 5000"));
    assert_int_equal(kt_run(none, out, sizeof(out)), -ENOENT);
    assert_non_null(strstr(out, "kenter-no-such-program"));
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    assert_int_equal(kt_run(masked, out, sizeof(out)), 128 + SIGTERM);
    sigprocmask(SIG_UNBLOCK, &term, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_byte_that_is_not_zero_is_found),
        cmocka_unit_test_teardown(a_hole_is_blank_and_all_of_it_was_seen,
                                  tear_down),
        cmocka_unit_test_teardown(one_byte_anywhere_is_something, tear_down),
        cmocka_unit_test_teardown(another_size_than_expected_is_refused,
                                  tear_down),
        cmocka_unit_test(what_is_no_device_or_not_there_is_an_error),
        cmocka_unit_test_teardown(without_the_hubs_word_nothing_is_formatted,
                                  tear_down),
        cmocka_unit_test(exit_codes_of_e2fsck_are_understood),
        cmocka_unit_test(the_size_of_an_ext4_is_read_from_its_superblock),
        cmocka_unit_test(a_program_is_run_and_its_last_words_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
