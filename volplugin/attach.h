/* SPDX-License-Identifier: BSD-3-Clause */
/* How a volume becomes a directory of this machine. One implementation is
 * chosen at start; the plugin knows no more of devices than this.
 *
 * Every function blocks, may be called from any thread, for different volumes
 * at the same time, for one volume never. It returns 0, or -errno / KT_E_*
 * with a sentence in ret_why (VOL_WHY_BYTES); then it left nothing behind. */
#ifndef KT_VOLPLUGIN_ATTACH_H
#define KT_VOLPLUGIN_ATTACH_H

#include "lib/base/id.h"
#include "volplugin/core/spec.h"

#define ATTACH_PATH_BYTES 256

struct attach_volume {
    struct kt_id id;
    const char *name;
    const struct vol_spec *spec;    /* its size is always there */
    char fs_dir[ATTACH_PATH_BYTES]; /* where its file system is mounted */
};

struct attach_ops {
    const char *name;
    /* The volume becomes a block device of this machine, of the size that
     * spec says, and nobody else's. May wait 90 s for another holder. */
    int (*attach)(void *ctx, const struct attach_volume *v,
                  char ret_dev[ATTACH_PATH_BYTES], char *ret_why);
    /* The opposite: everything written is flushed, the volume given back.
     * Not attached is a success. */
    int (*detach)(void *ctx, const struct attach_volume *v, char *ret_why);
    /* A file system on dev, checked or new, at v->fs_dir, with the directory
     * _data in it. */
    int (*mount)(void *ctx, const struct attach_volume *v, const char *dev,
                 char *ret_why);
    /* The opposite; not mounted is a success. -EBUSY: names who has it. */
    int (*unmount)(void *ctx, const struct attach_volume *v, char *ret_why);
    /* Whether the file system is mounted, as after a restart of this
     * program. */
    bool (*mounted)(void *ctx, const struct attach_volume *v);
    /* Whether something of an attach is there, for detach to end. */
    bool (*attached)(void *ctx, const struct attach_volume *v);
};

struct plugin;

/* attach_stub.c: marks and a log in a directory, for tests of everything
 * else; never chosen by itself. dir is borrowed for good. */
extern const struct attach_ops attach_stub;

/* attach_real.c: one of the two below for what is attached from now on; both
 * for what is. ctx: the plugin. */
extern const struct attach_ops attach_real;
/* attach_nbd.c: the kernel's nbd driver. attach_fuse.c: nbdkit, nbdfuse and a
 * loop device. Without unmount and mounted. */
extern const struct attach_ops attach_nbd;
extern const struct attach_ops attach_fuse;
/* Sets the plugin's attach for what --attach asks for. */
int attach_choose(struct plugin *p, char *ret_why, size_t size) KT_MUST_CHECK;
/* A thread: what died of the attached volumes is started again. */
void *attach_keep_run(void *plugin);

#endif
