/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of one attached volume:
 *
 *   1. RUNDIR/attach/NAME is made and its lock taken.
 *   2. When a predecessor left a device of ours that is still connected, it
 *      is taken over, with the nbdkit if that lives. Otherwise what is left
 *      is cleared away, and
 *   3. an nbdkit is started, which attaches the volume, and the device is
 *      connected to it. A failure so far is told and leaves nothing behind.
 *   4. The device is told to whoever waits (--ready-fd). From here on, while
 *      the nbdkit has no connection, for whatever reason: one is started
 *      unless it runs, and given to the kernel. An nbdkit is killed, not
 *      asked to end, as long as the device is there.
 *   5. "detach" comes in on the control socket: the device is flushed, ended,
 *      nbdkit told to give the volume back, everything removed. If that
 *      cannot be, the answer says why and nothing has changed.
 *
 * When the successor of an nbdkit says that unflushed writes are gone or that
 * another had the volume since (B10), the device is ended: its users get
 * errors, as they must. When somebody else has ended the device, what is left
 * is cleared away. SIGTERM ends this program alone: device and nbdkit
 * stay, for the next one to take over. */
#ifndef KT_ATTACH_DAEMON_H
#define KT_ATTACH_DAEMON_H

#include "attach/attach.h"
#include "attach/info.h"
#include "attach/nbdnl.h"
#include "attach/server.h"

struct daemon {
    struct attach_request q;
    unsigned dead_timeout_s;
    int ready_fd; /* -1: told already, or nobody waits */

    char dir[INFO_PATH_BYTES], info_file[INFO_PATH_BYTES];
    char control[INFO_PATH_BYTES], socket[INFO_PATH_BYTES];
    char state[INFO_PATH_BYTES], server_log[INFO_PATH_BYTES];
    char backend[KT_ID_HEX_BYTES];
    int lock_fd, control_fd, signal_fd;
    struct nbdnl nl;
    struct server server;
    struct attach_info info;
    bool linked; /* the kernel's connection was there when last looked at */
    bool over;
    bool device_lives; /* though it could not be begun with: all is kept */
    uint64_t try_ms, look_ms; /* when to link again, to look again */
    unsigned tries;
    char said[SERVER_WHY_BYTES]; /* the last reason that was logged */
};

/* The rest of the program: q, dead_timeout_s and ready_fd are set,
 * all else is zero. The exit status. */
int daemon_run(struct daemon *d);

/* begin.c: steps 1 to 3. 0, or -errno and the sentence. */
int daemon_begin(struct daemon *d,
                 char ret_why[ATTACH_WHY_BYTES]) KT_MUST_CHECK;
/* The directory is removed; the lock's file last. */
void daemon_clear(struct daemon *d);
/* Whether the device is connected and bears our mark, 1 or 0; -errno: it cannot
 * be told. Asked before anything is done to it: the kernel lets anybody end any
 * device. */
int daemon_owns(const struct daemon *d, uint32_t index);
/* Starts an nbdkit. */
int daemon_serve(struct daemon *d, bool first,
                 char ret_why[SERVER_WHY_BYTES]) KT_MUST_CHECK;

/* relink.c: step 4 */
void daemon_look(struct daemon *d);
void daemon_relink(struct daemon *d);

/* order.c: step 5 */
void daemon_order(struct daemon *d);

#endif
