/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is alive (A5).
 *
 * UNKNOWN  since the hub started; after one heartbeat time-out it is probed.
 * UP       registered, and heard of in the last 3 s.
 * SUSPECT  silent for 3 s: the hub asks it (PING on its connection, else a
 *          probe), and asks one neighbour to ask it. Both must fail within
 *          1 s; while one of them reaches it, it stays suspect.
 * DEAD     unconfirmed (silence), or confirmed: a connection to it was refused
 *          or reset, so no process of it runs. */
#include <errno.h>

#include "hub/control/internal.h"

#define SAYS_NOTHING 1 /* no answer yet */

static bool refusal(int err)
{
    return err == -ECONNREFUSED || err == -ECONNRESET || err == -ENOENT;
}

static void probe(struct hub *h, struct hub_node *n)
{
    if (n->probing)
        return;
    n->probing = true;
    n->probed_ms = h->now_ms;
    hub_act(h, HUB_ACT_PROBE)->node = hub_node_index(h, n);
}

void hub_node_up(struct hub *h, struct hub_node *n)
{
    n->heard_ms = h->now_ms;
    n->confirmed = false;
    if (n->state == HUB_NODE_UP)
        return;
    hub_node_move(n, HUB_NODE_UP);
    struct hub_action *a = hub_note(h, HUB_N_NODE_UP);
    a->node = hub_node_index(h, n);
    a->a = n->row.incarnation;
    hub_chains_wake_node(h, n);
}

static void dead(struct hub *h, struct hub_node *n, bool confirmed)
{
    if (n->state == HUB_NODE_DEAD && n->confirmed >= confirmed)
        return;
    hub_node_move(n, HUB_NODE_DEAD);
    n->confirmed = confirmed;
    struct hub_action *a = hub_note(h, HUB_N_NODE_DEAD);
    a->node = hub_node_index(h, n);
    a->a = confirmed;
    hub_chains_wake_node(h, n);
}

/* Another node that is well, the next one round; or NULL. */
static struct hub_node *neighbour(struct hub *h, const struct hub_node *n)
{
    uint32_t at = hub_node_index(h, n);

    for (uint32_t i = 1; i < h->nodes_max; i++) {
        struct hub_node *o = &h->nodes[(at + i) % h->nodes_max];
        if (hub_node_live(o))
            return o;
    }
    return NULL;
}

static void suspect(struct hub *h, struct hub_node *n)
{
    struct hub_node *o = neighbour(h, n);

    if (n->state != HUB_NODE_SUSPECT)
        hub_note(h, HUB_N_NODE_SUSPECT)->node = hub_node_index(h, n);
    hub_node_move(n, HUB_NODE_SUSPECT);
    n->suspect_ms = h->now_ms;
    n->hub_says = n->peer_says = SAYS_NOTHING;
    if (n->conn)
        hub_send(h, n->conn, KT_MSG_PING);
    else
        probe(h, n);
    if (!o)
        return;
    struct kt_msg *m = hub_send(h, o->conn, KT_MSG_PROBE);
    m->u.report.node = n->row.node;
}

/* A round of asking ends: dead, or another round. */
static void judge(struct hub *h, struct hub_node *n)
{
    bool over = h->now_ms - n->suspect_ms >= HUB_PING_MS;
    bool hub_fails = n->hub_says < 0 || (over && n->hub_says != 0);
    bool peer_fails = n->peer_says < 0 || (over && n->peer_says != 0);

    if (hub_fails && peer_fails)
        dead(h, n, false);
    else if (over)
        suspect(h, n);
}

static void node_tick(struct hub *h, struct hub_node *n)
{
    uint64_t silent = h->now_ms - n->heard_ms;

    switch (n->state) {
    case HUB_NODE_UNKNOWN:
        if (h->now_ms - h->start_ms >= HUB_HB_TIMEOUT_MS &&
            (!n->probed_ms || h->now_ms - n->probed_ms >= HUB_HB_TIMEOUT_MS))
            probe(h, n);
        break;
    case HUB_NODE_UP:
        if (silent >= HUB_HB_TIMEOUT_MS)
            suspect(h, n);
        break;
    case HUB_NODE_SUSPECT:
        judge(h, n);
        break;
    case HUB_NODE_DEAD:
        if (!n->confirmed && !n->conn &&
            h->now_ms - n->probed_ms >= HUB_STALL_MS)
            probe(h, n);
        break;
    default:
        break;
    }
    if (n->leaving && !n->leave_said && n->conn &&
        (h->now_ms - n->leave_ms >= HUB_CREATE_MS || !hub_node_leaves(h, n))) {
        n->leave_said = true;
        hub_send(h, n->conn, KT_MSG_LEAVE_OK)->req = n->leave_req;
    } else if (n->leaving && n->state == HUB_NODE_UP &&
               h->now_ms - n->leave_ms >= HUB_LAST_MS) {
        n->leaving = n->leave_said = false; /* it stayed after all */
        hub_chains_wake_node(h, n);
    }
}

void hub_nodes_tick(struct hub *h)
{
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        if (h->nodes[i].state != HUB_NODE_FREE && hub_room(h) > HUB_CHAIN_ROOM)
            node_tick(h, &h->nodes[i]);
    }
}

/* What registers under its name is an older state of it: as we knew it, it is
 * gone, though a process of it answers every probe. */
void hub_node_reverted(struct hub *h, struct hub_node *n)
{
    if (!n->conn)
        dead(h, n, true);
}

void hub_node_conn_down(struct hub *h, uint64_t conn)
{
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        struct hub_node *n = &h->nodes[i];
        if (n->reg_conn == conn)
            n->reg_conn = 0;
        if (n->conn != conn)
            continue;
        n->conn = 0;
        if (n->state != HUB_NODE_DEAD || !n->confirmed)
            probe(h, n);
        hub_chains_wake_node(h, n);
    }
}

void hub_node_probed(struct hub *h, uint32_t node, int err)
{
    if (node >= h->nodes_max || !h->nodes[node].probing)
        return;
    struct hub_node *n = &h->nodes[node];
    n->probing = false;
    /* Heard of since: the refusal came from before it was started. */
    if (n->conn && n->heard_ms >= n->probed_ms)
        return;
    if (refusal(err)) {
        if (n->conn)
            hub_close(h, n->conn);
        n->conn = 0;
        dead(h, n, true);
        return;
    }
    if (n->state == HUB_NODE_SUSPECT)
        n->hub_says = err > 0 ? -EIO : err;
    else if (n->state == HUB_NODE_UNKNOWN && err != 0)
        dead(h, n, false);
}

static void note_cut(struct hub *h, struct hub_node *from, uint32_t to,
                     bool slow)
{
    uint64_t *since = &from->cut[to].since_ms, *last = &from->cut[to].last_ms;

    if (slow) {
        since = &from->slow[to].since_ms;
        last = &from->slow[to].last_ms;
    }
    if (*last == 0 || h->now_ms - *last > HUB_CUT_MS)
        *since = h->now_ms;
    *last = h->now_ms;
    if (h->now_ms - *since >= HUB_CUT_MS)
        hub_chains_wake_node(h, from);
}

static bool says_cut(const struct hub *h, const struct hub_node *from,
                     const struct hub_node *to)
{
    uint32_t i = hub_node_index(h, to);
    uint64_t since = from->cut[i].since_ms, last = from->cut[i].last_ms;

    return last && h->now_ms - last <= HUB_CUT_MS &&
           h->now_ms - since >= HUB_CUT_MS;
}

bool hub_nodes_cut(const struct hub *h, const struct hub_node *a,
                   const struct hub_node *b)
{
    return says_cut(h, a, b) || says_cut(h, b, a);
}

bool hub_node_slow(const struct hub *h, const struct hub_node *from,
                   const struct hub_node *to)
{
    uint32_t i = hub_node_index(h, to);
    uint64_t since = from->slow[i].since_ms, last = from->slow[i].last_ms;

    return h->now_ms - last <= HUB_CUT_MS && last - since >= HUB_SLOW_MS;
}

/* A peer is slow, or cannot be reached. When refused, one probe of our own
 * confirms its death; else the link between the two may be cut. */
static void report(struct hub *h, struct hub_node *from, const struct kt_msg *m)
{
    struct hub_node *n = hub_node_of(h, &m->u.report.node.id);

    if (!n || n == from || m->u.report.err > 0 ||
        (m->u.report.err == 0 && m->u.report.slow_ms == 0))
        return;
    if (hub_node_live(n))
        note_cut(h, from, hub_node_index(h, n), m->u.report.err == 0);
    if (refusal(m->u.report.err) &&
        !(n->state == HUB_NODE_DEAD && n->confirmed))
        probe(h, n);
}

static void heartbeat(struct hub *h, struct hub_node *n, const struct kt_msg *m)
{
    bool sick = n->store_err || n->disk_stall_ms >= HUB_STALL_MS;
    uint64_t was_free = hub_node_free(n);

    n->size = m->u.hb.size;
    n->used = m->u.hb.used;
    n->store_err = m->u.hb.store_err;
    n->disk_stall_ms = m->u.hb.disk_stall_ms;
    if (sick != (n->store_err || n->disk_stall_ms >= HUB_STALL_MS))
        hub_chains_wake_node(h, n);
    if (hub_node_free(n) > was_free)
        hub_chains_freed(h, n);
    hub_send(h, n->conn, KT_MSG_HB_OK)->req = m->req;
}

static void probe_ok(struct hub *h, struct hub_node *n, const struct kt_msg *m)
{
    struct hub_node *o = hub_node_of(h, &m->u.report.node.id);

    (void)n;
    if (o && o->state == HUB_NODE_SUSPECT)
        o->peer_says = m->u.report.err > 0 ? -EIO : m->u.report.err;
}

static void leave(struct hub *h, struct hub_node *n, const struct kt_msg *m)
{
    n->leaving = true;
    n->leave_said = false;
    n->leave_req = m->req;
    n->leave_ms = h->now_ms;
    hub_chains_wake_node(h, n);
}

typedef void node_handler(struct hub *, struct hub_node *,
                          const struct kt_msg *);

/* About the node itself; the rest is about a chain. */
static node_handler *const about_node[KT_MSG_TYPE_END] = {
    [KT_MSG_HB] = heartbeat,
    [KT_MSG_REPORT] = report,
    [KT_MSG_PROBE_OK] = probe_ok,
    [KT_MSG_LEAVE] = leave,
};

void hub_node_msg(struct hub *h, struct hub_node *n, const struct kt_msg *m)
{
    hub_node_up(h, n); /* being heard is the point of a PONG */
    if (m->type >= KT_MSG_TYPE_END)
        return;
    if (about_node[m->type])
        about_node[m->type](h, n, m);
    else
        hub_chain_hear(h, n, m);
}
