/* SPDX-License-Identifier: BSD-3-Clause */
/* LMDB 0.9's file, data version 1, 64 bit, little-endian:
 *   page    0 pgno u64 | 8 pad u16 | 10 flags u16 | 12 lower u16 | 14 upper u16
 *           (of an overflow run: 12 pages u32) | 16 offsets of nodes u16[]
 *   node    0 lo u16 | 2 hi u16 | 4 flags u16 | 6 ksize u16 | key | data
 *           branch: page lo | hi << 16 | flags << 32; leaf: bytes lo | hi << 16
 *   table   0 pad u32 | 4 flags u16 | 6 depth u16 | 8 branch pages u64 | 16
 * leaf pages | 24 overflow pages | 32 entries | 40 root page 0 and 1, behind
 * the head: 0 magic u32 | 4 version u32 | 8 address u64 | 16 mapsize u64 | 24
 * free table | 72 main table | 120 last page | 128 txnid; the greater txnid
 * counts Everything reachable is looked at: bounds, kinds, depth, order of
 * keys, numbers of pages and entries; no page is reached twice or both reached
 * and free, and none is neither. */
#include "replicator/store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/cursor.h"
#include "lib/base/err.h"
#include "lib/base/os.h"

#define MAGIC 0xBEEFC0DEu
#define HEAD 16u
#define NODE 8u
#define DB_BYTES 48u
#define META_BYTES 136u
#define NO_PAGE UINT64_MAX
#define DEPTH_MAX 32u

enum { P_BRANCH = 1, P_LEAF = 2, P_OVERFLOW = 4, P_META = 8 };
enum { F_BIG = 1, F_TABLE = 2 };
enum kind { FREE, MAIN, TABLE };

struct db {
    uint16_t flags, depth;
    uint64_t branch, leaf, overflow, entries, root;
};

struct bytes {
    const uint8_t *p;
    size_t n;
};

struct walk {
    const uint8_t *b;
    uint64_t n_pages; /* in the file */
    uint32_t psize;
    uint64_t last;
    uint8_t *seen; /* per page: reached, or free */
    uint64_t n_seen;
};

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    while (bytes--)
        v = v << 8 | p[bytes];
    return v;
}

static struct db get_db(const uint8_t *p)
{
    return (struct db){.flags = (uint16_t)get(p + 4, 2),
                       .depth = (uint16_t)get(p + 6, 2),
                       .branch = get(p + 8, 8),
                       .leaf = get(p + 16, 8),
                       .overflow = get(p + 24, 8),
                       .entries = get(p + 32, 8),
                       .root = get(p + 40, 8)};
}

/* ---- pages ---- */

/* False: no such page, or it was met before. */
static bool meet(struct walk *w, uint64_t no)
{
    if (no < 2 || no > w->last || w->seen[no])
        return false;
    w->seen[no] = 1;
    w->n_seen++;
    return true;
}

static const uint8_t *page(struct walk *w, uint64_t no, unsigned flags)
{
    if (!meet(w, no) || no >= w->n_pages)
        return NULL;
    const uint8_t *p = w->b + no * w->psize;
    return get(p, 8) == no && get(p + 10, 2) == flags ? p : NULL;
}

/* The bytes of a value on pages of its own. */
static const uint8_t *overflow(struct walk *w, uint64_t no, uint64_t n,
                               struct db *count)
{
    const uint8_t *p = page(w, no, P_OVERFLOW);
    uint64_t pages = (HEAD - 1 + n) / w->psize + 1;
    if (!p || get(p + 12, 4) != pages || pages > w->n_pages - no)
        return NULL;
    for (uint64_t i = 1; i < pages; i++)
        if (!meet(w, no + i))
            return NULL;
    count->overflow += pages;
    return p + HEAD;
}

static int compare(enum kind kind, struct bytes a, struct bytes b)
{
    if (kind == FREE) {
        uint64_t x = get(a.p, 8), y = get(b.p, 8);
        return x < y ? -1 : x > y;
    }
    int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* ---- what leaves hold ---- */

static int walk_db(struct walk *w, const struct db *db, enum kind kind);

/* A list of pages: their number, then they. */
static int free_list(struct walk *w, struct bytes v)
{
    if (v.n < 8 || v.n % 8 || get(v.p, 8) != v.n / 8 - 1)
        return KT_E_CORRUPT;
    for (size_t i = 8; i < v.n; i += 8)
        if (!meet(w, get(v.p + i, 8)))
            return KT_E_CORRUPT;
    return 0;
}

static int leaf_value(struct walk *w, enum kind kind, struct bytes v)
{
    if (kind == FREE)
        return free_list(w, v);
    if (kind == TABLE)
        return 0;
    if (v.n != DB_BYTES)
        return KT_E_CORRUPT;
    struct db db = get_db(v.p);
    return walk_db(w, &db, TABLE);
}

/* ---- trees ---- */

struct at {
    enum kind kind;
    unsigned depth;      /* levels from here to the leaves, with this one */
    struct bytes lo, hi; /* keys: lo <= key < hi; p NULL: no bound */
};

static int walk_page(struct walk *w, uint64_t no, const struct at *at,
                     struct db *count);

static int leaf_node(struct walk *w, const uint8_t *n, const uint8_t *end,
                     const struct at *at, struct db *count)
{
    uint16_t flags = (uint16_t)get(n + 4, 2);
    struct bytes k = {n + NODE, get(n + 6, 2)};
    struct bytes v = {k.p + k.n, get(n, 4)};
    if (flags != (at->kind == MAIN ? F_TABLE : flags & F_BIG))
        return KT_E_CORRUPT;
    uint64_t inside = flags & F_BIG ? 8 : v.n;
    if (inside > (size_t)(end - v.p))
        return KT_E_CORRUPT;
    if (flags & F_BIG)
        v.p = overflow(w, get(v.p, 8), v.n, count);
    count->entries++;
    return v.p ? leaf_value(w, at->kind, v) : KT_E_CORRUPT;
}

/* Node i of page p, whose key must be in order; NULL when it is not. */
static const uint8_t *node(const struct walk *w, const uint8_t *p, uint32_t i,
                           const struct at *at, struct bytes *last)
{
    uint64_t off = get(p + HEAD + 2 * (size_t)i, 2);
    if (off < get(p + 14, 2) || off % 2 || off + NODE > w->psize)
        return NULL;
    const uint8_t *n = p + off;
    struct bytes k = {n + NODE, get(n + 6, 2)};
    if (k.n > w->psize - off - NODE)
        return NULL;
    if (at->depth > 1 && i == 0) /* the first key of a branch is not used */
        return n;
    if (k.n == 0 || (at->kind == FREE && k.n != 8) ||
        (last->p && compare(at->kind, *last, k) >= 0) ||
        (at->lo.p && compare(at->kind, at->lo, k) > 0) ||
        (at->hi.p && compare(at->kind, k, at->hi) >= 0))
        return NULL;
    *last = k;
    return n;
}

/* One child of a branch: its keys are between its own and the next one's. */
static int branch_node(struct walk *w, const uint8_t *p, uint32_t i, uint32_t n,
                       const struct at *at, struct db *count)
{
    struct at below = *at;
    const uint8_t *x = p + get(p + HEAD + 2 * (size_t)i, 2);
    below.depth--;
    if (i > 0)
        below.lo = (struct bytes){x + NODE, get(x + 6, 2)};
    if (i + 1 < n) {
        const uint8_t *y = p + get(p + HEAD + 2 * (size_t)i + 2, 2);
        below.hi = (struct bytes){y + NODE, get(y + 6, 2)};
    }
    return walk_page(w, get(x, 6), &below, count);
}

static int walk_page(struct walk *w, uint64_t no, const struct at *at,
                     struct db *count)
{
    const uint8_t *p = page(w, no, at->depth > 1 ? P_BRANCH : P_LEAF);
    if (!p)
        return KT_E_CORRUPT;
    uint64_t lower = get(p + 12, 2), upper = get(p + 14, 2);
    if (lower <= HEAD || lower % 2 || lower > upper || upper > w->psize)
        return KT_E_CORRUPT;
    uint32_t n = (uint32_t)(lower - HEAD) / 2;
    struct bytes last = {NULL, 0};
    *(at->depth > 1 ? &count->branch : &count->leaf) += 1;
    for (uint32_t i = 0; i < n; i++)
        if (!node(w, p, i, at, &last))
            return KT_E_CORRUPT;
    int err = 0;
    for (uint32_t i = 0; i < n && !err; i++)
        err = at->depth > 1 ? branch_node(w, p, i, n, at, count)
                            : leaf_node(w, p + get(p + HEAD + 2 * (size_t)i, 2),
                                        p + w->psize, at, count);
    return err;
}

static int walk_db(struct walk *w, const struct db *db, enum kind kind)
{
    struct at at = {.kind = kind, .depth = db->depth};
    struct db count = {.depth = db->depth};
    int err = 0;
    if (kind == TABLE && db->flags)
        return KT_E_CORRUPT;
    if (db->depth > DEPTH_MAX || (db->depth == 0) != (db->root == NO_PAGE))
        return KT_E_CORRUPT;
    if (db->depth)
        err = walk_page(w, db->root, &at, &count);
    if (!err &&
        (count.branch != db->branch || count.leaf != db->leaf ||
         count.overflow != db->overflow || count.entries != db->entries))
        err = KT_E_CORRUPT;
    return err;
}

/* ---- the two metas ---- */

struct meta {
    uint64_t mapsize, last, txnid;
    uint32_t psize;
    struct db dbs[2];
};

static int get_meta(const uint8_t *p, uint64_t no, struct meta *ret_m)
{
    const uint8_t *m = p + HEAD;
    if (get(p, 8) != no || get(p + 10, 2) != P_META || get(m, 4) != MAGIC ||
        get(m + 4, 4) != 1 || get(m + 8, 8) != 0)
        return KT_E_CORRUPT;
    *ret_m = (struct meta){.mapsize = get(m + 16, 8),
                           .psize = (uint32_t)get(m + 24, 4),
                           .dbs = {get_db(m + 24), get_db(m + 72)},
                           .last = get(m + 120, 8),
                           .txnid = get(m + 128, 8)};
    return 0;
}

/* One commit apart, each on its own page. */
static bool metas_agree(const struct meta m[2])
{
    bool fresh = m[0].txnid == 0 && m[1].txnid == 0;
    return m[0].psize == m[1].psize && m[0].mapsize == m[1].mapsize &&
           m[0].dbs[0].flags == m[1].dbs[0].flags && m[0].dbs[1].flags == 0 &&
           m[1].dbs[1].flags == 0 &&
           (fresh ||
            (m[0].txnid % 2 == 0 && m[1].txnid % 2 == 1 &&
             (m[0].txnid + 1 == m[1].txnid || m[1].txnid + 1 == m[0].txnid)));
}

static int walk_meta(struct walk *w, const struct meta *m)
{
    w->last = m->last;
    w->n_seen = 0;
    if (m->last < 1 || m->last >= m->mapsize / w->psize || m->last > UINT32_MAX)
        return KT_E_CORRUPT;
    w->seen = calloc(m->last + 1, 1);
    if (!w->seen)
        return -ENOMEM;
    int err = walk_db(w, &m->dbs[1], MAIN);
    if (!err)
        err = walk_db(w, &m->dbs[0], FREE);
    if (!err && w->n_seen != m->last - 1)
        err = KT_E_CORRUPT;
    free(w->seen);
    return err;
}

static int check(struct walk *w, size_t len)
{
    struct meta m[2];
    uint32_t psize =
        len < HEAD + META_BYTES ? 0 : (uint32_t)get(w->b + HEAD + 24, 4);
    if (psize < 512 || psize > 65536 || psize & (psize - 1) || len < 2 * psize)
        return KT_E_CORRUPT;
    w->psize = psize;
    w->n_pages = len / psize;
    int err = get_meta(w->b, 0, &m[0]);
    if (!err)
        err = get_meta(w->b + psize, 1, &m[1]);
    if (err || !metas_agree(m))
        return KT_E_CORRUPT;
    /* Nothing can be said of the older tree: after a write of the newer meta
     * failed, LMDB leaves half of the newer one in its place. */
    return walk_meta(w, &m[m[0].txnid < m[1].txnid]);
}

int pages_check(const char *path)
{
    struct walk w = {.b = NULL};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(fd, &st))
        err = -errno;
    if (err || st.st_size == 0) {
        close(fd);
        return err;
    }
    uint8_t *b = malloc((size_t)st.st_size);
    err = b ? kt_pread_all(fd, b, (size_t)st.st_size, 0) : -ENOMEM;
    close(fd);
    w.b = b;
    if (!err)
        err = check(&w, (size_t)st.st_size);
    free(b);
    return err;
}
