/* SPDX-License-Identifier: BSD-3-Clause */
/* A read found a sector whose bytes do not match their sum: it is put right,
 * and read again, before the client is answered.
 *
 * 1. One sector at a time, and one such read; whoever comes meanwhile gets a
 *    NAK, and the client asks another member. Sector by sector, because other
 *    members may have damage of their own nearby.
 * 2. A connection of its own to another serving member, READ, DATA. It answers
 *    at our epoch or not at all; a NAK, silence for 0.3 s, another store
 *    at that address, or what does not fit: the next member.
 * 3. store_mend. The read is done anew: it ends, or finds the next sector.
 * 4. Nobody left to ask: NAK. It stays bad, is never handed out, and is tried
 *    again with the next read of it. */
#include "replicator/daemon/repl.h"

#include "lib/base/log.h"

#define MEND_MS 300u       /* for one member's answer */
#define MEND_READ_MS 1000u /* then the client has gone elsewhere */

static struct mend *mend_of(struct op_mend *p)
{
    return &p->o.rc->n->mend;
}

static void mend_hang_up(struct mend *d)
{
    if (!d->cn)
        return;
    d->cn->owner = NULL;
    kt_conn_close(d->cn->kc);
    d->cn = NULL;
}

/* good: the sector is right now, or a record or a batch came first. */
static void mend_end(struct mend *d, bool good)
{
    struct op_mend *p = d->op;
    struct op_read *read = d->read;
    struct repl *n = p->o.rc->n;
    mend_hang_up(d);
    d->op = NULL;
    d->read = NULL;
    kt_log(good ? KT_LOG_INFO : KT_LOG_WARN, good ? "mended" : "not_mended",
           "chain=%llu extent=%u off=%u", (unsigned long long)p->o.rc->c.id,
           p->r.extent, p->r.off);
    ops_free(&p->o);
    if (good) {
        store_read(n->store, &read->r);
    } else {
        d->refuse = true; /* not once more for the same read */
        read->o.deliver(&read->o);
        d->refuse = false;
    }
}

/* Each member twice: its nearest address, then by TCP, where that is another.
 */
static const struct kt_addr *mend_addr(struct mend *d, uint32_t turn)
{
    const struct rchain *rc = d->op->o.rc;
    const struct kt_member *m = &rc->c.cfg.members[turn / 2];
    const struct kt_addr *near = links_addr(rc->n, &m->node, false);
    const struct kt_addr *tcp = links_addr(rc->n, &m->node, true);
    if (m->state != KT_M_SERVING || kt_id_eq(&m->store, &rc->n->self.store))
        return NULL;
    return turn % 2 == 0 ? near : tcp != near ? tcp : NULL;
}

static void mend_next(struct mend *d)
{
    struct rchain *rc = d->op->o.rc;
    mend_hang_up(d);
    while (!rc->dropping && !rc->n->closing && rc->c.have_cfg && !d->cn &&
           d->turn < 2u * rc->c.cfg.n_members) {
        const struct kt_addr *a = mend_addr(d, d->turn);
        d->store = rc->c.cfg.members[d->turn / 2].store;
        d->turn++;
        if (a)
            d->cn = conns_open(rc->n, a, CONN_MEND, KT_CLASS_CONTROL, d);
    }
    if (!d->cn) {
        mend_end(d, false);
        return;
    }
    d->deadline_ms = repl_now(rc->n) + MEND_MS;
    repl_fine(rc->n);
}

bool mend_start(struct op_read *read)
{
    struct rchain *rc = read->o.rc;
    struct mend *d = &rc->n->mend;
    if (read->o.tag == 0)
        read->mend_ms = repl_now(rc->n);
    if (d->op || d->refuse || rc->n->closing || rc->dropping ||
        read->o.tag++ > KT_RECORD_SECTORS_MAX || /* it does not end */
        repl_now(rc->n) - read->mend_ms >= MEND_READ_MS)
        return false;
    struct op *o = ops_new(rc, POOL_MEND);
    d->op = kt_container_of(o, struct op_mend, o);
    d->read = read;
    d->op->r.extent = read->r.extent;
    d->op->r.off = read->r.ret_bad;
    d->op->r.len = KT_SECTOR_BYTES;
    d->turn = 0;
    mend_next(d);
    return true;
}

void mend_up(struct conn *cn)
{
    struct mend *d = cn->owner;
    if (!d)
        return;
    if (!kt_id_eq(&cn->peer, &d->store)) {
        mend_next(d);
        return;
    }
    const struct chain *c = &d->op->o.rc->c;
    struct kt_msg m = {
        .type = KT_MSG_READ, .req = 1, .chain = c->id, .epoch = c->cfg.epoch};
    m.u.read.extent = d->op->r.extent;
    m.u.read.off = d->op->r.off;
    m.u.read.len = d->op->r.len;
    conns_send(cn, &m);
}

static void mend_deliver(struct op *o)
{
    struct op_mend *p = kt_container_of(o, struct op_mend, o);
    struct mend *d = mend_of(p);
    kt_buf_unref(o->buf);
    o->buf = NULL;
    if (o->err < 0 || p->r.ret_left == 0)
        mend_end(d, o->err == 0);
    else
        mend_next(d);
}

static void mend_cb(struct store_op *so, int err)
{
    ops_finish(&kt_container_of(so, struct op_mend, r.op)->o, err);
}

void mend_msg(struct conn *cn, const struct kt_msg *m, int err)
{
    struct mend *d = cn->owner;
    if (!d)
        return;
    struct op_mend *p = d->op;
    if (m->type != KT_MSG_DATA || err || !m->buf || m->chain != p->o.rc->c.id ||
        m->u.data.extent != p->r.extent || m->u.data.off != p->r.off ||
        m->u.data.len != p->r.len) {
        mend_next(d);
        return;
    }
    mend_hang_up(d);
    p->o.deliver = mend_deliver;
    p->o.buf = kt_buf_ref(m->buf);
    p->r.op.done = mend_cb;
    p->r.chain = p->o.rc->sc;
    p->r.buf = p->o.buf;
    store_mend(p->o.rc->n->store, &p->r);
}

void mend_down(struct conn *was)
{
    struct mend *d = was->owner;
    if (!d)
        return;
    d->cn = NULL;
    mend_next(d);
}

bool mend_fine(struct repl *n)
{
    struct mend *d = &n->mend;
    if (d->cn && repl_now(n) >= d->deadline_ms)
        mend_next(d);
    return d->cn != NULL;
}

void mend_free(struct repl *n)
{
    struct mend *d = &n->mend;
    if (!d->op)
        return;
    ops_free(&d->op->o);
    ops_free(&d->read->o);
    d->op = NULL;
}
