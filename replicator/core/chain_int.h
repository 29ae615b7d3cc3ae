/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the core share. Not for shells. */
#ifndef KT_CORE_CHAIN_INT_H
#define KT_CORE_CHAIN_INT_H

#include "lib/base/rule.h"
#include "replicator/core/chain.h"

/* Tags of appends that are no step of the history. */
#define CHAIN_TAG_LOCAL (1ull << 63)

/* So many records behind, dst may be taken in at once. */
#define CHAIN_CLOSE_BEHIND 64u
/* What a record on its way to dst counts for. */
#define CHAIN_FEED_COST(buf) (256u + ((buf) ? (buf)->data_len : 0u))

struct chain_act *chain_act(struct chain_out *out, enum chain_act_type type);
/* A message of this chain at cfg.epoch. */
struct kt_msg *chain_msg(struct chain *c, struct chain_out *out,
                         enum chain_act_type type, enum kt_type msg);
struct kt_msg *chain_reply(struct chain *c, struct chain_out *out,
                           const struct chain_event *ev, enum kt_type msg);
void chain_nak(struct chain *c, struct chain_out *out,
               const struct chain_event *ev, int err);
/* True while bulk work may still add actions. */
bool chain_room(struct chain_out *out);

static inline bool chain_is_tail(const struct chain *c)
{
    return c->role == CHAIN_MEMBER && c->me + 1 == c->n_serving;
}

static inline bool chain_bit(const uint8_t *map, uint32_t i)
{
    return map[i / 8] >> (i % 8) & 1;
}

/* Head, middle or tail of an epoch that runs. */
static inline bool chain_serves(const struct chain *c)
{
    return c->phase == CHAIN_ACTIVE && c->role == CHAIN_MEMBER;
}

static inline struct chain_entry *chain_entry(struct chain *c, uint64_t seq)
{
    return &c->ring[seq % CHAIN_RING];
}

/* chain_table.c */
/* A message, as the table has it: handled, refused or ignored. */
void chain_hear(struct chain *c, const struct chain_event *ev,
                struct chain_out *out);
/* 0, or why a client's message of this epoch is refused (I2). */
int chain_gate(const struct chain *c, uint64_t epoch);
/* The only place that changes phase and role. */
void chain_move(struct chain *c, enum chain_phase phase, enum chain_role role);

/* chain_check.c */
/* What a step may only change in certain ways. */
struct chain_was {
    uint8_t phase;
    bool serves;
    uint64_t epoch, promised, acked;
    struct kt_rid received, applied;
};
struct chain_was chain_was(const struct chain *c);
void chain_check_step(const struct chain *c, const struct chain_was *was,
                      const struct chain_event *ev);

/* chain_data.c */
void chain_on_write(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out);
void chain_on_read(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out);
void chain_on_digest_get(struct chain *c, const struct chain_event *ev,
                         struct chain_out *out);
void chain_on_flush(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out);
void chain_flush_pump(struct chain *c, struct chain_out *out);
/* Takes a record of the history in: received, dedup, alloc, log. */
void chain_take(struct chain *c, struct chain_out *out,
                const struct kt_record *rec, struct kt_buf *buf, bool hold);
void chain_ask_credit(const struct chain *c, struct chain_out *out);
void chain_on_credit(struct chain *c, const struct chain_event *ev);
uint64_t chain_ticket(struct chain *c);

/* chain_relay.c */
/* True when the FLUSH is another member's: passed on, or refused. */
bool chain_relay(struct chain *c, const struct chain_event *ev,
                 struct chain_out *out);
void chain_on_flush_ok(struct chain *c, const struct chain_event *ev,
                       struct chain_out *out);
void chain_relay_nak(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out);
/* Those asked for on conn; 0: all. */
void chain_relay_forget(struct chain *c, uint64_t conn);

/* chain_hop.c */
void chain_on_fwd(struct chain *c, const struct chain_event *ev,
                  struct chain_out *out);
void chain_on_ackc(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out);
void chain_on_resume(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out);
void chain_on_resume_ok(struct chain *c, const struct chain_event *ev,
                        struct chain_out *out);
void chain_on_nak(struct chain *c, const struct chain_event *ev,
                  struct chain_out *out);
void chain_on_link(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out);
void chain_hop_tick(struct chain *c, struct chain_out *out);
void chain_hop_pump(struct chain *c, struct chain_out *out);
void chain_hop_activate(struct chain *c, struct chain_out *out);

/* chain_epoch.c */
void chain_on_seal(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out);
void chain_on_eq(struct chain *c, const struct chain_event *ev,
                 struct chain_out *out);
void chain_on_eqdata(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out);
void chain_on_pushed(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out);
void chain_on_activate(struct chain *c, const struct chain_event *ev,
                       struct chain_out *out);
/* promised and whole, and cfg unless NULL, are to be durable. */
void chain_save(struct chain *c, struct chain_out *out, uint64_t promised,
                const struct kt_cfg *cfg);
/* The copy will not be a prefix any more. True when that is durable. */
bool chain_unwhole(struct chain *c, struct chain_out *out);
void chain_epoch_pump(struct chain *c, struct chain_out *out);
void chain_drop_ring(struct chain *c, struct chain_out *out);

/* chain_log.c */
/* Dst said where its history ends: what follows comes from the log. */
void chain_log_begin(struct chain *c, const struct kt_msg *at,
                     struct chain_out *out);
void chain_log_read(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out);
void chain_log_pump(struct chain *c, struct chain_out *out);
/* The feed has grown too long for memory: on from the log. */
bool chain_log_again(struct chain *c);

/* chain_pace.c */
void chain_pace_start(struct chain *c);
void chain_pace_pump(struct chain *c, struct chain_out *out);
/* True when something may be read for dst now; then what it was. */
bool chain_pace_may(struct chain *c);
void chain_pace_spent(struct chain *c, uint64_t bytes);
/* How far acked may go, lest dst never catches up. */
uint64_t chain_pace_limit(const struct chain *c);
/* How many records behind is close enough to end. */
uint64_t chain_pace_close(const struct chain *c);

/* chain_src.c */
void chain_src_start(struct chain *c, struct chain_out *out);
/* True when every new record goes to dst at once. */
bool chain_src_is_live(const struct chain *c);
/* How far the resync lets acked go: what lies beyond is still needed. */
uint64_t chain_src_limit(const struct chain *c);
void chain_src_stop(struct chain *c);
void chain_src_msg(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out);
void chain_src_done(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out);
void chain_src_fail(struct chain *c, struct chain_out *out, int err);
void chain_src_restart(struct chain *c, struct chain_out *out);
void chain_src_acked(struct chain *c, uint64_t upto);
/* One record to dst, in the stream. */
void chain_src_feed(struct chain *c, struct chain_out *out,
                    const struct chain_entry *e);
void chain_src_pump(struct chain *c, struct chain_out *out);

/* chain_dst.c */
/* SYNC_START: from our source, or from one that was activated before us. */
void chain_dst_start(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out);
void chain_dst_early(struct chain *c, const struct chain_event *ev,
                     struct chain_out *out);
void chain_dst_msg(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out);
void chain_dst_fwd(struct chain *c, const struct chain_event *ev,
                   struct chain_out *out);
void chain_dst_sums(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out);
bool chain_dst_is_reset(uint64_t tag);
/* Records that were refused have left traces in alloc: read it anew. */
void chain_dst_recount(struct chain *c, struct chain_out *out);
void chain_dst_tick(struct chain *c, struct chain_out *out);
void chain_dst_rows(struct chain *c, const struct chain_event *ev,
                    struct chain_out *out);
void chain_dst_appended(struct chain *c, const struct chain_event *ev,
                        struct chain_out *out);
void chain_dst_fail(struct chain *c, struct chain_out *out, int err);
void chain_dst_pump(struct chain *c, struct chain_out *out);

#endif
