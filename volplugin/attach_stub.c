/* SPDX-License-Identifier: BSD-3-Clause */
/* Attaching that only makes marks, for tests of everything around it. In its
 * directory:
 *   calls        one line a call: "attach NAME", ...
 *   ID.attached  and ID.mounted: the marks
 *   delay        when there: every attach takes so many seconds
 *   fail         when there: "WHAT SENTENCE": calls of WHAT fail with it */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "volplugin/attach.h"

static void note_call(const char *dir, const char *what, const char *name)
{
    char path[512], line[128];

    snprintf(path, sizeof(path), "%s/calls", dir);
    int n = snprintf(line, sizeof(line), "%s %s\n", what, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        abort(); /* a test that does not see the calls is none */
    close(fd);
}

static char *control(const char *dir, const char *file)
{
    char path[512], *text;

    snprintf(path, sizeof(path), "%s/%s", dir, file);
    return kt_read_file(path, 4096, &text) == 0 ? text : NULL;
}

static int begin(const char *dir, const char *what,
                 const struct attach_volume *v, char *ret_why)
{
    size_t n = strlen(what);
    int err = 0;

    note_call(dir, what, v->name);
    char *fail = control(dir, "fail");
    if (fail && strncmp(fail, what, n) == 0 && fail[n] == ' ') {
        snprintf(ret_why, VOL_WHY_BYTES, "%s", fail + n + 1);
        ret_why[strcspn(ret_why, "\n")] = '\0';
        err = -EIO;
    }
    free(fail);
    return err;
}

static void mark_path(const char *dir, const struct attach_volume *v,
                      const char *what, char ret[512])
{
    char hex[KT_ID_HEX_BYTES];

    snprintf(ret, 512, "%s/%s.%s", dir, kt_id_hex(&v->id, hex), what);
}

/* 0, or -EEXIST: the plugin did twice what it may do once. */
static int mark(const char *dir, const struct attach_volume *v,
                const char *what, char *ret_why)
{
    char path[512];

    mark_path(dir, v, what, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        int err = -errno;
        snprintf(ret_why, VOL_WHY_BYTES, "%s: %s", path, kt_strerror(err));
        return err;
    }
    close(fd);
    return 0;
}

static int stub_attach(void *ctx, const struct attach_volume *v,
                       char ret_dev[ATTACH_PATH_BYTES], char *ret_why)
{
    const char *dir = ctx;

    char *delay = control(dir, "delay");
    if (delay) {
        double s = strtod(delay, NULL);
        struct timespec t = {.tv_sec = (time_t)s,
                             .tv_nsec = (long)((s - (double)(time_t)s) * 1e9)};
        nanosleep(&t, NULL);
        free(delay);
    }
    int err = begin(dir, "attach", v, ret_why);
    if (err == 0)
        err = mark(dir, v, "attached", ret_why);
    if (err == 0)
        snprintf(ret_dev, ATTACH_PATH_BYTES, "/dev/null");
    return err;
}

static int stub_detach(void *ctx, const struct attach_volume *v, char *ret_why)
{
    char path[512];

    int err = begin(ctx, "detach", v, ret_why);
    mark_path(ctx, v, "attached", path);
    if (err == 0)
        unlink(path);
    return err;
}

static int stub_mount(void *ctx, const struct attach_volume *v, const char *dev,
                      char *ret_why)
{
    char path[ATTACH_PATH_BYTES + 8];
    (void)dev;

    int err = begin(ctx, "mount", v, ret_why);
    if (err == 0)
        err = mark(ctx, v, "mounted", ret_why);
    if (err < 0)
        return err;
    snprintf(path, sizeof(path), "%s/_data", v->fs_dir);
    if ((mkdir(v->fs_dir, 0700) < 0 && errno != EEXIST) ||
        (mkdir(path, 0755) < 0 && errno != EEXIST)) {
        err = -errno;
        snprintf(ret_why, VOL_WHY_BYTES, "%s: %s", path, kt_strerror(err));
    }
    return err;
}

static int stub_unmount(void *ctx, const struct attach_volume *v, char *ret_why)
{
    char path[512];

    int err = begin(ctx, "unmount", v, ret_why);
    mark_path(ctx, v, "mounted", path);
    if (err == 0)
        unlink(path);
    return err;
}

static bool stub_mounted(void *ctx, const struct attach_volume *v)
{
    char path[512];

    mark_path(ctx, v, "mounted", path);
    return access(path, F_OK) == 0;
}

static bool stub_attached(void *ctx, const struct attach_volume *v)
{
    char path[512];

    mark_path(ctx, v, "attached", path);
    return access(path, F_OK) == 0;
}

const struct attach_ops attach_stub = {
    .name = "stub",
    .attach = stub_attach,
    .detach = stub_detach,
    .mount = stub_mount,
    .unmount = stub_unmount,
    .mounted = stub_mounted,
    .attached = stub_attached,
};
