/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules switched off at run time, to see that the simulator notices: what is
 * changed here is what a member is told, or remembers. The others are in
 * nodeops.c (the store lies) and clientnode.c (the client is not told). */
#include <string.h>

#include "tests/sim/sim.h"

/* Targets say that they have what they never got. */
static void forge_eq_ok(struct snode *n, struct kt_msg *m)
{
    for (uint8_t i = 0; i < m->u.eq.n; i++) {
        struct kt_msg ok = {
            .type = KT_MSG_EQ_OK, .chain = m->chain, .epoch = m->epoch};
        int to = node_of_store(n->w, &m->u.eq.targets[i].store);
        ok.u.eq_ok.store = m->u.eq.targets[i].store;
        ok.u.eq_ok.incarnation = m->u.eq.targets[i].incarnation;
        ok.u.eq_ok.applied = m->u.eq.applied;
        node_send_hub(&n->w->nodes[to], &ok);
    }
    m->u.eq.n = 0;
}

void mutant_message(struct snode *n, struct schain *sc, struct kt_msg *m)
{
    struct chain *c = &sc->c;
    switch (n->w->mutant) {
    case SIM_M_SUCC_IGNORED:
        if (c->phase == CHAIN_ACTIVE && c->role == CHAIN_MEMBER)
            c->succ_acked = c->sent;
        break;
    case SIM_M_NO_DEDUP:
        if (m->type == KT_MSG_WRITE)
            memset(&c->dedup, 0, sizeof(c->dedup));
        break;
    case SIM_M_NO_PREV:
        if (m->type == KT_MSG_FWD && m->u.rec.id.seq > c->received.seq) {
            m->u.rec.prev = c->received;
            m->u.rec.id.seq = c->received.seq + 1;
        }
        break;
    case SIM_M_NO_TOUCHED:
        memset(c->dst.touched, 0, sizeof(c->dst.touched));
        break;
    case SIM_M_NO_FENCE:
        if (m->type == KT_MSG_WRITE && c->have_cfg) {
            m->u.write.token = c->cfg.token;
            m->epoch = c->cfg.epoch;
        }
        break;
    case SIM_M_NO_PROMISE:
        if (c->phase == CHAIN_SEALED && m->type == KT_MSG_WRITE &&
            m->epoch == c->cfg.epoch)
            c->phase = CHAIN_ACTIVE;
        break;
    case SIM_M_NO_EQ:
        if (m->type == KT_MSG_EQ)
            forge_eq_ok(n, m);
        break;
    }
}
