/* SPDX-License-Identifier: BSD-3-Clause */
/* Message connections on a libuv loop, for the daemons. Everything here
 * runs on the loop's thread. */
#ifndef KT_LINK_CONN_H
#define KT_LINK_CONN_H

#include <uv.h>

#include "lib/wire/msg.h"

struct kt_conn;
struct kt_net;

/* Who we are, for HELLO and HELLO_OK. */
struct kt_self {
    uint8_t role;         /* enum kt_role */
    struct kt_id id;      /* node or client */
    struct kt_id cluster; /* zero until known */
    struct kt_id boot, store;
    uint64_t incarnation;
    char name[KT_NAME_MAX + 1];
};

struct kt_net_ops {
    /* The handshake is done: peer holds its HELLO or HELLO_OK. For accepted
     * connections, < 0 refuses with that error and text. */
    int (*up)(void *arg, struct kt_conn *c, const struct kt_msg *peer);
    /* One decoded message. m and what it points to live for the call; take a
     * reference of m->buf (or m->json) to keep it. err is 0 or KT_E_BADSUM.
     * HELLO, HELLO_OK and REFUSE never come here. */
    void (*msg)(void *arg, struct kt_conn *c, struct kt_msg *m, int err);
    /* Called once per connection that was up, or whose connecting failed,
     * after which c is gone. err says why (-ECONNREFUSED, -ECONNRESET,
     * KT_E_PROTO, KT_E_REFUSED, -ETIMEDOUT, 0 for kt_conn_close). text is the
     * peer's REFUSE sentence or "". */
    void (*down)(void *arg, struct kt_conn *c, int err, const char *text);
};

/* One per daemon. self is read at each handshake. arg goes to the ops.
 * Ownership: the caller frees with kt_net_close, whose callback comes when
 * every handle is closed. */
struct kt_net *kt_net_new(uv_loop_t *loop, const struct kt_self *self,
                          const struct kt_net_ops *ops, void *arg);
void kt_net_close(struct kt_net *n, void (*done)(void *arg));

/* Listens; refuses a non-local address with -EPERM unless insecure.
 * *ret_bound is the address with the port the kernel chose. */
int kt_net_listen(struct kt_net *n, const struct kt_addr *a, bool insecure,
                  struct kt_addr *ret_bound) KT_MUST_CHECK;

/* Starts connecting and shaking hands (deadline 5 s for both). Never calls
 * back before it returns. NULL only when memory is out. cls is for HELLO. */
struct kt_conn *kt_conn_open(struct kt_net *n, const struct kt_addr *a,
                             uint8_t cls, void *data);
/* down(err 0) follows on a later turn. Queued bytes are dropped. */
void kt_conn_close(struct kt_conn *c);

/* Queues one message; frames of one loop turn leave in one writev. References
 * m->buf until written. Ignored when the connection is not up. Returns the
 * bytes now queued, so that callers can hold back (they must: above 256 MiB
 * the connection is closed with -ENOBUFS). */
size_t kt_conn_send(struct kt_conn *c, const struct kt_msg *m);
size_t kt_conn_queued(const struct kt_conn *c);
/* Stops and resumes reading from the socket. */
void kt_conn_pause(struct kt_conn *c, bool paused);

/* The caller's pointer; NULL for accepted connections until set. */
void *kt_conn_data(const struct kt_conn *c);
void kt_conn_set_data(struct kt_conn *c, void *data);
bool kt_conn_is_up(const struct kt_conn *c);
bool kt_conn_is_accepted(const struct kt_conn *c);
uint8_t kt_conn_class(const struct kt_conn *c);
/* The peer's HELLO (or HELLO_OK); valid while up. */
const struct kt_msg *kt_conn_peer(const struct kt_conn *c);

/* Limits (each told in a log line when it bites): 5 s handshake deadline, 64
 * connections that have not shaken hands, 1024 that have. */

#endif
