/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening the stores, and what volumes are in them. */
#include "cli/salvage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/os.h"

#define NOTE_BYTES_MAX (4u << 20)
#define PATH_BYTES 4096u

/* ---- the notes a replicator keeps in its store's directory ---- */

static char *read_note(const char *dir, const char *name)
{
    char path[PATH_BYTES], *text = NULL;
    int len = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (len < 0 || len >= (int)sizeof(path) ||
        kt_read_file(path, NOTE_BYTES_MAX, &text) < 0)
        return NULL;
    return text;
}

/* Stores of one cluster only: volumes of two would have the same names. */
static int same_cluster(const struct salvage *s, char *ret_why, size_t size)
{
    struct kt_id id, first = {{0}};
    const char *of = NULL;
    for (unsigned i = 0; i < s->n; i++) {
        char *text = read_note(s->stores[i].dir, "cluster");
        if (text)
            text[strcspn(text, "\n")] = '\0';
        bool known = text && kt_id_parse(text, &id) == 0;
        free(text);
        if (!known)
            continue;
        if (!of) {
            first = id;
            of = s->stores[i].dir;
        } else if (!kt_id_eq(&first, &id)) {
            snprintf(ret_why, size,
                     "%s and %s belong to different clusters (see the file "
                     "cluster in each): give the stores of one cluster.",
                     of, s->stores[i].dir);
            return KT_E_INVALID;
        }
    }
    return 0;
}

static struct salvage_volume *volume_of(struct salvage *s,
                                        const struct kt_id *id)
{
    for (uint32_t i = 0; i < s->n_volumes; i++)
        if (kt_id_eq(&s->volumes[i].id, id))
            return &s->volumes[i];
    return NULL;
}

/* "ID SIZE NAME" a line. What stands for it in two stores differs only while a
 * volume grows: the greater size is the newer. */
static void name_volumes(struct salvage *s, char *text)
{
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        char *hex = strsep(&line, " "), *end;
        char *digits = line ? strsep(&line, " ") : NULL;
        struct kt_id id;
        if (!digits || !line || !kt_name_valid(line) ||
            kt_id_parse(hex, &id) < 0)
            continue;
        errno = 0;
        uint64_t bytes = strtoull(digits, &end, 10);
        struct salvage_volume *v = volume_of(s, &id);
        if (!v || *end || errno || bytes > INT64_MAX)
            continue;
        v->size = kt_max_u64(v->size, bytes);
        snprintf(v->name, sizeof(v->name), "%s", line);
    }
}

/* ---- volumes ---- */

static int count_chain(struct salvage *s, unsigned store,
                       const struct kt_cfg *cfg)
{
    struct salvage_volume *v = volume_of(s, &cfg->volume);
    if (!v) {
        void *p =
            realloc(s->volumes, (s->n_volumes + 1) * sizeof(s->volumes[0]));
        if (!p)
            return -ENOMEM;
        s->volumes = p;
        v = &s->volumes[s->n_volumes++];
        *v = (struct salvage_volume){.id = cfg->volume};
    }
    v->extents = kt_max_u64(v->extents, cfg->first_extent + cfg->n_extents);
    v->stores |= 1ull << store;
    return 0;
}

static int find_volumes(struct salvage *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        uint32_t n = look_chains(s->stores[i].look);
        for (uint32_t k = 0; k < n; k++) {
            struct look_chain c;
            look_chain(s->stores[i].look, k, &c);
            int err = c.cfg ? count_chain(s, i, c.cfg) : 0;
            if (err)
                return err;
        }
    }
    for (unsigned i = 0; i < s->n; i++) {
        char *text = read_note(s->stores[i].dir, "volumes");
        if (text)
            name_volumes(s, text);
        free(text);
    }
    return 0;
}

const struct salvage_volume *salvage_find(const struct salvage *s,
                                          const char *what, char *ret_why,
                                          size_t size)
{
    const struct salvage_volume *found = NULL;
    struct kt_id id;
    bool by_id = kt_id_parse(what, &id) == 0;
    for (uint32_t i = 0; i < s->n_volumes; i++) {
        const struct salvage_volume *v = &s->volumes[i];
        if (by_id ? !kt_id_eq(&v->id, &id) : strcmp(v->name, what) != 0)
            continue;
        if (found) {
            snprintf(ret_why, size,
                     "two volumes in these stores were called %s: give the id "
                     "of the one you mean; without --volume all are listed.",
                     what);
            return NULL;
        }
        found = v;
    }
    if (!found)
        snprintf(ret_why, size,
                 "no volume %s is in these stores; without --volume those "
                 "that are get listed.",
                 what);
    return found;
}

/* ---- records ---- */

/* The better of two that are the same record has the lesser. */
static int flaws(const struct look_rec *r)
{
    return (r->flags & KT_RF_SKIP) ? 2 : r->broken;
}

static int by_id(const void *va, const void *vb)
{
    const struct look_rec *a = ((const struct salvage_ref *)va)->r;
    const struct look_rec *b = ((const struct salvage_ref *)vb)->r;
    if (a->chain != b->chain)
        return a->chain < b->chain ? -1 : 1;
    if (a->id.seq != b->id.seq)
        return a->id.seq < b->id.seq ? -1 : 1;
    if (a->id.epoch != b->id.epoch)
        return a->id.epoch < b->id.epoch ? -1 : 1;
    return flaws(a) - flaws(b);
}

static int gather_records(struct salvage *s)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < s->n; i++) {
        struct salvage_store *st = &s->stores[i];
        int err = look_records(st->look, &st->recs, &st->n_recs);
        if (err)
            return err;
        total += st->n_recs;
    }
    s->refs = calloc(total ? total : 1, sizeof(s->refs[0]));
    if (!s->refs)
        return -ENOMEM;
    for (unsigned i = 0; i < s->n; i++)
        for (uint32_t k = 0; k < s->stores[i].n_recs; k++)
            if (s->stores[i].recs[k].op < KT_OP_COPY_START)
                s->refs[s->n_refs++] =
                    (struct salvage_ref){&s->stores[i].recs[k], i};
    qsort(s->refs, s->n_refs, sizeof(s->refs[0]), by_id);
    return 0;
}

/* ---- the whole ---- */

static int open_one(struct salvage *s, const char *dir, char *ret_why,
                    size_t size)
{
    struct salvage_store *st = &s->stores[s->n];
    *st = (struct salvage_store){.dir = dir};
    int err = look_open(dir, &st->look, ret_why, size);
    if (err)
        return err;
    s->n++;
    const struct look_info *mine = look_info(st->look);
    for (unsigned i = 0; i + 1 < s->n; i++) {
        if (!kt_id_eq(&look_info(s->stores[i].look)->uuid, &mine->uuid))
            continue;
        snprintf(ret_why, size,
                 "%s and %s are the same store, or one is a copy of the other: "
                 "give the better one only.",
                 s->stores[i].dir, dir);
        return KT_E_INVALID;
    }
    return 0;
}

int salvage_open(struct salvage *s, const char *const *dirs, unsigned n,
                 char *ret_why, size_t size)
{
    int err = 0;
    assert(n <= SALVAGE_STORES_MAX);
    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < n && !err; i++)
        err = open_one(s, dirs[i], ret_why, size);
    if (err)
        return err;
    err = same_cluster(s, ret_why, size);
    if (err)
        return err;
    err = find_volumes(s);
    if (!err)
        err = gather_records(s);
    if (err)
        snprintf(ret_why, size, "reading the stores failed: %s.",
                 kt_strerror(err));
    return err;
}

void salvage_close(struct salvage *s)
{
    for (unsigned i = 0; i < s->n; i++)
        look_free(s->stores[i].look);
    free(s->volumes);
    free(s->refs);
}
