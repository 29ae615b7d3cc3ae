/* SPDX-License-Identifier: BSD-3-Clause */
/* A configuration's bytes, little-endian. Pure.
 *
 *   magic u32 "KCF1" | version u8 = 2 | phase u8 | want_r u8 | min_write u8
 *   | durability u8 | mode u8 | n_members u8 | n_last u8
 *   | chain u64 | volume 16 | seg u32 | n_extents u32 | first_extent u64
 *   | epoch u64 | history 16 | vgen u64 | client 16 | token u64 | gen u32
 *   | last_epoch u64 | base_seq u64 | next_token u64 (not in version 1)
 *   | n_members times: store 16 | incarnation u64 | state u8 | node
 *   | n_last times: store 16 | incarnation u64
 *   | XXH3-64 of all before u64
 * node: id 16 | boot 16 | name str8 | tcp addr | unix addr
 * addr: kind u8 | port u16 | host str8       str8: length u8 | characters */
#include "lib/wire/cfg.h"

#include <string.h>

#include "lib/base/cursor.h"
#include "lib/base/err.h"
#include "lib/base/sum.h"

#define CFG_MAGIC 0x3146434bu
#define CFG_VERSION 2u
#define CFG_TOKENS 2u /* since then next_token is in it */

const char *kt_member_state_name(unsigned state)
{
    static const char names[][12] = {
        [KT_M_WAITING] = "waiting",   [KT_M_SYNCING] = "syncing",
        [KT_M_SERVING] = "serving",   [KT_M_OFFLINE] = "offline",
        [KT_M_FAULTY] = "faulty",     [KT_M_LAST] = "last",
        [KT_M_RELEASED] = "released", [KT_M_QUARANTINED] = "quarantined",
    };
    if (state >= KT_ARRAY_LEN(names) || names[state][0] == '\0')
        return "?";
    return names[state];
}

unsigned kt_cfg_serving(const struct kt_cfg *c)
{
    unsigned n = 0;
    while (n < c->n_members && c->members[n].state == KT_M_SERVING)
        n++;
    return n;
}

int kt_cfg_find(const struct kt_cfg *c, const struct kt_id *store)
{
    for (int i = 0; i < c->n_members; i++) {
        if (kt_id_eq(&c->members[i].store, store))
            return i;
    }
    return -1;
}

int kt_cfg_syncing(const struct kt_cfg *c)
{
    for (int i = 0; i < c->n_members; i++) {
        if (c->members[i].state == KT_M_SYNCING)
            return i;
    }
    return -1;
}

static const char *addr_invalid(const struct kt_addr *a, enum kt_addr_kind kind)
{
    if (a->kind == KT_ADDR_NONE)
        return NULL;
    if (a->kind != kind)
        return "an address is of the wrong kind";
    if (!memchr(a->host, '\0', sizeof(a->host)) || a->host[0] == '\0')
        return "an address has no host";
    return NULL;
}

static const char *node_invalid(const struct kt_node *n)
{
    if (!memchr(n->name, '\0', sizeof(n->name)))
        return "a node's name has no end";
    if (n->name[0] != '\0' && !kt_name_valid(n->name))
        return "a node's name is not a name";
    const char *why = addr_invalid(&n->tcp, KT_ADDR_TCP);
    return why ? why : addr_invalid(&n->unix_, KT_ADDR_UNIX);
}

static const char *members_invalid(const struct kt_cfg *c)
{
    unsigned serving = kt_cfg_serving(c);

    if (c->n_members < 1 || c->n_members > KT_MEMBERS_MAX)
        return "the number of members is out of range";
    if (c->phase == KT_PHASE_ACTIVE && serving == 0)
        return "an active chain has no serving member";
    for (unsigned i = 0; i < c->n_members; i++) {
        const struct kt_member *m = &c->members[i];
        if (m->state < KT_M_WAITING || m->state > KT_M_RELEASED)
            return "a member's state is unknown";
        if (m->state == KT_M_SERVING && i >= serving)
            return "serving members do not stand first";
        if (m->state == KT_M_SYNCING && i != serving)
            return "the syncing member is not the one after the tail";
        if (kt_id_is_zero(&m->store))
            return "a member has no store";
        if (kt_cfg_find(c, &m->store) != (int)i)
            return "a store is listed twice";
        const char *why = node_invalid(&m->node);
        if (why)
            return why;
    }
    return NULL;
}

static const char *last_invalid(const struct kt_cfg *c)
{
    if (c->n_last > KT_MEMBERS_MAX)
        return "the number of last members is out of range";
    if (c->last_epoch > c->epoch)
        return "the last active epoch is newer than the configuration";
    if (c->n_last > 0 && c->last_epoch == 0)
        return "last members without a last epoch";
    for (unsigned i = 0; i < c->n_last; i++) {
        if (kt_id_is_zero(&c->last[i].store))
            return "a last member has no store";
        for (unsigned j = 0; j < i; j++) {
            if (kt_id_eq(&c->last[i].store, &c->last[j].store))
                return "a last store is listed twice";
        }
    }
    return NULL;
}

const char *kt_cfg_invalid(const struct kt_cfg *c)
{
    if (c->n_members > KT_MEMBERS_MAX)
        return "the number of members is out of range";
    if (c->chain == 0)
        return "the chain has no number";
    if (kt_id_is_zero(&c->volume))
        return "the volume has no identity";
    if (c->n_extents < 1 || c->n_extents > KT_SEGMENT_EXTENTS_MAX)
        return "the number of extents is out of range";
    if (c->first_extent > KT_VOLUME_BYTES_MAX / KT_EXTENT_BYTES - c->n_extents)
        return "the segment lies outside every volume";
    if (c->epoch == 0)
        return "the epoch is 0";
    if (c->phase != KT_PHASE_PREPARE && c->phase != KT_PHASE_ACTIVE)
        return "the phase is unknown";
    if (c->want_r < 1 || c->want_r > KT_MEMBERS_MAX)
        return "the wanted number of replicas is out of range";
    if (c->min_write < 1 || c->min_write > c->want_r)
        return "min_write is out of range";
    if (c->durability > KT_DURABILITY_SYNC)
        return "the durability is unknown";
    if (c->mode > KT_MODE_SHARED)
        return "the mode is unknown";
    if (c->token == 0 && !kt_id_is_zero(&c->client))
        return "the writer has no token";
    if (c->next_token && c->token >= c->next_token)
        return "the writer's token was not given out yet";
    const char *why = members_invalid(c);
    return why ? why : last_invalid(c);
}

static void put_addr(struct kt_cur *c, const struct kt_addr *a)
{
    bool there = a->kind != KT_ADDR_NONE;

    kt_put_u8(c, (uint8_t)a->kind);
    kt_put_u16(c, there ? a->port : 0);
    kt_put_str8(c, there ? a->host : "");
}

static void get_addr(struct kt_cur *c, struct kt_addr *ret_a)
{
    uint8_t kind = kt_get_u8(c);

    if (kind > KT_ADDR_UNIX)
        c->bad = true;
    ret_a->kind = (enum kt_addr_kind)kind;
    ret_a->port = kt_get_u16(c);
    kt_get_str8(c, ret_a->host, sizeof(ret_a->host));
    if (kind == KT_ADDR_NONE && (ret_a->port != 0 || ret_a->host[0] != '\0'))
        c->bad = true;
}

static void put_node(struct kt_cur *c, const struct kt_node *n)
{
    kt_put_id(c, &n->id);
    kt_put_id(c, &n->boot);
    kt_put_str8(c, n->name);
    put_addr(c, &n->tcp);
    put_addr(c, &n->unix_);
}

static void get_node(struct kt_cur *c, struct kt_node *ret_n)
{
    kt_get_id(c, &ret_n->id);
    kt_get_id(c, &ret_n->boot);
    kt_get_str8(c, ret_n->name, sizeof(ret_n->name));
    get_addr(c, &ret_n->tcp);
    get_addr(c, &ret_n->unix_);
}

size_t kt_cfg_encode(const struct kt_cfg *cfg, uint8_t ret[KT_CFG_BYTES_MAX])
{
    struct kt_cur c = kt_cur_w(ret, KT_CFG_BYTES_MAX);

    assert(kt_cfg_invalid(cfg) == NULL);
    kt_put_u32(&c, CFG_MAGIC);
    kt_put_u8(&c, CFG_VERSION);
    kt_put_u8(&c, cfg->phase);
    kt_put_u8(&c, cfg->want_r);
    kt_put_u8(&c, cfg->min_write);
    kt_put_u8(&c, cfg->durability);
    kt_put_u8(&c, cfg->mode);
    kt_put_u8(&c, cfg->n_members);
    kt_put_u8(&c, cfg->n_last);
    kt_put_u64(&c, cfg->chain);
    kt_put_id(&c, &cfg->volume);
    kt_put_u32(&c, cfg->seg);
    kt_put_u32(&c, cfg->n_extents);
    kt_put_u64(&c, cfg->first_extent);
    kt_put_u64(&c, cfg->epoch);
    kt_put_id(&c, &cfg->history);
    kt_put_u64(&c, cfg->vgen);
    kt_put_id(&c, &cfg->client);
    kt_put_u64(&c, cfg->token);
    kt_put_u32(&c, cfg->gen);
    kt_put_u64(&c, cfg->last_epoch);
    kt_put_u64(&c, cfg->base_seq);
    kt_put_u64(&c, cfg->next_token);
    for (unsigned i = 0; i < cfg->n_members; i++) {
        const struct kt_member *m = &cfg->members[i];
        kt_put_id(&c, &m->store);
        kt_put_u64(&c, m->incarnation);
        kt_put_u8(&c, m->state);
        put_node(&c, &m->node);
    }
    for (unsigned i = 0; i < cfg->n_last; i++) {
        kt_put_id(&c, &cfg->last[i].store);
        kt_put_u64(&c, cfg->last[i].incarnation);
    }
    size_t len = KT_CFG_BYTES_MAX - c.left;
    kt_put_u64(&c, kt_sum64(ret, len));
    assert(!c.bad);
    return len + 8;
}

static void get_rest(struct kt_cur *c, unsigned version, struct kt_cfg *cfg)
{
    cfg->chain = kt_get_u64(c);
    kt_get_id(c, &cfg->volume);
    cfg->seg = kt_get_u32(c);
    cfg->n_extents = kt_get_u32(c);
    cfg->first_extent = kt_get_u64(c);
    cfg->epoch = kt_get_u64(c);
    kt_get_id(c, &cfg->history);
    cfg->vgen = kt_get_u64(c);
    kt_get_id(c, &cfg->client);
    cfg->token = kt_get_u64(c);
    cfg->gen = kt_get_u32(c);
    cfg->last_epoch = kt_get_u64(c);
    cfg->base_seq = kt_get_u64(c);
    cfg->next_token = version >= CFG_TOKENS ? kt_get_u64(c) : 0;
    for (unsigned i = 0; i < cfg->n_members && !c->bad; i++) {
        struct kt_member *m = &cfg->members[i];
        kt_get_id(c, &m->store);
        m->incarnation = kt_get_u64(c);
        m->state = kt_get_u8(c);
        get_node(c, &m->node);
    }
    for (unsigned i = 0; i < cfg->n_last && !c->bad; i++) {
        kt_get_id(c, &cfg->last[i].store);
        cfg->last[i].incarnation = kt_get_u64(c);
    }
}

int kt_cfg_decode(const uint8_t *b, size_t len, struct kt_cfg *ret_c)
{
    if (len < 12 || len > KT_CFG_BYTES_MAX)
        return KT_E_PROTO;
    struct kt_cur end = kt_cur_r(b + len - 8, 8);
    if (kt_get_u64(&end) != kt_sum64(b, len - 8))
        return KT_E_CORRUPT;

    struct kt_cur c = kt_cur_r(b, len - 8);
    struct kt_cfg cfg;
    memset(&cfg, 0, sizeof(cfg));
    uint32_t magic = kt_get_u32(&c);
    uint8_t version = kt_get_u8(&c);
    if (magic != CFG_MAGIC || version < 1 || version > CFG_VERSION)
        return KT_E_PROTO;
    cfg.phase = kt_get_u8(&c);
    cfg.want_r = kt_get_u8(&c);
    cfg.min_write = kt_get_u8(&c);
    cfg.durability = kt_get_u8(&c);
    cfg.mode = kt_get_u8(&c);
    cfg.n_members = kt_get_u8(&c);
    cfg.n_last = kt_get_u8(&c);
    if (cfg.n_members > KT_MEMBERS_MAX || cfg.n_last > KT_MEMBERS_MAX)
        return KT_E_PROTO;
    get_rest(&c, version, &cfg);
    if (c.bad || c.left != 0 || kt_cfg_invalid(&cfg))
        return KT_E_PROTO;
    *ret_c = cfg;
    return 0;
}
