/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes of a sandbox: found, started, signalled. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/sandbox.h"
#include "lib/base/os.h"

#define POLL_MS 10u

/* State and start time (in clock ticks since boot) of a process. */
static int proc_stat(pid_t pid, char *ret_state, unsigned long long *ret_start)
{
    char path[64], *text;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    int r = kt_read_file(path, 4096, &text);
    if (r < 0)
        return r;
    /* The second field is the name in brackets and may hold anything. */
    const char *p = strrchr(text, ')');
    r = p && sscanf(p + 1,
                    " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
                    "%*d %*d %*d %*d %*d %llu",
                    ret_state, ret_start) == 2
            ? 0
            : -EIO;
    free(text);
    return r;
}

/* Whether one of the process's arguments lies in the daemon's directory. */
static bool proc_is_of(pid_t pid, const char *dir)
{
    char path[64], cmd[8192];
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%ld/cmdline", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, cmd, sizeof(cmd));
    close(fd);
    size_t len = strlen(dir);
    for (ssize_t i = 0; i + (ssize_t)len <= n && !found; i++)
        found = memcmp(cmd + i, dir, len) == 0;
    return found;
}

bool sandbox_proc_find(const struct sandbox *s, unsigned which,
                       struct sandbox_proc *ret_p)
{
    char path[SANDBOX_PATH_MAX], hex[KT_ID_HEX_BYTES], mine[KT_ID_HEX_BYTES];
    char *text, state;
    unsigned long long was, is;
    struct kt_id boot;
    long pid;

    if (kt_read_file(sandbox_path(s, which, "ident", path), 256, &text) < 0)
        return false;
    int n = sscanf(text, "%ld %llu %32s", &pid, &was, hex);
    free(text);
    if (n != 3 || pid < 2 || kt_boot_id(&boot) < 0 ||
        strcmp(kt_id_hex(&boot, mine), hex) != 0)
        return false;
    /* The pidfd first, the proof second: what is proven then stays the
     * process that is signalled. */
    int fd = pidfd_open((pid_t)pid, 0);
    if (fd < 0 && errno == ESRCH)
        return false;
    if (proc_stat((pid_t)pid, &state, &is) < 0 || is != was || state == 'Z' ||
        state == 'X' ||
        !proc_is_of((pid_t)pid, sandbox_path(s, which, NULL, path))) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    *ret_p = (struct sandbox_proc){.pid = (pid_t)pid, .fd = fd, .state = state};
    return true;
}

void sandbox_proc_close(struct sandbox_proc *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

int sandbox_proc_signal(const struct sandbox_proc *p, int sig)
{
    int r =
        p->fd >= 0 ? pidfd_send_signal(p->fd, sig, NULL, 0) : kill(p->pid, sig);
    return r < 0 && errno != ESRCH ? -errno : 0;
}

bool sandbox_proc_wait(const struct sandbox *s, unsigned which,
                       unsigned timeout_ms)
{
    const struct timespec nap = {.tv_nsec = POLL_MS * 1000000};
    uint64_t until = kt_now_ms() + timeout_ms;
    struct sandbox_proc p;

    while (sandbox_proc_find(s, which, &p)) {
        sandbox_proc_close(&p);
        if (kt_now_ms() >= until)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

/* ---- the child's side of a start; never returns on success ---- */

static int note_ident(const struct sandbox *s, unsigned which)
{
    char path[SANDBOX_PATH_MAX], text[128], hex[KT_ID_HEX_BYTES], state;
    unsigned long long start;
    struct kt_id boot;
    long pid = (long)getpid();

    /* The start time outlives exec. */
    int r = proc_stat((pid_t)pid, &state, &start);
    if (r == 0)
        r = kt_boot_id(&boot);
    if (r < 0)
        return r;
    snprintf(text, sizeof(text), "%ld %llu %s\n", pid, start,
             kt_id_hex(&boot, hex));
    r = kt_write_file(sandbox_path(s, which, "ident", path), text, 0600);
    if (r < 0)
        return r;
    snprintf(text, sizeof(text), "%ld\n", pid);
    return kt_write_file(sandbox_path(s, which, "pid", path), text, 0600);
}

static int become_daemon(const struct sandbox *s, unsigned which)
{
    char path[SANDBOX_PATH_MAX];
    sigset_t none;

    if (setsid() < 0)
        return -errno;
    umask(077);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int in = open("/dev/null", O_RDONLY);
    int out = open(sandbox_path(s, which, "log", path),
                   O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 ||
        dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0 ||
        chdir("/") < 0)
        return -errno;
    /* Whatever the caller had open (a test's pipe, a lock) is not ours to
     * keep alive. */
    if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
        for (int fd = 3; fd < 1024; fd++)
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return note_ident(s, which);
}

int sandbox_spawn(const struct sandbox *s, unsigned which, const char *program,
                  char *const *argv, pid_t *ret_pid)
{
    int pipe_fd[2], err = 0;

    if (pipe2(pipe_fd, O_CLOEXEC) < 0)
        return -errno;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        err = become_daemon(s, which);
        if (err == 0) {
            execvp(program, argv);
            err = -errno;
        }
        /* The reader sees an end of file when exec closed the pipe. */
        (void)!write(pipe_fd[1], &err, sizeof(err));
        _exit(127);
    }
    int saved = errno;
    close(pipe_fd[1]);
    if (pid < 0) {
        close(pipe_fd[0]);
        return -saved;
    }
    ssize_t n;
    do {
        n = read(pipe_fd[0], &err, sizeof(err));
    } while (n < 0 && errno == EINTR);
    close(pipe_fd[0]);
    if (n == sizeof(err)) {
        waitpid(pid, NULL, 0);
        return err;
    }
    *ret_pid = pid;
    return 0;
}

const char *sandbox_last_words(const struct sandbox *s, unsigned which,
                               char *ret, size_t size)
{
    char path[SANDBOX_PATH_MAX], tail[2048];
    ssize_t n = 0;

    int fd = open(sandbox_path(s, which, "log", path), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        off_t end = lseek(fd, 0, SEEK_END);
        off_t from = end > (off_t)sizeof(tail) ? end - (off_t)sizeof(tail) : 0;
        n = pread(fd, tail, sizeof(tail) - 1, from);
        close(fd);
    }
    while (n > 0 && tail[n - 1] == '\n')
        n--;
    tail[n > 0 ? n : 0] = '\0';
    const char *line = strrchr(tail, '\n');
    snprintf(ret, size, "%s", line ? line + 1 : tail);
    return *ret ? ret : "nothing";
}

static bool runnable(char *ret, size_t size, const char *dir, const char *sub,
                     const char *name)
{
    int n = snprintf(ret, size, "%s/%s%s", dir, sub, name);
    return n > 0 && (size_t)n < size && access(ret, X_OK) == 0;
}

const char *sandbox_program(const char *name, char *ret, size_t size)
{
    const char *dir = getenv("KENTER_BINDIR");
    char self[SANDBOX_PATH_MAX];

    if (dir && *dir && runnable(ret, size, dir, "", name))
        return ret;
    /* Installed: PREFIX/bin beside PREFIX/sbin. Built: all in one place, or
     * this one in .libs below it. */
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        dir = dirname(self);
        if (runnable(ret, size, dir, "", name) ||
            runnable(ret, size, dir, "../sbin/", name) ||
            runnable(ret, size, dir, "../", name))
            return ret;
    }
    snprintf(ret, size, "%s", name);
    return ret;
}
