/* SPDX-License-Identifier: BSD-3-Clause */
/* What the verifier did to each block of 4 KiB and what it saw, judged by the
 * same checker as the simulator's histories.
 *
 * Every write has an id that is never used again and stands in each 512 bytes
 * it wrote. Zeros have none: nothing else of ours is under way on a block while
 * it is zeroed, so a block of zeros was left by the last zeroing that was
 * answered. One without an answer leaves its blocks owed: they stay taken until
 * a stamped write to them was answered.
 *
 * A block's history is judged and dropped whenever it is quiet and a read tells
 * what it holds, so that a run may go on for hours. */
#ifndef KT_TESTS_CHAOS_HIST_H
#define KT_TESTS_CHAOS_HIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_BYTES 4096u
#define SPAN_MAX 256u      /* blocks of one request */
#define SESSIONS_MAX 4096u /* attachments of one run */

enum op_kind { OP_READ, OP_WRITE, OP_ZERO };
enum op_end {
    END_OK,
    END_UNKNOWN, /* it happened or not, until its session is fenced */
    END_NOSPC    /* parts of it happened, others never will */
};

struct op {
    uint8_t kind; /* enum op_kind */
    bool repair;  /* a write to a block that is owed one */
    uint32_t first, n;
    uint32_t session;
    uint64_t id, s;
};

struct hist_sums {
    uint64_t reads, writes, zeros, unknown, refused;
    uint64_t lost, stale, corrupt, fence;
};

uint64_t mono_ns(void); /* CLOCK_MONOTONIC */

int hist_init(uint32_t blocks, uint64_t volume);
void hist_release(void);

/* Takes the blocks of o and gives it its id and start, or false: some are in
 * use in a way that excludes it. */
bool hist_begin(struct op *o);

/* The bytes that o writes. */
void hist_stamp(const struct op *o, uint8_t *buf);

/* o has ended; buf is what a read returned. */
void hist_end(const struct op *o, enum op_end how, const uint8_t *buf);

/* The session can do nothing any more that was not done before now. */
void hist_fence(uint32_t session);

/* A block that is owed a write, taken for it: true with *ret_o filled in. */
bool hist_owed(struct op *ret_o);

/* Judges what has not been judged yet. */
void hist_finish(void);
struct hist_sums hist_sums(void);

#endif
