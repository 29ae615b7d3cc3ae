/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening without changing anything, and reading what is there. The steps are
 * those of an opening; where one fails, what it would have told is done
 * without:
 *  - superblocks: identity and sizes are in the log's segments as well;
 *  - index: nothing is known of the slots, records are all that is left;
 *  - log: what the index and the records before the damage say. Those behind
 *    it are told by look_records. */
#include "replicator/store/look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/disk.h"
#include "replicator/store/look_int.h"

#define WHY_BYTES 512u

/* ---- superblock ---- */

static int first_seg(const struct store *s, struct log_seg_head *ret_h,
                     uint32_t *ret_slot_files)
{
    int err = KT_E_CORRUPT, fd;
    struct dirent *e;
    int dfd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dfd < 0 ? NULL : fdopendir(dfd);
    if (!d)
        return -errno;
    *ret_slot_files = 0;
    while ((e = readdir(d))) {
        uint8_t b[LOG_SEG_HEAD_BYTES];
        *ret_slot_files += !strncmp(e->d_name, "data.", 5);
        if (strncmp(e->d_name, "log.", 4) != 0 || !err)
            continue;
        fd = openat(s->dirfd, e->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (!kt_pread_all(fd, b, sizeof(b), 0))
            err = log_seg_decode(b, ret_h);
        close(fd);
    }
    closedir(d);
    return err;
}

/* Without superblocks: what a segment of the log says, and the files' number.
 */
static int guess_super(struct look *l)
{
    struct store *s = l->s;
    struct log_seg_head h;
    uint32_t n = 0;
    int err = first_seg(s, &h, &n);
    if (err)
        return err;
    s->super = (struct super){
        .uuid = h.uuid,
        .seg_bytes = h.bytes,
        .capacity = (uint64_t)n * SLOTS_PER_FILE * KT_EXTENT_BYTES,
        .incarnation = UINT64_MAX,
        .version = SUPER_VERSION,
    };
    s->uuid64 = log_uuid64(&h.uuid);
    l->info.super_lost = true;
    return 0;
}

static void note(struct look *l, const char *text)
{
    size_t len = strlen(l->info.text);
    snprintf(l->info.text + len, sizeof(l->info.text) - len, "%s%s",
             len ? "; " : "", text);
}

static int open_super(struct look *l, struct why *w)
{
    int err = load_super(l->s, w);
    if (!err || err == KT_E_PROTO)
        return err;
    err = guess_super(l);
    if (err)
        return why_set(w, KT_E_CORRUPT,
                       "neither a superblock nor a segment of the log can be "
                       "read in %s: it holds nothing that could be told apart",
                       l->s->dir);
    note(l, "both superblocks are damaged");
    return 0;
}

/* ---- index and log ---- */

static void forget_chains(struct store *s)
{
    while (s->n_chains)
        chain_free(s->chains[--s->n_chains]);
}

static int open_rest(struct look *l, struct why *w)
{
    struct store *s = l->s;
    struct scan_result r;
    bool index = false;
    int err = load_files(s, true, w);
    if (!err)
        err = replay_look(s, &r, &index, w);
    if (err == -ENOMEM)
        return err;
    if (err && !index) {
        forget_chains(s);
        l->info.index_lost = true;
        note(l, "the index is damaged: only the log could be read");
    } else if (err) {
        l->info.log_cut = true;
        note(l, "a record in the middle of the log is damaged");
    }
    if (index) {
        l->end_lsn = r.end_lsn;
        l->durable_lsn = r.durable_lsn;
    }
    return 0;
}

int look_open(const char *dir, struct look **ret_l, char *ret_why,
              size_t why_size)
{
    struct store_opts o = {.create = false};
    if (kt_boot_id(&o.boot)) /* then nobody is known to have been killed */
        memset(&o.boot, 0, sizeof(o.boot));
    struct why w = {ret_why, why_size};
    char why[WHY_BYTES] = "";
    struct why rest = {why, sizeof(why)};
    struct look *l = calloc(1, sizeof(*l));
    struct store *s = l ? store_blank(dir, &o) : NULL;
    if (!s) {
        free(l);
        return why_set(&w, -ENOMEM, "out of memory");
    }
    l->s = s;
    l->sums_slot = SLOT_NONE;
    int err = dir_look(s, dir, &w);
    if (!err)
        err = open_super(l, &w);
    if (!err) {
        l->info.uuid = s->super.uuid;
        err = open_rest(l, &rest);
        if (err)
            why_set(&w, err, "%s", why);
    }
    if (err) {
        look_free(l);
        return err;
    }
    *ret_l = l;
    return 0;
}

void look_free(struct look *l)
{
    if (!l)
        return;
    store_free(l->s);
    free(l->recs);
    free(l);
}

const struct look_info *look_info(const struct look *l)
{
    return &l->info;
}

/* ---- copies ---- */

uint32_t look_chains(const struct look *l)
{
    return l->s->n_chains;
}

void look_chain(const struct look *l, uint32_t i, struct look_chain *ret_c)
{
    assert(i < l->s->n_chains);
    const struct store_chain *c = l->s->chains[i];
    *ret_c = (struct look_chain){
        .chain = c->id,
        .n_extents = c->n_extents,
        .whole = c->have_cfg && !kt_id_is_zero(&c->whole) &&
                 kt_id_eq(&c->whole, &c->cfg.history),
        .cfg = c->have_cfg ? &c->cfg : NULL,
        .applied = c->applied,
    };
}

static const struct extent *extent_of(const struct look *l, uint64_t chain,
                                      uint32_t extent)
{
    const struct store_chain *c = store_chain_find(l->s, chain);
    return c && extent < c->n_extents ? c->ext[extent] : NULL;
}

void look_extent(const struct look *l, uint64_t chain, uint32_t extent,
                 struct look_extent *ret_e)
{
    const struct extent *e = extent_of(l, chain, extent);
    *ret_e = (struct look_extent){{0, 0}, false};
    if (!e)
        return;
    ret_e->id = e->vis.id;
    ret_e->partial = e->vis.partial;
}

/* The sums of e's slot, in l->sums; false when they cannot be read. */
static bool slot_sums(struct look *l, const struct extent *e)
{
    const struct slots *m = &l->s->slots;
    if (e->slot >= m->ready)
        return false;
    if (l->sums_slot == e->slot)
        return true;
    uint64_t at = (uint64_t)(e->slot % SLOTS_PER_FILE) * CSUM_SLOT_BYTES;
    l->sums_slot = SLOT_NONE;
    if (kt_pread_all(m->csum_fd[e->slot / SLOTS_PER_FILE], l->sums,
                     sizeof(l->sums), at))
        return false;
    l->sums_slot = e->slot;
    return true;
}

static void read_slot(const struct look *l, const struct extent *e,
                      uint32_t first, uint32_t n, struct look_sector *ret_s,
                      uint8_t *data)
{
    const struct slots *m = &l->s->slots;
    uint32_t file = e->slot / SLOTS_PER_FILE;
    if (file >= m->n_files || m->data_fd[file] < 0)
        return;
    uint64_t at = (uint64_t)(e->slot % SLOTS_PER_FILE) * KT_EXTENT_BYTES +
                  (uint64_t)first * KT_SECTOR_BYTES;
    bool all =
        !kt_pread_all(m->data_fd[file], data, (size_t)n * KT_SECTOR_BYTES, at);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *b = data + (size_t)i * KT_SECTOR_BYTES;
        if (all || !kt_pread_all(m->data_fd[file], b, KT_SECTOR_BYTES,
                                 at + (uint64_t)i * KT_SECTOR_BYTES))
            ret_s[i].is = kt_sum64(b, KT_SECTOR_BYTES);
    }
}

void look_sectors(struct look *l, uint64_t chain, uint32_t extent,
                  uint32_t first, uint32_t n, struct look_sector *ret_s,
                  uint8_t *ret_data)
{
    const struct extent *e = extent_of(l, chain, extent);
    assert(n <= LOOK_SECTORS_MAX && first + n <= KT_EXTENT_SECTORS);
    memset(ret_s, 0, n * sizeof(*ret_s));
    memset(ret_data, 0, (size_t)n * KT_SECTOR_BYTES);
    if (!e)
        return;
    bool slot = false, sums;
    for (uint32_t i = 0; i < n; i++)
        slot = slot || (e->presence[(first + i) / 8] >> (first + i) % 8 & 1);
    slot = slot && e->slot != SLOT_NONE;
    sums = slot && slot_sums(l, e);
    if (slot)
        read_slot(l, e, first, n, ret_s, ret_data);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = first + i;
        uint8_t *b = ret_data + (size_t)i * KT_SECTOR_BYTES;
        const uint8_t *data = NULL;
        struct rec *r = overlay_at(e, k);
        struct look_sector *o = &ret_s[i];
        if (r) {
            o->want = o->is = rec_sector(r, k, &data);
            o->state = o->want ? LOOK_GOOD : LOOK_ABSENT;
            if (data)
                memcpy(b, data, KT_SECTOR_BYTES);
        } else if (slot && (e->presence[k / 8] >> (k % 8) & 1)) {
            o->want = sums ? l->sums[k] : 0;
            o->state = o->is && o->is == o->want ? LOOK_GOOD : LOOK_BAD;
        }
        if (o->state == LOOK_ABSENT)
            memset(b, 0, KT_SECTOR_BYTES);
    }
}
