/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the store share: a reference model of a chain, waiting
 * for operations, and the two ways to have a store (rig). */
#ifndef KT_TESTS_UNIT_STORE_MODEL_H
#define KT_TESTS_UNIT_STORE_MODEL_H

#include "tests/unit/unit.h"

#include "replicator/store/store.h"

#define MODEL_EXTENTS 6u

/* A chain as it ought to be. A sector's bytes follow from its stamp; 0 is
 * absent. */
struct model {
    uint64_t chain;
    uint64_t stamp[MODEL_EXTENTS][KT_EXTENT_SECTORS];
    bool alloc[MODEL_EXTENTS];
    struct kt_rid id[MODEL_EXTENTS];
    struct kt_rid at;
    struct kt_dedup dedup;
};

void model_init(struct model *m, uint64_t chain);
/* The record that comes next, and what it carries (one reference). */
struct kt_record model_record(const struct model *m, uint8_t op);
struct kt_buf *model_payload(const struct kt_record *r, uint64_t stamp);
/* Any WRITE, ZERO or TRIM, decided by rng. */
struct kt_record model_random(struct model *m, uint64_t *rng);
void model_fold(struct model *m, const struct kt_record *r, uint64_t stamp);
uint64_t model_rand(uint64_t *rng, uint64_t below);

/* A store to test: on disk (store_rig_disk.c) or in memory
 * (store_rig_mem.c). */
struct rig {
    struct store *s;
    struct kt_id boot;
    uint64_t slots; /* capacity */
    char dir[64];
    struct store_mem_disk *disk;
    char why[512];
};
void rig_init(struct rig *g, uint64_t slots);
void rig_open(struct rig *g);
int rig_try_open(struct rig *g);
void rig_close(struct rig *g);
void rig_free(struct rig *g);
/* Lets a little of what is due happen. */
void rig_step(struct rig *g);
/* Waits for the operation, whose done must be rig_done; its result. */
void rig_done(struct store_op *op, int err);
int rig_wait(struct rig *g, struct store_op *op);

/* Where in the first log segment record i (from 0) is, when each one was a
 * write of one sector and nothing else was under way; on disk only. */
uint32_t rig_record_at(uint32_t i);
/* Turns one bit of a byte of the store's file; on disk only. */
void rig_flip(const struct rig *g, const char *name, uint64_t at);

/* Submits and waits. */
int do_append(struct rig *g, const struct kt_record *r, struct kt_buf *b);
/* The model's next record: to the store and to the model. */
int do_op(struct rig *g, struct model *m, struct kt_record r, uint64_t stamp);
int do_write(struct rig *g, struct model *m, uint32_t extent, uint32_t sector);
int do_save_whole(struct rig *g, uint64_t chain, uint64_t promised,
                  const struct kt_id *whole);
int do_save(struct rig *g, uint64_t chain, uint64_t promised,
            const struct kt_cfg *cfg);
int do_sync(struct rig *g, uint64_t chain, uint64_t *ret_durable);
int do_drop(struct rig *g, uint64_t chain);
/* Reads one sector: its stamp, 0 when absent; fails the test on wrong bytes.
 * ret_err gets the store's error. */
uint64_t do_read(struct rig *g, uint64_t chain, uint32_t extent,
                 uint32_t sector, int *ret_err);
struct store_chain *make_chain(struct rig *g, struct model *m, uint64_t id);
/* A store of that many slots with one chain: extent 0 in slot 0, its first
 * sectors written and applied; closed. */
void make_applied(struct rig *g, struct model *m, uint64_t slots, uint64_t id,
                  uint32_t sectors);
/* Everything the store says of the chain is what the model says. */
void check_chain(struct rig *g, const struct model *m);

/* The cases every implementation passes (store_cases.c). */
int store_cases(void);

#endif
