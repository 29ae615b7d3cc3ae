/* SPDX-License-Identifier: BSD-3-Clause */
/* The two copies of a store's superblock, super.a and super.b. */
#ifndef KT_STORE_SUPER_H
#define KT_STORE_SUPER_H

#include "lib/base/id.h"

#define SUPER_BYTES 4096u
#define SUPER_CAPACITY_MAX (1ull << 50) /* of slots */
/* 2: the index says what all its rows are. 3: records of the log end a group.
 * Older formats are read, and become the newest when the store is opened. */
#define SUPER_VERSION 3u

struct super {
    struct kt_id uuid, node, boot;
    uint64_t serial; /* the copy with the greater one counts */
    uint64_t incarnation, cont_base;
    uint64_t capacity;    /* bytes of slots */
    uint64_t durable_lsn; /* known when it was written */
    uint32_t seg_bytes;
    uint32_t version;       /* of the copy that was loaded */
    uint64_t index_commits; /* when clean: of the index; 0: not known */
    bool clean;
    bool one_bad; /* loaded from one copy: the other is damaged */
};

/* Reads the newer good copy. 0; -ENOENT (neither exists), KT_E_CORRUPT (none
 * is good), KT_E_PROTO (another format version), -errno. */
int super_load(int dirfd, struct super *ret_s) KT_MUST_CHECK;
/* Raises serial and writes one copy durably, the older one. 0 or -errno. */
int super_save(int dirfd, struct super *s) KT_MUST_CHECK;

#endif
