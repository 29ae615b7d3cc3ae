/* SPDX-License-Identifier: BSD-3-Clause */
/* Log segments: log.NNNNNNNN, numbered without gaps; the newest takes the
 * records, the next one (the spare) is always prepared ahead, so that an
 * append never waits for a file to be made and never meets a full disk. It is
 * written over with zeros when it is made: a sync of records in it is one of
 * their bytes and of nothing else.
 *
 * Applied segments are kept a while for store_log_read; beyond
 * LOG_SEGS_RETAINED, or when there is no room for a new file, the oldest one
 * becomes the spare: its head is rewritten before its name changes, and records
 * of its former life carry the old number under their checksum. When the slots
 * find the disk full, retained segments are given back to it, and for a minute
 * no new ones are made: what clients write goes before what may be of use. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/disk.h"
#include "replicator/store/io.h"

#define FRUGAL_US 60000000u

const uint8_t io_zeros[IO_ZEROS_BYTES] __attribute__((aligned(4096))) = {0};

int io_allocate(int fd, uint64_t off, uint64_t len)
{
    int err;
    do
        err = posix_fallocate(fd, (off_t)off, (off_t)len);
    while (err == EINTR);
    return -err;
}

/* Not through the page cache where that can be: it has no use for them, and
 * large folios full of them make small writes there slow to sync. */
int io_write_zeros(int fd, uint64_t len)
{
    int flags = fcntl(fd, F_GETFL), err = 0;
    bool direct = flags >= 0 && !fcntl(fd, F_SETFL, flags | O_DIRECT);
    for (uint64_t off = 0; off < len && !err;) {
        uint64_t n = kt_min_u64(len - off, IO_ZEROS_BYTES);
        err = kt_pwrite_all(fd, io_zeros, n, off);
        if (err == -EINVAL && direct) {
            direct = false;
            err = fcntl(fd, F_SETFL, flags) ? -errno : 0;
        } else {
            off += n;
        }
    }
    if (direct && fcntl(fd, F_SETFL, flags) && !err)
        err = -errno;
    return err;
}

void seg_name(uint64_t no, char ret_name[32])
{
    snprintf(ret_name, 32, "log.%08llu", (unsigned long long)no);
}

void seg_free(struct seg *g)
{
    if (!g)
        return;
    if (g->fd >= 0)
        close(g->fd);
    free(g);
}

void seg_add(struct store *s, struct seg *g)
{
    struct seg **at = &s->segs;
    while (*at && (*at)->no < g->no)
        at = &(*at)->next;
    g->next = *at;
    *at = g;
    s->n_segs++;
}

struct seg *seg_find(struct store *s, uint64_t no)
{
    struct seg *g = s->segs;
    while (g && g->no != no)
        g = g->next;
    return g;
}

static int head_write(struct store *s, int fd, uint64_t no)
{
    uint8_t b[LOG_SEG_HEAD_BYTES];
    struct log_seg_head h = {.uuid = s->super.uuid,
                             .no = no,
                             .incarnation = s->super.incarnation,
                             .bytes = s->super.seg_bytes};
    log_seg_encode(&h, b);
    return kt_pwrite_all(fd, b, sizeof(b), 0);
}

static int file_new(struct store *s, const char *name)
{
    int fd =
        openat(s->dirfd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int err = io_allocate(fd, 0, s->super.seg_bytes);
    if (!err)
        err = io_write_zeros(fd, s->super.seg_bytes);
    if (!err)
        return fd;
    close(fd);
    unlinkat(s->dirfd, name, 0);
    return err;
}

int seg_make(struct store *s, uint64_t no, struct seg *old,
             struct seg **ret_seg)
{
    char name[32], old_name[32];
    seg_name(no, name);
    struct seg *g = old ? old : calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    int fd = old ? old->fd : file_new(s, name);
    if (fd < 0) {
        free(g);
        return fd;
    }
    int err = head_write(s, fd, no);
    if (!err && old) {
        seg_name(old->no, old_name);
        if (renameat(s->dirfd, old_name, s->dirfd, name))
            err = -errno;
    }
    if (!err)
        err = store_fsync(s, fd);
    if (!err)
        err = store_fsync(s, s->dirfd);
    if (err) {
        if (!old) {
            close(fd);
            free(g);
        }
        return err;
    }
    *g = (struct seg){.no = no, .fd = fd, .used = LOG_SEG_HEAD_BYTES};
    *ret_seg = g;
    return 0;
}

/* ---- the spare ---- */

struct seg_job {
    struct job job;
    uint64_t no;
    struct seg *old, *made;
};

static int spare_run(struct job *j)
{
    struct seg_job *p = kt_container_of(j, struct seg_job, job);
    return seg_make(j->store, p->no, p->old, &p->made);
}

static bool seg_is_applied(const struct store *s, const struct seg *g)
{
    return g != s->cur && g->last_lsn < s->tail_lsn;
}

/* Takes the oldest applied segment off the list, when nothing reads it. */
static struct seg *take_oldest(struct store *s)
{
    struct seg *g = s->segs;
    if (!g || g->pins || !seg_is_applied(s, g))
        return NULL;
    s->segs = g->next;
    s->n_segs--;
    return g;
}

static void prepare(struct store *s, struct seg *old);

static void spare_done(struct job *j)
{
    struct store *s = j->store;
    struct seg_job *p = kt_container_of(j, struct seg_job, job);
    s->preparing = false;
    if (!j->err) {
        s->spare = p->made;
        append_retry_held(s);
    } else if (p->old) {
        seg_free(p->old);
        if (!s->err)
            store_fault(s, j->err);
    } else if (j->err == -ENOSPC || j->err == -EDQUOT || j->err == -ENOMEM) {
        /* No room for one more: use an old one, now or after a batch. */
        struct seg *old = take_oldest(s);
        if (old)
            prepare(s, old);
        else
            apply_want(s);
    } else if (!s->err) {
        store_fault(s, j->err);
    }
    free(p);
}

static void prepare(struct store *s, struct seg *old)
{
    struct seg_job *p = calloc(1, sizeof(*p));
    if (!p) {
        store_fault(s, -ENOMEM);
        return;
    }
    p->job.run = spare_run;
    p->job.done = spare_done;
    p->old = old;
    p->no = s->cur->no + 1;
    s->preparing = true;
    job_post(&s->meta, &p->job);
}

/* ---- a full disk ---- */

/* Slots want the room more than records that are applied do. */
static bool is_frugal(const struct store *s)
{
    uint64_t at = s->slots.short_us;
    return at && kt_now_us() - at < FRUGAL_US;
}

struct give_job {
    struct job job;
    struct seg *segs;
};

/* Should a crash bring some of them back, they are applied ones as before. */
static int give_run(struct job *j)
{
    struct give_job *p = kt_container_of(j, struct give_job, job);
    int err = 0;
    for (struct seg *g = p->segs; g && !err; g = g->next) {
        char name[32];
        seg_name(g->no, name);
        if (unlinkat(j->store->dirfd, name, 0))
            err = -errno;
        close(g->fd); /* here the blocks are free */
        g->fd = -1;
    }
    return err;
}

static void give_done(struct job *j)
{
    struct store *s = j->store;
    struct give_job *p = kt_container_of(j, struct give_job, job);
    struct seg *g;
    while ((g = p->segs)) {
        p->segs = g->next;
        seg_free(g);
    }
    if (j->err && !s->err)
        store_fault(s, j->err);
    free(p);
    slots_given_back(s);
}

bool seg_give_back(struct store *s)
{
    struct give_job *p = calloc(1, sizeof(*p));
    struct seg *g, **last = p ? &p->segs : NULL;
    while (p && s->n_segs > LOG_SEGS_MIN && (g = take_oldest(s))) {
        g->next = NULL;
        *last = g;
        last = &g->next;
    }
    if (!p || !p->segs) {
        free(p);
        return false;
    }
    p->job.run = give_run;
    p->job.done = give_done;
    job_post(&s->meta, &p->job);
    return true;
}

void seg_want_spare(struct store *s)
{
    if (s->spare || s->preparing || s->err)
        return;
    uint32_t applied = 0;
    bool most = s->n_segs >= (is_frugal(s) ? LOG_SEGS_MIN : LOG_SEGS_MAX);
    for (const struct seg *g = s->segs; g; g = g->next)
        applied += seg_is_applied(s, g);
    struct seg *old = NULL;
    if (applied > LOG_SEGS_RETAINED || most)
        old = take_oldest(s);
    if (!old && most) {
        /* Waiting helps only if there is something to apply; unacknowledged
         * records alone must not stop the records that get them acked. */
        apply_want(s);
        if (apply_possible(s) || s->n_segs + 4 > KT_ARRAY_LEN(s->dirty))
            return;
    }
    prepare(s, old);
}

bool seg_room(struct store *s, uint32_t bytes)
{
    assert(LOG_SEG_HEAD_BYTES + bytes <= s->super.seg_bytes);
    if (log_align(s->cur->used) + bytes <= s->super.seg_bytes)
        return true;
    if (!s->spare) {
        seg_want_spare(s);
        return false;
    }
    s->cur = s->spare;
    s->spare = s->spare->next;
    seg_add(s, s->cur);
    seg_want_spare(s);
    return true;
}
