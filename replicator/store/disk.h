/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the store on disk.
 *
 * Everything that means something belongs to the caller's thread ("the loop"):
 * chains, extents, overlay, positions in the log, slot map. Threads only do
 * I/O on what the loop hands them: the log thread writes records, the sync
 * thread syncs log segments, workers run jobs (struct job). They publish
 * numbers and finished jobs under `mu`; store_poll takes them from there.
 * No lock is held during I/O.
 *
 * One write:
 *  1. store_append checks it, takes a slot if it needs one, gives it an lsn
 *     and a place in the log (append.c); without room it is held.
 *  2. The log thread writes it, with all that wait, as one group (logio.c);
 * FUA: the sync thread syncs it.
 *  3. store_poll folds it into the visible state and the overlay, and
 *     completes it (append.c).
 *  4. Acked and durable, it goes to its slot with the next batch (apply.c),
 *     then the index says so, then its log segment may be used again. */
#ifndef KT_STORE_DISK_H
#define KT_STORE_DISK_H

#include <pthread.h>
#include <stdatomic.h>

#include "replicator/store/index.h"
#include "replicator/store/logfmt.h"
#include "replicator/store/ops.h"
#include "replicator/store/super.h"

#define SLOTS_PER_FILE 1024u
#define CSUM_SLOT_BYTES (KT_EXTENT_SECTORS * 8u)
#define LOG_SEGS_MIN 4u      /* exist from the store's creation on */
#define LOG_SEGS_MAX 32u     /* more only when nothing can be applied */
#define LOG_SEGS_RETAINED 8u /* applied ones kept for store_log_read */
#define OVERLAY_BYTES_MAX (128u << 20) /* of memory */
#define OVERLAY_TABLE_FROM 16u /* records of an extent: they get a table */
#define APPLY_BYTES_EAGER (32u << 20) /* apply without waiting for the tick */
#define BATCH_BYTES_MAX (32u << 20)
#define TICK_MS 1000u
#define READERS 4u
#define BAD_SECTORS_MAX 64u /* in ten minutes: the disk is done for */

/* ---- jobs ---- */

struct job {
    struct job *next;
    struct store *store;
    int (*run)(struct job *j);   /* on a worker's thread */
    void (*done)(struct job *j); /* on the loop */
    int err;                     /* what run returned */
};

struct worker {
    struct store *store;
    pthread_cond_t cv;
    struct job *first, **last;
    pthread_t threads[READERS];
    unsigned n_threads;
    bool ticks; /* posts a tick when idle for TICK_MS */
};

/* ---- log ---- */

struct seg {
    struct seg *next; /* ascending */
    uint64_t no;
    int fd;
    uint32_t used;     /* where the next record goes */
    uint64_t last_lsn; /* of the records in it; 0: none */
    unsigned pins;     /* jobs that read it */
    bool dirty;        /* under mu: written and not synced */
};

/* A record from its submission until its slot has it. */
struct rec {
    struct rec *next;        /* of its chain: in flight, then overlay */
    struct rec *ext_next;    /* of its extent, in the overlay */
    struct rec *log_next;    /* in the log thread's queue, or held */
    struct store_append *op; /* until it completes */
    struct store_chain *chain;
    struct seg *seg;
    uint64_t lsn; /* 0: refused */
    uint32_t off;
    bool takes;    /* its extent owns no slot before it, and owns one after */
    bool admitted; /* decided about; op.err says how */
    bool begins;   /* a group in the log */
    struct extent_effect effect;
    struct kt_record rec;
    struct kt_buf *buf;
    uint8_t head[LOG_REC_HEAD_BYTES];
};

/* Where a record of the history stands in the log. */
struct log_at {
    uint64_t seg;
    uint32_t off, data_len, n_sums;
};

/* ---- chains ---- */

struct extent {
    struct store_chain *chain;
    uint32_t no;
    struct extent_meta vis;   /* after completed records */
    struct extent_meta tail;  /* after everything submitted */
    struct extent_meta slotm; /* what the index says */
    uint32_t slot;
    uint8_t presence[KT_PRESENCE_BYTES]; /* in the slot */
    uint32_t gen;   /* raised whenever its slot is about to change */
    uint32_t takes; /* records not in a batch yet that take a slot */
    bool reserved;  /* a slot is kept for it; never beside a slot it has */
    struct rec *first, **last; /* overlay, in order */
    uint32_t n_recs;           /* in it */
    struct rec **at; /* [KT_EXTENT_SECTORS] newest record of each sector, or
                        NULL while there are few */
    /* while in a batch */
    struct extent *batch_next;
    struct rec *batch_upto;
    struct extent_meta batch_meta;
    uint32_t batch_slot;
    uint8_t batch_presence[KT_PRESENCE_BYTES];
    bool in_batch;
};

struct store_chain {
    struct store *store;
    uint64_t id;
    uint32_t n_extents;
    uint64_t promised;
    bool have_cfg;
    struct kt_cfg cfg;
    struct kt_id whole;
    struct index_cfg *save_row; /* what the last store_save asked for */
    struct kt_rid tail;         /* after everything submitted */
    struct kt_rid applied;
    struct kt_dedup dedup;
    uint64_t acked, acked_lsn; /* records up to acked_lsn count as acked */
    uint64_t durable;
    struct index_ckpt ck, batch_ck; /* in the slots; after this batch */
    bool in_batch, dropping, active;
    struct extent **ext; /* [n_extents] */
    uint32_t granted;
    struct rec *flight, **flight_last; /* submitted, not completed */
    struct store_chain *active_next;   /* chains with flight */
    struct rec *recs, **recs_last;     /* completed, not in the slots */
    struct rec *hard;                  /* first of recs not seen durable */
    struct log_at *log;                /* ring: seqs [log_seq, + log_n) */
    uint64_t log_seq;
    uint32_t log_n, log_cap;
};

/* ---- the store ---- */

/* The scrub thread's own descriptors. */
struct scrub_files {
    bool open;
    uint32_t no;
    int data_fd, csum_fd;
};

struct slots {
    uint32_t total; /* by capacity */
    uint32_t ready; /* backed by disk blocks: numbers below it */
    uint32_t assigned, reserved, set_aside;
    uint32_t freeing; /* held by extents that will give them back */
    uint64_t *map;    /* [total / 64] assigned */
    uint32_t hint;    /* where to look for a free one */
    int *data_fd, *csum_fd;
    uint32_t n_files;
    bool growing, full;  /* full: of disk, or of capacity */
    uint64_t refused_us; /* when the file system last said ENOSPC */
    uint64_t short_us;   /* the same, not forgotten when room was made */
};

struct bad_sector {
    uint64_t at_us, chain;
    uint32_t extent, sector;
};

struct store {
    char *dir;
    int dirfd, lockfd, mark_fd;
    struct store_opts opts;
    struct super super;
    struct index *index;
    struct slots slots;
    uint64_t uuid64;

    struct store_chain **chains; /* ascending by id */
    uint32_t n_chains, cap_chains;
    struct store_chain *active;

    /* the log, seen from the loop */
    struct seg *segs, *cur; /* cur: the last of segs, takes the records */
    struct seg *spare;      /* the ones after cur, prepared */
    uint32_t n_segs;        /* in segs */
    bool preparing;         /* a spare segment */
    struct seg *group_seg;  /* where the newest group is; NULL: of no life */
    uint32_t group_recs, group_bytes; /* in it */
    uint64_t next_lsn, written_seen, durable_seen;
    uint64_t tail_lsn; /* first record not in the slots */
    struct rec *held, **held_last;
    bool held_admitted; /* the last of them: see append.c */
    struct rec *free_recs;
    struct job *free_reads;
    uint64_t overlay_bytes; /* memory it takes */
    uint64_t eager_bytes;   /* payload since the last batch */
    bool apply_wanted, batching;
    uint32_t rotor;     /* the chain a batch begins with */
    uint64_t apply_lsn; /* what must be durable before the wanted batch */

    struct store_queue syncs, ready, saves, drops;
    bool saving, no_nowait, closing;
    bool look; /* opened to be read only: nothing in it is written */
    unsigned n_jobs;
    int err;
    bool in_poll, short_of;                 /* the last grant fell short */
    struct bad_sector bad[BAD_SECTORS_MAX]; /* a ring of the newest */
    uint64_t n_bad, mended;

    struct worker meta, apply, read, scrub;
    struct scrub_files scrub_files; /* of the scrub thread */
    pthread_t log_thread, sync_thread;
    bool threads_up;

    /* shared */
    pthread_mutex_t mu;
    pthread_cond_t log_cv, sync_cv, loop_cv;
    struct rec *logq, **logq_last;
    bool log_busy, sync_busy, stop, due, tick;
    uint64_t written_lsn, durable_lsn, sync_want;
    struct seg *dirty[LOG_SEGS_MAX * 4];
    unsigned n_dirty;
    struct job *jobs_done, **jobs_done_last;
    atomic_int fault; /* first error of any thread */
};

/* threads.c */
int threads_start(struct store *s) KT_MUST_CHECK;
void threads_stop(struct store *s);
void job_post(struct worker *w, struct job *j);
/* The store is faulty from now on; any thread. */
void store_fault(struct store *s, int err);
/* fsync; a failure makes the store faulty before anybody else can sync the
 * same file (I17). 0 or -errno. Any thread. */
int store_fsync(struct store *s, int fd) KT_MUST_CHECK;
/* With mu held: the loop has something to do; returns whether to call
 * store_tell after unlocking. */
bool store_due(struct store *s);
void store_tell(struct store *s);

/* logio.c: the threads' side of the log */
void *log_main(void *arg);
void *sync_main(void *arg);
/* Asks the sync thread to make everything up to lsn durable. */
void log_sync(struct store *s, uint64_t lsn);
/* Gives the record its place in cur and hands it to the log thread. */
void log_write(struct store *s, struct rec *r, uint32_t bytes);
/* Where the next record goes when none is on its way. */
uint32_t log_next_off(const struct store *s);

/* mark.c: how far the log was synced. Opened when the life has begun; noted by
 * the sync thread; what the life before noted last, or 0. */
int mark_open(struct store *s) KT_MUST_CHECK;
int mark_synced(const struct store *s, uint64_t lsn) KT_MUST_CHECK;
uint64_t mark_read(const struct store *s);

/* seg.c: segments */
void seg_name(uint64_t no, char ret_name[32]);
/* Makes segment no, blocking: reused from old (may be NULL) or a new file.
 * 0 or -errno; old is used up on success. */
int seg_make(struct store *s, uint64_t no, struct seg *old,
             struct seg **ret_seg) KT_MUST_CHECK;
void seg_add(struct store *s, struct seg *g);
struct seg *seg_find(struct store *s, uint64_t no);
void seg_free(struct seg *g);
/* Makes cur a segment with room for so many bytes; false: not now. */
bool seg_room(struct store *s, uint32_t bytes);
/* Starts to prepare the next segment when there is none. */
void seg_want_spare(struct store *s);
/* Gives segments that are only retained back to the file system;
 * slots_given_back follows. False: there are none. */
bool seg_give_back(struct store *s);

/* slots.c */
int slots_open(struct store *s, bool create) KT_MUST_CHECK;
void slots_close(struct store *s);
bool slots_mark(struct store *s, uint32_t slot); /* false: taken, or no such */
uint32_t slots_take(struct store *s);            /* for a reservation */
void slots_give(struct store *s, uint32_t slot);
/* Blocking. */
int slots_grow(struct store *s, uint32_t upto) KT_MUST_CHECK;
/* Free ones that are ready. */
uint32_t slots_spare(const struct store *s);
void slots_want_more(struct store *s, uint32_t n);
/* What is full may not be any more: tries at once. */
void slots_given_back(struct store *s);
/* A record takes a slot for e, which lasts until it is applied: nothing to do
 * when e has one still, or one is kept for it. Else from what is set aside for
 * its chain, else a free one. 0, -EAGAIN (more are being made ready),
 * -ENOSPC. */
int slots_reserve(struct store *s, struct extent *e) KT_MUST_CHECK;
/* Whether e has a slot, or one is kept for it. */
bool extent_holds(const struct extent *e);
/* ... and will give it back once what was submitted is applied. */
static inline bool extent_frees(const struct extent *e)
{
    return !e->tail.alloc && extent_holds(e);
}

/* chains.c */
struct store_chain *chain_get(struct store *s, uint64_t id, uint32_t n_extents);
void chain_free(struct store_chain *c);
void chain_forget(struct store *s, struct store_chain *c);
struct extent *chain_extent(struct store_chain *c, uint32_t no);
/* seq up to which the log of c is synced, as far as the loop has seen */
uint64_t chain_durable(struct store_chain *c);
void chain_log_push(struct store_chain *c, const struct kt_record *r,
                    struct log_at at);
/* NULL when it is no longer in the log. */
const struct log_at *chain_log_find(const struct store_chain *c, uint64_t seq);

/* overlay.c */
struct rec *rec_new(struct store *s);
void rec_free(struct store *s, struct rec *r);
/* A completed record becomes visible. 0; or -ENOMEM, and r is freed. */
int overlay_fold(struct store_chain *c, struct rec *r) KT_MUST_CHECK;
/* The newest record of sector k; NULL: none, or no extent. */
struct rec *overlay_at(const struct extent *e, uint32_t k);
/* The first record of the chain's overlay is in its slot. */
void overlay_pop(struct store_chain *c);
/* Sum and data of sector k of the extent in its record. */
uint64_t rec_sector(const struct rec *r, uint32_t k, const uint8_t **ret_data);

/* append.c */
void append_poll(struct store *s);
void append_retry_held(struct store *s);
void append_fail_all(struct store *s);

/* commit.c: saves and drops */
void commit_poll(struct store *s);
void commit_fail_all(struct store *s);

/* apply.c */
void apply_want(struct store *s);
void apply_poll(struct store *s);
bool apply_possible(const struct store *s);

/* mend.c: a sector does not match its sum, twice read. */
void mend_note_bad(struct extent *e, uint32_t sector);

/* scrub.c: when its thread has ended. */
void scrub_close(struct store *s);

/* read.c */
void read_free_all(struct store *s);
uint64_t store_now(struct store *s); /* microseconds */
void op_start(struct store *s, struct store_op *op, uint32_t kind);
void op_ready(struct store *s, struct store_op *op, int err);

/* Opening. why: one sentence for people. */
struct why {
    char *text;
    size_t size;
};
int why_set(struct why *w, int err, const char *fmt, ...) KT_PRINTF(3, 4);
/* dir.c: opens and locks the directory. ret_empty: no store in it yet. */
int dir_open(struct store *s, const char *dir, struct why *w,
             bool *ret_empty) KT_MUST_CHECK;
/* The same for who only reads: s->look is set, and a store has to be there,
 * though its superblocks may be missing. */
int dir_look(struct store *s, const char *dir, struct why *w) KT_MUST_CHECK;
/* create.c: makes a store in the empty directory; leaves everything closed. */
int dir_create(struct store *s, struct why *w) KT_MUST_CHECK;
#define DIR_CREATING "creating" /* exists while a store is being made */
/* scan.c: opens all segments, finds the records. Calls each once, oldest
 * first: retained ones (in the slots everywhere) with fresh false, then those
 * from tail on. It copies what it keeps. */
struct scan_rec {
    struct seg *seg;
    uint32_t off;
    bool fresh;
    const struct log_rec_head *head;
    const uint64_t *sums;
    const uint8_t *data;
};
struct scan {
    struct index_log tail;
    uint64_t durable_lsn; /* known from elsewhere; raised by what it finds */
    uint64_t end_lsn;     /* the last record */
    uint64_t incarnation; /* of the last record */
    bool same_boot;       /* as when the last life began */
    int (*record)(struct scan *sc, const struct scan_rec *r);
    void (*gap)(struct scan *sc); /* forget the retained ones so far */
};
int scan_log(struct store *s, struct scan *sc, struct why *w) KT_MUST_CHECK;
int scan_segs(struct store *s) KT_MUST_CHECK; /* only opens them */
/* replay.c: index and log into memory; cuts the tail, syncs the log. */
int replay(struct store *s, struct why *w) KT_MUST_CHECK;
/* The same, and nothing is changed. ret_index: the index was good. */
struct scan_result {
    uint64_t records, fresh, end_lsn, durable_lsn;
};
int replay_look(struct store *s, struct scan_result *ret_r, bool *ret_index,
                struct why *w) KT_MUST_CHECK;
/* store.c: the steps of an opening. */
struct store *store_blank(const char *dir, const struct store_opts *o);
void store_free(struct store *s);
int load_super(struct store *s, struct why *w) KT_MUST_CHECK;
int load_files(struct store *s, bool look, struct why *w) KT_MUST_CHECK;

#endif
