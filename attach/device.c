/* SPDX-License-Identifier: BSD-3-Clause */
#include "attach/device.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/os.h"

#define SETTLE_MS 10000u
#define POLL_MS 20u
/* A request in flight when its server died is sent again only when its timer
 * runs out: 30 s unless it is told otherwise. */
#define IO_TIMEOUT_MS "5000"
#define MAX_SECTORS_KB "1024" /* of 4 MiB extents; the default may be 128 */

static void nap(void)
{
    const struct timespec t = {.tv_nsec = POLL_MS * 1000000};

    nanosleep(&t, NULL);
}

int64_t device_index(const char *path)
{
    static const char head[] = "/dev/nbd";
    uint64_t n = 0;

    if (strncmp(path, head, sizeof(head) - 1) != 0)
        return -EINVAL;
    const char *p = path + sizeof(head) - 1;
    if (!*p || (p[0] == '0' && p[1]))
        return -EINVAL;
    for (; *p; p++) {
        if (!isdigit((unsigned char)*p))
            return -EINVAL;
        n = n * 10 + (uint64_t)(*p - '0');
        if (n > (1u << 20)) /* as many as there are minor numbers */
            return -EINVAL;
    }
    return (int64_t)n;
}

static char *sys_path(uint32_t index, const char *name, char ret[64])
{
    snprintf(ret, 64, "/sys/block/nbd%u/%s", index, name);
    return ret;
}

int device_backend(uint32_t index, char ret_backend[NBDNL_BACKEND_BYTES])
{
    char path[64];
    char *text;

    if (access(sys_path(index, "pid", path), F_OK) < 0)
        return -errno;
    int r = kt_read_file(sys_path(index, "backend", path), 4096, &text);
    if (r < 0)
        return r;
    text[strcspn(text, "\n")] = 0;
    bool fits = *text && strlen(text) < NBDNL_BACKEND_BYTES;
    if (fits)
        memcpy(ret_backend, text, strlen(text) + 1);
    free(text);
    return fits ? 0 : -ENOENT;
}

static int set(uint32_t index, const char *name, const char *value)
{
    char path[64];

    int fd = open(sys_path(index, name, path), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, value, strlen(value));
    int r = n < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int size_of(uint32_t index, uint64_t *ret_bytes)
{
    char path[32];

    snprintf(path, sizeof(path), "/dev/nbd%u", index);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = ioctl(fd, BLKGETSIZE64, ret_bytes) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int device_settle(uint32_t index, uint64_t size_bytes)
{
    uint64_t until_ms = kt_now_ms() + SETTLE_MS, bytes = 0;

    while (size_of(index, &bytes) < 0 || bytes != size_bytes) {
        if (kt_now_ms() >= until_ms)
            return -ETIMEDOUT;
        nap();
    }
    int r = set(index, "queue/io_timeout", IO_TIMEOUT_MS);
    if (r == 0)
        r = set(index, "queue/max_sectors_kb", MAX_SECTORS_KB);
    return r;
}

int device_open_alone(uint32_t index)
{
    char path[32];

    snprintf(path, sizeof(path), "/dev/nbd%u", index);
    int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

char *device_mounted_at(uint32_t index, char *ret_where, size_t size)
{
    char path[32], line[4096], want[32];
    struct stat st;

    ret_where[0] = 0;
    snprintf(path, sizeof(path), "/dev/nbd%u", index);
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return ret_where;
    if (stat(path, &st) == 0) {
        snprintf(want, sizeof(want), "%u:%u", major(st.st_rdev),
                 minor(st.st_rdev));
        while (!ret_where[0] && fgets(line, sizeof(line), f)) {
            char dev[32], where[2048];
            if (sscanf(line, "%*s %*s %31s %*s %2047s", dev, where) == 2 &&
                strcmp(dev, want) == 0)
                snprintf(ret_where, size, "%s", where);
        }
    }
    fclose(f);
    return ret_where;
}

bool device_wait_gone(uint32_t index, unsigned timeout_ms)
{
    uint64_t until_ms = kt_now_ms() + timeout_ms, bytes;
    char path[64];

    while (access(sys_path(index, "pid", path), F_OK) == 0 ||
           (size_of(index, &bytes) == 0 && bytes != 0)) {
        if (kt_now_ms() >= until_ms)
            return false;
        nap();
    }
    return true;
}
