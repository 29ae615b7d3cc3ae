/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections of both directions: a table of handles for the core, who may
 * say what, and holding back those who send or ask too much. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <string.h>

#include "lib/base/log.h"

static struct conn *slot_take(struct repl *n)
{
    for (uint32_t i = 0; i < REPL_CONNS_MAX; i++) {
        struct conn *cn = &n->conns[i];
        if (cn->kind != CONN_FREE)
            continue;
        memset(cn, 0, sizeof(*cn));
        cn->handle = (++n->conn_count << 16) | i;
        cn->rx_ms = repl_now(n);
        if (n->conns_top <= i)
            n->conns_top = i + 1;
        return cn;
    }
    return NULL;
}

struct conn *conns_find(struct repl *n, uint64_t handle)
{
    uint32_t i = (uint32_t)(handle & 0xffff);
    if (i >= REPL_CONNS_MAX)
        return NULL;
    struct conn *cn = &n->conns[i];
    if (cn->kind == CONN_FREE || cn->handle != handle || !cn->kc)
        return NULL;
    return kt_conn_is_up(cn->kc) ? cn : NULL;
}

struct conn *conns_open(struct repl *n, const struct kt_addr *a, uint8_t kind,
                        uint8_t cls, void *owner)
{
    struct conn *cn = slot_take(n);
    if (!cn)
        return NULL;
    cn->kind = kind;
    cn->cls = cls;
    cn->owner = owner;
    cn->kc = kt_conn_open(n->net, a, cls, cn);
    if (!cn->kc) {
        cn->kind = CONN_FREE;
        return NULL;
    }
    return cn;
}

static bool is_client(const struct conn *cn)
{
    return cn->kind == CONN_ACCEPTED &&
           (cn->role == KT_ROLE_CLIENT || cn->role == KT_ROLE_CLI);
}

/* ---- flow control ---- */

static void flow_one(struct repl *n, struct conn *cn)
{
    uint64_t owed = kt_conn_queued(cn->kc) + cn->reading;
    bool stop = cn->doomed;
    if (is_client(cn)) {
        uint64_t limit = cn->paused ? REPL_QUEUE_LOW : REPL_QUEUE_MAX;
        if (n->owed + n->reading >
            REPL_HELD_MAX) /* many do not read what they asked */
            limit = KT_RECORD_BYTES_MAX;
        stop = stop || n->full || owed > limit;
    }
    if (stop != cn->paused) {
        cn->paused = stop;
        kt_conn_pause(cn->kc, stop);
    }
    if (cn->paused)
        repl_fine(n);
}

static void flow_all(struct repl *n)
{
    for (uint32_t i = 0; i < n->conns_top; i++) {
        struct conn *cn = &n->conns[i];
        if (cn->kind == CONN_ACCEPTED)
            flow_one(n, cn);
    }
}

void conns_flow(struct repl *n)
{
    bool full = n->held > (n->full ? REPL_HELD_LOW : REPL_HELD_MAX);
    if (full == n->full)
        return;
    n->full = full;
    kt_log(KT_LOG_DEBUG, full ? "clients_paused" : "clients_resumed",
           "held_bytes=%llu", (unsigned long long)n->held);
    flow_all(n);
}

void conns_fine(struct repl *n)
{
    for (uint32_t i = 0; i < n->conns_top; i++) {
        struct conn *cn = &n->conns[i];
        if (cn->kind == CONN_ACCEPTED && cn->paused)
            flow_one(n, cn);
    }
}

void conns_tick(struct repl *n)
{
    n->owed = 0;
    for (uint32_t i = 0; i < n->conns_top; i++) {
        struct conn *cn = &n->conns[i];
        if (cn->kind == CONN_FREE)
            continue;
        if (cn->doomed)
            kt_conn_close(cn->kc);
        else if (is_client(cn))
            n->owed += kt_conn_queued(cn->kc);
    }
    if (n->owed + n->reading > REPL_HELD_MAX)
        flow_all(n);
}

/* ---- sending ---- */

void conns_send(struct conn *cn, const struct kt_msg *m)
{
    if (!cn->doomed)
        kt_conn_send(cn->kc, m);
}

void conns_nak(struct conn *cn, const struct kt_msg *re, int err)
{
    struct kt_msg m = {.type = KT_MSG_NAK,
                       .req = re->req,
                       .chain = re->chain,
                       .epoch = re->epoch};
    m.u.nak.err = err;
    m.u.nak.re = re->type;
    if (re->type == KT_MSG_WRITE)
        m.u.nak.wseq = re->u.write.wseq;
    else if (re->type == KT_MSG_FLUSH)
        m.u.nak.store = re->u.flush.store;
    conns_send(cn, &m);
}

void conns_tell_writer(struct repl *n, const struct kt_cfg *cfg)
{
    if (kt_id_is_zero(&cfg->client))
        return;
    struct kt_msg m = {.type = KT_MSG_CFG,
                       .chain = cfg->chain,
                       .epoch = cfg->epoch,
                       .cfg = cfg};
    for (uint32_t i = 0; i < n->conns_top; i++) {
        struct conn *cn = &n->conns[i];
        if (cn->kind == CONN_ACCEPTED && cn->role == KT_ROLE_CLIENT &&
            kt_id_eq(&cn->peer, &cfg->client))
            conns_send(cn, &m);
    }
}

/* ---- who may say what ---- */

static bool may_client(uint8_t role, uint8_t type)
{
    switch (type) {
    case KT_MSG_WRITE:
    case KT_MSG_FLUSH:
        return role == KT_ROLE_CLIENT;
    case KT_MSG_READ:
    case KT_MSG_STAT:
    case KT_MSG_CFG_GET:
    case KT_MSG_DIGEST_GET:
        return true;
    case KT_MSG_ADMIN:
        return role == KT_ROLE_CLI;
    default:
        return false;
    }
}

static bool may_replicator(uint8_t cls, uint8_t type)
{
    switch (type) {
    case KT_MSG_NAK:
    case KT_MSG_CFG_GET:
    case KT_MSG_FWD:
        return cls != KT_CLASS_CONTROL;
    case KT_MSG_READ: /* to put its own copy right (mend.c) */
        return cls == KT_CLASS_CONTROL;
    case KT_MSG_RESUME:
    case KT_MSG_FLUSH:
    case KT_MSG_FLUSH_OK:
    case KT_MSG_EQDATA:
        return cls == KT_CLASS_DATA;
    case KT_MSG_SYNC_START:
    case KT_MSG_DIGEST_GET:
    case KT_MSG_COPY_START:
    case KT_MSG_EXT_SUMS:
    case KT_MSG_SYNC_EXT:
    case KT_MSG_SYNC_END:
    case KT_MSG_SYNC_DONE:
        return cls == KT_CLASS_SYNC;
    default:
        return false;
    }
}

/* What the other end of our own link answers. */
static bool may_link(uint8_t cls, uint8_t type)
{
    switch (type) {
    case KT_MSG_ACKC:
    case KT_MSG_NAK:
    case KT_MSG_CFG:
        return true;
    case KT_MSG_RESUME_OK:
    case KT_MSG_FLUSH:
    case KT_MSG_FLUSH_OK:
        return cls == KT_CLASS_DATA;
    case KT_MSG_SYNC_AT:
    case KT_MSG_DIGEST:
    case KT_MSG_WANT:
    case KT_MSG_EXT_DONE:
    case KT_MSG_SYNC_ACK:
        return cls == KT_CLASS_SYNC;
    default:
        return false;
    }
}

static bool may(const struct conn *cn, uint8_t type)
{
    if (cn->kind == CONN_LINK)
        return may_link(cn->cls, type);
    if (cn->kind != CONN_ACCEPTED)
        return false;
    switch (cn->role) {
    case KT_ROLE_CLIENT:
    case KT_ROLE_CLI:
        return may_client(cn->role, type);
    case KT_ROLE_REPLICATOR:
        return may_replicator(cn->cls, type);
    default:
        return false;
    }
}

/* ---- from the transport ---- */

static const char *who(const struct conn *cn)
{
    const struct kt_msg *p = kt_conn_peer(cn->kc);
    return p && p->u.hello.name[0] ? p->u.hello.name : "?";
}

/* Refuses what was said and closes once the NAK had time to leave. */
static void offend(struct repl *n, struct conn *cn, const struct kt_msg *m,
                   int err)
{
    kt_log(KT_LOG_WARN, "peer_offends",
           "peer=%s role=%u msg=%s chain=%llu err=\"%s\"", who(cn), cn->role,
           kt_msg_name(m->type), (unsigned long long)m->chain,
           kt_strerror(err));
    conns_nak(cn, m, err);
    cn->doomed = true;
    if (cn->kind == CONN_ACCEPTED)
        flow_one(n, cn);
}

static int accept_peer(struct repl *n, struct kt_conn *kc,
                       const struct kt_msg *peer)
{
    uint8_t role = peer->u.hello.role, cls = peer->u.hello.cls;
    if (role < KT_ROLE_REPLICATOR || role > KT_ROLE_CLI)
        return KT_E_PROTO;
    if (cls < KT_CLASS_DATA || cls > KT_CLASS_CONTROL)
        return KT_E_PROTO;
    const struct kt_id *cluster = &peer->u.hello.cluster;
    if (!kt_id_is_zero(cluster) && !kt_id_is_zero(&n->self.cluster) &&
        !kt_id_eq(cluster, &n->self.cluster)) {
        kt_log(KT_LOG_WARN, "peer_refused",
               "peer=%s reason=\"it belongs to another cluster\"",
               peer->u.hello.name);
        return KT_E_REFUSED;
    }
    struct conn *cn = n->closing ? NULL : slot_take(n);
    if (!cn)
        return KT_E_LIMIT;
    cn->kind = CONN_ACCEPTED;
    cn->kc = kc;
    cn->role = role;
    cn->cls = cls;
    cn->peer =
        role == KT_ROLE_REPLICATOR ? peer->u.hello.store : peer->u.hello.id;
    kt_conn_set_data(kc, cn);
    kt_log(KT_LOG_DEBUG, "peer_connected", "peer=%s role=%u class=%u",
           peer->u.hello.name, role, cls);
    if (n->full)
        flow_one(n, cn);
    return 0;
}

static int conns_up(void *arg, struct kt_conn *kc, const struct kt_msg *peer)
{
    struct repl *n = arg;
    struct conn *cn = kt_conn_data(kc);
    if (!cn)
        return accept_peer(n, kc, peer);
    cn->rx_ms = repl_now(n);
    cn->role = peer->u.hello.role;
    cn->peer =
        cn->role == KT_ROLE_REPLICATOR ? peer->u.hello.store : peer->u.hello.id;
    switch (cn->kind) {
    case CONN_HUB:
        hub_up(n, peer);
        break;
    case CONN_LINK:
        links_up(cn->owner);
        break;
    case CONN_PROBE:
        probe_up(cn, peer);
        break;
    case CONN_MEND:
        mend_up(cn);
        break;
    default:
        break;
    }
    return 0;
}

static void answer_cfg(struct conn *cn, struct rchain *rc,
                       const struct kt_msg *m)
{
    if (!rc->c.have_cfg) {
        conns_nak(cn, m, KT_E_NOT_SERVING);
        return;
    }
    struct kt_msg a = {.type = KT_MSG_CFG,
                       .req = m->req,
                       .chain = m->chain,
                       .epoch = rc->c.cfg.epoch,
                       .cfg = &rc->c.cfg};
    conns_send(cn, &a);
}

/* What was read from the socket before it was paused can ask for much more
 * memory than is left. When others hold all of it, one record each remains. */
static bool too_much(const struct repl *n, const struct conn *cn)
{
    if (cn->paused)
        return true;
    return n->owed + n->reading > REPL_HELD_MAX &&
           kt_conn_queued(cn->kc) + cn->reading > KT_RECORD_BYTES_MAX;
}

static void to_chain(struct repl *n, struct conn *cn, const struct kt_msg *m)
{
    struct rchain *rc = chains_find(n, m->chain);
    if (!rc || rc->dropping) {
        if (cn->kind == CONN_ACCEPTED && m->type != KT_MSG_NAK)
            conns_nak(cn, m, KT_E_UNKNOWN_CHAIN);
        return;
    }
    if (m->type == KT_MSG_CFG_GET) {
        answer_cfg(cn, rc, m);
        return;
    }
    if (m->type == KT_MSG_READ && too_much(n, cn)) {
        conns_nak(cn, m, KT_E_BUSY);
        return;
    }
    cn->touched = true;
    chains_msg(rc, cn, m);
    if (is_client(cn) && m->type != KT_MSG_WRITE)
        flow_one(n, cn);
}

static void conns_msg(void *arg, struct kt_conn *kc, struct kt_msg *m, int err)
{
    struct repl *n = arg;
    struct conn *cn = kt_conn_data(kc);
    assert(!n->stepping);
    if (!cn || cn->doomed || n->closing)
        return;
    cn->rx_ms = repl_now(n);
    if (m->type == KT_MSG_PING) {
        struct kt_msg pong = {.type = KT_MSG_PONG, .req = m->req};
        conns_send(cn, &pong);
        return;
    }
    if (m->type == KT_MSG_PONG) {
        if (cn->kind == CONN_PROBE)
            probe_pong(cn);
        return;
    }
    if (cn->kind == CONN_HUB) {
        hub_msg(n, cn, m);
        return;
    }
    if (cn->kind == CONN_MEND) {
        mend_msg(cn, m, err);
        return;
    }
    if (!may(cn, m->type)) {
        offend(n, cn, m, KT_E_PROTO);
        return;
    }
    if (m->type == KT_MSG_ADMIN) {
        admin_request(n, cn, m);
        return;
    }
    if (err == KT_E_BADSUM && m->type == KT_MSG_WRITE) {
        conns_nak(cn, m, err);
        return;
    }
    if (err != 0) { /* RESUME will bring it again */
        kt_log(KT_LOG_WARN, "bad_payload",
               "peer=%s msg=%s chain=%llu err=\"%s\"", who(cn),
               kt_msg_name(m->type), (unsigned long long)m->chain,
               kt_strerror(err));
        kt_conn_close(kc);
        return;
    }
    to_chain(n, cn, m);
}

static void conns_down(void *arg, struct kt_conn *kc, int err, const char *text)
{
    struct repl *n = arg;
    struct conn *cn = kt_conn_data(kc);
    assert(!n->stepping);
    if (!cn)
        return;
    struct conn was = *cn;
    cn->kind = CONN_FREE;
    cn->kc = NULL;
    while (n->conns_top > 0 && n->conns[n->conns_top - 1].kind == CONN_FREE)
        n->conns_top--;
    if (n->closing)
        return;
    /* The owner first: a chain that hears of it may at once want to send. */
    switch (was.kind) {
    case CONN_HUB:
        hub_down(n, err, text);
        break;
    case CONN_LINK:
        links_down(was.owner, err, text);
        break;
    case CONN_PROBE:
        probe_down(&was, err);
        break;
    case CONN_MEND:
        mend_down(&was);
        break;
    default:
        kt_log(KT_LOG_DEBUG, "peer_gone", "role=%u err=\"%s\"", was.role,
               kt_strerror(err));
        break;
    }
    if (was.touched)
        chains_conn_gone(n, was.handle);
}

const struct kt_net_ops conns_ops = {
    .up = conns_up,
    .msg = conns_msg,
    .down = conns_down,
};
