/* SPDX-License-Identifier: BSD-3-Clause */
/* A hub core between scripted replicators, clients and a store in memory, for
 * conversations in tests. Time moves only when a test says so. */
#ifndef KT_TESTS_UNIT_HUB_WORLD_H
#define KT_TESTS_UNIT_HUB_WORLD_H

#include "hub/control/control.h"
#include "tests/unit/unit.h"

#define W_PEERS 8
#define W_CHAINS 40
#define W_IDS 100 /* chain numbers */
#define W_LOG 4096
#define W_QUEUE 1024

struct w_copy { /* a peer's copy of one chain */
    uint64_t promised, last_epoch, acked;
    struct kt_rid applied;
    struct kt_id history;
    struct kt_cfg cfg; /* of last_epoch */
};

struct w_peer {
    struct kt_node node;
    struct kt_id store;
    uint64_t incarnation, cont_base;
    uint64_t size, used;
    int store_err;
    bool up, frozen;
    uint64_t conn, hb_ms;
    bool mute_seal, mute_eq; /* does not answer */
    bool eq_wrong;           /* EQ_OK with something else applied */
    bool eq_gap;             /* no donor's log reaches back to it */
    uint64_t refuse_below;   /* SEAL below this is refused */
    uint32_t releases;
    bool mute_cfg;     /* does not answer CFG_GET */
    uint64_t hub_term; /* as REGISTER_OK said */
    struct kt_id hub_mark;
    struct w_copy copy[W_IDS];
};

struct w_sent {
    uint64_t conn;
    struct kt_msg msg;
    struct kt_cfg cfg; /* when msg.cfg */
};

struct w_item {
    struct hub_event ev;
    struct kt_msg msg;
    struct hub_admin admin;
    struct kt_chain_report reports[W_CHAINS];
};

/* What is stored; a copy of it is a backup. */
struct w_db {
    struct hub_cluster cluster;
    struct hub_node_row node_rows[W_PEERS + 2];
    struct hub_volume_row volume_rows[8];
    struct hub_chain_row chain_rows[W_CHAINS];
    struct hub_tomb_row tomb_rows[8];
    unsigned n_nodes, n_volumes, n_chains, n_tombs;
};

struct world {
    struct hub h;
    struct hub_node nodes[W_PEERS + 2];
    struct hub_volume volumes[8];
    struct hub_chain chains[W_CHAINS];
    struct hub_conn conns[32];
    struct hub_tomb_row tombs[4];
    struct hub_action acts[HUB_ACTS_MIN];
    struct w_db db;
    uint8_t marks; /* one for each start of the hub */
    uint64_t commits;
    /* Stop storing after this many commits: the hub crashed there. 0 = no. */
    uint64_t crash_at;
    bool crashed;

    uint64_t now, next_conn;
    struct w_peer p[W_PEERS];
    unsigned n_peers;
    struct w_sent *log;
    unsigned n_log;
    struct w_item *queue;
    unsigned q_head, q_n;
    /* last ADMIN_DONE */
    bool done;
    struct hub_action done_act;
};

struct world *w_new(unsigned peers); /* hub started, peers registered */
void w_free(struct world *w);

/* Ticks of 50 ms, everything answered at once. */
void w_run(struct world *w, uint64_t ms);
void w_settle(struct world *w); /* without moving time */

void w_hub_start(struct world *w); /* from the stored rows; everybody lost */
/* The same from a copy; nobody has registered yet. */
void w_restore(struct world *w, const struct w_db *copy);
void w_register_all(struct world *w); /* of those that are up */
void w_peer_start(struct world *w, unsigned i, bool lossless);
void w_peer_kill(struct world *w, unsigned i); /* confirmed by a probe */
void w_peer_reconnect(struct world *w, unsigned i);
void w_register(struct world *w, unsigned i);
void w_say(struct world *w, uint64_t conn, const struct kt_msg *m);

uint64_t w_client(struct world *w, uint8_t id); /* connects; the connection */
void w_hangup(struct world *w, uint64_t conn);
void w_attach(struct world *w, uint64_t conn, const char *volume, uint8_t id,
              bool steal);
/* A new client takes the volume "v" from whoever has it. */
void w_take(struct world *w, uint8_t id);
void w_create(struct world *w, const char *name, uint64_t size,
              uint64_t segment, unsigned replicas);
void w_rm(struct world *w, const char *name);

/* Creates a one-chain volume and checks that it is served by `replicas`. */
const struct kt_cfg *w_volume(struct world *w, unsigned replicas);
const struct kt_cfg *w_cfg(struct world *w, uint64_t chain);
/* The latest message of that type to conn since w_forget, or NULL. */
const struct w_sent *w_last(const struct world *w, uint64_t conn,
                            unsigned type);
unsigned w_count(const struct world *w, uint64_t conn, unsigned type);
void w_forget(struct world *w);
/* The peer that is this member. */
unsigned w_peer_of(const struct world *w, const struct kt_cfg *c,
                   unsigned member);
/* PROMOTE or DISCARD of chain 1. */
void w_order(struct world *w, unsigned op, const char *node);
/* `kenter hub recover`; lost: a name, or NULL. */
void w_recover(struct world *w, const char *lost);
/* Records were written and acknowledged on every serving member. */
void w_write(struct world *w, uint64_t chain, unsigned records);
/* SYNC_FIN of the syncing member, its copy made like the head's. */
void w_synced(struct world *w, uint64_t chain);
struct kt_id w_id(uint8_t kind, uint8_t n);

/* Between hub_world.c and hub_peer.c. */
struct w_item *w_enqueue(struct world *w, unsigned type);
void w_peer_hears(struct world *w, struct w_peer *p, const struct kt_msg *m);
void w_commit(struct world *w, const struct hub_action *a);

#endif
