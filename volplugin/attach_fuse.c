/* SPDX-License-Identifier: BSD-3-Clause */
/* Attaching without the kernel's nbd: nbdkit serves the volume on a socket,
 * nbdfuse shows it as a file, a loop device makes a disk of that. All of it
 * outlives this program, in a directory for each volume:
 *   nbd.sock nbdkit.pid    the server
 *   state state.lock       what a killed server leaves for the next one
 *   m/disk nbdfuse.pid log the file
 * nbdfuse does not connect again: when nbdkit dies, the file system gets
 * errors. What detach does, it can do again after any crash in its middle. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "volplugin/fs.h"

#define WAIT_S "90"
#define UP_MS 20000u
#define END_MS 30000u

struct paths {
    char dir[ATTACH_PATH_BYTES];
    char sock[ATTACH_PATH_BYTES + 16], pid[ATTACH_PATH_BYTES + 16];
    char state[ATTACH_PATH_BYTES + 16], m[ATTACH_PATH_BYTES + 16];
    char disk[ATTACH_PATH_BYTES + 16], fuse_pid[ATTACH_PATH_BYTES + 16];
    char log[ATTACH_PATH_BYTES + 16], state_lock[ATTACH_PATH_BYTES + 16];
};

static void make_paths(const struct plugin *p, const struct kt_id *id,
                       struct paths *r)
{
    char hex[KT_ID_HEX_BYTES];

    snprintf(r->dir, sizeof(r->dir), "%s/%s", p->o->run, kt_id_hex(id, hex));
    snprintf(r->sock, sizeof(r->sock), "%s/nbd.sock", r->dir);
    snprintf(r->pid, sizeof(r->pid), "%s/nbdkit.pid", r->dir);
    snprintf(r->state, sizeof(r->state), "%s/state", r->dir);
    snprintf(r->m, sizeof(r->m), "%s/m", r->dir);
    snprintf(r->disk, sizeof(r->disk), "%s/m/disk", r->dir);
    snprintf(r->fuse_pid, sizeof(r->fuse_pid), "%s/nbdfuse.pid", r->dir);
    snprintf(r->state_lock, sizeof(r->state_lock), "%s/state.lock", r->dir);
    snprintf(r->log, sizeof(r->log), "%s/log", r->dir);
}

static void nap(void)
{
    const struct timespec t = {.tv_nsec = 50000000l};

    nanosleep(&t, NULL);
}

static int run(const char *const argv[], const char *what, char *ret_why)
{
    char out[512];

    int status = kt_run(argv, out, sizeof(out));
    if (status == 0)
        return 0;
    snprintf(ret_why, VOL_WHY_BYTES, "%s: %s", what, out);
    return status < 0 ? status : -EIO;
}

/* ---- processes that are not our children ---- */

/* The process of the pid file, when its command line has our path in it; 0
 * when there is none: a number comes round. */
static pid_t process_of(const char *pid_file, const char *path)
{
    char proc[64], line[4096], *text;
    pid_t pid = 0;

    if (kt_read_file(pid_file, 32, &text) < 0)
        return 0;
    long n = strtol(text, NULL, 10);
    free(text);
    if (n <= 1)
        return 0;
    snprintf(proc, sizeof(proc), "/proc/%ld/cmdline", n);
    int fd = open(proc, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < len; i += (ssize_t)strlen(line + i) + 1) {
        line[len] = '\0';
        if (strcmp(line + i, path) == 0)
            pid = (pid_t)n;
    }
    return pid;
}

/* false: it still runs. */
static bool ended(const char *pid_file, const char *path, unsigned timeout_ms)
{
    uint64_t until = kt_now_ms() + timeout_ms;

    while (process_of(pid_file, path)) {
        if (kt_now_ms() >= until)
            return false;
        nap();
    }
    return true;
}

/* ---- detach ---- */

/* The kernel's word for what a loop device holds. losetup -j asks the file
 * instead, and that of a dead nbdfuse does not answer. */
static bool loop_holds(const char *loop, const char *path)
{
    char name[ATTACH_PATH_BYTES], *text;
    size_t len = strlen(path);

    snprintf(name, sizeof(name), "/sys/block/%.32s/loop/backing_file", loop);
    if (kt_read_file(name, 4096, &text) < 0)
        return false; /* no loop device, or it holds nothing */
    const char *rest = text + len;
    bool holds =
        strncmp(text, path, len) == 0 && (*rest == '\0' || *rest == '\n' ||
                                          strncmp(rest, " (deleted)", 10) == 0);
    free(text);
    return holds;
}

static int drop_loops(const struct paths *r, char *ret_why)
{
    char dev[64];
    const char *const argv[] = {"losetup", "-d", dev, NULL};
    const struct dirent *e;
    int err = 0;

    DIR *d = opendir("/sys/block");
    while (d && err == 0 && (e = readdir(d))) {
        if (strncmp(e->d_name, "loop", 4) != 0 ||
            !loop_holds(e->d_name, r->disk))
            continue;
        snprintf(dev, sizeof(dev), "/dev/%.32s", e->d_name);
        err = run(argv, "a loop device stays", ret_why);
    }
    if (d)
        closedir(d);
    return err;
}

static int drop_file(const struct paths *r, char *ret_why)
{
    uint64_t until = kt_now_ms() + END_MS;
    int err = 0;

    /* A loop device lets go of its file a moment after it is told to. */
    while (umount2(r->m, UMOUNT_NOFOLLOW) < 0) {
        err = -errno;
        if (err == -EINVAL || err == -ENOENT) /* not mounted */
            break;
        if (err != -EBUSY || kt_now_ms() >= until) {
            snprintf(ret_why, VOL_WHY_BYTES, "%s cannot be unmounted: %s", r->m,
                     kt_strerror(err));
            return err;
        }
        nap();
    }
    if (ended(r->fuse_pid, r->disk, END_MS))
        return 0;
    snprintf(ret_why, VOL_WHY_BYTES, "nbdfuse of %s does not end", r->disk);
    return -ETIMEDOUT;
}

/* Orderly: it flushes and gives the volume back. */
static int drop_server(const struct paths *r, char *ret_why)
{
    pid_t pid = process_of(r->pid, r->sock);

    if (pid)
        kill(pid, SIGTERM);
    if (ended(r->pid, r->sock, END_MS))
        return 0;
    snprintf(ret_why, VOL_WHY_BYTES,
             "nbdkit (pid %ld) does not end within 30 s of being told to: "
             "kenter status tells whether its volume can be flushed",
             (long)pid);
    return -ETIMEDOUT;
}

static int fuse_detach(void *ctx, const struct attach_volume *v, char *ret_why)
{
    struct paths r;

    make_paths(ctx, &v->id, &r);
    if (access(r.m, F_OK) < 0)
        return 0;
    int err = drop_loops(&r, ret_why);
    if (err == 0)
        err = drop_file(&r, ret_why);
    if (err == 0)
        err = drop_server(&r, ret_why);
    if (err < 0)
        return err;
    unlink(r.sock);
    unlink(r.pid);
    unlink(r.fuse_pid);
    unlink(r.state); /* the device is gone: nothing to go on from */
    unlink(r.state_lock);
    unlink(r.log);
    rmdir(r.m);
    rmdir(r.dir);
    return 0;
}

/* ---- attach ---- */

static int start_server(const struct plugin *p, const struct attach_volume *v,
                        const struct paths *r, char *ret_why)
{
    char volume[KT_NAME_MAX + 16], context[ATTACH_PATH_BYTES * 2],
        state[sizeof(r->state) + 8];
    char found[ATTACH_PATH_BYTES];
    const char *plugin = p->o->nbdkit_plugin
                             ? p->o->nbdkit_plugin
                             : kt_nbdkit_plugin(found, sizeof(found));
    const char *argv[] = {"nbdkit",       "-U", r->sock, "-P",   r->pid,
                          "-t",           "64", plugin,  volume, state,
                          "wait=" WAIT_S, NULL, NULL};

    snprintf(volume, sizeof(volume), "volume=%s", v->name);
    snprintf(state, sizeof(state), "state=%s", r->state);
    if (p->o->context) {
        snprintf(context, sizeof(context), "context=%s", p->o->context);
        argv[KT_ARRAY_LEN(argv) - 2] = context;
    }
    /* It goes to the background once the volume is attached. */
    return run(argv, "the volume cannot be attached", ret_why);
}

static int start_file(const struct paths *r, char *ret_why)
{
    const char *const argv[] = {
        "sh",
        "-c",
        "exec setsid -f nbdfuse --pidfile \"$1\" \"$2\" --unix \"$3\" "
        "</dev/null >\"$4\" 2>&1",
        "sh",
        r->fuse_pid,
        r->disk,
        r->sock,
        r->log,
        NULL};
    uint64_t until = kt_now_ms() + UP_MS;
    char *text;

    int err = run(argv, "nbdfuse cannot be started", ret_why);
    while (err == 0 && access(r->disk, F_OK) < 0) {
        nap();
        if (kt_now_ms() >= until)
            err = -ETIMEDOUT;
    }
    if (err == -ETIMEDOUT) {
        if (kt_read_file(r->log, 4096, &text) < 0)
            text = NULL;
        snprintf(ret_why, VOL_WHY_BYTES, "nbdfuse does not come up: %.500s",
                 text ? text : "");
        ret_why[strcspn(ret_why, "\n")] = '\0';
        free(text);
    }
    return err;
}

static int start_loop(const struct paths *r, char ret_dev[ATTACH_PATH_BYTES],
                      char *ret_why)
{
    const char *const argv[] = {
        "losetup",       "-f",   "--show", "--direct-io=on",
        "--sector-size", "4096", r->disk,  NULL};
    char out[512];

    int status = kt_run(argv, out, sizeof(out));
    if (status == 0 && strncmp(out, "/dev/loop", 9) == 0) {
        snprintf(ret_dev, ATTACH_PATH_BYTES, "%.60s", out);
        return 0;
    }
    snprintf(ret_why, VOL_WHY_BYTES, "there is no loop device: %s", out);
    return status < 0 ? status : -EIO;
}

static int fuse_attach(void *ctx, const struct attach_volume *v,
                       char ret_dev[ATTACH_PATH_BYTES], char *ret_why)
{
    const struct plugin *p = ctx;
    struct paths r;
    char other[VOL_WHY_BYTES];

    make_paths(p, &v->id, &r);
    if (strlen(r.sock) >= 108) {
        snprintf(ret_why, VOL_WHY_BYTES, "--run %s is too long a path",
                 p->o->run);
        return -ENAMETOOLONG;
    }
    int err = fs_unmount(v, ret_why); /* what a crash left */
    if (err == 0)
        err = fuse_detach(ctx, v, ret_why);
    if (err < 0)
        return err;
    if ((mkdir(r.dir, 0700) < 0 && errno != EEXIST) ||
        (mkdir(r.m, 0700) < 0 && errno != EEXIST)) {
        err = -errno;
        snprintf(ret_why, VOL_WHY_BYTES, "cannot make %s: %s", r.m,
                 kt_strerror(err));
        return err;
    }
    err = start_server(p, v, &r, ret_why);
    if (err == 0)
        err = start_file(&r, ret_why);
    if (err == 0)
        err = start_loop(&r, ret_dev, ret_why);
    if (err < 0 && fuse_detach(ctx, v, other) < 0)
        return err; /* the next attach begins with it */
    return err;
}

/* ---- the rest ---- */

static int fuse_mount(void *ctx, const struct attach_volume *v, const char *dev,
                      char *ret_why)
{
    char uri[ATTACH_PATH_BYTES + 64];
    struct paths r;

    make_paths(ctx, &v->id, &r);
    snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", r.sock);
    return fs_mount(ctx, v, dev, uri, ret_why);
}

static bool fuse_attached(void *ctx, const struct attach_volume *v)
{
    struct paths r;

    make_paths(ctx, &v->id, &r);
    return access(r.pid, F_OK) == 0 || access(r.sock, F_OK) == 0;
}

const struct attach_ops attach_fuse = {
    .name = "fuse",
    .attach = fuse_attach,
    .detach = fuse_detach,
    .mount = fuse_mount,
    .attached = fuse_attached,
};
