/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the engine share. Nobody else includes this.
 *
 * engine.c  memory, step, pump          req.c    requests, locks (A2)
 * part.c    pieces: make, send, settle  gen.c    requests into pieces
 * answer.c  ACK, DATA, NAK...           chain.c  configurations, replay (I16)
 * retain.c  copies kept (I16)           flush.c  flush rounds (I13)
 * links.c   nodes and choice of member  tick.c   everything with a clock
 * table.c   states and their moves      check.c  what must hold between steps
 */
#ifndef KT_CLIENT_ENGINE_INT_H
#define KT_CLIENT_ENGINE_INT_H

#include "lib/base/rule.h"
#include "lib/base/sum.h"
#include "lib/client/engine.h"

#define ENG_EDGE_PAIRS 32u   /* requests in read-modify-write at once */
#define ENG_REPLAYS 16u      /* replayed writes in flight per engine */
#define ENG_CHAIN_READS 256u /* read parts in flight per chain */
#define ENG_WRITE_WAIT_MS 2000u
#define ENG_READ_WAIT_MS 1000u
#define ENG_WAIT_MAX_MS 8000u
#define ENG_SILENT_MS 6000u /* then a link is opened anew */
#define ENG_SUSPECT_MS 5000u
#define ENG_CUT_MS 1000u   /* down so long: goes round it (B13) */
#define ENG_STALL_MS 2000u /* then the shell is told */
#define ENG_CFG_GET_MS 1000u
#define ENG_BAD_ROUNDS 5u /* everybody says BADSUM so often: believed */
#define ENG_BACKOFF_MIN_MS 10u
#define ENG_BACKOFF_MAX_MS 200u
#define ENG_NO_SLOT UINT32_MAX

/* kt_msg.req: bits 62 and 61 tell flushes and CFG_GETs, which carry their
 * chain's index; the others are generation << 16 | part. */
#define ENG_REQ_FLUSH (1ull << 62)
#define ENG_REQ_CFG (1ull << 61)

/* ---- a circular list ---- */

static inline void eng_list_init(struct engine_link *l)
{
    l->prev = l->next = l;
}
static inline bool eng_list_empty(const struct engine_link *l)
{
    return l->next == l;
}
/* Before at: at the end, when at is the list's head. */
static inline void eng_list_add(struct engine_link *at, struct engine_link *l)
{
    l->prev = at->prev;
    l->next = at;
    at->prev->next = l;
    at->prev = l;
}
/* Safe on an initialized link that is in no list. */
static inline void eng_list_del(struct engine_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    eng_list_init(l);
}

/* ---- parts ---- */

enum part_state {
    PART_FREE,
    PART_QUEUED,  /* wants to be sent */
    PART_SENT,    /* waits for an answer */
    PART_WAITING, /* backs off until due_ms */
};

/* One message's worth of a request, within one extent. WRITE, ZERO and TRIM
 * go to the head and keep their wseq until they are settled (I19); READ and
 * STAT go to any serving member. */
struct engine_part {
    struct engine_link all; /* chain's writes, reads or replays */
    struct engine_link q;   /* chain's sendq or readq while QUEUED */
    struct engine_req *req; /* NULL: a replay of kept */
    struct engine_kept *kept;
    struct engine_chain *chain;
    uint64_t gen; /* new at every sending */
    uint64_t wseq;
    uint64_t pos; /* bytes within the volume */
    uint64_t since_ms, sent_ms, due_ms;
    uint32_t extent, off, len; /* within the chain */
    uint32_t at;               /* single: where in it; else 0 */
    uint32_t slot;             /* sent there */
    uint32_t tries, waits;
    uint16_t idx;
    uint8_t op;    /* enum engine_op */
    uint8_t flags; /* KT_RF_* */
    uint8_t state;
    uint8_t tried, bad; /* members, by bit */
    uint8_t damaged;    /* answers broken on their way */
    uint8_t bad_rounds; /* all members were bad */
    bool single;        /* READ: a sector at a time, no member has them all */
    bool reserved;      /* holds room for its copy */
    bool counted;       /* in its chain's n_writes or n_reads */
    uint8_t *page;      /* an edge: data goes there, or comes from there */
    struct kt_buf buf;  /* WRITE: the payload */
    uint64_t sums[KT_RECORD_SECTORS_MAX];
};

/* What a READ asks for next. */
static inline uint32_t eng_read_len(const struct engine_part *p)
{
    return p->single ? KT_SECTOR_BYTES : p->len;
}

/* A copy of an acknowledged write that is not yet known durable (I16). */
struct engine_kept {
    struct engine_link all; /* chain's kept, in the order of history */
    uint64_t vgen, seq;     /* seq: within vgen */
    uint32_t extent, off, len;
    uint32_t block; /* the first; the others by next_block */
    uint8_t op, flags;
};

/* Changed by eng_move only. Beside it a chain may be stalled, which is told to
 * people and changes nothing; fenced is the engine as a whole, for good. */
enum eng_state {
    ENG_NO_CFG,    /* nobody to ask yet */
    ENG_READY,     /* at cfg */
    ENG_REPLAYING, /* at cfg, whose vgen is new: first what is kept (I16) */
    ENG_STATES
};

struct engine_chain {
    struct kt_cfg cfg; /* epoch 0: none yet */
    uint32_t idx;
    uint8_t n_serving;
    uint32_t slot[KT_MEMBERS_MAX]; /* of the SERVING members */
    uint64_t next_wseq, max_acked; /* max_acked: within cfg.vgen */
    struct engine_link writes;     /* unacknowledged, wseq ascending */
    struct engine_link reads;
    struct engine_link replays;
    struct engine_link replayq, sendq, readq;
    struct engine_link kept;
    struct engine_link work, dirty, flushing; /* in the engine's lists */
    struct engine_kept *replay_next;
    uint32_t n_writes, n_reads;
    uint64_t write_bytes, kept_bytes;
    uint64_t pass; /* blocked in this pass of the generator, by bit */
    uint8_t blocked;
    uint8_t state;         /* enum eng_state */
    uint64_t settled_vgen; /* B10; 0: none yet */
    bool stalled, say_stalled, say_resumed, say_replay, say_settled;
    uint64_t stall_ms, say_ms, progress_ms;
    bool want_cfg;
    uint8_t cfg_asked; /* members, by bit */
    uint64_t cfg_get_ms;
    /* The flush round, see flush.c. */
    struct {
        bool active, want;
        uint8_t sent, ok; /* members, by bit */
        uint32_t waits;
        uint64_t upto, epoch, since_ms, due_ms;
        /* By member: asked last; asked itself and silent from then on. */
        uint64_t sent_ms[KT_MEMBERS_MAX], first_ms[KT_MEMBERS_MAX];
        /* By member: the member asked on its behalf (B13), itself as a rule;
         * and how often that was refused. */
        uint8_t via[KT_MEMBERS_MAX], naks[KT_MEMBERS_MAX];
        uint64_t ticket;      /* the newest this round covers */
        uint64_t first, last; /* tickets that wait for this chain; 0 = none */
    } fl;
};

struct engine_node {
    struct kt_node node;
    uint32_t refs; /* SERVING members of chains */
    uint32_t out;  /* reads in flight */
    bool used, told, up, local;
    bool say_connect, say_reset;
    uint64_t rx_ms, suspect_ms, oldest_ms;
    uint64_t down_ms; /* since when it is not up */
};

struct engine {
    struct engine_opts o;
    uint64_t now;
    uint32_t n_chains, n_ready;
    bool dead, gone, lost, say_fenced;
    uint64_t lost_chain;
    bool again; /* the pump has to look at the requests once more */
    struct engine_chain *chains;
    struct engine_link live, genq, done, flushes, work, dirty, flushing;
    struct engine_link free_parts, free_kept;
    uint64_t next_ticket, next_gen, pass;
    uint32_t n_live, n_parts, parts_touched, n_waiting;
    /* copies */
    uint8_t *arena;
    uint32_t *next_block;
    struct engine_kept *kepts;
    uint32_t n_blocks, blocks_touched, free_block, blocks_used;
    uint32_t kept_used, kept_touched;
    uint32_t reserved_blocks, reserved_kepts;
    /* unaligned edges: pairs of sectors */
    uint8_t *pages;
    uint32_t pages_busy; /* bits */
    /* replay */
    uint8_t *replay_bufs;
    uint32_t replays_busy; /* bits */
    struct engine_info info;
    bool say_nodes; /* some node wants a link action */
    struct engine_node nodes[ENGINE_NODES_MAX];
    struct engine_part parts[ENGINE_PARTS_MAX + ENG_REPLAYS];
};

static inline bool eng_is_write(unsigned op)
{
    return op == ENGINE_WRITE || op == ENGINE_ZERO || op == ENGINE_TRIM;
}

static inline struct engine_req *eng_req_q(struct engine_link *l)
{
    return kt_container_of(l, struct engine_req, p.q);
}
static inline struct engine_req *eng_req_live(struct engine_link *l)
{
    return kt_container_of(l, struct engine_req, p.live);
}
static inline struct engine_part *eng_part_all(struct engine_link *l)
{
    return kt_container_of(l, struct engine_part, all);
}
static inline struct engine_part *eng_part_q(struct engine_link *l)
{
    return kt_container_of(l, struct engine_part, q);
}

/* table.c */
void eng_move(struct engine_chain *c, enum eng_state to);
void eng_part_move(struct engine_part *p, enum part_state to);
/* What a chain does in its state. */
struct eng_does {
    bool requests; /* takes new parts */
    bool rounds;   /* begins flush rounds */
    bool kept;     /* sends replays of kept writes */
    bool parts;    /* sends parts of requests */
};
const struct eng_does *eng_does(const struct engine_chain *c);
static inline bool eng_replaying(const struct engine_chain *c)
{
    return c->state == ENG_REPLAYING;
}

/* engine.c */
struct engine_action *eng_act(struct engine_out *out, uint8_t type);
/* A SEND with the message's head filled in; NULL when out is full. */
struct engine_action *eng_send(struct engine *e, struct engine_out *out,
                               uint32_t slot, const struct engine_chain *c,
                               uint8_t type);
/* c may have something to send. */
void eng_work(struct engine *e, struct engine_chain *c);
void eng_die(struct engine *e, bool gone);
/* Something of c went through. */
void eng_progress(struct engine *e, struct engine_chain *c);

/* req.c */
void eng_submit(struct engine *e, struct engine_req *r);
/* One of its parts is settled. */
void eng_req_part_done(struct engine *e, struct engine_req *r, int err);
/* Takes it and its parts out of everything; the outcome is err. */
void eng_req_kill(struct engine *e, struct engine_req *r, int err);
/* The shell gives up on r, which it submitted; no harm if it is done. */
void eng_cancel(struct engine *e, struct engine_req *r);
void eng_req_done(struct engine *e, struct engine_req *r, int err);
uint32_t eng_sector_lo(const struct engine_req *r, uint64_t sector);
uint32_t eng_sector_hi(const struct engine_req *r, uint64_t sector);

/* gen.c */
enum { ENG_EDGE_HEAD = 1, ENG_EDGE_TAIL = 2 };
uint8_t eng_edges(const struct engine_req *r);
void eng_generate(struct engine *e);

/* part.c */
struct engine_part *eng_part_get(struct engine *e);
struct engine_part *eng_part_get_replay(struct engine *e);
void eng_part_put(struct engine *e, struct engine_part *p);
void eng_part_queue(struct engine *e, struct engine_part *p);
void eng_part_back_off(struct engine *e, struct engine_part *p);
/* All that was sent and may be lost goes again, in order. */
void eng_requeue_writes(struct engine *e, struct engine_chain *c);
void eng_requeue_read(struct engine *e, struct engine_part *p);
/* Ends a part. seq: of its record, when it was written. */
void eng_part_settle(struct engine *e, struct engine_part *p, int err,
                     uint64_t seq);
uint64_t eng_wstable(const struct engine_chain *c);
/* False when out is full. */
bool eng_chain_send(struct engine *e, struct engine_chain *c,
                    struct engine_out *out);

/* answer.c */
void eng_answer(struct engine *e, uint32_t slot, const struct kt_msg *m,
                int err);

/* chain.c */
void eng_chain_init(struct engine *e, uint32_t idx);
void eng_adopt(struct engine *e, const struct kt_cfg *cfg);
/* Queues the next replays, as room permits. */
void eng_replay_next(struct engine *e, struct engine_chain *c);
void eng_replay_acked(struct engine *e, struct engine_part *p, uint64_t seq);

/* retain.c */
bool eng_reserve(struct engine *e, struct engine_part *p);
void eng_unreserve(struct engine *e, struct engine_part *p);
void eng_keep(struct engine *e, struct engine_part *p, uint64_t seq);
void eng_kept_load(const struct engine *e, const struct engine_kept *k,
                   uint8_t *ret);
/* Those of the present vgen, up to this seq, are durable. */
void eng_kept_drop(struct engine *e, struct engine_chain *c, uint64_t upto);
uint64_t eng_retained_bytes(const struct engine *e);

/* flush.c */
void eng_flush_submit(struct engine *e, struct engine_req *r);
void eng_flush_self(struct engine *e);
void eng_flush_restart(struct engine_chain *c);
bool eng_flush_send(struct engine *e, struct engine_chain *c,
                    struct engine_out *out);
void eng_flush_ok(struct engine *e, struct engine_chain *c,
                  const struct kt_msg *m);
void eng_flush_nak(struct engine *e, struct engine_chain *c, uint32_t slot,
                   const struct kt_id *store);
void eng_flush_tick(struct engine *e, struct engine_chain *c);
/* The link of slot came or went: those asked through it, and those it leads
 * to, are asked anew. */
void eng_flush_link(struct engine_chain *c, uint32_t slot);

/* links.c */
uint32_t eng_node_ref(struct engine *e, const struct kt_node *n);
void eng_node_unref(struct engine *e, uint32_t slot);
void eng_link_up(struct engine *e, uint32_t slot);
void eng_link_down(struct engine *e, uint32_t slot);
bool eng_links_say(struct engine *e, struct engine_out *out);
/* Index of a SERVING member of c to read from that is not in skip, or -1. */
int eng_choose(const struct engine *e, const struct engine_chain *c,
               uint8_t skip);
static inline bool eng_up(const struct engine *e, uint32_t slot)
{
    return slot != ENG_NO_SLOT && e->nodes[slot].up;
}
static inline bool eng_head_up(const struct engine *e,
                               const struct engine_chain *c)
{
    return c->n_serving > 0 && eng_up(e, c->slot[0]);
}

/* No way to it for a while. */
static inline bool eng_cut_off(const struct engine *e, uint32_t slot)
{
    return slot == ENG_NO_SLOT ||
           (!e->nodes[slot].up && e->now - e->nodes[slot].down_ms > ENG_CUT_MS);
}

/* tick.c */
void eng_tick(struct engine *e);

#endif
