/* SPDX-License-Identifier: BSD-3-Clause */
/* One step of a scrub.
 *
 *  1. On the loop: which sectors of the piece are in the slot and in no record
 *     on its way (the batch under way has those), as read.c does it.
 *  2. On the scrub thread: sums and sectors are read with O_DIRECT, where the
 *     file system has that: what the page cache holds is not what the disk
 *     holds. Otherwise pages are dropped first.
 *  3. Back on the loop: when the slot changed meanwhile (gen) it is all done
 *     again; so it is, once, when something does not match. */
#include "replicator/store/scrub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/disk.h"

#define SECTORS (STORE_SCRUB_BYTES / KT_SECTOR_BYTES)
#define PAGE_BYTES 4096u
#define MOVES_MAX 8u /* then it is written all the time, and so looked at */

_Static_assert(SECTORS == 64, "one bit each");

struct scrub_job {
    struct job job;
    struct store_scrub *op;
    struct extent *ext;
    uint32_t gen, slot;
    unsigned moves;
    uint64_t todo, bad;
    bool again;
    uint8_t *mem; /* a page of sums, then the sectors */
};

/* ---- on the thread ---- */

/* Idle: served when nobody else wants the disk. Where the scheduler of the disk
 * has no such class the rate is what protects others. */
static void become_idle(void)
{
    enum { WHO_PROCESS = 1, CLASS_SHIFT = 13, CLASS_IDLE = 3 };
    static _Thread_local bool done;
    if (!done)
        (void)syscall(SYS_ioprio_set, WHO_PROCESS, 0,
                      CLASS_IDLE << CLASS_SHIFT);
    done = true;
}

static int open_one(const struct store *s, const char *kind, uint32_t no)
{
    char name[32];
    snprintf(name, sizeof(name), "%s.%03u", kind, no);
    int fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (fd < 0 && errno == EINVAL)
        fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Descriptors of its own for one pair of files at a time. */
static int open_pair(struct store *s, uint32_t no)
{
    struct scrub_files *f = &s->scrub_files;
    if (f->open && f->no == no)
        return 0;
    scrub_close(s);
    int d = open_one(s, "data", no), c = open_one(s, "csum", no);
    if (d < 0 || c < 0) {
        if (d >= 0)
            close(d);
        if (c >= 0)
            close(c);
        return d < 0 ? d : c;
    }
    *f = (struct scrub_files){true, no, d, c};
    return 0;
}

void scrub_close(struct store *s)
{
    struct scrub_files *f = &s->scrub_files;
    if (!f->open)
        return;
    close(f->data_fd);
    close(f->csum_fd);
    f->open = false;
}

/* From the medium: clean pages are dropped, dirty ones are newer than it. */
static int read_raw(int fd, void *b, size_t len, uint64_t at)
{
    (void)posix_fadvise(fd, (off_t)at, (off_t)len, POSIX_FADV_DONTNEED);
    return kt_pread_all(fd, b, len, at);
}

static uint64_t compare(struct scrub_job *j, const uint64_t *sums, uint64_t at)
{
    const struct scrub_files *f = &j->job.store->scrub_files;
    uint8_t *data = j->mem + PAGE_BYTES;
    uint64_t bad = 0;
    int err = read_raw(f->data_fd, data, STORE_SCRUB_BYTES, at);
    for (uint32_t i = 0; i < SECTORS; i++) {
        uint8_t *b = data + (size_t)i * KT_SECTOR_BYTES;
        if (!(j->todo >> i & 1))
            continue;
        /* The disk may refuse one sector of many. */
        if ((err && read_raw(f->data_fd, b, KT_SECTOR_BYTES,
                             at + (uint64_t)i * KT_SECTOR_BYTES)) ||
            kt_sum64(b, KT_SECTOR_BYTES) != sums[i])
            bad |= 1ull << i;
    }
    return bad;
}

static int scrub_run(struct job *job)
{
    struct scrub_job *j = kt_container_of(job, struct scrub_job, job);
    struct store *s = job->store;
    uint32_t at = j->slot % SLOTS_PER_FILE;
    uint32_t first = j->op->off / KT_SECTOR_BYTES;
    uint64_t sums_at = (uint64_t)at * CSUM_SLOT_BYTES + 8 * (uint64_t)first;
    uint64_t page = sums_at & ~(uint64_t)(PAGE_BYTES - 1);
    uint64_t data_at = (uint64_t)at * KT_EXTENT_BYTES + j->op->off;
    become_idle();
    int err = open_pair(s, j->slot / SLOTS_PER_FILE);
    if (err)
        return err;
    if (read_raw(s->scrub_files.csum_fd, j->mem, PAGE_BYTES, page))
        j->bad = j->todo;
    else
        j->bad = compare(j, (const void *)(j->mem + (sums_at - page)), data_at);
    if (j->bad) { /* whoever reads it next reads the disk, too */
        uint32_t file = j->slot / SLOTS_PER_FILE;
        (void)posix_fadvise(s->slots.data_fd[file], (off_t)data_at,
                            STORE_SCRUB_BYTES, POSIX_FADV_DONTNEED);
        (void)posix_fadvise(s->slots.csum_fd[file], (off_t)page, PAGE_BYTES,
                            POSIX_FADV_DONTNEED);
    }
    return 0;
}

/* ---- on the loop ---- */

static void look_up(struct scrub_job *j)
{
    const struct extent *e = j->ext;
    uint32_t first = j->op->off / KT_SECTOR_BYTES;
    j->todo = 0;
    for (uint32_t i = 0; e->slot != SLOT_NONE && i < SECTORS; i++) {
        uint32_t k = first + i;
        if ((e->presence[k / 8] >> (k % 8) & 1) && !overlay_at(e, k))
            j->todo |= 1ull << i;
    }
    j->gen = e->gen;
    j->slot = e->slot;
}

static void finish(struct scrub_job *j, int err)
{
    struct store *s = j->ext->chain->store;
    struct store_scrub *r = j->op;
    for (uint32_t i = 0; !err && i < SECTORS; i++) {
        r->ret_sectors += j->todo >> i & 1;
        if (!(j->bad >> i & 1))
            continue;
        r->ret_bad |= 1ull << i;
        mend_note_bad(j->ext, r->off / KT_SECTOR_BYTES + i);
    }
    free(j->mem);
    free(j);
    op_ready(s, &r->op, err);
}

static void scrub_done(struct job *job)
{
    struct scrub_job *j = kt_container_of(job, struct scrub_job, job);
    struct store *s = job->store;
    bool moved = j->gen != j->ext->gen;
    int err = s->err ? KT_E_FAULTY : job->err;
    if (err || (!moved && (!j->bad || j->again))) {
        finish(j, err);
        return;
    }
    if (moved && j->moves++ == MOVES_MAX) {
        j->todo = j->bad = 0;
        finish(j, 0);
        return;
    }
    j->again = !moved;
    look_up(j);
    job_post(&s->scrub, job);
}

void store_scrub(struct store *s, struct store_scrub *r)
{
    op_start(s, &r->op, STORE_READ); /* the kind is of no use on disk */
    r->ret_sectors = 0;
    r->ret_bad = 0;
    bool valid = r->extent < r->chain->n_extents &&
                 r->off % STORE_SCRUB_BYTES == 0 && r->off < KT_EXTENT_BYTES;
    struct extent *e = valid ? r->chain->ext[r->extent] : NULL;
    int err = s->err ? KT_E_FAULTY : valid ? 0 : KT_E_INVALID;
    struct scrub_job *j = e && !err ? calloc(1, sizeof(*j)) : NULL;
    if (j) {
        j->op = r;
        j->ext = e;
        look_up(j);
        void *mem = NULL;
        if (j->todo)
            err = -posix_memalign(&mem, PAGE_BYTES,
                                  PAGE_BYTES + STORE_SCRUB_BYTES);
        j->mem = mem;
    } else if (e && !err) {
        err = -ENOMEM;
    }
    if (!j || !j->mem) {
        free(j);
        op_ready(s, &r->op, err);
        return;
    }
    j->job.run = scrub_run;
    j->job.done = scrub_done;
    job_post(&s->scrub, &j->job);
}

uint32_t store_scrub_next(const struct store_chain *c, uint32_t extent)
{
    for (; extent < c->n_extents; extent++)
        if (c->ext[extent] && c->ext[extent]->slot != SLOT_NONE)
            return extent;
    return UINT32_MAX;
}

uint64_t store_scrub_total(const struct store *s)
{
    return (uint64_t)s->slots.assigned * KT_EXTENT_BYTES;
}
