/* SPDX-License-Identifier: BSD-3-Clause */
/* The replicator's shell: what its files share. One thread, one loop.
 *
 *   main.c      start and stop
 *   conns.c     connections, who may say what, flow control
 *   chains.c    the chains: events in, actions out, ticks
 *   acts.c      carrying out one action
 *   ops.c       store operations under way
 *   serve.c     answers that are read from the store (READ, STAT, DIGEST)
 *   push.c      EQ_PUSH: records from the log to another member
 *   links.c     outgoing links to other members
 *   hub.c       the control connection
 *   known.c     the newest hub ever heard
 *   names.c     what the volumes are called
 *   scrub.c     looking for rot, week by week
 *   admin.c     what people ask this node
 *   mend.c      putting bad sectors right with another member's
 *   probe.c     PROBE: is that node alive, as seen from here */
#ifndef KT_REPL_REPL_H
#define KT_REPL_REPL_H

#include <uv.h>

#include "lib/link/conn.h"
#include "replicator/core/chain.h"
#include "replicator/daemon/options.h"
#include "replicator/store/scrub.h"
#include "replicator/store/store.h"

#define REPL_CHAINS_MAX 4096u
#define REPL_HASH 4096u            /* buckets; a power of two */
#define REPL_CONNS_MAX 1280u       /* more than the transport lets in */
#define REPL_TICK_MS 100u          /* chains */
#define REPL_FINE_MS 5u            /* links, pushes: only while some wait */
#define REPL_LEAVE_MS 2000u        /* for LEAVE_OK at a planned stop */
#define REPL_HELD_MAX (256u << 20) /* payload: stop reading from clients */
#define REPL_HELD_LOW (192u << 20)
#define REPL_QUEUE_MAX (64u << 20) /* answers to one client */
#define REPL_QUEUE_LOW (32u << 20)

struct repl;
struct rchain;
struct peer;

enum conn_kind {
    CONN_FREE,
    CONN_ACCEPTED,
    CONN_HUB,
    CONN_LINK,
    CONN_PROBE,
    CONN_MEND
};

/* One connection of either direction. handle: its slot in the low 16 bits, a
 * counter above them, so that a handle is never used twice. */
struct conn {
    uint64_t handle;
    struct kt_conn *kc;
    void *owner;       /* LINK: struct link; PROBE: struct probe; MEND */
    struct kt_id peer; /* store of a replicator, id of anybody else */
    uint64_t reading;  /* bytes of reads under way for it */
    uint64_t rx_ms;
    uint8_t kind, role, cls;
    bool touched; /* some chain may remember the handle */
    bool paused;
    bool doomed; /* to be closed at the next tick: a NAK is on its way */
};

enum link_state { LINK_IDLE, LINK_WAIT, LINK_OPENING, LINK_UP };

struct link {
    struct peer *p;
    struct conn *cn;
    unsigned wants;   /* chains and pushes that want it up */
    uint64_t idle_ms; /* since when nobody does */
    uint64_t next_ms; /* WAIT: when to try again */
    uint32_t backoff_ms;
    uint8_t cls;
    uint8_t state;
    bool matched; /* UP, and the store at the other end is the one wanted */
    bool use_tcp; /* the unix path failed last time */
};

struct peer {
    struct peer *next;
    struct repl *n;
    struct kt_id store;
    struct kt_node node;
    uint64_t report_ms;
    struct link data, sync;
};

struct rchain {
    struct rchain *hash_next;
    struct rchain *next; /* of all, ascending id is not kept */
    struct repl *n;
    struct store_chain *sc;
    struct peer *succ, *dst; /* links this chain has asked for */
    unsigned ops;            /* store operations under way */
    uint32_t want;           /* slots asked for last */
    bool grant_short, credit_due;
    bool config_due;       /* a new configuration: look at the links again */
    bool up_data, up_sync; /* LINK_UP is due */
    bool dropping;
    uint64_t drop_req;
    uint64_t seal_held; /* epoch of a SEAL that waits for hub_known_saved */
    uint8_t role_logged, sync_logged;
    uint64_t sync_log_ms;
    struct chain c;
};

/* Store operations, by the size of what they hold. */
enum pool {
    POOL_APPEND,
    POOL_SYNC,
    POOL_SAVE,
    POOL_READ,
    POOL_SUMS,
    POOL_DIGEST,
    POOL_LOG,
    POOL_DROP,
    POOL_MEND,
    POOL_SCRUB,
    POOLS
};

struct op {
    struct op *next;
    struct rchain *rc;
    void (*deliver)(struct op *o);
    struct kt_buf *buf;
    void *push;                /* LOG */
    uint64_t conn, req, epoch; /* for a client */
    uint64_t tag, sync_id;
    uint32_t extent, off, len, first, count;
    uint32_t rows; /* STAT */
    int err;
    uint8_t pool;
    bool asking, answered; /* STAT: completed inside the call */
};

struct hub {
    struct conn *cn;
    uint32_t turn; /* which address is next */
    uint32_t backoff_ms;
    uint64_t next_ms, heard_ms, hb_ms;
    uint64_t reqs;
    uint64_t term; /* of the newest ever heard; 0: none (B15) */
    struct kt_id mark;
    struct { /* known.c: what is being written, on another thread */
        uv_work_t work;
        uint64_t term;
        struct kt_id mark;
        bool busy;
        int err;
    } save;
    bool unsaved; /* the last attempt failed */
    bool registered;
    bool told; /* that it is away */
};

/* The one sector that is being put right. */
struct mend {
    struct op_mend *op;   /* NULL: none */
    struct op_read *read; /* waits for it */
    struct conn *cn;
    struct kt_id store; /* which should be at its other end */
    uint64_t deadline_ms;
    uint32_t turn; /* whom to ask next */
    bool refuse;
};

/* names.c: what is asked, what is written. */
struct names {
    struct kt_id *ids;
    uint32_t n_ids, asked; /* of ids */
    uint32_t chains;       /* there were so many when last asked */
    uint64_t req, next_ms; /* req: unanswered, or 0 */
    char *text, *saved;    /* being put together; in the file */
    size_t len;
    uv_work_t work;
    char *saving; /* NULL: nothing is being written */
    int err;
};

struct scrub_count {
    uint64_t bytes, bad, mended, left; /* sectors; left: still bad */
};

struct scrub {
    struct scrub_count now, last; /* this pass, or the last; the last */
    uint64_t chain;               /* where it is */
    uint32_t extent, off, piece;
    uint64_t bad; /* sectors of the piece to be put right */
    bool running, under_way;
    unsigned asked;   /* all members, so often, for the one that is tried */
    uint64_t try_ms;  /* since when one is tried; 0: not yet */
    uint64_t next_ms; /* not before */
    uint64_t start_ms, tick_ms, save_ms, credit_ms;
    int64_t credit;           /* bytes that may be read */
    uint64_t ran_ms;          /* since the last pass ended */
    uint64_t passes, ended_s; /* ended_s: of the calendar */
    uv_work_t work;
    bool busy;
    int save_err;
    char saving[512];
};

struct repl {
    const struct options *opts;
    uv_loop_t loop;
    uv_timer_t tick, fine;
    uv_async_t async;
    uv_signal_t term, intr;
    bool fine_on, closing, leaving;
    uint64_t leave_ms, ticks;
    bool net_gone, wrote_pid, wrote_address;

    struct store *store;
    struct kt_self self;
    struct kt_node me; /* as other nodes see us */
    struct kt_net *net;
    struct hub hub;

    uint64_t conn_count;
    uint32_t conns_top; /* slots in use are below it */
    struct conn conns[REPL_CONNS_MAX];

    struct rchain *chains, *hash[REPL_HASH];
    struct rchain *dead; /* released; freed at the next tick */
    uint32_t n_chains;
    struct peer *peers;
    struct push *pushes, *pushes_gone;
    struct probe *probes;
    struct mend mend;
    struct names names;
    struct scrub scrub;

    struct op *free_ops[POOLS];
    uint32_t n_free[POOLS];
    struct op *late, **late_end; /* completed while a chain was stepping */
    bool stepping, draining;
    uint64_t owed;    /* answers queued to clients, at the last tick */
    uint64_t reading; /* bytes of reads under way for anybody */
    uint64_t held;    /* bytes of payload in rings and copies */
    bool full;        /* clients are paused */
    int store_err_told;
    struct chain_out out;
};

/* ---- main.c ---- */
void repl_fine(struct repl *n); /* wake up again in a few ms */
void repl_left(struct repl *n); /* the hub has let us go */
void *repl_alloc(size_t size);  /* zeroed; never NULL */
static inline uint64_t repl_now(struct repl *n)
{
    return uv_now(&n->loop);
}

/* ---- conns.c ---- */
extern const struct kt_net_ops conns_ops;
/* Starts connecting; NULL when memory or slots are out. */
struct conn *conns_open(struct repl *n, const struct kt_addr *a, uint8_t kind,
                        uint8_t cls, void *owner);
struct conn *conns_find(struct repl *n, uint64_t handle); /* up, or NULL */
void conns_send(struct conn *cn, const struct kt_msg *m);
/* re, with its req, chain, epoch and wseq, is refused. */
void conns_nak(struct conn *cn, const struct kt_msg *re, int err);
/* cfg to every connection of its writer. */
void conns_tell_writer(struct repl *n, const struct kt_cfg *cfg);
void conns_flow(struct repl *n); /* pause or resume clients */
void conns_fine(struct repl *n);
void conns_tick(struct repl *n);

/* ---- chains.c ---- */
int chains_load(struct repl *n) KT_MUST_CHECK;
struct rchain *chains_find(struct repl *n, uint64_t chain);
/* A new, empty one; NULL when the limit is reached or the store cannot. */
struct rchain *chains_create(struct repl *n, uint64_t chain,
                             uint32_t n_extents);
/* now_ms is filled in. Carries out what follows. */
void chains_step(struct rchain *rc, struct chain_event *ev);
void chains_msg(struct rchain *rc, struct conn *cn, const struct kt_msg *m);
void chains_link(struct repl *n, struct link *l, bool up);
void chains_conn_gone(struct repl *n, uint64_t handle);
void chains_tick(struct repl *n);
void chains_release(struct rchain *rc, uint64_t req);
void chains_op_done(struct rchain *rc); /* one operation fewer */
void chains_free_all(struct repl *n);

/* ---- acts.c ---- */
void acts_run(struct rchain *rc, const struct chain_out *out);

/* ---- ops.c ---- */
void ops_append(struct rchain *rc, const struct chain_act *a);
void ops_sync(struct rchain *rc);
void ops_save(struct rchain *rc, const struct chain_act *a);
void ops_sums(struct rchain *rc, const struct chain_act *a);
void ops_base(struct rchain *rc, const struct chain_act *a);
void ops_rows(struct rchain *rc, const struct chain_act *a);
void ops_log(struct rchain *rc, const struct chain_act *a);
void ops_drop(struct rchain *rc);
struct op *ops_new(struct rchain *rc, enum pool pool);
void ops_free(struct op *o);
/* The store is done with o: deliver now, or after the step under way. */
void ops_finish(struct op *o, int err);
void ops_drain(struct repl *n);
void ops_free_all(struct repl *n);

struct op_append {
    struct op o;
    struct store_append r;
};
struct op_sync {
    struct op o;
    struct store_sync r;
};
struct op_save {
    struct op o;
    struct store_save r;
};
struct op_read {
    struct op o;
    struct store_read r;
    uint64_t mend_ms; /* since when sectors of it are put right */
};
struct op_sums {
    struct op o;
    struct store_sums r;
};
struct op_digest {
    struct op o;
    struct store_digest r;
    struct kt_digest_row rows[KT_DIGEST_ROWS_MAX];
};
struct op_log {
    struct op o;
    struct store_log_read r;
};
struct op_drop {
    struct op o;
    struct store_drop r;
};
struct op_mend {
    struct op o;
    struct store_mend r;
};
struct op_scrub {
    struct op o;
    struct store_scrub r;
};

/* ---- serve.c ---- */
void serve_read(struct rchain *rc, const struct chain_act *a);
void serve_stat(struct rchain *rc, const struct chain_act *a);
void serve_digest(struct rchain *rc, const struct chain_act *a);
/* The rows of a finished op that are in [first, first + count): how many. */
uint32_t serve_rows(const struct op_digest *d, uint32_t *ret_next);

/* ---- links.c ---- */
struct peer *links_peer(struct repl *n, const struct kt_id *store,
                        const struct kt_node *node);
void links_want(struct link *l);
void links_unwant(struct link *l);
/* Takes up what the chain wants now; sets rc->up_data, up_sync. */
void links_recount(struct rchain *rc);
void links_forget(struct rchain *rc); /* the chain goes away */
/* True when m went out (or is queued). */
bool links_send(struct peer *p, uint8_t cls, const struct kt_msg *m);
void links_up(struct link *l);
void links_down(struct link *l, int err, const char *text);
bool links_fine(struct repl *n); /* true: call again soon */
void links_second(struct repl *n);
void links_free_all(struct repl *n);
/* Where to reach a node from here (C4). */
const struct kt_addr *links_addr(const struct repl *n,
                                 const struct kt_node *node, bool tcp);

/* ---- push.c ---- */
void push_start(struct rchain *rc, const struct chain_act *a);
void push_link(struct peer *p, bool up);
bool push_fine(struct repl *n);
void push_forget(struct rchain *rc); /* the chain goes away */
void push_free_all(struct repl *n);

/* ---- hub.c ---- */
void hub_start(struct repl *n);
void hub_up(struct repl *n, const struct kt_msg *peer);
void hub_down(struct repl *n, int err, const char *text);
void hub_msg(struct repl *n, struct conn *cn, struct kt_msg *m);
void hub_send(struct repl *n, const struct kt_msg *m); /* lost when down */
void hub_error(struct repl *n, uint64_t req, int err, const char *text);
void hub_report(struct repl *n, const struct kt_node *node, int err);
void hub_tick(struct repl *n);
void hub_leave(struct repl *n);
/* The cluster this store belongs to: from its file and --cluster. */
int hub_cluster_load(struct repl *n, char *ret_why, size_t size) KT_MUST_CHECK;

/* ---- known.c ---- */
int hub_known_load(struct repl *n, char *ret_why, size_t size) KT_MUST_CHECK;
/* A hub names itself: true when it may be obeyed; kept when it is newer. */
bool hub_known(struct repl *n, uint64_t term, const struct kt_id *mark);
/* The start of the hub obeyed now is on the disk, or err says why not. */
void hub_known_saved(struct repl *n, int err);

/* ---- names.c ---- */
void names_answer(struct repl *n, const struct kt_msg *m);
void names_tick(struct repl *n);
void names_free(struct repl *n);

/* ---- scrub.c ---- */
void scrub_load(struct repl *n);
/* 0, also when a pass is under way; KT_E_FAULTY. */
int scrub_start(struct repl *n) KT_MUST_CHECK;
void scrub_tick(struct repl *n);
bool scrub_fine(struct repl *n);

/* ---- admin.c ---- */
void admin_request(struct repl *n, struct conn *cn, const struct kt_msg *m);

/* ---- mend.c ---- */
/* A client's read was refused, as the bytes at r.ret_bad do not match their
 * sum. True: the read waits, is done again when they do, and delivered with
 * KT_E_CORRUPT otherwise. False: something else is being put right. */
bool mend_start(struct op_read *read);
void mend_up(struct conn *cn);
void mend_msg(struct conn *cn, const struct kt_msg *m, int err);
void mend_down(struct conn *was);
bool mend_fine(struct repl *n);
void mend_free(struct repl *n);

/* ---- probe.c ---- */
void probe_start(struct repl *n, const struct kt_msg *m);
void probe_up(struct conn *cn, const struct kt_msg *peer);
void probe_pong(struct conn *cn);
void probe_down(struct conn *cn, int err);
bool probe_fine(struct repl *n);
void probe_free_all(struct repl *n);

#endif
