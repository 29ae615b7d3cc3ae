/* SPDX-License-Identifier: BSD-3-Clause */
/* An engine with scripted members around it, for the engine's conversations.
 * Nodes are numbered 1..5; node n has node id, store id {n, 0...}. */
#ifndef KT_TESTS_UNIT_ENGINE_RIG_H
#define KT_TESTS_UNIT_ENGINE_RIG_H

#include "tests/unit/unit.h"

#include "lib/base/sum.h"
#include "lib/client/engine.h"

#define RIG_SENDS_MAX 8192
#define RIG_NODES 6
#define RIG_TOKEN 7u
#define RIG_CHAIN 100u /* chain id of segment 0; the others follow */

struct rig_send {
    uint32_t node;
    bool taken;
    struct kt_msg m; /* buf is NULL: see data */
    uint8_t *data;   /* copy of the payload */
    uint32_t data_len;
};

struct rig {
    struct engine_opts o;
    struct engine *e;
    uint64_t now;
    struct engine_out out;
    struct rig_send sends[RIG_SENDS_MAX];
    uint32_t n_sends;
    uint32_t slot_of[RIG_NODES]; /* by node; UINT32_MAX = no link wanted */
    uint32_t node_of[ENGINE_NODES_MAX];
    uint32_t completed, stalls, resumes, replays, resets, fenced, disconnects;
    uint32_t settled;
    uint64_t lost_chain;   /* 0: nothing is lost */
    struct kt_cfg cfg[16]; /* what was last said of each segment */
    struct engine_req reqs[2048];
    bool done[2048];
    uint32_t n_reqs;
};

/* o: zeros take defaults: 64 MiB in one segment. */
struct rig *rig_new(const struct engine_opts *o);
void rig_free(struct rig *r);
/* rig_new, cfg of segment 0 at epoch 1 with nodes "123", links up. */
struct rig *rig_ready(void);

/* A configuration whose SERVING members are the digits of nodes. */
struct kt_cfg rig_make_cfg(struct rig *r, uint32_t seg, uint64_t epoch,
                           uint64_t vgen, const char *nodes);
/* The same, and the hub pushes it. */
void rig_cfg(struct rig *r, uint32_t seg, uint64_t epoch, uint64_t vgen,
             const char *nodes);
void rig_up(struct rig *r, uint32_t node);
void rig_down(struct rig *r, uint32_t node);
void rig_event(struct rig *r, uint8_t type);
/* Ticks every 100 ms until ms have passed. */
void rig_wait(struct rig *r, uint64_t ms);

/* WRITE: len bytes of value; READ: a buffer of len bytes of 0xee. */
struct engine_req *rig_submit(struct rig *r, uint8_t op, uint64_t off,
                              uint64_t len, int value);
struct engine_req *rig_submit_flags(struct rig *r, uint8_t op, uint64_t off,
                                    uint64_t len, int value, uint8_t flags);
void rig_cancel(struct rig *r, struct engine_req *q);
bool rig_done(struct rig *r, const struct engine_req *q);
/* Completed, with err. */
void rig_assert_done(struct rig *r, const struct engine_req *q, int err);

/* The oldest message of the type not taken yet, or NULL. */
struct rig_send *rig_take(struct rig *r, uint8_t type);
/* The same, which must be there and go to node. */
struct rig_send *rig_expect(struct rig *r, uint8_t type, uint32_t node);
/* How many of a type wait to be taken. */
uint32_t rig_count(struct rig *r, uint8_t type);
void rig_forget(struct rig *r); /* takes all */

/* Answers to s. */
void rig_answer(struct rig *r, const struct rig_send *s, struct kt_msg *m,
                int err);
struct kt_msg rig_reply(struct rig *r, const struct rig_send *s, uint8_t type);
void rig_ack(struct rig *r, const struct rig_send *s, uint64_t seq);
void rig_nak(struct rig *r, const struct rig_send *s, int err);
void rig_nak_cfg(struct rig *r, const struct rig_send *s, int err,
                 const struct kt_cfg *cfg);
/* Every sector full of value; value < 0: absent. */
void rig_data(struct rig *r, const struct rig_send *s, int value);
void rig_flush_ok(struct rig *r, const struct rig_send *s);
/* Acks all WRITEs not taken yet, seq counting on from *seq. */
void rig_ack_all(struct rig *r, uint64_t *seq);

#endif
