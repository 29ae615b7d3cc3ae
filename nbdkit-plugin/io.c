/* SPDX-License-Identifier: BSD-3-Clause */
/* The I/O thread of a volume: polls its sockets, keeps its clock, carries out
 * what the engine asks for, renews the attachment.
 *
 *   1. under the lock: connections that failed or came up are told to the
 *      engine; due timers run; the poll set is made;
 *   2. poll, without the lock;
 *   3. what arrived is read and decoded without the lock, then stepped
 *      through the engine under it; queued bytes are sent under it.
 * Links are opened, closed and read only here. Workers only send, see
 * volume.c; what their send leaves behind, or breaks, comes here by the kick.
 *
 * Leaving (cleanup, or nobody has the volume open): a last flush goes through
 * the engine; when it is complete, or after LEAVE_MS, the thread ends. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "lib/base/os.h"
#include "nbdkit-plugin/volume.h"

#define IDLE_TICK_MS 1000u
#define HURRY_TICK_MS 10u
#define RENEW_MS 3000u
#define RENEW_PATIENCE_MS 12000u
#define LEAVE_MS 10000u

void io_kick(struct volume *v)
{
    uint64_t one = 1;
    ssize_t n = write(v->kick, &one, sizeof(one));
    (void)n; /* full means: already kicked */
}

/* ---- carrying out actions (lock held) ---- */

static void do_send(struct volume *v, const struct engine_action *a)
{
    struct link *l = v->links[a->slot];
    if (!l || l->state != LINK_UP)
        return; /* the engine will hear of it */
    if (link_send(l, &a->msg, v->enc, sizeof(v->enc)))
        v->need_kick = true;
}

static void do_connect(struct volume *v, const struct engine_action *a)
{
    struct link *l = v->links[a->slot];
    if (!l)
        l = v->links[a->slot] = link_new(KT_CLASS_DATA);
    if (!l) {
        nbdkit_error("volume %s: out of memory for a link", v->name);
        return;
    }
    const struct kt_node *n = a->node;
    bool near = kt_id_eq(&n->boot, &options.boot);
    l->peer = n->id;
    l->n_addrs = l->addr = 0;
    if (near && n->unix_.kind == KT_ADDR_UNIX)
        l->addrs[l->n_addrs++] = n->unix_;
    if (n->tcp.kind == KT_ADDR_TCP)
        l->addrs[l->n_addrs++] = n->tcp;
    l->fails = 0;
    link_open(l, kt_now_ms());
}

static void do_reset(struct volume *v, const struct engine_action *a)
{
    struct link *l = v->links[a->slot];
    nbdkit_debug("kenter: volume %s: node %s is silent, connecting anew",
                 v->name, a->node->name);
    if (l && l->state != LINK_OFF)
        link_open(l, kt_now_ms());
}

static void do_disconnect(struct volume *v, const struct engine_action *a)
{
    if (!v->links[a->slot])
        return;
    link_close(v->links[a->slot]);
    v->links[a->slot]->told_up = false;
}

static void do_complete(struct volume *v, struct engine_req *r)
{
    if (r == &v->last)
        v->left = true;
    else
        sem_post((sem_t *)(uintptr_t)r->tag);
}

static void perform(struct volume *v, const struct engine_action *a)
{
    switch (a->type) {
    case ENGINE_ACT_SEND:
        do_send(v, a);
        break;
    case ENGINE_ACT_COMPLETE:
        do_complete(v, a->req);
        break;
    case ENGINE_ACT_CONNECT:
        do_connect(v, a);
        break;
    case ENGINE_ACT_DISCONNECT:
        do_disconnect(v, a);
        break;
    case ENGINE_ACT_RESET:
        do_reset(v, a);
        break;
    case ENGINE_ACT_STALLED:
        nbdkit_error("volume %s: chain %" PRIu64 " gives no answer for %" PRIu64
                     " ms; requests wait until it is reconfigured",
                     v->name, a->chain, a->ms);
        break;
    case ENGINE_ACT_RESUMED:
        nbdkit_error("volume %s: chain %" PRIu64 " goes on after %" PRIu64
                     " ms",
                     v->name, a->chain, a->ms);
        break;
    case ENGINE_ACT_REPLAY:
        nbdkit_error("volume %s: the replicas of chain %" PRIu64
                     " lost unflushed writes; they are sent again",
                     v->name, a->chain);
        break;
    case ENGINE_ACT_SETTLED:
        v->save_due = v->settled != NULL;
        v->need_kick = true;
        break;
    case ENGINE_ACT_LOST: /* before the first request */
        v->dead = true;
        v->lost_chain = a->chain;
        break;
    case ENGINE_ACT_FENCED:
        v->dead = true;
        nbdkit_error("volume %s is attached elsewhere or was removed; every "
                     "request here fails from now on",
                     v->name);
        break;
    }
}

void io_step(struct volume *v, struct engine_event ev)
{
    ev.now_ms = kt_now_ms();
    do {
        engine_step(v->engine, &ev, &v->out);
        for (uint32_t i = 0; i < v->out.n; i++)
            perform(v, &v->out.act[i]);
        ev.type = ENGINE_EV_MORE;
    } while (v->out.more);
    v->hurry = v->out.hurry;
}

/* ---- links ---- */

static void greet(struct volume *v, struct link *l)
{
    struct kt_msg m;
    hello_fill(&m, KT_ROLE_CLIENT, l->cls);
    link_send(l, &m, v->enc, sizeof(v->enc));
}

static void refused(struct volume *v, struct link *l, const char *why)
{
    if (!l->complained)
        nbdkit_error("volume %s: %s refused us: %s", v->name,
                     l == v->hub ? "the hub" : "a replicator", why);
    l->complained = true;
}

/* The first message of the other side. False: it will not do. */
static bool greeted(struct volume *v, struct link *l, const struct kt_msg *m)
{
    if (m->type == KT_MSG_REFUSE) {
        refused(v, l, m->u.error.text);
        return false;
    }
    if (m->type != KT_MSG_HELLO_OK)
        return false;
    if (!kt_id_is_zero(&l->peer) && !kt_id_eq(&l->peer, &m->u.hello.id))
        return false; /* another node answers at this address */
    l->framer.hello_done = true;
    l->state = LINK_UP;
    l->fails = 0;
    l->complained = false;
    return true;
}

/* Tells the engine of links that came or went, opens those that are due. */
static void look_after(struct volume *v, struct link *l, uint32_t slot,
                       uint64_t now)
{
    bool late = (l->state == LINK_CONNECTING || l->state == LINK_GREETING) &&
                now >= l->deadline_ms;
    if (l->broken || late)
        link_fail(l, now);
    if (l != v->hub && l->told_up && l->state != LINK_UP) {
        l->told_up = false;
        io_step(v, (struct engine_event){.type = ENGINE_EV_LINK_DOWN,
                                         .slot = slot});
    }
    if (l != v->hub && !l->told_up && l->state == LINK_UP) {
        l->told_up = true;
        io_step(v,
                (struct engine_event){.type = ENGINE_EV_LINK_UP, .slot = slot});
    }
    if (l->state == LINK_WAITING && now >= l->retry_ms)
        link_open(l, now);
}

static void pong(struct volume *v, struct link *l, const struct kt_msg *ping)
{
    struct kt_msg m = {.type = KT_MSG_PONG, .req = ping->req};
    link_send(l, &m, v->enc, sizeof(v->enc));
}

/* ---- the hub ---- */

static void hub_msg(struct volume *v, const struct kt_msg *m)
{
    uint8_t type = 0;
    switch (m->type) {
    case KT_MSG_ACTIVATE:
    case KT_MSG_CFG:
        if (m->cfg)
            io_step(
                v, (struct engine_event){.type = ENGINE_EV_CFG, .cfg = m->cfg});
        return;
    case KT_MSG_RENEW_OK:
        v->renewed_ms = kt_now_ms();
        return;
    case KT_MSG_ERROR:
        if (m->u.error.err == KT_E_FENCED)
            type = ENGINE_EV_FENCED;
        else if (m->u.error.err == KT_E_NO_VOLUME)
            type = ENGINE_EV_GONE;
        nbdkit_debug("kenter: volume %s: the hub says: %s", v->name,
                     m->u.error.text);
        break;
    default:
        return;
    }
    if (type)
        io_step(v, (struct engine_event){.type = type});
}

static void renew(struct volume *v, uint64_t now)
{
    struct link *l = v->hub;
    if (l->state != LINK_UP || v->dead)
        return;
    if (!l->told_up) { /* a new connection: the hub binds us to it again */
        l->told_up = true;
        v->renewed_ms = now;
        v->renew_ms = now;
    }
    if (now - v->renewed_ms >= RENEW_PATIENCE_MS) {
        link_fail(l, now);
        l->told_up = false;
        return;
    }
    struct kt_msg m = {.type = KT_MSG_RENEW, .req = now};
    m.u.attach.n_cut =
        (uint8_t)engine_cut(v->engine, now, m.u.attach.cut, KT_CUT_MAX);
    bool more = m.u.attach.n_cut > v->n_cut; /* the hub should know */
    v->n_cut = m.u.attach.n_cut;
    if (now < v->renew_ms && !more)
        return;
    m.u.attach.volume_id = v->id;
    m.u.attach.client = options.client;
    m.u.attach.token = v->token;
    m.u.attach.pid = (uint32_t)getpid();
    memcpy(m.u.attach.volume, v->name, sizeof(m.u.attach.volume));
    memcpy(m.u.attach.node, options.ctx.node, sizeof(m.u.attach.node));
    link_send(l, &m, v->enc, sizeof(v->enc));
    v->renew_ms = now + RENEW_MS;
}

/* ---- the loop ---- */

/* One decoded message. False: the link is of no use. */
static bool incoming(struct volume *v, struct link *l, uint32_t slot,
                     const struct kt_msg *m, int err)
{
    if (l->state == LINK_GREETING)
        return err == 0 && greeted(v, l, m);
    if (m->type == KT_MSG_PING)
        pong(v, l, m);
    else if (m->type == KT_MSG_ADMIN || m->type == KT_MSG_ADMIN_OK)
        json_decref(m->json); /* nobody should send us one */
    else if (l == v->hub)
        hub_msg(v, m);
    else if (l->told_up)
        io_step(v,
                (struct engine_event){
                    .type = ENGINE_EV_MSG, .slot = slot, .msg = m, .err = err});
    return true;
}

static void read_link(struct volume *v, struct link *l, uint32_t slot)
{
    for (;;) {
        struct kt_msg m;
        struct kt_buf *buf = NULL;
        int err = 0;
        int fd = l->fd;
        int r = fd < 0 ? 0 : link_recv(l, &v->room, &m, &buf, &err);
        if (r == 0)
            return;
        pthread_mutex_lock(&v->lock);
        if (l->state == LINK_UP && l != v->hub && !l->told_up)
            look_after(v, l, slot, kt_now_ms());
        if (r < 0 || !incoming(v, l, slot, &m, err))
            link_fail(l, kt_now_ms());
        if (l == v->hub && l->state != LINK_UP)
            l->told_up = false;
        pthread_mutex_unlock(&v->lock);
        if (r > 0)
            kt_buf_unref(buf);
        if (l->fd != fd)
            return; /* closed, perhaps opened anew */
    }
}

/* What poll found on one link. */
static void serve(struct volume *v, struct link *l, uint32_t slot, short got)
{
    if (l->state == LINK_CONNECTING && got) {
        pthread_mutex_lock(&v->lock);
        int r = link_connected(l);
        if (r > 0)
            greet(v, l);
        else if (r < 0)
            link_fail(l, kt_now_ms());
        pthread_mutex_unlock(&v->lock);
        return;
    }
    if (got & POLLOUT) {
        pthread_mutex_lock(&v->lock);
        if (link_flush(l) < 0)
            link_fail(l, kt_now_ms());
        pthread_mutex_unlock(&v->lock);
    }
    if (got & (POLLIN | POLLHUP | POLLERR))
        read_link(v, l, slot);
}

static void timers(struct volume *v, uint64_t now)
{
    for (uint32_t i = 0; i < ENGINE_NODES_MAX; i++)
        if (v->links[i])
            look_after(v, v->links[i], i, now);
    look_after(v, v->hub, 0, now);
    renew(v, now);
    uint64_t due = v->tick_ms;
    if (v->hurry) /* but not with every message */
        due = kt_min_u64(due, v->ticked_ms + HURRY_TICK_MS);
    if (now < due)
        return;
    v->ticked_ms = now;
    struct engine_info info;
    io_step(v, (struct engine_event){.type = ENGINE_EV_TICK});
    engine_info(v->engine, &info);
    bool busy = info.requests || info.retained;
    v->tick_ms = now + (busy ? ENGINE_TICK_MS : IDLE_TICK_MS);
}

/* The poll set: 0 is the kick, 1 the hub, then links[slot[i]]. */
struct set {
    struct pollfd p[ENGINE_NODES_MAX + 2];
    uint32_t slot[ENGINE_NODES_MAX + 2];
    uint32_t n;
};

static void add(struct set *s, const struct link *l, uint32_t slot)
{
    if (!l || l->fd < 0)
        return;
    bool out = l->state == LINK_CONNECTING || l->count > 0;
    s->p[s->n] = (struct pollfd){
        .fd = l->fd, .events = (short)(POLLIN | (out ? POLLOUT : 0))};
    s->slot[s->n++] = slot;
}

static void gather(struct volume *v, struct set *s)
{
    s->p[0] = (struct pollfd){.fd = v->kick, .events = POLLIN};
    s->n = 1;
    add(s, v->hub, ENGINE_NODES_MAX);
    for (uint32_t i = 0; i < ENGINE_NODES_MAX; i++)
        add(s, v->links[i], i);
}

static int patience(const struct volume *v, uint64_t now)
{
    uint64_t until = v->tick_ms;
    if (v->hurry)
        until = kt_min_u64(until, v->ticked_ms + HURRY_TICK_MS);
    for (uint32_t i = 0; i < ENGINE_NODES_MAX; i++)
        if (v->links[i] && v->links[i]->state == LINK_WAITING)
            until = kt_min_u64(until, v->links[i]->retry_ms);
    return until > now ? (int)(until - now) : 0;
}

/* True when the thread may end. */
static bool leaving(struct volume *v, uint64_t now)
{
    if (!v->leave_ms && volume_must_leave(v, now)) {
        v->leave_ms = now + LEAVE_MS;
        memset(&v->last, 0, sizeof(v->last));
        v->last.op = ENGINE_FLUSH;
        io_step(v, (struct engine_event){.type = ENGINE_EV_SUBMIT,
                                         .req = &v->last});
    }
    if (!v->leave_ms || (!v->left && now < v->leave_ms))
        return false;
    if (!v->left)
        nbdkit_error("volume %s: the last flush was not answered; detaching "
                     "without it",
                     v->name);
    return true;
}

static void turn(struct volume *v, const struct set *s)
{
    if (s->p[0].revents) {
        uint64_t n;
        ssize_t got = read(v->kick, &n, sizeof(n));
        (void)got;
    }
    for (uint32_t i = 1; i < s->n; i++) {
        struct link *l =
            s->slot[i] == ENGINE_NODES_MAX ? v->hub : v->links[s->slot[i]];
        if (s->p[i].revents && l->fd == s->p[i].fd)
            serve(v, l, s->slot[i], s->p[i].revents);
    }
}

void *io_main(void *volume)
{
    struct volume *v = volume;
    struct set s;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&v->lock);
    for (;;) {
        uint64_t now = kt_now_ms();
        timers(v, now);
        if (leaving(v, now))
            break;
        handover_keep(v, now);
        gather(v, &s);
        int ms = patience(v, now);
        pthread_mutex_unlock(&v->lock);
        int n = poll(s.p, s.n, ms);
        if (n > 0)
            turn(v, &s);
        pthread_mutex_lock(&v->lock);
    }
    bool clean = v->left && v->last.err == 0;
    pthread_mutex_unlock(&v->lock);
    if (!v->dead && hub_detach(v) == 0 && clean)
        handover_end(v);
    volume_left(v);
    return NULL;
}
