/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's state machines, as tables: a chain, and a part of a request.
 * The moves there are, asserted at the one place that makes them, and what a
 * chain does in which state. */
#include "lib/client/engine_int.h"

#define TO(s) (1u << (s))

static const uint8_t chain_moves[ENG_STATES] = {
    [ENG_NO_CFG] = TO(ENG_READY),
    /* Again: a vgen is new, and what survived it is not replayed. */
    [ENG_READY] = TO(ENG_READY) | TO(ENG_REPLAYING),
    [ENG_REPLAYING] = TO(ENG_READY),
};

void eng_move(struct engine_chain *c, enum eng_state to)
{
    KT_HOLDS(I16, chain_moves[c->state] & TO(to));
    c->state = (uint8_t)to;
}

static const struct eng_does does[ENG_STATES] = {
    [ENG_NO_CFG] = {.parts = true}, /* there are none */
    [ENG_READY] = {.requests = true, .rounds = true, .parts = true},
    [ENG_REPLAYING] = {.kept = true},
};

const struct eng_does *eng_does(const struct engine_chain *c)
{
    return &does[c->state];
}

static const uint8_t part_moves[] = {
    [PART_FREE] = TO(PART_QUEUED),
    /* Again: another place in the queue. Ended there: an older sending was
     * answered. */
    [PART_QUEUED] =
        TO(PART_QUEUED) | TO(PART_SENT) | TO(PART_WAITING) | TO(PART_FREE),
    [PART_SENT] = TO(PART_QUEUED) | TO(PART_WAITING) | TO(PART_FREE),
    [PART_WAITING] = TO(PART_QUEUED) | TO(PART_FREE),
};

void eng_part_move(struct engine_part *p, enum part_state to)
{
    KT_HOLDS(I19, part_moves[p->state] & TO(to));
    p->state = (uint8_t)to;
}
