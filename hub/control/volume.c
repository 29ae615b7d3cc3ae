/* SPDX-License-Identifier: BSD-3-Clause */
/* Making and removing volumes.
 *
 * Create: 1. the volume's row (CREATING) and the numbers of its chains are
 * stored; 2. chains are placed and each becomes ACTIVE by an ordinary
 * operation; 3. the row READY is stored, then the person is answered. What
 * takes over 10 s, or is found half made by a new hub, is removed.
 * Remove: tombstone in, rows out, in one transaction; then members are told to
 * release, now or when they register (I22). */
#include <errno.h>

#include "hub/control/internal.h"

struct hub_action *hub_volume_change(struct hub *h, struct hub_volume *v,
                                     unsigned why)
{
    assert(v->used && !v->txn && !v->dropping);
    struct hub_action *a =
        hub_store(h, HUB_OWNER_VOLUME, hub_volume_index(h, v));

    v->txn = a->txn;
    v->txn_why = (uint8_t)why;
    struct hub_row *r = hub_row_add(a, HUB_ROW_VOLUME);
    r->u.volume = why == HUB_TXN_RM ? &v->row : &v->pend;
    r->del = why == HUB_TXN_RM;
    return a;
}

/* ---- create ---- */

/* Fills the row of a valid request; HUB_D_OK or what is wrong. */
static enum hub_detail check(const struct hub *h, const struct hub_event *ev,
                             struct hub_volume_row *row)
{
    const struct hub_admin *q = ev->admin;
    uint64_t seg =
        q->segment_bytes ? q->segment_bytes : h->cluster.segment_bytes;
    uint64_t seg_max = (uint64_t)KT_SEGMENT_EXTENTS_MAX * KT_EXTENT_BYTES;
    uint32_t replicas = q->replicas ? q->replicas : 3;
    uint32_t min_write = q->min_write;

    if (!kt_name_valid(q->name) || kt_id_is_zero(&q->id))
        return HUB_D_NAME;
    if (q->size < KT_VOLUME_BYTES_MIN || q->size > KT_VOLUME_BYTES_MAX ||
        q->size % KT_SECTOR_BYTES != 0)
        return HUB_D_SIZE;
    if (seg < KT_EXTENT_BYTES || seg > seg_max || (seg & (seg - 1)) != 0)
        return HUB_D_SEGMENT;
    if (replicas > HUB_REPLICAS_MAX)
        return HUB_D_REPLICAS;
    if (!min_write)
        min_write = replicas < 2 ? replicas : 2;
    if (min_write > replicas)
        return HUB_D_MIN_WRITE;
    memset(row, 0, sizeof(*row));
    memcpy(row->name, q->name, sizeof(row->name));
    row->id = q->id;
    row->size = q->size;
    row->segment_bytes = seg;
    row->created_s = h->wall_s;
    row->next_token = 1;
    row->replicas = (uint8_t)replicas;
    row->min_write = (uint8_t)min_write;
    row->durability = q->durability == KT_DURABILITY_SYNC ? KT_DURABILITY_SYNC
                                                          : KT_DURABILITY_FLUSH;
    row->state = HUB_VOLUME_CREATING;
    return HUB_D_OK;
}

uint64_t hub_volume_segments(const struct hub_volume_row *r)
{
    return (r->size + r->segment_bytes - 1) / r->segment_bytes;
}

struct hub_volume *hub_volume_slot(struct hub *h)
{
    for (uint32_t i = 0; i < h->volumes_max; i++) {
        if (h->volumes[i].used)
            continue;
        if (i >= h->volumes_used)
            h->volumes_used = i + 1;
        return &h->volumes[i];
    }
    return NULL;
}

static void no_room(struct hub *h, const struct hub_event *ev,
                    enum hub_detail detail, uint64_t x, uint64_t y)
{
    struct hub_action *a = hub_admin_done(
        h, ev->conn, ev->req,
        detail == HUB_D_NODES ? KT_E_NO_NODES : KT_E_LIMIT, detail);

    a->a = x;
    a->b = y;
}

static void create(struct hub *h, const struct hub_event *ev)
{
    struct hub_volume_row row;
    enum hub_detail detail = check(h, ev, &row);

    if (detail != HUB_D_OK) {
        hub_admin_done(h, ev->conn, ev->req, KT_E_INVALID, detail);
        return;
    }
    if (hub_volume_named(h, row.name)) {
        hub_admin_done(h, ev->conn, ev->req, KT_E_EXISTS, HUB_D_EXISTS);
        return;
    }
    unsigned fit = hub_place_fit(h);
    uint32_t chains = hub_chains_free(h);
    if (fit < row.replicas) {
        no_room(h, ev, HUB_D_NODES, fit, row.replicas);
        return;
    }
    if (hub_volume_segments(&row) > chains) {
        no_room(h, ev, HUB_D_CHAINS, hub_volume_segments(&row), chains);
        return;
    }
    struct hub_volume *v = hub_volume_slot(h);
    if (!v) {
        no_room(h, ev, HUB_D_VOLUMES, 0, h->volumes_max);
        return;
    }
    memset(v, 0, sizeof(*v));
    v->used = true;
    v->row = v->pend = row; /* the name is taken from now on */
    v->first_chain = v->last_chain = HUB_NONE;
    v->history = ev->admin->history;
    v->base_chain = h->cluster_pend.next_chain;
    h->cluster_pend.next_chain += hub_volume_segments(&row);
    v->wait = HUB_WAIT_CREATE;
    v->wait_conn = ev->conn;
    v->wait_req = ev->req;
    v->wait_ms = h->now_ms;
    struct hub_action *a = hub_volume_change(h, v, HUB_TXN_CREATE);
    hub_row_add(a, HUB_ROW_CLUSTER)->u.cluster = &h->cluster_pend;
}

static bool place_chain(struct hub *h, struct hub_volume *v, uint32_t seg)
{
    const struct hub_volume_row *vr = &v->row;
    uint64_t per = vr->segment_bytes / KT_EXTENT_BYTES;
    uint64_t all = (vr->size + KT_EXTENT_BYTES - 1) / KT_EXTENT_BYTES;
    uint32_t at[HUB_REPLICAS_MAX];
    struct hub_chain_row r;

    memset(&r, 0, sizeof(r));
    r.cfg.chain = v->base_chain + seg;
    r.cfg.volume = vr->id;
    r.cfg.seg = seg;
    r.cfg.first_extent = seg * per;
    r.cfg.n_extents = (uint32_t)kt_min_u64(per, all - r.cfg.first_extent);
    r.cfg.epoch = 1;
    r.cfg.phase = KT_PHASE_PREPARE;
    r.cfg.history = v->history;
    r.cfg.vgen = 1;
    r.cfg.want_r = vr->replicas;
    r.cfg.min_write = vr->min_write;
    r.cfg.durability = vr->durability;
    r.cfg.n_members = vr->replicas;
    if (hub_place(h, r.cfg.chain, vr->replicas, at) < vr->replicas)
        return false;
    for (unsigned i = 0; i < vr->replicas; i++) {
        const struct hub_node *n = &h->nodes[at[i]];
        struct kt_member *m = &r.cfg.members[i];
        m->store = n->row.store;
        m->incarnation = n->row.incarnation;
        m->state = KT_M_WAITING;
        m->node = n->row.node;
    }
    assert(kt_cfg_invalid(&r.cfg) == NULL);
    return hub_chain_new(h, &r, hub_volume_index(h, v)) != NULL;
}

/* ---- remove ---- */

static void remove_volume(struct hub *h, struct hub_volume *v, int err,
                          enum hub_detail detail)
{
    v->wait = HUB_WAIT_RM;
    v->done_err = err;
    v->done_detail = (uint8_t)detail;
    memset(&v->tomb, 0, sizeof(v->tomb));
    v->tomb.volume = v->row.id;
    memcpy(v->tomb.name, v->row.name, sizeof(v->tomb.name));
    v->tomb.removed_s = h->wall_s;
    struct hub_action *a = hub_volume_change(h, v, HUB_TXN_RM);
    hub_row_add(a, HUB_ROW_CHAINS_OF)->u.volume_id = &v->row.id;
    a->rows[a->n_rows - 1].del = true;
    if (h->n_tombs == h->tombs_max) {
        struct hub_row *r = hub_row_add(a, HUB_ROW_TOMB);
        r->u.tomb = &h->tombs[h->next_tomb];
        r->del = true;
    }
    hub_row_add(a, HUB_ROW_TOMB)->u.tomb = &v->tomb;
}

static void rm(struct hub *h, const struct hub_event *ev)
{
    struct hub_volume *v = hub_volume_named(h, ev->admin->name);

    if (!v) {
        hub_admin_done(h, ev->conn, ev->req, KT_E_NO_VOLUME, HUB_D_NO_VOLUME);
    } else if (v->row.att.token && v->lease_ms > h->now_ms) {
        hub_admin_done(h, ev->conn, ev->req, KT_E_IN_USE, HUB_D_IN_USE)->id =
            v->row.id;
    } else if (v->txn || v->wait != HUB_WAIT_NONE) {
        hub_admin_done(h, ev->conn, ev->req, KT_E_BUSY, HUB_D_BUSY);
    } else {
        v->wait_conn = ev->conn;
        v->wait_req = ev->req;
        remove_volume(h, v, 0, HUB_D_OK);
    }
}

void hub_admin(struct hub *h, const struct hub_event *ev)
{
    unsigned op = ev->admin->op;

    if (op == HUB_ADMIN_RECOVER)
        hub_recover_admin(h, ev);
    else if (op == HUB_ADMIN_PROMOTE || op == HUB_ADMIN_DISCARD)
        hub_order_admin(h, ev);
    else if (hub_in_recovery(h))
        hub_admin_done(h, ev->conn, ev->req, KT_E_BUSY, HUB_D_RECOVER);
    else if (op == HUB_ADMIN_CREATE)
        create(h, ev);
    else
        rm(h, ev);
}

/* ---- progress ---- */

static void answer(struct hub *h, struct hub_volume *v, int err,
                   enum hub_detail detail)
{
    v->wait = HUB_WAIT_NONE;
    if (!v->wait_conn)
        return;
    struct hub_action *a =
        hub_admin_done(h, v->wait_conn, v->wait_req, err, detail);
    a->id = v->row.id;
    a->volume = hub_volume_index(h, v);
    a->a = v->done_a;
    a->b = v->done_b;
    v->wait_conn = 0;
}

static unsigned active_chains(const struct hub *h, const struct hub_volume *v)
{
    unsigned k = 0;
    uint32_t at = v->first_chain;

    for (uint32_t i = 0; i < v->n_chains; i++) {
        k += h->chains[at].row.cfg.phase == KT_PHASE_ACTIVE;
        at = h->chains[at].next_of_volume;
    }
    return k;
}

void hub_volume_progress(struct hub *h, struct hub_volume *v)
{
    if (!v->used || v->dropping || v->txn)
        return;
    if (v->wait == HUB_WAIT_CREATE && v->row.state == HUB_VOLUME_CREATING) {
        if (active_chains(h, v) < v->n_chains)
            return;
        v->pend = v->row;
        v->pend.state = HUB_VOLUME_READY;
        hub_volume_change(h, v, HUB_TXN_READY);
    } else if (v->wait == HUB_WAIT_ATTACH) {
        hub_attach_progress(h, v);
    }
}

static void created(struct hub *h, struct hub_volume *v)
{
    uint32_t n = (uint32_t)hub_volume_segments(&v->row);

    h->cluster.next_chain =
        kt_max_u64(h->cluster.next_chain, v->base_chain + n);
    for (uint32_t seg = 0; seg < n; seg++) {
        if (place_chain(h, v, seg))
            continue;
        v->done_a = hub_place_fit(h);
        v->done_b = v->row.replicas;
        remove_volume(h, v, KT_E_NO_NODES, HUB_D_NODES);
        return;
    }
    hub_chains_wake_volume(h, v);
}

void hub_volume_stored(struct hub *h, struct hub_volume *v)
{
    unsigned why = v->txn_why;

    v->txn = 0;
    switch (why) {
    case HUB_TXN_CREATE:
        created(h, v);
        break;
    case HUB_TXN_READY:
        v->row = v->pend;
        answer(h, v, 0, HUB_D_OK);
        break;
    case HUB_TXN_RM:
        v->dropping = true;
        hub_tomb_put(h, &v->tomb);
        hub_unbind_volume(h, hub_volume_index(h, v));
        answer(h, v, v->done_err, (enum hub_detail)v->done_detail);
        h->out->more = true;
        break;
    case HUB_TXN_FENCE:
        hub_order_fenced(h, v);
        break;
    case HUB_TXN_REGAIN:
        hub_regain_volume_stored(h, v);
        break;
    default:
        hub_attach_stored(h, v, why);
        break;
    }
}

/* Members that are here are told now; the others when they register. */
static void drop(struct hub *h, struct hub_volume *v)
{
    while (v->n_chains > 0) {
        struct hub_chain *c = &h->chains[v->first_chain];
        if (hub_room(h) < HUB_CHAIN_ROOM) {
            h->out->more = true;
            return;
        }
        for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
            const struct hub_node *n =
                hub_member_node(h, &c->row.cfg.members[i]);
            if (!n || !n->conn)
                continue;
            hub_release(h, n->conn, c->row.cfg.chain, &v->row.id);
        }
        hub_order_end(h, c, HUB_D_BUSY);
        hub_chain_free(h, c);
    }
    memset(v, 0, sizeof(*v));
}

void hub_volumes_tick(struct hub *h)
{
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        struct hub_volume *v = &h->volumes[i];
        if (!v->used)
            continue;
        if (hub_room(h) < HUB_CHAIN_ROOM) {
            h->out->more = true;
            return;
        }
        if (v->dropping) {
            drop(h, v);
        } else if (v->txn || hub_in_recovery(h)) {
            continue;
        } else if (v->found_creating && hub_recover_all_in(h)) {
            /* All who might have more of it than the hub (B15) were here. */
            v->found_creating = false;
            remove_volume(h, v, 0, HUB_D_OK);
        } else if (v->wait == HUB_WAIT_CREATE &&
                   h->now_ms - v->wait_ms >= HUB_CREATE_MS + v->n_chains) {
            v->done_a = active_chains(h, v);
            v->done_b = v->n_chains;
            remove_volume(h, v, -ETIMEDOUT, HUB_D_TIMEOUT);
        }
    }
}
