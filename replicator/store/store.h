/* SPDX-License-Identifier: BSD-3-Clause */
/* The store: one directory in which a replicator keeps its copies.
 *
 * Asynchronous and single-threaded to its caller: every function is called on
 * one thread (the loop's), nothing here blocks except store_open and
 * store_close, and completions run on that thread inside store_poll. Two
 * implementations have this interface: the one on disk and an in-memory twin
 * for tests and the simulator (store_mem.h); a program links one of them.
 *
 * What is true of every implementation:
 *  - a chain's records are kept in the order of store_append; after any crash
 *    a chain's content is the fold of a prefix of them (I10, "prefix of
 *    history"), and after a crash of the process alone, of all of them that
 *    completed;
 *  - sector data reach the slots only when the record is durable in the log
 *    and acknowledged (I23);
 *  - every byte handed out matched its checksum, or KT_E_CORRUPT is; the
 *    64th sector within ten minutes that does not makes the store faulty;
 *  - a failed write, sync or index commit makes the store faulty for good:
 *    store_info.err is set and every later operation fails with KT_E_FAULTY
 *    (I17). It is never retried. */
#ifndef KT_STORE_STORE_H
#define KT_STORE_STORE_H

#include "lib/base/id.h"
#include "lib/wire/buf.h"
#include "lib/wire/cfg.h"
#include "lib/wire/msg.h"
#include "lib/wire/record.h"

struct store;
struct store_chain;

struct store_opts {
    struct kt_id boot;          /* kt_boot_id(); decides continuity */
    uint64_t capacity_bytes;    /* for slots; 0: what the file system has free,
                                   less a reserve, at creation */
    uint32_t log_segment_bytes; /* 0: 16 MiB */
    bool create;                /* make it when the directory is empty */
    /* Called from any thread when store_poll has something to do. */
    void (*notify)(void *arg);
    void *notify_arg;
};

struct store_info {
    struct kt_id uuid;    /* identity of the copies in it */
    struct kt_id node;    /* identity of the node, made with the store */
    uint64_t incarnation; /* raised and made durable at every open */
    uint64_t cont_base;   /* first incarnation since which nothing that
                             completed was lost (I15): kept when the boot id
                             is unchanged, and then the log is synced (B16),
                             or after a clean close */
    uint64_t size, used;  /* bytes of slots */
    int err;              /* 0, or why the store is faulty */
    uint64_t bad_sectors; /* found not to match their sum, since the open */
    uint64_t mended;      /* of them, by store_mend */
    uint64_t stall_us;    /* age of the oldest unfinished append or sync */
};

/* Opens dir, locks it against a second process (-EBUSY), raises and syncs the
 * incarnation, replays the log. Blocking. ret_why (why_size bytes) explains a
 * failure to people: what, where, what to do. 0; -ENOENT (empty and !create),
 * -EACCES, -EROFS, -ENOSPC, KT_E_CORRUPT, KT_E_PROTO (another format) ... */
int store_open(const char *dir, const struct store_opts *opts,
               struct store **ret_s, char *ret_why,
               size_t why_size) KT_MUST_CHECK;
/* Completes what is pending (callbacks run), applies and syncs, marks the
 * store clean, frees it. Blocking; a faulty store is only freed. */
void store_close(struct store *s);
void store_info(const struct store *s, struct store_info *ret_i);
/* Runs completions that are due. */
void store_poll(struct store *s);

/* ---- chains ---- */

/* What survives of one chain. */
struct store_chain_info {
    uint64_t chain;
    uint32_t n_extents;
    uint64_t promised; /* highest epoch sealed (I3) */
    bool have_cfg;
    struct kt_cfg cfg;     /* last ACTIVE configuration saved */
    struct kt_id whole;    /* as saved */
    struct kt_rid applied; /* last record of the history in the log */
    uint64_t durable;      /* seq up to which the log is synced */
    struct kt_dedup dedup; /* folded up to applied */
    /* bit e set: extent e owns a slot after applied */
    uint8_t alloc[KT_SEGMENT_EXTENTS_MAX / 8];
};

/* The chains of the store, in ascending order of chain id: the first one
 * above `after` (use 0 to begin; ids are > 0), or NULL. */
struct store_chain *store_chain_next(struct store *s, uint64_t after);
struct store_chain *store_chain_find(struct store *s, uint64_t chain);
/* Makes an empty chain (volatile until the first save or append completes).
 * NULL when memory is out or the store is faulty. */
struct store_chain *store_chain_create(struct store *s, uint64_t chain,
                                       uint32_t n_extents);
void store_chain_info(const struct store_chain *c,
                      struct store_chain_info *ret_i);

/* ---- operations: the caller owns the struct until done() ran ---- */

struct store_op {
    /* err: 0 or negative. Runs inside store_poll or store_close. */
    void (*done)(struct store_op *op, int err);
    /* private to the implementation */
    struct store_op *next;
    struct store *store;
    uint64_t start_us;
    uint32_t kind;
    int err;
    uint64_t tag[2];
};

/* Durably saves promised, whole, and cfg when not NULL. Saves of one chain
 * complete in order. cfg is copied. whole: the content is a prefix of this
 * history and nothing else; zero: of none. It is the caller's word: a crash
 * keeps it true, because what was durable when it was given stays. */
struct store_save {
    struct store_op op;
    struct store_chain *chain;
    uint64_t promised;
    struct kt_id whole;
    const struct kt_cfg *cfg;
};
void store_save(struct store *s, struct store_save *r);

/* Appends one record (any op of enum kt_op). Completes when it is in the log
 * file, survives SIGKILL, and is visible to reads; with KT_RF_FUA: when it and
 * all before it are durable too. Appends of one chain complete in order. The
 * store references buf until it needs it no more. A WRITE or BASE to an
 * extent without a slot takes one of the chain's granted slots (store_grant),
 * else a free one, else fails with -ENOSPC and changes nothing: the caller must
 * not have let it come so far. RESET: the chain's history jumps to rec.id,
 * dedup is in buf->data (KT_DEDUP_BYTES); content stays as it is.
 * COPY_START marks the extent partial; BASE writes its sectors (sum 0: makes
 * them absent) but those in keep; BASE_END clears partial, sets the extent's id
 * to the greater of rec.prev and what later records made it, and gives or takes
 * the slot as KT_RF_ALLOC says (a slot that later records needed stays). */
struct store_append {
    struct store_op op;
    struct store_chain *chain;
    struct kt_record rec;
    struct kt_buf *buf; /* or NULL */
};
void store_append(struct store *s, struct store_append *r);

/* Completes when everything appended (completed) before the call is durable;
 * ret_durable is the chain's durable seq then. One fdatasync serves all that
 * wait. */
struct store_sync {
    struct store_op op;
    struct store_chain *chain;
    uint64_t ret_durable;
};
void store_sync(struct store *s, struct store_sync *r);

/* Everything up to seq is acknowledged: may go to the slots (I23). */
void store_acked(struct store *s, struct store_chain *c, uint64_t seq);

/* Reads len bytes at off of an extent: completed appends are visible.
 * buf: len/4096 sums, data compact (absent sectors have sum 0), checked. A
 * reference passes to the caller on success. ret_seq: applied at that time.
 * May complete inside the call when everything is at hand. */
struct store_read {
    struct store_op op;
    struct store_chain *chain;
    uint32_t extent, off, len;
    struct kt_buf *ret_buf;
    uint64_t ret_seq;
    uint32_t ret_bad; /* KT_E_CORRUPT: offset of the first sector that is */
};
void store_read(struct store *s, struct store_read *r);

/* Puts sectors right that do not match their sums, with the bytes of another
 * member: buf is as of a read of len bytes at off there, checked again here.
 * Only content that this store once had is taken (see mend.c); sectors that are
 * good stay as they are, so do those that records on their way write. What was
 * mended is durable. The caller keeps its reference until done ran. The chain
 * must not be dropped before. A failed write makes the store faulty. */
struct store_mend {
    struct store_op op;
    struct store_chain *chain;
    uint32_t extent, off, len;
    const struct kt_buf *buf;
    uint32_t ret_mended, ret_left; /* sectors; left: still bad */
};
void store_mend(struct store *s, struct store_mend *r);

/* The 1024 sums of an extent (0 = absent), its id and state, at one moment. */
struct store_sums {
    struct store_op op;
    struct store_chain *chain;
    uint32_t extent;
    uint64_t ret_sums[KT_EXTENT_SECTORS];
    struct kt_rid ret_id; /* of the last record that changed it */
    uint32_t ret_state;   /* KT_DIGEST_F_* */
};
void store_sums(struct store *s, struct store_sums *r);

/* Digest rows of up to KT_DIGEST_ROWS_MAX existing extents from `first` on,
 * ascending. Extents never written (id {0,0}) are left out; ret_next is where
 * to go on, UINT32_MAX at the end. All rows show the same position ret_at. */
struct store_digest {
    struct store_op op;
    struct store_chain *chain;
    uint32_t first;
    uint32_t max_rows;
    uint32_t ret_n, ret_next;
    struct kt_rid ret_at;
    struct kt_digest_row *rows; /* caller's, max_rows of them */
};
void store_digest(struct store *s, struct store_digest *r);

/* Reads records back from the log: those after `after` (by seq), in order, at
 * most max_records of them and 4 MiB of payload. -ENODATA when the record after
 * `after` is no longer in the log. bufs[i] may be NULL; references pass to the
 * caller. Only records of the history (op < KT_OP_COPY_START). */
#define STORE_LOG_READ_MAX 64
struct store_log_read {
    struct store_op op;
    struct store_chain *chain;
    uint64_t after;
    uint32_t max_records;
    uint32_t ret_n;
    struct kt_record recs[STORE_LOG_READ_MAX];
    struct kt_buf *bufs[STORE_LOG_READ_MAX];
};
void store_log_read(struct store *s, struct store_log_read *r);

/* Drops a chain and frees its slots, durably (its volume is gone). The chain
 * must have no operation pending; it is gone when done runs. */
struct store_drop {
    struct store_op op;
    struct store_chain *chain;
};
void store_drop(struct store *s, struct store_drop *r);

/* ---- space (B7) ---- */

/* Tries to keep `want` slots set aside for the chain beyond those it already
 * owns, and gives none back that are; 0: gives all back. Returns how many are
 * set aside now (fewer when the store is nearly full: what is free is shared
 * out fairly). Slots set aside are backed by real disk blocks. Never blocks:
 * more may be ready at a later call. */
uint32_t store_grant(struct store *s, struct store_chain *c, uint32_t want);
/* True when the last store_grant fell short because nothing is left. */
bool store_is_full(const struct store *s);
/* Gives back what is set aside for the chain. */
void store_ungrant(struct store *s, struct store_chain *c);

#endif
