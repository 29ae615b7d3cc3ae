/* SPDX-License-Identifier: BSD-3-Clause */
/* What look.c and look_log.c share. */
#ifndef KT_STORE_LOOK_INT_H
#define KT_STORE_LOOK_INT_H

#include "replicator/store/disk.h"
#include "replicator/store/look.h"

struct look {
    struct store *s;
    struct look_info info;
    uint64_t durable_lsn; /* up to which nothing can have been torn */
    uint64_t end_lsn;     /* of what the chains hold; 0: they hold nothing */
    uint32_t sums_slot;   /* whose sums these are, or SLOT_NONE */
    uint64_t sums[KT_EXTENT_SECTORS];
    struct look_rec *recs;
    uint32_t n_recs, cap_recs;
    bool have_recs;
};

#endif
