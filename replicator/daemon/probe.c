/* SPDX-License-Identifier: BSD-3-Clause */
/* PROBE: the hub asks whether we can reach a node.
 *
 * 1. A connection of its own, so that a full link cannot fake silence.
 * 2. Handshake and a PING: a stopped process still accepts TCP (A5). Another
 *    node that answers at its address (its store was made anew): -ENOENT.
 * 3. PROBE_OK with 0, the error, or -ETIMEDOUT after one second. A unix path
 *    that leads nowhere (another mount namespace) proves nothing: then TCP. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <stdlib.h>

#define PROBE_MS 1000u
#define PROBES_MAX 64u

struct probe {
    struct probe *next;
    struct repl *n;
    struct conn *cn; /* NULL once it is down */
    struct kt_node node;
    uint64_t req, deadline_ms;
    bool tcp;
    bool done; /* answered; waits for its connection to close */
};

static void answer(struct repl *n, const struct kt_node *node, uint64_t req,
                   int err)
{
    struct kt_msg m = {.type = KT_MSG_PROBE_OK, .req = req};
    m.u.report.node = *node;
    m.u.report.err = err;
    hub_send(n, &m);
}

static void probe_end(struct probe *p, int err)
{
    if (!p->done)
        answer(p->n, &p->node, p->req, err);
    p->done = true;
    if (p->cn) {
        p->cn->owner = NULL;
        kt_conn_close(p->cn->kc);
        p->cn = NULL;
    }
}

static void probe_open(struct probe *p, const struct kt_addr *a)
{
    p->tcp = a->kind == KT_ADDR_TCP;
    p->cn = conns_open(p->n, a, CONN_PROBE, KT_CLASS_CONTROL, p);
    if (!p->cn)
        probe_end(p, -ENOMEM);
}

void probe_start(struct repl *n, const struct kt_msg *m)
{
    const struct kt_node *node = &m->u.report.node;
    const struct kt_addr *a = links_addr(n, node, false);
    unsigned count = 0;
    for (const struct probe *p = n->probes; p; p = p->next)
        count++;
    if (kt_id_eq(&node->id, &n->self.id)) {
        answer(n, node, m->req, 0);
        return;
    }
    if (!a || count >= PROBES_MAX) {
        answer(n, node, m->req, a ? KT_E_BUSY : -EHOSTUNREACH);
        return;
    }
    struct probe *p = repl_alloc(sizeof(*p));
    p->n = n;
    p->node = *node;
    p->req = m->req;
    p->deadline_ms = repl_now(n) + PROBE_MS;
    p->next = n->probes;
    n->probes = p;
    probe_open(p, a);
    repl_fine(n);
}

void probe_up(struct conn *cn, const struct kt_msg *peer)
{
    struct kt_msg ping = {.type = KT_MSG_PING};
    struct probe *p = cn->owner;
    if (p && !kt_id_eq(&peer->u.hello.id, &p->node.id))
        probe_end(p, -ENOENT);
    else if (p)
        conns_send(cn, &ping);
}

void probe_pong(struct conn *cn)
{
    if (cn->owner)
        probe_end(cn->owner, 0);
}

void probe_down(struct conn *cn, int err)
{
    struct probe *p = cn->owner;
    if (!p)
        return;
    p->cn = NULL;
    if (!p->tcp && p->node.tcp.kind != KT_ADDR_NONE) {
        probe_open(p, &p->node.tcp);
        return;
    }
    probe_end(p, err == 0 || err == UV_EOF ? -ECONNRESET : err);
}

bool probe_fine(struct repl *n)
{
    struct probe **at = &n->probes;
    while (*at) {
        struct probe *p = *at;
        if (!p->done && repl_now(n) >= p->deadline_ms)
            probe_end(p, -ETIMEDOUT);
        if (!p->done) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        free(p);
    }
    return n->probes != NULL;
}

void probe_free_all(struct repl *n)
{
    while (n->probes) {
        struct probe *p = n->probes;
        n->probes = p->next;
        free(p);
    }
}
