/* SPDX-License-Identifier: BSD-3-Clause */
/* The device lives on when its nbdkit does not. What is looked at is whether
 * the nbdkit has a connection at all: the kernel's events say when to look,
 * but they may be lost, and a new socket may have been dropped silently
 * because no old one was dead yet. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attach/daemon.h"
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#define LOOK_MS 1000u
#define SETTLE_MS 300u /* until nbdkit notices that a socket was dropped */
#define TRY_MS 100u
#define TRY_MS_MAX 1000u
#define STUCK_TRIES 10u
#define END_MS 30000u

void daemon_look(struct daemon *d)
{
    uint64_t now = kt_now_ms();
    bool linked = server_alive(&d->server);

    if (linked && now < d->look_ms)
        return;
    if (linked)
        linked = server_connections(d->socket) > 0;
    d->look_ms = now + LOOK_MS;
    if (d->linked && !linked) {
        kt_log(KT_LOG_WARN, "link_lost",
               "volume=%s device=/dev/nbd%u nbdkit=%s", d->q.name,
               d->info.index, d->server.pid ? "runs" : "ended");
        d->try_ms = now;
        d->tries = 0;
    } else if (!d->linked && linked) {
        kt_log(KT_LOG_INFO, "linked", "volume=%s device=/dev/nbd%u nbdkit=%ld",
               d->q.name, d->info.index, (long)d->server.pid);
        d->said[0] = 0;
    }
    d->linked = linked;
}

static void say(struct daemon *d, const char *why)
{
    if (strcmp(d->said, why) != 0)
        kt_log(KT_LOG_ERROR, "relink_failed",
               "volume=%s device=/dev/nbd%u err=\"%s\"", d->q.name,
               d->info.index, why);
    snprintf(d->said, sizeof(d->said), "%s", why);
}

/* The plugin's words when it must not go on for this device (B10). */
static bool is_final(const char *why)
{
    return strstr(why, "accept-loss=true") != NULL;
}

static void finish(struct daemon *d)
{
    daemon_clear(d);
    d->over = true;
}

static void give_up(struct daemon *d)
{
    int r = nbdnl_disconnect(&d->nl, d->info.index);

    kt_log(KT_LOG_ERROR, "device_ended",
           "volume=%s device=/dev/nbd%u err=\"%s\" todo=\"unmount it, attach "
           "the volume again, check the file system\"",
           d->q.name, d->info.index, r < 0 ? kt_strerror(r) : d->said);
    if (r == 0)
        finish(d);
}

/* Somebody has ended our device: nobody waits for us any more. */
static void lost_device(struct daemon *d)
{
    say(d, "somebody else has ended the device");
    server_end(&d->server, SIGTERM, END_MS);
    finish(d);
}

static int serve_again(struct daemon *d, char *ret_why)
{
    int r = daemon_serve(d, false, ret_why);
    if (r < 0)
        return r;
    d->info.server_pid = d->server.pid;
    d->info.server_start = d->server.start;
    r = info_save(d->info_file, &d->info);
    if (r < 0) /* it serves all the same; only a take-over would miss it */
        say(d, kt_strerror(r));
    return 0;
}

static int hand_over(struct daemon *d, char *ret_why)
{
    struct server_link l;

    int r = server_connect(d->socket, &l, ret_why);
    if (r < 0)
        return r;
    struct nbdnl_device n = {.index = d->info.index,
                             .dead_timeout_s = d->dead_timeout_s,
                             .backend = d->backend,
                             .n_sockets = 1,
                             .sockets = {l.fd}};
    if (l.size_bytes < d->info.size_bytes) {
        r = -EINVAL;
        snprintf(ret_why, SERVER_WHY_BYTES,
                 "the volume is smaller than its device");
    } else {
        r = nbdnl_reconfigure(&d->nl, &n);
        if (r < 0)
            snprintf(ret_why, SERVER_WHY_BYTES,
                     "the kernel does not take the connection: %s",
                     kt_strerror(r));
    }
    close(l.fd);
    return r;
}

void daemon_relink(struct daemon *d)
{
    char why[SERVER_WHY_BYTES] = "";
    uint64_t now = kt_now_ms();

    if (d->linked || now < d->try_ms)
        return;
    int ours = daemon_owns(d, d->info.index);
    if (ours < 0) {
        say(d, kt_strerror(ours));
        d->try_ms = now + TRY_MS_MAX;
        return;
    }
    if (!ours) {
        lost_device(d);
        return;
    }
    /* Without the file a successor cannot see whether another had the volume
     * since (B10): of an nbdkit that gave it back, or was never ready. */
    if (!server_alive(&d->server) && access(d->state, F_OK) < 0 &&
        errno == ENOENT) {
        say(d, "its nbdkit left nothing to go on from");
        give_up(d);
        return;
    }
    /* One that does not even greet is of no use; its successor gets all. */
    if (++d->tries % STUCK_TRIES == 0 && server_alive(&d->server))
        server_end(&d->server, SIGKILL, 1000);
    int r = server_alive(&d->server) ? 0 : serve_again(d, why);
    if (r < 0 && is_final(why)) {
        say(d, why);
        give_up(d);
        return;
    }
    if (r == 0)
        r = hand_over(d, why);
    if (r < 0)
        say(d, why);
    now = kt_now_ms();
    uint64_t wait_ms = (uint64_t)TRY_MS * d->tries;
    d->try_ms = now + kt_min_u64(wait_ms, TRY_MS_MAX);
    d->look_ms = now + SETTLE_MS;
    if (r == 0)
        d->try_ms = d->look_ms + TRY_MS; /* looked at before the next try */
}
