/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold between any two steps, and what a step may not do: the
 * invariants of DESIGN.md as far as one member can see them. The others, which
 * are about several members, are looked at by the simulator
 * (tests/sim/ghost.c).
 *
 * Nothing here asks for a rule, and nothing is computed the way the code under
 * test computes it. */
#include <errno.h>

#include "replicator/core/chain_int.h"

struct chain_was chain_was(const struct chain *c)
{
    return (struct chain_was){.phase = c->phase,
                              .epoch = c->have_cfg ? c->cfg.epoch : 0,
                              .promised = c->promised,
                              .serves = chain_serves(c),
                              .acked = c->acked,
                              .received = c->received,
                              .applied = c->applied};
}

void chain_check_step(const struct chain *c, const struct chain_was *was,
                      const struct chain_event *ev)
{
    KT_HOLDS(I1, (c->have_cfg ? c->cfg.epoch : 0) >= was->epoch);
    KT_HOLDS(I3, c->promised >= was->promised);
    /* Only a copy that is not the prefix of a history any more, and says so on
     * its disk, gives up records it has. */
    bool whole = !kt_id_is_zero(&c->whole);
    KT_HOLDS(I10, c->applied.seq >= was->applied.seq || !whole);
    KT_HOLDS(I10, c->acked >= was->acked || !whole);
    if (was->serves && chain_serves(c))
        KT_HOLDS(I10, c->received.seq >= was->received.seq);
    KT_HOLDS(I17, was->phase != CHAIN_FAULTY || c->phase == CHAIN_FAULTY);
    /* A full store refuses records of a resync and is well. */
    bool refusal = ev->err == -ENOSPC || ev->err == KT_E_GAP;
    bool failed =
        ev->err < 0 &&
        (ev->type == CHAIN_EV_SYNCED || ev->type == CHAIN_EV_SAVED ||
         (ev->type == CHAIN_EV_APPENDED && (!refusal || was->serves)));
    KT_HOLDS(I17, !failed || c->phase == CHAIN_FAULTY);
    if (was->phase == CHAIN_FAULTY)
        KT_HOLDS(I17, c->received.seq == was->received.seq);
}

static void check_member(const struct chain *c)
{
    const struct kt_member *m = &c->cfg.members[c->me];

    KT_HOLDS(I2, c->me < c->n_serving && c->n_serving <= c->cfg.n_members);
    KT_HOLDS(I4, kt_id_eq(&m->store, &c->store));
    KT_HOLDS(I4, m->state == KT_M_SERVING);
    KT_HOLDS(I11, m->incarnation == c->incarnation);
    KT_HOLDS(I10, c->received.seq - c->acked <= CHAIN_RING);
    KT_HOLDS(I7, kt_id_eq(&c->whole, &c->cfg.history));
    KT_HOLDS(I7, c->received.seq == c->acked ||
                     c->ring[c->received.seq % CHAIN_RING].rec.id.seq ==
                         c->received.seq);
    KT_HOLDS(I8, c->sent <= c->received.seq);
    KT_HOLDS(I8, c->succ == CHAIN_SUCC_DOWN || c->succ_link);
    /* Nothing lies between what was fed and the ring. */
    KT_HOLDS(I8, !chain_src_is_live(c) || c->src.fed >= c->acked);
    KT_HOLDS(I12, c->succ_acked <= c->received.seq);
    KT_HOLDS(I12, chain_is_tail(c) || c->acked <= c->succ_acked);
}

void chain_check(const struct chain *c)
{
    assert(c->phase < CHAIN_PHASES);
    if (c->phase == CHAIN_FAULTY)
        return;
    KT_HOLDS(I3, c->phase != CHAIN_SEALED || c->promised >= c->sealing);
    if (c->phase == CHAIN_ACTIVE) {
        KT_HOLDS(I5, c->have_cfg && c->cfg.phase == KT_PHASE_ACTIVE);
        KT_HOLDS(I3, c->promised <= c->cfg.epoch || c->saves);
    }
    if (c->role == CHAIN_DST) /* its RESET may be on the way to the log */
        return;
    /* But for a RESET on its way into the log of one that was fed until now. */
    bool resets = c->role != CHAIN_MEMBER && c->appends > 0;
    KT_HOLDS(I7, resets || c->applied.seq <= c->received.seq);
    KT_HOLDS(I12, resets || c->acked <= c->applied.seq);
    if (chain_serves(c))
        check_member(c);
}

/* Every record held is the next one of the history, and is what is accounted
 * for. */
static void check_ring(const struct chain *c)
{
    const struct chain_entry *before = NULL;
    uint64_t bytes = 0;

    for (uint64_t s = c->acked + 1; s <= c->received.seq; s++) {
        const struct chain_entry *e = &c->ring[s % CHAIN_RING];
        KT_HOLDS(I7, e->rec.id.seq == s);
        KT_HOLDS(I2, e->rec.id.epoch == c->cfg.epoch);
        KT_HOLDS(I8, !before || kt_rid_eq(e->rec.prev, before->rec.id));
        KT_HOLDS(I10, (e->rec.op == KT_OP_WRITE) == (e->buf != NULL));
        KT_HOLDS(I18, e->rec.token == c->cfg.token);
        KT_HOLDS(I19, e->rec.wstable < e->rec.wseq);
        bytes += e->buf ? e->buf->data_len : 0;
        before = e;
    }
    assert(bytes == c->bytes);
    KT_HOLDS(I7, !before || kt_rid_eq(before->rec.id, c->received));
}

/* The queue of extents to copy is what the states say (B8). */
static void check_src(const struct chain *c)
{
    const struct chain_src *s = &c->src;
    uint32_t queued = 0;

    if (s->state != CHAIN_SYNC_COMPARE && s->state != CHAIN_SYNC_COPY)
        return;
    for (uint32_t i = 0; i < c->cfg.n_extents; i++) {
        queued += s->ext[i] == CHAIN_EXT_QUEUED;
        bool copying =
            s->ext[i] == CHAIN_EXT_COPYING || s->ext[i] == CHAIN_EXT_AGAIN;
        KT_HOLDS(B8, !copying || (s->copying && s->extent == i));
        KT_HOLDS(I21,
                 s->state != CHAIN_SYNC_COPY || s->ext[i] != CHAIN_EXT_UNKNOWN);
    }
    KT_HOLDS(B8, queued == s->n_queued);
}

void chain_check_all(const struct chain *c)
{
    chain_check(c);
    if (!KT_RULE(self_check) || !chain_serves(c))
        return;
    check_ring(c);
    check_src(c);
}
