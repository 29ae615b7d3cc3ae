/* SPDX-License-Identifier: BSD-3-Clause */
/* Sectors whose bytes do not match their sum: counted, and put right with what
 * another member has.
 *
 * The other's sector is taken when its sum is the one this store has written
 * down: then the bytes here are wrong, and are written anew. When instead its
 * sum is that of the bytes here, the sum written down is wrong. Otherwise the
 * other is further on, and a record on its way will write the sector. So no
 * position in the history need be compared.
 *
 * The apply worker does it, between batches: nobody else writes to slots. A
 * batch ahead of it may free the slot; it is given to nobody before the loop
 * has heard of that, which is after this job was posted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/disk.h"

#define BAD_WINDOW_US (600ull * 1000000)

/* ---- counting ---- */

void mend_note_bad(struct extent *e, uint32_t sector)
{
    struct store *s = e->chain->store;
    uint64_t now = store_now(s), recent = 1;
    for (unsigned i = 0; i < BAD_SECTORS_MAX; i++) {
        const struct bad_sector *b = &s->bad[i];
        if (!b->at_us || now - b->at_us > BAD_WINDOW_US)
            continue;
        if (b->chain == e->chain->id && b->extent == e->no &&
            b->sector == sector)
            return; /* asked for again */
        recent++;
    }
    s->bad[s->n_bad++ % BAD_SECTORS_MAX] =
        (struct bad_sector){now, e->chain->id, e->no, sector};
    if (recent >= BAD_SECTORS_MAX && !s->err)
        store_fault(s, KT_E_CORRUPT);
}

/* ---- mending ---- */

struct mend_job {
    struct job job;
    struct store_mend *op;
    struct extent *ext;
    int dfd, cfd;
    uint64_t doff, coff; /* of the first sector */
    bool todo[KT_RECORD_SECTORS_MAX];
    bool data_dirty, sums_dirty;
};

/* One sector. 0 or why the disk refused to write. */
static int mend_sector(struct mend_job *m, uint32_t i, const uint8_t *theirs)
{
    uint8_t b[KT_SECTOR_BYTES];
    uint64_t sum, their_sum = m->op->buf->sums[i], is = 0;
    uint64_t doff = m->doff + (uint64_t)i * KT_SECTOR_BYTES;
    uint64_t coff = m->coff + 8 * (uint64_t)i;
    bool have_sum = !kt_pread_all(m->cfd, &sum, sizeof(sum), coff);
    if (!kt_pread_all(m->dfd, b, sizeof(b), doff))
        is = kt_sum64(b, sizeof(b));
    if (have_sum && is && is == sum)
        return 0; /* a batch came first */
    if (have_sum && their_sum && their_sum == sum) {
        m->data_dirty = true;
        m->op->ret_mended++;
        return kt_pwrite_all(m->dfd, theirs, KT_SECTOR_BYTES, doff);
    }
    /* Of sums that cannot be read the page cannot be written in part. */
    if (have_sum && their_sum && their_sum == is) {
        m->sums_dirty = true;
        m->op->ret_mended++;
        return kt_pwrite_all(m->cfd, &their_sum, sizeof(their_sum), coff);
    }
    m->op->ret_left++;
    return 0;
}

static int mend_run(struct job *j)
{
    struct mend_job *m = kt_container_of(j, struct mend_job, job);
    const uint8_t *theirs = m->op->buf->data;
    int err = 0;
    for (uint32_t i = 0; i < m->op->len / KT_SECTOR_BYTES && !err; i++) {
        if (m->todo[i])
            err = mend_sector(m, i, theirs);
        if (m->op->buf->sums[i])
            theirs += KT_SECTOR_BYTES;
    }
    if (!err && m->data_dirty && fdatasync(m->dfd))
        err = -errno;
    if (!err && m->sums_dirty && fdatasync(m->cfd))
        err = -errno;
    return err;
}

static void mend_done(struct job *j)
{
    struct mend_job *m = kt_container_of(j, struct mend_job, job);
    struct store *s = j->store;
    m->ext->gen++; /* whoever reads it now reads it once more */
    s->mended += m->op->ret_mended;
    op_ready(s, &m->op->op, j->err ? KT_E_FAULTY : 0);
    free(m);
}

static void mend_where(struct mend_job *m, const struct extent *e)
{
    const struct slots *t = &e->chain->store->slots;
    uint32_t file = e->slot / SLOTS_PER_FILE, at = e->slot % SLOTS_PER_FILE;
    uint32_t first = m->op->off / KT_SECTOR_BYTES;
    m->dfd = t->data_fd[file];
    m->cfd = t->csum_fd[file];
    m->doff = (uint64_t)at * KT_EXTENT_BYTES + m->op->off;
    m->coff = (uint64_t)at * CSUM_SLOT_BYTES + 8 * (uint64_t)first;
    for (uint32_t i = 0; i < m->op->len / KT_SECTOR_BYTES; i++)
        m->todo[i] = (e->presence[(first + i) / 8] >> (first + i) % 8 & 1) &&
                     !overlay_at(e, first + i);
}

void store_mend(struct store *s, struct store_mend *r)
{
    op_start(s, &r->op, STORE_MEND);
    r->ret_mended = r->ret_left = 0;
    bool whole = r->extent < r->chain->n_extents && r->len &&
                 (r->off | r->len) % KT_SECTOR_BYTES == 0 &&
                 r->len <= KT_RECORD_BYTES_MAX &&
                 r->off <= KT_EXTENT_BYTES - r->len && r->buf &&
                 r->buf->n_sums == r->len / KT_SECTOR_BYTES &&
                 kt_buf_check(r->buf);
    struct extent *e = whole ? r->chain->ext[r->extent] : NULL;
    struct mend_job *m = NULL;
    int err = s->err ? KT_E_FAULTY : whole ? 0 : KT_E_INVALID;
    if (!err && e && e->slot != SLOT_NONE) {
        m = calloc(1, sizeof(*m));
        err = m ? 0 : -ENOMEM;
    }
    if (!m) {
        op_ready(s, &r->op, err);
        return;
    }
    m->op = r;
    m->ext = e;
    m->job.run = mend_run;
    m->job.done = mend_done;
    mend_where(m, e);
    job_post(&s->apply, &m->job);
}
