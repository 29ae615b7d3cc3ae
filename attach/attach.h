/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes as block devices /dev/nbdN of this machine, and back. For the
 * command line and the volume plugin.
 *
 * Each attached volume has a kenter-attachd, which outlives its caller: it
 * starts the nbdkit, connects the device, and when the nbdkit dies starts
 * another one and connects that, without an error in between. What is known
 * of a volume is in RUNDIR/attach/NAME/. Everything blocks; any thread, for
 * one volume one thread at a time. */
#ifndef KT_ATTACH_ATTACH_H
#define KT_ATTACH_ATTACH_H

#include "lib/base/id.h"

#define ATTACH_PATH_BYTES 256
#define ATTACH_WHY_BYTES 640
#define ATTACH_RUN_DIR "/run/kenter"

struct attach_request {
    const char *run_dir; /* NULL: $KENTER_RUN_DIR, or ATTACH_RUN_DIR */
    const char *name;
    struct kt_id id;     /* the volume's: whose the device is */
    const char *context; /* NULL: as the nbdkit plugin finds it */
    const char *plugin;  /* nbdkit's; NULL: as kenter-attachd finds it */
    const char *device;  /* "/dev/nbdN", or NULL: a free one */
    unsigned wait_s;     /* for another holder to let go */
    bool steal;
    bool adopt; /* only take over what a kenter-attachd left that died */
};

/* Whether there can be devices here: 0, -EPERM (not root), -ENODEV (the kernel
 * has no nbd driver, and none can be loaded), or what the kernel said. */
int attach_kernel(char ret_why[ATTACH_WHY_BYTES]) KT_MUST_CHECK;

/* Whether it is a name like /dev/nbd3. */
bool attach_device_valid(const char *path);

/* 0 and the device, which is ready to be used. Where a kenter-attachd died
 * and the device lives, a new one takes it over. Else -errno and a sentence in
 * ret_why, with nothing left behind:
 *   -EALREADY  attached here already; ret_dev is filled in all the same
 *   -ENODEV    the kernel has no nbd driver
 *   -EPERM     not root
 *   -EBUSY     the device asked for is in use
 *   -ECONNREFUSED  nbdkit would not serve the volume, for instance because it
 *                  is attached elsewhere; its words are the sentence
 *   -ENOENT    there was nothing to adopt */
int attach_up(const struct attach_request *q, char ret_dev[ATTACH_PATH_BYTES],
              char ret_why[ATTACH_WHY_BYTES]) KT_MUST_CHECK;

/* Looks for devices whose kenter-attachd has died, and starts another for
 * each. Where that fails, tell() hears of it (err < 0, a sentence), and where
 * it was done (err 0, the device). Returns how many failed. Waits 10 s at most
 * for each. */
unsigned attach_keep(const char *run_dir, const char *plugin,
                     void (*tell)(void *arg, const char *name, int err,
                                  const char *text),
                     void *arg);

/* Everything written is flushed, the device ends, the volume is given back.
 * force: also when that cannot be flushed, or something uses the device; what
 * was not written is lost then, and its users get errors. -ENOENT: it is not
 * attached here. -EBUSY: mounted or claimed, ret_why says where; an opener is
 * no reason. */
int attach_down(const char *run_dir, const char *name, bool force,
                char ret_why[ATTACH_WHY_BYTES]) KT_MUST_CHECK;

/* What is attached here under a name, or as "/dev/nbdN", by its device.
 * -ENOENT: nothing; or its device is no longer there. */
struct attach_found {
    char name[KT_NAME_MAX + 1];
    struct kt_id id;
    char device[ATTACH_PATH_BYTES];
};
int attach_find(const char *run_dir, const char *name_or_device,
                struct attach_found *ret_found) KT_MUST_CHECK;

#endif
