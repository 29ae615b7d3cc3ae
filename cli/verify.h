/* SPDX-License-Identifier: BSD-3-Clause */
/* Comparing replicas: verify.c decides what differs, verify_ask.c talks to the
 * members of a chain. */
#ifndef KT_CLI_VERIFY_H
#define KT_CLI_VERIFY_H

#include "cli/cli.h"
#include "lib/base/text.h"

#define VERIFY_WINDOW 256u /* extents compared at a time */

/* One SERVING replica. */
struct verify_member {
    char node[KT_NAME_MAX + 1];
    struct kt_id store;
    struct kt_rpc *rpc; /* NULL until connected */
};

struct verify_chain {
    uint64_t chain, epoch, first_extent;
    uint32_t extents;
    unsigned n;
    struct verify_member m[KT_MEMBERS_MAX];
};

/* What became of one extent. */
enum verify_verdict {
    VERIFY_SAME,
    VERIFY_BUSY,   /* ids differ: a write may be between the members */
    VERIFY_DAMAGE, /* one id, two contents */
};

/* n rows of one extent, one of each member. */
enum verify_verdict verify_rows(const struct kt_digest_row *rows, unsigned n);

/* Connects to every member of ch (object of volume-inspect). 0; or < 0 with
 * the sentence in ret_why: -EAGAIN when asking the hub again may help. */
int verify_connect(struct verify_chain *vc, const json_t *ch,
                   const struct kt_id *cluster, char *ret_why,
                   size_t size) KT_MUST_CHECK;
void verify_disconnect(struct verify_chain *vc);

/* The rows of extents [lo, lo + n) of every member, asked at the same time;
 * ret_rows[member * VERIFY_WINDOW + extent - lo]. An extent that a member never
 * wrote has id {0,0}. As verify_connect. */
int verify_ask(struct verify_chain *vc, uint32_t lo, uint32_t n,
               struct kt_digest_row *ret_rows, char *ret_why,
               size_t size) KT_MUST_CHECK;

#endif
