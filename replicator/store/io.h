/* SPDX-License-Identifier: BSD-3-Clause */
/* The store's own few wrappers of system calls. Any thread. */
#ifndef KT_STORE_IO_H
#define KT_STORE_IO_H

#include <stdint.h>
#include <sys/uio.h>

#include "lib/base/kt.h"

/* Writes all of it; iov is used up. 0 or -errno. */
int io_pwritev(int fd, struct iovec *iov, unsigned n,
               uint64_t off) KT_MUST_CHECK;
/* Makes [off, off + len) real blocks, and the file that long. */
int io_allocate(int fd, uint64_t off, uint64_t len) KT_MUST_CHECK;

#endif
