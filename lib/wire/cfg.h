/* SPDX-License-Identifier: BSD-3-Clause */
/* A chain's configuration, as the hub commits it and everybody caches it. */
#ifndef KT_WIRE_CFG_H
#define KT_WIRE_CFG_H

#include "lib/base/id.h"
#include "lib/base/kt.h"
#include "lib/base/text.h"

enum kt_phase { KT_PHASE_PREPARE = 1, KT_PHASE_ACTIVE = 2 };

enum kt_member_state {
    KT_M_WAITING = 1,
    KT_M_SYNCING,
    KT_M_SERVING,
    KT_M_OFFLINE,
    KT_M_FAULTY,
    KT_M_LAST,
    KT_M_QUARANTINED,
    KT_M_RELEASED,
};
/* "serving" etc.; "?" for anything else. Static storage. */
const char *kt_member_state_name(unsigned state);

enum kt_durability { KT_DURABILITY_FLUSH = 0, KT_DURABILITY_SYNC = 1 };
enum kt_mode { KT_MODE_SINGLE = 0, KT_MODE_SHARED = 1 };

/* Where a node is. An address of kind KT_ADDR_NONE is absent. The unix path
 * is used only by peers whose boot id equals this one (C4). */
struct kt_node {
    struct kt_id id;
    struct kt_id boot;
    char name[KT_NAME_MAX + 1];
    struct kt_addr tcp;
    struct kt_addr unix_;
};

struct kt_member {
    struct kt_id store;   /* identity of the copy */
    uint64_t incarnation; /* of the store, when sealed for this epoch */
    uint8_t state;        /* enum kt_member_state */
    struct kt_node node;
};

struct kt_last {
    struct kt_id store;
    uint64_t incarnation;
};

/* members[]: chain order; SERVING first (0 is the head), then at most one
 * SYNCING, then the others, which the hub only lists for people. */
struct kt_cfg {
    uint64_t chain;
    struct kt_id volume;
    uint32_t seg;          /* segment number within the volume */
    uint64_t first_extent; /* of the volume */
    uint32_t n_extents;    /* 1..KT_SEGMENT_EXTENTS_MAX */
    uint64_t epoch;
    uint8_t phase; /* enum kt_phase */
    struct kt_id history;
    uint64_t vgen;
    struct kt_id client; /* the writer; zero = none */
    uint64_t token;      /* of its attachment; grows per volume; 0 = none */
    /* Every token given out when this was committed is below; 0: not told. */
    uint64_t next_token;
    uint8_t want_r, min_write;
    uint8_t durability; /* enum kt_durability */
    uint8_t mode;       /* enum kt_mode */
    uint32_t gen;       /* snapshot generation; 0 so far */
    uint8_t n_members;
    struct kt_member members[KT_MEMBERS_MAX];
    /* The SERVING set of the last ACTIVE configuration. */
    uint64_t last_epoch;
    /* Seq of the last record its members began this epoch with: everything up
     * to here survived, durably, whatever vgen says. 0 also: not told. */
    uint64_t base_seq;
    uint8_t n_last;
    struct kt_last last[KT_MEMBERS_MAX];
};

/* NULL, or the reason why this cannot be a configuration. Pure. */
const char *kt_cfg_invalid(const struct kt_cfg *c);

/* How many members SERVE (they stand first). Pure. */
unsigned kt_cfg_serving(const struct kt_cfg *c);
/* Index of the member with this store, or -1. Pure. */
int kt_cfg_find(const struct kt_cfg *c, const struct kt_id *store);
/* Index of the SYNCING member, or -1. Pure. */
int kt_cfg_syncing(const struct kt_cfg *c);

#define KT_CFG_BYTES_MAX 4096
/* One codec for NAK, ACK, control messages, the hub's store and the
 * replicators' (B14). Byte table in cfg.c; ends with an XXH3-64 of the rest.
 * encode: asserts kt_cfg_invalid() == NULL, returns the length.
 * decode: 0 or KT_E_CORRUPT / KT_E_PROTO; ret_c written only on success. */
size_t kt_cfg_encode(const struct kt_cfg *c, uint8_t ret[KT_CFG_BYTES_MAX]);
int kt_cfg_decode(const uint8_t *b, size_t len,
                  struct kt_cfg *ret_c) KT_MUST_CHECK;

#endif
