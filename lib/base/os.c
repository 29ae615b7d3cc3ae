/* SPDX-License-Identifier: BSD-3-Clause */
/* Clocks and files. */
#include "lib/base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t kt_now_us(void)
{
    struct timespec ts;

    /* Fails only for an unknown clock or a bad pointer. */
    int r = clock_gettime(CLOCK_MONOTONIC, &ts);
    assert(r == 0);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t kt_now_ms(void)
{
    return kt_now_us() / 1000;
}

int kt_pread_all(int fd, void *buf, size_t len, uint64_t off)
{
    char *p = buf;

    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        p += n;
        len -= (size_t)n;
        off += (uint64_t)n;
    }
    return 0;
}

int kt_pwrite_all(int fd, const void *buf, size_t len, uint64_t off)
{
    const char *p = buf;

    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        p += n;
        len -= (size_t)n;
        off += (uint64_t)n;
    }
    return 0;
}

/* Appends until the end of the file or until buf is full. Files of /proc
 * have no size to ask for, so reading is the only way to know. */
static ssize_t read_until_end(int fd, char *buf, size_t size)
{
    size_t n = 0;

    while (n < size) {
        ssize_t m = read(fd, buf + n, size - n);
        if (m < 0 && errno == EINTR)
            continue;
        if (m < 0)
            return -errno;
        if (m == 0)
            break;
        n += (size_t)m;
    }
    return (ssize_t)n;
}

int kt_read_file(const char *path, size_t max, char **ret_text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;

    /* One byte more than allowed tells "too large"; it then holds the NUL. */
    char *text = malloc(max + 1);
    ssize_t n = text ? read_until_end(fd, text, max + 1) : -ENOMEM;
    close(fd);
    int r = 0;
    if (n < 0)
        r = (int)n;
    else if ((size_t)n > max)
        r = -EFBIG;
    else if (memchr(text, 0, (size_t)n))
        r = -EINVAL;
    if (r < 0) {
        free(text);
        return r;
    }
    text[n] = '\0';
    *ret_text = text;
    return 0;
}

int kt_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    int fd;

    if (!slash) {
        fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else {
        /* "/name" has the parent "/". */
        char *dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
        if (!dir)
            return -ENOMEM;
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        free(dir);
    }
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* Writes and fsyncs a new file at tmp, then moves it to path. */
static int write_and_move(const char *tmp, const char *path, const char *text,
                          unsigned mode)
{
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  (mode_t)mode);
    if (fd < 0)
        return -errno;
    int r = kt_pwrite_all(fd, text, strlen(text), 0);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(tmp, path) < 0)
        r = -errno;
    if (r < 0)
        unlink(tmp);
    return r;
}

int kt_write_file(const char *path, const char *text, unsigned mode)
{
    static atomic_uint counter;
    char *tmp;

    /* Unique among the processes and threads that are alive; what a dead one
     * with our number left behind is in the way and nobody's. */
    if (asprintf(&tmp, "%s.tmp.%ld.%u", path, (long)getpid(),
                 atomic_fetch_add(&counter, 1)) < 0)
        return -ENOMEM;
    int r = write_and_move(tmp, path, text, mode);
    if (r == -EEXIST && unlink(tmp) == 0)
        r = write_and_move(tmp, path, text, mode);
    free(tmp);
    return r < 0 ? r : kt_sync_parent(path);
}
