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
/* Zeros over the first len bytes, whole blocks: the file has them already. What
 * is written there later changes nothing of the file system's own. */
int io_write_zeros(int fd, uint64_t len) KT_MUST_CHECK;
/* Zeros, whole pages of them. */
#define IO_ZEROS_BYTES (256u << 10)
extern const uint8_t io_zeros[IO_ZEROS_BYTES];
/* Makes [off, off + len) real blocks, and the file that long. */
int io_allocate(int fd, uint64_t off, uint64_t len) KT_MUST_CHECK;

#endif
