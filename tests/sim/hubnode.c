/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub's shell. Its rows are durable, one transaction after the other; a
 * crash keeps any prefix of those under way. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/hubnode.h"

#define TICK_US (50u * SIM_MS)
#define TOKEN_STEP 4u /* so that tokens stay below SIM_TOKENS_MAX */
#define STEPS_MAX 1000u

void hubnode_init(struct world *w)
{
    struct shub *s = calloc(1, sizeof(*s));
    assert(s);
    w->hub = s;
    w->procs[SIM_EP_HUB].machine = true;
    s->cluster.id = w->cluster;
    s->cluster.next_chain = 1;
    s->cluster.segment_bytes = w->segment_bytes;
    s->last = &s->first;
    s->out.act = s->acts;
    s->out.max = ACTS;
    s->old.s = w->seed ^ 0x01dc0;
}

static void drop_txns(struct shub *s)
{
    while (s->first) {
        struct txn *t = s->first;
        s->first = t->next;
        free(t);
    }
    s->last = &s->first;
    s->storing = false;
}

void hubnode_release(struct world *w)
{
    drop_txns(w->hub);
    free(w->hub);
}

/* ---- rows ---- */

static void put_node(struct shub *s, const struct hub_node_row *r)
{
    for (unsigned i = 0; i < s->n_node_rows; i++) {
        if (kt_id_eq(&s->node_rows[i].node.id, &r->node.id)) {
            s->node_rows[i] = *r;
            return;
        }
    }
    assert(s->n_node_rows < KT_ARRAY_LEN(s->node_rows));
    s->node_rows[s->n_node_rows++] = *r;
}

static void put_chain(struct world *w, const struct hub_chain_row *r)
{
    struct shub *s = w->hub;
    uint64_t i = r->cfg.chain - 1;
    SIM_CHECK(w, i < SIM_CHAINS_MAX, "the hub made chain %" PRIu64,
              r->cfg.chain);
    if (i >= s->n_chain_rows)
        s->n_chain_rows = (unsigned)i + 1;
    s->chain_rows[i] = *r;
    if (r->cfg.phase == KT_PHASE_ACTIVE)
        ghost_committed(w, &r->cfg);
}

static void commit(struct world *w, const struct txn *t)
{
    struct shub *s = w->hub;
    for (unsigned i = 0; i < t->n; i++) {
        const struct row *r = &t->rows[i];
        switch (r->kind) {
        case HUB_ROW_CLUSTER:
            s->cluster = r->u.cluster;
            break;
        case HUB_ROW_NODE:
            put_node(s, &r->u.node);
            break;
        case HUB_ROW_VOLUME:
            SIM_CHECK(w, !r->del, "the hub removed the volume");
            s->volume_row = r->u.volume;
            /* Stored, it fences, granted or not. */
            w->seen_token = kt_max_u64(w->seen_token, s->volume_row.att.token);
            s->have_volume = true;
            break;
        case HUB_ROW_CHAIN:
            put_chain(w, &r->u.chain);
            break;
        default:
            sim_fail(w, "the hub stored a row of kind %u", r->kind);
        }
    }
}

static void step(struct world *w, struct hub_event *ev);
static void start_again(struct world *w, uint64_t a, uint64_t b, uint64_t c);

/* ---- dying around a commit ---- */

void hubnode_die_at(struct world *w, uint64_t n, bool after)
{
    struct shub *s = w->hub;
    s->die_at = s->commits + n;
    s->die_after = after;
}

uint64_t hubnode_commits(const struct world *w)
{
    return w->hub->commits;
}

/* Nothing of what is under way is kept, and nobody was told of t. */
static void die_here(struct world *w)
{
    struct shub *s = w->hub;
    trace(w, SIM_EP_HUB, "die_at", s->commits, s->die_after, 0);
    drop_txns(s);
    s->die_at = 0;
    w->procs[SIM_EP_HUB].alive = false;
    w->st->hub_kills++;
    w->st->kinds[SIM_K_ROW]++;
    net_process_gone(w, SIM_EP_HUB, false);
    world_at(w, rng_exp(&w->kinds[SIM_K_ROW], 700 * SIM_MS), start_again, 0, 0,
             0);
}

static void stored(struct world *w, uint64_t life, uint64_t b, uint64_t c)
{
    struct shub *s = w->hub;
    (void)b;
    (void)c;
    if (!w->procs[SIM_EP_HUB].alive || w->procs[SIM_EP_HUB].life != life)
        return;
    struct txn *t = s->first;
    assert(t);
    if (!(s->first = t->next))
        s->last = &s->first;
    s->storing = false;
    bool dies = s->created && ++s->commits == s->die_at && !w->healed;
    if (!dies || s->die_after)
        commit(w, t);
    if (dies) {
        free(t);
        die_here(w);
        return;
    }
    struct hub_event ev = {.type = HUB_EV_STORED, .txn = t->txn};
    free(t);
    step(w, &ev);
}

static void store_next(struct world *w)
{
    struct shub *s = w->hub;
    if (s->storing || !s->first)
        return;
    s->storing = true;
    world_at(w, 100 + rng_exp(&w->disk, w->p.disk_us), stored,
             w->procs[SIM_EP_HUB].life, 0, 0);
}

static void act_store(struct world *w, const struct hub_action *a)
{
    struct shub *s = w->hub;
    struct txn *t = calloc(1, sizeof(*t));
    assert(t);
    t->txn = a->txn;
    t->n = a->n_rows;
    for (unsigned i = 0; i < t->n; i++) {
        const struct hub_row *from = &a->rows[i];
        struct row *r = &t->rows[i];
        r->kind = from->kind;
        r->del = from->del;
        if (r->kind == HUB_ROW_CLUSTER)
            r->u.cluster = *from->u.cluster;
        else if (r->kind == HUB_ROW_NODE)
            r->u.node = *from->u.node;
        else if (r->kind == HUB_ROW_VOLUME)
            r->u.volume = *from->u.volume;
        else if (r->kind == HUB_ROW_CHAIN)
            r->u.chain = *from->u.chain;
    }
    *s->last = t;
    s->last = &t->next;
}

/* ---- probing ---- */

static void probed(struct world *w, uint64_t life, uint64_t node, uint64_t ep)
{
    if (!w->procs[SIM_EP_HUB].alive || w->procs[SIM_EP_HUB].life != life)
        return;
    const struct proc *p = &w->procs[ep];
    bool cut = net_blocked(w, SIM_EP_HUB, (unsigned)ep) ||
               net_blocked(w, (unsigned)ep, SIM_EP_HUB);
    struct hub_event ev = {.type = HUB_EV_PROBED, .node = (uint32_t)node};
    if (ep == SIM_EP_HUB)
        ev.err = -ENOENT;
    else if (cut || !p->machine || p->paused_until > w->now)
        ev.err = -ETIMEDOUT;
    else if (!p->alive)
        ev.err = -ECONNREFUSED;
    step(w, &ev);
}

/* When the answer is no, it is no at the moment it comes. */
static void act_probe(struct world *w, const struct hub_action *a)
{
    struct shub *s = w->hub;
    const struct hub_node *n = &s->nodes[a->node];
    if (kt_id_eq(&w->lost_node, &n->row.node.id)) /* another answers there */
        world_at(w, rng_exp(&w->net, 60 * SIM_MS), probed,
                 w->procs[SIM_EP_HUB].life, a->node, 0);
    for (unsigned i = 0; i < w->p.nodes; i++) {
        if (kt_id_eq(&w->nodes[i].node.id, &n->row.node.id))
            world_at(w, rng_exp(&w->net, 60 * SIM_MS), probed,
                     w->procs[SIM_EP_HUB].life, a->node, SIM_EP_NODE(i));
    }
}

/* ---- stepping ---- */

static void granted(struct world *w, uint64_t token)
{
    SIM_CHECK(w, token < SIM_TOKENS_MAX, "token %" PRIu64, token);
    SIM_CHECK(w, token > w->newest_token,
              "token %" PRIu64 " is granted after %" PRIu64, token,
              w->newest_token);
    for (uint64_t t = 0; t < token; t++) {
        if (!w->fences[t])
            w->fences[t] = ++w->stamp;
    }
    w->newest_token = token;
    w->st->attaches++;
}

static void closed(struct world *w, uint64_t life, uint64_t conn, uint64_t c)
{
    (void)c;
    if (w->procs[SIM_EP_HUB].alive && w->procs[SIM_EP_HUB].life == life)
        hubnode_conn_down(w, conn);
}

#define CONN_CREATE 1u /* of the volume, by the world */
#define CONN_ORDER 2u

static void admin_done(struct shub *s, const struct hub_action *a)
{
    if (a->conn == CONN_ORDER) {
        s->admin_err = a->err;
        return;
    }
    s->created = a->err == 0;
    if (a->err)
        s->create_us = 0;
}

static void act(struct world *w, const struct hub_action *a)
{
    switch (a->type) {
    case HUB_ACT_SEND:
        if (a->msg.type == KT_MSG_ATTACH_OK)
            granted(w, a->msg.u.attach_ok.token);
        net_send(w, a->conn, SIM_EP_HUB, &a->msg, NULL);
        break;
    case HUB_ACT_CLOSE:
        net_close(w, a->conn, SIM_EP_HUB);
        world_at(w, 1, closed, w->procs[SIM_EP_HUB].life, a->conn, 0);
        break;
    case HUB_ACT_STORE:
        act_store(w, a);
        break;
    case HUB_ACT_PROBE:
        act_probe(w, a);
        break;
    case HUB_ACT_ADMIN_DONE:
        admin_done(w->hub, a);
        break;
    case HUB_ACT_NOTE:
        trace(w, SIM_EP_HUB, "note", a->note, a->a, a->b);
        break;
    }
}

static void step(struct world *w, struct hub_event *ev)
{
    struct shub *s = w->hub;
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        ev->now_ms = world_ms(w);
        ev->wall_s = 1700000000 + w->now / 1000000;
        hub_step(&s->h, ev, &s->out);
        hub_check(&s->h);
        s->is_old = s->is_old && !hub_in_recovery(&s->h);
        for (uint32_t k = 0; k < s->out.n; k++)
            act(w, &s->acts[k]);
        if (!s->out.more)
            break;
        *ev = (struct hub_event){.type = HUB_EV_TICK};
    }
    store_next(w);
}

void hubnode_admin(struct world *w, const struct hub_admin *q)
{
    struct hub_event ev = {
        .type = HUB_EV_ADMIN, .conn = CONN_ORDER, .admin = q};
    w->hub->admin_err = HUBNODE_PENDING;
    step(w, &ev);
}

int hubnode_admin_err(const struct world *w)
{
    return w->hub->admin_err;
}

/* ---- old copies of the database ---- */

void hubnode_keep_copy(struct world *w)
{
    struct shub *s = w->hub;
    struct copy *c = &s->copies[s->n_copies % COPIES];
    s->copy_us = w->now;
    s->n_copies++;
    c->cluster = s->cluster;
    c->volume_row = s->volume_row;
    c->n_node_rows = s->n_node_rows;
    c->n_chain_rows = s->n_chain_rows;
    memcpy(c->node_rows, s->node_rows, sizeof(c->node_rows));
    memcpy(c->chain_rows, s->chain_rows, sizeof(c->chain_rows));
}

static void copy_rows(struct world *w)
{
    struct shub *s = w->hub;
    if (s->created && !w->directed && w->now - s->copy_us >= COPY_US)
        hubnode_keep_copy(w);
}

void hubnode_restore_old(struct world *w)
{
    struct shub *s = w->hub;
    unsigned n = s->n_copies < COPIES ? s->n_copies : COPIES;
    if (n == 0)
        return;
    hubnode_crash(w);
    const struct copy *c = &s->copies[rng_below(&s->old, n)];
    trace(w, SIM_EP_HUB, "old_copy", c->cluster.term, s->cluster.term, 0);
    s->is_old = true;
    s->cluster = c->cluster;
    s->volume_row = c->volume_row;
    s->n_node_rows = c->n_node_rows;
    s->n_chain_rows = c->n_chain_rows;
    memcpy(s->node_rows, c->node_rows, sizeof(c->node_rows));
    memcpy(s->chain_rows, c->chain_rows, sizeof(c->chain_rows));
    w->st->old_copies++;
}

static void start_again(struct world *w, uint64_t a, uint64_t b, uint64_t c)
{
    (void)a;
    (void)b;
    (void)c;
    hubnode_start(w);
}

static void old_copy(struct world *w, uint64_t a, uint64_t b, uint64_t c)
{
    struct shub *s = w->hub;
    (void)a;
    (void)b;
    (void)c;
    if (w->healed)
        return;
    hubnode_restore_old(w);
    world_at(w, rng_exp(&s->old, 1500 * SIM_MS), start_again, 0, 0, 0);
    world_at(w, 3000 * SIM_MS + rng_exp(&s->old, 6000 * SIM_MS), old_copy, 0, 0,
             0);
}

static void create(struct world *w)
{
    struct hub_admin q = {.op = HUB_ADMIN_CREATE,
                          .name = "v",
                          .size = w->volume_bytes,
                          .segment_bytes = w->segment_bytes,
                          .replicas = w->p.replicas,
                          .durability = w->p.sync,
                          .id = w->volume,
                          .history = w->history};
    struct hub_event ev = {
        .type = HUB_EV_ADMIN, .conn = CONN_CREATE, .admin = &q};
    step(w, &ev);
}

static void tick(struct world *w, uint64_t life, uint64_t b, uint64_t c)
{
    struct shub *s = w->hub;
    (void)b;
    (void)c;
    if (!w->procs[SIM_EP_HUB].alive || w->procs[SIM_EP_HUB].life != life)
        return;
    world_at(w, TICK_US, tick, life, 0, 0);
    struct hub_event ev = {.type = HUB_EV_TICK};
    step(w, &ev);
    copy_rows(w);
    if (!s->have_volume && s->n_node_rows == w->p.nodes &&
        (!s->create_us || w->now - s->create_us > 12000 * SIM_MS)) {
        s->create_us = w->now;
        create(w);
    }
}

/* ---- life ---- */

void hubnode_start(struct world *w)
{
    struct shub *s = w->hub;
    struct proc *p = &w->procs[SIM_EP_HUB];
    if (p->alive)
        return;
    p->alive = true;
    p->life++;
    memset(s->nodes, 0, sizeof(s->nodes));
    memset(s->volumes, 0, sizeof(s->volumes));
    memset(s->chains, 0, sizeof(s->chains));
    memset(s->conns, 0, sizeof(s->conns));
    memset(s->tombs, 0, sizeof(s->tombs));
    struct hub_opts o = {s->nodes,
                         s->volumes,
                         s->chains,
                         s->conns,
                         s->tombs,
                         KT_ARRAY_LEN(s->nodes),
                         KT_ARRAY_LEN(s->volumes),
                         KT_ARRAY_LEN(s->chains),
                         CONNS,
                         KT_ARRAY_LEN(s->tombs),
                         {{'r', (uint8_t)p->life, (uint8_t)(p->life >> 8)}},
                         TOKEN_STEP,
                         1};
    struct kt_id mark = {{'m', (uint8_t)p->life, (uint8_t)(p->life >> 8)}};
    hub_cluster_start(&s->cluster, &mark);
    if (p->life == 1 && w->p.old_hub)
        world_at(w, 2000 * SIM_MS + rng_below(&s->old, 9000 * SIM_MS), old_copy,
                 0, 0, 0);
    hub_init(&s->h, &o, &s->cluster);
    int err = 0;
    for (unsigned i = 0; i < s->n_node_rows && !err; i++)
        err = hub_load_node(&s->h, &s->node_rows[i]);
    if (s->have_volume && !err)
        err = hub_load_volume(&s->h, &s->volume_row);
    for (unsigned i = 0; i < s->n_chain_rows && !err; i++)
        err = hub_load_chain(&s->h, &s->chain_rows[i]);
    SIM_CHECK(w, err == 0, "the hub cannot load its own rows: %d", err);
    hub_start(&s->h, world_ms(w));
    trace(w, SIM_EP_HUB, "start", s->cluster.term, 0, 0);
    world_at(w, TICK_US, tick, p->life, 0, 0);
}

void hubnode_crash(struct world *w)
{
    struct shub *s = w->hub;
    struct proc *p = &w->procs[SIM_EP_HUB];
    if (!p->alive)
        return;
    trace(w, SIM_EP_HUB, "kill", p->life, 0, 0);
    while (s->first && rng_chance(&w->disk, 500)) {
        struct txn *t = s->first;
        commit(w, t);
        if (!(s->first = t->next))
            s->last = &s->first;
        free(t);
    }
    drop_txns(s);
    p->alive = false;
    net_process_gone(w, SIM_EP_HUB, false);
}

/* ---- from the net ---- */

void hubnode_conn_up(struct world *w, struct sconn *c)
{
    unsigned peer = net_peer(c, SIM_EP_HUB);
    struct kt_msg hello = {.type = KT_MSG_HELLO};
    hello.u.hello.cls = KT_CLASS_CONTROL;
    if (peer < SIM_EP_CLIENT(0)) {
        struct snode *n = &w->nodes[peer - SIM_EP_NODE(0)];
        hello.u.hello.role = KT_ROLE_REPLICATOR;
        hello.u.hello.id = n->node.id;
        hello.u.hello.store = n->uuid;
        hello.u.hello.boot = n->node.boot;
        hello.u.hello.incarnation = n->disk->incarnation;
    } else {
        hello.u.hello.role = KT_ROLE_CLIENT;
        hello.u.hello.id = w->clients[peer - SIM_EP_CLIENT(0)].id;
    }
    struct hub_event ev = {
        .type = HUB_EV_CONN_UP, .conn = c->id, .msg = &hello};
    step(w, &ev);
}

void hubnode_msg(struct world *w, struct sconn *c, const struct smsg *m)
{
    struct hub_event ev = {.type = HUB_EV_MSG, .conn = c->id, .msg = &m->msg};
    step(w, &ev);
}

void hubnode_conn_down(struct world *w, uint64_t conn)
{
    struct hub_event ev = {.type = HUB_EV_CONN_DOWN, .conn = conn};
    step(w, &ev);
}

/* ---- what others look at ---- */

unsigned hubnode_phase(struct world *w, unsigned chain)
{
    const struct hub_chain *c = hub_chain_of(&w->hub->h, chain + 1);
    return c ? c->op.phase : 0;
}

bool hubnode_volume_ready(struct world *w)
{
    return w->hub->created;
}

uint64_t hubnode_token(struct world *w)
{
    return w->hub->volume_row.att.token;
}

const struct kt_cfg *hubnode_cfg(struct world *w, unsigned chain)
{
    return &w->hub->chain_rows[chain].cfg;
}

struct hub *hubnode_hub(struct world *w)
{
    return &w->hub->h;
}

bool hubnode_is_old(const struct world *w)
{
    return w->hub->is_old;
}

bool hubnode_heard(const struct world *w, const struct kt_id *node)
{
    const struct hub_node *n = hub_node_of(&w->hub->h, node);
    return n && n->seen;
}
