/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules that cannot be switched off where they are kept, because the code has
 * no other way to go: here what a member is told is changed instead. */
#include "lib/base/rule.h"
#include "tests/sim/sim.h"

void mutant_message(struct schain *sc, struct kt_msg *m)
{
    struct chain *c = &sc->c;
    /* As if records did not name the one before them (I8). */
    if (!KT_RULE(prev) && m->type == KT_MSG_FWD &&
        m->u.rec.id.seq > c->received.seq) {
        m->u.rec.prev = c->received;
        m->u.rec.id.seq = c->received.seq + 1;
    }
    /* As if a promise were nothing (I3). */
    if (!KT_RULE(sealed_quiet) && m->type == KT_MSG_WRITE &&
        c->phase == CHAIN_SEALED && m->epoch == c->cfg.epoch)
        c->phase = CHAIN_ACTIVE;
}
