/* SPDX-License-Identifier: BSD-3-Clause */
/* The sandbox's directory and processes, with idle tails for daemons. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/sandbox.h"
#include "lib/base/os.h"
#include "tests/unit/cli_fake.h"
#include "tests/unit/unit.h"

static struct sandbox box;

static int setup(void **state)
{
    char path[SANDBOX_PATH_MAX];

    (void)state;
    memset(&box, 0, sizeof(box));
    fake_dir(box.dir);
    box.nodes = 3;
    box.replicas = 2;
    box.lock_fd = -1;
    assert_int_equal(sandbox_save(&box), 0);
    for (unsigned i = 0; i <= box.nodes; i++)
        assert_int_equal(mkdir(sandbox_path(&box, i, NULL, path), 0700), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_remove(box.dir);
    return 0;
}

/* A child that does nothing; its arguments name its directory. */
static pid_t spawn_sleeper(unsigned which)
{
    char path[SANDBOX_PATH_MAX];
    char *argv[] = {strdup("tail"),
                    strdup("-f"),
                    strdup("/dev/null"),
                    strdup("--"),
                    strdup(sandbox_path(&box, which, "store", path)),
                    NULL};
    pid_t pid = 0;

    assert_int_equal(sandbox_spawn(&box, which, "tail", argv, &pid), 0);
    for (int i = 0; argv[i]; i++)
        free(argv[i]);
    return pid;
}

static void end_sleeper(unsigned which, pid_t pid)
{
    struct sandbox_proc p;

    assert_true(sandbox_proc_find(&box, which, &p));
    assert_int_equal(sandbox_proc_signal(&p, SIGKILL), 0);
    sandbox_proc_close(&p);
    assert_true(sandbox_proc_wait(&box, which, 5000));
    waitpid(pid, NULL, 0);
}

static void names_and_numbers_agree(void **state)
{
    char name[SANDBOX_NAME_MAX];

    (void)state;
    assert_int_equal(sandbox_which(&box, "hub"), 0);
    assert_int_equal(sandbox_which(&box, "n3"), 3);
    assert_int_equal(sandbox_which(&box, "n4"), -1);
    assert_int_equal(sandbox_which(&box, "n03"), -1);
    assert_string_equal(sandbox_name(2, name), "n2");
}

static void what_is_saved_is_read(void **state)
{
    struct sandbox other = {.lock_fd = -1};

    (void)state;
    memcpy(other.dir, box.dir, sizeof(other.dir));
    box.segment = 64 << 20;
    box.capacity = 5ull << 40;
    assert_int_equal(sandbox_save(&box), 0);
    assert_int_equal(sandbox_read(&other), 0);
    assert_int_equal(other.nodes, 3);
    assert_int_equal(other.replicas, 2);
    assert_int_equal(other.segment, 64 << 20);
    assert_int_equal(other.capacity, 5ull << 40);
}

static void a_started_process_is_found_and_detached(void **state)
{
    char path[SANDBOX_PATH_MAX], *text;
    struct sandbox_proc p;

    (void)state;
    assert_false(sandbox_proc_find(&box, 1, &p));
    pid_t pid = spawn_sleeper(1);
    assert_true(sandbox_proc_find(&box, 1, &p));
    assert_int_equal(p.pid, pid);
    sandbox_proc_close(&p);
    assert_int_equal(getsid(pid), pid);
    assert_int_equal(
        kt_read_file(sandbox_path(&box, 1, "pid", path), 100, &text), 0);
    assert_int_equal(strtol(text, NULL, 10), pid);
    free(text);
    end_sleeper(1, pid);
    assert_false(sandbox_proc_find(&box, 1, &p));
}

static void a_recycled_pid_is_never_taken_for_it(void **state)
{
    char path[SANDBOX_PATH_MAX], dir[64], *text, *start;
    struct sandbox_proc p;

    (void)state;
    pid_t pid = spawn_sleeper(2);
    assert_int_equal(
        kt_read_file(sandbox_path(&box, 2, "ident", path), 200, &text), 0);
    start = strchr(text, ' ') + 1;
    char saved = *start;
    *start = saved == '9' ? '8' : '9';
    snprintf(dir, sizeof(dir), "%.60s", box.dir);
    fake_write(dir, "n2/ident", text);
    assert_false(sandbox_proc_find(&box, 2, &p));
    *start = saved;
    /* The same process, but not the daemon of n3. */
    fake_write(dir, "n3/ident", text);
    assert_false(sandbox_proc_find(&box, 3, &p));
    /* Another boot of the machine. */
    char *boot = strrchr(text, ' ') + 1;
    saved = *boot;
    *boot = saved == 'a' ? 'b' : 'a';
    fake_write(dir, "n2/ident", text);
    assert_false(sandbox_proc_find(&box, 2, &p));
    *boot = saved;
    fake_write(dir, "n2/ident", text);
    free(text);
    end_sleeper(2, pid);
}

static void a_stopped_process_is_known_as_such(void **state)
{
    struct sandbox_proc p;
    int status;

    (void)state;
    pid_t pid = spawn_sleeper(1);
    assert_true(sandbox_proc_find(&box, 1, &p));
    assert_int_equal(sandbox_proc_signal(&p, SIGSTOP), 0);
    sandbox_proc_close(&p);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(sandbox_proc_find(&box, 1, &p));
    assert_int_equal(p.state, 'T');
    sandbox_proc_close(&p);
    assert_false(sandbox_proc_wait(&box, 1, 20));
    end_sleeper(1, pid);
}

static void a_program_that_is_missing_is_an_error(void **state)
{
    char *argv[] = {strdup("kenter-nothing"), NULL};
    pid_t pid;

    (void)state;
    assert_int_equal(
        sandbox_spawn(&box, 1, "/nonexistent/kenter-nothing", argv, &pid),
        -ENOENT);
    free(argv[0]);
}

static void last_words_are_the_last_line_of_the_log(void **state)
{
    char dir[64], text[100];

    (void)state;
    snprintf(dir, sizeof(dir), "%.60s", box.dir);
    assert_string_equal(sandbox_last_words(&box, 1, text, sizeof(text)),
                        "nothing");
    fake_write(dir, "n1/log", "one\nthe disk is full\n\n");
    assert_string_equal(sandbox_last_words(&box, 1, text, sizeof(text)),
                        "the disk is full");
}

static void addresses_are_read_and_rubbish_is_passed_over(void **state)
{
    struct kt_addr a[SANDBOX_ADDRS_MAX];
    char dir[64];

    (void)state;
    snprintf(dir, sizeof(dir), "%.60s", box.dir);
    assert_int_equal(sandbox_addresses(&box, 1, "address", a), 0);
    fake_write(dir, "n1/address", "what\ntcp:127.0.0.1:4000\nunix:/x/y\n");
    assert_int_equal(sandbox_addresses(&box, 1, "address", a), 2);
    assert_int_equal(a[0].port, 4000);
    assert_int_equal(a[1].kind, KT_ADDR_UNIX);
}

static void a_path_too_long_has_no_socket(void **state)
{
    struct sandbox far = box;
    struct kt_addr a;

    (void)state;
    assert_true(sandbox_socket(&box, 3, &a));
    memset(far.dir, 'd', 100);
    far.dir[0] = '/';
    far.dir[100] = '\0';
    assert_false(sandbox_socket(&far, 3, &a));
}

static void a_wipe_leaves_what_is_not_ours(void **state)
{
    char dir[64], path[SANDBOX_PATH_MAX];

    (void)state;
    snprintf(dir, sizeof(dir), "%.60s", box.dir);
    fake_write(dir, "n1/log", "x");
    fake_write(dir, "precious", "y");
    assert_int_equal(symlink("/tmp", sandbox_path(&box, 1, "link", path)), 0);
    assert_int_equal(sandbox_wipe(&box), CLI_FAILED);
    assert_int_equal(access(sandbox_path(&box, 1, NULL, path), F_OK), -1);
    assert_int_equal(access(sandbox_file(&box, "precious", path), F_OK), 0);
    assert_int_equal(access("/tmp", F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CASE(names_and_numbers_agree),
        CASE(what_is_saved_is_read),
        CASE(a_started_process_is_found_and_detached),
        CASE(a_recycled_pid_is_never_taken_for_it),
        CASE(a_stopped_process_is_known_as_such),
        CASE(a_program_that_is_missing_is_an_error),
        CASE(last_words_are_the_last_line_of_the_log),
        CASE(addresses_are_read_and_rubbish_is_passed_over),
        CASE(a_path_too_long_has_no_socket),
        CASE(a_wipe_leaves_what_is_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
