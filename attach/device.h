/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices /dev/nbdN as the rest of the system sees them: sysfs, the node, who
 * uses them. Blocking; any thread. */
#ifndef KT_ATTACH_DEVICE_H
#define KT_ATTACH_DEVICE_H

#include "attach/nbdnl_msg.h"

/* N of "/dev/nbdN", or -EINVAL. */
int64_t device_index(const char *path);

/* Whose the connected device is. -ENOENT: it is not connected, or nobody's. */
int device_backend(uint32_t index,
                   char ret_backend[NBDNL_BACKEND_BYTES]) KT_MUST_CHECK;

/* Waits until the node is there with this size, then sets what suits a
 * network disk: how long a request waits before it is looked at again, and
 * how large one is. -ETIMEDOUT when it takes longer than 10 s. */
int device_settle(uint32_t index, uint64_t size_bytes) KT_MUST_CHECK;

/* A descriptor that nobody else has the device mounted, or open like this,
 * with; while it is open nobody can. -EBUSY. */
int device_open_alone(uint32_t index) KT_MUST_CHECK;

/* Where it is mounted, in this mount namespace; "" when it is not. Returns
 * ret_where. */
char *device_mounted_at(uint32_t index, char *ret_where, size_t size);

/* Waits until the kernel has let go of it. False after timeout_ms. */
bool device_wait_gone(uint32_t index, unsigned timeout_ms);

#endif
