/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's shell: attaching, renewing, links to members, and the step. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk.h"

#define TICK_US (ENGINE_TICK_MS * SIM_MS)
#define RENEW_US (3000u * SIM_MS)
#define DEAF_US (9000u * SIM_MS)
#define STEPS_MAX 100000u

void client_init(struct world *w, unsigned index)
{
    struct sclient *c = &w->clients[index];
    c->w = w;
    c->index = index;
    c->ep = SIM_EP_CLIENT(index);
    c->out = malloc(sizeof(*c->out));
    assert(c->out);
    w->procs[c->ep].machine = true;
}

void client_release(struct sclient *c)
{
    free(c->engine);
    free(c->out);
}

static void tick(struct world *w, uint64_t index, uint64_t life, uint64_t x);

void client_start(struct sclient *c, bool steal)
{
    struct world *w = c->w;
    struct proc *p = &w->procs[c->ep];
    if (p->alive)
        return;
    p->alive = true;
    p->life++;
    p->paused_until = 0;
    /* Mostly a new identity, sometimes the one it had (C3). */
    if (kt_id_is_zero(&c->id) || rng_chance(&w->work, 700)) {
        uint64_t v = rng_next(&w->work);
        memcpy(c->id.b, &v, 8);
    }
    c->state = CL_CONNECT;
    c->handing = false;
    c->leaving_us = 0;
    c->file.token = 0;
    c->steal = steal;
    c->bad_frames = 0;
    c->hub_up = c->fenced = false;
    c->hub_conn = c->next_us = 0;
    memset(c->slots, 0, sizeof(c->slots));
    trace(w, c->ep, "start", p->life, steal, 0);
    world_at(w, 1, tick, c->index, p->life, 0);
}

static void restart(struct world *w, uint64_t index, uint64_t life, uint64_t x)
{
    struct sclient *c = &w->clients[index];
    struct kt_id id = c->id;
    uint64_t token = c->file.token;
    (void)x;
    if (w->procs[c->ep].alive || w->procs[c->ep].life != life || w->closing)
        return;
    client_start(c, rng_chance(&w->fault, 300));
    c->id = id;
    c->file.token = token;
    c->handing = token != 0;
}

void client_restart(struct sclient *c, uint64_t delay_us)
{
    client_crash(c);
    world_at(c->w, delay_us, restart, c->index, c->w->procs[c->ep].life, 0);
}

bool client_settled(const struct sclient *c)
{
    struct world *w = c->w;
    if (!c->engine || c->fenced || c->opts.token != w->newest_token)
        return true;
    for (unsigned i = 0; i < w->p.chains; i++) {
        /* Of a chain on which it has nothing to do it hears by RENEW. */
        if (engine_settled(c->engine, i) != hubnode_cfg(w, i)->vgen)
            return false;
    }
    return true;
}

void client_note(struct sclient *c)
{
    struct engine_info i;
    if (!c->engine)
        return;
    engine_info(c->engine, &i);
    c->w->st->replays += i.replays;
    c->w->st->resends += i.resends;
    c->w->st->behind += i.behind;
    SIM_CHECK(c->w, i.behind == 0, "a member said BEHIND (I20)");
    c->w->st->bad_sums += i.bad_sums;
    SIM_CHECK(c->w,
              i.bad_sums <= c->bad_frames || c->w->directed ||
                  disk_damages(c->w),
              "an answer was damaged");
}

void client_crash(struct sclient *c)
{
    struct world *w = c->w;
    struct proc *p = &w->procs[c->ep];
    if (!p->alive)
        return;
    trace(w, c->ep, "gone", p->life, 0, 0);
    p->alive = false;
    net_process_gone(w, c->ep, false);
    client_note(c);
    work_client_gone(c);
    free(c->engine);
    c->engine = NULL;
    c->state = CL_OFF;
}

void client_close(struct sclient *c)
{
    if (c->state == CL_CONNECT || c->state == CL_ATTACH)
        client_crash(c);
}

/* ---- the engine ---- */

static void estep(struct sclient *c, struct engine_event *ev);

/* The state file, some time after there is something new to say. */
static void save(struct world *w, uint64_t index, uint64_t life, uint64_t x)
{
    struct sclient *c = &w->clients[index];
    (void)x;
    if (w->procs[c->ep].life != life || !c->engine || c->handing)
        return;
    for (unsigned i = 0; i < w->p.chains; i++) {
        if (!engine_settled(c->engine, i))
            return;
    }
    for (unsigned i = 0; i < w->p.chains; i++)
        c->file.vgen[i] = engine_settled(c->engine, i);
    c->file.token = c->opts.token;
}

/* It is told what it lost; its user accepts that, later. */
static void refuse(struct world *w, uint64_t index, uint64_t life, uint64_t x)
{
    struct sclient *c = &w->clients[index];
    (void)x;
    if (w->procs[c->ep].life != life)
        return;
    c->file.token = 0;
    w->st->hand_overs_refused++;
    client_crash(c);
}

/* It takes over once it knows the vgen of every chain. */
static void take_over(struct sclient *c)
{
    struct world *w = c->w;
    struct engine_info i;
    if (!c->handing || !c->engine)
        return;
    engine_info(c->engine, &i);
    if (i.fenced)
        c->handing = false;
    if (!i.ready || i.lost || i.fenced)
        return;
    trace(w, c->ep, "takes over", c->opts.token, c->file.token, 0);
    for (uint64_t t = c->file.token + 1; t < c->opts.token; t++)
        SIM_CHECK(w, !w->held_by[t] || w->held_by[t] == c->ep,
                  "token %" PRIu64 " takes over from %" PRIu64
                  " although another had the volume in between (B10)",
                  c->opts.token, c->file.token);
    w->adopted[c->opts.token] = c->file.token;
    w->st->hand_overs++;
    c->handing = false;
    save(w, c->index, w->procs[c->ep].life, 0);
    work_start(c);
}

static void reset_later(struct world *w, uint64_t index, uint64_t slot,
                        uint64_t conn)
{
    struct sclient *c = &w->clients[index];
    if (c->slots[slot].conn == conn && w->procs[c->ep].alive) {
        net_close(w, conn, c->ep);
        client_conn_down(c, conn);
    }
}

static void act_connect(struct sclient *c, const struct engine_action *a)
{
    struct world *w = c->w;
    for (unsigned i = 0; i < w->p.nodes; i++) {
        if (kt_id_eq(&w->nodes[i].node.id, &a->node->id))
            c->slots[a->slot].node = (int)i;
    }
    if (c->slots[a->slot].wanted)
        return;
    c->slots[a->slot].wanted = true;
    c->slots[a->slot].next_us = 0;
    c->slots[a->slot].conn = net_connect(
        w, c->ep, SIM_EP_NODE(c->slots[a->slot].node), KT_CLASS_DATA);
}

static void act_disconnect(struct sclient *c, uint32_t slot)
{
    uint64_t conn = c->slots[slot].conn;
    memset(&c->slots[slot], 0, sizeof(c->slots[slot]));
    if (conn)
        net_close(c->w, conn, c->ep);
}

static void act(struct sclient *c, const struct engine_action *a)
{
    struct world *w = c->w;
    switch (a->type) {
    case ENGINE_ACT_SEND:
        if (a->msg.type == KT_MSG_WRITE)
            ghost_sent(c, &a->msg);
        net_send(w, c->slots[a->slot].conn, c->ep, &a->msg, NULL);
        break;
    case ENGINE_ACT_COMPLETE:
        work_done(c, a->req);
        break;
    case ENGINE_ACT_CONNECT:
        act_connect(c, a);
        break;
    case ENGINE_ACT_DISCONNECT:
        act_disconnect(c, a->slot);
        break;
    case ENGINE_ACT_RESET:
        trace(w, c->ep, "reset", a->slot, 0, 0);
        world_at(w, 0, reset_later, c->index, a->slot, c->slots[a->slot].conn);
        break;
    case ENGINE_ACT_FENCED:
        trace(w, c->ep, "fenced", c->opts.token, 0, 0);
        c->fenced = true;
        w->st->fences++;
        break;
    case ENGINE_ACT_LOST:
        trace(w, c->ep, "lost", a->chain, 0, 0);
        world_at(w, 0, refuse, c->index, w->procs[c->ep].life, 0);
        break;
    case ENGINE_ACT_SETTLED:
        world_at(w, 2 * SIM_MS, save, c->index, w->procs[c->ep].life, 0);
        break;
    case ENGINE_ACT_REPLAY:
        trace(w, c->ep, "replay", a->chain, 0, 0);
        faults_replay(c);
        break;
    default:
        break;
    }
}

static void hurry(struct world *w, uint64_t index, uint64_t life, uint64_t x)
{
    struct sclient *c = &w->clients[index];
    (void)x;
    if (!world_runs(w, c->ep) || w->procs[c->ep].life != life || !c->engine)
        return;
    c->hurried = false;
    struct engine_event ev = {.type = ENGINE_EV_TICK};
    estep(c, &ev);
}

static void estep(struct sclient *c, struct engine_event *ev)
{
    struct world *w = c->w;
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        ev->now_ms = world_ms(w);
        engine_step(c->engine, ev, c->out);
        engine_check(c->engine);
        for (uint32_t k = 0; k < c->out->n; k++)
            act(c, &c->out->act[k]);
        if (!c->out->more)
            break;
        *ev = (struct engine_event){.type = ENGINE_EV_MORE};
    }
    c->ghost = c->ghost_ack = NULL;
    take_over(c);
    if (c->out->hurry && !c->hurried) {
        c->hurried = true;
        world_at(w, 10 * SIM_MS, hurry, c->index, w->procs[c->ep].life, 0);
    }
}

void client_submit(struct sclient *c, struct engine_req *r)
{
    struct engine_event ev = {.type = ENGINE_EV_SUBMIT, .req = r};
    estep(c, &ev);
}

static void attached(struct sclient *c, const struct kt_msg *m)
{
    struct world *w = c->w;
    if (c->state != CL_ATTACH || m->req != c->req)
        return;
    c->opts =
        (struct engine_opts){.volume = m->u.attach_ok.volume_id,
                             .token = m->u.attach_ok.token,
                             .size = m->u.attach_ok.size,
                             .segment_bytes = m->u.attach_ok.segment_bytes,
                             .retain_bytes = ENGINE_RETAIN_MIN};
    if (c->handing)
        c->opts.settled = c->file.vgen;
    void *mem = calloc(1, engine_bytes(&c->opts));
    assert(mem);
    c->engine = engine_init(mem, &c->opts);
    c->state = CL_RUN;
    if (c->opts.token < SIM_TOKENS_MAX)
        w->held_by[c->opts.token] = c->ep;
    c->hurried = false;
    c->renew_us = w->now + RENEW_US;
    memset(c->acked, 0, sizeof(c->acked));
    trace(w, c->ep, "attached", c->opts.token, 0, 0);
    if (!c->handing)
        work_start(c);
}

/* ---- ending in peace ---- */

#define DETACH_US (3000u * SIM_MS)

bool client_detach(struct sclient *c)
{
    if (c->state != CL_RUN || c->fenced || c->handing || c->leaving_us)
        return false;
    trace(c->w, c->ep, "detach", c->opts.token, 0, 0);
    c->leaving_us = c->w->now;
    c->flushed = false;
    return true;
}

static void send_hub(struct sclient *c, uint8_t type);

/* What runs is waited for; then a flush, so that nothing is lost with it;
 * then the hub is told, and it ends, with or without an answer. */
static void leave_turn(struct sclient *c)
{
    struct world *w = c->w;
    if (c->in_flight || c->fenced)
        return;
    if (!c->flushed) {
        c->flushed = true;
        c->asked_us = 0;
        work_one(c, ENGINE_FLUSH, 0, 0, false);
        c->leaving_us = w->now;
    } else if (w->now - c->leaving_us > DETACH_US) {
        client_crash(c);
    } else if (c->hub_up && w->now - c->asked_us > 500 * SIM_MS) {
        send_hub(c, KT_MSG_DETACH);
    }
}

static void detached(struct sclient *c, const struct kt_msg *m)
{
    if (!c->leaving_us || m->req != c->req)
        return;
    c->w->st->detached++;
    client_crash(c);
}

/* ---- time ---- */

static void send_hub(struct sclient *c, uint8_t type)
{
    struct kt_msg m = {.type = type, .req = ++c->req};
    if (type == KT_MSG_ATTACH) {
        memcpy(m.u.attach.volume, "v", 2);
        m.u.attach.client = c->id;
        m.u.attach.pid = c->index + 1;
        m.u.attach.steal = c->steal;
        if (c->handing) {
            m.u.attach.volume_id = c->w->volume;
            m.u.attach.token = c->file.token;
        }
        /* Sometimes it sits on a member's node: that one becomes head. */
        m.u.attach.node[0] = 'n';
        m.u.attach.node[1] = (char)('1' + c->w->procs[c->ep].life % 5);
    } else {
        m.u.attach.volume_id = c->opts.volume;
        m.u.attach.client = c->id;
        m.u.attach.token = c->opts.token;
        m.u.attach.n_cut = (uint8_t)engine_cut(c->engine, world_ms(c->w),
                                               m.u.attach.cut, KT_CUT_MAX);
    }
    c->asked_us = c->w->now;
    net_send(c->w, c->hub_conn, c->ep, &m, NULL);
}

/* The hub should know of a node that cannot be reached any more. */
static bool cut_more(struct sclient *c)
{
    struct kt_id cut[KT_CUT_MAX];
    uint32_t n = engine_cut(c->engine, world_ms(c->w), cut, KT_CUT_MAX);
    bool more = n > c->n_cut;
    c->n_cut = n;
    return more;
}

static void hub_turn(struct sclient *c)
{
    struct world *w = c->w;
    if (!c->hub_conn && c->next_us <= w->now) {
        c->hub_conn = net_connect(w, c->ep, SIM_EP_HUB, KT_CLASS_CONTROL);
        return;
    }
    if (!c->hub_up)
        return;
    if (c->state == CL_CONNECT && c->next_us <= w->now) {
        c->state = CL_ATTACH;
        send_hub(c, KT_MSG_ATTACH);
    } else if (c->state == CL_ATTACH && w->now - c->asked_us > DEAF_US) {
        send_hub(c, KT_MSG_ATTACH);
    } else if (c->state == CL_RUN &&
               !(c->leaving_us && c->flushed && c->in_flight == 0)) {
        bool more = cut_more(c);
        if (more || c->renew_us <= w->now) {
            c->renew_us = w->now + RENEW_US;
            send_hub(c, KT_MSG_RENEW);
        }
    }
    /* An attach may take its time. */
    uint64_t deaf = c->state == CL_RUN ? DEAF_US : 2 * DEAF_US;
    if (c->state != CL_CONNECT && w->now - c->hub_heard_us > deaf) {
        uint64_t conn = c->hub_conn;
        net_close(w, conn, c->ep);
        client_conn_down(c, conn);
    }
}

static void slots_turn(struct sclient *c)
{
    struct world *w = c->w;
    for (unsigned i = 0; i < ENGINE_NODES_MAX; i++) {
        if (c->slots[i].wanted && !c->slots[i].conn &&
            c->slots[i].next_us <= w->now)
            c->slots[i].conn = net_connect(
                w, c->ep, SIM_EP_NODE(c->slots[i].node), KT_CLASS_DATA);
    }
}

static void tick(struct world *w, uint64_t index, uint64_t life, uint64_t x)
{
    struct sclient *c = &w->clients[index];
    (void)x;
    if (!w->procs[c->ep].alive || w->procs[c->ep].life != life)
        return;
    world_at(w, TICK_US, tick, index, life, 0);
    if (!world_runs(w, c->ep))
        return;
    hub_turn(c);
    if (!c->engine)
        return;
    slots_turn(c);
    struct engine_event ev = {.type = ENGINE_EV_TICK};
    estep(c, &ev);
    if (c->leaving_us)
        leave_turn(c);
    if (c->engine && c->fenced && c->in_flight == 0)
        client_crash(c);
}

/* ---- from the net ---- */

static int slot_of(const struct sclient *c, uint64_t conn)
{
    for (unsigned i = 0; i < ENGINE_NODES_MAX; i++) {
        if (conn && c->slots[i].conn == conn)
            return (int)i;
    }
    return -1;
}

void client_conn_up(struct sclient *c, struct sconn *k)
{
    int slot = slot_of(c, k->id);
    if (k->id == c->hub_conn) {
        c->hub_up = true;
        c->hub_heard_us = c->w->now;
        c->renew_us = 0;
        if (c->state == CL_ATTACH)
            c->state = CL_CONNECT;
        hub_turn(c);
    } else if (slot >= 0) {
        struct engine_event ev = {.type = ENGINE_EV_LINK_UP,
                                  .slot = (uint32_t)slot};
        c->slots[slot].up = true;
        estep(c, &ev);
    }
}

void client_conn_down(struct sclient *c, uint64_t conn)
{
    int slot = slot_of(c, conn);
    uint64_t again = c->w->now + 50 * SIM_MS;
    if (conn == c->hub_conn) {
        c->hub_conn = 0;
        c->hub_up = false;
        c->next_us = again;
        if (c->state == CL_ATTACH)
            c->state = CL_CONNECT;
    } else if (slot >= 0) {
        bool was = c->slots[slot].up;
        c->slots[slot].up = false;
        c->slots[slot].conn = 0;
        c->slots[slot].next_us = again;
        struct engine_event ev = {.type = ENGINE_EV_LINK_DOWN,
                                  .slot = (uint32_t)slot};
        if (was && c->engine)
            estep(c, &ev);
    }
}

static void hub_error(struct sclient *c, const struct kt_msg *m)
{
    struct engine_event ev = {.type = ENGINE_EV_FENCED};
    int err = m->u.error.err;
    if (c->state == CL_ATTACH && m->req == c->req) {
        c->state = CL_CONNECT;
        c->next_us = c->w->now + 500 * SIM_MS;
        if (err == KT_E_FENCED && c->handing)
            refuse(c->w, c->index, c->w->procs[c->ep].life, 0);
        else if (err == KT_E_FENCED)
            client_crash(c);
    } else if (c->state == CL_RUN && err == KT_E_FENCED) {
        estep(c, &ev);
    }
}

static void from_hub(struct sclient *c, const struct kt_msg *m)
{
    struct engine_event ev = {.type = ENGINE_EV_CFG, .cfg = m->cfg};
    c->hub_heard_us = c->w->now;
    switch (m->type) {
    case KT_MSG_ATTACH_OK:
        attached(c, m);
        break;
    case KT_MSG_ACTIVATE:
        if (c->state == CL_RUN && m->cfg)
            estep(c, &ev);
        break;
    case KT_MSG_DETACH_OK:
        detached(c, m);
        break;
    case KT_MSG_ERROR:
        hub_error(c, m);
        break;
    default:
        break;
    }
}

void client_msg(struct sclient *c, struct sconn *k, const struct smsg *m)
{
    if (k->id == c->hub_conn) {
        from_hub(c, &m->msg);
        return;
    }
    int slot = slot_of(c, k->id);
    if (slot < 0 || !c->engine)
        return;
    c->ghost = m->msg.type == KT_MSG_DATA ? m->ghost : NULL;
    c->ghost_ack = m->msg.type == KT_MSG_ACK ? m->ghost : NULL;
    c->ghost_vgen = m->msg.type == KT_MSG_ACK ? m->msg.u.ack.vgen : 0;
    struct engine_event ev = {.type = ENGINE_EV_MSG,
                              .slot = (uint32_t)slot,
                              .msg = &m->msg,
                              .err = m->err};
    c->bad_frames += m->err != 0;
    estep(c, &ev);
}
