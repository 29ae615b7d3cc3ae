/* SPDX-License-Identifier: BSD-3-Clause */
/* One non-blocking connection of the plugin: to a member of a chain or to the
 * hub.
 *
 * Two sides with two owners. Receiving and the life of the connection belong
 * to the volume's I/O thread. Sending is for whoever holds the volume's lock:
 * so a worker puts its request on the wire itself. What the socket does not
 * take is copied and sent by the I/O thread. */
#ifndef KT_NBDKIT_PLUGIN_LINK_H
#define KT_NBDKIT_PLUGIN_LINK_H

#include "lib/link/framer.h"

#define LINK_STAGE_BYTES (64u << 10)
#define LINK_ADDRS_MAX 8 /* a context's hubs; a member has two at most */

enum link_state {
    LINK_OFF,        /* not wanted */
    LINK_WAITING,    /* until retry_ms */
    LINK_CONNECTING, /* the socket is not writable yet */
    LINK_GREETING,   /* HELLO sent */
    LINK_UP,
};

struct link_piece {
    struct kt_buf *buf;
    uint32_t at; /* bytes of it that are sent */
};

struct link {
    enum link_state state;
    int fd;
    uint8_t cls;       /* enum kt_class */
    struct kt_id peer; /* zero: anybody (a hub) */
    struct kt_addr addrs[LINK_ADDRS_MAX];
    unsigned n_addrs, addr; /* tried in turn */
    unsigned fails;         /* in a row */
    uint64_t retry_ms, deadline_ms;
    bool told_up;    /* the engine believes it is up */
    bool complained; /* about a refusal, to people */
    /* receiving */
    struct kt_framer framer;
    uint8_t *stage;
    size_t stage_at, stage_len;
    bool drained;
    /* sending, under the volume's lock */
    struct link_piece *pieces; /* a ring */
    uint32_t pieces_cap, first, count;
    bool broken;
};

/* Ownership: freed by link_free. NULL when memory is out. */
struct link *link_new(uint8_t cls);
void link_free(struct link *l);

/* Starts connecting to the next address. The outcome is seen by polling. */
void link_open(struct link *l, uint64_t now_ms);
/* Closes and waits, longer after each failure. */
void link_fail(struct link *l, uint64_t now_ms);
void link_close(struct link *l); /* and stays off */
/* Takes over a connected socket and its framer; it is up. */
void link_adopt(struct link *l, int fd, const struct kt_framer *f);
/* Connected? 1 yes, 0 not yet, < 0 failed. After 1 the caller sends HELLO. */
int link_connected(struct link *l);

/* Sends or queues m. enc has room for the whole head. True: bytes stayed
 * behind, or the link broke, and the I/O thread must see to it. */
bool link_send(struct link *l, const struct kt_msg *m, uint8_t *enc,
               size_t enc_size);
/* Sends what is queued, as far as the socket takes it. 0 or -errno. */
int link_flush(struct link *l);

/* The next message. 1: *ret_m, and *ret_buf which the caller drops; *ret_err
 * is 0 or KT_E_BADSUM. 0: nothing more for now. < 0: the connection is over. */
int link_recv(struct link *l, struct kt_msg_room *room, struct kt_msg *ret_m,
              struct kt_buf **ret_buf, int *ret_err);

#endif
