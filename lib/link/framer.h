/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes in, whole frames out. Does no I/O: it says where the next bytes go,
 * so that a payload is read straight into its buffer. */
#ifndef KT_LINK_FRAMER_H
#define KT_LINK_FRAMER_H

#include "lib/wire/msg.h"

struct kt_framer {
    uint8_t head[KT_FRAME_BYTES + KT_HEADER_BYTES_MAX];
    struct kt_frame frame;
    uint32_t have;      /* bytes of the present part */
    uint8_t part;       /* frame head, header, payload */
    bool hello_done;    /* before it, frames are at most 4 KiB */
    struct kt_buf *buf; /* payload being filled */
    int err;            /* sticky: the stream cannot be continued */
};

void kt_framer_init(struct kt_framer *f);
void kt_framer_release(struct kt_framer *f);

/* Where to put the next bytes: at most *ret_len at the returned address.
 * NULL and *ret_len = 0 once err is set (KT_E_PROTO, -ENOMEM). */
uint8_t *kt_framer_want(struct kt_framer *f, size_t *ret_len);

/* n bytes were put there. Returns 1 when a whole frame is ready for
 * kt_framer_take, 0 when more is needed, < 0 when the stream is broken. */
int kt_framer_got(struct kt_framer *f, size_t n) KT_MUST_CHECK;

/* Convenience for callers that have a block of bytes: consumes up to len,
 * stops after one whole frame; *ret_used tells how many. Same result. */
int kt_framer_feed(struct kt_framer *f, const uint8_t *b, size_t len,
                   size_t *ret_used) KT_MUST_CHECK;

/* The ready frame, decoded (see kt_msg_decode, whose result this returns), and
 * the framer is ready for the next one. *ret_buf is the payload's buffer:
 * ownership of one reference passes to the caller (it may be NULL). */
int kt_framer_take(struct kt_framer *f, struct kt_msg_room *room,
                   struct kt_msg *ret_m, struct kt_buf **ret_buf) KT_MUST_CHECK;

#endif
