/* SPDX-License-Identifier: BSD-3-Clause */
/* The kinds of operations, and lists of them, for both implementations. */
#ifndef KT_STORE_OPS_H
#define KT_STORE_OPS_H

#include "replicator/store/store.h"

enum store_kind {
    STORE_SAVE = 1,
    STORE_APPEND,
    STORE_SYNC,
    STORE_READ,
    STORE_SUMS,
    STORE_DIGEST,
    STORE_LOG_READ,
    STORE_DROP,
    STORE_MEND,
};

/* Every operation begins with its store_op, then its chain. */
static inline struct store_chain *store_op_chain(const struct store_op *op)
{
    const struct store_save *r = (const void *)op;
    _Static_assert(offsetof(struct store_save, chain) ==
                       offsetof(struct store_append, chain),
                   "op, then chain");
    _Static_assert(offsetof(struct store_save, chain) ==
                       offsetof(struct store_sync, chain),
                   "op, then chain");
    _Static_assert(offsetof(struct store_save, chain) ==
                       offsetof(struct store_drop, chain),
                   "op, then chain");
    return r->chain;
}

struct store_queue {
    struct store_op *first, **last;
};

static inline void store_queue_init(struct store_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

static inline void store_queue_push(struct store_queue *q, struct store_op *op)
{
    op->next = NULL;
    *q->last = op;
    q->last = &op->next;
}

static inline struct store_op *store_queue_pop(struct store_queue *q)
{
    struct store_op *op = q->first;
    if (op && !(q->first = op->next))
        q->last = &q->first;
    return op;
}

/* Takes one op out of the middle. */
static inline void store_queue_take(struct store_queue *q, struct store_op *op)
{
    struct store_op **at = &q->first;
    while (*at != op)
        at = &(*at)->next;
    if (!(*at = op->next))
        q->last = at;
}

#endif
