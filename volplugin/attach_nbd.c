/* SPDX-License-Identifier: BSD-3-Clause */
/* Attaching by the kernel's nbd driver: each volume has a kenter-attachd
 * (attach/attach.h), which outlives this program and the nbdkit. In the run
 * directory:
 *   ID/nbd        "NAME\n": it was attached for Docker, not by hand
 *   attach/NAME/  kenter-attachd's
 * The mark is there before the device and goes after it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach/attach.h"
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"
#include "volplugin/fs.h"

#define WAIT_S 90u

static_assert(VOL_WHY_BYTES >= ATTACH_WHY_BYTES, "a whole sentence fits");

static void mark_path(const struct plugin *p, const struct kt_id *id,
                      char ret_dir[ATTACH_PATH_BYTES],
                      char ret_mark[ATTACH_PATH_BYTES + 8])
{
    char hex[KT_ID_HEX_BYTES];

    snprintf(ret_dir, ATTACH_PATH_BYTES, "%s/%s", p->o->run,
             kt_id_hex(id, hex));
    snprintf(ret_mark, ATTACH_PATH_BYTES + 8, "%s/nbd", ret_dir);
}

/* The name it is attached under; "" when it is not. The catalogue may have
 * forgotten a volume, or have another of its name. */
static void attached_name(const struct plugin *p, const struct kt_id *id,
                          char ret_name[KT_NAME_MAX + 1])
{
    char dir[ATTACH_PATH_BYTES], mark[ATTACH_PATH_BYTES + 8], *text;

    ret_name[0] = '\0';
    mark_path(p, id, dir, mark);
    if (kt_read_file(mark, 256, &text) < 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    if (kt_name_valid(text))
        snprintf(ret_name, KT_NAME_MAX + 1, "%s", text);
    free(text);
}

static bool nbd_attached(void *ctx, const struct attach_volume *v)
{
    char dir[ATTACH_PATH_BYTES], mark[ATTACH_PATH_BYTES + 8];

    mark_path(ctx, &v->id, dir, mark);
    return access(mark, F_OK) == 0;
}

static int nbd_detach(void *ctx, const struct attach_volume *v, char *ret_why)
{
    char dir[ATTACH_PATH_BYTES], mark[ATTACH_PATH_BYTES + 8];
    char name[KT_NAME_MAX + 1];
    const struct plugin *p = ctx;

    mark_path(p, &v->id, dir, mark);
    if (access(mark, F_OK) < 0)
        return 0;
    attached_name(p, &v->id, name);
    int err = *name ? attach_down(p->o->run, name, false, ret_why) : -ENOENT;
    /* Its server answers with errors: the volume is gone, or another has it.
     * There is nobody to flush to. */
    if (err == -EIO) {
        kt_log(KT_LOG_ERROR, "not_flushed", "volume=%s err=\"%s\"", name,
               ret_why);
        err = attach_down(p->o->run, name, true, ret_why);
    }
    if (err < 0 && err != -ENOENT)
        return err;
    unlink(mark);
    rmdir(dir);
    return 0;
}

static int make_mark(const struct plugin *p, const struct attach_volume *v,
                     char *ret_why)
{
    char dir[ATTACH_PATH_BYTES], mark[ATTACH_PATH_BYTES + 8];
    char text[KT_NAME_MAX + 2];

    mark_path(p, &v->id, dir, mark);
    snprintf(text, sizeof(text), "%s\n", v->name);
    int err = mkdir(dir, 0700) < 0 && errno != EEXIST
                  ? -errno
                  : kt_write_file(mark, text, 0600);
    if (err < 0)
        snprintf(ret_why, VOL_WHY_BYTES, "cannot write %s: %s", mark,
                 kt_strerror(err));
    return err;
}

/* What the hub advises suits a person at a shell. */
static void mend_advice(const struct attach_volume *v, char *why)
{
    char *word = strstr(why, "; stop that one, or take it with steal");
    size_t left = word ? VOL_WHY_BYTES - (size_t)(word - why) : 0;

    if (word)
        snprintf(word, left,
                 ". It is mounted on one node at a time: stop the container "
                 "that uses it there; tasks that run side by side need a "
                 "volume each, named for instance %s-{{.Task.Slot}}",
                 v->name);
}

static int nbd_attach(void *ctx, const struct attach_volume *v,
                      char ret_dev[ATTACH_PATH_BYTES], char *ret_why)
{
    const struct plugin *p = ctx;
    char other[VOL_WHY_BYTES];

    int err = fs_unmount(v, ret_why); /* what a crash left */
    if (err == 0)
        err = nbd_detach(ctx, v, ret_why);
    if (err == 0)
        err = make_mark(p, v, ret_why);
    if (err < 0)
        return err;
    const struct attach_request q = {.run_dir = p->o->run,
                                     .name = v->name,
                                     .id = v->id,
                                     .context = p->o->context,
                                     .plugin = p->o->nbdkit_plugin,
                                     .wait_s = WAIT_S};
    err = attach_up(&q, ret_dev, ret_why);
    if (err == 0)
        return 0;
    if (err == -EALREADY)
        snprintf(ret_why, VOL_WHY_BYTES,
                 "the volume %s is attached on this node by hand, as %s: "
                 "detach it first (kenter volume detach %s)",
                 v->name, ret_dev, v->name);
    mend_advice(v, ret_why);
    /* What is attached by hand is not ours; of ours nothing is left. */
    char dir[ATTACH_PATH_BYTES], mark[ATTACH_PATH_BYTES + 8];
    mark_path(p, &v->id, dir, mark);
    if (err != -EALREADY && nbd_detach(ctx, v, other) < 0)
        return err; /* the next attach begins with it */
    unlink(mark);
    rmdir(dir);
    return err;
}

static int nbd_mount(void *ctx, const struct attach_volume *v, const char *dev,
                     char *ret_why)
{
    const struct plugin *p = ctx;
    char uri[ATTACH_PATH_BYTES + 64];

    snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s/attach/%s/nbd",
             p->o->run, v->name);
    return fs_mount(ctx, v, dev, uri, ret_why);
}

const struct attach_ops attach_nbd = {
    .name = "nbd",
    .attach = nbd_attach,
    .detach = nbd_detach,
    .mount = nbd_mount,
    .attached = nbd_attached,
};
