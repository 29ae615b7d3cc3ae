/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the message codec; nobody else includes this. */
#ifndef KT_WIRE_MSG_PRIV_H
#define KT_WIRE_MSG_PRIV_H

#include "lib/base/cursor.h"
#include "lib/wire/msg.h"

/* What follows the header of a data message. */
enum kt_body {
    KT_BODY_NONE,
    KT_BODY_SECTORS, /* present sectors, their sums in the header */
    KT_BODY_SUMS,    /* sums in the header and no data */
    KT_BODY_OPAQUE,  /* bytes, one sum of them in the header */
    KT_BODY_JSON,    /* control */
};

/* What a message type may carry; KT_BODY_NONE for unknown types too. */
enum kt_body kt_msg_body(unsigned type);

/* One walk over a message's fields, to write or to read them: the two can
 * not disagree. */
struct kt_io {
    struct kt_cur c;
    bool w;              /* write */
    uint32_t plen;       /* payload bytes: set when writing */
    struct kt_buf *buf;  /* reading: where the payload is; may be NULL */
    uint64_t opaque_sum; /* reading: of an opaque payload */
    struct kt_cfg *cfg;  /* reading: room for one */
    bool proto;          /* reading: a value is impossible */
};

/* Header fields of a data message, without head and sum. Writing leaves *m as
 * it is. Pure. */
void kt_data_fields(struct kt_io *io, struct kt_msg *m);

/* Control messages, in whole frames; see kt_msg_encode and _decode. */
int kt_control_encode(const struct kt_msg *m, uint8_t *ret, size_t cap);
int kt_control_decode(const uint8_t *head, const struct kt_frame *f,
                      const struct kt_buf *payload, struct kt_msg_room *room,
                      struct kt_msg *ret_m) KT_MUST_CHECK;

/* The 24 bytes; f's lengths and type as given. */
void kt_frame_encode(const struct kt_frame *f, uint8_t ret[KT_FRAME_BYTES]);

#endif
