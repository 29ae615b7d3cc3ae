/* SPDX-License-Identifier: BSD-3-Clause */
/* The few system calls every shell wraps the same way. Not for cores. */
#ifndef KT_BASE_OS_H
#define KT_BASE_OS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/kt.h"
#include "lib/base/text.h"

/* CLOCK_MONOTONIC. */
uint64_t kt_now_ms(void);
uint64_t kt_now_us(void);

/* Whole-length pread/pwrite; EINTR and short counts are continued.
 * 0 or -errno (-EIO for an unexpected end of file on read). */
int kt_pread_all(int fd, void *buf, size_t len, uint64_t off) KT_MUST_CHECK;
int kt_pwrite_all(int fd, const void *buf, size_t len,
                  uint64_t off) KT_MUST_CHECK;

/* The whole of a small file (at most max bytes) as a NUL-ended string.
 * Ownership: the caller frees *ret_text. -EFBIG when larger than max, -EINVAL
 * when there is a NUL inside. */
int kt_read_file(const char *path, size_t max, char **ret_text) KT_MUST_CHECK;

/* Replaces path with text durably: temporary file, fsync, rename, fsync of
 * the directory. mode as for open(2). 0 or -errno, old file untouched. */
int kt_write_file(const char *path, const char *text,
                  unsigned mode) KT_MUST_CHECK;

/* fsync of the directory that holds path. */
int kt_sync_parent(const char *path) KT_MUST_CHECK;

/* Runs argv (NULL-ended, 63 words at most, found by PATH) with stdin empty and
 * without our descriptors, and waits. Returns its exit status, 128 and the
 * signal for one that was killed, or -errno; the end of what it printed is in
 * ret_out, as one line. Any thread; SIGCHLD must not be ignored. */
int kt_run(const char *const argv[], char *ret_out, size_t size) KT_MUST_CHECK;
/* Calls of the kernel that may wait for ever (a file system whose device has
 * stalled), made by a child process: the caller can still give up, and a kill
 * still ends it. fn runs in a copy of a process with threads: system calls
 * only, no memory, no locks, no descriptors of ours. Any thread.
 * begin: 0 or -errno. wait: true, and what fn returned, or -EIO when the child
 * was killed: that is the end. False after so long (ms, -1: for ever): to be
 * called again, or leave: the child is killed, and ends when the kernel lets
 * it; nobody waits. */
struct kt_apart {
    int fd;
    int64_t pid;
};
int kt_apart_begin(struct kt_apart *a, int64_t (*fn)(const void *arg),
                   const void *arg) KT_MUST_CHECK;
bool kt_apart_wait(struct kt_apart *a, int ms, int64_t *ret) KT_MUST_CHECK;
void kt_apart_leave(struct kt_apart *a);

/* Adds to PATH where mount, losetup, mkfs and e2fsck are: root looks there and
 * others do not. At start, before there are threads. */
void kt_path_widen(void);

/* The plugin that nbdkit is to load: the one built with this program, else the
 * installed one, else its name, which nbdkit looks for. Returns ret, or a
 * word that lives for good. */
const char *kt_nbdkit_plugin(char *ret, size_t size);

/* Non-blocking, close-on-exec stream socket: listening at, or connecting to,
 * addr. For TCP: NODELAY, and TCP_USER_TIMEOUT of 10 s. A listening unix path
 * that nobody answers on is replaced; ret_bound may be NULL. Returns the fd or
 * -errno (connect: -EINPROGRESS never escapes, the fd is returned). */
int kt_listen(const struct kt_addr *addr, struct kt_addr *ret_bound);
int kt_connect_start(const struct kt_addr *addr);
/* Blocking connect with a deadline; returns a blocking fd or -errno. */
int kt_connect_wait(const struct kt_addr *addr, unsigned timeout_ms);

#endif
