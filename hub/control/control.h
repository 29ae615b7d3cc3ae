/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub's decisions: a pure step function over one struct.
 *
 * hub_step takes one event and writes actions. It does no I/O, takes no
 * memory, reads no clock and logs nothing: the shell (hub/daemon, tests/sim)
 * brings time, bytes and durability. Memory that decides anything changes only
 * when the store has answered (STORED); the commit point of a configuration
 * (P4) is the STORED of its row.
 *
 * How a shell drives it:
 *   1. hub_init, then hub_load_* for every stored row (cluster with its term
 *      already raised and stored), then hub_start.
 *   2. One hub_step per event; then carry out out->act[0..n) in order. While
 *      out->more is set, step again with HUB_EV_TICK (same now_ms is fine).
 *   3. A HUB_EV_TICK at least every 50 ms. */
#ifndef KT_HUB_CONTROL_H
#define KT_HUB_CONTROL_H

#include "hub/control/stored.h"

#define HUB_NODES_MAX 64u
#define HUB_VOLUMES_MAX 1024u
#define HUB_CHAINS_MAX 16384u
#define HUB_CONNS_MAX 1024u
#define HUB_TOMBS_MAX 4096u
#define HUB_TOKEN_STEP (1ull << 20)
#define HUB_REPLICAS_MAX 5u
#define HUB_BOUND_MAX 8u /* volumes one client connection is told about */
#define HUB_LOST_MAX 16u
#define HUB_NONE UINT32_MAX

/* Times, milliseconds. */
#define HUB_HB_TIMEOUT_MS 3000u /* silence before a node is suspect */
#define HUB_PING_MS 1000u       /* answer to PING and PROBE */
#define HUB_SEAL_MS 500u        /* T_seal */
#define HUB_COLD_MS 2000u       /* C9 */
#define HUB_GRACE_MS 3000u      /* reconnect_grace (A5) */
#define HUB_LAST_MS 30000u      /* T_last */
#define HUB_EVICT_MS 30000u     /* between unconfirmed evictions */
#define HUB_SEAL_RESEND_MS 200u /* SEAL to who has not answered */
#define HUB_EQ_RESEND_MS 300u   /* EQ to the donor */
#define HUB_EQ_MS 2000u         /* + 1 per record of lag */
#define HUB_EQ_MAX_MS 30000u    /* at most */
#define HUB_ACT_RESEND_MS 500u  /* ACTIVATE until ACT_OK */
/* After a failed resync; twice as long after each further one, at most MAX. */
#define HUB_SYNC_BACKOFF_MS 5000u
#define HUB_SYNCS_MAX 2u /* to one node, and from one */
#define HUB_SYNC_BACKOFF_MAX_MS 300000u
#define HUB_LEASE_MS 10000u  /* of an attachment */
#define HUB_CREATE_MS 10000u /* until a creation is given up */
#define HUB_CUT_MS 3000u     /* a link this long broken is cut */
#define HUB_SLOW_MS 5000u    /* who owes answers so long is slow */
#define HUB_STALL_MS 5000u   /* a disk this stuck is no replica */
#define HUB_FULL_PERCENT 85u /* no new copy on a store this full */
#define HUB_ASK_MS 1000u     /* CFG_GET until it is answered */
#define HUB_ORDER_MS 10000u  /* until an order is given up */

/* ---- events ---- */

/* A parsed request of a person. 0 in an option means the default. */
struct hub_admin {
    uint8_t op; /* enum hub_admin_op */
    char name[KT_NAME_MAX + 1];
    uint64_t size, segment_bytes;
    uint32_t replicas, min_write;
    uint8_t durability;
    /* create: fresh random identities of the volume and of its history */
    struct kt_id id, history;
    uint64_t chain;
    /* recover: names of nodes that will not come back */
    unsigned n_lost;
    char lost[HUB_LOST_MAX][KT_NAME_MAX + 1];
};
enum hub_admin_op {
    HUB_ADMIN_CREATE = 1,
    HUB_ADMIN_RM,
    HUB_ADMIN_RECOVER,
    HUB_ADMIN_PROMOTE, /* chain, name of the node, history: fresh */
    HUB_ADMIN_DISCARD, /* chain, name of the node */
};

enum hub_ev_type {
    HUB_EV_CONN_UP = 1, /* conn, msg = its HELLO */
    HUB_EV_CONN_DOWN,   /* conn */
    HUB_EV_MSG,         /* conn, msg; not ADMIN */
    HUB_EV_TICK,
    HUB_EV_STORED, /* txn, err */
    HUB_EV_PROBED, /* node, err: answer to HUB_ACT_PROBE */
    HUB_EV_ADMIN,  /* conn, req, admin */
};

struct hub_event {
    uint8_t type;
    uint64_t now_ms; /* monotonic; never goes back */
    uint64_t wall_s; /* seconds of the Epoch, only to show to people */
    uint64_t conn;   /* chosen by the shell, not 0, never reused */
    uint64_t txn, req;
    uint32_t node; /* index */
    int err;
    const struct kt_msg *msg;
    const struct hub_admin *admin;
};

/* ---- actions ---- */

enum hub_act_type {
    HUB_ACT_SEND = 1, /* conn, msg */
    HUB_ACT_CLOSE,    /* conn: after what was sent has left */
    /* Commit rows as one durable transaction, in the order of the txns, then
     * STORED{txn}. Several may be grouped into one. A failed commit ends the
     * hub: after STORED with err != 0 it does nothing any more. */
    HUB_ACT_STORE,
    /* Connect and shake hands with row.node of that index, 1 s in all, then
     * PROBED: 0 it answered, -ECONNREFUSED, -ECONNRESET, -ENOENT: nobody is
     * there, anything else: not known. */
    HUB_ACT_PROBE,
    HUB_ACT_ADMIN_DONE, /* conn, req, err, detail, id, a, b */
    HUB_ACT_NOTE,       /* something for the log: note, and what it names */
};

/* Why an admin request ended with err. */
enum hub_detail {
    HUB_D_OK = 0,
    HUB_D_NAME,      /* not a name */
    HUB_D_SIZE,      /* not a multiple of 4096 in 4096..64T */
    HUB_D_SEGMENT,   /* not a power of two in 4 MiB..16 GiB */
    HUB_D_REPLICAS,  /* not 1..5 */
    HUB_D_MIN_WRITE, /* not 1..replicas */
    HUB_D_EXISTS,
    HUB_D_NODES,   /* b nodes needed, a are up with a healthy store */
    HUB_D_CHAINS,  /* a chains needed, b are left */
    HUB_D_VOLUMES, /* b is the limit */
    HUB_D_NO_VOLUME,
    HUB_D_IN_USE,     /* its holder's lease runs */
    HUB_D_BUSY,       /* another change of it is under way */
    HUB_D_TIMEOUT,    /* creation: a of b chains became active in 10 s */
    HUB_D_GONE,       /* removed while it was being made */
    HUB_D_RECOVER,    /* not in recover mode */
    HUB_D_NO_RECOVER, /* recover: there is nothing to recover */
    HUB_D_LOST_NAME,  /* recover: name a is of no node and no member */
    HUB_D_LOST_HERE,  /* recover: node a is here */
    HUB_D_NO_CHAIN,
    HUB_D_NO_MEMBER,       /* the node holds no copy of the chain */
    HUB_D_NOT_HERE,        /* it is not up, or its store is broken */
    HUB_D_NOT_QUARANTINED, /* discard: its copy is in use */
    HUB_D_LAST_HERE,       /* promote: `node` served last, and is here */
    HUB_D_ORDER_TIMEOUT,   /* the node did not do it in 10 s */
};

enum hub_note {
    HUB_N_NODE_UP = 1, /* node, a = incarnation */
    HUB_N_NODE_SUSPECT,
    HUB_N_NODE_DEAD,    /* a = 1 when confirmed */
    HUB_N_NODE_REFUSED, /* conn, msg = the ERROR sent */
    HUB_N_OP_START,     /* chain, a = epoch, b = bits of why */
    HUB_N_OP_AGAIN,     /* chain, a = epoch that failed, b = phase */
    HUB_N_ACTIVE,       /* chain, a = epoch, b = serving members */
    HUB_N_VGEN,         /* chain, a = new vgen */
    HUB_N_DOWN,         /* chain: no member of the last set answers */
    HUB_N_QUARANTINED,  /* chain, node */
    HUB_N_RECOVER,      /* a = enum hub_recover_why; chain, a node */
    HUB_N_REGAINED,     /* chain, a = epoch taken over, b = members lost */
    HUB_N_REGAIN_LOST,  /* volume: no node holds it all */
    HUB_N_REGAIN_NEW,   /* volume: only the nodes knew of it */
    HUB_N_RECOVERED,    /* a = the new term */
    HUB_N_PROMOTED,     /* chain, node, a = epoch */
    HUB_N_DISCARDED,    /* chain, node, a = epoch */
    HUB_N_ATTACHED,     /* volume, a = token */
    HUB_N_DETACHED,     /* volume */
    HUB_N_LIMIT,        /* a table is full; a = which row kind, 0 conns */
};

/* What showed that the database is an old copy. */
enum hub_recover_why {
    HUB_R_TERM = 1, /* a node has heard of a later start of the hub */
    HUB_R_MARK,     /* a node belonged to another database */
    HUB_R_EPOCH,    /* a member has a newer configuration (I5) */
    HUB_R_CHAIN,    /* a node holds a chain not made yet */
    HUB_R_TOKEN,    /* a client has a token not given out yet */
    HUB_R_PROMISE,  /* a node promised an epoch not given out to it (I5) */
};

#define HUB_ROWS_MAX 4u

struct hub_action {
    uint8_t type; /* enum hub_act_type */
    uint8_t note; /* enum hub_note */
    uint8_t detail;
    uint8_t n_rows;
    int err;
    uint64_t conn, txn, req;
    uint32_t node;   /* index, HUB_NONE */
    uint32_t volume; /* index, HUB_NONE */
    uint64_t chain;
    uint64_t a, b;
    struct kt_id id; /* ADMIN_DONE: of the volume */
    struct hub_row rows[HUB_ROWS_MAX];
    /* What it points to (cfg, targets) lives until the next hub_step. */
    struct kt_msg msg;
};

#define HUB_ACTS_MIN 640u /* a REGISTER page may ask for 512 */

struct hub_out {
    struct hub_action *act; /* caller's */
    uint32_t max;           /* at least HUB_ACTS_MIN */
    uint32_t n;
    bool more; /* there is more to do: step again with a TICK */
};

/* ---- state ---- */

enum hub_node_state {
    HUB_NODE_FREE = 0,
    HUB_NODE_UNKNOWN, /* since hub start; nobody is evicted for that */
    HUB_NODE_UP,
    HUB_NODE_SUSPECT,
    HUB_NODE_DEAD
};

struct hub_node {
    uint8_t state;   /* enum hub_node_state */
    bool confirmed;  /* DEAD: the connection was refused or reset */
    bool probing;    /* HUB_ACT_PROBE is out */
    bool leaving;    /* asked to stop; no copy is placed here */
    bool leave_said; /* LEAVE_OK was sent */
    bool insecure_links;
    bool seen;     /* registered since the hub started */
    bool late;     /* it was away while the others were asked */
    uint32_t owed; /* recover mode: answers about chains we do not know */
    int hub_says;  /* SUSPECT: our own ping; 1 = not known yet */
    int peer_says; /* SUSPECT: the neighbour's; 1 = not known yet */
    struct hub_node_row row;
    uint64_t conn; /* its control connection, registered; 0 = none */
    uint64_t cont_base;
    uint64_t size, used, disk_stall_ms;
    uint64_t hub_term; /* of the start it obeyed before this registration */
    int store_err;
    uint64_t heard_ms; /* last message or registration */
    uint64_t suspect_ms, probed_ms;
    uint64_t leave_req, leave_ms;
    uint32_t syncs_in, syncs_out; /* resyncs to it and from it; syncs.c */
    /* Others it says it cannot reach, though they live (B13): since when, and
     * when it said so last; 0 = it does not. */
    struct {
        uint64_t since_ms, last_ms;
    } cut[HUB_NODES_MAX], slow[HUB_NODES_MAX]; /* slow: they owe it answers */
    uint64_t newest; /* connection of those it registered on */
    /* A registration under way. */
    uint64_t reg_conn, reg_req, reg_txn;
    struct hub_node_row reg_row;
};

/* A volume whose configurations a client connection is told. */
struct hub_bound {
    uint32_t volume;
    uint32_t next; /* chain to push next; HUB_NONE: all were */
};

struct hub_conn {
    uint64_t id; /* 0 = free */
    uint8_t role;
    struct kt_id peer;
    uint8_t n_bound;
    struct hub_bound bound[HUB_BOUND_MAX];
};

struct hub_volume {
    bool used;
    bool dropping; /* removed; only here until its members were told */
    struct hub_volume_row row;
    uint32_t first_chain, last_chain, n_chains;
    uint64_t lease_ms; /* the holder's lease ends */
    /* Nodes that the holder cannot reach, and when it said so (B13). */
    uint32_t cut[KT_CUT_MAX];
    uint32_t n_cut;
    uint64_t cut_ms;
    /* Row change under way; row takes its place when txn is stored. */
    uint64_t txn;
    uint8_t txn_why;
    struct hub_volume_row pend;
    /* attach, detach or create waiting for an answer */
    uint8_t wait; /* enum hub_wait */
    uint64_t wait_conn, wait_req, wait_ms;
    bool found_creating;  /* by a new hub: remove it */
    uint64_t shown_token; /* of a client, not given out by this database */
    struct kt_id shown_client;
    /* A recovery left out the tokens from unknown_from to below fresh_from:
     * they may have been given out, and no node knows. */
    uint64_t unknown_from, fresh_from;
    uint8_t regain;           /* enum hub_regain */
    uint64_t base_chain;      /* creating: number of its first chain */
    struct kt_id history;     /* creating */
    struct hub_tomb_row tomb; /* removing */
    int done_err;             /* removing: what to answer then */
    uint8_t done_detail;
    uint32_t done_a, done_b;
};
enum hub_wait {
    HUB_WAIT_NONE,
    HUB_WAIT_CREATE,
    HUB_WAIT_ATTACH,
    HUB_WAIT_DETACH,
    HUB_WAIT_RM
};

/* How far a volume is with taking over what the nodes know of it. */
enum hub_regain {
    HUB_REGAIN_NO,
    HUB_REGAIN_ASK,   /* members are asked for their configurations */
    HUB_REGAIN_STORE, /* the volume's row is being stored */
    HUB_REGAIN_CHAINS /* the chains' rows are */
};

/* Why a chain wants another configuration. */
enum {
    HUB_WHY_PREPARE = 1,      /* a PREPARE stands, or it never was ACTIVE */
    HUB_WHY_DEAD = 2,         /* a SERVING member's node is dead */
    HUB_WHY_RESTARTED = 4,    /* a SERVING member has a new incarnation */
    HUB_WHY_WRITER = 8,       /* attach or detach */
    HUB_WHY_SYNCED = 16,      /* the SYNCING member is complete */
    HUB_WHY_SYNC_FAILED = 32, /* it is gone, or its sync failed */
    HUB_WHY_SYNC = 64,        /* a member can start to sync */
    HUB_WHY_FAULTY = 128,     /* a SERVING member's store is broken */
    HUB_WHY_LEAVE = 256,      /* a SERVING member's node wants to stop */
    HUB_WHY_CUT = 512,        /* two neighbours cannot reach each other */
    HUB_WHY_PROMOTE = 1024,   /* a person says who serves */
    HUB_WHY_DISCARD = 2048,   /* a quarantined copy was deleted */
    HUB_WHY_SLOW = 4096,      /* a member holds up the others (F23) */
    HUB_WHY_ORDER = 8192,     /* the holder cannot reach the head (B13) */
};

enum hub_phase {
    HUB_OP_NONE,
    HUB_OP_PREPARE, /* P1: the PREPARE row is being stored */
    HUB_OP_SEAL,    /* P2 */
    HUB_OP_EQ,      /* P3 */
    HUB_OP_COMMIT,  /* P4: the ACTIVE row is being stored */
    HUB_OP_REGAIN   /* B15: what the nodes know is being stored */
};

/* One member as it answered SEAL; index as in cfg.members. */
struct hub_sealed {
    bool ok;       /* answered for this epoch */
    bool cont;     /* has continuity (I15) */
    bool target;   /* gets EQDATA */
    bool done;     /* donor or target: EQ_OK as it must be (B2) */
    bool left_out; /* failed in this op before: not among the next */
    bool foreign;  /* other history: QUARANTINED */
    uint64_t incarnation, cont_base, last_epoch, acked;
    struct kt_rid applied;
};

struct hub_op {
    uint8_t phase; /* enum hub_phase */
    bool cold;     /* the chain was DOWN (C9) */
    bool down_said;
    uint32_t why;
    uint32_t tries;
    uint32_t turn; /* whom to do without when no blame is left */
    uint64_t epoch, txn;
    uint64_t start_ms;
    struct kt_id sync_to; /* WHY_SYNC: the store that is meant */
    uint64_t since_ms;    /* this phase */
    uint64_t sealed_ms;   /* first SEAL_OK of the last set; 0 = none yet */
    uint64_t sent_ms;
    uint64_t limit_ms; /* EQ: how long */
    uint64_t not_before_ms;
    int donor;
    struct hub_sealed m[KT_MEMBERS_MAX];
    struct hub_chain_row next;
    struct kt_eq_target targets[KT_MEMBERS_MAX];
};

/* What is known of a member besides the configuration; index likewise. */
struct hub_known {
    struct kt_id store;
    struct kt_rid applied;
    bool told;              /* applied: by it, since this start of the hub */
    bool holds;             /* it has data of the chain */
    bool older;             /* it forgot a promise: its disk was put back */
    uint64_t shown;         /* what it had promised when it registered */
    uint64_t not_before_ms; /* no sync before */
    uint32_t failures;      /* resyncs, one after the other */
    uint64_t free;          /* bytes its store had at the last of them */
};

enum hub_order { HUB_ORDER_NONE, HUB_ORDER_PROMOTE, HUB_ORDER_DISCARD };

struct hub_chain {
    bool used;
    struct hub_chain_row row;
    uint32_t volume, next_of_volume, next_in_hash;
    uint64_t heard;           /* highest promised epoch heard of */
    uint64_t due_ms;          /* look at it then */
    uint64_t evicted_ms;      /* last unconfirmed eviction; 0 = never */
    bool synced, sync_failed; /* SYNC_FIN of the SYNCING member */
    /* B15: nothing is decided about it before its members were asked. The
     * greatest configuration so far is op.next. */
    bool recovering;
    struct {
        uint64_t answered, none; /* nodes, bits; none: it holds nothing */
        bool from_node;          /* op.next was some node's */
        uint64_t ask_ms;
        uint64_t token; /* greatest seen in any configuration */
        uint64_t next_token;
        struct kt_id client;
    } regain;
    struct {           /* what a person ordered */
        uint8_t kind;  /* enum hub_order */
        bool on;       /* the holder is fenced, if need be */
        bool released; /* DISCARD: the copy is gone */
        struct kt_id store, history;
        uint64_t conn, req, since_ms, sent_ms;
    } order;
    uint8_t act_pending; /* members that owe an ACT_OK, bits */
    uint64_t act_ms;
    struct hub_known known[KT_MEMBERS_MAX];
    struct hub_op op;
};

#define HUB_HASH_SIZE 4096u

struct hub {
    struct hub_cluster cluster;
    struct hub_cluster cluster_pend;
    struct hub_node *nodes; /* [nodes_max], never freed once used */
    struct hub_volume *volumes;
    struct hub_chain *chains;
    struct hub_conn *conns;
    struct hub_tomb_row *tombs; /* ring: oldest is forgotten first */
    uint32_t nodes_max, volumes_max, chains_max, conns_max, tombs_max;
    uint32_t n_tombs, next_tomb;
    uint32_t chains_used; /* one past the highest ever used */
    uint32_t volumes_used;
    uint32_t free_hint; /* no free chain below */
    uint32_t cursor;    /* chain to look at first */
    uint64_t next_txn;
    uint64_t stored_txn; /* during a step: STORED of this one; 0: another */
    uint64_t start_ms, now_ms, wall_s;
    bool broken; /* a commit failed */
    /* B15 */
    struct kt_id fresh_mark; /* for the database when it is recovered */
    uint64_t token_step;
    uint64_t cluster_txn; /* the latest change of that row */
    uint64_t term_seen;   /* greatest shown by a node */
    bool recover_end;     /* the row that ends it is being stored */
    bool recover_go;      /* EMPTY: somebody said that all are here */
    uint32_t unplaced;    /* found on nodes, and no room for them */
    uint32_t n_lost;
    char lost[HUB_LOST_MAX][KT_NAME_MAX + 1];
    uint32_t syncs_max;
    bool syncs_counted; /* those of the nodes are up to date */
    uint32_t hash[HUB_HASH_SIZE];
    struct hub_out *out; /* during a step */
};

/* The arrays are the caller's, zeroed. */
struct hub_opts {
    struct hub_node *nodes;
    struct hub_volume *volumes;
    struct hub_chain *chains;
    struct hub_conn *conns;
    struct hub_tomb_row *tombs;
    uint32_t nodes_max, volumes_max, chains_max, conns_max, tombs_max;
    struct kt_id fresh_mark; /* random, anew at each start */
    /* Tokens of one volume that a start gives out, in what a recovery leaves
     * out; 0: a million. */
    uint64_t token_step;
    /* Resyncs to one node, and from one, at the same time; 0: two. */
    uint32_t syncs_max;
};

/* A start of the hub: the row with a higher term and this mark, to be stored
 * before hub_init. */
void hub_cluster_start(struct hub_cluster *c, const struct kt_id *mark);
void hub_init(struct hub *h, const struct hub_opts *o,
              const struct hub_cluster *cluster);
/* Stored rows: nodes and volumes before chains, chains in the order of their
 * numbers. 0, KT_E_LIMIT (no room) or KT_E_CORRUPT (they contradict). */
int hub_load_node(struct hub *h, const struct hub_node_row *r) KT_MUST_CHECK;
int hub_load_volume(struct hub *h,
                    const struct hub_volume_row *r) KT_MUST_CHECK;
int hub_load_chain(struct hub *h, const struct hub_chain_row *r) KT_MUST_CHECK;
int hub_load_tomb(struct hub *h, const struct hub_tomb_row *r) KT_MUST_CHECK;
/* Everything is loaded. Leases are armed in full (A1), chains found in PREPARE
 * go on at a higher epoch (B4). */
void hub_start(struct hub *h, uint64_t now_ms);

void hub_step(struct hub *h, const struct hub_event *ev, struct hub_out *out);
/* Asserts what must hold between steps, each by its number. It looks at every
 * chain: for tests and the simulator. */
void hub_check(const struct hub *h);

/* ---- looking at it, for people's answers and for tests ---- */

struct hub_volume *hub_volume_named(const struct hub *h, const char *name);
struct hub_node *hub_node_named(const struct hub *h, const char *name);
struct hub_node *hub_node_of(const struct hub *h, const struct kt_id *node);
struct hub_chain *hub_chain_of(const struct hub *h, uint64_t chain);
/* Chains of a volume in order: start with v->first_chain. NULL at the end. */
struct hub_chain *hub_chain_at(const struct hub *h, uint32_t index);
/* enum kt_member_state as people should see it: a SERVING member whose node
 * is dead is LAST when nobody else of the set is left, else OFFLINE. */
unsigned hub_member_state(const struct hub *h, const struct hub_chain *c,
                          unsigned member);
/* HUB_D_OK, or why a PROMOTE or DISCARD cannot be. ret_node: the node meant,
 * or with LAST_HERE the one in the way; else HUB_NONE. */
enum hub_detail hub_order_invalid(const struct hub *h,
                                  const struct hub_admin *q,
                                  uint32_t *ret_node);

/* B15: nothing but asking is done about chains that are recovering. */
bool hub_in_recovery(const struct hub *h);
/* An operator said that this node will not come back. */
bool hub_named_lost(const struct hub *h, const char *name);
/* Recovering: the node of this member was asked, or is given up. */
bool hub_regain_answered(const struct hub *h, const struct hub_chain *c,
                         unsigned member);
/* Recovering: so many serving or syncing members are given up that some
 * acknowledged write may be gone. Member index as in op.next.cfg. */
bool hub_regain_lossy(const struct hub *h, const struct hub_chain *c);

/* 3.2: what a chain is, derived from its row and its members. */
enum hub_chain_state {
    HUB_C_CREATING,   /* never was active */
    HUB_C_ACTIVE,     /* at least min_write members serve */
    HUB_C_BLOCKED,    /* fewer: reads go on, writes wait */
    HUB_C_PREPARE,    /* an operation is under way */
    HUB_C_DOWN,       /* LAST: none of those who served last is here */
    HUB_C_RECOVERING, /* B15 */
    HUB_C_LOST,       /* its volume is not whole */
    HUB_C_DELETING,
    HUB_C_STATES
};
enum hub_chain_state hub_chain_state(const struct hub *h,
                                     const struct hub_chain *c);
/* "active" etc. Static storage. */
const char *hub_chain_state_name(enum hub_chain_state s);

enum hub_health { HUB_HEALTHY, HUB_DEGRADED, HUB_UNAVAILABLE };
/* HEALTHY: want_r members serve and live. UNAVAILABLE: nobody can serve, or
 * fewer than min_write: writes wait. */
enum hub_health hub_chain_health(const struct hub *h,
                                 const struct hub_chain *c);

#endif
