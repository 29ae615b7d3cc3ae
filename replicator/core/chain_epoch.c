/* SPDX-License-Identifier: BSD-3-Clause */
/* From one configuration to the next: SEAL, EQUALIZE, ACTIVATE.
 *
 * 1 SEAL(e'): stop, let appends in flight finish, save the promise, answer
 *   with what we have. Nothing older than e' is accepted again (I3).
 * 2 EQ to the donor: sync our log, push to each target what it lacks. Targets
 *   append, sync, and tell the hub what they have now (B3, I14).
 * 3 ACTIVATE(cfg e'): all members have the same history; everything in it
 *   is acknowledged (I9); serve at once. */
#include <errno.h>
#include <string.h>

#include "replicator/core/chain_int.h"

void chain_drop_ring(struct chain *c, struct chain_out *out)
{
    if (c->role != CHAIN_MEMBER)
        return;
    for (uint64_t s = c->acked + 1; s <= c->received.seq; s++) {
        struct chain_entry *e = chain_entry(c, s);
        if (e->rec.id.seq == s && e->buf)
            chain_act(out, CHAIN_ACT_RELEASE)->buf = e->buf;
        e->buf = NULL;
        e->conn = 0;
    }
    c->bytes = 0;
    c->n_flushes = 0; /* clients ask again in the next epoch */
    chain_relay_forget(c, 0);
}

void chain_save(struct chain *c, struct chain_out *out, uint64_t promised,
                const struct kt_cfg *cfg)
{
    struct chain_act *a = chain_act(out, CHAIN_ACT_SAVE);
    a->promised = promised;
    a->whole = c->whole;
    a->cfg = cfg;
    c->saves++;
}

bool chain_unwhole(struct chain *c, struct chain_out *out)
{
    if (!kt_id_is_zero(&c->whole)) {
        memset(&c->whole, 0, sizeof(c->whole));
        c->unwhole = true;
        /* A promise that is being saved is not to be undone (I3). */
        chain_save(c, out, kt_max_u64(c->promised, c->sealing), NULL);
    }
    return !c->unwhole;
}

/* ---- SEAL ---- */

static struct kt_msg *hub_msg(struct chain *c, struct chain_out *out,
                              enum kt_type type, uint64_t epoch)
{
    struct kt_msg *m = chain_msg(c, out, CHAIN_ACT_SEND_HUB, type);
    m->epoch = epoch;
    return m;
}

static void seal_ok(struct chain *c, struct chain_out *out)
{
    KT_HOLDS(I3, c->promised >= c->sealing);
    struct kt_msg *m = hub_msg(c, out, KT_MSG_SEAL_OK, c->sealing);
    m->u.seal_ok.store = c->store;
    m->u.seal_ok.incarnation = c->incarnation;
    m->u.seal_ok.cont_base = c->cont_base;
    m->u.seal_ok.promised = c->promised;
    m->u.seal_ok.applied = c->applied;
    m->u.seal_ok.acked = c->acked;
    m->u.seal_ok.durable = c->durable;
    if (c->have_cfg) {
        m->u.seal_ok.last_epoch = c->cfg.epoch;
        m->u.seal_ok.history = c->cfg.history;
    }
}

void chain_on_seal(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out)
{
    uint64_t e = ev->msg->epoch;
    if (KT_RULE(seal_late) && c->phase == CHAIN_ACTIVE && e <= c->cfg.epoch)
        return; /* B1: a late duplicate seals nothing */
    bool sealed = c->phase == CHAIN_SEALED || c->phase == CHAIN_SEALING;
    if (sealed && e == c->sealing) {
        if (c->phase == CHAIN_SEALED)
            seal_ok(c, out);
        return;
    }
    uint64_t bound = sealed ? kt_max_u64(c->promised, c->sealing) : c->promised;
    if (e < bound) {
        KT_REACH(seal_refused);
        hub_msg(c, out, KT_MSG_SEAL_REFUSED, e)->u.seal_ok.promised = bound;
        return;
    }
    if (c->phase == CHAIN_ACTIVE) {
        chain_drop_ring(c, out);
        chain_src_stop(c);
        c->succ = CHAIN_SUCC_DOWN;
        c->dst.started = false;
    }
    chain_move(c, CHAIN_SEALING, c->role);
    c->sealing = e;
    c->eq_epoch = 0;
    if (c->promised < e) {
        chain_save(c, out, e, NULL);
    }
}

/* ---- EQ ---- */

static void eq_ok(struct chain *c, struct chain_out *out, uint64_t epoch,
                  int err)
{
    KT_HOLDS(I14, err || c->durable >= c->applied.seq);
    struct kt_msg *m = hub_msg(c, out, KT_MSG_EQ_OK, epoch);
    m->u.eq_ok.store = c->store;
    m->u.eq_ok.incarnation = c->incarnation;
    m->u.eq_ok.applied = c->applied;
    m->u.eq_ok.err = err;
}

static uint64_t eq_ticket(struct chain *c)
{
    return KT_RULE(eq_durable) ? chain_ticket(c) : UINT64_MAX;
}

/* The slot of eq_push[] for this store, or a free one; -1 when it is busy. */
static int push_slot(const struct chain *c, const struct kt_id *store)
{
    int free_slot = -1;
    for (int i = 0; i < KT_MEMBERS_MAX; i++) {
        if (kt_id_eq(&c->eq_push[i], store))
            return -1;
        if (kt_id_is_zero(&c->eq_push[i]))
            free_slot = i;
    }
    return free_slot;
}

void chain_on_eq(struct chain *c, const struct chain_event *ev,
                 struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    if (m->epoch != c->sealing)
        return;
    if (KT_RULE(eq_donor_same) && (m->u.eq.incarnation != c->incarnation ||
                                   !kt_rid_eq(m->u.eq.applied, c->applied))) {
        KT_REACH(eq_refused);
        eq_ok(c, out, m->epoch, KT_E_BEHIND); /* B2: not as it was sealed */
        return;
    }
    if (c->eq_epoch != m->epoch) {
        c->eq_epoch = m->epoch;
        c->eq_answered = false;
        c->eq_donor = true;
        c->eq_last = false;
        c->eq_ticket = eq_ticket(c); /* B3 */
    } else if (c->eq_ticket && c->eq_ticket <= c->sync_done) {
        eq_ok(c, out, m->epoch, 0); /* the hub asks again: answer again */
    }
    for (uint32_t i = 0; i < m->u.eq.n && i < KT_MEMBERS_MAX; i++) {
        const struct kt_eq_target *t = &m->u.eq.targets[i];
        int slot = push_slot(c, &t->store);
        if (slot < 0 || t->applied.seq > c->applied.seq)
            continue;
        c->eq_push[slot] = t->store;
        struct chain_act *a = chain_act(out, CHAIN_ACT_EQ_PUSH);
        a->target = *t;
        a->after = t->applied.seq;
        a->upto = c->applied;
        a->epoch = m->epoch;
    }
}

void chain_on_pushed(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out)
{
    for (int i = 0; i < KT_MEMBERS_MAX; i++) {
        if (kt_id_eq(&c->eq_push[i], &ev->peer))
            memset(&c->eq_push[i], 0, sizeof(c->eq_push[i]));
    }
    /* The log no longer reaches back: that member cannot be equalized. A lost
     * link is tried again when the hub asks again. */
    bool gap = ev->err == KT_E_GAP || ev->err == -ENODATA;
    if (gap && c->phase == CHAIN_SEALED && c->eq_donor) {
        KT_REACH(eq_gap);
        eq_ok(c, out, c->sealing, KT_E_GAP);
        out->acts[out->n - 1].msg.u.eq_ok.store = ev->peer;
    }
}

void chain_on_eqdata(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;
    if (m->epoch != c->sealing || m->u.eqdata.incarnation != c->incarnation ||
        c->alloc_stale)
        return; /* B1, B2 */
    if (m->u.eqdata.last) {
        if (c->eq_epoch != m->epoch || !c->eq_last) {
            c->eq_epoch = m->epoch;
            c->eq_answered = false;
            c->eq_donor = false;
            c->eq_last = true;
            c->eq_ticket = 0;
        } else if (c->eq_ticket && c->eq_ticket <= c->sync_done) {
            eq_ok(c, out, m->epoch, 0);
        }
        return;
    }
    const struct kt_record *r = &m->u.eqdata.rec;
    if (r->id.seq != c->received.seq + 1 || !kt_rid_eq(r->prev, c->received))
        return; /* only appends (B1); what is missing shows in EQ_OK */
    uint32_t n = c->have_cfg ? c->cfg.n_extents : KT_SEGMENT_EXTENTS_MAX;
    if (kt_record_invalid(r, n) || r->op > KT_OP_TRIM ||
        r->flags & KT_RF_SKIP || (r->op == KT_OP_WRITE) != (m->buf != NULL))
        return;
    KT_REACH(eq_append);
    chain_take(c, out, r, m->buf, false);
    if (!c->eq_donor) { /* no `last` or sync before covers it */
        c->eq_last = false;
        c->eq_ticket = 0;
    }
}

/* ---- ACTIVATE ---- */

enum may {
    MAY_NOT,   /* or not yet: the hub says it again */
    MAY_NEVER, /* F36: this very life was sealed for that epoch, the hub says,
                * and knows nothing of it: its disk was put back */
    MAY,
};

static enum may may_activate(const struct chain *c, const struct kt_cfg *cfg,
                             int me)
{
    if (cfg->phase != KT_PHASE_ACTIVE || cfg->chain != c->id)
        return MAY_NOT;
    bool sealed = c->phase == CHAIN_SEALED || c->phase == CHAIN_SEALING;
    uint64_t bound = kt_max_u64(c->promised, sealed ? c->sealing : 0);
    if (KT_RULE(promise) && cfg->epoch < bound) {
        KT_REACH(act_refused);
        return MAY_NOT; /* I3 */
    }
    if (me < 0)
        return MAY;
    const struct kt_member *m = &cfg->members[me];
    if (m->state != KT_M_SERVING && m->state != KT_M_SYNCING)
        return MAY;
    /* Serving, or being fed, rests on what was sealed for this very epoch by
     * this very incarnation, and on nothing in flight. */
    if (KT_RULE(act_same) && m->incarnation != c->incarnation)
        return MAY_NOT;
    if (m->state == KT_M_SERVING && c->appends > 0)
        return MAY_NOT;
    if (!KT_RULE(act_sealed) ||
        (c->phase == CHAIN_SEALED && c->sealing == cfg->epoch))
        return MAY;
    return sealed && c->sealing == cfg->epoch ? MAY_NOT : MAY_NEVER;
}

static void install(struct chain *c, const struct kt_cfg *cfg, int me)
{
    uint8_t state = me < 0 ? 0 : cfg->members[me].state;
    bool takes_part = state == KT_M_SERVING || state == KT_M_SYNCING;
    KT_HOLDS(I4, !takes_part ||
                     (c->phase == CHAIN_SEALED && c->sealing == cfg->epoch));
    KT_HOLDS(I11,
             !takes_part || cfg->members[me].incarnation == c->incarnation);
    c->cfg = *cfg;
    c->have_cfg = true;
    c->promised = kt_max_u64(c->promised, cfg->epoch);
    c->me = me < 0 ? 0 : (uint8_t)me;
    c->n_serving = (uint8_t)kt_cfg_serving(cfg);
    if (state == KT_M_SERVING)
        c->whole = cfg->history;
    chain_move(c, CHAIN_ACTIVE,
               state == KT_M_SERVING   ? CHAIN_MEMBER
               : state == KT_M_SYNCING ? CHAIN_DST
                                       : CHAIN_NONE);
    c->eq_epoch = 0;
    memset(c->eq_push, 0, sizeof(c->eq_push));
    memset(&c->dst, 0, sizeof(c->dst));
    chain_src_stop(c);
    c->src.failed = c->src.no_suffix = false;
    KT_HOLDS(I9, c->role != CHAIN_MEMBER ||
                     (c->appends == 0 && kt_rid_eq(c->received, c->applied)));
}

void chain_on_activate(struct chain *c, const struct chain_event *ev,
                       struct chain_out *out)
{
    const struct kt_cfg *cfg = ev->msg->cfg;
    if (!cfg)
        return;
    int me = kt_cfg_find(cfg, &c->store);
    bool known = c->phase == CHAIN_ACTIVE && c->cfg.epoch == cfg->epoch;
    if (!known) {
        enum may may = may_activate(c, cfg, me);
        if (may == MAY_NEVER) {
            struct kt_msg *m = hub_msg(c, out, KT_MSG_NAK, cfg->epoch);
            m->u.nak.err = KT_E_NOT_SERVING;
            m->u.nak.re = KT_MSG_ACTIVATE;
        }
        if (may != MAY)
            return;
        if (c->phase == CHAIN_ACTIVE)
            chain_drop_ring(c, out);
        install(c, cfg, me);
        if (c->role == CHAIN_MEMBER) {
            assert(c->appends == 0 && kt_rid_eq(c->received, c->applied));
            c->acked = c->applied.seq; /* I9: all have it */
            chain_act(out, CHAIN_ACT_ACKED)->seq = c->acked;
        } else if (c->role == CHAIN_NONE) {
            /* Nobody is given anything from its log, and nothing in there will
             * be acknowledged: it must not keep the log from moving on. */
            chain_act(out, CHAIN_ACT_ACKED)->seq = c->applied.seq;
        }
        chain_save(c, out, c->promised, &c->cfg);
        chain_act(out, CHAIN_ACT_CONFIG);
        chain_hop_activate(c, out);
    }
    struct kt_msg *m = hub_msg(c, out, KT_MSG_ACT_OK, cfg->epoch);
    m->req = ev->msg->req;
}

/* ---- the pump ---- */

void chain_epoch_pump(struct chain *c, struct chain_out *out)
{
    if (c->phase == CHAIN_SEALING && c->appends == 0 &&
        (c->promised >= c->sealing || !KT_RULE(promise_saved))) {
        KT_HOLDS(I10, kt_rid_eq(c->received, c->applied));
        chain_move(c, CHAIN_SEALED, c->role);
        seal_ok(c, out);
    }
    if (c->phase != CHAIN_SEALED || c->eq_epoch != c->sealing)
        return;
    if (!c->eq_donor && c->eq_last && !c->eq_ticket && c->appends == 0)
        c->eq_ticket = eq_ticket(c);
    bool durable = c->eq_ticket && c->eq_ticket <= c->sync_done; /* B3 */
    if ((durable || (c->eq_ticket && !KT_RULE(eq_durable))) &&
        !c->eq_answered) {
        c->eq_answered = true;
        eq_ok(c, out, c->eq_epoch, 0);
    }
}
