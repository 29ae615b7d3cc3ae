/* SPDX-License-Identifier: BSD-3-Clause */
/* Starting a kenter-attachd, for the other files of this library. */
#ifndef KT_ATTACH_UP_H
#define KT_ATTACH_UP_H

#include "attach/attach.h"

/* Whether a kenter-attachd has the volume. */
bool up_held(const char *run_dir, const char *name);

/* Starts one and hears for at most timeout_ms (-1: as long as it takes) how it
 * went: as attach_up. -ETIMEDOUT: it is still at it. */
int up_start(const struct attach_request *q, int timeout_ms,
             char ret_dev[ATTACH_PATH_BYTES],
             char ret_why[ATTACH_WHY_BYTES]) KT_MUST_CHECK;

#endif
