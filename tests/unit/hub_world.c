/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/hub_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct kt_id w_id(uint8_t kind, uint8_t n)
{
    struct kt_id id = {{kind, n, 1}};
    return id;
}

struct w_item *w_enqueue(struct world *w, unsigned type)
{
    assert_true(w->q_n < W_QUEUE);
    struct w_item *it = &w->queue[(w->q_head + w->q_n++) % W_QUEUE];
    memset(it, 0, sizeof(*it));
    it->ev.type = (uint8_t)type;
    return it;
}

void w_say(struct world *w, uint64_t conn, const struct kt_msg *m)
{
    struct w_item *it = w_enqueue(w, HUB_EV_MSG);
    it->ev.conn = conn;
    it->msg = *m;
    if (m->type == KT_MSG_REGISTER && m->u.reg.n_chains)
        memcpy(it->reports, m->u.reg.chains,
               sizeof(it->reports[0]) * m->u.reg.n_chains);
}

/* ---- the shell ---- */

static void probe(struct world *w, uint32_t node)
{
    const struct kt_id *id = &w->h.nodes[node].row.node.id;
    struct w_item *it = w_enqueue(w, HUB_EV_PROBED);

    it->ev.node = node;
    it->ev.err = -ECONNREFUSED;
    for (unsigned i = 0; i < w->n_peers; i++) {
        if (kt_id_eq(&w->p[i].node.id, id) && w->p[i].up)
            it->ev.err = w->p[i].frozen ? -ETIMEDOUT : 0;
    }
}

static void sent(struct world *w, const struct hub_action *a)
{
    assert_true(w->n_log < W_LOG);
    struct w_sent *s = &w->log[w->n_log++];
    s->conn = a->conn;
    s->msg = a->msg;
    if (a->msg.cfg) {
        s->cfg = *a->msg.cfg;
        s->msg.cfg = &s->cfg;
    }
    for (unsigned i = 0; i < w->n_peers; i++) {
        if (w->p[i].conn == a->conn)
            w_peer_hears(w, &w->p[i], &a->msg);
    }
}

static void carry_out(struct world *w, const struct hub_action *a)
{
    switch (a->type) {
    case HUB_ACT_SEND:
        sent(w, a);
        break;
    case HUB_ACT_CLOSE:
        w_enqueue(w, HUB_EV_CONN_DOWN)->ev.conn = a->conn;
        break;
    case HUB_ACT_STORE:
        w_commit(w, a);
        break;
    case HUB_ACT_PROBE:
        probe(w, a->node);
        break;
    case HUB_ACT_ADMIN_DONE:
        w->done = true;
        w->done_act = *a;
        break;
    default:
        break;
    }
}

static void step(struct world *w, struct w_item *it)
{
    struct hub_out out = {.act = w->acts, .max = HUB_ACTS_MIN};

    it->ev.now_ms = w->now;
    it->ev.wall_s = 1700000000 + w->now / 1000;
    it->ev.msg = &it->msg;
    it->ev.admin = &it->admin;
    it->msg.u.reg.chains =
        it->msg.type == KT_MSG_REGISTER ? it->reports : it->msg.u.reg.chains;
    for (unsigned guard = 0; guard < 1000; guard++) {
        if (w->crashed)
            return;
        hub_step(&w->h, &it->ev, &out);
        hub_check(&w->h);
        for (uint32_t i = 0; i < out.n && !w->crashed; i++)
            carry_out(w, &out.act[i]);
        if (!out.more)
            return;
        *it = (struct w_item){.ev = {.type = HUB_EV_TICK, .now_ms = w->now}};
    }
    fail(); /* it never comes to rest */
}

void w_settle(struct world *w)
{
    static struct w_item it;

    for (unsigned guard = 0; w->q_n && !w->crashed; guard++) {
        assert_true(guard < 100000);
        it = w->queue[w->q_head];
        w->q_head = (w->q_head + 1) % W_QUEUE;
        w->q_n--;
        step(w, &it);
    }
}

void w_run(struct world *w, uint64_t ms)
{
    static struct w_item it;

    w_settle(w);
    for (uint64_t end = w->now + ms; w->now < end;) {
        w->now += 50;
        for (unsigned i = 0; i < w->n_peers; i++) {
            struct w_peer *p = &w->p[i];
            struct kt_msg m = {.type = KT_MSG_HB};
            if (!p->up || p->frozen || !p->conn || w->now - p->hb_ms < 1000)
                continue;
            p->hb_ms = w->now;
            m.u.hb.size = p->size;
            m.u.hb.used = p->used;
            m.u.hb.store_err = p->store_err;
            w_say(w, p->conn, &m);
        }
        w_settle(w);
        it = (struct w_item){.ev = {.type = HUB_EV_TICK}};
        step(w, &it);
        w_settle(w);
    }
}

/* ---- people, clients, nodes ---- */

static uint64_t connect_as(struct world *w, uint8_t role, struct kt_id id)
{
    struct w_item *it = w_enqueue(w, HUB_EV_CONN_UP);

    it->ev.conn = ++w->next_conn;
    it->msg.type = KT_MSG_HELLO;
    it->msg.u.hello.role = role;
    it->msg.u.hello.id = id;
    if (role == KT_ROLE_REPLICATOR)
        it->msg.u.hello.cluster = w_id('K', 1);
    return it->ev.conn;
}

void w_register(struct world *w, unsigned i)
{
    struct w_peer *p = &w->p[i];
    struct kt_chain_report r[W_CHAINS];
    struct kt_msg m = {.type = KT_MSG_REGISTER, .req = 7};
    uint32_t n = 0;

    p->conn = connect_as(w, KT_ROLE_REPLICATOR, p->node.id);
    p->hb_ms = w->now;
    memset(r, 0, sizeof(r));
    for (unsigned c = 1; c < W_IDS && n < W_CHAINS; c++) {
        if (!p->copy[c].promised)
            continue;
        r[n].chain = c;
        r[n].promised = p->copy[c].promised;
        r[n].cfg_epoch = p->copy[c].last_epoch;
        if (p->copy[c].last_epoch)
            r[n].volume = p->copy[c].cfg.volume;
        r[n++].applied = p->copy[c].applied;
    }
    m.u.reg.node = p->node;
    m.u.reg.store = p->store;
    m.u.reg.incarnation = p->incarnation;
    m.u.reg.cont_base = p->cont_base;
    m.u.reg.size = p->size;
    m.u.reg.used = p->used;
    m.u.reg.store_err = p->store_err;
    m.u.reg.hub_term = p->hub_term;
    m.u.reg.hub_mark = p->hub_mark;
    m.u.reg.first = m.u.reg.last = 1;
    m.u.reg.n_chains = n;
    m.u.reg.chains = r;
    w_say(w, p->conn, &m);
    w_settle(w);
}

void w_peer_start(struct world *w, unsigned i, bool lossless)
{
    struct w_peer *p = &w->p[i];

    p->up = true;
    p->frozen = false;
    p->incarnation++;
    if (!lossless)
        p->cont_base = p->incarnation;
    w_register(w, i);
}

void w_hangup(struct world *w, uint64_t conn)
{
    w_enqueue(w, HUB_EV_CONN_DOWN)->ev.conn = conn;
    w_settle(w);
}

void w_peer_kill(struct world *w, unsigned i)
{
    uint64_t conn = w->p[i].conn;

    w->p[i].up = false;
    w->p[i].conn = 0;
    w_hangup(w, conn);
}

void w_peer_reconnect(struct world *w, unsigned i)
{
    uint64_t conn = w->p[i].conn;

    w->p[i].conn = 0;
    w_hangup(w, conn);
    w_register(w, i);
}

uint64_t w_client(struct world *w, uint8_t id)
{
    uint64_t conn = connect_as(w, KT_ROLE_CLIENT, w_id('c', id));

    w_settle(w);
    return conn;
}

void w_attach(struct world *w, uint64_t conn, const char *volume, uint8_t id,
              bool steal)
{
    struct kt_msg m = {.type = KT_MSG_ATTACH, .req = 42};

    strncpy(m.u.attach.volume, volume, KT_NAME_MAX);
    m.u.attach.client = w_id('c', id);
    m.u.attach.node[0] = 'n';
    m.u.attach.node[1] = (char)('0' + id % 10);
    m.u.attach.pid = 1000u + id;
    m.u.attach.steal = steal;
    w_say(w, conn, &m);
    w_settle(w);
}

void w_create(struct world *w, const char *name, uint64_t size,
              uint64_t segment, unsigned replicas)
{
    static uint8_t n;
    struct w_item *it = w_enqueue(w, HUB_EV_ADMIN);

    n++;
    it->ev.conn = 999;
    it->ev.req = 5;
    it->admin.op = HUB_ADMIN_CREATE;
    strncpy(it->admin.name, name, KT_NAME_MAX);
    it->admin.size = size;
    it->admin.segment_bytes = segment;
    it->admin.replicas = replicas;
    it->admin.id = w_id('V', n);
    it->admin.history = w_id('H', n);
    w->done = false;
    w_settle(w);
}

void w_rm(struct world *w, const char *name)
{
    struct w_item *it = w_enqueue(w, HUB_EV_ADMIN);

    it->ev.conn = 999;
    it->admin.op = HUB_ADMIN_RM;
    strncpy(it->admin.name, name, KT_NAME_MAX);
    w->done = false;
    w_settle(w);
}

void w_order(struct world *w, unsigned op, const char *node)
{
    struct w_item *it = w_enqueue(w, HUB_EV_ADMIN);

    it->ev.conn = 999;
    it->admin.op = (uint8_t)op;
    it->admin.chain = 1;
    it->admin.history = w_id('F', (uint8_t)w->commits);
    strncpy(it->admin.name, node, KT_NAME_MAX);
    w->done = false;
    w_settle(w);
}

void w_recover(struct world *w, const char *lost)
{
    struct w_item *it = w_enqueue(w, HUB_EV_ADMIN);

    it->ev.conn = 999;
    it->admin.op = HUB_ADMIN_RECOVER;
    it->admin.n_lost = lost != NULL;
    if (lost)
        strncpy(it->admin.lost[0], lost, KT_NAME_MAX);
    w->done = false;
    w_settle(w);
}

const struct kt_cfg *w_cfg(struct world *w, uint64_t chain)
{
    struct hub_chain *c = hub_chain_of(&w->h, chain);

    assert_non_null(c);
    return &c->row.cfg;
}

const struct kt_cfg *w_volume(struct world *w, unsigned replicas)
{
    w_create(w, "v", 1 << 30, 0, replicas);
    w_run(w, 200);
    assert_true(w->done);
    assert_int_equal(w->done_act.err, 0);
    const struct kt_cfg *c = w_cfg(w, w->db.cluster.next_chain - 1);
    assert_int_equal(c->phase, KT_PHASE_ACTIVE);
    assert_int_equal(kt_cfg_serving(c), replicas);
    assert_int_equal(c->vgen, 1);
    return c;
}

const struct w_sent *w_last(const struct world *w, uint64_t conn, unsigned type)
{
    for (unsigned i = w->n_log; i-- > 0;) {
        if (w->log[i].conn == conn && w->log[i].msg.type == type)
            return &w->log[i];
    }
    return NULL;
}

unsigned w_count(const struct world *w, uint64_t conn, unsigned type)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->n_log; i++)
        n += (!conn || w->log[i].conn == conn) && w->log[i].msg.type == type;
    return n;
}

void w_forget(struct world *w)
{
    w->n_log = 0;
}

unsigned w_peer_of(const struct world *w, const struct kt_cfg *c,
                   unsigned member)
{
    for (unsigned i = 0; i < w->n_peers; i++) {
        if (kt_id_eq(&w->p[i].store, &c->members[member].store))
            return i;
    }
    fail();
    return 0;
}

void w_write(struct world *w, uint64_t chain, unsigned records)
{
    const struct kt_cfg *c = w_cfg(w, chain);

    for (unsigned i = 0; i < kt_cfg_serving(c); i++) {
        struct w_copy *k = &w->p[w_peer_of(w, c, i)].copy[chain];
        k->applied.epoch = c->epoch;
        k->applied.seq += records;
        k->acked = k->applied.seq;
    }
}

void w_synced(struct world *w, uint64_t chain)
{
    const struct kt_cfg *c = w_cfg(w, chain);
    int dst = kt_cfg_syncing(c);
    struct kt_msg m = {
        .type = KT_MSG_SYNC_FIN, .chain = chain, .epoch = c->epoch};

    assert_true(dst >= 0);
    unsigned src = w_peer_of(w, c, kt_cfg_serving(c) - 1);
    unsigned d = w_peer_of(w, c, (unsigned)dst);
    w->p[d].copy[chain].applied = w->p[src].copy[chain].applied;
    w->p[d].copy[chain].history = c->history;
    m.u.sync_fin.store = c->members[dst].store;
    m.u.sync_fin.incarnation = c->members[dst].incarnation;
    m.u.sync_fin.applied = w->p[src].copy[chain].applied;
    w_say(w, w->p[src].conn, &m);
    w_settle(w);
}

void w_hub_start(struct world *w)
{
    struct hub_opts o = {
        .nodes = w->nodes,
        .volumes = w->volumes,
        .chains = w->chains,
        .conns = w->conns,
        .tombs = w->tombs,
        .nodes_max = KT_ARRAY_LEN(w->nodes),
        .volumes_max = KT_ARRAY_LEN(w->volumes),
        .chains_max = KT_ARRAY_LEN(w->chains),
        .conns_max = KT_ARRAY_LEN(w->conns),
        .tombs_max = KT_ARRAY_LEN(w->tombs),
        .fresh_mark = w_id('R', ++w->marks),
    };
    struct kt_id mark = w_id('M', w->marks);

    memset(w->nodes, 0, sizeof(w->nodes));
    memset(w->volumes, 0, sizeof(w->volumes));
    memset(w->chains, 0, sizeof(w->chains));
    memset(w->conns, 0, sizeof(w->conns));
    memset(w->tombs, 0, sizeof(w->tombs));
    w->q_n = 0;
    w->crashed = false;
    w->crash_at = 0;
    hub_cluster_start(&w->db.cluster, &mark);
    hub_init(&w->h, &o, &w->db.cluster);
    for (unsigned i = 0; i < w->db.n_nodes; i++)
        assert_int_equal(hub_load_node(&w->h, &w->db.node_rows[i]), 0);
    for (unsigned i = 0; i < w->db.n_volumes; i++)
        assert_int_equal(hub_load_volume(&w->h, &w->db.volume_rows[i]), 0);
    for (unsigned i = 0; i < w->db.n_chains; i++)
        assert_int_equal(hub_load_chain(&w->h, &w->db.chain_rows[i]), 0);
    for (unsigned i = 0; i < w->db.n_tombs; i++)
        assert_int_equal(hub_load_tomb(&w->h, &w->db.tomb_rows[i]), 0);
    hub_start(&w->h, w->now);
    for (unsigned i = 0; i < w->n_peers; i++)
        w->p[i].conn = 0;
}

struct world *w_new(unsigned peers)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->log = calloc(W_LOG, sizeof(*w->log));
    w->queue = calloc(W_QUEUE, sizeof(*w->queue));
    assert_true(w->log && w->queue);
    w->now = 1000;
    w->db.cluster.id = w_id('K', 1);
    w->db.cluster.next_chain = 1;
    w->db.cluster.segment_bytes = KT_SEGMENT_BYTES_DEFAULT;
    w->n_peers = peers;
    w_hub_start(w);
    for (unsigned i = 0; i < peers; i++) {
        struct w_peer *p = &w->p[i];
        p->node.id = w_id('N', (uint8_t)(i + 1));
        p->node.boot = w_id('B', (uint8_t)(i + 1));
        p->node.name[0] = 'n';
        p->node.name[1] = (char)('1' + i);
        p->node.tcp.kind = KT_ADDR_TCP;
        p->node.tcp.port = (uint16_t)(9000 + i);
        memcpy(p->node.tcp.host, "127.0.0.1", 10);
        p->store = w_id('S', (uint8_t)(i + 1));
        p->size = 100ull << 30;
        p->cont_base = 1;
        w_peer_start(w, i, true);
        assert_non_null(w_last(w, p->conn, KT_MSG_REGISTER_OK));
    }
    return w;
}

void w_free(struct world *w)
{
    free(w->log);
    free(w->queue);
    free(w);
}

void w_restore(struct world *w, const struct w_db *copy)
{
    w->db = *copy;
    w_hub_start(w);
    w_forget(w);
}

void w_register_all(struct world *w)
{
    for (unsigned i = 0; i < w->n_peers; i++) {
        if (w->p[i].up)
            w_register(w, i);
    }
    w_run(w, 100);
}

void w_take(struct world *w, uint8_t id)
{
    uint64_t conn = w_client(w, id);

    w_attach(w, conn, "v", id, true);
    w_run(w, 300);
    assert_non_null(w_last(w, conn, KT_MSG_ATTACH_OK));
}
