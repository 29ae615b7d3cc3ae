/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the in-memory twin: the open store. */
#ifndef KT_STORE_MEM_PRIV_H
#define KT_STORE_MEM_PRIV_H

#include "lib/base/rule.h"
#include "replicator/store/mem_disk.h"

struct store {
    struct store_mem_disk *disk;
    struct store_opts opts;
    struct store_chain *chains; /* what completed records made of them */
    struct store_queue pending, ready;
    uint64_t completed_lsn;
    uint64_t owned, set_aside; /* slots */
    bool full, auto_complete;
    unsigned fail; /* enum store_mem_fault, ored */
    int err;
};

/* The effects of one pending operation happen; it moves to ready. */
void mem_complete(struct store *s, struct store_op *op);
/* The disk's part of a save. */
void mem_save(struct store *s, const struct store_save *r);
/* Frees what a pending operation holds. */
void mem_op_forget(struct store_op *op);
/* The record of a pending append; NULL when it is refused. */
struct mem_rec *mem_append_rec(const struct store_append *r);

/* mem_damage.c: the true bytes of a damaged sector are back, in the slots and
 * in what the open store shows. */
void mem_mend_sector(struct store_mem_disk *d, uint64_t chain, uint32_t extent,
                     uint32_t sector);

#endif
