/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots: data.NNN holds 1024 of 4 MiB, csum.NNN their sums, 8 KiB each.
 *
 * Numbers below `ready` are backed by disk blocks: the meta worker allocates
 * ahead, so a full disk shows there, where a grant falls short, and never in
 * a write. A record that needs a slot reserves one when it is submitted; the
 * number is chosen when the batch that fills it is made. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/disk.h"
#include "replicator/store/io.h"

#define GROW_MIN 16u
#define LOW_WATER 8u
#define RETRY_US 2000000u

uint32_t slots_spare(const struct store *s)
{
    uint32_t used = s->slots.assigned + s->slots.reserved + s->slots.set_aside;
    return s->slots.ready > used ? s->slots.ready - used : 0;
}

/* ---- files ---- */

static int file_open(struct store *s, const char *kind, uint32_t no, bool make)
{
    char name[32];
    snprintf(name, sizeof(name), "%s.%03u", kind, no);
    int how = s->look ? O_RDONLY : O_RDWR;
    int fd =
        openat(s->dirfd, name, how | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
    return fd < 0 ? -errno : fd;
}

static int open_pair(struct store *s, uint32_t no, bool make)
{
    struct slots *m = &s->slots;
    int d = file_open(s, "data", no, make);
    if (d < 0)
        return d;
    int c = file_open(s, "csum", no, make);
    if (c < 0) {
        close(d);
        return c;
    }
    m->data_fd[no] = d;
    m->csum_fd[no] = c;
    return 0;
}

/* How many slots of file pair no have their blocks. */
static int pair_slots(struct store *s, uint32_t no, uint32_t *ret_n)
{
    struct stat d, c;
    if (fstat(s->slots.data_fd[no], &d) || fstat(s->slots.csum_fd[no], &c))
        return -errno;
    uint64_t n = kt_min_u64((uint64_t)d.st_size / KT_EXTENT_BYTES,
                            (uint64_t)c.st_size / CSUM_SLOT_BYTES);
    *ret_n = (uint32_t)kt_min_u64(n, SLOTS_PER_FILE);
    return 0;
}

int slots_open(struct store *s, bool create)
{
    struct slots *m = &s->slots;
    m->total = (uint32_t)(s->super.capacity / KT_EXTENT_BYTES);
    m->map = calloc(m->total / 64 + 1, sizeof(m->map[0]));
    uint32_t n_files = m->total / SLOTS_PER_FILE + 1;
    m->data_fd = calloc(n_files, sizeof(int));
    m->csum_fd = calloc(n_files, sizeof(int));
    if (!m->map || !m->data_fd || !m->csum_fd)
        return -ENOMEM;
    m->n_files = n_files;
    for (uint32_t i = 0; i < n_files; i++)
        m->data_fd[i] = m->csum_fd[i] = -1;
    for (uint32_t i = 0; !create && i < n_files; i++) {
        uint32_t n;
        int err = open_pair(s, i, false);
        if (!err)
            err = pair_slots(s, i, &n);
        if (err)
            return err == -ENOENT ? 0 : err;
        m->ready = i * SLOTS_PER_FILE + n;
        if (n < SLOTS_PER_FILE)
            break;
    }
    m->ready = (uint32_t)kt_min_u64(m->ready, m->total);
    return 0;
}

void slots_close(struct store *s)
{
    struct slots *m = &s->slots;
    for (uint32_t i = 0; i < m->n_files; i++) {
        if (m->data_fd[i] >= 0)
            close(m->data_fd[i]);
        if (m->csum_fd[i] >= 0)
            close(m->csum_fd[i]);
    }
    free(m->data_fd);
    free(m->csum_fd);
    free(m->map);
}

/* Blocks for slots [from, upto) of one file pair. */
static int grow_pair(struct store *s, uint32_t from, uint32_t upto)
{
    struct slots *m = &s->slots;
    uint32_t no = from / SLOTS_PER_FILE, at = from % SLOTS_PER_FILE;
    uint32_t n = upto - from;
    int err = m->data_fd[no] < 0 ? open_pair(s, no, true) : 0;
    if (!err)
        err = io_allocate(m->csum_fd[no], (uint64_t)at * CSUM_SLOT_BYTES,
                          (uint64_t)n * CSUM_SLOT_BYTES);
    if (!err)
        err = io_allocate(m->data_fd[no], (uint64_t)at * KT_EXTENT_BYTES,
                          (uint64_t)n * KT_EXTENT_BYTES);
    if (!err)
        err = store_fsync(s, m->csum_fd[no]);
    if (!err)
        err = store_fsync(s, m->data_fd[no]);
    if (!err)
        err = store_fsync(s, s->dirfd);
    return err;
}

int slots_grow(struct store *s, uint32_t upto)
{
    int err = 0;
    while (!err && s->slots.ready < upto) {
        uint32_t from = s->slots.ready;
        uint32_t end = (from / SLOTS_PER_FILE + 1) * SLOTS_PER_FILE;
        end = (uint32_t)kt_min_u64(end, upto);
        err = grow_pair(s, from, end);
        if (!err)
            s->slots.ready = end;
    }
    return err;
}

/* ---- growing in the background ---- */

struct grow_job {
    struct job job;
    uint32_t from, upto;
};

static int grow_run(struct job *j)
{
    struct grow_job *g = kt_container_of(j, struct grow_job, job);
    return grow_pair(j->store, g->from, g->upto);
}

static void grow_done(struct job *j)
{
    struct store *s = j->store;
    struct grow_job *g = kt_container_of(j, struct grow_job, job);
    s->slots.growing = false;
    if (!j->err) {
        s->slots.ready = g->upto;
        s->slots.full = false;
    } else if (j->err == -ENOSPC || j->err == -EDQUOT || j->err == -EFBIG) {
        s->slots.full = true;
        s->slots.refused_us = s->slots.short_us = kt_now_us();
        s->slots.growing = seg_give_back(s);
    } else if (!s->err) {
        store_fault(s, j->err);
    }
    free(g);
    append_retry_held(s);
}

void slots_given_back(struct store *s)
{
    s->slots.growing = false;
    s->slots.refused_us = 0;
    append_retry_held(s);
}

static bool may_grow(const struct store *s)
{
    const struct slots *m = &s->slots;
    return m->ready < m->total && !s->err &&
           (!m->full || kt_now_us() - m->refused_us > RETRY_US);
}

void slots_want_more(struct store *s, uint32_t n)
{
    struct slots *m = &s->slots;
    if (m->growing || slots_spare(s) >= n + LOW_WATER || !may_grow(s))
        return;
    struct grow_job *g = calloc(1, sizeof(*g));
    if (!g)
        return;
    uint32_t end = (m->ready / SLOTS_PER_FILE + 1) * SLOTS_PER_FILE;
    end = (uint32_t)kt_min_u64(end, m->total);
    /* When the disk is nearly full, what is left is found one by one. */
    uint32_t want = m->full ? 1 : (uint32_t)kt_max_u64(n, GROW_MIN);
    g->from = m->ready;
    g->upto = (uint32_t)kt_min_u64(end, m->ready + want);
    g->job.run = grow_run;
    g->job.done = grow_done;
    m->growing = true;
    job_post(&s->meta, &g->job);
}

/* ---- the map ---- */

bool slots_mark(struct store *s, uint32_t slot)
{
    struct slots *m = &s->slots;
    if (slot >= m->total || (m->map[slot / 64] >> (slot % 64) & 1))
        return false;
    m->map[slot / 64] |= 1ull << (slot % 64);
    m->assigned++;
    return true;
}

uint32_t slots_take(struct store *s)
{
    struct slots *m = &s->slots;
    assert(m->reserved > 0);
    for (uint32_t i = 0; i < m->ready; i++) {
        uint32_t k = (m->hint + i) % m->ready;
        if (!slots_mark(s, k))
            continue;
        m->hint = k + 1;
        m->reserved--;
        return k;
    }
    return SLOT_NONE;
}

void slots_give(struct store *s, uint32_t slot)
{
    struct slots *m = &s->slots;
    assert(m->map[slot / 64] >> (slot % 64) & 1);
    m->map[slot / 64] &= ~(1ull << (slot % 64));
    m->assigned--;
}

bool extent_holds(const struct extent *e)
{
    return e->slot != SLOT_NONE || e->reserved ||
           (e->in_batch && e->batch_slot != SLOT_NONE);
}

int slots_reserve(struct store *s, struct extent *e)
{
    struct slots *m = &s->slots;
    struct store_chain *c = e->chain;
    if (extent_holds(e))
        return 0;
    if (c->granted) {
        c->granted--;
        m->set_aside--;
    } else if (slots_spare(s) == 0) {
        slots_want_more(s, 1);
        return m->growing ? -EAGAIN : -ENOSPC;
    }
    m->reserved++;
    e->reserved = true;
    return 0;
}

/* ---- grants ---- */

uint32_t store_grant(struct store *s, struct store_chain *c, uint32_t want)
{
    struct slots *m = &s->slots;
    if (s->err)
        return c->granted;
    uint32_t n =
        fold_grant(c->granted, want, slots_spare(s), m->set_aside, s->n_chains);
    m->set_aside = m->set_aside - c->granted + n;
    c->granted = n;
    slots_want_more(s, want - (n < want ? n : want));
    /* Slots on their way back are worth waiting for. */
    bool coming = n < want && m->freeing && apply_possible(s);
    if (coming)
        apply_want(s);
    /* A share that is small because others have theirs is no full store. */
    s->short_of = n < want && slots_spare(s) == 0 && !coming && !m->growing &&
                  !may_grow(s);
    return n;
}

bool store_is_full(const struct store *s)
{
    return s->short_of;
}

void store_ungrant(struct store *s, struct store_chain *c)
{
    s->slots.set_aside -= c->granted;
    c->granted = 0;
}
