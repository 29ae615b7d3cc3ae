/* SPDX-License-Identifier: BSD-3-Clause */
/* One chain as one member sees it: chain_step(state, event) -> actions.
 *
 * Pure: no I/O, clock, allocation, log or global. The daemon and the simulator
 * are two shells around it. A shell feeds every event that concerns the chain,
 * one at a time, and carries out the actions in order. Invariants (I1..I23)
 * are those of DESIGN.md. */
#ifndef KT_CORE_CHAIN_H
#define KT_CORE_CHAIN_H

#include "lib/wire/msg.h"

#define CHAIN_RING 512u         /* records held: (acked, received] */
#define CHAIN_INFLIGHT_MAX 256u /* records the head admits */
#define CHAIN_INFLIGHT_BYTES (64u << 20)
#define CHAIN_FLUSH_MAX 128u         /* flushes waiting for a sync */
#define CHAIN_RELAYS 64u             /* flushes passed on (B13) */
#define CHAIN_DIGEST_WINDOW 256u     /* extents compared at a time */
#define CHAIN_FEED_BYTES (64u << 20) /* to a syncing member; then SKIP */
#define CHAIN_GRANT_WANT 8u          /* slots set aside per chain (B7) */

/* ---- events ---- */

enum chain_ev_type {
    CHAIN_EV_MSG = 1, /* msg from conn */
    CHAIN_EV_LINK_UP, /* the link to member `store` (class cls) is up */
    CHAIN_EV_LINK_DOWN,
    CHAIN_EV_APPENDED,  /* the append with this tag and id completed; err */
    CHAIN_EV_SYNCED,    /* a CHAIN_ACT_SYNC completed; durable, err */
    CHAIN_EV_SAVED,     /* a CHAIN_ACT_SAVE completed; promised, err */
    CHAIN_EV_CREDIT,    /* set_aside, full: see CHAIN_ACT_CREDIT */
    CHAIN_EV_PUSHED,    /* a CHAIN_ACT_EQ_PUSH ended; store, err */
    CHAIN_EV_SUMS,      /* a CHAIN_ACT_SUMS ended; extent, err, sums.. */
    CHAIN_EV_BASE,      /* a CHAIN_ACT_BASE_READ ended; extent, off, buf */
    CHAIN_EV_ROWS,      /* a CHAIN_ACT_ROWS ended; first, next, rows */
    CHAIN_EV_LOG,       /* a CHAIN_ACT_LOG_READ ended; err, recs, bufs */
    CHAIN_EV_CONN_GONE, /* conn is closed: forget it */
    CHAIN_EV_TICK,      /* about every 100 ms, and when out->more was set */
};

struct chain_event {
    uint8_t type;
    uint8_t cls;              /* LINK_*: enum kt_class DATA or SYNC */
    uint8_t role;             /* MSG: enum kt_role of the sender */
    uint64_t now_ms;          /* monotonic */
    uint64_t conn;            /* MSG, CONN_GONE: the shell's name of it; later
                                 connections have greater ones */
    struct kt_id peer;        /* MSG: store of a replicator, id of a client;
                                 LINK_*, PUSHED: store */
    const struct kt_msg *msg; /* borrowed */
    uint64_t tag;             /* APPENDED */
    struct kt_rid id;         /* APPENDED: of the record */
    int err;
    uint64_t durable;   /* SYNCED */
    uint64_t promised;  /* SAVED */
    uint32_t set_aside; /* CREDIT */
    bool full;          /* CREDIT */
    uint64_t sync_id;   /* SUMS, BASE, ROWS, LOG: echoed from the action */
    uint32_t extent, off, len;
    uint32_t ext_state;   /* SUMS: KT_DIGEST_F_* */
    struct kt_rid ext_id; /* SUMS */
    /* BASE: what was read. SUMS: 1024 sums and no data. Borrowed until the
     * actions of the step are carried out. */
    struct kt_buf *buf;
    /* ROWS: every row of [first, next), none of others; a store may answer
     * less than it was asked for. */
    uint32_t first, next, n_rows;
    const struct kt_digest_row *rows;
    /* LOG: records of the history, in order; borrowed like buf. */
    uint32_t n_recs;
    const struct kt_record *recs;
    struct kt_buf *const *bufs;
};

/* ---- actions ---- */

enum chain_act_type {
    CHAIN_ACT_SEND = 1,  /* msg on connection conn */
    CHAIN_ACT_SEND_SUCC, /* msg on the data link to cfg.members[me + 1] */
    CHAIN_ACT_SEND_DST,  /* msg on the sync link to the SYNCING member; of a
                            SYNC_START the shell encodes dedup into msg.buf */
    CHAIN_ACT_SEND_HUB,  /* msg on the control connection; lost when down */
    CHAIN_ACT_APPEND,    /* rec (and buf) to the log; tag. hold: take one
                            more reference of buf, for the core */
    CHAIN_ACT_RELEASE,   /* drop the core's reference of buf */
    CHAIN_ACT_SYNC,      /* store_sync */
    CHAIN_ACT_SAVE,      /* store_save: promised, whole, cfg if not NULL */
    CHAIN_ACT_ACKED,     /* store_acked: seq */
    CHAIN_ACT_CREDIT,    /* store_grant(want), then CHAIN_EV_CREDIT with what
                            is set aside now and whether the store is full */
    CHAIN_ACT_READ,      /* read for a client: store_read, then DATA or NAK on
                            conn; msg is the READ */
    CHAIN_ACT_STAT,      /* the same for STAT */
    CHAIN_ACT_DIGEST,    /* the same for DIGEST_GET: rows of [first,
                            first + count) and at */
    CHAIN_ACT_EQ_PUSH,   /* to target: every record after `after`, then last
                            with upto = applied; then CHAIN_EV_PUSHED */
    CHAIN_ACT_SUMS,      /* store_sums(extent), then CHAIN_EV_SUMS */
    CHAIN_ACT_BASE_READ, /* store_read(extent, off, len), then _EV_BASE */
    CHAIN_ACT_ROWS,      /* store_digest [first, first + count), then _ROWS */
    CHAIN_ACT_LOG_READ,  /* store_log_read(after, count), then _LOG */
    CHAIN_ACT_CONFIG, /* chain_cfg changed: set links up (chain_wants_*), feed
LINK_UP for those that are up already, send
                         CFG to the connections of its client */
};

struct chain_act {
    uint8_t type;
    bool hold;
    uint64_t conn;
    struct kt_msg msg;    /* msg.buf and msg.cfg: borrowed from the core or
                             the event; take references to keep them */
    struct kt_record rec; /* APPEND */
    struct kt_buf *buf;   /* APPEND, RELEASE */
    uint64_t tag;
    uint64_t promised;
    struct kt_id whole; /* SAVE */
    const struct kt_cfg *cfg;
    const struct kt_dedup *dedup; /* SYNC_START */
    uint64_t seq;
    uint32_t want; /* CREDIT */
    uint32_t extent, off, len, first, count;
    uint64_t sync_id;
    struct kt_eq_target target; /* EQ_PUSH */
    uint64_t after;
    struct kt_rid upto;
    uint64_t epoch;
};

#define CHAIN_ACTS_MAX 1024u
struct chain_out {
    uint32_t n;
    bool more; /* step again with CHAIN_EV_TICK after carrying these out */
    struct chain_act acts[CHAIN_ACTS_MAX];
};

/* ---- state ---- */

enum chain_phase {
    CHAIN_DETACHED, /* at start: nothing is served until the hub says so */
    CHAIN_SEALING,  /* promise being saved, appends finishing */
    CHAIN_SEALED,
    CHAIN_ACTIVE,
    CHAIN_FAULTY, /* the store is */
    CHAIN_PHASES
};

enum chain_role {
    CHAIN_NONE,   /* known, but not serving */
    CHAIN_MEMBER, /* SERVING: head when me == 0, tail when last */
    CHAIN_DST,    /* SYNCING */
};

enum chain_succ { /* the hop to the successor */
                  CHAIN_SUCC_DOWN,
                  CHAIN_SUCC_RESUMING,
                  CHAIN_SUCC_STREAMING,
};

/* What became of an extent on its way to the syncing member (src side). */
enum chain_ext {
    CHAIN_EXT_UNKNOWN, /* not compared yet: records go whole */
    CHAIN_EXT_CLEAN,   /* equal: records go whole */
    CHAIN_EXT_QUEUED,  /* to be copied: records go as SKIP */
    CHAIN_EXT_COPYING, /* records go whole */
    CHAIN_EXT_AGAIN,   /* COPYING, and to be queued once more after it */
};

enum chain_sync_state {
    CHAIN_SYNC_OFF,
    CHAIN_SYNC_START,   /* SYNC_START sent */
    CHAIN_SYNC_LOG,     /* records after dst's, from the log */
    CHAIN_SYNC_COMPARE, /* windows of digests */
    CHAIN_SYNC_COPY,    /* queued extents */
    CHAIN_SYNC_TAIL,    /* the log was sent; what comes now is fed */
    CHAIN_SYNC_ENDING,  /* SYNC_DONE sent */
    CHAIN_SYNC_DONE,    /* SYNC_FIN sent */
};

struct chain_entry {
    struct kt_record rec;
    struct kt_buf *buf; /* one reference, or NULL */
    uint64_t conn;      /* client's, 0 = nobody waits here */
    uint64_t req;
};

struct chain_flush {
    uint64_t conn, req, upto, ticket;
};

struct chain_relay { /* FLUSH passed on to store; conn 0: none */
    uint64_t id, conn, req;
    struct kt_id store;
};

struct chain_src { /* feeding a syncing member */
    uint8_t state; /* enum chain_sync_state */
    bool failed;   /* not tried again in this epoch, but told again */
    int err;       /* why it failed */
    uint64_t since_ms;
    uint64_t id;  /* of this attempt; echoed by actions */
    uint64_t fed; /* last seq sent to dst */
    uint64_t dst_acked;
    uint64_t feed_bytes; /* sent, not acknowledged (estimate by records) */
    uint64_t start_seq;  /* SYNC_START's position */
    bool suffix;         /* dst was asked whether the log will do */
    bool no_suffix;      /* and it will not, in this epoch */
    bool log_asked;
    struct kt_rid fed_id;  /* of fed, when suffix */
    uint64_t hold;         /* acked stays at or below while log_asked */
    uint64_t records_sent; /* from the log */
    uint32_t window;       /* first extent of the window being compared */
    bool have_mine, have_theirs;
    uint32_t n_mine, n_theirs;
    uint32_t mine_end, theirs_end; /* rows are complete below */
    struct kt_digest_row mine[CHAIN_DIGEST_WINDOW];
    struct kt_digest_row theirs[CHAIN_DIGEST_WINDOW];
    uint32_t scan; /* where to look for the next queued extent */
    bool freed;    /* those that own no slot here went first */
    uint32_t n_queued;
    bool copying;
    uint32_t extent;    /* being copied */
    uint64_t copy_from; /* sums are read when applied reached this */
    bool sums_asked, wanted, base_asked;
    struct kt_rid ext_id;
    bool ext_alloc;
    uint64_t want[KT_EXTENT_SECTORS / 64];
    uint32_t sector;                      /* next one to look at in want */
    uint64_t extents_done, extents_total; /* for progress */
    uint64_t bytes_sent;
    uint8_t ext[KT_SEGMENT_EXTENTS_MAX]; /* enum chain_ext */
};

struct chain_pace { /* how fast dst is fed: chain_pace.c */
    uint64_t rate;  /* bytes a second, found out */
    int64_t tokens; /* bytes that may be read; below 0: owed */
    uint64_t ms, step_ms;
    uint64_t mark_seq, mark_ms; /* a record whose ack is timed; 0: none */
    uint64_t quick_ms;          /* about how long one takes at best */
    uint64_t n_slow;
    bool slow;              /* one took longer, since step_ms */
    uint64_t watch_ms, lag; /* dst was so far behind then; 0: not looked at */
    uint64_t brake_ms;      /* since when acks are held back; 0: they are not */
    uint64_t moved, moved_ms; /* dst_acked, and since when */
};

struct chain_dst { /* being fed */
    bool started;
    bool suffix; /* records only, whole ones */
    uint64_t conn;
    uint64_t id;
    uint64_t reset; /* tag of the RESET that is on its way; 0: none */
    bool copying;
    uint32_t extent;
    bool copy_logged, have_sums; /* COPY_START in the log; src_sums came */
    int8_t alloc_later; /* records since COPY_START: 1 took, -1 freed */
    uint64_t touched[KT_EXTENT_SECTORS / 64];
    uint64_t src_sums[KT_EXTENT_SECTORS];
    bool end_wanted; /* SYNC_DONE came */
    struct kt_rid end_at;
    uint64_t end_ticket;
};

struct chain {
    uint64_t id;
    struct kt_id store;
    uint64_t incarnation, cont_base;

    uint8_t phase; /* enum chain_phase */
    uint8_t role;  /* enum chain_role */
    uint8_t me;    /* index in cfg.members when role is not NONE */
    uint8_t n_serving;
    bool have_cfg;
    struct kt_cfg cfg; /* last ACTIVE one */
    /* The copy is a prefix of this history and nothing else (2.9); zero: it
     * was reset since it served last. What is saved is never more than that. */
    struct kt_id whole;
    bool unwhole;      /* the save that takes it back is under way */
    uint64_t promised; /* durable */
    uint64_t sealing;  /* epoch being promised or sealed for */
    uint32_t saves;    /* in flight */
    uint64_t now_ms;   /* of the last event */

    struct kt_rid received; /* last record taken in memory */
    struct kt_rid applied;  /* last record in the log, contiguous */
    uint64_t acked;
    uint64_t durable;
    struct kt_dedup dedup;                     /* folded up to received */
    uint8_t alloc[KT_SEGMENT_EXTENTS_MAX / 8]; /* up to received */
    uint32_t appends;                          /* in flight, of any kind */
    bool refused; /* one was: forget those after it when they ended */
    /* alloc is being read back from the store, window by window. */
    bool alloc_stale;
    uint64_t alloc_id;
    uint64_t alloc_failed_ms; /* such a reading did; 0: none, or it goes on */
    uint64_t bytes;           /* payload in the ring */
    struct chain_entry ring[CHAIN_RING]; /* by seq % CHAIN_RING */

    /* pred side */
    uint64_t pred_conn; /* where ACKC goes; 0 = unknown */
    uint64_t resume_req;
    /* Pred's RESUME that came before our ACTIVATE: */
    uint64_t resume_epoch, resume_conn;
    struct kt_id resume_peer;
    uint64_t ackc_sent;
    uint64_t limit_sent;
    bool full_sent;

    /* succ side */
    uint8_t succ; /* enum chain_succ */
    bool succ_link, dst_link;
    uint64_t sent; /* last seq forwarded this epoch */
    uint64_t succ_acked;
    uint64_t resume_ms; /* when RESUME was sent */
    /* F23: owed_seq was sent at owed_ms and is not acknowledged; 0: none. */
    uint64_t owed_seq, owed_ms;
    uint64_t slow_ms; /* when the hub was told last */
    uint64_t tick_ms; /* the last tick; they come late to who was stopped */

    /* B7: new extents this epoch */
    uint64_t alloc_used;
    uint64_t own_limit, succ_limit;
    bool own_full, succ_full;
    bool credit_asked;

    /* flush */
    struct chain_flush flushes[CHAIN_FLUSH_MAX];
    uint32_t n_flushes;
    bool log_sync; /* a CHAIN_ACT_SYNC is under way */
    bool sync_old; /* since before a reset: its `durable` says nothing */
    /* Tickets: who needs a sync takes ++sync_want, and has it when sync_done
     * reaches that number. */
    uint64_t sync_want, sync_cover, sync_done;

    struct chain_relay relays[CHAIN_RELAYS]; /* by id % CHAIN_RELAYS */
    uint64_t relay_ids;

    /* equalize */
    uint64_t eq_epoch; /* work of this epoch's EQ; 0 none */
    bool eq_donor;
    bool eq_last; /* target: `last` came */
    bool eq_answered;
    uint64_t eq_ticket; /* of the sync before EQ_OK; 0 = not asked */
    struct kt_id eq_push[KT_MEMBERS_MAX]; /* stores being pushed to */

    uint64_t resync_rate; /* set by the shell: bytes a second; 0: found out */
    struct chain_pace pace;
    struct chain_src src;
    struct chain_dst dst;
    uint64_t sync_ids;
    uint32_t resets; /* RESETs that were begun, to tell them apart */

    /* counters for tests, reach and status */
    uint64_t n_dup, n_gap, n_resume, n_old_epoch, n_skip, n_relay;
    uint64_t n_suffix, n_log; /* resyncs ended so, records sent so */
    uint64_t n_brake;
};

/* What the store remembers of the chain (struct store_chain_info has the
 * same; the core does not know the store). */
struct chain_origin {
    uint64_t chain;
    struct kt_id store;
    uint64_t incarnation, cont_base;
    uint64_t promised;
    const struct kt_cfg *cfg; /* or NULL */
    struct kt_id whole;
    struct kt_rid applied;
    uint64_t durable;
    const struct kt_dedup *dedup;
    const uint8_t *alloc; /* KT_SEGMENT_EXTENTS_MAX / 8 bytes */
};

/* Everything volatile starts fresh: DETACHED. */
void chain_init(struct chain *c, const struct chain_origin *o);

/* One event. out is emptied first. */
void chain_step(struct chain *c, const struct chain_event *ev,
                struct chain_out *out);

/* Which member stores this chain wants outgoing links to: the successor (class
 * DATA) and the syncing member (class SYNC). NULL = none. */
const struct kt_member *chain_wants_succ(const struct chain *c);
const struct kt_member *chain_wants_dst(const struct chain *c);

/* For REGISTER. */
void chain_report(const struct chain *c, struct kt_chain_report *ret_r);

/* Asserts what must hold between steps, each by its number. chain_step calls
 * the first after every event, it costs next to nothing; tests and the
 * simulator call the second, which looks at every record held. */
void chain_check(const struct chain *c);
void chain_check_all(const struct chain *c);

#endif
