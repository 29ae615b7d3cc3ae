/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of acknowledged writes (I16): kept until a flush covers their seq
 * under an unchanged vgen, for should all members lose power at once, only the
 * client still has them.
 *
 * Payload lies in 4 KiB blocks of an arena taken at the start. Room is
 * reserved when a part is made, so that there always is some when its ack
 * comes; only new requests ever wait for it, never resends or replays
 * (B12). */
#include "lib/client/engine_int.h"

#include <string.h>

static uint32_t blocks_of(const struct engine_part *p)
{
    return p->op == ENGINE_WRITE ? p->len / KT_SECTOR_BYTES : 0;
}

bool eng_reserve(struct engine *e, struct engine_part *p)
{
    uint32_t n = blocks_of(p);
    assert(!p->reserved);
    if (e->blocks_used + e->reserved_blocks + n > e->n_blocks ||
        e->kept_used + e->reserved_kepts + 1 > e->n_blocks)
        return false;
    e->reserved_blocks += n;
    e->reserved_kepts++;
    p->reserved = true;
    return true;
}

void eng_unreserve(struct engine *e, struct engine_part *p)
{
    if (!p->reserved)
        return;
    p->reserved = false;
    assert(e->reserved_kepts > 0 && e->reserved_blocks >= blocks_of(p));
    e->reserved_blocks -= blocks_of(p);
    e->reserved_kepts--;
}

/* Blocks are numbered from 1; 0 ends a list. */
static uint32_t take_block(struct engine *e)
{
    uint32_t b = e->free_block;
    if (b) {
        e->free_block = e->next_block[b - 1];
    } else {
        assert(e->blocks_touched < e->n_blocks);
        b = ++e->blocks_touched;
    }
    e->blocks_used++;
    return b;
}

static uint8_t *block_at(const struct engine *e, uint32_t b)
{
    return e->arena + (size_t)(b - 1) * KT_SECTOR_BYTES;
}

static struct engine_kept *take_kept(struct engine *e)
{
    struct engine_kept *k;
    e->kept_used++;
    if (eng_list_empty(&e->free_kept)) {
        assert(e->kept_touched < e->n_blocks);
        k = &e->kepts[e->kept_touched++];
    } else {
        k = kt_container_of(e->free_kept.next, struct engine_kept, all);
        eng_list_del(&k->all);
    }
    return k;
}

static uint64_t weight(const struct engine_kept *k)
{
    return k->op == ENGINE_WRITE ? k->len : KT_SECTOR_BYTES;
}

void eng_keep(struct engine *e, struct engine_part *p, uint64_t seq)
{
    struct engine_chain *c = p->chain;
    eng_unreserve(e, p);
    struct engine_kept *k = take_kept(e);
    k->vgen = c->cfg.vgen;
    k->seq = seq;
    k->op = p->op;
    k->flags = p->flags & KT_RF_NO_HOLE;
    k->extent = p->extent;
    k->off = p->off;
    k->len = p->len;
    k->block = 0;
    for (uint32_t i = blocks_of(p); i-- > 0;) { /* last first: list in order */
        uint32_t b = take_block(e);
        memcpy(block_at(e, b), p->buf.data + (size_t)i * KT_SECTOR_BYTES,
               KT_SECTOR_BYTES);
        e->next_block[b - 1] = k->block;
        k->block = b;
    }
    /* By seq: acks of resent writes come out of order. */
    struct engine_link *at = &c->kept;
    while (at->prev != &c->kept &&
           kt_container_of(at->prev, struct engine_kept, all)->seq > seq)
        at = at->prev;
    eng_list_add(at, &k->all);
    if (eng_list_empty(&c->dirty))
        eng_list_add(&e->dirty, &c->dirty);
    c->kept_bytes += weight(k);
}

void eng_kept_load(const struct engine *e, const struct engine_kept *k,
                   uint8_t *ret)
{
    assert(k->op == ENGINE_WRITE);
    uint32_t b = k->block;
    for (uint32_t i = 0; i < k->len / KT_SECTOR_BYTES; i++) {
        assert(b);
        memcpy(ret + (size_t)i * KT_SECTOR_BYTES, block_at(e, b),
               KT_SECTOR_BYTES);
        b = e->next_block[b - 1];
    }
}

void eng_kept_drop(struct engine *e, struct engine_chain *c, uint64_t upto)
{
    assert(!eng_replaying(c));
    while (!eng_list_empty(&c->kept)) {
        struct engine_kept *k =
            kt_container_of(c->kept.next, struct engine_kept, all);
        if (k->vgen != c->cfg.vgen || k->seq > upto)
            break;
        eng_list_del(&k->all);
        c->kept_bytes -= weight(k);
        for (uint32_t b = k->block, next; b; b = next) {
            next = e->next_block[b - 1];
            e->next_block[b - 1] = e->free_block;
            e->free_block = b;
            e->blocks_used--;
        }
        e->kept_used--;
        eng_list_add(e->free_kept.next, &k->all);
    }
    if (eng_list_empty(&c->kept)) {
        assert(c->kept_bytes == 0);
        eng_list_del(&c->dirty);
    }
    e->again = true; /* somebody may have waited for the room */
}

uint64_t eng_retained_bytes(const struct engine *e)
{
    return (uint64_t)kt_max_u64(e->blocks_used, e->kept_used) * KT_SECTOR_BYTES;
}
