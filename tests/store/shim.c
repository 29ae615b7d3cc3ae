/* SPDX-License-Identifier: BSD-3-Clause */
/* See shim.h. Raw system calls below, so that nothing comes back here. */
#undef _FORTIFY_SOURCE /* its headers define open themselves */
#include "tests/store/shim.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h> /* renameat */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 1024
#define FILES_MAX 256u

enum { OFF, RECORD, QUICK };

struct fd_state {
    bool ours, dir, dsync;
    bool note; /* for people: may fail unnoticed */
    uint32_t file;
};

static struct {
    atomic_int mode;
    pthread_mutex_t mu;
    char dir[256];
    size_t dir_len;
    struct shim_log *log;
    struct shim_file files[FILES_MAX];
    uint32_t n_files, next_file;
    struct fd_state fds[FDS];
    bool sync_failed[FILES_MAX * 4];
    unsigned retries;
} shim = {.mu = PTHREAD_MUTEX_INITIALIZER};

/* Apart: allocations fail without the mutex. */
static atomic_uint fail_mask;
static atomic_ullong fail_nth, calls;
static atomic_bool fail_stays, failed;
static atomic_int fail_err;

/* ---- failing ---- */

void shim_fail(unsigned mask, uint64_t nth, bool stays, int err)
{
    calls = 0;
    failed = false;
    fail_nth = nth;
    fail_stays = stays;
    fail_err = err;
    fail_mask = mask;
    shim.retries = 0;
    memset(shim.sync_failed, 0, sizeof(shim.sync_failed));
}

uint64_t shim_calls(void)
{
    return calls;
}

bool shim_failed(void)
{
    return failed;
}

unsigned shim_retries(void)
{
    return shim.retries;
}

/* True: this call is to fail, and errno says how. */
static bool fails(unsigned class)
{
    if (!(fail_mask & class))
        return false;
    uint64_t at = ++calls, nth = fail_nth;
    if (nth == 0 || at < nth || (at > nth && !fail_stays))
        return false;
    failed = true;
    errno = fail_err;
    return true;
}

static _Thread_local unsigned exempt;

bool shim_memory_fails(void)
{
    return !exempt && fails(SHIM_F_MEMORY);
}

void shim_exempt(bool on)
{
    exempt = on ? exempt + 1 : exempt - 1;
}

/* ---- the log ---- */

void shim_log_free(struct shim_log *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        free(l->ops[i].data);
    free(l->ops);
    memset(l, 0, sizeof(*l));
}

static void lock(void)
{
    shim_exempt(true);
    pthread_mutex_lock(&shim.mu);
}

static void unlock(void)
{
    int e = errno;
    pthread_mutex_unlock(&shim.mu);
    shim_exempt(false);
    errno = e;
}

static struct shim_op *add(uint8_t kind, uint32_t file)
{
    struct shim_log *l = shim.log;
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 256;
        l->ops = realloc(l->ops, l->cap * sizeof(l->ops[0]));
        assert(l->ops);
    }
    struct shim_op *op = &l->ops[l->n++];
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    op->file = file;
    return op;
}

static void add_write(const struct fd_state *f, struct iovec v, uint64_t off)
{
    struct shim_op *op = add(SHIM_WRITE, f->file);
    op->off = off;
    op->len = v.iov_len;
    op->data = malloc(v.iov_len ? v.iov_len : 1);
    assert(op->data);
    memcpy(op->data, v.iov_base, v.iov_len);
    if (f->dsync) {
        op = add(SHIM_SYNC, f->file);
        op->off = off;
        op->len = v.iov_len;
        op->begin = shim.log->n - 1;
    }
}

void shim_mark(struct shim_event e)
{
    lock();
    if (shim.mode == RECORD)
        add(SHIM_EVENT, 0)->event = e;
    unlock();
}

static void set_mode(const char *dir, int mode)
{
    memset(shim.fds, 0, sizeof(shim.fds));
    shim.n_files = 0;
    shim.dir_len = strlen(dir);
    assert(shim.dir_len < sizeof(shim.dir));
    memcpy(shim.dir, dir, shim.dir_len + 1);
    shim.mode = mode;
}

void shim_record(const char *dir, struct shim_log *log,
                 const struct shim_file *files, uint32_t n_files,
                 uint32_t next_file)
{
    lock();
    set_mode(dir, RECORD);
    shim.log = log;
    assert(n_files <= FILES_MAX);
    if (n_files)
        memcpy(shim.files, files, n_files * sizeof(files[0]));
    shim.n_files = n_files;
    shim.next_file = next_file;
    unlock();
}

void shim_quick(void)
{
    lock();
    set_mode("", QUICK);
    unlock();
}

void shim_off(void)
{
    lock();
    set_mode("", OFF);
    unlock();
}

/* ---- names ---- */

static struct shim_file *find(const char *name)
{
    for (uint32_t i = 0; i < shim.n_files; i++)
        if (!strcmp(shim.files[i].name, name))
            return &shim.files[i];
    return NULL;
}

static struct shim_file *make(const char *name)
{
    assert(shim.n_files < FILES_MAX && shim.next_file < FILES_MAX * 4);
    struct shim_file *f = &shim.files[shim.n_files++];
    assert(strlen(name) < sizeof(f->name));
    memset(f, 0, sizeof(*f));
    memcpy(f->name, name, strlen(name));
    f->file = shim.next_file++;
    struct shim_op *op = add(SHIM_CREATE, f->file);
    memcpy(op->name, f->name, sizeof(op->name));
    return f;
}

static void forget(struct shim_file *f)
{
    *f = shim.files[--shim.n_files];
}

static struct fd_state *state_of(int fd)
{
    return fd >= 0 && fd < FDS && shim.fds[fd].ours ? &shim.fds[fd] : NULL;
}

/* The name inside the directory; "." for itself; NULL: not ours. */
static const char *inside(int dirfd, const char *path)
{
    if (shim.mode != RECORD)
        return NULL;
    if (path[0] != '/') {
        const struct fd_state *d = state_of(dirfd);
        return d && d->dir ? path : NULL;
    }
    if (strncmp(path, shim.dir, shim.dir_len) != 0)
        return NULL;
    path += shim.dir_len;
    return *path == '\0' ? "." : *path == '/' ? path + 1 : NULL;
}

static void opened(int fd, const char *name, int flags)
{
    struct shim_file *f = find(name);
    assert(fd < FDS);
    if (!f)
        f = make(name);
    else if (flags & O_TRUNC)
        add(SHIM_SIZE, f->file);
    shim.fds[fd] = (struct fd_state){.ours = true,
                                     .dsync = (flags & O_DSYNC) != 0,
                                     .note = !strcmp(name, "lock"),
                                     .file = f->file};
}

static int open_at(int dirfd, const char *path, int flags, mode_t mode)
{
    lock();
    const char *name = inside(dirfd, path);
    bool makes = (flags & O_CREAT) && name && strcmp(name, ".") != 0;
    int fd = -1;
    if (!makes || !fails(SHIM_F_NAME))
        fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
    if (fd >= 0 && name && !strcmp(name, "."))
        shim.fds[fd] = (struct fd_state){.ours = true, .dir = true};
    else if (fd >= 0 && name)
        opened(fd, name, flags);
    unlock();
    return fd;
}

#define TAKE_MODE(flags, mode)                                                 \
    do {                                                                       \
        if ((flags) & (O_CREAT | __O_TMPFILE)) {                               \
            va_list ap;                                                        \
            va_start(ap, flags);                                               \
            (mode) = va_arg(ap, mode_t);                                       \
            va_end(ap);                                                        \
        }                                                                      \
    } while (0)

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    TAKE_MODE(flags, mode);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...)
{
    mode_t mode = 0;
    TAKE_MODE(flags, mode);
    return open_at(dirfd, path, flags, mode);
}

/* What those become in a fortified build when flags are no constant. */
int __open_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int __openat_2(int dirfd, const char *path, int flags)
{
    return open_at(dirfd, path, flags, 0);
}

int close(int fd)
{
    lock();
    if (fd >= 0 && fd < FDS)
        shim.fds[fd].ours = false;
    int r = (int)syscall(SYS_close, fd);
    unlock();
    return r;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    lock();
    const char *name = inside(from_fd, from);
    int r = -1;
    if (!name || !fails(SHIM_F_NAME))
        r = (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
    if (r == 0 && name) {
        struct shim_file *f = find(to);
        if (f)
            forget(f);
        f = find(name);
        assert(f && strlen(to) < sizeof(f->name));
        struct shim_op *op = add(SHIM_RENAME, f->file);
        memcpy(op->name, f->name, sizeof(op->name));
        memcpy(op->to, to, strlen(to));
        memcpy(f->name, op->to, sizeof(f->name));
    }
    unlock();
    return r;
}

int unlinkat(int dirfd, const char *path, int flags)
{
    lock();
    const char *name = inside(dirfd, path);
    int r = -1;
    if (!name || !fails(SHIM_F_NAME))
        r = (int)syscall(SYS_unlinkat, dirfd, path, flags);
    struct shim_file *f = r == 0 && name ? find(name) : NULL;
    if (f) {
        struct shim_op *op = add(SHIM_UNLINK, f->file);
        memcpy(op->name, f->name, sizeof(op->name));
        forget(f);
    }
    unlock();
    return r;
}

/* ---- writing ---- */

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    lock();
    const struct fd_state *f = state_of(fd);
    ssize_t r = -1;
    if (!f || f->note || !fails(SHIM_F_WRITE))
        r = syscall(SYS_pwritev, fd, iov, n, off, 0);
    size_t left = r > 0 ? (size_t)r : 0;
    for (int i = 0; f && left; i++) {
        struct iovec v = iov[i];
        if (v.iov_len > left)
            v.iov_len = left;
        add_write(f, v, (uint64_t)off);
        off += (off_t)v.iov_len;
        left -= v.iov_len;
    }
    unlock();
    return r;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
    struct iovec v = {(void *)(uintptr_t)buf, len};
    return pwritev(fd, &v, 1, off);
}

/* At the file's own position, as LMDB writes runs of pages. */
ssize_t writev(int fd, const struct iovec *iov, int n)
{
    lock();
    bool ours = state_of(fd);
    unlock();
    if (!ours)
        return syscall(SYS_writev, fd, iov, n);
    off_t off = lseek(fd, 0, SEEK_CUR);
    ssize_t r = off < 0 ? -1 : pwritev(fd, iov, n, off);
    return r > 0 && lseek(fd, off + r, SEEK_SET) < 0 ? -1 : r;
}

ssize_t write(int fd, const void *buf, size_t len)
{
    struct iovec v = {(void *)(uintptr_t)buf, len};
    return writev(fd, &v, 1);
}

static void note_size(const struct fd_state *f, int fd)
{
    struct stat st;
    int r = fstat(fd, &st);
    assert(r == 0);
    (void)r;
    add(SHIM_SIZE, f->file)->off = (uint64_t)st.st_size;
}

int ftruncate(int fd, off_t len)
{
    lock();
    const struct fd_state *f = state_of(fd);
    int r = -1;
    if (!f || f->note || !fails(SHIM_F_WRITE))
        r = (int)syscall(SYS_ftruncate, fd, len);
    if (r == 0 && f)
        note_size(f, fd);
    unlock();
    return r;
}

/* Room that stays behind the end of the file is nothing to a crash. */
int fallocate(int fd, int mode, off_t off, off_t len)
{
    lock();
    int r = -1;
    if (shim.mode == QUICK)
        r = 0;
    else if (!state_of(fd) || !fails(SHIM_F_SPACE))
        r = (int)syscall(SYS_fallocate, fd, mode, off, len);
    unlock();
    return r;
}

int posix_fallocate(int fd, off_t off, off_t len)
{
    struct stat st;
    lock();
    const struct fd_state *f = state_of(fd);
    int r = -1;
    if (f && fails(SHIM_F_SPACE))
        r = -1;
    else if (shim.mode == OFF)
        r = (int)syscall(SYS_fallocate, fd, 0, off, len);
    else if (fstat(fd, &st) == 0)
        r = st.st_size >= off + len
                ? 0
                : (int)syscall(SYS_ftruncate, fd, off + len);
    if (r == 0 && f)
        note_size(f, fd);
    int err = r ? errno : 0;
    unlock();
    return err;
}

/* ---- syncing ---- */

/* What is written while the disk syncs is not covered: there is some time for
 * it. Nothing is really synced. */
static int sync_file(int fd, long number)
{
    lock();
    const struct fd_state *f = state_of(fd);
    if (!f) {
        int mode = shim.mode;
        unlock();
        return mode == OFF ? (int)syscall(number, fd) : 0;
    }
    struct fd_state at = *f;
    uint32_t begin = shim.log->n;
    bool *had_failed = &shim.sync_failed[at.dir ? 0 : at.file];
    shim.retries += *had_failed;
    int r = 0;
    if (fails(SHIM_F_SYNC)) {
        *had_failed = true;
        r = -1;
    }
    unlock();
    if (r)
        return r;
    nanosleep(&(struct timespec){.tv_nsec = 30000}, NULL);
    lock();
    struct shim_op *op = add(at.dir ? SHIM_SYNCDIR : SHIM_SYNC, at.file);
    op->begin = begin;
    unlock();
    return 0;
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}
