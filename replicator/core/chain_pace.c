/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast a resync may go, and how slow.
 *
 * Not too fast: what is read for a copy or from the log is paid for from a
 * bucket. It fills at the rate the shell asks for, or by itself: a little
 * faster each tick, half as fast when acknowledgements of our own log take
 * longer than they did.
 *
 * Not too slow: towards the end the target may keep falling behind as fast as
 * it catches up, for ever. When it has come no closer for a while,
 * acknowledgements are held back so that its lag has to shrink, evenly, to
 * nothing (B8). A target that takes nothing meanwhile is given up: nobody waits
 * for the dead. */
#include <errno.h>

#include "replicator/core/chain_int.h"

#define RATE_MIN (4ull << 20)
#define RATE_START (64ull << 20)
#define RATE_STEP (8ull << 20) /* each tick */
#define RATE_MAX (4ull << 30)
#define BURST_MIN (1 << 20)
#define TICK_MS 100u
#define QUICK_MS 10u /* before anything was measured */
#define SLACK_MS 4u  /* of a latency: what is no sign of anything */

#define WATCH_MS 3000u /* to come closer in */
#define BRAKE_MS 10000u
#define STUCK_MS 1000u

void chain_pace_start(struct chain *c)
{
    struct chain_pace *p = &c->pace;
    if (!p->rate) {
        p->rate = RATE_START;
        p->quick_ms = QUICK_MS;
    }
    p->tokens = BURST_MIN;
    p->ms = p->step_ms = c->now_ms;
    p->mark_seq = 0;
    p->watch_ms = p->brake_ms = 0;
}

/* ---- not too fast ---- */

static uint64_t rate_of(const struct chain *c)
{
    return c->resync_rate ? c->resync_rate : c->pace.rate;
}

bool chain_pace_may(struct chain *c)
{
    struct chain_pace *p = &c->pace;
    uint64_t rate = rate_of(c), ms = c->now_ms - p->ms;
    int64_t burst = (int64_t)kt_max_u64(rate / 8, BURST_MIN);
    p->ms = c->now_ms;
    /* More than a second of it is more than any burst. */
    p->tokens += (int64_t)(rate * kt_min_u64(ms, 1000) / 1000);
    if (p->tokens > burst)
        p->tokens = burst;
    /* Who is waited for is not slowed down. */
    return p->tokens > 0 || p->brake_ms;
}

void chain_pace_spent(struct chain *c, uint64_t bytes)
{
    c->pace.tokens -= (int64_t)bytes;
}

static bool is_slow(struct chain_pace *p, uint64_t ms)
{
    return ms > 2 * p->quick_ms + SLACK_MS;
}

static void time_acks(struct chain *c)
{
    struct chain_pace *p = &c->pace;
    if (p->mark_seq && c->acked >= p->mark_seq) {
        uint64_t ms = c->now_ms - p->mark_ms;
        p->slow = p->slow || is_slow(p, ms);
        p->quick_ms = kt_min_u64(p->quick_ms, ms);
        p->mark_seq = 0;
    }
    if (!p->mark_seq && c->received.seq > c->acked) {
        p->mark_seq = c->received.seq;
        p->mark_ms = c->now_ms;
    }
}

static void adapt(struct chain *c)
{
    struct chain_pace *p = &c->pace;
    if (c->now_ms - p->step_ms < TICK_MS)
        return;
    p->step_ms = c->now_ms;
    bool late = p->mark_seq && is_slow(p, c->now_ms - p->mark_ms);
    if ((p->slow || late) && !p->brake_ms)
        p->rate = kt_max_u64(p->rate / 2, RATE_MIN);
    else
        p->rate = kt_min_u64(p->rate + RATE_STEP, RATE_MAX);
    /* Times change: what was quick once may never be again. */
    if (p->slow && ++p->n_slow % 32 == 0)
        p->quick_ms += 1 + p->quick_ms / 8;
    p->slow = false;
}

/* ---- not too slow ---- */

static bool near_the_end(const struct chain *c)
{
    const struct chain_src *s = &c->src;
    return s->state == CHAIN_SYNC_LOG || s->state == CHAIN_SYNC_TAIL ||
           (s->state == CHAIN_SYNC_COPY && s->n_queued == 0 && !s->copying);
}

static void watch(struct chain *c, struct chain_out *out)
{
    struct chain_pace *p = &c->pace;
    const struct chain_src *s = &c->src;
    uint64_t lag = c->received.seq - s->dst_acked;
    if (s->dst_acked != p->moved) {
        p->moved = s->dst_acked;
        p->moved_ms = c->now_ms;
    }
    if (!near_the_end(c)) {
        p->watch_ms = p->brake_ms = 0;
    } else if (p->brake_ms) {
        if (lag > 0 && c->now_ms - p->moved_ms >= STUCK_MS)
            chain_src_fail(c, out, -ETIMEDOUT);
    } else if (!p->watch_ms) {
        p->watch_ms = c->now_ms;
        p->lag = lag;
    } else if (c->now_ms - p->watch_ms >= WATCH_MS) {
        if (lag > CHAIN_CLOSE_BEHIND && lag >= p->lag - p->lag / 8) {
            KT_REACH(brake);
            p->brake_ms = p->moved_ms = c->now_ms;
            c->n_brake++;
        }
        p->watch_ms = c->now_ms;
        p->lag = lag;
    }
}

uint64_t chain_pace_limit(const struct chain *c)
{
    const struct chain_pace *p = &c->pace;
    if (!p->brake_ms || !near_the_end(c))
        return UINT64_MAX;
    uint64_t ms = kt_min_u64(c->now_ms - p->brake_ms, BRAKE_MS);
    return c->src.dst_acked + p->lag * (BRAKE_MS - ms) / BRAKE_MS;
}

uint64_t chain_pace_close(const struct chain *c)
{
    /* With the brake on no more than that can be missing. */
    return c->pace.brake_ms ? CHAIN_INFLIGHT_MAX : CHAIN_CLOSE_BEHIND;
}

void chain_pace_pump(struct chain *c, struct chain_out *out)
{
    if (c->src.state == CHAIN_SYNC_OFF)
        return;
    time_acks(c);
    adapt(c);
    watch(c, out);
}
