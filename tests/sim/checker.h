/* SPDX-License-Identifier: BSD-3-Clause */
/* Is the history of one sector that of a linearizable register?
 *
 * Every write has an id of its own, so a read tells which write it saw; that
 * makes the question answerable in O(n log n) (Gibbons and Korach's zones).
 * Times are any strictly increasing stamps: s taken before an operation was
 * given away, f after its result was known. */
#ifndef KT_TESTS_SIM_CHECKER_H
#define KT_TESTS_SIM_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_NEVER UINT64_MAX /* f of what may take effect at any time */

enum check_kind { CHECK_READ, CHECK_WRITE };

struct check_op {
    uint8_t kind; /* enum check_kind */
    /* A write of unknown outcome: it happened or it did not. f is when it
     * can no longer happen (its session was fenced), or CHECK_NEVER. */
    bool optional;
    /* A write that was refused: it did not happen, and nobody may see it. */
    bool refused;
    uint64_t id; /* of the write; of the write a read saw */
    uint64_t s, f;
};

/* Reads that failed are left out by the caller; writes may come in any order
 * and each id once. initial is the id of what was there at first, and may be
 * 0; a write with that id must not be among the ops. NULL, or the reason, with
 * the two ids it concerns in ret_ids. */
const char *check_register(const struct check_op *ops, size_t n,
                           uint64_t initial, uint64_t ret_ids[2]);

#endif
