/* SPDX-License-Identifier: BSD-3-Clause */
#include "attach/server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"

#define POLL_MS 20
#define START_MS 60000u /* beyond wait=: the chains are reconfigured */
#define LOG_TAIL_BYTES 4096
#define LOG_BYTES_MAX (1 << 20)

static int start_time(pid_t pid, unsigned long long *ret)
{
    char path[64], *text, state;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    int r = kt_read_file(path, 4096, &text);
    if (r < 0)
        return r;
    /* The second field is the name in brackets and may hold anything. */
    const char *p = strrchr(text, ')');
    r = p &&
                sscanf(
                    p + 1,
                    " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
                    "%*d %*d %*d %*d %*d %llu",
                    &state, ret) == 2 &&
                state != 'Z'
            ? 0
            : -ESRCH;
    free(text);
    return r;
}

int server_adopt(pid_t pid, unsigned long long start, struct server *ret_s)
{
    unsigned long long is;

    /* The pidfd first: what is proven then stays the process meant. */
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return -errno;
    if (start_time(pid, &is) < 0 || is != start) {
        close(fd);
        return -ESRCH;
    }
    *ret_s = (struct server){.pid = pid, .start = start, .fd = fd};
    return 0;
}

/* Whether it is an nbdkit with this word on its command line. */
static bool serves(const char *pid, const char *socket)
{
    char path[64], line[4096];
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, line, sizeof(line) - 1);
    close(fd);
    line[n > 0 ? n : 0] = 0;
    if (strcmp(line, "nbdkit") != 0)
        return false;
    for (const char *p = line; p < line + n && !found; p += strlen(p) + 1)
        found = strcmp(p, socket) == 0;
    return found;
}

int server_find(const char *socket, struct server *ret_s)
{
    unsigned long long start;
    const struct dirent *e;
    int r = -ESRCH;

    DIR *d = opendir("/proc");
    while (d && r < 0 && (e = readdir(d))) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (pid > 1 && !*end && serves(e->d_name, socket) &&
            start_time((pid_t)pid, &start) == 0)
            r = server_adopt((pid_t)pid, start, ret_s);
    }
    if (d)
        closedir(d);
    return r;
}

static void forget(struct server *s)
{
    close(s->fd);
    *s = (struct server){.fd = -1};
}

static bool ended(struct server *s, int wait_ms)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};

    return poll(&p, 1, wait_ms) == 1;
}

bool server_alive(struct server *s)
{
    if (!s->pid)
        return false;
    if (!ended(s, 0))
        return true;
    forget(s);
    return false;
}

bool server_end(struct server *s, int sig, unsigned timeout_ms)
{
    uint64_t until_ms = kt_now_ms() + timeout_ms;

    if (!server_alive(s))
        return true;
    pidfd_send_signal(s->fd, sig, NULL, 0);
    while (!ended(s, POLL_MS)) {
        if (kt_now_ms() >= until_ms)
            return false;
    }
    forget(s);
    return true;
}

/* ---- starting ---- */

/* Never returns. */
static void run(char *const *argv, int log)
{
    int null = open("/dev/null", O_RDONLY);

    if (null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    execvp("nbdkit", argv);
    dprintf(2,
            "nbdkit: error: the program nbdkit cannot be run (%s); install "
            "the package nbdkit\n",
            strerror(errno));
    _exit(127);
}

/* The child between us and nbdkit: it tells nbdkit's number and ends. nbdkit
 * starts when it is told to, and its parent is another. */
static void run_between(char *const *argv, int log, int tell, int hear)
{
    sigset_t none;
    char c;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid(); /* a terminal's signals are not for it */
    pid_t between = getpid(), pid = fork();
    if (pid == 0) {
        const struct timespec nap = {.tv_nsec = 1000000};
        ssize_t n;
        do
            n = read(hear, &c, 1);
        while (n < 0 && errno == EINTR);
        if (n != 1)
            _exit(1); /* nobody knows of it */
        while (getppid() == between)
            nanosleep(&nap, NULL);
        run(argv, log);
    }
    ssize_t n = write(tell, &pid, sizeof(pid));
    _exit(n != sizeof(pid));
}

/* nbdkit 1.32 in the foreground asks the kernel for a SIGTERM when its parent
 * ends, and on SIGTERM it answers the device with errors. So its parent is
 * init, from before it starts. While it waits for that it cannot end, and the
 * pidfd is sure to be its own. */
static int spawn(char *const *argv, int log, struct server *ret_s)
{
    int tell[2], hear[2];
    pid_t pid = -1;

    if (pipe2(tell, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(hear, O_CLOEXEC) < 0) {
        int r = -errno;
        close(tell[0]), close(tell[1]);
        return r;
    }
    pid_t child = fork();
    if (child == 0) {
        close(hear[1]);
        run_between(argv, log, tell[1], hear[0]);
    }
    int r = child < 0 ? -errno : 0;
    close(tell[1]), close(hear[0]);
    if (r == 0) {
        if (read(tell[0], &pid, sizeof(pid)) != sizeof(pid) || pid <= 0)
            r = -EAGAIN;
        waitpid(child, NULL, 0);
    }
    if (r == 0) {
        ret_s->pid = pid;
        ret_s->fd = pidfd_open(pid, 0);
        r = ret_s->fd < 0 ? -errno : start_time(pid, &ret_s->start);
    }
    if (r == 0 && write(hear[1], "", 1) != 1) /* now it starts */
        r = -errno;
    close(tell[0]), close(hear[1]);
    if (r < 0 && ret_s->fd >= 0)
        forget(ret_s);
    return r;
}

#define ARGS_MAX 16
#define ARG_BYTES 512

static int make_args(const struct server_opts *o, char words[][ARG_BYTES],
                     char **argv)
{
    static const char *const fixed[] = {"nbdkit", "-f", "-t", "64", "-U"};
    unsigned n = 0;

    for (; n < KT_ARRAY_LEN(fixed); n++)
        snprintf(words[n], ARG_BYTES, "%s", fixed[n]);
    snprintf(words[n++], ARG_BYTES, "%s", o->socket);
    snprintf(words[n++], ARG_BYTES, "%s", o->plugin);
    snprintf(words[n++], ARG_BYTES, "volume=%s", o->volume);
    snprintf(words[n++], ARG_BYTES, "state=%s", o->state);
    snprintf(words[n++], ARG_BYTES, "wait=%u", o->wait_s);
    if (o->context)
        snprintf(words[n++], ARG_BYTES, "context=%s", o->context);
    if (o->steal)
        snprintf(words[n++], ARG_BYTES, "steal=true");
    for (unsigned i = 0; i < n; i++) {
        if (strlen(words[i]) == ARG_BYTES - 1)
            return -ENAMETOOLONG; /* or just not: no such paths */
        argv[i] = words[i];
    }
    argv[n] = NULL;
    return 0;
}

/* The last complaint since `from` in the log. */
static void last_words(int log, off_t from, char *ret_why)
{
    char text[LOG_TAIL_BYTES + 1];
    off_t end = lseek(log, 0, SEEK_END);

    if (end - from > LOG_TAIL_BYTES)
        from = end - LOG_TAIL_BYTES;
    ssize_t n = pread(log, text, LOG_TAIL_BYTES, from);
    text[n > 0 ? n : 0] = 0;
    char *at = NULL;
    for (char *p = text; (p = strstr(p, "error: ")); p++)
        at = p + 7;
    if (at) {
        at[strcspn(at, "\n")] = 0;
        snprintf(ret_why, SERVER_WHY_BYTES, "%s", at);
    } else {
        snprintf(ret_why, SERVER_WHY_BYTES, "nbdkit ended without a word");
    }
}

/* Until it listens. Only looks: a connection would be one too many. */
static int wait_listening(const struct server_opts *o, struct server *s,
                          int log, off_t from, char *ret_why)
{
    uint64_t until_ms = kt_now_ms() + START_MS + o->wait_s * UINT64_C(1000);

    while (access(o->socket, F_OK) < 0) {
        if (ended(s, POLL_MS)) {
            forget(s);
            last_words(log, from, ret_why);
            return -ECONNREFUSED;
        }
        if (kt_now_ms() >= until_ms) {
            server_end(s, SIGKILL, 1000);
            snprintf(ret_why, SERVER_WHY_BYTES,
                     "nbdkit did not come up within %u seconds; its log is %s",
                     START_MS / 1000 + o->wait_s, o->log);
            return -ETIMEDOUT;
        }
    }
    return 0;
}

int server_start(const struct server_opts *o, struct server *ret_s,
                 char ret_why[SERVER_WHY_BYTES])
{
    char words[ARGS_MAX][ARG_BYTES], *argv[ARGS_MAX + 1];
    struct server s = {.fd = -1};

    int r = make_args(o, words, argv);
    int log = open(o->log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                   0600);
    if (r == 0 && log < 0)
        r = -errno;
    off_t from = log < 0 ? 0 : lseek(log, 0, SEEK_END);
    if (r == 0 && from > LOG_BYTES_MAX && ftruncate(log, 0) == 0)
        from = 0;
    if (r == 0 && unlink(o->socket) < 0 && errno != ENOENT)
        r = -errno; /* nbdkit wants to make it itself */
    if (r == 0)
        r = spawn(argv, log, &s);
    if (r == 0) {
        r = wait_listening(o, &s, log, from, ret_why);
    } else {
        snprintf(ret_why, SERVER_WHY_BYTES, "nbdkit cannot be started: %s",
                 kt_strerror(r));
    }
    if (log >= 0)
        close(log);
    if (r == 0)
        *ret_s = s;
    return r;
}
