/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the in-memory twin: the chains of a disk, and its log. */
#ifndef KT_STORE_MEM_DISK_H
#define KT_STORE_MEM_DISK_H

#include "replicator/store/fold.h"
#include "replicator/store/ops.h"
#include "replicator/store/store_mem.h"

/* A record in the log; shared by the lists that hold it. */
struct mem_rec {
    uint32_t refs;
    uint64_t lsn;
    uint32_t n_extents; /* of its chain */
    struct kt_record rec;
    struct kt_buf *buf;
    struct mem_rec *next; /* in the disk's log */
};
void mem_rec_unref(struct mem_rec *m);

struct mem_sector {
    uint64_t sum; /* 0: absent */
    struct kt_buf *buf;
    const uint8_t *data; /* within buf */
};

struct mem_extent {
    struct extent_meta meta;
    struct extent_meta tail; /* after everything submitted (open store) */
    uint8_t rot[KT_PRESENCE_BYTES]; /* sectors damaged: mem_damage.c */
    struct mem_sector s[KT_EXTENT_SECTORS];
};

/* A chain, either as the durable part of the log makes it (the disk's) or as
 * the completed records do (the open store's). */
struct store_chain {
    struct store_chain *next; /* ascending by id */
    uint64_t id;
    uint32_t n_extents;
    uint64_t promised;
    bool have_cfg;
    struct kt_cfg cfg;
    struct kt_id whole;
    struct kt_rid applied;
    struct kt_dedup dedup;
    struct mem_extent **ext; /* [n_extents], NULL: blank */
    /* records for store_log_read, a ring of hist_n from hist_first on */
    struct mem_rec **hist;
    uint32_t hist_cap, hist_first, hist_n;
    /* the open store's only */
    struct kt_rid tail; /* after everything submitted */
    uint64_t acked, durable;
    uint32_t granted;
    uint32_t seen; /* scratch of store_mem_pending: kinds seen */
};

struct store_mem_disk {
    uint64_t rng;
    struct kt_id uuid, node, boot;
    uint64_t incarnation, cont_base;
    bool clean;
    uint64_t slots;
    uint32_t retain;
    struct store *open;         /* the store that has it open */
    struct store_chain *chains; /* folded up to base_lsn */
    uint64_t base_lsn;
    uint64_t last_lsn;
    struct mem_rec *log, **log_last; /* after base_lsn */
};

/* What store_mem_set_disk was told last. */
struct store_mem_disk *mem_disk_next(void);
uint64_t mem_random(struct store_mem_disk *d);

struct store_chain *mem_chain_find(struct store_chain *list, uint64_t id);
/* The chain, made if need be; NULL when memory is out. */
struct store_chain *mem_chain_get(struct store_chain **list, uint64_t id,
                                  uint32_t n_extents);
void mem_chain_remove(struct store_chain **list, uint64_t id);
void mem_chains_free(struct store_chain **list);
/* Copies of all chains, sharing buffers. NULL list and false: no memory. */
bool mem_chains_copy(struct store_chain *from, struct store_chain **ret_list);
struct mem_extent *mem_chain_extent(struct store_chain *c, uint32_t extent);
/* What the record does to the chain. retain: see store_mem_set_retain. */
void mem_chain_fold(struct store_chain *c, struct mem_rec *m, uint32_t retain);
/* The retained record with this seq, or NULL. */
struct mem_rec *mem_chain_hist(const struct store_chain *c, uint64_t seq);

/* What of its log has completed. */
uint64_t mem_completed(const struct store *s);
/* Everything in the log up to lsn becomes durable. */
void mem_disk_harden(struct store_mem_disk *d, uint64_t lsn);
/* The log ends at lsn: later records never were. */
void mem_disk_cut(struct store_mem_disk *d, uint64_t lsn);
/* Forgets the chain and its records. */
void mem_disk_drop(struct store_mem_disk *d, uint64_t chain);

#endif
