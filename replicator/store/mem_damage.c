/* SPDX-License-Identifier: BSD-3-Clause */
/* The twin's disk, damaged at rest. What the slots hold is what is durable: the
 * disk's own chains. A damaged sector has a buffer of its own, in which its
 * true bytes lie behind the wrong ones (for store_mem_mend); its sum stays, as
 * the store keeps sums in other files than bytes. Whatever writes the sector
 * anew drops that buffer and the mark (mem_chain_fold). Memory running out here
 * ends the test: assert. */
#include <string.h>

#include "replicator/store/mem_priv.h"

static struct mem_extent *extent_of(struct store_chain *list, uint64_t chain,
                                    uint32_t extent)
{
    struct store_chain *c = mem_chain_find(list, chain);
    return c && extent < c->n_extents ? c->ext[extent] : NULL;
}

static bool marked(const struct mem_extent *e, uint32_t sector)
{
    return e->rot[sector / 8] >> (sector % 8) & 1;
}

/* The sector of the durable state, whole, or NULL. */
static struct mem_sector *whole(struct store_mem_disk *d, uint64_t chain,
                                uint32_t extent, uint32_t sector)
{
    struct mem_extent *e = extent_of(d->chains, chain, extent);
    return e && e->s[sector].sum && !marked(e, sector) ? &e->s[sector] : NULL;
}

static void put(struct mem_extent *e, uint32_t sector, struct kt_buf *b)
{
    struct mem_sector *s = &e->s[sector];
    kt_buf_ref(b);
    kt_buf_unref(s->buf);
    s->buf = b;
    s->data = b->data;
    e->rot[sector / 8] |= (uint8_t)(1u << (sector % 8));
}

/* bytes: what is there from now on, a sector of it. */
static void damage(struct store_mem_disk *d, uint64_t chain, uint32_t extent,
                   uint32_t sector, const uint8_t *bytes)
{
    struct mem_extent *e = extent_of(d->chains, chain, extent);
    struct mem_extent *open =
        d->open ? extent_of(d->open->chains, chain, extent) : NULL;
    const uint8_t *was = e->s[sector].data;
    struct kt_buf *b = kt_buf_new(2 * KT_SECTOR_BYTES, 0);
    assert(b);
    memcpy(b->data, bytes, KT_SECTOR_BYTES);
    memcpy(b->data + KT_SECTOR_BYTES, was, KT_SECTOR_BYTES);
    b->data_len = 2 * KT_SECTOR_BYTES;
    if (open && open->s[sector].data == was)
        put(open, sector, b);
    put(e, sector, b);
    kt_buf_unref(b);
}

bool store_mem_rot(struct store_mem_disk *d, uint64_t chain, uint32_t extent,
                   uint32_t sector)
{
    const struct mem_sector *s = whole(d, chain, extent, sector);
    uint8_t bytes[KT_SECTOR_BYTES];
    if (!s)
        return false;
    memcpy(bytes, s->data, sizeof(bytes));
    bytes[mem_random(d) % sizeof(bytes)] ^=
        (uint8_t)(1u << (mem_random(d) % 8));
    damage(d, chain, extent, sector, bytes);
    return true;
}

bool store_mem_misdirect(struct store_mem_disk *d, uint64_t chain,
                         const uint32_t from[2], const uint32_t to[2])
{
    static const uint8_t zeros[KT_SECTOR_BYTES]; /* what a slot begins with */
    const struct mem_sector *a = whole(d, chain, from[0], from[1]);
    const struct mem_sector *b = whole(d, chain, to[0], to[1]);
    uint8_t bytes[KT_SECTOR_BYTES];
    if (!a || !b || a == b || a->sum == b->sum)
        return false;
    memcpy(bytes, a->data, sizeof(bytes));
    damage(d, chain, from[0], from[1], zeros);
    damage(d, chain, to[0], to[1], bytes);
    return true;
}

bool store_mem_is_damaged(const struct store_mem_disk *d, uint64_t chain,
                          uint32_t extent, uint32_t sector)
{
    const struct mem_extent *e = extent_of(d->chains, chain, extent);
    return e && marked(e, sector);
}

static void mend_one(struct mem_extent *e, uint32_t sector)
{
    e->s[sector].data = e->s[sector].buf->data + KT_SECTOR_BYTES;
    e->rot[sector / 8] &= (uint8_t) ~(1u << (sector % 8));
}

void mem_mend_sector(struct store_mem_disk *d, uint64_t chain, uint32_t extent,
                     uint32_t sector)
{
    struct store_chain *lists[2] = {d->open ? d->open->chains : NULL,
                                    d->chains};
    for (unsigned i = 0; i < 2; i++) {
        struct mem_extent *e = extent_of(lists[i], chain, extent);
        if (e && marked(e, sector))
            mend_one(e, sector);
    }
}

static unsigned mend_chain(struct store_chain *c)
{
    unsigned n = 0;
    for (uint32_t x = 0; x < c->n_extents; x++) {
        struct mem_extent *e = c->ext[x];
        for (uint32_t i = 0; e && i < KT_EXTENT_SECTORS; i++) {
            if (!marked(e, i))
                continue;
            mend_one(e, i);
            n++;
        }
    }
    return n;
}

unsigned store_mem_mend(struct store_mem_disk *d)
{
    unsigned n = 0;
    for (struct store_chain *c = d->chains; c; c = c->next)
        n += mend_chain(c);
    for (struct store_chain *c = d->open ? d->open->chains : NULL; c;
         c = c->next)
        mend_chain(c);
    return n;
}
