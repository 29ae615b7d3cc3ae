/* SPDX-License-Identifier: BSD-3-Clause */
/* What the hub stores: rows, and the changes of them. */
#ifndef KT_HUB_CONTROL_STORED_H
#define KT_HUB_CONTROL_STORED_H

#include "lib/wire/msg.h"

#define HUB_OLD_MARKS 64u

/* B15. In recover mode the hub takes what it knows of a chain from the nodes
 * before it decides anything about it. */
enum hub_recover {
    HUB_RECOVER_NO = 0,
    HUB_RECOVER_OLD,  /* the database is an old copy: goes on by itself */
    HUB_RECOVER_EMPTY /* the database was lost: somebody says when */
};

/* An earlier start of the hub. */
struct hub_old_mark {
    struct kt_id mark;
    uint64_t term;
};

struct hub_cluster {
    struct kt_id id;        /* zero: to be learnt from the nodes */
    uint64_t term;          /* raised at each start (B15) */
    uint64_t next_chain;    /* never reused; the first is 1 */
    uint64_t segment_bytes; /* for volumes that name none */
    /* Anew at each start, so that a copy that was started as often as the
     * real one is told from it all the same. */
    struct kt_id mark;
    uint64_t recovered; /* every term up to here was dealt with */
    uint8_t recover;    /* enum hub_recover */
    uint8_t n_old;
    struct hub_old_mark old[HUB_OLD_MARKS]; /* the latest first */
};

struct hub_node_row {
    struct kt_node node;
    struct kt_id store;
    uint64_t incarnation; /* highest seen */
};

enum hub_volume_state {
    HUB_VOLUME_CREATING = 1,
    HUB_VOLUME_READY,
    HUB_VOLUME_LOST /* a recovery found a chain that no node holds */
};

/* The one attachment of a volume (B9). token 0: none. */
struct hub_attachment {
    struct kt_id client;
    uint64_t token;
    char node[KT_NAME_MAX + 1];
    uint32_t pid;
    uint64_t since_s; /* seconds of the Epoch, for people */
};

struct hub_volume_row {
    struct kt_id id; /* never reused */
    char name[KT_NAME_MAX + 1];
    uint64_t size, segment_bytes;
    uint64_t created_s;
    uint64_t next_token;
    uint8_t replicas, min_write;
    uint8_t durability; /* enum kt_durability */
    uint8_t state;      /* enum hub_volume_state */
    struct hub_attachment att;
};

/* cfg is the last ACTIVE one; before the first, phase PREPARE, epoch 1. */
struct hub_chain_row {
    struct kt_cfg cfg;
    uint64_t prepare; /* epoch of a PREPARE above cfg.epoch; 0 = none */
    /* Term of the start that gave out the greater of the two; 0: one that
     * cannot be told, as in recover mode. */
    uint64_t given_term;
};

struct hub_tomb_row {
    struct kt_id volume;
    char name[KT_NAME_MAX + 1];
    uint64_t removed_s;
};

enum hub_row_kind {
    HUB_ROW_CLUSTER = 1, /* put */
    HUB_ROW_NODE,        /* put; key: node.id */
    HUB_ROW_VOLUME,      /* put or delete; key: id */
    HUB_ROW_CHAIN,       /* put; key: cfg.chain */
    HUB_ROW_CHAINS_OF,   /* delete every chain row of *volume_id */
    HUB_ROW_TOMB,        /* put or delete; key: volume */
};

struct hub_row {
    uint8_t kind; /* enum hub_row_kind */
    bool del;
    union { /* borrowed until the next hub_step */
        const struct hub_cluster *cluster;
        const struct hub_node_row *node;
        const struct hub_volume_row *volume;
        const struct hub_chain_row *chain;
        const struct hub_tomb_row *tomb;
        const struct kt_id *volume_id;
    } u;
};

#endif
