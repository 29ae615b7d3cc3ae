/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the core and the world: connections, commits and probes become
 * events; actions are carried out in order, then the core is asked for more.
 * A step never happens inside another: everything an action starts answers on
 * a later turn of the loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hub/daemon/daemon.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

/* ---- slots ---- */

struct slot *pump_slot(struct daemon *d, uint64_t id)
{
    struct slot *s = &d->slots[(id & 0xffff) % DAEMON_SLOTS];

    return id && s->id == id ? s : NULL;
}

static struct slot *slot_new(struct daemon *d, struct kt_conn *kc)
{
    for (unsigned i = 0; i < DAEMON_SLOTS; i++) {
        struct slot *s = &d->slots[i];
        if (s->id)
            continue;
        memset(s, 0, sizeof(*s));
        s->id = ++d->generation << 16 | i;
        s->kc = kc;
        s->node = HUB_NONE;
        return s;
    }
    return NULL;
}

/* ---- probes ---- */

static void probed(struct daemon *d, struct slot *s, int err)
{
    struct hub_event ev = {.type = HUB_EV_PROBED, .node = s->node, .err = err};

    if (s->answered)
        return;
    s->answered = true;
    pump_step(d, &ev);
}

static void probe_end(struct daemon *d, struct slot *s, int err)
{
    /* Refused by the handshake: something lives there. */
    if (err == KT_E_REFUSED)
        err = 0;
    /* An orderly end says less than a reset: it may only be too busy. */
    if (err == UV_EOF)
        err = -EPIPE;
    probed(d, s, err);
}

/* The result must come on a later turn. */
static void probe_start(struct daemon *d, uint32_t node)
{
    const struct kt_node *n = &d->hub.nodes[node].row.node;
    bool here =
        n->unix_.kind == KT_ADDR_UNIX && kt_id_eq(&n->boot, &d->self.boot);
    const struct kt_addr *a = here ? &n->unix_ : &n->tcp;
    struct slot *s = slot_new(d, NULL);

    if (!s) {
        kt_log(KT_LOG_WARN, "probe_skipped", "node=%s", n->name);
        return;
    }
    s->node = node;
    s->deadline_ms = kt_now_ms() + DAEMON_PROBE_MS;
    if (a->kind == KT_ADDR_NONE && n->unix_.kind != KT_ADDR_NONE)
        a = &n->unix_;
    if (a->kind != KT_ADDR_NONE)
        s->kc = kt_conn_open(d->net, a, KT_CLASS_CONTROL, s);
    /* Without a connection the deadline answers: not known. */
}

/* ---- actions ---- */

static void close_soon(struct slot *s)
{
    s->closing = true;
    s->deadline_ms = kt_now_ms() + DAEMON_CLOSE_MS;
}

static void carry_out(struct daemon *d, struct hub_action *a)
{
    struct slot *s;

    switch (a->type) {
    case HUB_ACT_SEND:
        s = pump_slot(d, a->conn);
        if (s && s->kc && !s->closing)
            kt_conn_send(s->kc, &a->msg);
        break;
    case HUB_ACT_CLOSE:
        s = pump_slot(d, a->conn);
        if (s)
            close_soon(s);
        break;
    case HUB_ACT_STORE:
        hub_db_store(d->db, a);
        break;
    case HUB_ACT_PROBE:
        probe_start(d, a->node);
        break;
    case HUB_ACT_ADMIN_DONE:
        admin_done(d, a);
        break;
    case HUB_ACT_NOTE:
        note_log(d, a);
        break;
    default:
        assert(!"an action of the core");
    }
}

void pump_step(struct daemon *d, struct hub_event *ev)
{
    struct hub_out out = {.act = d->acts, .max = HUB_ACTS_MIN};
    struct hub_event again = {.type = HUB_EV_TICK};

    for (;;) {
        if (d->closing)
            return;
        ev->now_ms = kt_now_ms();
        ev->wall_s = (uint64_t)time(NULL);
        hub_step(&d->hub, ev, &out);
        /* A hub that lost its database learns whose it is. */
        d->self.id = d->self.cluster = d->hub.cluster.id;
        for (uint32_t i = 0; i < out.n; i++)
            carry_out(d, &out.act[i]);
        if (!out.more)
            return;
        ev = &again;
    }
}

void pump_tick(struct daemon *d)
{
    struct hub_event ev = {.type = HUB_EV_TICK};
    uint64_t now = kt_now_ms();

    for (unsigned i = 0; i < DAEMON_SLOTS; i++) {
        struct slot *s = &d->slots[i];
        if (!s->id)
            continue;
        if (s->closing && s->kc &&
            (kt_conn_queued(s->kc) == 0 || now >= s->deadline_ms))
            kt_conn_close(s->kc);
        if (s->node == HUB_NONE || now < s->deadline_ms)
            continue;
        if (!s->answered)
            probed(d, s, -ETIMEDOUT);
        if (s->kc)
            kt_conn_close(s->kc);
        else
            s->id = 0;
    }
    pump_step(d, &ev);
}

/* ---- connections ---- */

/* At the address of a node that is gone another may answer: one whose store was
 * made anew in an empty directory. */
static bool is_asked(const struct daemon *d, const struct slot *s,
                     const struct kt_msg *peer)
{
    return kt_id_eq(&peer->u.hello.id, &d->hub.nodes[s->node].row.node.id);
}

static int on_up(void *arg, struct kt_conn *c, const struct kt_msg *peer)
{
    struct daemon *d = arg;
    struct slot *s = kt_conn_data(c);

    if (d->closing)
        return KT_E_REFUSED;
    if (s) { /* our probe */
        if (s->id && s->kc == c)
            probe_end(d, s, is_asked(d, s, peer) ? 0 : -ENOENT);
        kt_conn_close(c);
        return 0;
    }
    s = slot_new(d, c);
    if (!s)
        return KT_E_LIMIT;
    s->known = true;
    kt_conn_set_data(c, s);
    struct hub_event ev = {.type = HUB_EV_CONN_UP, .conn = s->id, .msg = peer};
    pump_step(d, &ev);
    return 0;
}

static void on_msg(void *arg, struct kt_conn *c, struct kt_msg *m, int err)
{
    struct daemon *d = arg;
    struct slot *s = kt_conn_data(c);

    if (!s || s->kc != c || s->closing || err || s->node != HUB_NONE)
        return;
    if (m->type == KT_MSG_ADMIN) {
        admin_request(d, s, m);
        return;
    }
    /* Data messages have no business here. */
    if (m->type < KT_MSG_CONTROL && m->type != KT_MSG_PING &&
        m->type != KT_MSG_PONG && m->type != KT_MSG_CFG_GET &&
        m->type != KT_MSG_CFG && m->type != KT_MSG_NAK)
        return;
    struct hub_event ev = {.type = HUB_EV_MSG, .conn = s->id, .msg = m};
    pump_step(d, &ev);
}

static void on_down(void *arg, struct kt_conn *c, int err, const char *text)
{
    struct daemon *d = arg;
    struct slot *s = kt_conn_data(c);

    (void)text;
    if (!s || s->kc != c)
        return;
    s->kc = NULL;
    if (s->node != HUB_NONE) {
        if (!s->answered)
            probe_end(d, s, err);
        s->id = 0;
        return;
    }
    uint64_t id = s->id;
    s->id = 0;
    struct hub_event ev = {.type = HUB_EV_CONN_DOWN, .conn = id};
    pump_step(d, &ev);
}

const struct kt_net_ops pump_net_ops = {
    .up = on_up, .msg = on_msg, .down = on_down};

/* ---- commits ---- */

static void on_stored(void *arg, uint64_t txn, int err)
{
    struct daemon *d = arg;
    struct hub_event ev = {.type = HUB_EV_STORED, .txn = txn, .err = err};

    pump_step(d, &ev);
    if (err)
        daemon_fail(d, err);
}

const struct hub_db_ops pump_db_ops = {.stored = on_stored};

/* ---- memory ---- */

int pump_new(struct daemon *d)
{
    struct hub_opts o = {
        .nodes_max = HUB_NODES_MAX,
        .volumes_max = HUB_VOLUMES_MAX,
        .chains_max = HUB_CHAINS_MAX,
        .conns_max = HUB_CONNS_MAX,
        .tombs_max = HUB_TOMBS_MAX,
    };
    struct hub_cluster none = {.next_chain = 1};

    /* Large tables cost nothing before they are used: calloc maps zeros. */
    o.nodes = calloc(o.nodes_max, sizeof(*o.nodes));
    o.volumes = calloc(o.volumes_max, sizeof(*o.volumes));
    o.chains = calloc(o.chains_max, sizeof(*o.chains));
    o.conns = calloc(o.conns_max, sizeof(*o.conns));
    o.tombs = calloc(o.tombs_max, sizeof(*o.tombs));
    d->acts = calloc(HUB_ACTS_MIN, sizeof(*d->acts));
    kt_id_random(&o.fresh_mark);
    hub_init(&d->hub, &o, &none);
    if (!o.nodes || !o.volumes || !o.chains || !o.conns || !o.tombs || !d->acts)
        return -ENOMEM;
    return 0;
}

void pump_free(struct daemon *d)
{
    free(d->hub.nodes);
    free(d->hub.volumes);
    free(d->hub.chains);
    free(d->hub.conns);
    free(d->hub.tombs);
    free(d->acts);
}
