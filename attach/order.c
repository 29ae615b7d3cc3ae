/* SPDX-License-Identifier: BSD-3-Clause */
/* Orders on the control socket, one line each: "detach", "detach force".
 * Answers: "ok", "error ERRNO SENTENCE". */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/daemon.h"
#include "attach/device.h"
#include "attach/kernel.h"
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#define READ_MS 2000
#define END_MS 60000u
#define GONE_MS 15000u
#define LINE_BYTES 64u
#define FLUSH_POLL_MS 50

/* fsync, in a child: should the nbdkit die now, this process alone can give the
 * device another one, and the flush waits for that. */
static int flush(struct daemon *d, int fd)
{
    struct pollfd p = {.fd = d->control_fd, .events = POLLIN};
    int status;

    pid_t pid = fork();
    if (pid == 0)
        _exit(fsync(fd) < 0 ? errno : 0);
    while (pid > 0) {
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid)
            return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
        if (r < 0 && errno != EINTR)
            break;
        if (poll(&p, 1, FLUSH_POLL_MS) > 0)
            return -EINTR; /* another order; the child ends with its flush */
        daemon_look(d);
        daemon_relink(d);
        if (d->over)
            return -ENODEV;
    }
    return -errno;
}

/* A descriptor with everything flushed and nobody else there, or -errno. */
static int calm(struct daemon *d, char *ret_why)
{
    char where[ATTACH_PATH_BYTES];

    if (!d->linked)
        return attach_why(ret_why, -EAGAIN,
                          "volume %s cannot be flushed now: its server is "
                          "being started again; try again in a moment, or "
                          "lose what is not written with --force",
                          d->q.name);
    int fd = device_open_alone(d->info.index);
    if (fd == -EBUSY) {
        device_mounted_at(d->info.index, where, sizeof(where));
        return attach_why(
            ret_why, fd, "/dev/nbd%u is in use%s%s; %s, then detach volume %s",
            d->info.index, *where ? ": it is mounted at " : "", where,
            *where ? "unmount it"
                   : "end what has claimed it (LVM, dm-crypt, swap)",
            d->q.name);
    }
    int r = fd < 0 ? fd : flush(d, fd);
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        return attach_why(ret_why, r,
                          "/dev/nbd%u cannot be flushed: %s; --force detaches "
                          "it all the same and loses what is not written",
                          d->info.index, kt_strerror(r));
    }
    return fd;
}

static int detach(struct daemon *d, bool force, char *ret_why)
{
    int fd = force ? -1 : calm(d, ret_why);
    if (fd < 0 && !force)
        return fd;
    int ours = daemon_owns(d, d->info.index);
    if (ours <= 0) {
        if (fd >= 0)
            close(fd);
        return attach_why(ret_why, ours < 0 ? ours : -ENOENT,
                          ours < 0 ? "it cannot be told whether /dev/nbd%u is "
                                     "attached"
                                   : "/dev/nbd%u has been ended by somebody "
                                     "else",
                          d->info.index);
    }
    /* While fd is open nobody else can mount it; with its close it goes. */
    int r = nbdnl_disconnect(&d->nl, d->info.index);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        return attach_why(ret_why, r,
                          "the kernel does not let go of "
                          "/dev/nbd%u: %s",
                          d->info.index, kt_strerror(r));
    d->over = true; /* there is no way back */
    bool gone = device_wait_gone(d->info.index, GONE_MS);
    if (!gone && !force)
        kt_log(KT_LOG_WARN, "device_stays", "volume=%s device=/dev/nbd%u",
               d->q.name, d->info.index);
    if (!server_end(&d->server, SIGTERM, END_MS)) {
        server_end(&d->server, SIGKILL, 1000);
        kt_log(KT_LOG_WARN, "nbdkit_killed", "volume=%s", d->q.name);
    }
    kt_log(KT_LOG_INFO, "detached", "volume=%s device=/dev/nbd%u", d->q.name,
           d->info.index);
    return 0;
}

static size_t read_line(int fd, char *line)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t n = 0;

    while (n < LINE_BYTES - 1 && poll(&p, 1, READ_MS) > 0) {
        ssize_t k = read(fd, line + n, LINE_BYTES - 1 - n);
        if (k <= 0)
            break;
        n += (size_t)k;
        if (memchr(line, '\n', n))
            break;
    }
    line[n] = 0;
    line[strcspn(line, "\n")] = 0;
    return n;
}

void daemon_order(struct daemon *d)
{
    char line[LINE_BYTES], why[ATTACH_WHY_BYTES] = "";
    int r = -EINVAL;

    int fd = accept4(d->control_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    read_line(fd, line);
    d->look_ms = 0; /* judge by what is so now */
    daemon_look(d);
    if (strcmp(line, "detach") == 0)
        r = detach(d, false, why);
    else if (strcmp(line, "detach force") == 0)
        r = detach(d, true, why);
    else
        snprintf(why, sizeof(why), "this is no order");
    if (d->over)
        daemon_clear(d); /* before the answer, after which nothing is left */
    if (r < 0)
        dprintf(fd, "error %d %s\n", -r, why);
    else
        dprintf(fd, "ok\n");
    close(fd);
}
