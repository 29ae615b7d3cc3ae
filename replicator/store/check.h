/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking through a store that nobody has open. */
#ifndef KT_STORE_CHECK_H
#define KT_STORE_CHECK_H

#include "lib/base/id.h"
#include "lib/base/kt.h"

enum store_part {
    STORE_PART_SUPER,
    STORE_PART_INDEX,
    STORE_PART_LOG,
    STORE_PART_SLOTS, /* of an extent: the files end, sums cannot be read */
    STORE_PART_SECTOR,
};

/* Something that is damaged. chain, extent, sector, file and off are set for
 * slots and sectors; text is a sentence for people, of whoever called. */
struct store_problem {
    enum store_part part;
    uint64_t chain;
    uint32_t extent, sector;
    char file[32]; /* the slot file of the sector's bytes */
    uint64_t off;  /* where in it */
    const char *text;
};

struct store_check {
    /* asked */
    void (*problem)(void *arg, const struct store_problem *p); /* or NULL */
    void *arg;
    struct kt_id boot; /* as in store_opts; zero: of any */
    /* found */
    struct kt_id uuid, node;
    uint32_t format;
    uint64_t incarnation;
    bool clean;      /* it was closed */
    bool index_read; /* so the numbers below mean something */
    bool log_read;
    uint64_t segments, records, fresh; /* fresh: not in the slots yet */
    uint64_t end_lsn;                  /* of the log's last record */
    uint64_t chains, extents, slots, slots_used;
    uint64_t sectors;  /* of slots, held against their sums */
    uint64_t problems; /* so often was problem called */
};

/* Reads all of the store in dir and changes nothing in it. 0 when it was looked
 * through, with what was found in c; or -EBUSY (a process has it open), -ENOENT
 * (none there), KT_E_PROTO (another format), -EACCES, -ENOMEM, ... with a
 * sentence in ret_why. Blocking: reads every used sector. */
int store_check(const char *dir, struct store_check *c, char *ret_why,
                size_t why_size) KT_MUST_CHECK;

#endif
