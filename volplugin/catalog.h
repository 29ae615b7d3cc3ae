/* SPDX-License-Identifier: BSD-3-Clause */
/* What this node knows of the volumes, on disk: so that Get and List need no
 * hub. And the counts of mounts, so that a restart knows whom it told. Any
 * thread. */
#ifndef KT_VOLPLUGIN_CATALOG_H
#define KT_VOLPLUGIN_CATALOG_H

#include "lib/base/id.h"
#include "volplugin/core/spec.h"

struct catalog;

struct cat_volume {
    char name[KT_NAME_MAX + 1];
    struct kt_id id;
    uint64_t created_s; /* 0: not known */
    /* As the hub last said; and what only this node was told: fs, mkfs,
     * mountopts, uid, gid, mode. */
    struct vol_spec spec;
    char state[16]; /* "healthy" */
    char holder[KT_NAME_MAX + 1];
    uint32_t holder_pid;
    uint64_t holder_since_s;
};

#define CAT_LOCAL_OPTS                                                         \
    (1u << VOL_OPT_FS | 1u << VOL_OPT_MKFS | 1u << VOL_OPT_MOUNTOPTS |         \
     1u << VOL_OPT_UID | 1u << VOL_OPT_GID | 1u << VOL_OPT_MODE)

/* Opens or makes it; locked against a second plugin. ret_why tells people. */
int catalog_open(const char *dir, struct catalog **ret_cat, char *ret_why,
                 size_t size) KT_MUST_CHECK;
void catalog_free(struct catalog *c);

/* 0, KT_E_NO_VOLUME, or what the database said: then nothing is known. */
int catalog_get(struct catalog *c, const char *name,
                struct cat_volume *ret) KT_MUST_CHECK;
int catalog_by_id(struct catalog *c, const struct kt_id *id,
                  struct cat_volume *ret) KT_MUST_CHECK;
/* In the order of names; stops when each() returns other than 0. */
int catalog_each(struct catalog *c,
                 int (*each)(void *arg, const struct cat_volume *v),
                 void *arg) KT_MUST_CHECK;
int catalog_put(struct catalog *c, const struct cat_volume *v) KT_MUST_CHECK;
int catalog_del(struct catalog *c, const char *name) KT_MUST_CHECK;
/* How often one of the two above was called. Any thread. */
uint64_t catalog_changes(struct catalog *c);
/* The hub's whole list: what is gone goes, but for volumes that keep() wants;
 * options only this node knows stay with a volume of the same id. Writes only
 * what changed. seen: catalog_changes() before the hub was asked; after a
 * change since then the list is older than what is here, and nothing is done.
 */
int catalog_replace(struct catalog *c, const struct cat_volume *v, size_t n,
                    uint64_t seen,
                    bool (*keep)(void *arg, const struct kt_id *id),
                    void *arg) KT_MUST_CHECK;

/* count 0 forgets. Durable when it returns. */
int catalog_ref_save(struct catalog *c, const struct kt_id *volume,
                     const char *mount_id, uint32_t count) KT_MUST_CHECK;
/* Those of this boot of the machine; others are forgotten. */
int catalog_refs(struct catalog *c,
                 void (*each)(void *arg, const struct kt_id *volume,
                              const char *mount_id, uint32_t count),
                 void *arg) KT_MUST_CHECK;

#endif
