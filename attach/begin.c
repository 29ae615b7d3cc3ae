/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "attach/daemon.h"
#include "attach/device.h"
#include "attach/kernel.h"
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#define BLOCK_BYTES 4096u
/* The nbdkit before may just be dying; its lock of the state file, and the
 * volume, are then free in a moment. */
#define TAKE_OVER_S 15u
#define END_MS 30000u
#define LOCK_TRIES 20u

/* ---- 1. the directory ---- */

static int make_dirs(const struct daemon *d)
{
    char path[INFO_PATH_BYTES];

    /* Every part of it; those that are there stay as they are. */
    snprintf(path, sizeof(path), "%s", d->dir);
    for (char *p = path + 1;; p++) {
        char was = *p;
        if (was != '/' && was)
            continue;
        *p = 0;
        if (mkdir(path, was ? 0755 : 0700) < 0 && errno != EEXIST)
            return -errno;
        *p = was;
        if (!was)
            return 0;
    }
}

/* What stands there is believed: nobody else may have put it there. */
static int check_dir(const char *dir)
{
    struct stat st;

    if (lstat(dir, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
                   !(st.st_mode & (S_IWGRP | S_IWOTH))
               ? 0
               : -EPERM;
}

/* Whether the lock's file is still the one that was locked. */
static bool lock_is_there(int fd, const char *lock)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && stat(lock, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

static int take_dir(struct daemon *d, char *ret_why)
{
    const struct {
        const char *file;
        char *path;
    } files[] = {{NULL, d->dir},          {"info.json", d->info_file},
                 {"control", d->control}, {"nbd", d->socket},
                 {"state", d->state},     {"nbdkit.log", d->server_log}};
    const struct timespec nap = {.tv_nsec = 20000000};
    char lock[INFO_PATH_BYTES];
    int r = info_path(d->q.run_dir, d->q.name, "lock", lock);

    for (size_t i = 0; r == 0 && i < KT_ARRAY_LEN(files); i++)
        r = info_path(d->q.run_dir, d->q.name, files[i].file, files[i].path);
    if (r == 0)
        r = make_dirs(d);
    if (r == 0)
        r = check_dir(d->dir);
    if (r == 0) {
        d->lock_fd =
            open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        r = d->lock_fd < 0 ? -errno : 0;
    }
    if (r < 0)
        return attach_why(ret_why, r, "%s cannot be used: %s", d->dir,
                          kt_strerror(r));
    /* Who looks whether it is held holds it for a moment. */
    for (unsigned i = 0;
         (r = flock(d->lock_fd, LOCK_EX | LOCK_NB)) < 0 && i < LOCK_TRIES; i++)
        nanosleep(&nap, NULL);
    if (r < 0 || !lock_is_there(d->lock_fd, lock))
        return attach_why(ret_why, -EBUSY,
                          "volume %s is being attached or detached here just "
                          "now; try again in a moment",
                          d->q.name);
    return 0;
}

void daemon_clear(struct daemon *d)
{
    static const char *const files[] = {
        "info.json",  "control",     "nbd",        "state",
        "state.lock", "attachd.log", "nbdkit.log", "lock"};
    char path[INFO_PATH_BYTES];

    for (size_t i = 0; i < KT_ARRAY_LEN(files); i++) {
        if (info_path(d->q.run_dir, d->q.name, files[i], path) == 0)
            unlink(path);
    }
    rmdir(d->dir);
}

/* What nobody reads belongs in the log. */
static void open_log(const struct daemon *d)
{
    char path[INFO_PATH_BYTES];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (d->ready_fd < 0)
        return; /* started by hand: stderr is somebody's */
    int fd =
        info_path(d->q.run_dir, d->q.name, "attachd.log", path) == 0
            ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                   0600)
            : -1;
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(fd >= 0 ? fd : null, 2);
    }
}

/* ---- 2. what a predecessor left ---- */

int daemon_owns(const struct daemon *d, uint32_t index)
{
    char backend[NBDNL_BACKEND_BYTES];

    int r = device_backend(index, backend);
    if (r == -ENOENT || r == -ENODEV)
        return 0;
    return r < 0 ? r : strcmp(backend, d->backend) == 0;
}

static int end_unused(const struct daemon *d, struct server *s, char *ret_why)
{
    if (server_end(s, SIGTERM, END_MS))
        return 0;
    return attach_why(ret_why, -EBUSY,
                      "an nbdkit of volume %s that nothing uses (process %ld) "
                      "does not end; see %s, then kill it",
                      d->q.name, (long)s->pid, d->server_log);
}

/* An nbdkit whose kenter-attachd was killed before it could write it down. */
static int end_orphan(struct daemon *d, char *ret_why)
{
    struct server s = {.fd = -1};

    return server_find(d->socket, &s) < 0 ? 0 : end_unused(d, &s, ret_why);
}

/* 1: taken over. 0: there is nothing to take over. */
static int take_over(struct daemon *d, char *ret_why)
{
    struct attach_info i;
    struct server s = {.fd = -1};
    char backend[NBDNL_BACKEND_BYTES], hex[KT_ID_HEX_BYTES];

    int r = info_load(d->info_file, &i);
    if (r == -ENOENT || r == -EINVAL)
        return end_orphan(d, ret_why);
    if (r < 0)
        return attach_why(ret_why, r, "%s cannot be read: %s", d->info_file,
                          kt_strerror(r));
    int ours = kt_id_eq(&i.id, &d->q.id) ? daemon_owns(d, i.index) : 0;
    if (ours < 0)
        return attach_why(ret_why, ours,
                          "it cannot be told whether /dev/nbd%u is attached: "
                          "%s",
                          i.index, kt_strerror(ours));
    if (!kt_id_eq(&i.id, &d->q.id) && device_backend(i.index, backend) == 0 &&
        strcmp(backend, kt_id_hex(&i.id, hex)) == 0)
        return attach_why(ret_why, -EBUSY,
                          "/dev/nbd%u is another volume that was named %s: "
                          "detach it first",
                          i.index, d->q.name);
    bool serves =
        i.server_pid && server_adopt(i.server_pid, i.server_start, &s) == 0;
    if (ours) {
        d->info = i;
        d->server = s;
        if (!d->q.context && d->info.context[0])
            d->q.context = d->info.context;
        kt_log(KT_LOG_INFO, "taken_over",
               "volume=%s device=/dev/nbd%u nbdkit=%ld", i.name, i.index,
               (long)s.pid);
        return 1;
    }
    /* No device of ours hangs on it, so it may end as it should. */
    if (!serves)
        return end_orphan(d, ret_why);
    return end_unused(d, &s, ret_why);
}

/* ---- 3. a new device ---- */

int daemon_serve(struct daemon *d, bool first, char ret_why[SERVER_WHY_BYTES])
{
    const struct server_opts o = {.socket = d->socket,
                                  .log = d->server_log,
                                  .plugin = d->q.plugin,
                                  .volume = d->q.name,
                                  .context = d->q.context,
                                  .state = d->state,
                                  .wait_s = first ? d->q.wait_s : TAKE_OVER_S,
                                  .steal = first && d->q.steal};

    return server_start(&o, &d->server, ret_why);
}

static int connect_device(struct daemon *d, const struct server_link *l,
                          char *ret_why)
{
    struct nbdnl_device n = {.index = NBDNL_NO_INDEX,
                             .size_bytes = l->size_bytes,
                             .block_bytes = BLOCK_BYTES,
                             .dead_timeout_s = d->dead_timeout_s,
                             .server_flags = l->flags,
                             .backend = d->backend,
                             .n_sockets = 1,
                             .sockets = {l->fd}};

    if (d->q.device)
        n.index = (uint32_t)device_index(d->q.device);
    int r = nbdnl_connect(&d->nl, &n, &d->info.index);
    if (r == -EBUSY && d->q.device)
        return attach_why(ret_why, r,
                          "%s is in use; leave --device out, and a free one "
                          "is taken",
                          d->q.device);
    if (r < 0)
        return attach_why(ret_why, r, "the kernel refuses the device: %s",
                          kt_strerror(r));
    d->info.size_bytes = l->size_bytes;
    r = device_settle(d->info.index, l->size_bytes);
    if (r == 0)
        return 0;
    int gone = nbdnl_disconnect(&d->nl, d->info.index);
    d->device_lives = gone < 0;
    return attach_why(ret_why, r, "/dev/nbd%u does not come up: %s%s",
                      d->info.index, kt_strerror(r),
                      gone < 0 ? "; it is still connected" : "");
}

static int make_device(struct daemon *d, char *ret_why)
{
    char text[SERVER_WHY_BYTES];
    struct server_link l;

    /* Of a device that is no more: nothing goes on from there. */
    unlink(d->state);
    snprintf(d->info.name, sizeof(d->info.name), "%s", d->q.name);
    d->info.id = d->q.id;
    snprintf(d->info.context, sizeof(d->info.context), "%s",
             d->q.context ? d->q.context : "");
    int r = kt_boot_id(&d->info.boot);
    if (r == 0)
        r = daemon_serve(d, true, text);
    if (r < 0)
        return attach_why(ret_why, r, "%s", text);
    r = server_connect(d->socket, &l, text);
    if (r < 0) {
        attach_why(ret_why, r, "%s", text);
    } else {
        r = connect_device(d, &l, ret_why);
        close(l.fd);
    }
    d->info.server_pid = d->server.pid;
    d->info.server_start = d->server.start;
    if (r == 0) {
        r = info_save(d->info_file, &d->info);
        if (r < 0) {
            attach_why(ret_why, r, "%s cannot be written: %s", d->info_file,
                       kt_strerror(r));
            d->device_lives = nbdnl_disconnect(&d->nl, d->info.index) < 0;
        }
    }
    if (r < 0 && !d->device_lives) /* it is not ended under a device */
        server_end(&d->server, SIGTERM, END_MS);
    return r;
}

int daemon_begin(struct daemon *d, char ret_why[ATTACH_WHY_BYTES])
{
    int r = take_dir(d, ret_why);
    if (r < 0)
        return r; /* nothing there is ours */
    open_log(d);
    kt_id_hex(&d->q.id, d->backend);
    r = kernel_open(&d->nl, ret_why);
    if (r == 0)
        r = take_over(d, ret_why);
    if (r == 1)
        return 0;
    /* What a predecessor left stays as long as it is not known to be dead. */
    bool kept = r < 0 && access(d->info_file, F_OK) == 0;
    if (r == 0 && d->q.adopt)
        r = attach_why(ret_why, -ENOENT, "volume %s is not attached here",
                       d->q.name);
    else if (r == 0)
        r = make_device(d, ret_why);
    if (r == 0)
        d->linked = true;
    else if (!kept && !d->device_lives)
        daemon_clear(d);
    return r;
}
