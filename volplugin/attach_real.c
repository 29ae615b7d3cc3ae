/* SPDX-License-Identifier: BSD-3-Clause */
/* Which way new volumes are attached. One that is attached already comes down
 * the way it went up, whatever the way is now: this program may have been
 * started again with another. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach/attach.h"
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "volplugin/fs.h"

#define KEEP_S 1u
#define KEEP_FAILED_S 10u

static const struct attach_ops *const ways[] = {&attach_nbd, &attach_fuse};

static int real_attach(void *ctx, const struct attach_volume *v,
                       char ret_dev[ATTACH_PATH_BYTES], char *ret_why)
{
    const struct plugin *p = ctx;

    for (size_t i = 0; i < KT_ARRAY_LEN(ways); i++) {
        int err = ways[i] == p->way || !ways[i]->attached(ctx, v)
                      ? 0
                      : fs_unmount(v, ret_why);
        if (err == 0 && ways[i] != p->way)
            err = ways[i]->detach(ctx, v, ret_why);
        if (err < 0)
            return err;
    }
    return p->way->attach(ctx, v, ret_dev, ret_why);
}

static int real_detach(void *ctx, const struct attach_volume *v, char *ret_why)
{
    int err = 0;

    for (size_t i = 0; i < KT_ARRAY_LEN(ways) && err == 0; i++)
        err = ways[i]->detach(ctx, v, ret_why);
    return err;
}

static int real_mount(void *ctx, const struct attach_volume *v, const char *dev,
                      char *ret_why)
{
    const struct plugin *p = ctx;

    return p->way->mount(ctx, v, dev, ret_why);
}

static int real_unmount(void *ctx, const struct attach_volume *v, char *ret_why)
{
    (void)ctx;
    return fs_unmount(v, ret_why);
}

static bool real_mounted(void *ctx, const struct attach_volume *v)
{
    (void)ctx;
    return fs_mounted(v->fs_dir);
}

static bool real_attached(void *ctx, const struct attach_volume *v)
{
    bool any = false;

    for (size_t i = 0; i < KT_ARRAY_LEN(ways); i++)
        any = any || ways[i]->attached(ctx, v);
    return any;
}

const struct attach_ops attach_real = {
    .name = "real",
    .attach = real_attach,
    .detach = real_detach,
    .mount = real_mount,
    .unmount = real_unmount,
    .mounted = real_mounted,
    .attached = real_attached,
};

/* ---- choosing ---- */

static bool have_fuse(void)
{
    return geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0 &&
           access("/dev/loop-control", R_OK | W_OK) == 0;
}

int attach_choose(struct plugin *p, char *ret_why, size_t size)
{
    bool any = strcmp(p->o->attach, "auto") == 0;
    char no_nbd[ATTACH_WHY_BYTES] = "";

    p->way = &attach_fuse;
    if (any || strcmp(p->o->attach, attach_nbd.name) == 0) {
        int err = attach_kernel(no_nbd);
        if (err == 0)
            p->way = &attach_nbd;
        else if (!any) {
            snprintf(ret_why, size, "volumes cannot be attached: %s", no_nbd);
            return err;
        }
    }
    if (p->way == &attach_fuse && !have_fuse()) {
        snprintf(ret_why, size,
                 "this machine cannot attach volumes: %s%sit takes root, "
                 "/dev/fuse and /dev/loop-control (modprobe fuse loop)",
                 no_nbd, *no_nbd ? "; without that " : "");
        return -ENODEV;
    }
    if (p->way == &attach_fuse && any)
        kt_log(KT_LOG_WARN, "attach_by_fuse",
               "why=\"%s\" note=\"a file system gets errors when its nbdkit "
               "dies\"",
               no_nbd);
    if (mkdir(p->o->run, 0700) < 0 && errno != EEXIST) {
        int err = -errno;
        snprintf(ret_why, size, "cannot make the directory %s: %s", p->o->run,
                 kt_strerror(err));
        return err;
    }
    p->attach = &attach_real;
    p->attach_ctx = p;
    return 0;
}

/* ---- keeping ---- */

static void heard(void *arg, const char *name, int err, const char *text)
{
    (void)arg;
    if (err == 0)
        kt_log(KT_LOG_WARN, "attachd_again", "volume=%s device=%s", name, text);
    else
        kt_log(KT_LOG_ERROR, "attachd_failed", "volume=%s err=\"%s\"", name,
               text);
}

void *attach_keep_run(void *arg)
{
    struct plugin *p = arg;
    unsigned left_s = 0;
    bool stop = false;

    while (!stop) {
        if (left_s == 0)
            left_s = attach_keep(p->o->run, p->o->nbdkit_plugin, heard, p)
                         ? KEEP_FAILED_S
                         : KEEP_S;
        left_s--;
        stop = plugin_wait(p, 1000);
    }
    return NULL;
}
