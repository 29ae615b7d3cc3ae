/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "tests/unit/unit.h"

/* What came to stderr since the last begin(). */
static char out[64 * 1024];
static int saved_stderr = -1, tmp_fd = -1;

static void begin(void)
{
    char path[] = "/tmp/kt-test-log-XXXXXX";
    tmp_fd = mkstemp(path);
    assert_true(tmp_fd >= 0);
    unlink(path);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(dup2(tmp_fd, STDERR_FILENO) >= 0);
}

static const char *end(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    ssize_t n = pread(tmp_fd, out, sizeof(out) - 1, 0);
    assert_true(n >= 0);
    out[n] = '\0';
    close(tmp_fd);
    return out;
}

static unsigned lines(const char *s)
{
    unsigned n = 0;
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

static void a_line_has_time_level_event_and_the_pairs(void **state)
{
    (void)state;
    begin();
    kt_log(KT_LOG_WARN, "peer_lost", "chain=%d err=\"%s\"", 7, "reset");
    const char *s = end();
    assert_int_equal(strncmp(s, "ts=20", 5), 0);
    assert_int_equal(s[strlen("ts=2026-01-01T00:00:00.000")], 'Z');
    assert_non_null(
        strstr(s, " level=warn event=peer_lost chain=7 err=\"reset\"\n"));
    assert_int_equal(lines(s), 1);
}

static void lines_above_the_level_are_dropped(void **state)
{
    (void)state;
    begin();
    kt_log(KT_LOG_DEBUG, "quiet", "%s", "");
    kt_log_set_level(KT_LOG_DEBUG);
    kt_log(KT_LOG_DEBUG, "loud", "%s", "");
    kt_log_set_level(KT_LOG_ERROR);
    kt_log(KT_LOG_WARN, "quiet", "%s", "");
    kt_log_set_level(KT_LOG_INFO);
    const char *s = end();
    assert_null(strstr(s, "quiet"));
    /* Without pairs no blank is left at the end. */
    assert_non_null(strstr(s, "level=debug event=loud\n"));
}

static void control_characters_cannot_forge_a_line(void **state)
{
    (void)state;
    begin();
    kt_log(KT_LOG_INFO, "evil", "name=\"%s\"", "a\nb\x1b[2J\x7f");
    const char *s = end();
    assert_int_equal(lines(s), 1);
    assert_non_null(strstr(s, "name=\"a?b?[2J?\""));
}

static void a_long_line_is_cut_at_one_kib(void **state)
{
    char big[5000];
    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    begin();
    kt_log(KT_LOG_INFO, "long", "%s", big);
    kt_log(KT_LOG_INFO, big, "%s", big);
    const char *s = end();
    assert_int_equal(lines(s), 2);
    assert_in_range(strcspn(s, "\n") + 1, 1000, 1024);
    assert_in_range(strlen(s), 2000, 2048);
}

static void a_storm_of_one_event_is_counted_not_printed(void **state)
{
    unsigned logged = 0;
    (void)state;
    begin();
    uint64_t t0 = kt_now_ms();
    for (int i = 0; i < 100; i++)
        kt_log(KT_LOG_WARN, "storm", "i=%d", i);
    kt_log(KT_LOG_WARN, "other", "%s", "still=1");
    bool within = kt_now_ms() - t0 < 1000;
    const char *s = end();
    logged = lines(s);
    /* On a machine so slow that a second went by, more windows opened. */
    if (within)
        assert_int_equal(logged, 21);
    assert_non_null(strstr(s, "event=other still=1"));
}

static void the_callers_errno_is_left_alone(void **state)
{
    (void)state;
    begin();
    errno = ENOSPC;
    kt_log(KT_LOG_INFO, "errno", "%s", "");
    int after = errno;
    end();
    assert_int_equal(after, ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_event_and_the_pairs),
        cmocka_unit_test(lines_above_the_level_are_dropped),
        cmocka_unit_test(control_characters_cannot_forge_a_line),
        cmocka_unit_test(a_long_line_is_cut_at_one_kib),
        cmocka_unit_test(a_storm_of_one_event_is_counted_not_printed),
        cmocka_unit_test(the_callers_errno_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
