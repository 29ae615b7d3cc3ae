/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames: the head, the header's sum, the payload's sums. Pure, but for the
 * control messages it hands on. */
#include "lib/wire/msg.h"

#include <errno.h>
#include <string.h>

#include "lib/base/sum.h"
#include "lib/wire/msg_priv.h"

#define SUM_BYTES 8u
#define COMMON_BYTES 16u /* chain, epoch */

static const struct {
    char name[16];
    uint8_t body; /* enum kt_body */
} types[KT_MSG_TYPE_END] = {
    [KT_MSG_HELLO] = {"HELLO", KT_BODY_NONE},
    [KT_MSG_HELLO_OK] = {"HELLO_OK", KT_BODY_NONE},
    [KT_MSG_REFUSE] = {"REFUSE", KT_BODY_NONE},
    [KT_MSG_PING] = {"PING", KT_BODY_NONE},
    [KT_MSG_PONG] = {"PONG", KT_BODY_NONE},
    [KT_MSG_WRITE] = {"WRITE", KT_BODY_SECTORS},
    [KT_MSG_ACK] = {"ACK", KT_BODY_NONE},
    [KT_MSG_READ] = {"READ", KT_BODY_NONE},
    [KT_MSG_DATA] = {"DATA", KT_BODY_SECTORS},
    [KT_MSG_FLUSH] = {"FLUSH", KT_BODY_NONE},
    [KT_MSG_FLUSH_OK] = {"FLUSH_OK", KT_BODY_NONE},
    [KT_MSG_STAT] = {"STAT", KT_BODY_NONE},
    [KT_MSG_STAT_OK] = {"STAT_OK", KT_BODY_OPAQUE},
    [KT_MSG_NAK] = {"NAK", KT_BODY_NONE},
    [KT_MSG_CFG_GET] = {"CFG_GET", KT_BODY_NONE},
    [KT_MSG_CFG] = {"CFG", KT_BODY_NONE},
    [KT_MSG_FWD] = {"FWD", KT_BODY_SECTORS},
    [KT_MSG_ACKC] = {"ACKC", KT_BODY_NONE},
    [KT_MSG_RESUME] = {"RESUME", KT_BODY_NONE},
    [KT_MSG_RESUME_OK] = {"RESUME_OK", KT_BODY_NONE},
    [KT_MSG_EQDATA] = {"EQDATA", KT_BODY_SECTORS},
    [KT_MSG_SYNC_START] = {"SYNC_START", KT_BODY_OPAQUE},
    [KT_MSG_SYNC_AT] = {"SYNC_AT", KT_BODY_NONE},
    [KT_MSG_DIGEST_GET] = {"DIGEST_GET", KT_BODY_NONE},
    [KT_MSG_DIGEST] = {"DIGEST", KT_BODY_OPAQUE},
    [KT_MSG_COPY_START] = {"COPY_START", KT_BODY_NONE},
    [KT_MSG_EXT_SUMS] = {"EXT_SUMS", KT_BODY_SUMS},
    [KT_MSG_WANT] = {"WANT", KT_BODY_NONE},
    [KT_MSG_SYNC_EXT] = {"SYNC_EXT", KT_BODY_SECTORS},
    [KT_MSG_SYNC_END] = {"SYNC_END", KT_BODY_NONE},
    [KT_MSG_EXT_DONE] = {"EXT_DONE", KT_BODY_NONE},
    [KT_MSG_SYNC_DONE] = {"SYNC_DONE", KT_BODY_NONE},
    [KT_MSG_SYNC_ACK] = {"SYNC_ACK", KT_BODY_NONE},
    [KT_MSG_REGISTER] = {"REGISTER", KT_BODY_JSON},
    [KT_MSG_REGISTER_OK] = {"REGISTER_OK", KT_BODY_JSON},
    [KT_MSG_HB] = {"HB", KT_BODY_JSON},
    [KT_MSG_HB_OK] = {"HB_OK", KT_BODY_JSON},
    [KT_MSG_REPORT] = {"REPORT", KT_BODY_JSON},
    [KT_MSG_PROBE] = {"PROBE", KT_BODY_JSON},
    [KT_MSG_PROBE_OK] = {"PROBE_OK", KT_BODY_JSON},
    [KT_MSG_SEAL] = {"SEAL", KT_BODY_JSON},
    [KT_MSG_SEAL_OK] = {"SEAL_OK", KT_BODY_JSON},
    [KT_MSG_SEAL_REFUSED] = {"SEAL_REFUSED", KT_BODY_JSON},
    [KT_MSG_EQ] = {"EQ", KT_BODY_JSON},
    [KT_MSG_EQ_OK] = {"EQ_OK", KT_BODY_JSON},
    [KT_MSG_ACTIVATE] = {"ACTIVATE", KT_BODY_JSON},
    [KT_MSG_ACT_OK] = {"ACT_OK", KT_BODY_JSON},
    [KT_MSG_SYNC_FIN] = {"SYNC_FIN", KT_BODY_JSON},
    [KT_MSG_LEAVE] = {"LEAVE", KT_BODY_JSON},
    [KT_MSG_LEAVE_OK] = {"LEAVE_OK", KT_BODY_JSON},
    [KT_MSG_RELEASE] = {"RELEASE", KT_BODY_JSON},
    [KT_MSG_RELEASE_OK] = {"RELEASE_OK", KT_BODY_JSON},
    [KT_MSG_ATTACH] = {"ATTACH", KT_BODY_JSON},
    [KT_MSG_ATTACH_OK] = {"ATTACH_OK", KT_BODY_JSON},
    [KT_MSG_RENEW] = {"RENEW", KT_BODY_JSON},
    [KT_MSG_RENEW_OK] = {"RENEW_OK", KT_BODY_JSON},
    [KT_MSG_DETACH] = {"DETACH", KT_BODY_JSON},
    [KT_MSG_DETACH_OK] = {"DETACH_OK", KT_BODY_JSON},
    [KT_MSG_ERROR] = {"ERROR", KT_BODY_JSON},
    [KT_MSG_ADMIN] = {"ADMIN", KT_BODY_JSON},
    [KT_MSG_ADMIN_OK] = {"ADMIN_OK", KT_BODY_JSON},
};

static bool type_known(unsigned type)
{
    return type < KT_MSG_TYPE_END && types[type].name[0] != '\0';
}

const char *kt_msg_name(unsigned type)
{
    return type_known(type) ? types[type].name : "?";
}

enum kt_body kt_msg_body(unsigned type)
{
    return type < KT_MSG_TYPE_END ? (enum kt_body)types[type].body
                                  : KT_BODY_NONE;
}

bool kt_msg_has_sums(unsigned type)
{
    enum kt_body body = kt_msg_body(type);
    return body == KT_BODY_SECTORS || body == KT_BODY_SUMS;
}

void kt_digest_row_encode(const struct kt_digest_row *r,
                          uint8_t ret[KT_DIGEST_ROW_BYTES])
{
    static const uint8_t spare[16];
    struct kt_cur c = kt_cur_w(ret, KT_DIGEST_ROW_BYTES);

    kt_put_u32(&c, r->extent);
    kt_put_u32(&c, r->state);
    kt_put_u64(&c, r->id.epoch);
    kt_put_u64(&c, r->id.seq);
    kt_put_id(&c, &r->sum);
    kt_put_bytes(&c, spare, sizeof(spare));
    assert(!c.bad && c.left == 0);
}

void kt_digest_row_decode(struct kt_digest_row *ret_r,
                          const uint8_t b[KT_DIGEST_ROW_BYTES])
{
    struct kt_cur c = kt_cur_r(b, KT_DIGEST_ROW_BYTES);

    ret_r->extent = kt_get_u32(&c);
    ret_r->state = kt_get_u32(&c);
    ret_r->id.epoch = kt_get_u64(&c);
    ret_r->id.seq = kt_get_u64(&c);
    kt_get_id(&c, &ret_r->sum);
    assert(!c.bad);
}

void kt_frame_encode(const struct kt_frame *f, uint8_t ret[KT_FRAME_BYTES])
{
    struct kt_cur c = kt_cur_w(ret, KT_FRAME_BYTES);

    kt_put_u32(&c, KT_MAGIC);
    kt_put_u8(&c, KT_PROTO);
    kt_put_u8(&c, f->type);
    kt_put_u16(&c, f->flags);
    kt_put_u32(&c, f->hlen);
    kt_put_u32(&c, f->plen);
    kt_put_u64(&c, f->req);
    assert(!c.bad && c.left == 0);
}

int kt_frame_decode(const uint8_t b[KT_FRAME_BYTES], struct kt_frame *ret_f)
{
    struct kt_cur c = kt_cur_r(b, KT_FRAME_BYTES);
    struct kt_frame f;

    if (kt_get_u32(&c) != KT_MAGIC || kt_get_u8(&c) != KT_PROTO)
        return KT_E_PROTO;
    f.type = kt_get_u8(&c);
    f.flags = kt_get_u16(&c);
    f.hlen = kt_get_u32(&c);
    f.plen = kt_get_u32(&c);
    f.req = kt_get_u64(&c);
    if (!type_known(f.type))
        return KT_E_PROTO;
    if (f.type >= KT_MSG_CONTROL) {
        if (f.hlen != SUM_BYTES)
            return KT_E_PROTO;
    } else if (f.hlen < COMMON_BYTES + SUM_BYTES ||
               f.hlen > KT_HEADER_BYTES_MAX) {
        return KT_E_PROTO;
    }
    switch (kt_msg_body(f.type)) {
    case KT_BODY_NONE:
    case KT_BODY_SUMS:
        if (f.plen != 0)
            return KT_E_PROTO;
        break;
    case KT_BODY_SECTORS:
        if (f.plen % KT_SECTOR_BYTES != 0)
            return KT_E_PROTO;
        break;
    default:
        break;
    }
    if (f.plen > KT_PAYLOAD_BYTES_MAX)
        return KT_E_PROTO;
    *ret_f = f;
    return 0;
}

int kt_msg_encode(const struct kt_msg *m, uint8_t *ret, size_t cap)
{
    assert(type_known(m->type));
    if (m->type >= KT_MSG_CONTROL)
        return kt_control_encode(m, ret, cap);

    struct kt_io io = {.c = kt_cur_w(ret, cap), .w = true};
    kt_cur_take(&io.c, KT_FRAME_BYTES);
    /* Writing does not change what it reads from. */
    kt_data_fields(&io, (struct kt_msg *)(uintptr_t)m);
    if (io.c.bad || io.c.left < SUM_BYTES)
        return -EMSGSIZE;

    size_t len = cap - io.c.left;
    struct kt_frame f = {
        .type = m->type,
        .flags = m->flags,
        .hlen = (uint32_t)(len - KT_FRAME_BYTES + SUM_BYTES),
        .plen = io.plen,
        .req = m->req,
    };
    assert(f.hlen <= KT_HEADER_BYTES_MAX && f.plen <= KT_PAYLOAD_BYTES_MAX);
    kt_frame_encode(&f, ret);
    kt_put_u64(&io.c, kt_sum64(ret, len));
    return (int)(len + SUM_BYTES);
}

static int data_decode(const uint8_t *head, const struct kt_frame *f,
                       struct kt_buf *payload, struct kt_msg_room *room,
                       struct kt_msg *ret_m)
{
    size_t len = KT_FRAME_BYTES + f->hlen - SUM_BYTES;
    struct kt_cur end = kt_cur_r(head + len, SUM_BYTES);
    if (kt_get_u64(&end) != kt_sum64(head, len))
        return KT_E_CORRUPT;

    struct kt_io io = {
        .c = kt_cur_r(head + KT_FRAME_BYTES, len - KT_FRAME_BYTES),
        .plen = f->plen,
        .buf = payload,
        .cfg = &room->cfg,
    };
    kt_data_fields(&io, ret_m);
    if (io.c.bad || io.c.left != 0 || io.proto)
        return KT_E_PROTO;
    if (!ret_m->buf || f->plen == 0)
        return 0;
    bool good = kt_msg_body(f->type) == KT_BODY_OPAQUE
                    ? kt_sum64(payload->data, f->plen) == io.opaque_sum
                    : kt_buf_check(payload);
    return good ? 0 : KT_E_BADSUM;
}

int kt_msg_decode(const uint8_t *head, const struct kt_frame *f,
                  struct kt_buf *payload, struct kt_msg_room *room,
                  struct kt_msg *ret_m)
{
    assert(f->plen == 0 || (payload && payload->data_len == f->plen));
    memset(ret_m, 0, sizeof(*ret_m));
    ret_m->type = f->type;
    ret_m->flags = f->flags;
    ret_m->req = f->req;
    if (f->type >= KT_MSG_CONTROL)
        return kt_control_decode(head, f, payload, room, ret_m);
    return data_decode(head, f, payload, room, ret_m);
}
