/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules that cannot be switched off where they are kept, because the code has
 * no other way to go: here what a member is told is changed instead. */
#include "lib/base/rule.h"
#include "tests/sim/sim.h"

/* The history ends at `at`. */
static void cut(struct schain *sc, struct kt_rid at)
{
    struct store_chain *st = sc->sc;
    st->hist_n -= (uint32_t)(st->applied.seq - at.seq);
    sc->c.received = sc->c.applied = st->tail = st->applied = at;
    sc->c.acked = kt_min_u64(sc->c.acked, at.seq);
}

void mutant_message(struct schain *sc, struct kt_msg *m)
{
    struct chain *c = &sc->c;
    /* As if records did not name the one before them (I8). */
    if (!KT_RULE(prev) && m->type == KT_MSG_FWD &&
        m->u.rec.id.seq > c->received.seq) {
        m->u.rec.prev = c->received;
        m->u.rec.id.seq = c->received.seq + 1;
    }
    /* As if EQDATA overwrote what is there (B1). */
    if (!KT_RULE(eq_append) && m->type == KT_MSG_EQDATA && !m->u.eqdata.last &&
        c->phase == CHAIN_SEALED && !c->appends && m->epoch == c->sealing &&
        m->u.eqdata.rec.id.seq <= c->received.seq)
        cut(sc, m->u.eqdata.rec.prev);
    /* As if a promise were nothing (I3). */
    if (!KT_RULE(sealed_quiet) && m->type == KT_MSG_WRITE &&
        c->phase == CHAIN_SEALED && m->epoch == c->cfg.epoch)
        c->phase = CHAIN_ACTIVE;
}
