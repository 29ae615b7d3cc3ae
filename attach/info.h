/* SPDX-License-Identifier: BSD-3-Clause */
/* What is kept in RUNDIR/attach/NAME/ of an attached volume:
 *
 *   lock        held by its kenter-attachd
 *   info.json   the struct below
 *   control     a socket that takes orders, for "kenter volume detach"
 *   nbd         the socket its nbdkit serves on
 *   state       what that nbdkit leaves to its successor
 *   nbdkit.log, attachd.log */
#ifndef KT_ATTACH_INFO_H
#define KT_ATTACH_INFO_H

#include <sys/types.h>

#include "lib/base/id.h"
#include "lib/base/kt.h"

struct attach_info {
    char name[KT_NAME_MAX + 1];
    struct kt_id id;
    struct kt_id boot; /* of another boot nothing else counts */
    uint32_t index;    /* of /dev/nbdN */
    uint64_t size_bytes;
    pid_t server_pid; /* the nbdkit's, 0 without */
    unsigned long long server_start;
    char context[512]; /* where the hub is said to be; "": as by default */
};

#define INFO_PATH_BYTES 256

/* RUNDIR/attach/NAME, or a file there unless NULL. run_dir NULL: the default.
 * Returns ret; a path that is too long for a socket is -ENAMETOOLONG, one
 * that does not begin with a slash -EINVAL. */
int info_path(const char *run_dir, const char *name, const char *file,
              char ret[INFO_PATH_BYTES]) KT_MUST_CHECK;

int info_save(const char *path, const struct attach_info *i) KT_MUST_CHECK;

/* -ENOENT: there is none. -EINVAL: there is, and it is damaged or of another
 * boot. */
int info_load(const char *path, struct attach_info *ret_i) KT_MUST_CHECK;

#endif
