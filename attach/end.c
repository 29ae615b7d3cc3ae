/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter-attachd --end-all, for a shutdown: every volume that is attached here
 * is unmounted, wherever it is mounted, and detached, all at the same time.
 * One that cannot be written out within its time is ended by force: a machine
 * that does not go down is no better. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "attach/daemon.h"
#include "attach/device.h"
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#define CALM_MS 45000u
#define MOUNTS_MAX 64u
#define POLL_MS 50

/* What may hang: in a child. */
static int unmount_all(uint32_t index)
{
    char where[ATTACH_PATH_BYTES];

    for (unsigned i = 0; i < MOUNTS_MAX; i++) {
        if (!*device_mounted_at(index, where, sizeof(where)))
            return 0;
        int fd = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && syncfs(fd) < 0)
            kt_log(KT_LOG_ERROR, "write_out_failed", "dir=%s err=\"%s\"", where,
                   strerror(errno));
        if (fd >= 0)
            close(fd);
        if (umount2(where, UMOUNT_NOFOLLOW) < 0 &&
            umount2(where, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
            return errno;
    }
    return EBUSY;
}

/* Whether the child ended well within its time. */
static bool done_within(pid_t pid, unsigned ms)
{
    const struct timespec nap = {.tv_nsec = POLL_MS * 1000000l};
    uint64_t until = kt_now_ms() + ms;
    int status;

    for (;;) {
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid)
            return WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if ((r < 0 && errno != EINTR) || kt_now_ms() >= until)
            return false;
        nanosleep(&nap, NULL);
    }
}

static int calm_end(const char *run_dir, const struct attach_found *f)
{
    char why[ATTACH_WHY_BYTES] = "";
    int r = unmount_all((uint32_t)device_index(f->device));

    if (r == 0)
        r = -attach_down(run_dir, f->name, false, why);
    if (r != 0 && r != ENOENT)
        kt_log(KT_LOG_ERROR, "not_ended", "volume=%s err=\"%s\"", f->name,
               *why ? why : strerror(r));
    return r != 0 && r != ENOENT;
}

static int end_one(const char *run_dir, const struct attach_found *f)
{
    char why[ATTACH_WHY_BYTES];

    pid_t pid = fork();
    if (pid == 0)
        _exit(calm_end(run_dir, f));
    if (pid > 0 && done_within(pid, CALM_MS)) {
        kt_log(KT_LOG_INFO, "ended", "volume=%s", f->name);
        return 0;
    }
    /* With its device gone whoever waits for it gets his error. */
    int r = attach_down(run_dir, f->name, true, why);
    kt_log(KT_LOG_ERROR, "ended_by_force", "volume=%s err=\"%s\"", f->name,
           r < 0 && r != -ENOENT ? why : "it could not be written out in time");
    return 1;
}

int daemon_end_all(const char *run_dir)
{
    char path[INFO_PATH_BYTES];
    struct attach_found f;
    const struct dirent *e;
    int status, failed = 0;

    if (info_path(run_dir, NULL, NULL, path) < 0)
        return 2;
    DIR *d = opendir(path);
    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.' || attach_find(run_dir, e->d_name, &f) < 0)
            continue;
        pid_t pid = fork();
        if (pid == 0)
            _exit(end_one(run_dir, &f));
        failed += pid < 0;
    }
    if (d)
        closedir(d);
    while (wait(&status) > 0)
        failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return failed > 0;
}
