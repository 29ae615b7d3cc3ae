/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub's state machines, as tables: an operation of a chain, a member in a
 * configuration, a node. First the moves there are, asserted at the one place
 * that makes them; then what each event means to an operation. */
#include "hub/control/internal.h"

#define TO(s) (1u << (s))

/* ---- moves ---- */

/* Recovery (B15) ends whatever is under way. */
static const uint8_t op_moves[] = {
    [HUB_OP_NONE] = TO(HUB_OP_NONE) | TO(HUB_OP_PREPARE) | TO(HUB_OP_REGAIN),
    [HUB_OP_PREPARE] = TO(HUB_OP_SEAL) | TO(HUB_OP_NONE),
    /* To PREPARE: it starts over at a higher epoch (B2, B4). */
    [HUB_OP_SEAL] = TO(HUB_OP_EQ) | TO(HUB_OP_PREPARE) | TO(HUB_OP_NONE),
    [HUB_OP_EQ] = TO(HUB_OP_COMMIT) | TO(HUB_OP_PREPARE) | TO(HUB_OP_NONE),
    [HUB_OP_COMMIT] = TO(HUB_OP_NONE),
    [HUB_OP_REGAIN] = TO(HUB_OP_NONE),
};

void hub_op_move(struct hub_chain *c, enum hub_phase to)
{
    KT_HOLDS(B4, op_moves[c->op.phase] & TO(to));
    c->op.phase = (uint8_t)to;
}

void hub_op_clear(struct hub_chain *c)
{
    hub_op_move(c, HUB_OP_NONE);
    memset(&c->op, 0, sizeof(c->op));
    c->op.donor = -1;
}

static const uint8_t node_moves[] = {
    [HUB_NODE_FREE] = TO(HUB_NODE_UNKNOWN) | TO(HUB_NODE_UP),
    /* Not suspected: nobody has heard of it yet. */
    [HUB_NODE_UNKNOWN] = TO(HUB_NODE_UP) | TO(HUB_NODE_DEAD),
    [HUB_NODE_UP] = TO(HUB_NODE_SUSPECT) | TO(HUB_NODE_DEAD),
    /* Again: another round of asking. */
    [HUB_NODE_SUSPECT] =
        TO(HUB_NODE_UP) | TO(HUB_NODE_SUSPECT) | TO(HUB_NODE_DEAD),
    /* Again: now it is confirmed. */
    [HUB_NODE_DEAD] = TO(HUB_NODE_UP) | TO(HUB_NODE_DEAD),
};

void hub_node_move(struct hub_node *n, enum hub_node_state to)
{
    KT_HOLDS(A5, node_moves[n->state] & TO(to));
    n->state = (uint8_t)to;
}

#define OUT_OF_SERVICE                                                         \
    (TO(KT_M_WAITING) | TO(KT_M_SYNCING) | TO(KT_M_OFFLINE) |                  \
     TO(KT_M_FAULTY) | TO(KT_M_QUARANTINED))

/* LAST is only shown, RELEASED is for good. Into service leads SYNCING only. */
static const uint16_t member_moves[] = {
    [KT_M_WAITING] = OUT_OF_SERVICE,
    [KT_M_SYNCING] = OUT_OF_SERVICE | TO(KT_M_SERVING),
    [KT_M_SERVING] = OUT_OF_SERVICE | TO(KT_M_SERVING),
    [KT_M_OFFLINE] = OUT_OF_SERVICE,
    [KT_M_FAULTY] = OUT_OF_SERVICE,
    /* A person discards it; else it stays. */
    [KT_M_QUARANTINED] = TO(KT_M_QUARANTINED) | TO(KT_M_WAITING),
    [KT_M_RELEASED] = TO(KT_M_RELEASED),
};

void hub_member_move(const struct hub_chain *c, struct kt_member *m,
                     unsigned to)
{
    /* The first configuration of all, and what a person orders. */
    bool first = c->row.cfg.last_epoch == 0;
    int promoted = hub_order_promoted(c);
    bool ordered = promoted >= 0 && kt_id_eq(&c->order.store, &m->store);

    KT_HOLDS(I6, member_moves[m->state] & TO(to) ||
                     (to == KT_M_SERVING && (first || ordered)));
    m->state = (uint8_t)to;
}

/* ---- what happens to an operation ---- */

typedef void turn(struct hub *, struct hub_chain *);
typedef void back(struct hub *, struct hub_chain *, unsigned,
                  const struct hub_node *);

/* A new incarnation is not what answered: it is asked itself. */
static void seal_again(struct hub *h, struct hub_chain *c, unsigned i,
                       const struct hub_node *n)
{
    struct hub_sealed *s = &c->op.m[i];

    (void)h;
    if (s->ok && s->incarnation != n->row.incarnation)
        *s = (struct hub_sealed){.left_out = s->left_out};
    c->op.sent_ms = 0;
}

static void eq_again(struct hub *h, struct hub_chain *c, unsigned i,
                     const struct hub_node *n)
{
    (void)h, (void)i, (void)n;
    c->op.sent_ms = 0;
}

/* An empty place: nothing to do before something else has happened. */
static const struct {
    turn *turn;   /* its time has come */
    turn *stored; /* the store has its row */
    back *back;   /* the node of member i registered */
} ops[] = {
    [HUB_OP_NONE] = {.turn = hub_activate_resend, .back = hub_chain_back},
    [HUB_OP_PREPARE] = {.stored = hub_op_prepared},
    [HUB_OP_SEAL] = {.turn = hub_op_seal_turn, .back = seal_again},
    [HUB_OP_EQ] = {.turn = hub_op_eq_turn, .back = eq_again},
    [HUB_OP_COMMIT] = {.stored = hub_commit_stored},
    [HUB_OP_REGAIN] = {.stored = hub_regain_chain_stored},
};

void hub_op_turn(struct hub *h, struct hub_chain *c)
{
    if (ops[c->op.phase].turn)
        ops[c->op.phase].turn(h, c);
}

void hub_op_stored(struct hub *h, struct hub_chain *c)
{
    assert(ops[c->op.phase].stored);
    ops[c->op.phase].stored(h, c);
    hub_chain_run(h, c);
}

void hub_op_registered(struct hub *h, struct hub_chain *c, unsigned i,
                       const struct hub_node *n)
{
    if (ops[c->op.phase].back)
        ops[c->op.phase].back(h, c, i, n);
}

/* ---- what members say ---- */

typedef void answer(struct hub *, struct hub_chain *, const struct hub_node *,
                    const struct kt_msg *);

/* clang-format off */
#define ALL(fn) {fn, fn, fn, fn, fn, fn}
/* clang-format on */

/* An empty place: too late, or of an operation that was given up. */
static const struct {
    bool promises; /* it names the highest epoch the member promised */
    bool frozen;   /* also of a chain about which nothing is decided */
    answer *in[HUB_OP_REGAIN + 1];
} answers[KT_MSG_TYPE_END] = {
    [KT_MSG_SEAL_OK] = {.promises = true,
                        .in = {[HUB_OP_SEAL] = hub_op_sealed}},
    [KT_MSG_SEAL_REFUSED] = {.promises = true,
                             .in = {[HUB_OP_SEAL] = hub_op_refused}},
    [KT_MSG_EQ_OK] = {.in = {[HUB_OP_EQ] = hub_op_eq_ok}},
    [KT_MSG_ACT_OK] = {.frozen = true, .in = ALL(hub_chain_act_ok)},
    [KT_MSG_SYNC_FIN] = {.in = ALL(hub_chain_sync_fin)},
    [KT_MSG_RELEASE_OK] = {.frozen = true, .in = ALL(hub_order_released)},
};

void hub_chain_hear(struct hub *h, const struct hub_node *from,
                    const struct kt_msg *m)
{
    struct hub_chain *c = hub_chain_of(h, m->chain);

    assert(m->type < KT_MSG_TYPE_END);
    if (!c || (hub_chain_frozen(h, c) && !answers[m->type].frozen))
        return;
    if (answers[m->type].promises)
        c->heard = kt_max_u64(c->heard, m->u.seal_ok.promised);
    answer *fn = answers[m->type].in[c->op.phase];
    if (fn)
        fn(h, c, from, m);
}
