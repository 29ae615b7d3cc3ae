/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows, little-endian. Keys: a letter and the identity; chains by their number
 * big-endian, so that they are read in order.
 *
 *   'c'               version u8 (2) | id 16 | term u64 | next_chain u64
 *                     | segment_bytes u64 | mark 16 | recovered u64
 *                     | recover u8 | n_old u8 | n_old times: mark 16, term u64
 *                     (version 1 ends after segment_bytes)
 *   'n' node id 16    version u8 | boot 16 | name str8 | tcp str8 | unix str8
 *                     | store 16 | incarnation u64
 *   'v' volume id 16  version u8 | name str8 | size u64 | segment_bytes u64
 *                     | created_s u64 | next_token u64 | replicas u8
 *                     | min_write u8 | durability u8 | state u8
 *                     | client 16 | token u64 | node str8 | pid u32
 *                     | since_s u64
 *   'h' chain u64be   version u8 (2) | prepare u64 | given_term u64
 *                     | the bytes of kt_cfg_encode
 *                     (version 1 lacks given_term)
 *   't' volume id 16  version u8 | name str8 | removed_s u64
 * Every value ends with the XXH3-64 of key and value before it: LMDB has no
 * checksums of its own (P16). Addresses are text, "" when absent. */
#include "hub/daemon/rows.h"

#include <string.h>

#include "lib/base/cursor.h"
#include "lib/base/sum.h"

#define ROW_VERSION 1u
#define ROW_VERSION_CLUSTER 2u
#define ROW_VERSION_CHAIN 2u

static uint64_t sum_of(const uint8_t *key, size_t key_len, const uint8_t *value,
                       size_t len)
{
    uint8_t all[ROW_KEY_MAX + ROW_BYTES_MAX];

    memcpy(all, key, key_len);
    memcpy(all + key_len, value, len);
    return kt_sum64(all, key_len + len);
}

static void put_addr(struct kt_cur *c, const struct kt_addr *a)
{
    char text[KT_ADDR_TEXT_BYTES] = "";

    if (a->kind != KT_ADDR_NONE)
        kt_addr_format(a, text);
    kt_put_str8(c, text);
}

static void get_addr(struct kt_cur *c, struct kt_addr *ret_a)
{
    char text[KT_ADDR_TEXT_BYTES];

    memset(ret_a, 0, sizeof(*ret_a));
    kt_get_str8(c, text, sizeof(text));
    if (text[0] && kt_addr_parse(text, ret_a) < 0)
        c->bad = true;
}

/* ---- cluster ---- */

static void put_cluster(struct kt_cur *c, const struct hub_cluster *r)
{
    kt_put_id(c, &r->id);
    kt_put_u64(c, r->term);
    kt_put_u64(c, r->next_chain);
    kt_put_u64(c, r->segment_bytes);
    kt_put_id(c, &r->mark);
    kt_put_u64(c, r->recovered);
    kt_put_u8(c, r->recover);
    kt_put_u8(c, r->n_old);
    for (unsigned i = 0; i < r->n_old; i++) {
        kt_put_id(c, &r->old[i].mark);
        kt_put_u64(c, r->old[i].term);
    }
}

static void get_cluster(struct kt_cur *c, struct hub_cluster *r,
                        unsigned version)
{
    kt_get_id(c, &r->id);
    r->term = kt_get_u64(c);
    r->next_chain = kt_get_u64(c);
    r->segment_bytes = kt_get_u64(c);
    if (version == ROW_VERSION)
        return;
    kt_get_id(c, &r->mark);
    r->recovered = kt_get_u64(c);
    r->recover = kt_get_u8(c);
    r->n_old = kt_get_u8(c);
    if (r->recover > HUB_RECOVER_EMPTY || r->n_old > HUB_OLD_MARKS) {
        c->bad = true;
        return;
    }
    for (unsigned i = 0; i < r->n_old; i++) {
        kt_get_id(c, &r->old[i].mark);
        r->old[i].term = kt_get_u64(c);
    }
}

/* ---- node ---- */

static void put_node(struct kt_cur *c, const struct hub_node_row *r)
{
    kt_put_id(c, &r->node.boot);
    kt_put_str8(c, r->node.name);
    put_addr(c, &r->node.tcp);
    put_addr(c, &r->node.unix_);
    kt_put_id(c, &r->store);
    kt_put_u64(c, r->incarnation);
}

static void get_node(struct kt_cur *c, struct hub_node_row *r)
{
    kt_get_id(c, &r->node.boot);
    kt_get_str8(c, r->node.name, sizeof(r->node.name));
    get_addr(c, &r->node.tcp);
    get_addr(c, &r->node.unix_);
    kt_get_id(c, &r->store);
    r->incarnation = kt_get_u64(c);
}

/* ---- volume ---- */

static void put_volume(struct kt_cur *c, const struct hub_volume_row *r)
{
    kt_put_str8(c, r->name);
    kt_put_u64(c, r->size);
    kt_put_u64(c, r->segment_bytes);
    kt_put_u64(c, r->created_s);
    kt_put_u64(c, r->next_token);
    kt_put_u8(c, r->replicas);
    kt_put_u8(c, r->min_write);
    kt_put_u8(c, r->durability);
    kt_put_u8(c, r->state);
    kt_put_id(c, &r->att.client);
    kt_put_u64(c, r->att.token);
    kt_put_str8(c, r->att.node);
    kt_put_u32(c, r->att.pid);
    kt_put_u64(c, r->att.since_s);
}

static void get_volume(struct kt_cur *c, struct hub_volume_row *r)
{
    kt_get_str8(c, r->name, sizeof(r->name));
    r->size = kt_get_u64(c);
    r->segment_bytes = kt_get_u64(c);
    r->created_s = kt_get_u64(c);
    r->next_token = kt_get_u64(c);
    r->replicas = kt_get_u8(c);
    r->min_write = kt_get_u8(c);
    r->durability = kt_get_u8(c);
    r->state = kt_get_u8(c);
    kt_get_id(c, &r->att.client);
    r->att.token = kt_get_u64(c);
    kt_get_str8(c, r->att.node, sizeof(r->att.node));
    r->att.pid = kt_get_u32(c);
    r->att.since_s = kt_get_u64(c);
}

/* ---- chain ---- */

static void put_chain(struct kt_cur *c, const struct hub_chain_row *r)
{
    uint8_t cfg[KT_CFG_BYTES_MAX];
    size_t len = kt_cfg_encode(&r->cfg, cfg);

    kt_put_u64(c, r->prepare);
    kt_put_u64(c, r->given_term);
    kt_put_bytes(c, cfg, len);
}

static void get_chain(struct kt_cur *c, struct hub_chain_row *r,
                      unsigned version)
{
    r->prepare = kt_get_u64(c);
    r->given_term = version == ROW_VERSION ? 0 : kt_get_u64(c);
    size_t len = c->left;
    const uint8_t *cfg = kt_cur_take(c, len);
    if (!cfg || kt_cfg_decode(cfg, len, &r->cfg) < 0)
        c->bad = true;
}

/* ---- any ---- */

static unsigned newest_version(uint8_t letter)
{
    return letter == 'c'   ? ROW_VERSION_CLUSTER
           : letter == 'h' ? ROW_VERSION_CHAIN
                           : ROW_VERSION;
}

static void put_key(const struct hub_row *r, struct row_bytes *b)
{
    struct kt_cur c = kt_cur_w(b->key, sizeof(b->key));
    static const char letters[] = "?cnvh?t";

    kt_put_u8(&c, (uint8_t)letters[r->kind]);
    switch (r->kind) {
    case HUB_ROW_NODE:
        kt_put_id(&c, &r->u.node->node.id);
        break;
    case HUB_ROW_VOLUME:
        kt_put_id(&c, &r->u.volume->id);
        break;
    case HUB_ROW_TOMB:
        kt_put_id(&c, &r->u.tomb->volume);
        break;
    case HUB_ROW_CHAIN:
        for (unsigned i = 8; i-- > 0;)
            kt_put_u8(&c, (uint8_t)(r->u.chain->cfg.chain >> 8 * i));
        break;
    default:
        assert(r->kind == HUB_ROW_CLUSTER);
        break;
    }
    b->key_len = sizeof(b->key) - c.left;
}

void row_encode(const struct hub_row *r, struct row_bytes *ret_b)
{
    struct kt_cur c = kt_cur_w(ret_b->value, sizeof(ret_b->value));

    assert(r->kind >= HUB_ROW_CLUSTER && r->kind <= HUB_ROW_TOMB);
    assert(r->kind != HUB_ROW_CHAINS_OF);
    put_key(r, ret_b);
    ret_b->len = 0;
    if (r->del)
        return;
    kt_put_u8(&c, (uint8_t)newest_version(ret_b->key[0]));
    switch (r->kind) {
    case HUB_ROW_CLUSTER:
        put_cluster(&c, r->u.cluster);
        break;
    case HUB_ROW_NODE:
        put_node(&c, r->u.node);
        break;
    case HUB_ROW_VOLUME:
        put_volume(&c, r->u.volume);
        break;
    case HUB_ROW_CHAIN:
        put_chain(&c, r->u.chain);
        break;
    default:
        kt_put_str8(&c, r->u.tomb->name);
        kt_put_u64(&c, r->u.tomb->removed_s);
        break;
    }
    size_t len = sizeof(ret_b->value) - c.left;
    kt_put_u64(&c, sum_of(ret_b->key, ret_b->key_len, ret_b->value, len));
    assert(!c.bad);
    ret_b->len = len + 8;
}

static bool key_fits(const uint8_t *key, size_t key_len)
{
    switch (key[0]) {
    case 'c':
        return key_len == 1;
    case 'h':
        return key_len == 9;
    default:
        return key_len == 17;
    }
}

static void decode_value(const uint8_t *key, struct kt_cur *c,
                         struct row_any *row)
{
    struct kt_cur k = kt_cur_r(key + 1, 16);
    unsigned version = kt_get_u8(c);

    if (version != ROW_VERSION && version != newest_version(key[0])) {
        c->bad = true;
        return;
    }
    switch (key[0]) {
    case 'c':
        row->kind = HUB_ROW_CLUSTER;
        get_cluster(c, &row->cluster, version);
        break;
    case 'n':
        row->kind = HUB_ROW_NODE;
        kt_get_id(&k, &row->node.node.id);
        get_node(c, &row->node);
        break;
    case 'v':
        row->kind = HUB_ROW_VOLUME;
        kt_get_id(&k, &row->volume.id);
        get_volume(c, &row->volume);
        if (!kt_name_valid(row->volume.name))
            c->bad = true;
        break;
    case 'h':
        row->kind = HUB_ROW_CHAIN;
        get_chain(c, &row->chain, version);
        break;
    case 't':
        row->kind = HUB_ROW_TOMB;
        kt_get_id(&k, &row->tomb.volume);
        kt_get_str8(c, row->tomb.name, sizeof(row->tomb.name));
        row->tomb.removed_s = kt_get_u64(c);
        break;
    default:
        c->bad = true;
        break;
    }
}

int row_decode(const void *key, size_t key_len, const void *value, size_t len,
               struct row_any *ret_row)
{
    const uint8_t *k = key, *v = value;

    if (key_len < 1 || key_len > ROW_KEY_MAX || !key_fits(k, key_len) ||
        len < 9 || len > ROW_BYTES_MAX)
        return KT_E_CORRUPT;
    struct kt_cur end = kt_cur_r(v + len - 8, 8);
    if (kt_get_u64(&end) != sum_of(k, key_len, v, len - 8))
        return KT_E_CORRUPT;
    struct kt_cur c = kt_cur_r(v, len - 8);
    memset(ret_row, 0, sizeof(*ret_row));
    decode_value(k, &c, ret_row);
    return c.bad || c.left ? KT_E_CORRUPT : 0;
}
