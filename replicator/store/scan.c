/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading the log when the store opens.
 *
 *  1. Segments before the tail's hold applied records, good for store_log_read
 *     only: damage there just makes fewer of them.
 *  2. From the tail on every record must be whole and carry the next lsn. The
 *     first that is not ends the log ...
 *  3. ... if nothing says it was durable: not the index, not the superblock,
 *     not a later record that is still readable. Otherwise the log is damaged,
 *     and nothing is cut.
 *  4. Since the same boot nothing that was written can be missing: then a later
 *     record of the last life, durable or not, says the same. Only the very
 *     last one has nothing behind it that could tell. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "replicator/store/disk.h"

struct reader {
    struct store *s;
    struct scan *sc;
    uint8_t *b;     /* a whole segment */
    struct seg *g;  /* it is this one's */
    uint32_t bytes; /* of it that were read */
    uint64_t next_lsn, incarnation;
};

/* ---- segments ---- */

static int load_seg(struct store *s, uint64_t no, const char *name)
{
    uint8_t b[LOG_SEG_HEAD_BYTES];
    struct log_seg_head h;
    int fd = openat(s->dirfd, name, (s->look ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = kt_pread_all(fd, b, sizeof(b), 0);
    if (!err)
        err = log_seg_decode(b, &h);
    if (err || h.no != no || !kt_id_eq(&h.uuid, &s->super.uuid) ||
        h.bytes != s->super.seg_bytes) {
        close(fd); /* half made, or half recycled: no records of its number */
        return 0;
    }
    struct seg *g = calloc(1, sizeof(*g));
    if (!g) {
        close(fd);
        return -ENOMEM;
    }
    g->no = no;
    g->fd = fd;
    g->used = LOG_SEG_HEAD_BYTES;
    seg_add(s, g);
    return 0;
}

int scan_segs(struct store *s)
{
    int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    int err = 0;
    struct dirent *e;
    while (!err && (e = readdir(d))) {
        char *end, name[32];
        if (strncmp(e->d_name, "log.", 4) != 0)
            continue;
        uint64_t no = strtoull(e->d_name + 4, &end, 10);
        seg_name(no, name);
        if (no && !*end && !strcmp(name, e->d_name))
            err = load_seg(s, no, name);
    }
    closedir(d);
    return err;
}

static int read_seg(struct reader *r, struct seg *g)
{
    struct stat st;
    if (r->g == g)
        return 0;
    if (fstat(g->fd, &st))
        return -errno;
    r->g = g;
    r->bytes =
        (uint32_t)kt_min_u64((uint64_t)st.st_size, r->s->super.seg_bytes);
    memset(r->b + r->bytes, 0, r->s->super.seg_bytes - r->bytes);
    int err = kt_pread_all(g->fd, r->b, r->bytes, 0);
    if (err == -EIO)
        memset(r->b, 0, r->bytes); /* unreadable: as if nothing were there */
    return err == -EIO ? 0 : err;
}

/* ---- records ---- */

/* The record at off, whole; its bytes, or 0. */
static uint32_t record_at(const struct reader *r, uint32_t off,
                          struct log_rec_head *ret_h)
{
    uint32_t seg_bytes = r->s->super.seg_bytes;
    if (seg_bytes - off < LOG_REC_HEAD_BYTES ||
        log_rec_decode(r->b + off, ret_h) || ret_h->uuid != r->s->uuid64 ||
        ret_h->seg != r->g->no)
        return 0;
    uint32_t bytes = log_rec_bytes(ret_h->n_sums, ret_h->data_len);
    if (bytes > seg_bytes - off)
        return 0;
    const uint8_t *sums = r->b + off + LOG_REC_HEAD_BYTES;
    return log_rec_check(ret_h, (const uint64_t *)(const void *)sums,
                         sums + 8 * ret_h->n_sums)
               ? bytes
               : 0;
}

/* Hands over the records from off on, up to `upto`; ret_off: where it ended. */
static int read_run(struct reader *r, uint32_t off, uint32_t upto, bool fresh,
                    uint32_t *ret_off)
{
    struct log_rec_head h;
    int err = 0;
    while (!err && off < upto) {
        uint32_t bytes = record_at(r, off, &h);
        if (!bytes || (r->next_lsn && h.lsn != r->next_lsn) ||
            h.incarnation < r->incarnation ||
            h.incarnation > r->s->super.incarnation)
            break;
        const uint8_t *sums = r->b + off + LOG_REC_HEAD_BYTES;
        struct scan_rec found = {.seg = r->g,
                                 .off = off,
                                 .fresh = fresh,
                                 .head = &h,
                                 .sums = (const void *)sums,
                                 .data = sums + 8 * h.n_sums};
        err = r->sc->record(r->sc, &found);
        r->g->last_lsn = h.lsn;
        r->next_lsn = h.lsn + 1;
        r->incarnation = h.incarnation;
        r->sc->durable_lsn = kt_max_u64(r->sc->durable_lsn, h.durable_lsn);
        off += bytes;
        off = h.ends ? log_align(off) : off;
    }
    *ret_off = off;
    return err;
}

static void forget_retained(struct reader *r)
{
    r->sc->gap(r->sc);
    r->next_lsn = 0;
    r->incarnation = 0;
}

/* Step 1; afterwards the reader stands at the tail. */
static int read_retained(struct reader *r)
{
    const struct index_log *t = &r->sc->tail;
    uint64_t no = 0;
    int err = 0;
    for (struct seg *g = r->s->segs; g && !err && g->no <= t->seg;
         g = g->next) {
        uint32_t end = g->no == t->seg ? t->off : r->s->super.seg_bytes, off;
        uint64_t had = r->next_lsn;
        err = read_seg(r, g);
        if (!err && no && g->no != no + 1)
            forget_retained(r);
        no = g->no;
        if (!err)
            err = read_run(r, LOG_SEG_HEAD_BYTES, end, false, &off);
        /* Nothing follows on here? Then what was before is cut off. */
        if (!err && had && r->next_lsn == had && end > LOG_SEG_HEAD_BYTES) {
            forget_retained(r);
            err = read_run(r, LOG_SEG_HEAD_BYTES, end, false, &off);
        }
    }
    if (!err && r->next_lsn != t->lsn)
        forget_retained(r);
    r->next_lsn = t->lsn;
    return err;
}

/* Step 2. The end: s->cur and its `used`. */
static int read_fresh(struct reader *r)
{
    struct store *s = r->s;
    struct seg *g = seg_find(s, r->sc->tail.seg);
    uint32_t off = r->sc->tail.off, end;
    int err = g ? 0 : KT_E_CORRUPT;
    while (!err && g) {
        uint64_t had = r->next_lsn;
        err = read_seg(r, g);
        if (!err)
            err = read_run(r, off, s->super.seg_bytes, true, &end);
        if (!err && (!s->cur || r->next_lsn > had)) {
            s->cur = g;
            g->used = end;
        } else if (!err) {
            break;
        }
        g = g->next && g->next->no == g->no + 1 ? g->next : NULL;
        off = LOG_SEG_HEAD_BYTES;
    }
    r->sc->end_lsn = r->next_lsn - 1;
    r->sc->incarnation = r->incarnation;
    return err;
}

static void note_beyond(struct reader *r, const struct log_rec_head *h)
{
    struct scan *sc = r->sc;
    sc->durable_lsn = kt_max_u64(sc->durable_lsn, h->durable_lsn);
    if (sc->same_boot && h->lsn > sc->end_lsn &&
        h->incarnation == r->s->super.incarnation)
        sc->durable_lsn = kt_max_u64(sc->durable_lsn, h->lsn); /* step 4 */
}

/* The next place at `off` or behind it where a record may begin, or the end. */
static uint32_t next_k(const struct reader *r, uint32_t off)
{
    while (off + LOG_REC_HEAD_BYTES <= r->bytes) {
        const uint8_t *k = memchr(r->b + off, 'K', r->bytes - off);
        if (!k)
            break;
        uint32_t at = (uint32_t)(k - r->b);
        off = (at + 7) & ~7u;
        if (off == at)
            return at;
    }
    return r->bytes;
}

/* Step 3: what readable records behind the end say was durable. */
static int read_beyond(struct reader *r)
{
    struct store *s = r->s;
    struct log_rec_head h;
    int err = 0;
    for (struct seg *g = s->cur; g && !err; g = g->next) {
        err = read_seg(r, g);
        uint32_t off = g == s->cur ? g->used : LOG_SEG_HEAD_BYTES;
        while (!err && (off = next_k(r, off)) < r->bytes) {
            if (record_at(r, off, &h) && h.incarnation <= s->super.incarnation)
                note_beyond(r, &h);
            off += 8;
        }
    }
    return err;
}

int scan_log(struct store *s, struct scan *sc, struct why *w)
{
    struct reader r = {.s = s, .sc = sc};
    r.b = malloc(s->super.seg_bytes);
    if (!r.b)
        return why_set(w, -ENOMEM, "out of memory");
    int err = scan_segs(s);
    if (!err)
        err = read_retained(&r);
    if (!err)
        err = read_fresh(&r);
    if (!err)
        err = read_beyond(&r);
    free(r.b);
    if (!err && sc->end_lsn < sc->durable_lsn)
        err = KT_E_CORRUPT;
    if (err == KT_E_CORRUPT)
        return why_set(w, err,
                       "the log of the store in %s is damaged: record %llu "
                       "cannot be read, and it was durable up to %llu; the "
                       "other replicas have what it held: move the directory "
                       "away and start with an empty one",
                       s->dir, (unsigned long long)sc->end_lsn + 1,
                       (unsigned long long)sc->durable_lsn);
    if (err)
        return why_set(w, err, "cannot read the log of the store in %s: %s",
                       s->dir, kt_strerror(err));
    return 0;
}
