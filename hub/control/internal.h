/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the control core share. */
#ifndef KT_HUB_CONTROL_INTERNAL_H
#define KT_HUB_CONTROL_INTERNAL_H

#include <string.h>

#include "hub/control/control.h"
#include "lib/base/rule.h"

#define HUB_NEVER UINT64_MAX
/* The most actions one look at a chain may need: rows, SEALs or ACTIVATEs to
 * its members, notes, and clients to be told. */
#define HUB_CHAIN_ROOM 40u

static inline bool hub_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static inline unsigned hub_bits(unsigned set)
{
    unsigned n = 0;

    for (; set; set &= set - 1)
        n++;
    return n;
}

/* Owner of a txn, in its low bits: kind 3, index 17. */
enum hub_owner {
    HUB_OWNER_NODE = 1,
    HUB_OWNER_VOLUME,
    HUB_OWNER_CHAIN,
    HUB_OWNER_CLUSTER
};

/* Why a volume's row changes. */
enum {
    HUB_TXN_CREATE = 1,
    HUB_TXN_READY,
    HUB_TXN_RM,
    HUB_TXN_ATTACH,
    HUB_TXN_DETACH,
    HUB_TXN_REGAIN,
    HUB_TXN_FENCE
};

/* ---- act.c: actions and texts ---- */
uint32_t hub_room(const struct hub *h);
struct hub_action *hub_act(struct hub *h, unsigned type);
/* A message to fill in; m.type is set. */
struct kt_msg *hub_send(struct hub *h, uint64_t conn, unsigned type);
void hub_close(struct hub *h, uint64_t conn);
struct hub_action *hub_store(struct hub *h, enum hub_owner owner,
                             uint32_t index);
struct hub_row *hub_row_add(struct hub_action *a, unsigned kind);
struct hub_action *hub_note(struct hub *h, unsigned note);
/* The answer to a person's request. */
struct hub_action *hub_admin_done(struct hub *h, uint64_t conn, uint64_t req,
                                  int err, enum hub_detail detail);

struct hub_text {
    char *p;
    size_t left; /* with room for the NUL */
};
struct hub_text hub_text(char *buf, size_t size);
void hub_text_add(struct hub_text *t, const char *s);
void hub_text_num(struct hub_text *t, uint64_t n);
void hub_text_time(struct hub_text *t, uint64_t epoch_s);
/* ERROR to conn; the text is completed by the caller. */
struct hub_text hub_error(struct hub *h, uint64_t conn, uint64_t req, int err);

/* The copy of this chain may go; it must not be merely unknown (I22). */
void hub_release(struct hub *h, uint64_t conn, uint64_t chain,
                 const struct kt_id *volume);

/* ---- check.c ---- */
/* This step is about op.next being stored. */
static inline bool hub_is_stored(const struct hub *h, const struct hub_chain *c)
{
    return h->stored_txn && c->op.txn == h->stored_txn;
}
/* op.next is what may be committed. */
void hub_check_commit(const struct hub *h, const struct hub_chain *c);

/* ---- find.c ---- */
uint32_t hub_node_index(const struct hub *h, const struct hub_node *n);
uint32_t hub_volume_index(const struct hub *h, const struct hub_volume *v);
uint32_t hub_chain_index(const struct hub *h, const struct hub_chain *c);
struct hub_conn *hub_conn_of(const struct hub *h, uint64_t conn);
/* The registered node that owns this connection, or NULL. */
struct hub_node *hub_conn_node(const struct hub *h, uint64_t conn);
/* The one whose registration is under way there, or NULL. */
struct hub_node *hub_registering(const struct hub *h, uint64_t conn);
struct hub_volume *hub_volume_of(const struct hub *h, const struct kt_id *id);
struct hub_volume *hub_volume_slot(struct hub *h);
/* How many chains it should have. */
uint64_t hub_volume_segments(const struct hub_volume_row *r);
bool hub_tombed(const struct hub *h, const struct kt_id *volume);
void hub_tomb_put(struct hub *h, const struct hub_tomb_row *r);
struct hub_chain *hub_chain_new(struct hub *h, const struct hub_chain_row *r,
                                uint32_t volume);
void hub_chain_free(struct hub *h, struct hub_chain *c);
uint32_t hub_chains_free(const struct hub *h);
/* The node that holds member i, or NULL. */
struct hub_node *hub_member_node(const struct hub *h,
                                 const struct kt_member *m);
/* Up, connected and registered. */
bool hub_node_live(const struct hub_node *n);
static inline uint64_t hub_node_free(const struct hub_node *n)
{
    return n->size - kt_min_u64(n->used, n->size);
}

/* ---- node.c, live.c ---- */
void hub_register(struct hub *h, const struct hub_event *ev);
void hub_register_stored(struct hub *h, struct hub_node *n);
void hub_node_conn_down(struct hub *h, uint64_t conn);
void hub_node_probed(struct hub *h, uint32_t node, int err);
void hub_node_msg(struct hub *h, struct hub_node *n, const struct kt_msg *m);
void hub_nodes_tick(struct hub *h);
void hub_node_up(struct hub *h, struct hub_node *n);
void hub_node_reverted(struct hub *h, struct hub_node *n);

/* from has said for a while that to owes it acknowledgements (F23). */
bool hub_node_slow(const struct hub *h, const struct hub_node *from,
                   const struct hub_node *to);
/* One of the two has said for a while that it cannot reach the other. */
bool hub_nodes_cut(const struct hub *h, const struct hub_node *a,
                   const struct hub_node *b);

/* ---- chain.c ---- */
/* Look at it in this step or the next; sets out->more. */
void hub_chain_wake(struct hub *h, struct hub_chain *c);
void hub_chains_wake_node(struct hub *h, const struct hub_node *n);
void hub_chains_wake_volume(struct hub *h, const struct hub_volume *v);
void hub_chain_due(struct hub_chain *c, uint64_t at_ms);
uint32_t hub_chain_why(const struct hub *h, const struct hub_chain *c);
bool hub_chain_frozen(const struct hub *h, const struct hub_chain *c);
/* The serving member to give up because it holds up the others, or -1. */
int hub_chain_slow(const struct hub *h, const struct hub_chain *c);
/* The serving member to give up for a cut link between neighbours, or -1. */
int hub_chain_cut(const struct hub *h, const struct hub_chain *c);
bool hub_chain_candidate(const struct hub *h, const struct hub_chain *c,
                         unsigned member);
/* The next to be synced, its node has room for that; or -1. */
int hub_sync_next(const struct hub *h, const struct hub_chain *c);
/* The source of the resync cannot reach its target. */
bool hub_sync_cut(const struct hub *h, const struct hub_chain *c);
/* The resync to that member failed: not again for a while. */
void hub_sync_backoff(const struct hub *h, struct hub_chain *c,
                      unsigned member);
/* Its store has more room: what failed there may be tried at once. */
void hub_chains_freed(struct hub *h, const struct hub_node *n);
/* More waits for this node's copy than it may hold back. */
bool hub_node_leaves(const struct hub *h, const struct hub_node *n);
void hub_chain_run(struct hub *h, struct hub_chain *c);
void hub_chains_tick(struct hub *h);
void hub_chain_sync_fin(struct hub *h, struct hub_chain *c,
                        const struct hub_node *from, const struct kt_msg *m);
void hub_chain_act_ok(struct hub *h, struct hub_chain *c,
                      const struct hub_node *from, const struct kt_msg *m);
void hub_chain_act_nak(struct hub *h, const struct hub_node *from,
                       const struct kt_msg *m);
void hub_chain_back(struct hub *h, struct hub_chain *c, unsigned i,
                    const struct hub_node *n);
/* The node registered: with another incarnation, or with its old one. */
void hub_chain_registered(struct hub *h, struct hub_chain *c,
                          const struct hub_node *n);

/* ---- table.c: states, their moves, and what each thing means in them ---- */
/* The only places that change what they are named for. */
void hub_op_move(struct hub_chain *c, enum hub_phase to);
void hub_op_clear(struct hub_chain *c); /* no operation */
void hub_node_move(struct hub_node *n, enum hub_node_state to);
/* m: member of the next configuration, still in its old state. */
void hub_member_move(const struct hub_chain *c, struct kt_member *m,
                     unsigned to);
/* Its turn has come; its row was stored; the node of member i is back. */
void hub_op_turn(struct hub *h, struct hub_chain *c);
void hub_op_stored(struct hub *h, struct hub_chain *c);
void hub_op_registered(struct hub *h, struct hub_chain *c, unsigned i,
                       const struct hub_node *n);
/* What a member says about a chain. */
void hub_chain_hear(struct hub *h, const struct hub_node *from,
                    const struct kt_msg *m);

/* ---- op.c: P1 to P3 ---- */
void hub_op_start(struct hub *h, struct hub_chain *c, uint32_t why);
void hub_op_again(struct hub *h, struct hub_chain *c);
void hub_op_prepared(struct hub *h, struct hub_chain *c);
void hub_op_seal_turn(struct hub *h, struct hub_chain *c);
void hub_op_eq_turn(struct hub *h, struct hub_chain *c);
void hub_op_sealed(struct hub *h, struct hub_chain *c,
                   const struct hub_node *from, const struct kt_msg *m);
void hub_op_refused(struct hub *h, struct hub_chain *c,
                    const struct hub_node *from, const struct kt_msg *m);
void hub_op_eq_ok(struct hub *h, struct hub_chain *c,
                  const struct hub_node *from, const struct kt_msg *m);
bool hub_op_in_last(const struct hub_chain *c, unsigned member);

/* ---- syncs.c: how many resyncs a node takes part in ---- */
/* To be called before those below; counts when anything changed. */
void hub_syncs_count(struct hub *h);
/* Both nodes have room for one of this chain. */
bool hub_syncs_room(const struct hub *h, const struct hub_chain *c,
                    const struct kt_member *from, const struct kt_member *to);
/* Others may begin. */
void hub_syncs_ended(struct hub *h);

/* ---- seal.c: what the answers to SEAL mean ---- */
struct hub_tally {
    unsigned n_last; /* size of the last set */
    unsigned ok;     /* of it: answered, usable */
    bool required;   /* all that must be waited for have answered */
    bool cont;       /* one of ok has continuity */
};
struct hub_tally hub_seal_tally(const struct hub *h, struct hub_chain *c);
/* May the operation go on? Sets due when time decides. */
bool hub_seal_done(struct hub *h, struct hub_chain *c);
/* A member of the last set whose history may be used in this operation. */
bool hub_seal_usable(const struct hub_chain *c, unsigned member);
int hub_seal_donor(const struct hub *h, const struct hub_chain *c);
/* Members that should not serve although sealed: broken store, or leaving
 * and enough others. Bits. */
unsigned hub_seal_dropped(const struct hub *h, const struct hub_chain *c);
bool hub_seal_synced(const struct hub *h, const struct hub_chain *c,
                     unsigned member);

/* ---- commit.c: P4 and P5 ---- */
void hub_commit(struct hub *h, struct hub_chain *c);
void hub_commit_stored(struct hub *h, struct hub_chain *c);
/* ACTIVATE with the present configuration, if it is connected. */
void hub_tell_member(struct hub *h, const struct hub_chain *c, unsigned i);
/* Carries what is known of each member over to its new place. */
void hub_known_reorder(struct hub_chain *c, const struct kt_cfg *cfg);
void hub_activate_resend(struct hub *h, struct hub_chain *c);

/* ---- volume.c ---- */
void hub_admin(struct hub *h, const struct hub_event *ev);
void hub_volume_stored(struct hub *h, struct hub_volume *v);
void hub_volume_progress(struct hub *h, struct hub_volume *v);
void hub_volumes_tick(struct hub *h);
/* Starts a row change; pend is what row shall become. */
struct hub_action *hub_volume_change(struct hub *h, struct hub_volume *v,
                                     unsigned why);

/* ---- attach.c ---- */
/* The holder said, not longer ago than a lease, that it cannot reach n (B13).
 */
bool hub_holder_cut(const struct hub *h, const struct hub_volume *v,
                    const struct hub_node *n);
void hub_client_msg(struct hub *h, struct hub_conn *c, const struct kt_msg *m);
void hub_attach_stored(struct hub *h, struct hub_volume *v, unsigned why);
void hub_attach_progress(struct hub *h, struct hub_volume *v);
void hub_client_conn_down(struct hub *h, uint64_t conn);
/* A configuration was committed: tell the clients of the volume. */
void hub_push_chain(struct hub *h, const struct hub_chain *c);
/* Pushes what is left to push, as far as there is room. */
void hub_push_run(struct hub *h);
/* BUSY, for the reason of B15. conn may be 0. */
void hub_say_recovering(struct hub *h, uint64_t conn, uint64_t req);
void hub_unbind_volume(struct hub *h, uint32_t volume);

/* ---- recover.c: B15, the mode ---- */
#define HUB_REQ_UNKNOWN 1u /* CFG_GET about a chain that is not in a table */
void hub_recover_start(struct hub *h);
/* What to keep beside an epoch that is given out now. */
uint64_t hub_giving_term(const struct hub *h);
/* What a node shows at its registration. */
void hub_recover_shown(struct hub *h, struct hub_node *n,
                       const struct kt_msg *m);
/* A row of it, of a chain that is no removed one's. c may be NULL. */
void hub_recover_report(struct hub *h, struct hub_node *n, uint64_t conn,
                        const struct kt_chain_report *r);
/* The first token of which this database and the nodes do not know: given out,
 * or not, by a start that was lost. */
uint64_t hub_first_unknown(const struct hub_volume *v,
                           const struct hub_volume_row *row);
void hub_recover_token(struct hub *h, struct hub_volume *v,
                       const struct kt_msg *m);
void hub_recover_tick(struct hub *h);
void hub_recover_stored(struct hub *h);
void hub_recover_admin(struct hub *h, const struct hub_event *ev);
/* Every node there is a row of was here, or will never be. */
bool hub_recover_all_in(const struct hub *h);

/* ---- regain.c: B15, chains and volumes ---- */
void hub_regain_chain(struct hub *h, struct hub_chain *c);
void hub_regain_volume(struct hub *h, struct hub_volume *v);
/* CFG or NAK of a node that was asked. */
void hub_regain_answer(struct hub *h, struct hub_node *n,
                       const struct kt_msg *m);
void hub_regain_tick(struct hub *h);
void hub_regain_volume_stored(struct hub *h, struct hub_volume *v);
void hub_regain_chain_stored(struct hub *h, struct hub_chain *c);

/* ---- order.c: what only a person may decide ---- */
void hub_order_admin(struct hub *h, const struct hub_event *ev);
void hub_order_fenced(struct hub *h, struct hub_volume *v);
void hub_order_end(struct hub *h, struct hub_chain *c, enum hub_detail d);
void hub_order_turn(struct hub *h, struct hub_chain *c);
void hub_order_released(struct hub *h, struct hub_chain *c,
                        const struct hub_node *from, const struct kt_msg *m);
/* The member meant, or -1. */
int hub_order_member(const struct hub_chain *c);
int hub_order_promoted(const struct hub_chain *c);

/* ---- place.c ---- */
/* Nodes fit to hold a new copy. */
unsigned hub_place_fit(const struct hub *h);
/* n distinct node indexes for a chain, best first. Returns how many. */
unsigned hub_place(const struct hub *h, uint64_t chain, unsigned n,
                   uint32_t ret_nodes[HUB_REPLICAS_MAX]);

#endif
