/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a new chain's copies go: weighted rendezvous hashing. Each node draws
 * -log(u) / free bytes from a hash of (chain, node); the smallest win. So a
 * node gets chains in proportion to its free space, and one that joins or
 * leaves moves only its own. */
#include "hub/control/internal.h"

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static uint64_t draw(uint64_t chain, const struct kt_id *node)
{
    uint64_t h = mix(chain + 0x9e3779b97f4a7c15ull);

    for (unsigned i = 0; i < sizeof(node->b); i += 8) {
        uint64_t part = 0;
        for (unsigned j = 0; j < 8; j++)
            part |= (uint64_t)node->b[i + j] << 8 * j;
        h = mix(h ^ part);
    }
    return h;
}

/* -log2((x + 1) / 2^64) with 16 binary places. */
static uint64_t minus_log2(uint64_t x)
{
    if (x == UINT64_MAX)
        return 1;
    x++;
    unsigned whole = 63 - (unsigned)__builtin_clzll(x);
    uint64_t log = (uint64_t)whole << 16;
    uint64_t f = x << (63 - whole) >> 32; /* 1.31 fixed point, in [1, 2) */

    for (unsigned bit = 15; bit < 16; bit--) {
        f = f * f >> 31;
        if (f >> 32) {
            log |= 1ull << bit;
            f >>= 1;
        }
    }
    return (64ull << 16) - log;
}

static bool fit(const struct hub_node *n)
{
    return hub_node_live(n) && !n->leaving && !n->store_err &&
           n->disk_stall_ms < HUB_STALL_MS && n->size > n->used &&
           n->used < n->size / 100 * HUB_FULL_PERCENT;
}

unsigned hub_place_fit(const struct hub *h)
{
    unsigned k = 0;

    for (uint32_t i = 0; i < h->nodes_max; i++)
        k += fit(&h->nodes[i]);
    return k;
}

struct draw {
    uint64_t cost;   /* at most 2^22 */
    uint64_t weight; /* at most 2^40 */
};

static bool cheaper(const struct draw *a, const struct draw *b)
{
    return a->cost * b->weight < b->cost * a->weight;
}

unsigned hub_place(const struct hub *h, uint64_t chain, unsigned n,
                   uint32_t ret_nodes[HUB_REPLICAS_MAX])
{
    struct draw best[HUB_REPLICAS_MAX];
    unsigned k = 0;

    assert(n <= HUB_REPLICAS_MAX);
    for (uint32_t i = 0; i < h->nodes_max; i++) {
        const struct hub_node *node = &h->nodes[i];
        if (!fit(node))
            continue;
        uint64_t mib = (node->size - node->used) >> 20;
        struct draw d = {
            .cost = minus_log2(draw(chain, &node->row.node.id)),
            .weight = kt_min_u64(mib, (1ull << 40) - 1) + 1,
        };
        unsigned at = k;
        while (at > 0 && cheaper(&d, &best[at - 1]))
            at--;
        if (at >= n)
            continue;
        if (k < n)
            k++;
        for (unsigned j = k - 1; j > at; j--) {
            best[j] = best[j - 1];
            ret_nodes[j] = ret_nodes[j - 1];
        }
        best[at] = d;
        ret_nodes[at] = i;
    }
    return k;
}
