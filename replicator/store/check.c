/* SPDX-License-Identifier: BSD-3-Clause */
/* The offline check: the same steps as an opening, up to the point where
 * something would be changed, then every sector of every slot.
 *
 * A sector that a record of the log writes again is passed over: a batch may
 * have been cut off half way there, and replay mends it. */
#include "replicator/store/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/disk.h"

#define CHUNK_SECTORS 64u

struct check {
    struct store *s;
    struct store_check *c;
    uint64_t sums[KT_EXTENT_SECTORS];
    uint8_t data[CHUNK_SECTORS * KT_SECTOR_BYTES];
};

static void tell(struct store_check *c, const struct store_problem *p)
{
    c->problems++;
    if (c->problem)
        c->problem(c->arg, p);
}

static void tell_part(struct store_check *c, enum store_part part,
                      const char *text)
{
    tell(c, &(struct store_problem){.part = part, .text = text});
}

/* ---- slots ---- */

static void tell_at(struct check *k, enum store_part part,
                    const struct extent *e, uint32_t n, const char *text)
{
    struct store_problem p = {.part = part,
                              .chain = e->chain->id,
                              .extent = e->no,
                              .sector = n,
                              .text = text};
    uint32_t at = e->slot % SLOTS_PER_FILE;
    snprintf(p.file, sizeof(p.file), "data.%03u", e->slot / SLOTS_PER_FILE);
    p.off = (uint64_t)at * KT_EXTENT_BYTES + (uint64_t)n * KT_SECTOR_BYTES;
    tell(k->c, &p);
}

static bool in_slot(const struct extent *e, uint32_t n)
{
    return (e->presence[n / 8] >> (n % 8) & 1) && !overlay_at(e, n);
}

/* Some sectors of an extent, [first, first + CHUNK_SECTORS). */
static void check_chunk(struct check *k, const struct extent *e, uint32_t first)
{
    const struct slots *m = &k->s->slots;
    uint64_t at = (uint64_t)(e->slot % SLOTS_PER_FILE) * KT_EXTENT_BYTES;
    bool any = false;
    for (uint32_t i = 0; i < CHUNK_SECTORS; i++)
        any = any || in_slot(e, first + i);
    if (!any)
        return;
    int fd = m->data_fd[e->slot / SLOTS_PER_FILE];
    at += (uint64_t)first * KT_SECTOR_BYTES;
    int err = kt_pread_all(fd, k->data, sizeof(k->data), at);
    for (uint32_t i = 0; i < CHUNK_SECTORS; i++) {
        const uint8_t *b = k->data + (size_t)i * KT_SECTOR_BYTES;
        if (!in_slot(e, first + i))
            continue;
        k->c->sectors++;
        /* The disk may refuse one sector of many. */
        if (err &&
            kt_pread_all(fd, k->data + (size_t)i * KT_SECTOR_BYTES,
                         KT_SECTOR_BYTES, at + (uint64_t)i * KT_SECTOR_BYTES))
            tell_at(k, STORE_PART_SECTOR, e, first + i,
                    "the disk does not give its bytes");
        else if (kt_sum64(b, KT_SECTOR_BYTES) != k->sums[first + i])
            tell_at(k, STORE_PART_SECTOR, e, first + i,
                    "its bytes do not match their sum");
    }
}

static void check_extent(struct check *k, const struct extent *e)
{
    const struct slots *m = &k->s->slots;
    k->c->extents += !extent_is_blank(&e->vis);
    if (e->slot == SLOT_NONE)
        return;
    k->c->slots_used++;
    if (e->slot >= m->ready) {
        tell_at(k, STORE_PART_SLOTS, e, 0,
                "the slot files end before its extent");
        return;
    }
    uint64_t at = (uint64_t)(e->slot % SLOTS_PER_FILE) * CSUM_SLOT_BYTES;
    if (kt_pread_all(m->csum_fd[e->slot / SLOTS_PER_FILE], k->sums,
                     sizeof(k->sums), at)) {
        tell_at(k, STORE_PART_SLOTS, e, 0,
                "the disk does not give the sums of its extent");
        return;
    }
    for (uint32_t n = 0; n < KT_EXTENT_SECTORS; n += CHUNK_SECTORS)
        check_chunk(k, e, n);
}

static int check_slots(struct store *s, struct store_check *c)
{
    struct check *k = malloc(sizeof(*k));
    if (!k)
        return -ENOMEM;
    k->s = s;
    k->c = c;
    for (uint32_t i = 0; i < s->n_chains; i++)
        for (uint32_t e = 0; e < s->chains[i]->n_extents; e++)
            if (s->chains[i]->ext[e])
                check_extent(k, s->chains[i]->ext[e]);
    free(k);
    return 0;
}

/* ---- the whole ---- */

static void note_super(const struct store *s, struct store_check *c)
{
    c->uuid = s->super.uuid;
    c->node = s->super.node;
    c->format = s->super.version;
    c->incarnation = s->super.incarnation - s->super.one_bad;
    c->clean = s->super.clean;
    c->slots = s->super.capacity / KT_EXTENT_BYTES;
    if (s->super.one_bad)
        tell_part(c, STORE_PART_SUPER,
                  "one of the two superblocks is damaged, as a loss of power "
                  "may leave it; the other is good, and the next start "
                  "mends it");
}

/* What is damaged is told and no error; the rest goes on without it. */
static int damage(struct store_check *c, enum store_part part, int err,
                  const char *why)
{
    if (err != KT_E_CORRUPT)
        return err;
    tell_part(c, part, why);
    return 0;
}

static int look(struct store *s, struct store_check *c, struct why *w)
{
    struct scan_result r = {.records = 0};
    int err = load_files(s, true, w);
    if (err)
        return damage(c, STORE_PART_INDEX, err, w->text);
    err = replay_look(s, &r, &c->index_read, w);
    c->log_read = !err;
    c->segments = s->n_segs;
    c->records = r.records;
    c->fresh = r.fresh;
    c->end_lsn = r.end_lsn;
    c->chains = s->n_chains;
    if (err)
        err = damage(c, c->index_read ? STORE_PART_LOG : STORE_PART_INDEX, err,
                     w->text);
    if (!err && c->index_read) {
        err = check_slots(s, c);
        if (err)
            why_set(w, err, "out of memory");
    }
    return err;
}

int store_check(const char *dir, struct store_check *c, char *ret_why,
                size_t why_size)
{
    struct store_opts o = {.create = false, .boot = c->boot};
    struct why w = {ret_why, why_size};
    struct store *s = store_blank(dir, &o);
    if (!s)
        return why_set(&w, -ENOMEM, "out of memory");
    int err = dir_look(s, dir, &w);
    if (!err) {
        err = load_super(s, &w);
        if (err)
            err = damage(c, STORE_PART_SUPER, err, ret_why);
        else {
            note_super(s, c);
            err = look(s, c, &w);
        }
    }
    store_free(s);
    return err;
}
