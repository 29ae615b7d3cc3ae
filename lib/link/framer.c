/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes in, whole frames out.
 *
 * A frame has three parts: head, header, payload. Each is judged before the
 * next is waited for: lengths when the head is whole, so that nothing is
 * allocated for an impossible frame; the header's own sum only with the whole
 * frame, in kt_msg_decode. A broken stream stays broken: after a bad length
 * there is no telling where the next frame would begin. */
#include "lib/link/framer.h"

#include <errno.h>
#include <string.h>

enum { PART_HEAD, PART_HEADER, PART_PAYLOAD, PART_READY };

void kt_framer_init(struct kt_framer *f)
{
    /* Not the 16 KiB of head: they are written before they are read. */
    memset(&f->frame, 0, sizeof(f->frame));
    f->have = 0;
    f->part = PART_HEAD;
    f->hello_done = false;
    f->buf = NULL;
    f->err = 0;
}

void kt_framer_release(struct kt_framer *f)
{
    kt_buf_unref(f->buf);
    f->buf = NULL;
}

uint8_t *kt_framer_want(struct kt_framer *f, size_t *ret_len)
{
    assert(f->part != PART_READY);
    *ret_len = 0;
    if (f->err < 0)
        return NULL;
    if (f->part == PART_HEAD) {
        *ret_len = KT_FRAME_BYTES - f->have;
        return f->head + f->have;
    }
    if (f->part == PART_HEADER) {
        *ret_len = f->frame.hlen - f->have;
        return f->head + KT_FRAME_BYTES + f->have;
    }
    *ret_len = f->frame.plen - f->have;
    return f->buf->data + f->have;
}

static int fail(struct kt_framer *f, int err)
{
    f->err = err;
    kt_framer_release(f);
    return err;
}

static int head_done(struct kt_framer *f)
{
    int r = kt_frame_decode(f->head, &f->frame);
    if (r < 0)
        return fail(f, r);
    /* Both lengths are below 2 MiB here: no overflow. */
    if (!f->hello_done && f->frame.hlen + f->frame.plen > KT_HELLO_BYTES_MAX)
        return fail(f, KT_E_PROTO);
    f->part = PART_HEADER;
    f->have = 0;
    return 0;
}

static int header_done(struct kt_framer *f)
{
    uint32_t hlen = f->frame.hlen, plen = f->frame.plen;

    f->part = plen > 0 ? PART_PAYLOAD : PART_READY;
    f->have = 0;
    /* A header of n sums is longer than 8 n bytes. Whoever can have sums
     * gets a buffer for them, payload or not. */
    bool with_sums = kt_msg_has_sums(f->frame.type);
    if (plen > 0 || with_sums) {
        uint32_t sums = with_sums ? hlen / 8 : 0;
        if (sums > KT_EXTENT_SECTORS)
            sums = KT_EXTENT_SECTORS;
        f->buf = kt_buf_new(plen, sums);
        if (!f->buf)
            return fail(f, -ENOMEM);
        f->buf->data_len = plen;
    }
    return f->part == PART_READY;
}

int kt_framer_got(struct kt_framer *f, size_t n)
{
    size_t room;

    if (f->err < 0)
        return f->err;
    kt_framer_want(f, &room);
    assert(n <= room);
    f->have += (uint32_t)n;
    if (n < room)
        return 0;
    if (f->part == PART_HEAD)
        return head_done(f);
    if (f->part == PART_HEADER)
        return header_done(f);
    f->part = PART_READY;
    return 1;
}

int kt_framer_feed(struct kt_framer *f, const uint8_t *b, size_t len,
                   size_t *ret_used)
{
    size_t used = 0;
    int r = f->err;

    while (r == 0 && used < len) {
        size_t room;
        uint8_t *to = kt_framer_want(f, &room);
        size_t n = room < len - used ? room : len - used;
        memcpy(to, b + used, n);
        used += n;
        r = kt_framer_got(f, n);
    }
    *ret_used = used;
    return r;
}

int kt_framer_take(struct kt_framer *f, struct kt_msg_room *room,
                   struct kt_msg *ret_m, struct kt_buf **ret_buf)
{
    assert(f->part == PART_READY && f->err == 0);
    int r = kt_msg_decode(f->head, &f->frame, f->buf, room, ret_m);
    *ret_buf = f->buf;
    f->buf = NULL;
    f->part = PART_HEAD;
    f->have = 0;
    /* A damaged payload ends where it should; a damaged header may have
     * told any length. */
    if (r < 0 && r != KT_E_BADSUM)
        f->err = r;
    return r;
}
