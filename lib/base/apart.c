/* SPDX-License-Identifier: BSD-3-Clause */
/* A system call that may never return, in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/os.h"

#define OUT 3

/* Whatever we hold (locks, sockets, somebody's pipe) is not held by it. */
static void hold_nothing_but(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < OUT && null >= 0; i++)
        dup2(null, i);
    if (fd != OUT)
        dup2(fd, OUT);
    close_range(OUT + 1, ~0u, 0);
}

static bool say(int64_t word)
{
    return write(OUT, &word, sizeof(word)) == sizeof(word);
}

static bool hear(int fd, int64_t *ret_word)
{
    ssize_t n;
    do
        n = read(fd, ret_word, sizeof(*ret_word));
    while (n < 0 && errno == EINTR);
    return n == sizeof(*ret_word);
}

/* Two forks: the second one's parent is gone, so nobody has to wait for it. */
static void child(int out, int64_t (*fn)(const void *arg), const void *arg)
{
    pid_t pid = fork();
    if (pid != 0)
        _exit(pid < 0);
    hold_nothing_but(out);
    _exit(!say(getpid()) || !say(fn(arg)));
}

int kt_apart_begin(struct kt_apart *a, int64_t (*fn)(const void *arg),
                   const void *arg)
{
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    int err = pid < 0 ? -errno : 0;
    if (pid == 0)
        child(p[1], fn, arg);
    close(p[1]);
    while (err == 0 && waitpid(pid, NULL, 0) < 0) {
        if (errno != EINTR)
            err = -errno;
    }
    if (err == 0 && !hear(p[0], &a->pid))
        err = -EAGAIN;
    if (err < 0)
        close(p[0]);
    a->fd = p[0];
    return err;
}

static bool has_ended(const struct kt_apart *a, int ms)
{
    struct pollfd p = {.fd = a->fd, .events = POLLIN};
    int n;
    do
        n = poll(&p, 1, ms);
    while (n < 0 && errno == EINTR);
    return n != 0;
}

bool kt_apart_wait(struct kt_apart *a, int ms, int64_t *ret)
{
    if (!has_ended(a, ms))
        return false;
    if (!hear(a->fd, ret))
        *ret = -EIO;
    close(a->fd);
    return true;
}

void kt_apart_leave(struct kt_apart *a)
{
    if (!has_ended(a, 0))
        kill((pid_t)a->pid, SIGKILL);
    close(a->fd);
}
