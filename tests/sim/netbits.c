/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames whose bits flip on their way. A message of the simulator becomes the
 * bytes it is on the wire, some of their bits are turned over, and the framer
 * of the real connections reads them, in pieces of any size:
 *
 *  1. A payload does not match its sum: the frame ends where it should, and
 *     whoever gets it decides (struct smsg, err).
 *  2. Head or header cannot be right: the stream is of no use any more, and
 *     the end that reads it hangs up.
 *  3. A length has grown: the frame swallows what comes behind it, until it
 *     has enough, and is found out then, or until somebody misses an answer.
 *
 * What must never be is a frame that passes. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define PLEN_AT 12u /* where it is in the head */

const uint8_t *net_bytes(struct world *w, const struct kt_msg *m,
                         size_t *ret_len)
{
    static uint8_t b[KT_CONTROL_BYTES_MAX + KT_PAYLOAD_BYTES_MAX];
    int len = kt_msg_encode(m, b, KT_CONTROL_BYTES_MAX);
    struct kt_frame f;
    SIM_CHECK(w, len > 0, "%s cannot be encoded", kt_msg_name(m->type));
    SIM_CHECK(w, kt_frame_decode(b, &f) == 0, "frame head of %s",
              kt_msg_name(m->type));
    *ret_len = (size_t)len;
    if (m->type < KT_MSG_CONTROL && f.plen) {
        memcpy(b + len, m->buf->data, f.plen);
        *ret_len += f.plen;
    }
    return b;
}

static int take(struct kt_framer *f, struct kt_msg *ret_m,
                struct kt_buf **ret_buf)
{
    static struct kt_msg_room room;
    return kt_framer_take(f, &room, ret_m, ret_buf);
}

int net_parse(struct world *w, const uint8_t *b, size_t len,
              struct kt_msg *ret_m, struct kt_buf **ret_buf)
{
    struct kt_framer f;
    size_t used = 0;
    kt_framer_init(&f);
    f.hello_done = true;
    int r = kt_framer_feed(&f, b, len, &used);
    SIM_CHECK(w, r < 0 || (r == 1 && used == len),
              "a frame of %zu bytes ended "
              "after %zu",
              len, used);
    if (r < 0)
        *ret_buf = NULL;
    return r < 0 ? r : take(&f, ret_m, ret_buf);
}

bool net_garbled(const struct sconn *c, unsigned side, const struct smsg *m)
{
    if (c->framer[side] || c->deaf[side])
        return true;
    return c->flip[side] == NET_FLIP_ANY ||
           (c->flip[side] == NET_FLIP_PAYLOAD && m->msg.type < KT_MSG_CONTROL &&
            m->msg.buf && m->msg.buf->data_len);
}

/* One bit mostly, in any part; or some of a few bytes. */
static void turn_over(struct world *w, uint8_t *b, size_t len)
{
    struct rng *r = &w->kinds[SIM_K_FLIP];
    size_t at = rng_below(r, len), span = 1;
    unsigned n = 1;
    if (rng_chance(r, 400))
        at = rng_below(r, kt_min_u64(len, KT_FRAME_BYTES + 64));
    if (rng_chance(r, 150)) { /* of a length, by whole sectors */
        b[PLEN_AT + 1] ^= (uint8_t)(0x10u << rng_below(r, 4));
        return;
    }
    if (rng_chance(r, 250)) {
        n = 2 + (unsigned)rng_below(r, 6);
        span = kt_min_u64(len - at, 16);
    }
    uint64_t done[16] = {0};
    for (unsigned i = 0; i < n; i++) {
        uint64_t k = rng_below(r, span), bit = rng_below(r, 8);
        if (done[k] >> bit & 1)
            continue; /* not back again */
        done[k] |= (uint64_t)1 << bit;
        b[at + k] ^= (uint8_t)(1u << bit);
    }
}

static void drop(struct sconn *c, unsigned side)
{
    kt_framer_release(c->framer[side]);
    free(c->framer[side]);
    c->framer[side] = NULL;
}

static void hang_up(struct world *w, uint64_t conn, uint64_t side, uint64_t err)
{
    net_hang_up(w, conn, (unsigned)side, -(int)err);
}

static void garbage(struct world *w, struct sconn *c, unsigned side, int err)
{
    trace(w, c->ep[side], "garbage", c->id, net_peer(c, c->ep[side]),
          (uint64_t)-err);
    drop(c, side);
    c->deaf[side] = c->broken = true;
    world_at(w, 0, hang_up, c->id, side, (uint64_t)-err);
}

/* A whole frame, or an error: the first that the framer says. */
static void judge(struct world *w, struct sconn *c, unsigned side)
{
    struct smsg s = {.up = false};
    struct kt_buf *buf;
    int r = take(c->framer[side], &s.msg, &buf);
    SIM_CHECK(w, r != 0, "%s passed with flipped bits",
              kt_msg_name(s.msg.type));
    if (r != KT_E_BADSUM) {
        garbage(w, c, side, r);
    } else {
        s.err = r;
        drop(c, side);
        trace(w, c->ep[side], "bad_payload", c->id, s.msg.type, 0);
        ep_msg(w, c->ep[side], c, &s);
    }
    kt_buf_unref(buf);
}

void net_garble(struct world *w, struct sconn *c, unsigned side,
                const struct smsg *m)
{
    static uint8_t bytes[KT_CONTROL_BYTES_MAX + KT_PAYLOAD_BYTES_MAX];
    struct rng *r = &w->kinds[SIM_K_FLIP];
    size_t len, used = 0;
    if (c->deaf[side])
        return; /* it hangs up in a moment */
    const uint8_t *whole = net_bytes(w, &m->msg, &len);
    memcpy(bytes, whole, len);
    if (!c->framer[side]) {
        c->framer[side] = malloc(sizeof(*c->framer[side]));
        assert(c->framer[side]);
        kt_framer_init(c->framer[side]);
        c->framer[side]->hello_done = true;
        c->flip[side] = NET_FLIP_NO;
        turn_over(w, bytes, len);
        w->st->kinds[SIM_K_FLIP]++;
    }
    trace(w, c->ep[side], "garbled", c->id, m->msg.type, len);
    for (size_t at = 0; at < len; at += used) {
        size_t piece = 1 + rng_below(r, len - at);
        int done = kt_framer_feed(c->framer[side], bytes + at, piece, &used);
        if (done < 0)
            garbage(w, c, side, done);
        else if (done > 0)
            judge(w, c, side);
        if (done)
            return;
    }
    w->st->hung += !c->hung_us;
    if (!c->hung_us)
        c->hung_us = w->now;
}
