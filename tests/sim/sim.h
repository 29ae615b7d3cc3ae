/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated world: what its files share.
 *
 *   sim.c         options, seeds, counts
 *   world.c       time, events, random streams, one whole run
 *   trace.c       the last events, their hash, failing
 *   net.c         connections that delay, break and lose suffixes
 *   netbits.c     frames whose bits flip on their way
 *   node.c        the replicator's shell: chains, messages
 *   nodelink.c    the replicator's shell: links, the hub's connection
 *   nodeend.c     the replicator's shell: its end, and that of a chain
 *   nodeops.c     the replicator's shell: the store
 *   hubnode.c     the hub's shell and its durable rows
 *   hubsee.c      is it at rest
 *   mutant.c      rules that only a shell can break
 *   rules.c       rules switched off, and what was reached
 *   clientnode.c  the engine's shell: attach, links
 *   workload.c    requests of clients, and what became of each
 *   faults.c      what breaks, and healing
 *   kinds.c       more of it, each kind by itself
 *   enough.c      a part is healed that suffices
 *   disk.c        what disks do (disk.h)
 *   atlas.c       what they must not
 *   direct.c      schedules written by hand instead (direct.h)
 *   ghost.c       every record there ever was, and what must stay of it
 *   verify.c      the checks when all is over
 *   checker.c     one sector as a register */
#ifndef KT_TESTS_SIM_SIM_H
#define KT_TESTS_SIM_SIM_H

#include <setjmp.h>

#include "hub/control/control.h"
#include "lib/client/engine.h"
#include "lib/link/framer.h"
#include "replicator/core/chain.h"
#include "replicator/store/mem_disk.h"
#include "replicator/store/store_mem.h"
#include "tests/sim/kinds.h"

#define SIM_NODES_MAX 5u
#define SIM_CLIENTS_MAX 4u
#define SIM_EPS (1u + SIM_NODES_MAX + SIM_CLIENTS_MAX)
#define SIM_EP_HUB 0u
#define SIM_EP_NODE(i) (1u + (i))
#define SIM_EP_CLIENT(i) (1u + SIM_NODES_MAX + (i))
#define SIM_CHAINS_MAX 2u
#define SIM_CHAIN_EXTENTS 16u /* a bound, before there is a configuration */
#define SIM_GROUPS 4u         /* of sectors in use; one per extent */
#define SIM_GROUP_SECTORS 4u
#define SIM_HOT (SIM_GROUPS * SIM_GROUP_SECTORS)
#define SIM_CELL_BYTES (KT_SECTOR_BYTES / 2)
#define SIM_GROUP_CELLS (2 * SIM_GROUP_SECTORS)
#define SIM_CELLS (2 * SIM_HOT)
#define SIM_CONNS_MAX 256u
#define SIM_TOKENS_MAX 4096u
#define SIM_MS 1000u
#define SIM_STEPS_MIN 2000u /* of a short run */

struct world;

/* ---- random streams: one per concern, so that turning one off does not
 * shift the others ---- */
struct rng {
    uint64_t s;
};
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);
uint64_t rng_range(struct rng *r, uint64_t lo, uint64_t hi); /* inclusive */
bool rng_chance(struct rng *r, unsigned per_mille);
uint64_t rng_exp(struct rng *r, uint64_t mean);

/* A kind of disk fault: its stream, and how often; 0: never. */
#define SIM_DISK_KINDS 8u
struct disk_kind {
    struct rng r;
    uint64_t mean_us;
};

/* ---- events ---- */
typedef void sim_fn(struct world *w, uint64_t a, uint64_t b, uint64_t c);
struct sim_event {
    uint64_t t, seq;
    sim_fn *fn;
    uint64_t a, b, c;
};

enum sim_fault {
    SIM_F_RESET = 1,
    SIM_F_PARTITION = 2,
    SIM_F_KILL = 4,
    SIM_F_POWER_ONE = 8,
    SIM_F_POWER_ALL = 16,
    SIM_F_PAUSE = 32,
    SIM_F_HUB = 64,
    SIM_F_CLIENT = 128,
    SIM_F_STEAL = 256,
    SIM_F_SLOW = 512,
    SIM_F_KILL_ALL = 1024,
    SIM_F_EIO = 2048,
    SIM_F_ALL = 4095
};

struct sim_params {
    uint32_t kinds;                            /* bits of enum sim_kind */
    unsigned clients;                          /* 0: two */
    unsigned nodes, chains, replicas, extents; /* extents: per chain */
    bool sync;                                 /* durability */
    bool old_hub; /* an old copy of the hub's database comes back */
    uint64_t delay_us, disk_us, think_us;
    unsigned depth, codec; /* codec: per mille of messages */
    uint32_t retain;       /* records in the log of a store */
    unsigned log_gap;      /* permille of reads for a resync that find none */
    unsigned slots;        /* of a store; fewer than extents: it gets full */
    bool digests; /* who restarts forgets that it is a prefix: resyncs compare
                     extents */
    unsigned faults;
    uint64_t fault_ms;                   /* mean time between faults */
    uint64_t run_ms;                     /* until everything is healed */
    uint64_t after_ms;                   /* of work after that */
    uint64_t min_steps;                  /* run_ms is longer if need be */
    unsigned reads, flushes, fua, zeros; /* weights, per mille */
};

struct sim_stats {
    uint64_t seeds, steps, ops, writes, reads, flushes, zeros, unknown, full;
    uint64_t epochs, vgens, attaches, fences, kills, powers, powers_all;
    uint64_t pauses, resets, partitions, hub_kills, client_kills, steals;
    uint64_t eios, replays, resends, dups, gaps, resumes, resyncs, extents;
    uint64_t old_copies, blind; /* blind: nobody alive could know of it */
    uint64_t skips, eq_records, msgs, virtual_ms, cuts, behind;
    uint64_t hand_overs, hand_overs_refused, relays, slow;
    uint64_t suffixes, log_records;
    uint64_t kinds[SIM_KINDS], hung, detached, left;
    uint64_t rots, misdirects, glitches, stucks, held, mended, bad_sums;
    uint64_t wipes, olds, lawless, failed_reads, released;
};

/* ---- ghost.c: the history as it was made ---- */

/* One record of one chain. content: which write each cell in use shows
 * after it. */
struct grec {
    struct grec *parent, *next; /* next: of the hash chain */
    unsigned chain;
    struct kt_rid id;
    uint64_t token, wseq, fingerprint;
    bool fua;
    uint64_t content[SIM_CELLS];
};

struct gwrite { /* what a (token, chain, wseq) means */
    struct gwrite *next;
    unsigned chain;
    uint64_t token, wseq, fingerprint;
    uint64_t ids[SIM_CELLS]; /* 0: does not touch */
    struct grec *done;       /* where it was executed last */
};

#define GHOST_HASH 1024u
struct gchain {
    uint64_t epoch; /* newest committed */
    struct grec *root;
    struct grec *acked, *flushed;
    uint64_t vgen; /* of acked */
    /* by token: what the first configuration with it began with */
    struct grec *granted[SIM_TOKENS_MAX];
    uint64_t granted_vgen[SIM_TOKENS_MAX];
};
struct gcfg { /* committed by the hub */
    struct gcfg *next;
    uint64_t chain, epoch, sum;
    struct kt_id nodes[KT_MEMBERS_MAX]; /* that take part in it */
    unsigned n_nodes;
    struct grec *at; /* where its members began */
};
struct ghost {
    struct gchain chains[SIM_CHAINS_MAX];
    struct grec *recs[GHOST_HASH];
    struct gwrite *writes[GHOST_HASH];
    struct gcfg *cfgs;
};

/* ---- net.c ---- */
struct smsg {
    struct smsg *next;
    uint64_t t;
    bool up; /* not a message: the connection is made */
    int err; /* KT_E_BADSUM: its payload is damaged */
    struct kt_msg msg;
    struct kt_cfg cfg;
    struct kt_chain_report chains[SIM_CHAINS_MAX];
    struct kt_eq_target targets[KT_MEMBERS_MAX];
    struct grec *ghost; /* DATA, ACK */
};
struct sconn {
    uint64_t id; /* 0: free */
    uint8_t cls;
    bool broken;
    unsigned ep[2]; /* 0 connected to 1 */
    bool up[2], held[2];
    uint64_t life[2];
    struct smsg *first[2], **last[2];
    uint64_t last_t[2];
    uint8_t flip[2];             /* enum net_flip: of the next message */
    struct kt_framer *framer[2]; /* of an end that bytes are fed to */
    uint64_t hung_us;            /* since when; 0: no end is out of step */
    bool deaf[2];                /* it reads nothing more */
};
enum net_flip { NET_FLIP_NO, NET_FLIP_ANY, NET_FLIP_PAYLOAD };
/* 0: no slot. Ends in *_up or *_down at the connecting end. */
uint64_t net_connect(struct world *w, unsigned from, unsigned to, uint8_t cls);
void net_send(struct world *w, uint64_t conn, unsigned from,
              const struct kt_msg *m, struct grec *ghost);
void net_close(struct world *w, uint64_t conn, unsigned ep);
/* It breaks in the middle: both ends learn of it some time. */
void net_break(struct world *w, uint64_t conn);
/* The process at ep is gone; machine: and so is its machine. */
void net_process_gone(struct world *w, unsigned ep, bool machine);
struct sconn *net_conn(struct world *w, uint64_t id);
unsigned net_peer(const struct sconn *c, unsigned ep);
bool net_blocked(const struct world *w, unsigned from, unsigned to);
void net_free_all(struct world *w);
/* This end found what came unreadable, and hangs up. */
void net_hang_up(struct world *w, uint64_t conn, unsigned side, int err);

/* ---- netbits.c ---- */
/* The frame of m in bytes, borrowed until the next call. */
const uint8_t *net_bytes(struct world *w, const struct kt_msg *m,
                         size_t *ret_len);
/* Decodes what net_bytes made; m's payload is *ret_buf then, one reference. */
int net_parse(struct world *w, const uint8_t *b, size_t len,
              struct kt_msg *ret_m, struct kt_buf **ret_buf);
/* Its bits are due to flip, or the stream it is in is out of step. */
bool net_garbled(const struct sconn *c, unsigned side, const struct smsg *m);
void net_garble(struct world *w, struct sconn *c, unsigned side,
                const struct smsg *m);

/* How one end hears another. */
struct spath {
    uint64_t clogged_until, slow_until;
    uint64_t extra_us, us_per_kib; /* while it is slow */
};

/* ---- processes ---- */
struct proc {
    bool alive, machine;
    uint64_t life; /* which run of the process */
    uint64_t paused_until;
};

/* ---- node.c, nodeops.c ---- */
enum slink_state { SLINK_IDLE, SLINK_OPENING, SLINK_UP };
struct slink {
    uint8_t state;
    uint64_t conn, next_us, backoff_ms, report_us;
    bool wanted;
};
struct schain {
    bool used, dropping, credit_due, config_due, up_data, up_sync, grant_short;
    uint32_t want;
    uint64_t drop_req;
    int succ, dst; /* index of a node, or -1 */
    struct store_chain *sc;
    struct snode *n;
    struct chain c;
};
struct spush;
struct sop;
struct snode {
    struct world *w;
    unsigned index, ep;
    struct kt_node node;
    struct kt_id uuid;
    struct store_mem_disk *disk;
    struct store *store; /* NULL: not running */
    struct schain chains[SIM_CHAINS_MAX];
    struct slink links[SIM_NODES_MAX][2]; /* by class - 1 */
    uint64_t hub_conn, hub_next_us, hub_heard_us, hub_hb_us, hub_backoff_ms;
    uint64_t reqs;
    uint64_t hub_term; /* durable, as the mark is (B15) */
    struct kt_id hub_mark;
    bool hub_up, registered, disk_due;
    uint64_t slow_until;
    uint64_t leaving_us; /* since when it wants to stop; 0: it does not */
    struct store_mem_disk *copy; /* of its directory; NULL: none */
    uint64_t copy_term;          /* what lay there of the hub */
    struct kt_id copy_mark;
    uint64_t stuck_us; /* since when its disk answers nothing; 0: it does */
    struct spush *pushes;
    struct sop *ops;
    uint64_t ticks;
};
void node_init(struct world *w, unsigned index);
void node_start(struct snode *n);
void node_crash(struct snode *n, bool power);
void node_lose(struct snode *n); /* all that was not synced */
/* It does not run: its directory is d from now on, or empty (NULL). */
void node_swap(struct snode *n, struct store_mem_disk *d);
void node_release(struct snode *n);
/* RELEASE: sc, unless it has no such chain, is dropped. */
void node_release_chain(struct snode *n, struct schain *sc,
                        const struct kt_msg *m);
void node_dropped(struct schain *sc, int err);
bool node_drops(const struct snode *n, uint64_t chain);
void node_conn_up(struct snode *n, struct sconn *c);
void node_msg(struct snode *n, struct sconn *c, const struct smsg *m);
void node_conn_down(struct snode *n, uint64_t conn, unsigned peer, int err);
void node_step(struct schain *sc, struct chain_event *ev);
bool node_send_link(struct snode *n, int to, uint8_t cls,
                    const struct kt_msg *m);
struct slink *node_link(struct snode *n, int to, uint8_t cls);
int node_of_store(const struct world *w, const struct kt_id *store);
void node_want_link(struct snode *n, int to, uint8_t cls);

/* A planned stop: the hub shall move its chains on first. */
void node_leave(struct snode *n);
bool node_left(struct snode *n); /* the hub took too long, it stops */
void node_send_hub(struct snode *n, const struct kt_msg *m);
void node_links_fine(struct snode *n);
void node_links_deaf(struct snode *n);
void node_hub_second(struct snode *n);
/* What a member is told, changed where a rule is off. */
void mutant_message(struct schain *sc, struct kt_msg *m);

void ops_act(struct schain *sc, const struct chain_act *a);
void ops_push(struct schain *sc, const struct chain_act *a);
void ops_push_run(struct snode *n);
void ops_drop(struct schain *sc); /* once nothing is under way */
void ops_free_all(struct snode *n);
void ops_schedule(struct snode *n);

/* ---- hubnode.c, hubsee.c ---- */
#include "tests/sim/hubapi.h"

/* ---- clientnode.c ---- */
enum client_state { CL_OFF, CL_CONNECT, CL_ATTACH, CL_RUN };
struct sclient {
    struct world *w;
    unsigned index, ep;
    uint8_t state; /* enum client_state */
    bool steal, hub_up;
    struct kt_id id;
    uint64_t hub_conn, req, next_us, renew_us, hub_heard_us;
    uint32_t n_cut; /* nodes out of reach, as the last RENEW said */
    struct engine *engine;
    struct engine_out *out;
    struct engine_opts opts;
    bool fenced;
    uint64_t bad_frames; /* it got, with a payload that was damaged */
    struct {
        bool wanted, up;
        int node;
        uint64_t conn, next_us;
    } slots[ENGINE_NODES_MAX];
    struct grec *ghost, *ghost_ack; /* of the answer being delivered */
    uint64_t ghost_vgen, asked_us;
    bool hurried;
    struct grec *acked[SIM_CHAINS_MAX];
    uint64_t acked_vgen[SIM_CHAINS_MAX];
    unsigned in_flight;
    /* What it leaves to a successor (B10), as the plugin's state file. */
    struct {
        uint64_t token; /* 0: nothing */
        uint64_t vgen[SIM_CHAINS_MAX];
    } file;
    bool handing;        /* it takes over, and serves nothing yet */
    uint64_t leaving_us; /* since when it wants to end; 0: it does not */
    bool flushed;        /* all it did, to that end */
};
void client_init(struct world *w, unsigned index);
void client_start(struct sclient *c, bool steal);
/* The process is killed and, for its device is in use, started again. */
void client_restart(struct sclient *c, uint64_t delay_us);
void client_crash(struct sclient *c);
void client_release(struct sclient *c);
/* One that is not attached yet gives up. */
void client_close(struct sclient *c);
/* It holds nothing, or is in the middle of no replay. */
bool client_settled(const struct sclient *c);
void client_note(struct sclient *c); /* counts what its engine saw */
void client_conn_up(struct sclient *c, struct sconn *k);
void client_msg(struct sclient *c, struct sconn *k, const struct smsg *m);
void client_conn_down(struct sclient *c, uint64_t conn);
/* It flushes, detaches, and ends. False: it has nothing attached. */
bool client_detach(struct sclient *c);
void client_submit(struct sclient *c, struct engine_req *r);

/* ---- workload.c ---- */
enum wop_state { WOP_RUNS, WOP_OK, WOP_REFUSED, WOP_FAILED, WOP_UNKNOWN };
struct wop {
    uint64_t id;  /* of the write, or 0 */
    uint8_t kind; /* enum engine_op */
    uint8_t state;
    bool fua, flushed;
    uint8_t byte;
    unsigned client, cell, n; /* cells it covers */
    uint64_t token;
    uint64_t s, f; /* stamps */
    uint64_t vgen; /* of its chain, when it began */
    uint64_t us;
    struct grec *flush_at[SIM_CHAINS_MAX];
    uint64_t flush_vgen[SIM_CHAINS_MAX];
    uint64_t seen[SIM_GROUP_CELLS];
    struct engine_req *req; /* while it runs */
    uint8_t *buf;
};
#define WID_ZERO ((uint64_t)1 << 62) /* ids of ZERO and TRIM */
void work_start(struct sclient *c);
/* A write of a byte again and again: to a sector that is not in use, and must
 * not be read, or between the stamps of one that is. */
struct wop *work_bytes(struct sclient *c, uint64_t off, uint32_t len,
                       uint8_t byte);
/* One operation on n sectors from hot on, now. */
struct wop *work_one(struct sclient *c, uint8_t kind, unsigned cell, unsigned n,
                     bool fua);
/* One on a whole extent of those in use. */
struct wop *work_extent(struct sclient *c, uint8_t kind, unsigned group);
void work_done(struct sclient *c, struct engine_req *r);
void work_client_gone(struct sclient *c);
/* The id of what made zeros of a cell in a sector that this client writes, as
 * far as it was this client; else 0. */
uint64_t work_zero_id(struct sclient *c, unsigned cell);
/* The ids a ZERO or TRIM message of this client stands for, by cell. */
void work_zero_ids(struct sclient *c, uint64_t first, uint64_t n,
                   uint64_t ret_ids[SIM_CELLS]);
unsigned work_pending(const struct world *w);
void work_free(struct world *w);
uint64_t cell_sector(const struct world *w, unsigned cell);
/* The write whose stamp a cell has; 0: none; UINT64_MAX: a damaged one. */
uint64_t cell_parse(const uint8_t *b, unsigned cell);
unsigned cell_chain(const struct world *w, unsigned cell);
uint32_t cell_extent(const struct world *w, unsigned cell); /* in its chain */
uint32_t cell_offset(const struct world *w, unsigned cell); /* sector in it */

/* ---- the world ---- */
#define TRACE_LAST 50u
struct trace_entry {
    uint64_t step, t;
    unsigned ep;
    const char *what;
    uint64_t a, b, c;
};
struct gate;
struct world {
    uint64_t seed, step, now, seq, stamp;
    uint64_t max_steps;
    bool trace, quiet;
    jmp_buf *fail;
    struct rng net, disk, work, fault;
    struct rng kinds[SIM_KINDS];
    struct disk_kind disk_kinds[SIM_DISK_KINDS];
    struct sim_params p;
    struct sim_stats *st;
    struct sim_event *heap;
    size_t n_heap, cap_heap;
    uint64_t hash;
    struct trace_entry last[TRACE_LAST];
    struct proc procs[SIM_EPS];
    struct sconn conns[SIM_CONNS_MAX];
    uint64_t n_conns, msgs;
    struct smsg *free_msgs;
    uint64_t blocked[SIM_EPS][SIM_EPS]; /* until when */
    struct spath paths[SIM_EPS][SIM_EPS];
    struct snode nodes[SIM_NODES_MAX];
    struct shub *hub;
    struct sclient clients[SIM_CLIENTS_MAX];
    struct ghost ghost;
    struct wop **ops;
    size_t n_ops, cap_ops;
    uint64_t fences[SIM_TOKENS_MAX]; /* stamp at which the token was taken
                                        over; 0: not yet */
    /* by token: that of the predecessor whose writes are all there (B10) */
    uint64_t adopted[SIM_TOKENS_MAX];
    unsigned held_by[SIM_TOKENS_MAX]; /* ep of who was attached with it */
    uint64_t seen_token;              /* of any configuration there was */
    uint64_t newest_token;            /* granted */
    bool closing;                     /* no new operations */
    bool healed;
    bool hold;       /* no new operations for now */
    uint32_t broken; /* replicators that stay so until all is healed */
    bool directed;   /* no faults and operations but those asked for */
    struct gate *gates;
    bool lawless; /* nobody keeps the last good copy: errors, but no lies */
    /* The one node whose directory was lost or exchanged (atlas.c): its place
     * + 1; and its identity, if that is gone for good. */
    unsigned lost;
    struct kt_id lost_node, lost_store;
    uint64_t volume_bytes, segment_bytes;
    struct kt_id volume, cluster, history;
    struct chain_out chain_out;
    const char *reason;
};

uint64_t world_ms(const struct world *w);
void world_at(struct world *w, uint64_t delay_us, sim_fn *fn, uint64_t a,
              uint64_t b, uint64_t c);
/* False, and called again later, while the process is stopped. */
bool world_runs(struct world *w, unsigned ep);
/* brief: a short run; kinds: none but these; fixed: these parameters instead
 * of drawn ones. */
struct world *world_make(uint64_t seed, bool brief, uint32_t kinds,
                         const struct sim_params *fixed);
void world_free(struct world *w);
void world_run(struct world *w);
/* Its pieces: until a volume is there; one event; events until t; from the
 * healing on to the verdict. */
void world_begin(struct world *w);
void world_turn(struct world *w);
void world_until(struct world *w, uint64_t t);
void world_end(struct world *w);
void ep_conn_up(struct world *w, unsigned ep, struct sconn *c);
void ep_msg(struct world *w, unsigned ep, struct sconn *c,
            const struct smsg *m);
void ep_conn_down(struct world *w, unsigned ep, struct sconn *c, int err);

/* ---- trace.c ---- */
void trace(struct world *w, unsigned ep, const char *what, uint64_t a,
           uint64_t b, uint64_t c);
#define SIM_ENDED 2 /* what the jump brings */
/* Beyond what is promised, by no fault of anybody: this world ends, counted. */
void sim_end(struct world *w) __attribute__((noreturn));
void sim_fail(struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void trace_print_last(const struct world *w);
#define SIM_CHECK(w, cond, ...)                                                \
    do {                                                                       \
        if (!(cond))                                                           \
            sim_fail((w), __VA_ARGS__);                                        \
    } while (0)

/* ---- ghost.c ---- */
void ghost_init(struct world *w);
void ghost_free(struct world *w);
/* A client sends this WRITE. */
void ghost_sent(struct sclient *c, const struct kt_msg *m);
/* Some member takes this record in. */
void ghost_append(struct snode *n, unsigned chain, const struct kt_record *r,
                  const struct kt_buf *buf);
struct grec *ghost_find(struct world *w, unsigned chain, struct kt_rid id);
/* The record with this seq in the history that ends with from, or NULL. */
struct grec *ghost_back(struct grec *from, uint64_t seq);
struct grec *ghost_ack(struct schain *sc, const struct kt_msg *m);
void ghost_flush_ok(struct schain *sc, const struct kt_msg *m);
void ghost_sync_ack(struct schain *sc, const struct kt_msg *m);
void ghost_told_hub(struct schain *sc, const struct kt_msg *m);
void ghost_activated(struct schain *sc);
void ghost_committed(struct world *w, const struct kt_cfg *cfg);
void ghost_flushed(struct world *w, unsigned chain, struct grec *g,
                   uint64_t vgen);
/* What a member is about to answer to a READ. */
struct grec *ghost_read(struct schain *sc, const struct store_read *r);

/* ---- direct.c ---- */
/* This message shall wait, and all behind it on its connection. */
bool gate_holds(struct world *w, const struct sconn *c, unsigned side);
/* Runs the schedule of that name; false: there is none. NULL: lists them. */
bool direct_run(struct world *w, const char *name);
const char *direct_name(unsigned i); /* NULL: no more */
const struct sim_params *direct_params(const char *name);

/* ---- rules.c ---- */
/* Switches off the rules of a list with commas. Exits when it cannot. */
void rules_off(const char *list);
void rules_print(void);
void reach_print(void);

/* ---- faults.c ---- */
void faults_start(struct world *w);
void faults_heal(struct world *w);
/* a hears b no more for so long; sometimes connections break of it. */
void faults_cut(struct world *w, struct rng *r, unsigned a, unsigned b,
                uint64_t us);
/* Neither hears the other until all is healed, and TCP gives up some time. */
void faults_sever(struct world *w, struct rng *r, unsigned a, unsigned b);
uint64_t faults_span(struct rng *r);
/* This replicator stops as it had asked for, and comes back some time. */
void faults_left(struct snode *n);
/* One that this world has. */
unsigned faults_any_ep(const struct world *w, struct rng *r);
bool faults_has_ep(const struct world *w, unsigned ep);
/* Its replay begins: sometimes it dies in the middle. */
void faults_replay(struct sclient *c);

/* ---- verify.c ---- */
void verify_quiet(struct world *w);
void verify_history(struct world *w);

#endif
