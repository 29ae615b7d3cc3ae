/* SPDX-License-Identifier: BSD-3-Clause */
/* Attach, renew, detach (B9).
 *
 *   1. ATTACH: the record with a fresh token is stored; from then on it is the
 *      truth, whatever becomes of the client.
 *   2. Every chain gets (client, token) by an operation of its own.
 *   3. All ACTIVE with the token: ATTACH_OK, then every configuration, in the
 *      order of the segments. If the hub restarts before, the client asks
 *      again and gets a newer token.
 * A lease only says how long another client must wait (A1). */
#include "hub/control/internal.h"

/* ---- pushing configurations ---- */

static struct hub_bound *bound_to(struct hub_conn *c, uint32_t volume)
{
    for (unsigned i = 0; i < c->n_bound; i++) {
        if (c->bound[i].volume == volume)
            return &c->bound[i];
    }
    return NULL;
}

static void unbind(struct hub_conn *c, uint32_t volume)
{
    struct hub_bound *b = bound_to(c, volume);

    if (b)
        *b = c->bound[--c->n_bound];
}

void hub_unbind_volume(struct hub *h, uint32_t volume)
{
    for (uint32_t i = 0; i < h->conns_max; i++)
        unbind(&h->conns[i], volume);
}

static void push(struct hub *h, const struct hub_conn *to,
                 const struct hub_chain *c)
{
    struct kt_msg *m = hub_send(h, to->id, KT_MSG_ACTIVATE);

    m->chain = c->row.cfg.chain;
    m->epoch = c->row.cfg.epoch;
    m->cfg = &c->row.cfg;
}

static void push_rest(struct hub *h, struct hub_conn *to, struct hub_bound *b)
{
    while (b->next != HUB_NONE) {
        const struct hub_chain *c = &h->chains[b->next];
        if (hub_room(h) < HUB_CHAIN_ROOM) {
            h->out->more = true;
            return;
        }
        if (c->row.cfg.phase == KT_PHASE_ACTIVE)
            push(h, to, c);
        b->next = c->next_of_volume;
    }
}

void hub_push_run(struct hub *h)
{
    for (uint32_t i = 0; i < h->conns_max; i++) {
        struct hub_conn *c = &h->conns[i];
        for (unsigned j = 0; c->id && j < c->n_bound; j++)
            push_rest(h, c, &c->bound[j]);
    }
}

static void bind_and_push(struct hub *h, struct hub_conn *c, uint32_t volume)
{
    struct hub_bound *b = bound_to(c, volume);

    if (!b) {
        if (c->n_bound == HUB_BOUND_MAX) /* the oldest gives way */
            memmove(&c->bound[0], &c->bound[1],
                    sizeof(c->bound[0]) * --c->n_bound);
        b = &c->bound[c->n_bound++];
        b->volume = volume;
    }
    b->next = h->volumes[volume].first_chain;
    push_rest(h, c, b);
}

void hub_push_chain(struct hub *h, const struct hub_chain *c)
{
    for (uint32_t i = 0; i < h->conns_max; i++) {
        struct hub_conn *to = &h->conns[i];
        struct hub_bound *b = to->id ? bound_to(to, c->volume) : NULL;
        if (!b)
            continue;
        if (b->next != HUB_NONE &&
            h->chains[b->next].row.cfg.seg <= c->row.cfg.seg)
            continue; /* its turn comes */
        if (hub_room(h) > HUB_CHAIN_ROOM / 2) {
            push(h, to, c);
        } else {
            b->next = h->volumes[c->volume].first_chain;
            h->out->more = true;
        }
    }
}

/* ---- attach ---- */

static void say_held(struct hub *h, const struct hub_conn *c,
                     const struct hub_volume *v, uint64_t req)
{
    const struct hub_attachment *att = &v->row.att;
    struct hub_text t = hub_error(h, c->id, req, KT_E_HELD);

    hub_text_add(&t, "volume ");
    hub_text_add(&t, v->row.name);
    hub_text_add(&t, " is attached on node ");
    hub_text_add(&t, att->node[0] ? att->node : "(unnamed)");
    hub_text_add(&t, " (pid ");
    hub_text_num(&t, att->pid);
    hub_text_add(&t, ") since ");
    hub_text_time(&t, att->since_s);
    hub_text_add(&t, "; stop that one, or take it with steal");
}

static void say(struct hub *h, const struct hub_conn *c, uint64_t req, int err,
                const char *name, const char *what)
{
    struct hub_text t = hub_error(h, c->id, req, err);

    hub_text_add(&t, "volume ");
    hub_text_add(&t, name);
    hub_text_add(&t, what);
}

/* Nobody is fenced, and no volume is gone, because the database is old. */
void hub_say_recovering(struct hub *h, uint64_t conn, uint64_t req)
{
    struct hub_text t;

    if (!conn)
        return;
    t = hub_error(h, conn, req, KT_E_BUSY);
    hub_text_add(&t, "the hub's database is an old copy and is being brought "
                     "up to date from the nodes: see kenter status");
}

/* The name as sent may be anything. */
static void say_no_volume(struct hub *h, const struct hub_conn *c,
                          const struct kt_msg *m)
{
    const char *name = m->u.attach.volume;
    struct hub_text t = hub_error(h, c->id, m->req, KT_E_NO_VOLUME);

    hub_text_add(&t, "there is no volume ");
    hub_text_add(&t, kt_name_valid(name) ? name : "of that name");
    hub_text_add(&t, "; kenter volume ls shows those there are");
}

/* True when this client may have it now; else it was told why not. */
static bool may_attach(struct hub *h, const struct hub_conn *c,
                       const struct hub_volume *v, const struct kt_msg *m)
{
    const struct hub_attachment *att = &v->row.att;
    bool same = att->token && kt_id_eq(&att->client, &m->u.attach.client);
    bool leased = v->lease_ms > h->now_ms;

    if (v->row.state != HUB_VOLUME_READY || v->txn ||
        (v->wait != HUB_WAIT_NONE && v->wait != HUB_WAIT_ATTACH)) {
        say(h, c, m->req, KT_E_BUSY, v->row.name,
            " is being changed just now; try again in a moment");
        return false;
    }
    if (v->wait == HUB_WAIT_ATTACH && !same && !m->u.attach.steal &&
        (v->wait_conn || leased)) {
        say(h, c, m->req, KT_E_BUSY, v->row.name,
            " is being attached by another client just now");
        return false;
    }
    if (att->token && !same && leased && !m->u.attach.steal) {
        say_held(h, c, v, m->req);
        return false;
    }
    return true;
}

/* B10: a server process took over from one with m's token, and meanwhile the
 * volume was given to somebody else. */
static bool held_since(const struct hub_volume *v, const struct kt_msg *m)
{
    const struct hub_attachment *att = &v->row.att;
    const struct kt_id *id = &m->u.attach.volume_id;
    uint64_t token = m->u.attach.token;

    if (!token || !kt_id_eq(id, &v->row.id) || !KT_RULE(held_since))
        return false;
    /* It may have asked more than once before it served anything. */
    if (att->token)
        return att->token != token &&
               !kt_id_eq(&att->client, &m->u.attach.client);
    return hub_first_unknown(v, &v->row) != token + 1;
}

static void attach(struct hub *h, struct hub_conn *c, const struct kt_msg *m)
{
    struct hub_volume *v = kt_name_valid(m->u.attach.volume)
                               ? hub_volume_named(h, m->u.attach.volume)
                               : hub_volume_of(h, &m->u.attach.volume_id);
    bool bad_node =
        m->u.attach.node[0] != '\0' && !kt_name_valid(m->u.attach.node);

    if (kt_id_is_zero(&m->u.attach.client) || bad_node) {
        struct hub_text t = hub_error(h, c->id, m->req, KT_E_INVALID);
        hub_text_add(&t, "attaching needs a client identity and, if any, a "
                         "valid node name");
        return;
    }
    if (v ? v->regain != HUB_REGAIN_NO : hub_in_recovery(h)) {
        hub_say_recovering(h, c->id, m->req);
        return;
    }
    if (!v) {
        say_no_volume(h, c, m);
        return;
    }
    if (v->row.state == HUB_VOLUME_LOST) {
        say(h, c, m->req, KT_E_FAULTY, v->row.name,
            " is not whole: no node holds all of it");
        return;
    }
    if (held_since(v, m)) {
        say(h, c, m->req, KT_E_FENCED, v->row.name,
            " was attached by another client in between");
        return;
    }
    if (!may_attach(h, c, v, m))
        return;
    if (v->wait == HUB_WAIT_ATTACH &&
        kt_id_eq(&v->row.att.client, &m->u.attach.client)) {
        /* Asked again before the answer: nobody has the token yet. */
        v->wait_conn = c->id;
        v->wait_req = m->req;
        return;
    }
    if (v->wait == HUB_WAIT_ATTACH && v->wait_conn) {
        struct hub_text t =
            hub_error(h, v->wait_conn, v->wait_req, KT_E_FENCED);
        hub_text_add(&t, "another client took the volume");
    }
    v->pend = v->row;
    struct hub_attachment *att = &v->pend.att;
    memset(att, 0, sizeof(*att));
    att->client = m->u.attach.client;
    att->token = v->pend.next_token++; /* never reused */
    memcpy(att->node, m->u.attach.node, sizeof(att->node));
    att->pid = m->u.attach.pid;
    att->since_s = h->wall_s;
    v->wait = HUB_WAIT_ATTACH;
    v->wait_conn = c->id;
    v->wait_req = m->req;
    v->wait_ms = h->now_ms;
    hub_volume_change(h, v, HUB_TXN_ATTACH);
}

void hub_attach_progress(struct hub *h, struct hub_volume *v)
{
    const struct hub_attachment *att = &v->row.att;
    struct hub_conn *c = hub_conn_of(h, v->wait_conn);
    uint32_t at = v->first_chain;

    assert(v->wait == HUB_WAIT_ATTACH && !v->txn);
    for (uint32_t i = 0; i < v->n_chains; i++) {
        const struct kt_cfg *cfg = &h->chains[at].row.cfg;
        if (cfg->phase != KT_PHASE_ACTIVE ||
            (cfg->token != att->token && KT_RULE(attach_wait)))
            return;
        at = h->chains[at].next_of_volume;
    }
    v->wait = HUB_WAIT_NONE;
    v->lease_ms = h->now_ms + HUB_LEASE_MS;
    if (!c)
        return;
    struct kt_msg *m = hub_send(h, c->id, KT_MSG_ATTACH_OK);
    m->req = v->wait_req;
    m->u.attach_ok.volume_id = v->row.id;
    m->u.attach_ok.size = v->row.size;
    m->u.attach_ok.token = att->token;
    m->u.attach_ok.segment_bytes = v->row.segment_bytes;
    m->u.attach_ok.lease_ms = HUB_LEASE_MS;
    m->u.attach_ok.n_chains = v->n_chains;
    v->wait_conn = 0;
    bind_and_push(h, c, hub_volume_index(h, v));
}

/* ---- renew and detach ---- */

static void note_cut(struct hub *h, struct hub_volume *v,
                     const struct kt_msg *m)
{
    v->n_cut = 0;
    v->cut_ms = h->now_ms;
    for (unsigned i = 0; i < m->u.attach.n_cut && i < KT_CUT_MAX; i++) {
        const struct hub_node *n = hub_node_of(h, &m->u.attach.cut[i]);
        if (n)
            v->cut[v->n_cut++] = hub_node_index(h, n);
    }
    if (v->n_cut)
        hub_chains_wake_volume(h, v);
}

bool hub_holder_cut(const struct hub *h, const struct hub_volume *v,
                    const struct hub_node *n)
{
    if (!v->row.att.token || h->now_ms - v->cut_ms > HUB_LEASE_MS)
        return false;
    for (uint32_t i = 0; n && i < v->n_cut; i++) {
        if (v->cut[i] == hub_node_index(h, n))
            return true;
    }
    return false;
}

static void say_fenced(struct hub *h, struct hub_conn *c,
                       const struct hub_volume *v, const struct kt_msg *m)
{
    unbind(c, hub_volume_index(h, v));
    say(h, c, m->req, KT_E_FENCED, v->row.name,
        " was taken by another client, or detached");
}

static void renew(struct hub *h, struct hub_conn *c, struct hub_volume *v,
                  const struct kt_msg *m)
{
    uint32_t at = hub_volume_index(h, v);

    if (!v->row.att.token || v->row.att.token != m->u.attach.token) {
        say_fenced(h, c, v, m);
        return;
    }
    v->lease_ms = h->now_ms + HUB_LEASE_MS;
    note_cut(h, v, m);
    /* A server that went to the background after its attach has another pid
     * now. It is only shown: no transaction for it. */
    if (m->u.attach.pid)
        v->row.att.pid = m->u.attach.pid;
    if (!v->row.att.node[0] && kt_name_valid(m->u.attach.node))
        memcpy(v->row.att.node, m->u.attach.node, sizeof(v->row.att.node));
    struct kt_msg *r = hub_send(h, c->id, KT_MSG_RENEW_OK);
    r->req = m->req;
    r->u.attach.volume_id = v->row.id;
    r->u.attach.token = v->row.att.token;
    if (!bound_to(c, at) && v->wait == HUB_WAIT_NONE)
        bind_and_push(h, c, at);
}

static void detach_ok(struct hub *h, uint64_t conn, uint64_t req,
                      const struct hub_volume *v)
{
    struct kt_msg *r = hub_send(h, conn, KT_MSG_DETACH_OK);

    r->req = req;
    r->u.attach.volume_id = v->row.id;
}

static void detach(struct hub *h, struct hub_conn *c, struct hub_volume *v,
                   const struct kt_msg *m)
{
    uint64_t token = m->u.attach.token;

    if (!v->row.att.token && token && token < v->row.next_token) {
        detach_ok(h, c->id, m->req, v); /* asked again */
        return;
    }
    if (!token || v->row.att.token != token) {
        say_fenced(h, c, v, m);
        return;
    }
    if (v->txn || (v->wait != HUB_WAIT_NONE && v->wait != HUB_WAIT_ATTACH)) {
        say(h, c, m->req, KT_E_BUSY, v->row.name,
            " is being changed just now; try again in a moment");
        return;
    }
    v->pend = v->row;
    memset(&v->pend.att, 0, sizeof(v->pend.att));
    v->wait = HUB_WAIT_DETACH;
    v->wait_conn = c->id;
    v->wait_req = m->req;
    hub_volume_change(h, v, HUB_TXN_DETACH);
}

void hub_client_msg(struct hub *h, struct hub_conn *c, const struct kt_msg *m)
{
    struct hub_volume *v;

    if (m->type == KT_MSG_ATTACH) {
        attach(h, c, m);
        return;
    }
    v = hub_volume_of(h, &m->u.attach.volume_id);
    if (v && m->type == KT_MSG_RENEW &&
        m->u.attach.token >= hub_first_unknown(v, &v->row))
        hub_recover_token(h, v, m);
    if (v ? v->regain != HUB_REGAIN_NO
          : hub_in_recovery(h) || !hub_tombed(h, &m->u.attach.volume_id))
        hub_say_recovering(h, c->id, m->req);
    else if (!v)
        say_no_volume(h, c, m);
    else if (m->type == KT_MSG_RENEW)
        renew(h, c, v, m);
    else
        detach(h, c, v, m);
}

void hub_attach_stored(struct hub *h, struct hub_volume *v, unsigned why)
{
    uint32_t at = hub_volume_index(h, v);
    struct hub_action *a =
        hub_note(h, why == HUB_TXN_ATTACH ? HUB_N_ATTACHED : HUB_N_DETACHED);

    v->row = v->pend;
    a->volume = at;
    a->a = v->row.att.token;
    v->lease_ms = v->row.att.token ? h->now_ms + HUB_LEASE_MS : 0;
    v->n_cut = 0;
    hub_chains_wake_volume(h, v);
    if (why == HUB_TXN_ATTACH) {
        hub_attach_progress(h, v);
        return;
    }
    struct hub_conn *c = hub_conn_of(h, v->wait_conn);
    v->wait = HUB_WAIT_NONE;
    v->wait_conn = 0;
    if (!c)
        return;
    unbind(c, at);
    detach_ok(h, c->id, v->wait_req, v);
}

/* An attach whose client hung up goes on: its record stands. */
void hub_client_conn_down(struct hub *h, uint64_t conn)
{
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        struct hub_volume *v = &h->volumes[i];
        if (v->used && v->wait_conn == conn)
            v->wait_conn = 0;
    }
}
