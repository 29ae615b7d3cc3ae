/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/engine_rig.h"

#include <stdlib.h>
#include <string.h>

static void note_send(struct rig *r, const struct engine_action *a)
{
    assert_true(r->n_sends < RIG_SENDS_MAX);
    struct rig_send *s = &r->sends[r->n_sends++];
    memset(s, 0, sizeof(*s));
    s->node = r->node_of[a->slot];
    assert_int_not_equal(s->node, 0);
    s->m = a->msg;
    s->m.buf = NULL;
    const struct kt_buf *b = a->msg.buf;
    if (!b)
        return;
    /* What is sent carries the sums of its bytes. */
    assert_int_equal(b->n_sums, b->data_len / KT_SECTOR_BYTES);
    assert_true(kt_sum_check(b->data, b->data_len, b->sums));
    s->data_len = b->data_len;
    s->data = malloc(b->data_len);
    memcpy(s->data, b->data, b->data_len);
}

static void note(struct rig *r, const struct engine_action *a)
{
    switch (a->type) {
    case ENGINE_ACT_SEND:
        note_send(r, a);
        break;
    case ENGINE_ACT_COMPLETE:
        assert_false(r->done[a->req->tag]);
        r->done[a->req->tag] = true;
        r->completed++;
        break;
    case ENGINE_ACT_CONNECT:
        r->node_of[a->slot] = a->node->id.b[0];
        r->slot_of[a->node->id.b[0]] = a->slot;
        break;
    case ENGINE_ACT_DISCONNECT:
        r->slot_of[r->node_of[a->slot]] = UINT32_MAX;
        r->node_of[a->slot] = 0;
        r->disconnects++;
        break;
    case ENGINE_ACT_RESET:
        r->resets++;
        break;
    case ENGINE_ACT_STALLED:
        r->stalls++;
        break;
    case ENGINE_ACT_RESUMED:
        r->resumes++;
        break;
    case ENGINE_ACT_REPLAY:
        r->replays++;
        break;
    case ENGINE_ACT_SETTLED:
        r->settled++;
        break;
    case ENGINE_ACT_LOST:
        r->lost_chain = a->chain;
        break;
    default:
        assert_int_equal(a->type, ENGINE_ACT_FENCED);
        r->fenced++;
    }
}

static void step(struct rig *r, struct engine_event ev)
{
    ev.now_ms = r->now;
    do {
        engine_step(r->e, &ev, &r->out);
        engine_check(r->e);
        for (uint32_t i = 0; i < r->out.n; i++)
            note(r, &r->out.act[i]);
        ev = (struct engine_event){.type = ENGINE_EV_MORE, .now_ms = r->now};
    } while (r->out.more);
}

struct rig *rig_new(const struct engine_opts *o)
{
    struct rig *r = calloc(1, sizeof(*r));
    r->o = *o;
    r->o.volume.b[0] = 0x70;
    r->o.boot.b[0] = 0xb0;
    r->o.token = RIG_TOKEN;
    if (!r->o.size)
        r->o.size = 64ull << 20;
    if (!r->o.segment_bytes)
        r->o.segment_bytes = 64ull << 20;
    r->now = 1000000;
    memset(r->slot_of, 0xff, sizeof(r->slot_of));
    r->e = engine_init(calloc(1, engine_bytes(&r->o)), &r->o);
    return r;
}

void rig_free(struct rig *r)
{
    for (uint32_t i = 0; i < r->n_sends; i++)
        free(r->sends[i].data);
    for (uint32_t i = 0; i < r->n_reqs; i++) {
        free(r->reqs[i].buf);
        free(r->reqs[i].rows);
    }
    free(r->e);
    free(r);
}

struct kt_cfg rig_make_cfg(struct rig *r, uint32_t seg, uint64_t epoch,
                           uint64_t vgen, const char *nodes)
{
    uint64_t per = r->o.segment_bytes / KT_EXTENT_BYTES;
    uint64_t all = (r->o.size + KT_EXTENT_BYTES - 1) / KT_EXTENT_BYTES;
    struct kt_cfg c = {.chain = RIG_CHAIN + seg,
                       .volume = r->o.volume,
                       .seg = seg,
                       .first_extent = seg * per,
                       .n_extents = (uint32_t)kt_min_u64(per, all - seg * per),
                       .epoch = epoch,
                       .phase = KT_PHASE_ACTIVE,
                       .vgen = vgen,
                       .token = RIG_TOKEN,
                       .want_r = 3,
                       .min_write = 1};
    c.client.b[0] = 0xc1;
    for (const char *p = nodes; *p; p++) {
        struct kt_member *m = &c.members[c.n_members++];
        uint8_t n = (uint8_t)(*p - '0');
        m->store.b[0] = m->node.id.b[0] = n;
        m->incarnation = 1;
        m->state = KT_M_SERVING;
        m->node.boot.b[0] = n;
        m->node.tcp.kind = KT_ADDR_TCP;
        m->node.tcp.port = (uint16_t)(1000 + n);
        memcpy(m->node.tcp.host, "127.0.0.1", 10);
    }
    assert_null(kt_cfg_invalid(&c));
    return c;
}

void rig_cfg(struct rig *r, uint32_t seg, uint64_t epoch, uint64_t vgen,
             const char *nodes)
{
    r->cfg[seg] = rig_make_cfg(r, seg, epoch, vgen, nodes);
    step(r, (struct engine_event){.type = ENGINE_EV_CFG, .cfg = &r->cfg[seg]});
}

void rig_up(struct rig *r, uint32_t node)
{
    assert_int_not_equal(r->slot_of[node], UINT32_MAX);
    step(r, (struct engine_event){.type = ENGINE_EV_LINK_UP,
                                  .slot = r->slot_of[node]});
}

void rig_down(struct rig *r, uint32_t node)
{
    step(r, (struct engine_event){.type = ENGINE_EV_LINK_DOWN,
                                  .slot = r->slot_of[node]});
}

struct rig *rig_ready(void)
{
    struct rig *r = rig_new(&(struct engine_opts){0});
    rig_cfg(r, 0, 1, 1, "123");
    for (uint32_t n = 1; n <= 3; n++)
        rig_up(r, n);
    return r;
}

void rig_event(struct rig *r, uint8_t type)
{
    step(r, (struct engine_event){.type = type});
}

void rig_wait(struct rig *r, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 100) {
        r->now += 100;
        rig_event(r, ENGINE_EV_TICK);
    }
}

struct engine_req *rig_submit_flags(struct rig *r, uint8_t op, uint64_t off,
                                    uint64_t len, int value, uint8_t flags)
{
    assert_true(r->n_reqs < KT_ARRAY_LEN(r->reqs));
    struct engine_req *q = &r->reqs[r->n_reqs];
    q->op = op;
    q->flags = flags;
    q->off = off;
    q->len = len;
    q->tag = r->n_reqs++;
    if (op == ENGINE_READ || op == ENGINE_WRITE) {
        q->buf = malloc(len + 1);
        memset(q->buf, op == ENGINE_READ ? 0xee : value, len);
    }
    if (op == ENGINE_STAT) {
        q->rows_max = KT_STAT_ROWS_MAX;
        q->rows = calloc(q->rows_max, sizeof(*q->rows));
    }
    step(r, (struct engine_event){.type = ENGINE_EV_SUBMIT, .req = q});
    return q;
}

struct engine_req *rig_submit(struct rig *r, uint8_t op, uint64_t off,
                              uint64_t len, int value)
{
    return rig_submit_flags(r, op, off, len, value, 0);
}

void rig_cancel(struct rig *r, struct engine_req *q)
{
    step(r, (struct engine_event){.type = ENGINE_EV_CANCEL, .req = q});
}

bool rig_done(struct rig *r, const struct engine_req *q)
{
    return r->done[q->tag];
}

void rig_assert_done(struct rig *r, const struct engine_req *q, int err)
{
    assert_true(rig_done(r, q));
    assert_int_equal(q->err, err);
}

struct rig_send *rig_take(struct rig *r, uint8_t type)
{
    for (uint32_t i = 0; i < r->n_sends; i++) {
        struct rig_send *s = &r->sends[i];
        if (s->taken || s->m.type != type)
            continue;
        s->taken = true;
        return s;
    }
    return NULL;
}

struct rig_send *rig_expect(struct rig *r, uint8_t type, uint32_t node)
{
    struct rig_send *s = rig_take(r, type);
    assert_non_null(s);
    assert_int_equal(s->node, node);
    return s;
}

uint32_t rig_count(struct rig *r, uint8_t type)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_sends; i++)
        n += !r->sends[i].taken && r->sends[i].m.type == type;
    return n;
}

void rig_forget(struct rig *r)
{
    for (uint32_t i = 0; i < r->n_sends; i++)
        r->sends[i].taken = true;
}

struct kt_msg rig_reply(struct rig *r, const struct rig_send *s, uint8_t type)
{
    (void)r;
    return (struct kt_msg){.type = type,
                           .req = s->m.req,
                           .chain = s->m.chain,
                           .epoch = s->m.epoch};
}

void rig_answer(struct rig *r, const struct rig_send *s, struct kt_msg *m,
                int err)
{
    if (r->slot_of[s->node] == UINT32_MAX)
        return;
    step(r, (struct engine_event){.type = ENGINE_EV_MSG,
                                  .slot = r->slot_of[s->node],
                                  .msg = m,
                                  .err = err});
}

void rig_ack(struct rig *r, const struct rig_send *s, uint64_t seq)
{
    struct kt_msg m = rig_reply(r, s, KT_MSG_ACK);
    assert_int_equal(s->m.type, KT_MSG_WRITE);
    m.u.ack.token = s->m.u.write.token;
    m.u.ack.wseq = s->m.u.write.wseq;
    m.u.ack.id = (struct kt_rid){m.epoch, seq};
    m.u.ack.vgen = r->cfg[s->m.chain - RIG_CHAIN].vgen;
    rig_answer(r, s, &m, 0);
}

void rig_nak_cfg(struct rig *r, const struct rig_send *s, int err,
                 const struct kt_cfg *cfg)
{
    struct kt_msg m = rig_reply(r, s, KT_MSG_NAK);
    m.u.nak.err = err;
    m.u.nak.re = s->m.type;
    if (s->m.type == KT_MSG_WRITE)
        m.u.nak.wseq = s->m.u.write.wseq;
    m.cfg = cfg;
    if (cfg)
        m.epoch = cfg->epoch;
    rig_answer(r, s, &m, 0);
}

void rig_nak(struct rig *r, const struct rig_send *s, int err)
{
    rig_nak_cfg(r, s, err, NULL);
}

void rig_data(struct rig *r, const struct rig_send *s, int value)
{
    struct kt_msg m = rig_reply(r, s, KT_MSG_DATA);
    uint32_t len = s->m.u.read.len, n = len / KT_SECTOR_BYTES;
    struct kt_buf b = {.refs = 1, .n_sums = n};
    b.sums = calloc(n, sizeof(uint64_t));
    b.data = calloc(1, len);
    if (value >= 0) {
        memset(b.data, value, len);
        b.data_len = b.data_cap = len;
        kt_sum_sectors(b.data, len, b.sums);
    }
    m.u.data.extent = s->m.u.read.extent;
    m.u.data.off = s->m.u.read.off;
    m.u.data.len = len;
    m.buf = &b;
    rig_answer(r, s, &m, 0);
    free(b.sums);
    free(b.data);
}

void rig_flush_ok(struct rig *r, const struct rig_send *s)
{
    struct kt_msg m = rig_reply(r, s, KT_MSG_FLUSH_OK);
    assert_int_equal(s->m.type, KT_MSG_FLUSH);
    m.u.flush.upto = m.u.flush.durable = s->m.u.flush.upto;
    m.u.flush.vgen = r->cfg[s->m.chain - RIG_CHAIN].vgen;
    m.u.flush.store.b[0] = (uint8_t)s->node;
    rig_answer(r, s, &m, 0);
}

void rig_ack_all(struct rig *r, uint64_t *seq)
{
    struct rig_send *s;
    while ((s = rig_take(r, KT_MSG_WRITE)))
        rig_ack(r, s, ++*seq);
}
