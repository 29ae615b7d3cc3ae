/* SPDX-License-Identifier: BSD-3-Clause */
/* One chain core and a person who plays everybody else: the other members, the
 * client, the hub and the store. What the core asks for is queued and taken
 * one by one, in the order it was asked; what is not taken at the end of a
 * test is forgotten.
 *
 * The core is member `me` ('A', 'B', 'C' ...) of a chain of those letters.
 * Connections have numbers: PRED, SUCC, CLIENT, HUB, SYNC. */
#ifndef KT_TESTS_UNIT_CHAIN_TALK_H
#define KT_TESTS_UNIT_CHAIN_TALK_H

#include "tests/unit/unit.h"

#include "replicator/core/chain.h"

enum { PRED = 1, SUCC, CLIENT, HUB, SYNC };

#define TALK_CHAIN 7u
#define TALK_TOKEN 5u
#define TALK_EXTENTS 4u
#define TALK_QUEUE 4096u

struct talk {
    struct chain c;
    struct kt_cfg cfg; /* last activated */
    char me;
    uint64_t now;
    struct chain_act queue[TALK_QUEUE];
    unsigned n;
    /* The store: how much of the log is there and durable. */
    uint64_t appended, durable;
    bool lazy; /* appends, syncs and saves wait until told */
};

/* A store with an empty chain. */
void talk_new(struct talk *t, char me);
/* One that holds records up to seq 1..n of epoch 1 and configuration cfg. */
void talk_restart(struct talk *t, char me, uint64_t incarnation,
                  struct kt_rid applied, const struct kt_cfg *cfg);
void talk_end(struct talk *t);

/* The configuration of epoch with these members SERVING, in this order; a
 * letter after '+' is SYNCING; small letters wait. */
struct kt_cfg talk_cfg(uint64_t epoch, const char *members);
/* SEAL and ACTIVATE of it, with all answers; credits are plenty. */
void talk_activate(struct talk *t, uint64_t epoch, const char *members);
/* The same, the link to the successor up and RESUME answered with what the
 * core has itself. */
void talk_serve(struct talk *t, uint64_t epoch, const char *members);

/* ---- what others say ---- */
void say(struct talk *t, unsigned conn, char from, struct kt_msg *m);
void say_write(struct talk *t, uint64_t wseq, uint64_t sector, int value);
void say_fwd(struct talk *t, uint64_t seq, uint64_t prev_seq);
void say_fwd_on(struct talk *t, unsigned conn, uint64_t seq, uint64_t prev_seq);
void say_ackc(struct talk *t, uint64_t upto);
void say_seal(struct talk *t, uint64_t epoch);
void say_link(struct talk *t, char to, uint8_t cls, bool up);
void say_event(struct talk *t, struct chain_event *ev);
void tick(struct talk *t, uint64_t ms);

/* ---- what the store does, when lazy ---- */
void appended(struct talk *t, int err); /* the oldest append */
void synced(struct talk *t, int err);
void saved(struct talk *t, int err);

/* ---- what the core asked for ---- */
/* The oldest action of that type, taken; NULL when there is none. */
struct chain_act *take(struct talk *t, enum chain_act_type type);
/* The oldest message of that type, taken, wherever it goes; it must be there.
 */
struct kt_msg *heard(struct talk *t, enum kt_type type);
void quiet(struct talk *t, enum kt_type type); /* no such message */
/* The highest seq of all ACKC said so far, which are taken; 0 for none. */
uint64_t acks_up(struct talk *t);
void nothing(struct talk *t, enum chain_act_type type);

struct kt_buf *talk_sectors(unsigned n, int value);
struct kt_id talk_store(char who);
struct kt_msg talk_msg(struct talk *t, enum kt_type type);

#endif
