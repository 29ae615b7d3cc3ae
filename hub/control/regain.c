/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking over what the nodes know (B15).
 *
 *   1. Every member of the greatest configuration known of a chain is asked
 *      for the one it keeps (CFG_GET); a greater one may name more members.
 *      Of a configuration that nobody keeps nothing was acknowledged, so what
 *      the nodes say comes before what the database says.
 *   2. All chains of a volume are through: its token jumps past every one
 *      seen, lest a fenced client come back. One that a client shows, and no
 *      node knows, is good when nodes know of no later attachment. Stored
 *      first.
 *   3. Each chain's row becomes the greatest configuration, with a PREPARE
 *      above every promise, so it moves at once (B4). Stored first (I5).
 *
 * Members that are named lost are not waited for. While fewer of the serving
 * ones are lost than min_write, every acknowledged write is known to one that
 * answered (B12), and so is every configuration that acknowledged it. Else
 * the writer is fenced and vgen is new. */
#include "hub/control/internal.h"

/* Epochs, and starts of the hub, that only the lost ones may know. */
#define LOST_JUMP (1ull << 20)
#define LOST_TERMS (1ull << 10)

static uint64_t bit_of(const struct hub *h, const struct hub_node *n)
{
    return 1ull << hub_node_index(h, n);
}

/* ---- beginning ---- */

void hub_regain_chain(struct hub *h, struct hub_chain *c)
{
    if (c->recovering)
        return;
    hub_order_end(h, c, HUB_D_BUSY);
    c->recovering = true;
    c->heard = kt_max_u64(c->heard, kt_max_u64(c->op.epoch, c->row.prepare));
    hub_op_clear(c);
    memset(&c->regain, 0, sizeof(c->regain));
    c->op.next = c->row;
    c->regain.token = c->row.cfg.token;
    c->regain.client = c->row.cfg.client;
    c->synced = c->sync_failed = false;
    c->act_pending = 0;
}

void hub_regain_volume(struct hub *h, struct hub_volume *v)
{
    uint32_t at = v->first_chain;

    if (v->dropping || v->regain == HUB_REGAIN_ASK)
        return;
    v->regain = HUB_REGAIN_ASK;
    for (uint32_t i = 0; i < v->n_chains; i++) {
        struct hub_chain *c = &h->chains[at];
        hub_regain_chain(h, c);
        at = c->next_of_volume;
    }
}

/* ---- asking ---- */

/* Quarantined copies never serve again, so they know nothing newer. */
static bool is_asked(const struct kt_member *m)
{
    return m->state != KT_M_QUARANTINED && m->state != KT_M_RELEASED;
}

static void ask(struct hub *h, struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->op.next.cfg;

    if (c->regain.ask_ms > h->now_ms)
        return;
    c->regain.ask_ms = h->now_ms + HUB_ASK_MS;
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &cfg->members[i]);
        if (!hub_node_live(n) || !is_asked(&cfg->members[i]) ||
            c->regain.answered & bit_of(h, n))
            continue;
        hub_send(h, n->conn, KT_MSG_CFG_GET)->chain = cfg->chain;
    }
}

bool hub_regain_answered(const struct hub *h, const struct hub_chain *c,
                         unsigned member)
{
    const struct kt_member *m = &c->op.next.cfg.members[member];
    const struct hub_node *n = hub_member_node(h, m);

    assert(c->recovering && member < c->op.next.cfg.n_members);
    return !is_asked(m) || (n && c->regain.answered & bit_of(h, n));
}

static bool is_lost(const struct hub *h, const struct hub_chain *c, unsigned i)
{
    return !hub_regain_answered(h, c, i) &&
           hub_named_lost(h, c->op.next.cfg.members[i].node.name);
}

bool hub_regain_lossy(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->op.next.cfg;
    unsigned lost = 0;

    for (unsigned i = 0; i < cfg->n_members; i++) {
        unsigned state = cfg->members[i].state;
        lost += (state == KT_M_SERVING || state == KT_M_SYNCING) &&
                is_lost(h, c, i);
    }
    return lost >= kt_max_u64(1, cfg->min_write);
}

static bool is_through(const struct hub *h, const struct hub_chain *c)
{
    for (unsigned i = 0; i < c->op.next.cfg.n_members; i++) {
        if (!hub_regain_answered(h, c, i) && !is_lost(h, c, i))
            return false;
    }
    return true;
}

/* ---- answers ---- */

static void text_hex(struct hub_text *t, const struct kt_id *id)
{
    static const char digits[] = "0123456789abcdef";
    char one[3] = "";

    for (unsigned i = 0; i < sizeof(id->b); i++) {
        one[0] = digits[id->b[i] >> 4];
        one[1] = digits[id->b[i] & 15];
        hub_text_add(t, one);
    }
}

/* A volume made after the copy was taken. Its name and its exact size are
 * gone; the rest is in the configurations. */
static struct hub_volume *found_volume(struct hub *h, const struct kt_cfg *cfg)
{
    struct hub_volume *v = hub_volume_slot(h);

    if (!v)
        return NULL;
    memset(v, 0, sizeof(*v));
    v->used = true;
    v->row.id = cfg->volume;
    struct hub_text t = hub_text(v->row.name, sizeof(v->row.name));
    hub_text_add(&t, "recovered-");
    text_hex(&t, &cfg->volume);
    v->row.created_s = h->wall_s;
    v->row.next_token = 1;
    v->row.replicas = cfg->want_r;
    v->row.min_write = cfg->min_write;
    v->row.durability = cfg->durability;
    v->row.state = HUB_VOLUME_READY;
    v->first_chain = v->last_chain = HUB_NONE;
    hub_note(h, HUB_N_REGAIN_NEW)->volume = hub_volume_index(h, v);
    return v;
}

/* Nobody answered for this chain before. */
static struct hub_chain *found_chain(struct hub *h, const struct kt_cfg *cfg)
{
    struct hub_volume *v = hub_volume_of(h, &cfg->volume);
    struct hub_chain_row r = {.cfg = *cfg};
    struct hub_chain *c = NULL;

    if (!v)
        v = found_volume(h, cfg);
    if (v)
        c = hub_chain_new(h, &r, hub_volume_index(h, v));
    if (!c) {
        h->unplaced++;
        hub_note(h, HUB_N_LIMIT)->a = HUB_ROW_CHAIN;
        return NULL;
    }
    hub_regain_volume(h, v);
    hub_regain_chain(h, c);
    return c;
}

static void on_cfg(struct hub *h, struct hub_node *n, const struct kt_msg *m)
{
    const struct kt_cfg *cfg = m->cfg;
    struct hub_chain *c;

    if (!cfg || kt_cfg_invalid(cfg) || cfg->phase != KT_PHASE_ACTIVE)
        return;
    c = hub_chain_of(h, cfg->chain);
    if (hub_tombed(h, &cfg->volume))
        return;
    if (!c)
        c = found_chain(h, cfg);
    if (!c || !c->recovering || c->op.phase != HUB_OP_NONE ||
        !kt_id_eq(&c->row.cfg.volume, &cfg->volume))
        return;
    c->regain.answered |= bit_of(h, n);
    c->regain.none &= ~bit_of(h, n);
    c->heard = kt_max_u64(c->heard, cfg->epoch);
    c->regain.next_token = kt_max_u64(c->regain.next_token, cfg->next_token);
    if (cfg->token > c->regain.token) {
        c->regain.token = cfg->token;
        c->regain.client = cfg->client;
    }
    if (!c->regain.from_node || cfg->epoch > c->op.next.cfg.epoch) {
        c->op.next.cfg = *cfg;
        c->regain.from_node = true;
        c->regain.ask_ms = 0; /* it may name others */
    }
}

static void on_nak(struct hub *h, struct hub_node *n, const struct kt_msg *m)
{
    struct hub_chain *c = hub_chain_of(h, m->chain);
    int err = m->u.nak.err;

    if (!c || !c->recovering ||
        (err != KT_E_UNKNOWN_CHAIN && err != KT_E_NOT_SERVING))
        return;
    c->regain.answered |= bit_of(h, n);
    if (err == KT_E_UNKNOWN_CHAIN)
        c->regain.none |= bit_of(h, n);
}

void hub_regain_answer(struct hub *h, struct hub_node *n,
                       const struct kt_msg *m)
{
    if (!hub_in_recovery(h))
        return;
    if (m->type == KT_MSG_CFG)
        on_cfg(h, n, m);
    else if (m->u.nak.re == KT_MSG_CFG_GET)
        on_nak(h, n, m);
    n->owed -= n->owed > 0 && m->req == HUB_REQ_UNKNOWN;
}

/* ---- taking over: the volume ---- */

static bool has_lost(const struct hub *h, const struct hub_chain *c)
{
    for (unsigned i = 0; i < c->op.next.cfg.n_members; i++) {
        if (is_lost(h, c, i))
            return true;
    }
    return false;
}

/* It was active once, and all who could have it say that they do not. */
static bool nobody_holds(const struct hub *h, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->op.next.cfg;

    if (c->regain.from_node || cfg->last_epoch == 0)
        return false;
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &cfg->members[i]);
        if (n && c->regain.answered & ~c->regain.none & bit_of(h, n))
            return false;
    }
    return true;
}

/* What all its chains together say. */
struct sum {
    bool through, whole, lost, lossy, all_from_nodes;
    bool held;  /* every chain, by the configuration that the nodes have */
    bool freed; /* some chain, by one that is newer than the database */
    uint64_t token, next_token;
    uint64_t untold; /* epochs of which the nodes know the promise alone */
    struct kt_id client;
};

static struct sum sum_up(const struct hub *h, const struct hub_volume *v)
{
    struct sum s = {
        .through = true, .whole = true, .all_from_nodes = true, .held = true};
    uint32_t at = v->first_chain;

    for (uint32_t i = 0; i < v->n_chains && s.through; i++) {
        const struct hub_chain *c = &h->chains[at];
        const struct kt_cfg *cfg = &c->op.next.cfg;
        s.through = is_through(h, c);
        s.lost = s.lost || has_lost(h, c);
        s.lossy = s.lossy || hub_regain_lossy(h, c);
        s.whole = s.whole && !nobody_holds(h, c);
        s.all_from_nodes = s.all_from_nodes && c->regain.from_node;
        s.held = s.held && cfg->token != 0;
        s.freed = s.freed || (c->regain.from_node && cfg->token == 0 &&
                              cfg->epoch > c->row.cfg.epoch);
        s.next_token = kt_max_u64(s.next_token, c->regain.next_token);
        if (c->heard > cfg->epoch)
            s.untold = kt_max_u64(s.untold, c->heard - cfg->epoch);
        if (c->regain.token > s.token) {
            s.token = c->regain.token;
            s.client = c->regain.client;
        }
        at = c->next_of_volume;
    }
    return s;
}

/* Size and segment of a volume that only the nodes know: to the extent. */
static void measure(const struct hub *h, struct hub_volume_row *row,
                    const struct hub_volume *v)
{
    const struct kt_cfg *end = &h->chains[v->last_chain].op.next.cfg;
    uint64_t extents = end->first_extent + end->n_extents;
    uint64_t per = h->cluster.segment_bytes / KT_EXTENT_BYTES;

    if (end->seg > 0) {
        per = end->first_extent / end->seg;
    } else {
        while (per < extents)
            per *= 2;
    }
    row->size = extents * KT_EXTENT_BYTES;
    row->segment_bytes = per * KT_EXTENT_BYTES;
}

/* Above all tokens that this database gave out, or a recovery took over. */
uint64_t hub_first_unknown(const struct hub_volume *v,
                           const struct hub_volume_row *row)
{
    return row->next_token == v->fresh_from ? v->unknown_from : row->next_token;
}

/* The greatest token is one that a client shows: the nodes lost what they knew
 * of it, and so did nothing by it or by any later one (I5). While an older
 * holder is all they know of, it is the holder. When they know that nobody
 * held the volume, that may have been before or after: nobody is. */
static void shown(const struct hub_volume *v, struct hub_volume_row *row,
                  struct sum *s)
{
    if (v->shown_token < hub_first_unknown(v, row) ||
        v->shown_token <= s->token)
        return;
    memset(&row->att, 0, sizeof(row->att));
    if (s->all_from_nodes && s->held && !s->lost &&
        !kt_id_is_zero(&v->shown_client)) {
        s->token = v->shown_token;
        s->client = v->shown_client;
    }
}

/* Others that no node knows of may have been told, their clients being away,
 * in this or an earlier start: none of those is given out again. A node
 * knows of a start before anything is given out in it, but for one whose
 * recovery did not end: it gave out one token at most with each epoch. */
static void leave_out(const struct hub *h, struct hub_volume *v,
                      const struct sum *s)
{
    struct hub_volume_row *row = &v->pend;
    uint64_t known = kt_max_u64(hub_first_unknown(v, row), s->token + 1);
    uint64_t term = kt_max_u64(h->cluster_pend.term, h->term_seen) + 1;

    if (s->lost)
        term += LOST_TERMS;
    v->unknown_from = kt_max_u64(known, v->shown_token + 1);
    v->fresh_from = kt_max_u64(v->unknown_from, term * h->token_step);
    row->next_token = kt_max_u64(row->next_token, v->fresh_from);
    row->next_token = kt_max_u64(row->next_token, s->next_token);
    row->next_token += kt_min_u64(s->untold, h->token_step);
    v->fresh_from = row->next_token;
}

/* Every grant known is in the database; but a token that was drawn from the old
 * copy, and that nobody was told, is void: another client may have been told
 * the same one. */
static void attachment(struct hub *h, struct hub_volume *v, struct sum *s)
{
    struct hub_volume_row *row = &v->pend;
    struct hub_attachment *att = &row->att;

    shown(v, row, s);
    bool is_void =
        v->wait == HUB_WAIT_ATTACH ||
        (s->token == att->token && !kt_id_eq(&s->client, &att->client));

    if (is_void || s->token >= hub_first_unknown(v, row)) {
        memset(att, 0, sizeof(*att));
        att->client = s->client;
        att->token = s->token;
        att->since_s = h->wall_s;
    }
    if (v->wait == HUB_WAIT_ATTACH) {
        hub_say_recovering(h, v->wait_conn, v->wait_req);
        v->wait = HUB_WAIT_NONE;
        v->wait_conn = 0;
    }
    /* A configuration has the holder of its time: whoever held the volume by
     * the database was detached since, and others may have held it. */
    if (s->freed && att->token < hub_first_unknown(v, row))
        memset(att, 0, sizeof(*att));
    if (s->lossy)
        memset(att, 0, sizeof(*att)); /* B16: its holder is fenced */
    leave_out(h, v, s);
}

static void take_volume(struct hub *h, struct hub_volume *v)
{
    struct hub_volume_row *row = &v->pend;
    struct sum s = sum_up(h, v);
    bool found = v->row.size == 0;

    if (!s.through || v->txn)
        return;
    *row = v->row;
    if (found || v->last_chain == HUB_NONE ||
        v->n_chains != hub_volume_segments(&v->row)) {
        if (!hub_recover_all_in(h))
            return; /* the rest of its chains may come yet */
        if (v->n_chains > 0 && found)
            measure(h, row, v);
    }
    attachment(h, v, &s);
    bool whole = s.whole && v->n_chains == hub_volume_segments(row);
    if (row->state != HUB_VOLUME_CREATING)
        row->state = whole ? HUB_VOLUME_READY : HUB_VOLUME_LOST;
    else if (whole && s.all_from_nodes)
        row->state = HUB_VOLUME_READY;
    if (row->state != HUB_VOLUME_CREATING)
        v->found_creating = false;
    if (row->state == HUB_VOLUME_LOST)
        hub_note(h, HUB_N_REGAIN_LOST)->volume = hub_volume_index(h, v);
    v->regain = HUB_REGAIN_STORE;
    struct hub_action *a = hub_volume_change(h, v, HUB_TXN_REGAIN);
    hub_row_add(a, HUB_ROW_CLUSTER)->u.cluster = &h->cluster_pend;
}

void hub_regain_volume_stored(struct hub *h, struct hub_volume *v)
{
    v->row = v->pend;
    v->lease_ms = v->row.att.token ? h->now_ms + HUB_LEASE_MS : 0;
    if (v->regain == HUB_REGAIN_STORE)
        v->regain = HUB_REGAIN_CHAINS;
    h->out->more = true;
}

/* ---- taking over: the chain ---- */

/* Serving members that hold nothing, but for the promise of a copy, are left
 * behind: if one of the others stays. */
static void prune(const struct hub *h, const struct hub_chain *c,
                  struct kt_cfg *cfg)
{
    const struct kt_cfg old = *cfg;
    bool empty[KT_MEMBERS_MAX];
    unsigned keep = 0;

    for (unsigned i = 0; i < old.n_members; i++) {
        const struct hub_node *n = hub_member_node(h, &old.members[i]);
        empty[i] = n && c->regain.none & bit_of(h, n);
        keep += old.members[i].state == KT_M_SERVING && !empty[i];
    }
    if (keep == 0)
        return;
    cfg->n_members = cfg->n_last = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < old.n_members; i++) {
            bool live = old.members[i].state == KT_M_SERVING ||
                        old.members[i].state == KT_M_SYNCING;
            if ((live && !empty[i]) != (pass == 0))
                continue;
            struct kt_member *m = &cfg->members[cfg->n_members++];
            *m = old.members[i];
            if (live && empty[i])
                m->state = KT_M_WAITING;
        }
    }
    for (unsigned i = 0; i < old.n_last; i++) {
        int at = kt_cfg_find(&old, &old.last[i].store);
        if (at < 0 || !empty[at])
            cfg->last[cfg->n_last++] = old.last[i];
    }
}

static void take_chain(struct hub *h, struct hub_chain *c)
{
    struct hub_chain_row *next = &c->op.next;
    bool lost = has_lost(h, c);
    unsigned n_lost = 0;

    for (unsigned i = 0; i < next->cfg.n_members; i++)
        n_lost += is_lost(h, c, i);
    if (hub_regain_lossy(h, c))
        next->cfg.vgen++;
    /* The lost ones may have acted on what the database says. */
    if (lost && c->row.cfg.epoch > next->cfg.epoch)
        next->cfg = c->row.cfg;
    if (next->cfg.phase == KT_PHASE_ACTIVE)
        prune(h, c, &next->cfg);
    c->heard = kt_max_u64(kt_max_u64(c->heard, c->row.prepare),
                          kt_max_u64(next->cfg.epoch, c->row.cfg.epoch));
    next->prepare = c->heard + (lost ? LOST_JUMP : 1);
    next->given_term = hub_giving_term(h);
    assert(kt_cfg_invalid(&next->cfg) == NULL);
    struct hub_action *a = hub_note(h, HUB_N_REGAINED);
    a->chain = next->cfg.chain;
    a->a = next->cfg.epoch;
    a->b = n_lost;
    hub_op_move(c, HUB_OP_REGAIN);
    a = hub_store(h, HUB_OWNER_CHAIN, hub_chain_index(h, c));
    c->op.txn = a->txn;
    hub_row_add(a, HUB_ROW_CHAIN)->u.chain = next;
}

void hub_regain_chain_stored(struct hub *h, struct hub_chain *c)
{
    assert(c->recovering);
    c->row = c->op.next;
    hub_op_clear(c);
    c->recovering = false;
    hub_known_reorder(c, &c->row.cfg);
    /* News came while this was being stored: the volume is asked again. */
    if (h->volumes[c->volume].regain == HUB_REGAIN_ASK)
        hub_regain_chain(h, c);
    hub_chain_wake(h, c);
}

/* ---- turns ---- */

static void chains_turn(struct hub *h, struct hub_volume *v)
{
    uint32_t at = v->first_chain;
    bool left = false;

    for (uint32_t i = 0; i < v->n_chains; i++) {
        struct hub_chain *c = &h->chains[at];
        at = c->next_of_volume;
        if (!c->recovering)
            continue;
        left = true;
        if (c->op.phase != HUB_OP_NONE)
            continue;
        if (hub_room(h) < HUB_CHAIN_ROOM) {
            h->out->more = true;
            return;
        }
        take_chain(h, c);
    }
    if (!left)
        v->regain = HUB_REGAIN_NO;
}

static void ask_turn(struct hub *h, struct hub_volume *v)
{
    uint32_t at = v->first_chain;

    for (uint32_t i = 0; i < v->n_chains; i++) {
        if (hub_room(h) < HUB_CHAIN_ROOM) {
            h->out->more = true;
            return;
        }
        ask(h, &h->chains[at]);
        at = h->chains[at].next_of_volume;
    }
    take_volume(h, v);
}

void hub_regain_tick(struct hub *h)
{
    for (uint32_t i = 0; i < h->volumes_used; i++) {
        struct hub_volume *v = &h->volumes[i];
        if (!v->used || v->dropping || hub_room(h) < HUB_CHAIN_ROOM)
            continue;
        if (v->regain == HUB_REGAIN_ASK)
            ask_turn(h, v);
        else if (v->regain == HUB_REGAIN_CHAINS)
            chains_turn(h, v);
    }
}
