/* SPDX-License-Identifier: BSD-3-Clause */
/* A store that nobody has open, read and never changed: what is left of it,
 * however damaged it is. For getting data out when there is no cluster. */
#ifndef KT_STORE_LOOK_H
#define KT_STORE_LOOK_H

#include "lib/wire/cfg.h"
#include "lib/wire/record.h"

struct look;

/* What could not be used. text: sentences for people, or "". */
struct look_info {
    struct kt_id uuid;
    bool super_lost; /* both: what they said was found out otherwise */
    bool index_lost; /* so its slots cannot be told apart */
    bool log_cut;    /* a record in its middle is damaged */
    bool unknown;    /* and of one nobody can say whose it was; known only
                        after look_records */
    char text[512];
};

/* Opens dir by reading only; a replicator cannot open it meanwhile. 0; or
 * -EBUSY (a process has it open), -ENOENT (no store there), KT_E_PROTO (another
 * format), -ENOMEM, ... with a sentence in ret_why. Blocking, as all here. */
int look_open(const char *dir, struct look **ret_l, char *ret_why,
              size_t why_size) KT_MUST_CHECK;
void look_free(struct look *l);
const struct look_info *look_info(const struct look *l);

/* ---- copies ---- */

/* One segment's copy, as far as index and log could be read. */
struct look_chain {
    uint64_t chain;
    uint32_t n_extents;
    bool whole;               /* a prefix of its configuration's history */
    const struct kt_cfg *cfg; /* the last one it saved, or NULL */
    struct kt_rid applied;    /* last record in it */
};
uint32_t look_chains(const struct look *l);
void look_chain(const struct look *l, uint32_t i, struct look_chain *ret_c);

struct look_extent {
    struct kt_rid id; /* of the last record that changed it; {0,0}: never */
    bool partial;     /* its base was being copied */
};
void look_extent(const struct look *l, uint64_t chain, uint32_t extent,
                 struct look_extent *ret_e);

enum look_state {
    LOOK_ABSENT, /* reads as zeros */
    LOOK_GOOD,
    LOOK_BAD, /* its bytes do not match its sum */
};
struct look_sector {
    enum look_state state;
    uint64_t want; /* the sum written down; 0: none, or not readable */
    uint64_t is;   /* of the bytes; 0: not readable */
};
/* Sectors [first, first + n) of an extent; data: n sectors, of absent ones
 * zeros, of bad ones what is there. n is at most LOOK_SECTORS_MAX. */
#define LOOK_SECTORS_MAX 64u
void look_sectors(struct look *l, uint64_t chain, uint32_t extent,
                  uint32_t first, uint32_t n, struct look_sector *ret_s,
                  uint8_t *ret_data);

/* ---- records ---- */

struct look_rec {
    uint64_t chain;
    struct kt_rid id, prev;
    uint64_t lsn, incarnation;
    uint64_t seg, sums_sum;
    uint32_t at, n_sums; /* where in the segment */
    uint32_t extent, off, len;
    uint8_t op, flags;
    bool broken; /* some of its payload is damaged */
    bool ahead;  /* behind the damage: not in what the functions above tell */
};
/* Every record of the log that says what it is, by lsn; those of local
 * operations too.
 * Ownership: the list is l's. 0 or -errno. */
int look_records(struct look *l, const struct look_rec **ret_r,
                 uint32_t *ret_n) KT_MUST_CHECK;
/* Sector k of its extent as a record has it, which is to cover it. LOOK_BAD
 * when that cannot be read any more. */
enum look_state look_payload(struct look *l, const struct look_rec *r,
                             uint32_t k, uint8_t ret[KT_SECTOR_BYTES]);

#endif
