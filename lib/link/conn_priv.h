/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the connections; nobody else includes this. */
#ifndef KT_LINK_CONN_PRIV_H
#define KT_LINK_CONN_PRIV_H

#include "lib/link/conn.h"
#include "lib/link/framer.h"

#define HANDSHAKE_MS 5000u
#define TICK_MS 250u
#define PRE_MAX 64u /* accepted, not shaken hands */
#define UP_MAX 1024u
#define QUEUED_MAX (256u << 20)
#define READ_BYTES (64u << 10)
#define DIRECT_BYTES (16u << 10) /* payload rests worth a read of their own */

/* One gathered write. The arena holds heads and headers (and small control
 * frames), segments of it alternate with payloads. */
#define ARENA_BYTES (32u << 10)
#define HEAD_BYTES_MAX (KT_FRAME_BYTES + KT_HEADER_BYTES_MAX)
#define SEGMENTS_MAX 128u
#define BATCH_BYTES_MAX (1u << 20)
#define BATCHES_KEPT 64u

struct batch {
    struct batch *next;
    struct kt_conn *conn;
    uv_write_t req;
    bool in_flight;
    uint32_t used;     /* of the arena */
    uint32_t first, n; /* segments not yet written: first..n-1 */
    size_t bytes;      /* in them */
    uv_buf_t bufs[SEGMENTS_MAX];
    struct kt_buf *refs[SEGMENTS_MAX]; /* NULL: in the arena */
    uint8_t arena[ARENA_BYTES];
};

enum conn_state {
    CONN_CONNECTING,
    CONN_WAIT_HELLO,    /* accepted */
    CONN_WAIT_HELLO_OK, /* opened */
    CONN_UP,
    CONN_REFUSING, /* closes when the REFUSE is written */
    CONN_CLOSING
};

struct kt_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    struct kt_net *net;
    struct kt_conn *prev, *next; /* of the net */
    struct kt_conn *dirty_next;
    uint8_t state; /* enum conn_state */
    bool dirty;    /* has frames to flush at the end of the turn */
    bool accepted;
    bool was_up;
    bool paused;
    bool direct; /* the read under way goes into the payload's buffer */
    uint8_t cls;
    void *data;
    uint64_t deadline_ms; /* of the handshake */
    struct batch *out_first, *out_last;
    size_t queued;
    int err;
    char text[200];
    struct kt_msg peer;
    uv_connect_t connect;
    struct kt_framer framer;
};

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    struct kt_net *net;
    struct listener *next;
    struct kt_addr addr;
};

struct kt_net {
    uv_loop_t *loop;
    const struct kt_self *self;
    const struct kt_net_ops *ops;
    void *arg;
    struct kt_conn *conns;
    struct listener *listeners;
    struct kt_conn *dirty;
    uint32_t n_pre; /* accepted and waiting for HELLO */
    uint32_t n_up;
    uint32_t handles; /* not yet closed */
    bool closing;
    void (*done)(void *arg);
    uv_check_t check;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t timer;
    struct batch *free_batches;
    uint32_t n_free;
    uint8_t *scratch; /* for one control frame */
    struct kt_msg_room room;
    uint8_t rbuf[READ_BYTES];
};

/* conn_listen.c */
void kt_net_handle_closed(struct kt_net *n);
/* The loop will not sleep before the next flush. */
void kt_net_wake(struct kt_net *n);
/* Deadlines are looked at from now on. */
void kt_net_watch(struct kt_net *n);

/* conn.c */
/* A connection on the net's list whose handle is initialized. NULL: memory. */
struct kt_conn *kt_conn_new(struct kt_net *n, enum kt_addr_kind kind);
/* Starts to close; later calls change nothing. */
void kt_conn_fail(struct kt_conn *c, int err, const char *text);
/* A frame is decoded; err is 0 or KT_E_BADSUM. */
void kt_conn_handle(struct kt_conn *c, struct kt_msg *m, int err);
/* An accepted connection begins its handshake. */
void kt_conn_accepted(struct kt_conn *c);
/* Tells the peer why, then closes. */
void kt_conn_refuse(struct kt_conn *c, int err, const char *text);
/* Handshakes that took too long. */
void kt_conn_deadlines(struct kt_net *n);
/* "tcp:1.2.3.4:5" or "unix". */
const char *kt_conn_peer_text(const struct kt_conn *c,
                              char ret_text[KT_ADDR_TEXT_BYTES]);

/* conn_io.c */
int kt_conn_read_start(struct kt_conn *c);
void kt_conn_queue(struct kt_conn *c, const struct kt_msg *m);
/* Writes what the socket takes; the rest follows by itself. */
void kt_conn_flush(struct kt_conn *c);
/* Flushes every connection that was sent to. */
void kt_net_flush(struct kt_net *n);
/* Drops what is queued; nothing of it may be in flight. */
void kt_conn_drop_queue(struct kt_conn *c);

#endif
