/* SPDX-License-Identifier: BSD-3-Clause */
/* The index of the store: what the slots hold, in LMDB. Writers take turns by
 * a lock of its own; every commit is synced. Not for the loop's thread, except
 * while the store opens. Errors: negative errno, KT_E_CORRUPT. */
#ifndef KT_STORE_INDEX_H
#define KT_STORE_INDEX_H

#include "lib/wire/cfg.h"
#include "replicator/store/fold.h"

#define SLOT_NONE UINT32_MAX
/* Disk blocks taken for the index at creation. */
#define INDEX_BYTES_BASE (16u << 20)
#define INDEX_BYTES_SLOT 1024u

struct index;

struct index_cfg {
    uint64_t chain;
    uint32_t n_extents;
    uint64_t promised;
    bool have_cfg;
    struct kt_cfg cfg;
    struct kt_id whole;
};

struct index_ckpt {
    uint64_t chain;
    uint32_t n_extents;
    bool dropped;      /* a tombstone: only born_lsn counts */
    uint64_t born_lsn; /* records up to it were of a dropped chain */
    uint64_t lsn;      /* all its records up to it are in the slots */
    struct kt_rid applied;
    struct kt_dedup dedup;
};

struct index_ext {
    uint64_t chain;
    uint32_t extent;
    uint32_t slot; /* or SLOT_NONE */
    struct extent_meta meta;
    uint8_t presence[KT_PRESENCE_BYTES];
};

/* Where replay begins: the first record not in the slots, or the log's end. */
struct index_log {
    uint64_t seg, lsn, durable_lsn;
    uint32_t off;
};

/* look: only to read it, nothing is changed. KT_E_CORRUPT when LMDB cannot be
 * let loose on the file (pages.h). */
int index_open(const char *path, uint64_t slots, bool look,
               struct index **ret_ix) KT_MUST_CHECK;
void index_free(struct index *ix);

/* begin, then puts, then commit, on one thread; after an error: abort. After
 * a failed commit there is no other: whoever waited for his turn meanwhile is
 * refused as well, with KT_E_FAULTY. */
int index_begin(struct index *ix) KT_MUST_CHECK;
int index_commit(struct index *ix) KT_MUST_CHECK;
void index_abort(struct index *ix);
int index_put_cfg(struct index *ix, const struct index_cfg *r) KT_MUST_CHECK;
int index_put_ckpt(struct index *ix, const struct index_ckpt *r) KT_MUST_CHECK;
int index_put_ext(struct index *ix, const struct index_ext *r) KT_MUST_CHECK;
int index_put_log(struct index *ix, const struct index_log *r) KT_MUST_CHECK;
/* Removes every row of the chain, leaves a tombstone. */
int index_drop(struct index *ix, uint64_t chain, uint64_t lsn) KT_MUST_CHECK;
/* How many there were in its life; from index_visit on. Not while one is under
 * way. */
uint64_t index_commits(const struct index *ix);
int index_forget_tomb(struct index *ix, uint64_t chain) KT_MUST_CHECK;

/* Reads everything, inside begin and abort, before anything is put. Each
 * returns 0 or stops. KT_E_CORRUPT also when rows are missing or too many;
 * format_1: an index of that format does not know, and learns it with the next
 * commit. */
struct index_visitor {
    int (*log)(void *arg, const struct index_log *r);
    int (*ckpt)(void *arg, const struct index_ckpt *r);
    int (*cfg)(void *arg, const struct index_cfg *r);
    int (*ext)(void *arg, const struct index_ext *r);
    void *arg;
};
int index_visit(struct index *ix, const struct index_visitor *v,
                bool format_1) KT_MUST_CHECK;

#endif
