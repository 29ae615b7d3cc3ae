/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub's shell, for its own two files. */
#ifndef KT_TESTS_SIM_HUBNODE_H
#define KT_TESTS_SIM_HUBNODE_H

#include "hub/control/internal.h"
#include "tests/sim/sim.h"

#define ACTS 1024u
#define CONNS 64u

struct row {
    uint8_t kind;
    bool del;
    union {
        struct hub_cluster cluster;
        struct hub_node_row node;
        struct hub_volume_row volume;
        struct hub_chain_row chain;
    } u;
};

struct txn {
    struct txn *next;
    uint64_t txn;
    unsigned n;
    struct row rows[HUB_ROWS_MAX];
};

/* A copy of what is durable. */
#define COPIES 8u
#define COPY_US (1500u * SIM_MS)
struct copy {
    struct hub_cluster cluster;
    struct hub_node_row node_rows[8];
    struct hub_volume_row volume_row;
    struct hub_chain_row chain_rows[SIM_CHAINS_MAX];
    unsigned n_node_rows, n_chain_rows;
};

struct shub {
    struct hub h;
    struct hub_node nodes[8];
    struct hub_volume volumes[2];
    struct hub_chain chains[8];
    struct hub_conn conns[CONNS];
    struct hub_tomb_row tombs[2];
    /* durable */
    struct hub_cluster cluster;
    struct hub_node_row node_rows[8];
    unsigned n_node_rows;
    struct hub_volume_row volume_row;
    bool have_volume;
    struct hub_chain_row chain_rows[SIM_CHAINS_MAX];
    unsigned n_chain_rows;
    struct copy copies[COPIES];
    unsigned n_copies;
    uint64_t copy_us;
    struct rng old; /* which copy, and when */
    bool is_old;    /* one came back, and nobody has shown that */
    /* under way */
    struct txn *first, **last;
    bool storing, created;
    uint64_t commits, die_at; /* of what came after the volume was made */
    bool die_after;
    uint64_t create_us;
    int admin_err; /* of the last order */
    struct hub_out out;
    struct hub_action acts[ACTS];
};

#endif
