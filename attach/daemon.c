/* SPDX-License-Identifier: BSD-3-Clause */
#include "attach/daemon.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define TICK_MS 1000u
#define TELL_TRIES 3u

/* To free memory the kernel may have to write to our device, which may have
 * to wait for this program to start a server. So it must not wait for memory
 * itself. What it starts inherits the first; nbdkit does the second itself. */
static void harden(void)
{
    if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
        kt_log(KT_LOG_WARN, "no_io_flusher", "err=\"%s\"", strerror(errno));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
        kt_log(KT_LOG_WARN, "memory_not_locked", "err=\"%s\"", strerror(errno));
#endif
}

static int open_signals(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static void tell(struct daemon *d, int err, const char *why)
{
    if (d->ready_fd < 0 && err < 0)
        kt_log(KT_LOG_ERROR, "attach_failed", "volume=%s err=\"%s\"", d->q.name,
               why);
    if (d->ready_fd < 0)
        return;
    if (err < 0)
        dprintf(d->ready_fd, "error %d %s\n", -err, why);
    else
        dprintf(d->ready_fd, "ok /dev/nbd%u\n", d->info.index);
    close(d->ready_fd);
    d->ready_fd = -1;
}

static uint64_t next_ms(struct daemon *d, uint64_t now)
{
    uint64_t at = now + TICK_MS;

    if (d->linked)
        return at;
    if (server_alive(&d->server))
        at = kt_min_u64(at, kt_max_u64(d->look_ms, now));
    return kt_min_u64(at, kt_max_u64(d->try_ms, now));
}

static void drain_events(struct daemon *d)
{
    uint32_t index;

    while (nbdnl_event(&d->nl, &index) > 0) {
        if (index == d->info.index)
            d->look_ms = 0;
    }
}

static void loop(struct daemon *d)
{
    while (!d->over) {
        daemon_look(d);
        daemon_relink(d);
        if (d->over)
            break;
        /* One that was taken over is there, even while it has to wait. */
        if (d->linked || d->tries == TELL_TRIES)
            tell(d, 0, NULL);
        struct pollfd p[] = {{.fd = d->signal_fd, .events = POLLIN},
                             {.fd = d->control_fd, .events = POLLIN},
                             {.fd = d->nl.events, .events = POLLIN},
                             {.fd = d->server.fd, .events = POLLIN}};
        uint64_t now = kt_now_ms();
        int n = poll(p, KT_ARRAY_LEN(p), (int)(next_ms(d, now) - now));
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0 && p[0].revents) {
            kt_log(KT_LOG_INFO, "left_alone",
                   "volume=%s device=/dev/nbd%u nbdkit=%ld", d->q.name,
                   d->info.index, (long)d->server.pid);
            break;
        }
        if (n > 0 && p[1].revents)
            daemon_order(d);
        if (n > 0 && p[2].revents)
            drain_events(d);
    }
}

int daemon_run(struct daemon *d)
{
    char why[ATTACH_WHY_BYTES] = "";
    struct kt_addr a = {.kind = KT_ADDR_UNIX};

    d->lock_fd = d->control_fd = d->server.fd = d->nl.fd = d->nl.events = -1;
    d->signal_fd = open_signals();
    harden();
    int r = d->signal_fd < 0 ? d->signal_fd : daemon_begin(d, why);
    if (r < 0) {
        tell(d, r, *why ? why : kt_strerror(r));
        return 1;
    }
    snprintf(a.host, sizeof(a.host), "%.*s", (int)sizeof(a.host) - 1,
             d->control);
    d->control_fd = kt_listen(&a, NULL);
    if (d->control_fd < 0) /* it works; it only cannot be told to end */
        kt_log(KT_LOG_ERROR, "no_control", "path=%s err=\"%s\"", d->control,
               kt_strerror(d->control_fd));
    kt_log(KT_LOG_INFO, "attached", "volume=%s device=/dev/nbd%u size=%llu",
           d->q.name, d->info.index, (unsigned long long)d->info.size_bytes);
    loop(d);
    tell(d, -EIO, *d->said ? d->said : "kenter-attachd was ended");
    nbdnl_close(&d->nl);
    return 0;
}
