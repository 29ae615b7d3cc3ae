/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/gen_msg.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/sum.h"

/* splitmix64 */
uint64_t gen_u64(struct gen *g)
{
    uint64_t z = (g->s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t gen_below(struct gen *g, uint32_t n)
{
    return (uint32_t)(gen_u64(g) % n);
}

/* Small and large values alike; control messages bear 63 bits. */
static uint64_t gen_num(struct gen *g)
{
    return gen_u64(g) >> (1 + gen_below(g, 63));
}

void gen_id(struct gen *g, struct kt_id *ret_id)
{
    for (size_t i = 0; i < sizeof(ret_id->b); i++)
        ret_id->b[i] = (uint8_t)gen_u64(g);
    ret_id->b[0] |= 1; /* not zero */
}

static void gen_rid(struct gen *g, struct kt_rid *ret)
{
    ret->epoch = gen_num(g);
    ret->seq = gen_num(g);
}

static void gen_name(struct gen *g, char ret[KT_NAME_MAX + 1])
{
    static const char set[] = "abcXYZ019_.-";
    uint32_t n = gen_below(g, KT_NAME_MAX + 1);

    for (uint32_t i = 0; i < n; i++)
        ret[i] = set[gen_below(g, i ? sizeof(set) - 1 : 9)];
    ret[n] = '\0';
}

static void gen_node(struct gen *g, struct kt_node *n)
{
    gen_id(g, &n->id);
    gen_id(g, &n->boot);
    gen_name(g, n->name);
    if (gen_below(g, 4)) {
        n->tcp.kind = KT_ADDR_TCP;
        n->tcp.port = (uint16_t)(1 + gen_below(g, 65535));
        strncpy(n->tcp.host, gen_below(g, 2) ? "127.0.0.1" : "::1",
                sizeof(n->tcp.host) - 1);
    }
    if (gen_below(g, 2)) {
        n->unix_.kind = KT_ADDR_UNIX;
        strncpy(n->unix_.host, "/run/kenter/n1.sock",
                sizeof(n->unix_.host) - 1);
    }
}

void gen_cfg(struct gen *g, struct kt_cfg *c)
{
    memset(c, 0, sizeof(*c));
    c->chain = 1 + gen_num(g);
    gen_id(g, &c->volume);
    c->seg = gen_below(g, 1000);
    c->first_extent = gen_below(g, 1000) * 4096ull;
    c->n_extents = 1 + gen_below(g, KT_SEGMENT_EXTENTS_MAX);
    c->epoch = 1 + gen_num(g);
    c->phase = gen_below(g, 2) ? KT_PHASE_ACTIVE : KT_PHASE_PREPARE;
    gen_id(g, &c->history);
    c->vgen = gen_num(g);
    if (gen_below(g, 2)) {
        gen_id(g, &c->client);
        c->token = 1 + gen_num(g);
    }
    c->want_r = (uint8_t)(1 + gen_below(g, KT_MEMBERS_MAX));
    c->min_write = (uint8_t)(1 + gen_below(g, c->want_r));
    c->durability = (uint8_t)gen_below(g, 2);
    c->mode = (uint8_t)gen_below(g, 2);
    c->gen = gen_below(g, 3);
    c->n_members = (uint8_t)(1 + gen_below(g, KT_MEMBERS_MAX));
    unsigned serving = 1 + gen_below(g, c->n_members);
    for (unsigned i = 0; i < c->n_members; i++) {
        struct kt_member *m = &c->members[i];
        gen_id(g, &m->store);
        m->incarnation = gen_num(g);
        m->state = i < serving                       ? KT_M_SERVING
                   : i == serving && gen_below(g, 2) ? KT_M_SYNCING
                                                     : KT_M_OFFLINE;
        gen_node(g, &m->node);
    }
    c->n_last = (uint8_t)gen_below(g, KT_MEMBERS_MAX + 1);
    c->last_epoch = c->n_last ? c->epoch : 0;
    c->base_seq = gen_num(g);
    if (c->token < UINT64_MAX / 2 && gen_below(g, 2))
        c->next_token = c->token + 1 + gen_below(g, 9);
    for (unsigned i = 0; i < c->n_last; i++) {
        gen_id(g, &c->last[i].store);
        c->last[i].incarnation = gen_num(g);
    }
    assert(kt_cfg_invalid(c) == NULL);
}

struct kt_buf *gen_sectors(struct gen *g, uint32_t n, bool all)
{
    struct kt_buf *b = kt_buf_new(n * KT_SECTOR_BYTES, n);
    assert(b);
    for (uint32_t i = 0; i < n; i++) {
        if (!all && gen_below(g, 4) == 0)
            continue;
        uint8_t *p = b->data + b->data_len;
        memset(p, (int)gen_below(g, 256), KT_SECTOR_BYTES);
        p[gen_below(g, KT_SECTOR_BYTES)] = (uint8_t)i;
        b->sums[i] = kt_sum64(p, KT_SECTOR_BYTES);
        b->data_len += KT_SECTOR_BYTES;
    }
    return b;
}

static struct kt_buf *gen_opaque(struct gen *g, uint32_t len)
{
    struct kt_buf *b = kt_buf_new(len, 0);
    assert(b);
    for (uint32_t i = 0; i < len; i++)
        b->data[i] = (uint8_t)gen_u64(g);
    b->data_len = len;
    return b;
}

/* Mostly small ranges, at times a whole MiB. */
static uint32_t gen_sectors_of_range(struct gen *g)
{
    return 1 + gen_below(g, gen_below(g, 64) ? 8 : KT_RECORD_SECTORS_MAX);
}

static void gen_record(struct gen *g, struct kt_record *r, uint8_t op)
{
    gen_rid(g, &r->id);
    gen_rid(g, &r->prev);
    r->token = gen_num(g);
    r->wseq = gen_num(g);
    r->wstable = gen_num(g);
    r->op = op;
    r->extent = gen_below(g, KT_SEGMENT_EXTENTS_MAX);
    r->gen = gen_below(g, 3);
    uint32_t n = gen_sectors_of_range(g);
    r->off = gen_below(g, KT_EXTENT_SECTORS - n + 1) * KT_SECTOR_BYTES;
    r->len = n * KT_SECTOR_BYTES;
    if (op == KT_OP_BASE_END)
        r->off = r->len = 0;
    if (op == KT_OP_BASE) {
        for (uint32_t i = 0; i < n; i++)
            r->keep[i / 64] |= (uint64_t)gen_below(g, 2) << (i % 64);
    }
    if (op <= KT_OP_TRIM)
        r->flags = (uint8_t)gen_below(g, 4); /* FUA, SKIP */
    if (op == KT_OP_ZERO && gen_below(g, 2))
        r->flags |= KT_RF_NO_HOLE;
    if (op == KT_OP_BASE_END)
        r->flags = gen_below(g, 2) ? KT_RF_ALLOC : 0;
}

static struct kt_buf *gen_record_buf(struct gen *g, const struct kt_record *r)
{
    if ((r->op == KT_OP_WRITE && !(r->flags & KT_RF_SKIP)) ||
        r->op == KT_OP_BASE)
        return gen_sectors(g, r->len / KT_SECTOR_BYTES, r->op == KT_OP_WRITE);
    return NULL;
}

static void gen_text(struct gen *g, char *ret, size_t size)
{
    size_t n = gen_below(g, (uint32_t)size);
    for (size_t i = 0; i < n; i++)
        ret[i] = (char)(' ' + gen_below(g, 95));
    ret[n] = '\0';
}

static void gen_hello(struct gen *g, struct kt_msg *m)
{
    m->u.hello.role = (uint8_t)(1 + gen_below(g, 4));
    m->u.hello.cls = (uint8_t)(1 + gen_below(g, 3));
    gen_id(g, &m->u.hello.id);
    gen_id(g, &m->u.hello.boot);
    gen_id(g, &m->u.hello.store);
    m->u.hello.incarnation = gen_num(g);
    gen_name(g, m->u.hello.name);
}

static void gen_write(struct gen *g, struct kt_msg *m)
{
    struct kt_record r;

    memset(&r, 0, sizeof(r));
    gen_record(g, &r, (uint8_t)(1 + gen_below(g, 3)));
    m->u.write.token = r.token;
    m->u.write.wseq = r.wseq;
    m->u.write.wstable = r.wstable;
    m->u.write.op = r.op;
    r.flags &= (uint8_t)~KT_RF_SKIP;
    m->u.write.flags = r.flags;
    m->u.write.extent = r.extent;
    m->u.write.off = r.off;
    m->u.write.len = r.len;
    m->buf = gen_record_buf(g, &r);
}

static void gen_client_msg(struct gen *g, struct kt_msg *m)
{
    struct kt_record r;

    memset(&r, 0, sizeof(r));
    switch (m->type) {
    case KT_MSG_HELLO:
    case KT_MSG_HELLO_OK:
        gen_hello(g, m);
        break;
    case KT_MSG_REFUSE:
        m->u.error.err = -(int32_t)gen_below(g, 30000);
        gen_text(g, m->u.error.text, sizeof(m->u.error.text));
        break;
    case KT_MSG_WRITE:
        gen_write(g, m);
        break;
    case KT_MSG_ACK:
        m->u.ack.token = gen_u64(g);
        m->u.ack.wseq = gen_u64(g);
        gen_rid(g, &m->u.ack.id);
        m->u.ack.vgen = gen_u64(g);
        break;
    case KT_MSG_READ:
        m->u.read.extent = (uint32_t)gen_u64(g);
        m->u.read.off = (uint32_t)gen_u64(g);
        m->u.read.len = (uint32_t)gen_u64(g);
        m->u.read.min_seq = gen_u64(g);
        break;
    case KT_MSG_DATA:
        gen_record(g, &r, KT_OP_WRITE);
        m->u.data.extent = r.extent;
        m->u.data.off = r.off;
        m->u.data.len = r.len;
        m->u.data.seq = gen_u64(g);
        m->buf = gen_sectors(g, r.len / KT_SECTOR_BYTES, false);
        break;
    case KT_MSG_FLUSH:
    case KT_MSG_FLUSH_OK:
        m->u.flush.upto = gen_u64(g);
        m->u.flush.incarnation = gen_u64(g);
        m->u.flush.durable = gen_u64(g);
        m->u.flush.vgen = gen_u64(g);
        gen_id(g, &m->u.flush.store);
        break;
    case KT_MSG_STAT:
        m->u.stat.extent = (uint32_t)gen_u64(g);
        m->u.stat.off = (uint32_t)gen_u64(g);
        m->u.stat.sectors = (uint32_t)gen_u64(g);
        m->u.stat.min_seq = gen_u64(g);
        break;
    case KT_MSG_STAT_OK:
        m->u.stat_ok.rows = gen_below(g, 40);
        if (m->u.stat_ok.rows)
            m->buf = gen_opaque(g, m->u.stat_ok.rows * 4);
        break;
    case KT_MSG_NAK:
        m->u.nak.err = -(int32_t)gen_below(g, 30000);
        m->u.nak.re = (uint8_t)gen_u64(g);
        m->u.nak.wseq = gen_u64(g);
        gen_rid(g, &m->u.nak.at);
        gen_id(g, &m->u.nak.store);
        break;
    default:
        break;
    }
}

/* Sums of a whole extent and no data. */
static struct kt_buf *gen_table(struct gen *g)
{
    struct kt_buf *b = kt_buf_new(0, KT_EXTENT_SECTORS);
    assert(b);
    for (uint32_t i = 0; i < KT_EXTENT_SECTORS; i++)
        b->sums[i] = gen_below(g, 2) ? gen_u64(g) : 0;
    return b;
}

static void gen_member_msg(struct gen *g, struct kt_msg *m)
{
    switch (m->type) {
    case KT_MSG_FWD:
        gen_record(g, &m->u.rec, (uint8_t)(1 + gen_below(g, 3)));
        m->u.rec.chain = m->chain;
        m->buf = gen_record_buf(g, &m->u.rec);
        break;
    case KT_MSG_ACKC:
        m->u.ackc.upto = gen_u64(g);
        m->u.ackc.alloc_limit = gen_u64(g);
        m->u.ackc.full = (uint8_t)gen_below(g, 2);
        break;
    case KT_MSG_RESUME:
    case KT_MSG_RESUME_OK:
        gen_rid(g, &m->u.resume.applied);
        m->u.resume.acked = gen_u64(g);
        m->u.resume.durable = gen_u64(g);
        break;
    case KT_MSG_EQDATA:
        m->u.eqdata.last = (uint8_t)gen_below(g, 2);
        gen_rid(g, &m->u.eqdata.upto);
        m->u.eqdata.incarnation = gen_u64(g);
        if (!m->u.eqdata.last) {
            gen_record(g, &m->u.eqdata.rec, (uint8_t)(1 + gen_below(g, 3)));
            m->u.eqdata.rec.chain = m->chain;
            m->buf = gen_record_buf(g, &m->u.eqdata.rec);
        }
        return;
    case KT_MSG_SYNC_START:
        m->buf = gen_opaque(g, KT_DEDUP_BYTES);
        __attribute__((fallthrough));
    case KT_MSG_SYNC_AT:
    case KT_MSG_SYNC_DONE:
    case KT_MSG_SYNC_ACK:
        gen_id(g, &m->u.sync.history);
        gen_rid(g, &m->u.sync.at);
        m->u.sync.incarnation = gen_u64(g);
        m->u.sync.suffix = (uint8_t)gen_below(g, 2);
        return;
    case KT_MSG_DIGEST:
    case KT_MSG_DIGEST_GET:
        m->u.digest.first = (uint32_t)gen_u64(g);
        m->u.digest.count = gen_below(g, 50);
        gen_rid(g, &m->u.digest.at);
        if (m->type == KT_MSG_DIGEST && m->u.digest.count)
            m->buf = gen_opaque(g, m->u.digest.count * KT_DIGEST_ROW_BYTES);
        return;
    case KT_MSG_EXT_SUMS:
        m->buf = gen_table(g);
        __attribute__((fallthrough));
    case KT_MSG_COPY_START:
    case KT_MSG_WANT:
    case KT_MSG_EXT_DONE:
        m->u.ext.extent = gen_below(g, KT_SEGMENT_EXTENTS_MAX);
        gen_rid(g, &m->u.ext.id);
        m->u.ext.alloc = (uint8_t)gen_below(g, 2);
        for (int i = 0; m->type == KT_MSG_WANT && i < 16; i++)
            m->u.ext.want[i] = gen_u64(g);
        return;
    case KT_MSG_SYNC_EXT:
        gen_record(g, &m->u.rec, KT_OP_BASE);
        m->u.rec.chain = m->chain;
        m->buf = gen_record_buf(g, &m->u.rec);
        break;
    case KT_MSG_SYNC_END:
        gen_record(g, &m->u.rec, KT_OP_BASE_END);
        m->u.rec.chain = m->chain;
        break;
    default:
        break;
    }
}

static void gen_register(struct gen *g, struct kt_msg_room *room,
                         struct kt_msg *m)
{
    gen_node(g, &m->u.reg.node);
    gen_id(g, &m->u.reg.store);
    m->u.reg.incarnation = gen_num(g);
    m->u.reg.cont_base = gen_num(g);
    m->u.reg.size = gen_num(g);
    m->u.reg.used = gen_num(g);
    m->u.reg.store_err = -(int32_t)gen_below(g, 30000);
    m->u.reg.first = (uint8_t)gen_below(g, 2);
    m->u.reg.last = (uint8_t)gen_below(g, 2);
    m->u.reg.hub_term = gen_num(g);
    gen_id(g, &m->u.reg.hub_mark);
    m->u.reg.n_chains = gen_below(g, gen_below(g, 100) ? 4 : 513);
    m->u.reg.chains = room->chains;
    for (uint32_t i = 0; i < m->u.reg.n_chains; i++) {
        struct kt_chain_report *r = &room->chains[i];
        r->chain = gen_num(g);
        r->promised = gen_num(g);
        r->cfg_epoch = gen_num(g);
        gen_id(g, &r->volume);
        gen_rid(g, &r->applied);
    }
}

static void gen_eq(struct gen *g, struct kt_msg_room *room, struct kt_msg *m)
{
    m->u.eq.incarnation = gen_num(g);
    gen_rid(g, &m->u.eq.applied);
    m->u.eq.n = (uint8_t)gen_below(g, KT_MEMBERS_MAX + 1);
    m->u.eq.targets = room->targets;
    for (unsigned i = 0; i < m->u.eq.n; i++) {
        struct kt_eq_target *t = &room->targets[i];
        memset(t, 0, sizeof(*t));
        gen_id(g, &t->store);
        t->incarnation = gen_num(g);
        gen_rid(g, &t->applied);
        gen_node(g, &t->node);
    }
}

static void gen_seal_ok(struct gen *g, struct kt_msg *m)
{
    gen_id(g, &m->u.seal_ok.store);
    m->u.seal_ok.incarnation = gen_num(g);
    m->u.seal_ok.cont_base = gen_num(g);
    m->u.seal_ok.promised = gen_num(g);
    m->u.seal_ok.last_epoch = gen_num(g);
    gen_rid(g, &m->u.seal_ok.applied);
    m->u.seal_ok.acked = gen_num(g);
    m->u.seal_ok.durable = gen_num(g);
    gen_id(g, &m->u.seal_ok.history);
}

static void gen_attach(struct gen *g, struct kt_msg *m)
{
    gen_name(g, m->u.attach.volume);
    gen_id(g, &m->u.attach.volume_id);
    gen_id(g, &m->u.attach.client);
    gen_name(g, m->u.attach.node);
    m->u.attach.pid = (uint32_t)gen_u64(g);
    m->u.attach.token = gen_num(g);
    m->u.attach.steal = (uint8_t)gen_below(g, 2);
    m->u.attach.n_cut = (uint8_t)gen_below(g, KT_CUT_MAX + 1);
    for (unsigned i = 0; i < m->u.attach.n_cut; i++)
        gen_id(g, &m->u.attach.cut[i]);
}

static void gen_hub_msg(struct gen *g, struct kt_msg_room *room,
                        struct kt_msg *m)
{
    switch (m->type) {
    case KT_MSG_REGISTER:
        gen_register(g, room, m);
        break;
    case KT_MSG_REGISTER_OK:
        gen_id(g, &m->u.reg_ok.cluster);
        m->u.reg_ok.hub_term = gen_num(g);
        gen_id(g, &m->u.reg_ok.hub_mark);
        break;
    case KT_MSG_HB:
        m->u.hb.size = gen_num(g);
        m->u.hb.used = gen_num(g);
        m->u.hb.store_err = -(int32_t)gen_below(g, 200);
        m->u.hb.disk_stall_ms = gen_num(g);
        break;
    case KT_MSG_REPORT:
    case KT_MSG_PROBE:
    case KT_MSG_PROBE_OK:
        gen_node(g, &m->u.report.node);
        m->u.report.err = -(int32_t)gen_below(g, 200);
        m->u.report.slow_ms = gen_num(g);
        break;
    case KT_MSG_SEAL_OK:
    case KT_MSG_SEAL_REFUSED:
        gen_seal_ok(g, m);
        break;
    case KT_MSG_EQ:
        gen_eq(g, room, m);
        break;
    case KT_MSG_EQ_OK:
        gen_id(g, &m->u.eq_ok.store);
        m->u.eq_ok.incarnation = gen_num(g);
        gen_rid(g, &m->u.eq_ok.applied);
        m->u.eq_ok.err = -(int32_t)gen_below(g, 200);
        break;
    case KT_MSG_SYNC_FIN:
        gen_id(g, &m->u.sync_fin.store);
        m->u.sync_fin.incarnation = gen_num(g);
        gen_rid(g, &m->u.sync_fin.applied);
        m->u.sync_fin.err = -(int32_t)gen_below(g, 200);
        break;
    case KT_MSG_RELEASE:
        gen_id(g, &m->u.release.volume);
        break;
    case KT_MSG_ATTACH:
    case KT_MSG_RENEW:
    case KT_MSG_DETACH:
        gen_attach(g, m);
        break;
    case KT_MSG_ATTACH_OK:
        gen_id(g, &m->u.attach_ok.volume_id);
        m->u.attach_ok.size = gen_num(g);
        m->u.attach_ok.token = gen_num(g);
        m->u.attach_ok.segment_bytes = gen_num(g);
        m->u.attach_ok.lease_ms = gen_below(g, 100000);
        m->u.attach_ok.n_chains = gen_below(g, 4096);
        break;
    case KT_MSG_ERROR:
        m->u.error.err = -(int32_t)gen_below(g, 30000);
        gen_text(g, m->u.error.text, sizeof(m->u.error.text));
        break;
    default:
        break;
    }
}

bool gen_knows(unsigned type)
{
    return type < KT_MSG_ADMIN && strcmp(kt_msg_name(type), "?") != 0;
}

void gen_msg(struct gen *g, uint8_t type, struct kt_msg_room *room,
             struct kt_msg *m)
{
    assert(gen_knows(type));
    memset(m, 0, sizeof(*m));
    m->type = type;
    m->req = gen_u64(g);
    m->chain = gen_num(g);
    m->epoch = gen_num(g);
    if (type >= KT_MSG_CONTROL)
        gen_hub_msg(g, room, m);
    else if (type < KT_MSG_FWD)
        gen_client_msg(g, m);
    else
        gen_member_msg(g, m);
    bool may = type == KT_MSG_ACK || type == KT_MSG_NAK;
    if (type == KT_MSG_CFG || type == KT_MSG_ACTIVATE ||
        (may && gen_below(g, 2))) {
        gen_cfg(g, &room->cfg);
        m->cfg = &room->cfg;
    }
}

uint8_t *gen_frame(const struct kt_msg *m, size_t *ret_len)
{
    uint8_t *b = malloc(KT_CONTROL_BYTES_MAX + KT_HEADER_BYTES_MAX);
    assert(b);
    int n = kt_msg_encode(m, b, KT_CONTROL_BYTES_MAX);
    assert(n > 0);
    struct kt_frame f;
    int r = kt_frame_decode(b, &f);
    assert(r == 0);
    size_t len = (size_t)n;
    if (m->type < KT_MSG_CONTROL && f.plen > 0) {
        memcpy(b + len, m->buf->data, f.plen);
        len += f.plen;
    }
    assert(len == KT_FRAME_BYTES + f.hlen + f.plen);
    *ret_len = len;
    return b;
}
