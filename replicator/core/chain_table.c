/* SPDX-License-Identifier: BSD-3-Clause */
/* The state machine of a replica, as tables: which moves there are, and what
 * each message means in each state. Handlers are called in the states that are
 * theirs here and need not ask again; what they look at themselves is the
 * epoch and the sender. */
#include "replicator/core/chain_int.h"

enum state {
    DETACHED, /* at start; the hub has not activated it */
    SEALING,
    SEALED,
    IDLE,   /* ACTIVE, without a part in the chain */
    MEMBER, /* ACTIVE and SERVING */
    TARGET, /* ACTIVE and SYNCING */
    FAULTY,
    STATES
};

static enum state state_of(enum chain_phase phase, enum chain_role role)
{
    static const uint8_t of_phase[CHAIN_PHASES] = {
        [CHAIN_DETACHED] = DETACHED,
        [CHAIN_SEALING] = SEALING,
        [CHAIN_SEALED] = SEALED,
        [CHAIN_FAULTY] = FAULTY,
    };
    static const uint8_t of_role[] = {
        [CHAIN_NONE] = IDLE, [CHAIN_MEMBER] = MEMBER, [CHAIN_DST] = TARGET};

    return phase == CHAIN_ACTIVE ? of_role[role] : of_phase[phase];
}

/* ---- moves ---- */

#define TO(s) (1u << (s))
static const uint8_t moves[STATES] = {
    [DETACHED] = TO(SEALING) | TO(IDLE) | TO(FAULTY),
    /* Again: a SEAL of a higher epoch. */
    [SEALING] = TO(SEALING) | TO(SEALED) | TO(IDLE) | TO(FAULTY),
    /* Who takes part was sealed for it (I4). */
    [SEALED] = TO(SEALING) | TO(IDLE) | TO(MEMBER) | TO(TARGET) | TO(FAULTY),
    /* A configuration that needs nothing from us may come unannounced. */
    [IDLE] = TO(SEALING) | TO(IDLE) | TO(FAULTY),
    [MEMBER] = TO(SEALING) | TO(IDLE) | TO(FAULTY),
    [TARGET] = TO(SEALING) | TO(IDLE) | TO(FAULTY),
    [FAULTY] = 0, /* for good (I17) */
};

void chain_move(struct chain *c, enum chain_phase phase, enum chain_role role)
{
    enum state from =
        state_of((enum chain_phase)c->phase, (enum chain_role)c->role);
    enum state to = state_of(phase, role);

    KT_HOLDS(I4, moves[from] & TO(to));
    c->phase = (uint8_t)phase;
    c->role = (uint8_t)role;
}

/* ---- messages ---- */

enum { HUB = 1, PEER = 2, CLIENT = 4, CLI = 8 };

typedef void handler(struct chain *, const struct chain_event *,
                     struct chain_out *);

static const int reasons[STATES] = {
    [DETACHED] = KT_E_NOT_SERVING, [SEALING] = KT_E_SEALED,
    [SEALED] = KT_E_SEALED,        [IDLE] = KT_E_NOT_SERVING,
    [TARGET] = KT_E_NOT_SERVING,   [FAULTY] = KT_E_FAULTY,
};

int chain_gate(const struct chain *c, uint64_t epoch)
{
    if (c->phase == CHAIN_FAULTY)
        return KT_E_FAULTY;
    /* Whoever is behind is told that first: it comes with the configuration. */
    if (KT_RULE(old_epoch) && c->have_cfg && epoch < c->cfg.epoch)
        return KT_E_OLD_EPOCH;
    if (c->phase == CHAIN_ACTIVE && epoch > c->cfg.epoch)
        return KT_E_NEW_EPOCH;
    return reasons[state_of((enum chain_phase)c->phase,
                            (enum chain_role)c->role)];
}

/* A client's question in a state that cannot answer it. */
static void refuse(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out)
{
    int err = chain_gate(c, ev->msg->epoch);

    assert(err);
    chain_nak(c, out, ev, err);
}

static void not_serving(struct chain *c, const struct chain_event *ev,
                        struct chain_out *out)
{
    chain_nak(c, out, ev, KT_E_NOT_SERVING);
}

/* An empty place: ignored, for it is late, or early and said again. */
/* clang-format off */
#define ONLY(state, fn) {[state] = (fn)}
#define ALL(fn) {fn, fn, fn, fn, fn, fn, fn}
#define WELL(fn) {fn, fn, fn, fn, fn, fn, NULL}
#define ASKED(fn) {refuse, refuse, refuse, refuse, fn, refuse, refuse}
/* clang-format on */

static const struct {
    uint8_t from;
    handler *in[STATES];
} table[KT_MSG_TYPE_END] = {
    /* from clients */
    [KT_MSG_WRITE] = {CLIENT, ASKED(chain_on_write)},
    [KT_MSG_READ] = {CLIENT | CLI | PEER, ASKED(chain_on_read)},
    [KT_MSG_STAT] = {CLIENT | CLI, ASKED(chain_on_read)},
    [KT_MSG_FLUSH] = {CLIENT | PEER, ASKED(chain_on_flush)},
    [KT_MSG_DIGEST_GET] = {PEER | CLI,
                           {[DETACHED] = not_serving,
                            [SEALING] = not_serving,
                            [SEALED] = not_serving,
                            [IDLE] = not_serving,
                            [MEMBER] = chain_on_digest_get,
                            [TARGET] = chain_on_digest_get,
                            [FAULTY] = not_serving}},
    /* along the chain */
    [KT_MSG_FWD] = {PEER, {[MEMBER] = chain_on_fwd, [TARGET] = chain_dst_fwd}},
    [KT_MSG_ACKC] = {PEER, ONLY(MEMBER, chain_on_ackc)},
    [KT_MSG_RESUME] = {PEER, ALL(chain_on_resume)},
    [KT_MSG_RESUME_OK] = {PEER, ONLY(MEMBER, chain_on_resume_ok)},
    [KT_MSG_FLUSH_OK] = {PEER, ONLY(MEMBER, chain_on_flush_ok)},
    [KT_MSG_NAK] = {PEER, ONLY(MEMBER, chain_on_nak)},
    /* to the target of a resync */
    [KT_MSG_SYNC_START] = {PEER,
                           {[DETACHED] = chain_dst_early,
                            [SEALING] = chain_dst_early,
                            [SEALED] = chain_dst_early,
                            [IDLE] = chain_dst_early,
                            [MEMBER] = chain_dst_early,
                            [TARGET] = chain_dst_start,
                            [FAULTY] = chain_dst_early}},
    [KT_MSG_COPY_START] = {PEER, ONLY(TARGET, chain_dst_msg)},
    [KT_MSG_EXT_SUMS] = {PEER, ONLY(TARGET, chain_dst_msg)},
    [KT_MSG_SYNC_EXT] = {PEER, ONLY(TARGET, chain_dst_msg)},
    [KT_MSG_SYNC_END] = {PEER, ONLY(TARGET, chain_dst_msg)},
    [KT_MSG_SYNC_DONE] = {PEER, ONLY(TARGET, chain_dst_msg)},
    /* from it */
    [KT_MSG_SYNC_AT] = {PEER, ONLY(MEMBER, chain_src_msg)},
    [KT_MSG_DIGEST] = {PEER, ONLY(MEMBER, chain_src_msg)},
    [KT_MSG_WANT] = {PEER, ONLY(MEMBER, chain_src_msg)},
    [KT_MSG_EXT_DONE] = {PEER, ONLY(MEMBER, chain_src_msg)},
    [KT_MSG_SYNC_ACK] = {PEER, ONLY(MEMBER, chain_src_msg)},
    /* another epoch */
    [KT_MSG_SEAL] = {HUB, WELL(chain_on_seal)},
    [KT_MSG_EQ] = {HUB, ONLY(SEALED, chain_on_eq)},
    [KT_MSG_EQDATA] = {PEER, ONLY(SEALED, chain_on_eqdata)},
    [KT_MSG_ACTIVATE] = {HUB, WELL(chain_on_activate)},
};

static uint8_t sender(uint8_t role)
{
    static const uint8_t bits[] = {[KT_ROLE_HUB] = HUB,
                                   [KT_ROLE_REPLICATOR] = PEER,
                                   [KT_ROLE_CLIENT] = CLIENT,
                                   [KT_ROLE_CLI] = CLI};

    return role < KT_ARRAY_LEN(bits) ? bits[role] : 0;
}

void chain_hear(struct chain *c, const struct chain_event *ev,
                struct chain_out *out)
{
    const struct kt_msg *m = ev->msg;

    assert(m && m->chain == c->id);
    if (m->type >= KT_MSG_TYPE_END ||
        !(table[m->type].from & sender(ev->role))) {
        chain_nak(c, out, ev, KT_E_PROTO);
        return;
    }
    handler *fn =
        table[m->type]
            .in[state_of((enum chain_phase)c->phase, (enum chain_role)c->role)];
    if (fn)
        fn(c, ev, out);
}
