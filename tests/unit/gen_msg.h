/* SPDX-License-Identifier: BSD-3-Clause */
/* Random but valid messages and configurations, from a seed. */
#ifndef KT_TESTS_UNIT_GEN_MSG_H
#define KT_TESTS_UNIT_GEN_MSG_H

#include "lib/wire/msg.h"

struct gen {
    uint64_t s;
};

uint64_t gen_u64(struct gen *g);
/* 0..n-1 */
uint32_t gen_below(struct gen *g, uint32_t n);
void gen_id(struct gen *g, struct kt_id *ret_id);
void gen_cfg(struct gen *g, struct kt_cfg *ret_c);

/* A message of that type (not ADMIN). What it points to lies in room. The
 * caller drops ret_m->buf. */
void gen_msg(struct gen *g, uint8_t type, struct kt_msg_room *room,
             struct kt_msg *ret_m);
/* The message types gen_msg knows. */
bool gen_knows(unsigned type);

/* A buffer of n sums, each sector present with chance 3/4 or always. */
struct kt_buf *gen_sectors(struct gen *g, uint32_t n, bool all);

/* A whole frame in malloc'ed memory; its length in *ret_len. */
uint8_t *gen_frame(const struct kt_msg *m, size_t *ret_len);

#endif
