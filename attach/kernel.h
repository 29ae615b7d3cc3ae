/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's nbd driver, loaded when it is not; and sentences. */
#ifndef KT_ATTACH_KERNEL_H
#define KT_ATTACH_KERNEL_H

#include "attach/attach.h"
#include "attach/nbdnl.h"

/* The sentence into ret_why; returns err. */
KT_PRINTF(3, 4)
int attach_why(char ret_why[ATTACH_WHY_BYTES], int err, const char *fmt, ...);

/* As nbdnl_open; where there is no driver, modprobe is asked for it first. */
int kernel_open(struct nbdnl *ret_n,
                char ret_why[ATTACH_WHY_BYTES]) KT_MUST_CHECK;

#endif
