/* SPDX-License-Identifier: BSD-3-Clause */
/* Outgoing links to other members: one for data and one for resync per store
 * that some chain wants.
 *
 * 1. A chain (or a push) wants a link: WAIT, and tried at once.
 * 2. OPENING until the handshake is done or failed.
 * 3. UP. When the store at the other end is the one wanted, its chains hear
 *    LINK_UP; otherwise the address is stale: closed after a second.
 * 4. Down for any reason: its chains hear LINK_DOWN, the hub a REPORT, and it
 *    is tried again after 20 ms, doubling to 1 s.
 * 5. Wanted by nobody for 5 s: closed. So is one whose PINGs are not answered
 *    for 10 s: it may be out of step (a length that was damaged), and then no
 *    record behind that place ever arrives. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"

#define BACKOFF_MIN_MS 20u
#define BACKOFF_MAX_MS 1000u
#define IDLE_MS 5000u
#define SILENT_MS 3000u
#define REPORT_MS 1000u
#define DEAF_MS 10000u

const struct kt_addr *links_addr(const struct repl *n,
                                 const struct kt_node *node, bool tcp)
{
    bool near = kt_id_eq(&node->boot, &n->self.boot) &&
                node->unix_.kind != KT_ADDR_NONE;
    if (near && !(tcp && node->tcp.kind != KT_ADDR_NONE))
        return &node->unix_;
    return node->tcp.kind != KT_ADDR_NONE ? &node->tcp : NULL;
}

static void link_init(struct link *l, struct peer *p, uint8_t cls)
{
    l->p = p;
    l->cls = cls;
    l->backoff_ms = BACKOFF_MIN_MS;
}

struct peer *links_peer(struct repl *n, const struct kt_id *store,
                        const struct kt_node *node)
{
    struct peer *p = n->peers;
    while (p && !kt_id_eq(&p->store, store))
        p = p->next;
    if (!p) {
        p = repl_alloc(sizeof(*p));
        p->n = n;
        p->store = *store;
        link_init(&p->data, p, KT_CLASS_DATA);
        link_init(&p->sync, p, KT_CLASS_SYNC);
        p->next = n->peers;
        n->peers = p;
    }
    p->node = *node;
    return p;
}

void links_want(struct link *l)
{
    struct repl *n = l->p->n;
    l->wants++;
    if (l->state == LINK_IDLE || l->state == LINK_WAIT) {
        l->state = LINK_WAIT;
        l->backoff_ms = BACKOFF_MIN_MS;
        l->next_ms = repl_now(n);
        repl_fine(n);
    }
}

void links_unwant(struct link *l)
{
    assert(l->wants > 0);
    if (--l->wants > 0)
        return;
    l->idle_ms = repl_now(l->p->n);
    if (l->state == LINK_WAIT)
        l->state = LINK_IDLE;
}

static bool is_usable(const struct link *l)
{
    return l->state == LINK_UP && l->matched;
}

static void recount(struct rchain *rc, struct peer **slot, uint8_t cls,
                    const struct kt_member *m)
{
    struct peer *old = *slot, *p = NULL;
    if (m) {
        p = links_peer(rc->n, &m->store, &m->node);
        links_want(cls == KT_CLASS_DATA ? &p->data : &p->sync);
    }
    if (old)
        links_unwant(cls == KT_CLASS_DATA ? &old->data : &old->sync);
    *slot = p;
}

void links_recount(struct rchain *rc)
{
    recount(rc, &rc->succ, KT_CLASS_DATA, chain_wants_succ(&rc->c));
    recount(rc, &rc->dst, KT_CLASS_SYNC, chain_wants_dst(&rc->c));
    rc->up_data = rc->succ && is_usable(&rc->succ->data);
    rc->up_sync = rc->dst && is_usable(&rc->dst->sync);
}

void links_forget(struct rchain *rc)
{
    recount(rc, &rc->succ, KT_CLASS_DATA, NULL);
    recount(rc, &rc->dst, KT_CLASS_SYNC, NULL);
}

bool links_send(struct peer *p, uint8_t cls, const struct kt_msg *m)
{
    if (!p)
        return false;
    struct link *l = cls == KT_CLASS_DATA ? &p->data : &p->sync;
    if (!is_usable(l))
        return false;
    conns_send(l->cn, m);
    return true;
}

/* ---- up and down ---- */

static void link_failed(struct link *l, int err)
{
    struct peer *p = l->p;
    struct repl *n = p->n;
    uint64_t now = repl_now(n);
    l->cn = NULL;
    l->matched = false;
    l->state = l->wants ? LINK_WAIT : LINK_IDLE;
    l->next_ms = now + l->backoff_ms;
    l->backoff_ms *= 2;
    if (l->backoff_ms > BACKOFF_MAX_MS)
        l->backoff_ms = BACKOFF_MAX_MS;
    l->use_tcp = !l->use_tcp;
    if (!l->wants)
        return;
    repl_fine(n);
    if (err != 0 && now - p->report_ms >= REPORT_MS) {
        p->report_ms = now;
        hub_report(n, &p->node, err);
    }
}

void links_up(struct link *l)
{
    struct peer *p = l->p;
    struct repl *n = p->n;
    l->state = LINK_UP;
    l->matched =
        l->cn->role == KT_ROLE_REPLICATOR && kt_id_eq(&l->cn->peer, &p->store);
    if (!l->matched) {
        kt_log(KT_LOG_WARN, "peer_is_another",
               "peer=%s class=%u reason=\"another store answers at its "
               "address\"",
               p->node.name, l->cls);
        l->next_ms = repl_now(n) + BACKOFF_MAX_MS;
        return;
    }
    l->backoff_ms = BACKOFF_MIN_MS;
    kt_log(KT_LOG_INFO, "peer_up", "peer=%s class=%s", p->node.name,
           l->cls == KT_CLASS_DATA ? "data" : "sync");
    chains_link(n, l, true);
    if (l->cls == KT_CLASS_DATA)
        push_link(p, true);
}

void links_down(struct link *l, int err, const char *text)
{
    struct peer *p = l->p;
    struct repl *n = p->n;
    bool was = is_usable(l);
    link_failed(l, err);
    if (!was) {
        kt_log(KT_LOG_DEBUG, "peer_unreachable",
               "peer=%s class=%s err=\"%s\" text=\"%s\"", p->node.name,
               l->cls == KT_CLASS_DATA ? "data" : "sync", kt_strerror(err),
               text);
        return;
    }
    kt_log(err ? KT_LOG_WARN : KT_LOG_INFO, "peer_lost",
           "peer=%s class=%s err=\"%s\"", p->node.name,
           l->cls == KT_CLASS_DATA ? "data" : "sync",
           err ? kt_strerror(err) : "closed here");
    chains_link(n, l, false);
    if (l->cls == KT_CLASS_DATA)
        push_link(p, false);
}

/* ---- time ---- */

static bool link_fine(struct link *l)
{
    struct repl *n = l->p->n;
    if (l->state != LINK_WAIT)
        return false;
    if (repl_now(n) < l->next_ms)
        return l->next_ms - repl_now(n) < REPL_TICK_MS; /* else the tick's */
    const struct kt_addr *a = links_addr(n, &l->p->node, l->use_tcp);
    if (a)
        l->cn = conns_open(n, a, CONN_LINK, l->cls, l);
    if (!l->cn) {
        link_failed(l, 0);
        return true;
    }
    l->state = LINK_OPENING;
    return false;
}

bool links_fine(struct repl *n)
{
    bool again = false;
    for (struct peer *p = n->peers; p; p = p->next) {
        again = link_fine(&p->data) || again;
        again = link_fine(&p->sync) || again;
    }
    return again;
}

static void link_second(struct link *l)
{
    struct peer *p = l->p;
    struct repl *n = p->n;
    uint64_t now = repl_now(n);
    if (l->state != LINK_UP)
        return;
    bool idle = l->wants == 0 && now - l->idle_ms >= IDLE_MS;
    bool stale = !l->matched && now >= l->next_ms;
    uint64_t silent = now - l->cn->rx_ms;
    if (silent >= DEAF_MS)
        kt_log(KT_LOG_WARN, "peer_silent", "peer=%s for_ms=%llu", p->node.name,
               (unsigned long long)silent);
    if (idle || stale || silent >= DEAF_MS) {
        kt_conn_close(l->cn->kc);
        return;
    }
    struct kt_msg ping = {.type = KT_MSG_PING};
    conns_send(l->cn, &ping);
    if (l->wants && silent >= SILENT_MS && now - p->report_ms >= REPORT_MS) {
        p->report_ms = now;
        hub_report(n, &p->node, -ETIMEDOUT);
    }
}

void links_second(struct repl *n)
{
    for (struct peer *p = n->peers; p; p = p->next) {
        link_second(&p->data);
        link_second(&p->sync);
    }
}

void links_free_all(struct repl *n)
{
    while (n->peers) {
        struct peer *p = n->peers;
        n->peers = p->next;
        free(p);
    }
}
