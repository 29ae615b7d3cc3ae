/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of the hub as bytes. Byte table in rows.c. */
#ifndef KT_HUB_ROWS_H
#define KT_HUB_ROWS_H

#include "hub/control/control.h"

#define ROW_KEY_MAX 17u
#define ROW_BYTES_MAX (KT_CFG_BYTES_MAX + 64u)

struct row_bytes {
    size_t key_len, len;
    uint8_t key[ROW_KEY_MAX];
    uint8_t value[ROW_BYTES_MAX];
};

/* Key (and value, unless r->del) of a row that is no HUB_ROW_CHAINS_OF. */
void row_encode(const struct hub_row *r, struct row_bytes *ret_b);

/* One decoded row; kind says which member. */
struct row_any {
    uint8_t kind;
    struct hub_cluster cluster;
    struct hub_node_row node;
    struct hub_volume_row volume;
    struct hub_chain_row chain;
    struct hub_tomb_row tomb;
};
/* 0 or KT_E_CORRUPT. */
int row_decode(const void *key, size_t key_len, const void *value, size_t len,
               struct row_any *ret_row) KT_MUST_CHECK;

#endif
