/* SPDX-License-Identifier: BSD-3-Clause */
/* A program run to its end, and the last of what it said. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/os.h"

/* Keeps the last size - 1 bytes. */
static void keep_end(char *out, size_t size, const char *add, size_t n)
{
    size_t have = strlen(out);

    if (n >= size) {
        add += n - (size - 1);
        n = size - 1;
    }
    if (have + n > size - 1) {
        size_t drop = have + n - (size - 1);
        memmove(out, out + drop, have - drop);
        have -= drop;
    }
    memcpy(out + have, add, n);
    out[have + n] = '\0';
}

/* Lines become one, separated by "; ". */
static void one_line(char *out)
{
    size_t n = strlen(out);

    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' '))
        out[--n] = '\0';
    for (char *p = out; *p; p++) {
        if ((unsigned char)*p < ' ')
            *p = ' ';
    }
}

static void read_all(int fd, char *ret_out, size_t size)
{
    char buf[1024];

    ret_out[0] = '\0';
    for (;;) {
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n > 0)
            keep_end(ret_out, size, buf, strnlen(buf, (size_t)n));
        else if (n == 0 || errno != EINTR)
            break;
    }
    one_line(ret_out);
}

/* Signals that we block or ignore are not its own choice: a server that is
 * started this way has to end on SIGTERM. */
static int fresh_signals(posix_spawnattr_t *attr)
{
    sigset_t none, all;

    int err = posix_spawnattr_init(attr);
    if (err != 0)
        return err;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setsigdefault(attr, &all);
    posix_spawnattr_setflags(attr,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return 0;
}

static int start(const char *const argv[], int out, pid_t *ret_pid)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    char *words[64];
    size_t n = 0;

    while (argv[n] && n + 1 < KT_ARRAY_LEN(words)) {
        words[n] = strdup(argv[n]);
        if (!words[n])
            break;
        n++;
    }
    words[n] = NULL;
    int err = argv[n] ? E2BIG : posix_spawn_file_actions_init(&fa);
    if (err == 0) {
        posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&fa, out, 1);
        posix_spawn_file_actions_adddup2(&fa, out, 2);
        err = fresh_signals(&attr);
        if (err == 0) {
            err = posix_spawnp(ret_pid, words[0], &fa, &attr, words, environ);
            posix_spawnattr_destroy(&attr);
        }
        posix_spawn_file_actions_destroy(&fa);
    }
    for (size_t i = 0; i < n; i++)
        free(words[i]);
    return -err;
}

int kt_run(const char *const argv[], char *ret_out, size_t size)
{
    int p[2], status;
    pid_t pid;

    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
    int err = start(argv, p[1], &pid);
    close(p[1]);
    if (err == 0)
        read_all(p[0], ret_out, size);
    close(p[0]);
    if (err < 0) {
        snprintf(ret_out, size, "%s cannot be run: %s", argv[0],
                 strerror(-err));
        return err;
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    /* So may posix_spawn say that there is nothing to run, with no word. */
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !ret_out[0]) {
        snprintf(ret_out, size, "%s cannot be run", argv[0]);
        return -ENOENT;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void kt_path_widen(void)
{
    const char *path = getenv("PATH");
    char wide[4096];

    int n = snprintf(wide, sizeof(wide), "%s:/usr/sbin:/sbin",
                     path ? path : "/usr/bin:/bin");
    if (n > 0 && (size_t)n < sizeof(wide))
        setenv("PATH", wide, 1);
}

const char *kt_nbdkit_plugin(char *ret, size_t size)
{
    static const char name[] = "nbdkit-kenter-plugin.so";
    char self[PATH_MAX];

    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        /* Built: beside this program, which may itself be in .libs. */
        static const char *const subs[] = {".libs/", ""};
        for (size_t i = 0; i < KT_ARRAY_LEN(subs); i++) {
            int k = snprintf(ret, size, "%s/%s%s", self, subs[i], name);
            if (k > 0 && (size_t)k < size && access(ret, R_OK) == 0)
                return ret;
        }
    }
    snprintf(ret, size, "%s/%s", KENTER_PLUGINDIR, name);
    return access(ret, R_OK) == 0 ? ret : "kenter";
}
