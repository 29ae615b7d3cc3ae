/* SPDX-License-Identifier: BSD-3-Clause */
/* A file system on a block device, whatever made the device: for each
 * implementation of attach.h. Errors as there. */
#ifndef KT_VOLPLUGIN_FS_H
#define KT_VOLPLUGIN_FS_H

#include "lib/base/os.h"
#include "volplugin/plugin.h"

/* Looks at dev, formats it when nothing is on it and no replica has a record
 * of a write, checks and grows it otherwise, mounts it at v->fs_dir and sees
 * to _data. nbd: URI of the server behind dev. */
int fs_mount(struct plugin *p, const struct attach_volume *v, const char *dev,
             const char *nbd, char *ret_why) KT_MUST_CHECK;
/* Writes everything out and unmounts; not mounted is a success. */
int fs_unmount(const struct attach_volume *v, char *ret_why) KT_MUST_CHECK;
bool fs_mounted(const char *dir);
/* Gives back the space that files do not use, as fstrim(8). kt_apart_wait tells
 * how many bytes, or -errno. */
int fs_trim_begin(struct kt_apart *a, const char *dir) KT_MUST_CHECK;

#endif
