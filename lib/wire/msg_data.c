/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers of the data messages, little-endian. Pure.
 *
 * Each begins with  chain u64 | epoch u64  and ends with the sum of frame
 * head and header, u64. Between the two:
 *
 *   HELLO, HELLO_OK  role u8 | class u8 | id 16 | cluster 16 | boot 16
 *                    | store 16 | incarnation u64 | name str8
 *   REFUSE           err i32 | text str8
 *   PING, PONG, CFG_GET   -
 *   WRITE            token u64 | wseq u64 | wstable u64 | op u8 | flags u8
 *                    | extent u32 | off u32 | len u32 | SUMS
 *   ACK              token u64 | wseq u64 | RID | vgen u64 | CFG
 *   READ             extent u32 | off u32 | len u32 | min_seq u64
 *   DATA             extent u32 | off u32 | len u32 | seq u64 | SUMS
 *   FLUSH, FLUSH_OK  upto u64 | incarnation u64 | durable u64 | vgen u64
 *                    | store 16
 *   STAT             extent u32 | off u32 | sectors u32 | min_seq u64
 *   STAT_OK          rows u32 | payload sum u64
 *   NAK              err i32 | re u8 | wseq u64 | RID at | store 16 | CFG
 *   CFG              CFG
 *   FWD              RECORD | SUMS
 *   ACKC             upto u64 | alloc_limit u64 | full u8
 *   RESUME, _OK      RID applied | acked u64 | durable u64
 *   EQDATA           last u8 | RID upto | incarnation u64
 *                    | unless last: RECORD | SUMS
 *   SYNC_START       history 16 | RID at | incarnation u64 | suffix u8
 *                    | payload sum u64
 *   SYNC_AT, SYNC_DONE, SYNC_ACK   history 16 | RID at | incarnation u64
 *                    | suffix u8
 *   DIGEST_GET       first u32 | count u32 | RID at
 *   DIGEST           first u32 | count u32 | RID at | payload sum u64
 *   COPY_START, EXT_DONE   extent u32 | RID | alloc u8
 *   EXT_SUMS         extent u32 | RID | alloc u8 | SUMS (1024, no data)
 *   WANT             extent u32 | RID | alloc u8 | want u64[16]
 *   SYNC_EXT         RECORD (BASE) | SUMS
 *   SYNC_END         RECORD (BASE_END)
 *
 *   RID      epoch u64 | seq u64
 *   RECORD   RID id | RID prev | token u64 | wseq u64 | wstable u64 | op u8
 *            | flags u8 | extent u32 | gen u32 | off u32 | len u32
 *            | for BASE: keep u64[4]
 *   SUMS     n u16 | sum u64[n]; a sum of 0: that sector is not in the
 *            payload and reads as zeros. n is 0 when there is no payload to
 *            speak of (ZERO, TRIM, SKIP), else the sectors of the range
 *   CFG      n u16 | n bytes as in cfg.c; n = 0: none
 *   str8     length u8 | characters */
#include <string.h>

#include "lib/base/sum.h"
#include "lib/base/text.h"
#include "lib/wire/msg_priv.h"

static void io_u8(struct kt_io *io, uint8_t *v)
{
    if (io->w)
        kt_put_u8(&io->c, *v);
    else
        *v = kt_get_u8(&io->c);
}

static void io_u32(struct kt_io *io, uint32_t *v)
{
    if (io->w)
        kt_put_u32(&io->c, *v);
    else
        *v = kt_get_u32(&io->c);
}

static void io_i32(struct kt_io *io, int32_t *v)
{
    uint32_t u = (uint32_t)*v;
    io_u32(io, &u);
    if (!io->w)
        *v = (int32_t)u;
}

static void io_u64(struct kt_io *io, uint64_t *v)
{
    if (io->w)
        kt_put_u64(&io->c, *v);
    else
        *v = kt_get_u64(&io->c);
}

static void io_id(struct kt_io *io, struct kt_id *v)
{
    if (io->w)
        kt_put_id(&io->c, v);
    else
        kt_get_id(&io->c, v);
}

static void io_str(struct kt_io *io, char *s, size_t size)
{
    if (io->w)
        kt_put_str8(&io->c, s);
    else
        kt_get_str8(&io->c, s, size);
}

static void io_rid(struct kt_io *io, struct kt_rid *v)
{
    io_u64(io, &v->epoch);
    io_u64(io, &v->seq);
}

/* A value that our own code never sends: an error from the wire, a bug of
 * ours when writing. */
static void must(struct kt_io *io, bool good)
{
    if (io->w)
        assert(good);
    else if (!good)
        io->proto = true;
}

static void io_cfg(struct kt_io *io, struct kt_msg *m, bool required)
{
    uint8_t b[KT_CFG_BYTES_MAX];

    if (io->w) {
        must(io, m->cfg || !required);
        size_t n = m->cfg ? kt_cfg_encode(m->cfg, b) : 0;
        kt_put_u16(&io->c, (uint16_t)n);
        kt_put_bytes(&io->c, b, n);
        return;
    }
    size_t n = kt_get_u16(&io->c);
    must(io, n > 0 || !required);
    if (n == 0)
        return;
    const uint8_t *p = kt_cur_take(&io->c, n);
    if (p && kt_cfg_decode(p, n, io->cfg) == 0)
        m->cfg = io->cfg;
    else
        io->proto = true;
}

static void put_sums(struct kt_io *io, const struct kt_buf *b, uint32_t n,
                     bool with_data)
{
    uint32_t present = 0;

    assert(!b || b->n_sums == n);
    kt_put_u16(&io->c, (uint16_t)n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t sum = b ? b->sums[i] : 0;
        kt_put_u64(&io->c, sum);
        present += sum != 0;
    }
    if (with_data && b) {
        assert(b->data_len == present * KT_SECTOR_BYTES);
        io->plen = b->data_len;
    }
}

/* n: how many sums the fields before ask for. Without a buffer to read into,
 * all must be absent; then m->buf stays NULL. */
static void io_sums(struct kt_io *io, struct kt_msg *m, uint32_t n,
                    bool with_data)
{
    assert(n <= KT_EXTENT_SECTORS);
    if (io->w) {
        put_sums(io, n > 0 ? m->buf : NULL, n, with_data);
        return;
    }
    uint32_t present = 0;
    must(io, kt_get_u16(&io->c) == n);
    if (io->proto || io->c.bad || io->c.left != 8 * (size_t)n) {
        io->proto = true;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t sum = kt_get_u64(&io->c);
        present += sum != 0;
        if (io->buf)
            io->buf->sums[i] = sum;
    }
    must(io, !with_data || io->plen == present * KT_SECTOR_BYTES);
    must(io, io->buf || present == 0);
    if (n > 0 && io->buf) {
        io->buf->n_sums = n;
        m->buf = io->buf;
    }
}

static void io_opaque(struct kt_io *io, struct kt_msg *m, uint32_t len)
{
    if (io->w) {
        assert(m->buf ? m->buf->data_len == len : len == 0);
        kt_put_u64(&io->c, len ? kt_sum64(m->buf->data, len) : 0);
        io->plen = len;
        return;
    }
    io->opaque_sum = kt_get_u64(&io->c);
    must(io, io->plen == len && (len > 0 || io->opaque_sum == 0));
    if (io->plen > 0) {
        io->buf->n_sums = 0;
        m->buf = io->buf;
    }
}

/* How many sums travel with a record. */
static uint32_t record_sums(const struct kt_record *r)
{
    bool data = (r->op == KT_OP_WRITE && !(r->flags & KT_RF_SKIP)) ||
                r->op == KT_OP_BASE;
    return data ? r->len / KT_SECTOR_BYTES : 0;
}

/* False when the record cannot be; nothing more may be read then. */
static bool io_record(struct kt_io *io, struct kt_msg *m, struct kt_record *r)
{
    if (!io->w)
        r->chain = m->chain;
    io_rid(io, &r->id);
    io_rid(io, &r->prev);
    io_u64(io, &r->token);
    io_u64(io, &r->wseq);
    io_u64(io, &r->wstable);
    io_u8(io, &r->op);
    io_u8(io, &r->flags);
    io_u32(io, &r->extent);
    io_u32(io, &r->gen);
    io_u32(io, &r->off);
    io_u32(io, &r->len);
    for (size_t i = 0; r->op == KT_OP_BASE && i < KT_ARRAY_LEN(r->keep); i++)
        io_u64(io, &r->keep[i]);
    must(io, kt_record_invalid(r, KT_SEGMENT_EXTENTS_MAX) == NULL);
    return !io->proto;
}

static void f_hello(struct kt_io *io, struct kt_msg *m)
{
    io_u8(io, &m->u.hello.role);
    io_u8(io, &m->u.hello.cls);
    io_id(io, &m->u.hello.id);
    io_id(io, &m->u.hello.cluster);
    io_id(io, &m->u.hello.boot);
    io_id(io, &m->u.hello.store);
    io_u64(io, &m->u.hello.incarnation);
    io_str(io, m->u.hello.name, sizeof(m->u.hello.name));
    must(io, m->u.hello.role >= KT_ROLE_REPLICATOR &&
                 m->u.hello.role <= KT_ROLE_CLI);
    must(io, m->u.hello.cls <= KT_CLASS_CONTROL);
    must(io, m->u.hello.name[0] == '\0' || kt_name_valid(m->u.hello.name));
}

static void f_write(struct kt_io *io, struct kt_msg *m)
{
    io_u64(io, &m->u.write.token);
    io_u64(io, &m->u.write.wseq);
    io_u64(io, &m->u.write.wstable);
    io_u8(io, &m->u.write.op);
    io_u8(io, &m->u.write.flags);
    io_u32(io, &m->u.write.extent);
    io_u32(io, &m->u.write.off);
    io_u32(io, &m->u.write.len);
    struct kt_record r = {
        .op = m->u.write.op,
        .flags = m->u.write.flags,
        .extent = m->u.write.extent,
        .off = m->u.write.off,
        .len = m->u.write.len,
    };
    must(io, r.op < KT_OP_COPY_START && !(r.flags & KT_RF_SKIP));
    must(io, kt_record_invalid(&r, KT_SEGMENT_EXTENTS_MAX) == NULL);
    if (!io->proto)
        io_sums(io, m, record_sums(&r), true);
}

static void f_ack(struct kt_io *io, struct kt_msg *m)
{
    io_u64(io, &m->u.ack.token);
    io_u64(io, &m->u.ack.wseq);
    io_rid(io, &m->u.ack.id);
    io_u64(io, &m->u.ack.vgen);
    io_cfg(io, m, false);
}

static void f_read(struct kt_io *io, struct kt_msg *m)
{
    io_u32(io, &m->u.read.extent);
    io_u32(io, &m->u.read.off);
    io_u32(io, &m->u.read.len);
    io_u64(io, &m->u.read.min_seq);
}

static void f_data(struct kt_io *io, struct kt_msg *m)
{
    io_u32(io, &m->u.data.extent);
    io_u32(io, &m->u.data.off);
    io_u32(io, &m->u.data.len);
    io_u64(io, &m->u.data.seq);
    uint32_t len = m->u.data.len;
    must(io,
         len > 0 && len <= KT_RECORD_BYTES_MAX && len % KT_SECTOR_BYTES == 0);
    if (!io->proto)
        io_sums(io, m, len / KT_SECTOR_BYTES, true);
}

static void f_flush(struct kt_io *io, struct kt_msg *m)
{
    io_u64(io, &m->u.flush.upto);
    io_u64(io, &m->u.flush.incarnation);
    io_u64(io, &m->u.flush.durable);
    io_u64(io, &m->u.flush.vgen);
    io_id(io, &m->u.flush.store);
}

static void f_stat(struct kt_io *io, struct kt_msg *m)
{
    io_u32(io, &m->u.stat.extent);
    io_u32(io, &m->u.stat.off);
    io_u32(io, &m->u.stat.sectors);
    io_u64(io, &m->u.stat.min_seq);
}

static void f_stat_ok(struct kt_io *io, struct kt_msg *m)
{
    io_u32(io, &m->u.stat_ok.rows);
    must(io, m->u.stat_ok.rows <= KT_STAT_ROWS_MAX);
    if (!io->proto)
        io_opaque(io, m, m->u.stat_ok.rows * 4);
}

static void f_nak(struct kt_io *io, struct kt_msg *m)
{
    io_i32(io, &m->u.nak.err);
    io_u8(io, &m->u.nak.re);
    io_u64(io, &m->u.nak.wseq);
    io_rid(io, &m->u.nak.at);
    io_id(io, &m->u.nak.store);
    io_cfg(io, m, false);
}

static void f_fwd(struct kt_io *io, struct kt_msg *m)
{
    if (!io_record(io, m, &m->u.rec))
        return;
    must(io, m->u.rec.op < KT_OP_COPY_START);
    if (!io->proto)
        io_sums(io, m, record_sums(&m->u.rec), true);
}

static void f_ackc(struct kt_io *io, struct kt_msg *m)
{
    io_u64(io, &m->u.ackc.upto);
    io_u64(io, &m->u.ackc.alloc_limit);
    io_u8(io, &m->u.ackc.full);
}

static void f_resume(struct kt_io *io, struct kt_msg *m)
{
    io_rid(io, &m->u.resume.applied);
    io_u64(io, &m->u.resume.acked);
    io_u64(io, &m->u.resume.durable);
}

static void f_eqdata(struct kt_io *io, struct kt_msg *m)
{
    io_u8(io, &m->u.eqdata.last);
    io_rid(io, &m->u.eqdata.upto);
    io_u64(io, &m->u.eqdata.incarnation);
    must(io, m->u.eqdata.last <= 1);
    if (m->u.eqdata.last)
        must(io, io->plen == 0);
    else if (io_record(io, m, &m->u.eqdata.rec))
        io_sums(io, m, record_sums(&m->u.eqdata.rec), true);
}

static void f_sync(struct kt_io *io, struct kt_msg *m)
{
    io_id(io, &m->u.sync.history);
    io_rid(io, &m->u.sync.at);
    io_u64(io, &m->u.sync.incarnation);
    io_u8(io, &m->u.sync.suffix);
    if (m->type == KT_MSG_SYNC_START)
        io_opaque(io, m, KT_DEDUP_BYTES);
}

static void f_digest(struct kt_io *io, struct kt_msg *m)
{
    io_u32(io, &m->u.digest.first);
    io_u32(io, &m->u.digest.count);
    io_rid(io, &m->u.digest.at);
    if (m->type != KT_MSG_DIGEST)
        return;
    must(io, m->u.digest.count <= KT_DIGEST_ROWS_MAX);
    if (!io->proto)
        io_opaque(io, m, m->u.digest.count * KT_DIGEST_ROW_BYTES);
}

static void f_ext(struct kt_io *io, struct kt_msg *m)
{
    io_u32(io, &m->u.ext.extent);
    io_rid(io, &m->u.ext.id);
    io_u8(io, &m->u.ext.alloc);
    must(io, m->u.ext.extent < KT_SEGMENT_EXTENTS_MAX);
    if (m->type == KT_MSG_WANT) {
        for (size_t i = 0; i < KT_ARRAY_LEN(m->u.ext.want); i++)
            io_u64(io, &m->u.ext.want[i]);
    } else if (m->type == KT_MSG_EXT_SUMS) {
        must(io, io->w ? m->buf != NULL : io->buf != NULL);
        io_sums(io, m, KT_EXTENT_SECTORS, false);
    }
}

static void f_sync_record(struct kt_io *io, struct kt_msg *m)
{
    bool base = m->type == KT_MSG_SYNC_EXT;

    if (!io_record(io, m, &m->u.rec))
        return;
    must(io, m->u.rec.op == (base ? KT_OP_BASE : KT_OP_BASE_END));
    if (base && !io->proto)
        io_sums(io, m, record_sums(&m->u.rec), true);
}

/* Messages of the link, and between a client and a member. */
static void client_fields(struct kt_io *io, struct kt_msg *m)
{
    switch (m->type) {
    case KT_MSG_HELLO:
    case KT_MSG_HELLO_OK:
        f_hello(io, m);
        break;
    case KT_MSG_REFUSE:
        io_i32(io, &m->u.error.err);
        io_str(io, m->u.error.text, sizeof(m->u.error.text));
        break;
    case KT_MSG_WRITE:
        f_write(io, m);
        break;
    case KT_MSG_ACK:
        f_ack(io, m);
        break;
    case KT_MSG_READ:
        f_read(io, m);
        break;
    case KT_MSG_DATA:
        f_data(io, m);
        break;
    case KT_MSG_FLUSH:
    case KT_MSG_FLUSH_OK:
        f_flush(io, m);
        break;
    case KT_MSG_STAT:
        f_stat(io, m);
        break;
    case KT_MSG_STAT_OK:
        f_stat_ok(io, m);
        break;
    case KT_MSG_NAK:
        f_nak(io, m);
        break;
    case KT_MSG_CFG:
        io_cfg(io, m, true);
        break;
    default: /* PING, PONG, CFG_GET */
        break;
    }
}

/* Messages between members. */
static void member_fields(struct kt_io *io, struct kt_msg *m)
{
    switch (m->type) {
    case KT_MSG_FWD:
        f_fwd(io, m);
        break;
    case KT_MSG_ACKC:
        f_ackc(io, m);
        break;
    case KT_MSG_RESUME:
    case KT_MSG_RESUME_OK:
        f_resume(io, m);
        break;
    case KT_MSG_EQDATA:
        f_eqdata(io, m);
        break;
    case KT_MSG_SYNC_START:
    case KT_MSG_SYNC_AT:
    case KT_MSG_SYNC_DONE:
    case KT_MSG_SYNC_ACK:
        f_sync(io, m);
        break;
    case KT_MSG_DIGEST_GET:
    case KT_MSG_DIGEST:
        f_digest(io, m);
        break;
    case KT_MSG_COPY_START:
    case KT_MSG_EXT_SUMS:
    case KT_MSG_WANT:
    case KT_MSG_EXT_DONE:
        f_ext(io, m);
        break;
    default: /* SYNC_EXT, SYNC_END */
        f_sync_record(io, m);
        break;
    }
}

void kt_data_fields(struct kt_io *io, struct kt_msg *m)
{
    io_u64(io, &m->chain);
    io_u64(io, &m->epoch);
    if (m->type < KT_MSG_FWD)
        client_fields(io, m);
    else
        member_fields(io, m);
}
