/* SPDX-License-Identifier: BSD-3-Clause */
/* From a block device to the directory that Docker gets:
 *   1. kenter-mkfs --probe: what is there?
 *   2. nothing, and never written: format. A file system: check, and grow.
 *      Anything else: refused with kenter-mkfs's sentence.
 *   3. mount, without set-uid programs and devices;
 *   4. _data, which unlike the root is empty in a new file system. */
#include "volplugin/fs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#define BUSY_TRIES 20
#define BUSY_NAP_NS 100000000l
#define OUT_BYTES 768

bool fs_mounted(const char *dir)
{
    char parent[ATTACH_PATH_BYTES];
    struct stat a, b;

    /* One whose device is dead may not even answer this. */
    if (stat(dir, &a) < 0)
        return errno != ENOENT;
    snprintf(parent, sizeof(parent), "%s", dir);
    char *end = strrchr(parent, '/');
    if (end && end != parent)
        *end = '\0';
    return stat(parent, &b) == 0 && a.st_dev != b.st_dev;
}

/* ---- what is on the device ---- */

/* No record of the chain ever got a number, as far as its members say who
 * serve; a hub that has just started does not know what they say. */
static bool chain_is_new(const json_t *chain)
{
    unsigned serving = 0;
    const json_t *m;
    size_t i;

    json_array_foreach(json_object_get(chain, "members"), i, m)
    {
        const json_t *seq =
            json_object_get(json_object_get(m, "applied"), "seq");
        const char *state = json_string_value(json_object_get(m, "state"));
        bool serves = state && strcmp(state, "serving") == 0;
        if (!json_is_integer(seq) || json_integer_value(seq) != 0 ||
            (serves && !json_is_true(json_object_get(m, "heard"))))
            return false;
        serving += serves;
    }
    return serving > 0;
}

/* After the attach every serving member has been sealed, so the hub knows
 * their positions exactly: all at 0 means that nothing was ever written. */
static int never_written(struct plugin *p, const char *name, bool *ret_never,
                         char *ret_why)
{
    uint64_t from = 0, next = 0;
    bool never = true;
    const json_t *c;
    json_t *v;
    size_t i;

    do {
        from = next;
        int err = hub_inspect(p, name, from, &v, ret_why);
        if (err < 0)
            return err;
        const json_t *chains = json_object_get(v, "chains");
        never = never && json_array_size(chains) > 0;
        json_array_foreach(chains, i, c) never = never && chain_is_new(c);
        json_int_t n = json_integer_value(json_object_get(v, "next_chain"));
        next = n > 0 ? (uint64_t)n : 0;
        json_decref(v);
    } while (never && next > from);
    *ret_never = never;
    return 0;
}

/* Runs kenter-mkfs; its sentence without its name becomes the reason. */
static int mkfs(const char *const argv[], char *ret_out, size_t size,
                char *ret_why)
{
    static const char prefix[] = "kenter-mkfs: ";

    int status = kt_run(argv, ret_out, size);
    if (status == 0)
        return 0;
    const char *text = ret_out;
    if (strncmp(text, prefix, strlen(prefix)) == 0)
        text += strlen(prefix);
    snprintf(ret_why, VOL_WHY_BYTES, "%s", text);
    return status < 0 ? status : -EIO;
}

struct words { /* of numbers and names, as kenter-mkfs wants them */
    char size[24];
    char uuid[KT_ID_UUID_BYTES];
};

static void make_words(const struct attach_volume *v, struct words *w)
{
    kt_id_uuid(&v->id, w->uuid);
    snprintf(w->size, sizeof(w->size), "%llu",
             (unsigned long long)v->spec->size_bytes);
}

static int format(struct plugin *p, const struct attach_volume *v,
                  const char *dev, const char *nbd, char *ret_fs, char *ret_why)
{
    const char *fs = vol_spec_has(v->spec, VOL_OPT_FS) ? v->spec->fs : "ext4";
    char out[OUT_BYTES];
    struct words w;
    bool never;

    int err = never_written(p, v->name, &never, ret_why);
    if (err < 0)
        return err;
    if (!never) {
        snprintf(ret_why, VOL_WHY_BYTES,
                 "the volume %s holds no file system and is not new: it was "
                 "written to. It is not formatted; look at it with nbdkit "
                 "kenter volume=%s, or make another one",
                 v->name, v->name);
        return KT_E_REFUSED;
    }
    make_words(v, &w);
    const char *const argv[] = {"kenter-mkfs", "--never-formatted",
                                "--fs",        fs,
                                "--uuid",      w.uuid,
                                "--size",      w.size,
                                "--nbd",       nbd,
                                "--options",   v->spec->mkfs,
                                dev,           NULL};
    err = mkfs(argv, out, sizeof(out), ret_why);
    if (err == 0) {
        snprintf(ret_fs, 8, "%s", fs);
        kt_log(KT_LOG_INFO, "formatted", "volume=%s fs=%s", v->name, fs);
    }
    return err;
}

static int check(const struct attach_volume *v, const char *dev, char *ret_why)
{
    char out[OUT_BYTES];
    struct words w;

    make_words(v, &w);
    const char *const argv[] = {"kenter-mkfs", "--check", "--size",
                                w.size,        dev,       NULL};
    int err = mkfs(argv, out, sizeof(out), ret_why);
    if (err == 0 && strcmp(out, "clean") != 0)
        kt_log(KT_LOG_WARN, "checked", "volume=%s result=%s", v->name, out);
    return err;
}

/* Steps 1 and 2. */
static int prepare(struct plugin *p, const struct attach_volume *v,
                   const char *dev, const char *nbd, char ret_fs[8],
                   char *ret_why)
{
    char out[OUT_BYTES];
    struct words w;

    make_words(v, &w);
    const char *const argv[] = {"kenter-mkfs", "--probe", "--size", w.size,
                                "--nbd",       nbd,       dev,      NULL};
    int err = mkfs(argv, out, sizeof(out), ret_why);
    if (err < 0)
        return err;
    if (strncmp(out, "blank", 5) == 0)
        return format(p, v, dev, nbd, ret_fs, ret_why);
    if (strncmp(out, "ext4 ", 5) == 0 || strncmp(out, "xfs ", 4) == 0) {
        snprintf(ret_fs, 8, "%.*s", (int)strcspn(out, " "), out);
        return check(v, dev, ret_why);
    }
    snprintf(ret_why, VOL_WHY_BYTES,
             "the volume %s holds %s and no ext4 or xfs: it is not mounted",
             v->name, strncmp(out, "other ", 6) ? out : out + 6);
    return KT_E_INVALID;
}

/* ---- what waits for the device, in a process of its own ---- */

/* umount(2) succeeds when writing out has failed. */
static int64_t write_out(const void *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || syncfs(fd) < 0 ? -errno : 0;
}

static int64_t unmount(const void *dir)
{
    return umount2(dir, UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

static int64_t trim(const void *dir)
{
    struct fstrim_range range = {.len = UINT64_MAX};
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || ioctl(fd, FITRIM, &range) < 0 ? -errno
                                                   : (int64_t)range.len;
}

static int apart(int64_t (*fn)(const void *arg), const char *dir)
{
    struct kt_apart a;
    int64_t r = kt_apart_begin(&a, fn, dir);
    bool ended = r < 0;
    while (!ended)
        ended = kt_apart_wait(&a, -1, &r);
    return (int)r;
}

int fs_trim_begin(struct kt_apart *a, const char *dir)
{
    return kt_apart_begin(a, trim, dir);
}

/* ---- mount ---- */

/* The directory of a new file system; one that is there is left as it is. */
static int make_data(const struct attach_volume *v, char *ret_why)
{
    const struct vol_spec *s = v->spec;
    char path[ATTACH_PATH_BYTES + 8];
    int err = 0;

    snprintf(path, sizeof(path), "%s/_data", v->fs_dir);
    if (mkdir(path, 0755) < 0)
        err = errno == EEXIST ? 1 : -errno;
    if (err == 0 && vol_spec_has(s, VOL_OPT_MODE) && chmod(path, s->mode) < 0)
        err = -errno;
    uid_t uid = vol_spec_has(s, VOL_OPT_UID) ? s->uid : (uid_t)-1;
    gid_t gid = vol_spec_has(s, VOL_OPT_GID) ? s->gid : (gid_t)-1;
    if (err == 0 && lchown(path, uid, gid) < 0)
        err = -errno;
    if (err < 0)
        snprintf(ret_why, VOL_WHY_BYTES, "cannot make %s: %s", path,
                 kt_strerror(err));
    return err < 0 ? err : 0;
}

int fs_mount(struct plugin *p, const struct attach_volume *v, const char *dev,
             const char *nbd, char *ret_why)
{
    char fs[8], opts[VOL_WORDS_BYTES + 64], out[OUT_BYTES];

    int err = prepare(p, v, dev, nbd, fs, ret_why);
    if (err < 0)
        return err;
    bool xfs = strcmp(fs, "xfs") == 0;
    if (mkdir(v->fs_dir, 0700) < 0 && errno != EEXIST) {
        err = -errno;
        snprintf(ret_why, VOL_WHY_BYTES, "cannot make %s: %s", v->fs_dir,
                 kt_strerror(err));
        return err;
    }
    /* _netdev is for systemd: unmounted while the replicator still runs. */
    snprintf(opts, sizeof(opts), "nodev,nosuid,noatime,_netdev%s%s%s",
             xfs ? "" : ",errors=remount-ro", v->spec->mountopts[0] ? "," : "",
             v->spec->mountopts);
    const char *const argv[] = {"mount", "-t", fs,        "-o",
                                opts,    dev,  v->fs_dir, NULL};
    int status = kt_run(argv, out, sizeof(out));
    if (status != 0) {
        snprintf(ret_why, VOL_WHY_BYTES, "the volume %s cannot be mounted: %s",
                 v->name, out);
        return status < 0 ? status : -EIO;
    }
    const char *const grow[] = {"kenter-mkfs", "--grow", v->fs_dir, NULL};
    if (xfs)
        err = mkfs(grow, out, sizeof(out), ret_why);
    if (err == 0)
        err = make_data(v, ret_why);
    if (err < 0 && apart(unmount, v->fs_dir) < 0)
        kt_log(KT_LOG_ERROR, "left_mounted", "volume=%s", v->name);
    return err;
}

/* ---- unmount ---- */

/* Whether the link /proc/PID/WHAT leads into dir. */
static bool leads_into(const char *pid, const char *what, const char *dir)
{
    char path[64 + NAME_MAX], to[PATH_MAX];
    size_t len = strlen(dir);

    snprintf(path, sizeof(path), "/proc/%s/%s", pid, what);
    ssize_t n = readlink(path, to, sizeof(to) - 1);
    if (n < (ssize_t)len)
        return false;
    to[n] = '\0';
    return strncmp(to, dir, len) == 0 && (to[len] == '/' || to[len] == '\0');
}

static bool holds(const char *pid, const char *dir)
{
    char path[64], what[NAME_MAX + 4];
    bool found = leads_into(pid, "cwd", dir) || leads_into(pid, "root", dir);
    const struct dirent *e;

    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    DIR *d = opendir(path);
    while (d && !found && (e = readdir(d))) {
        snprintf(what, sizeof(what), "fd/%s", e->d_name);
        found = leads_into(pid, what, dir);
    }
    if (d)
        closedir(d);
    return found;
}

/* "process 4711 (postgres)", or that nobody is seen. */
static void name_holder(const char *dir, char *ret, size_t size)
{
    char path[64], *comm;
    const struct dirent *e;
    DIR *d = opendir("/proc");

    snprintf(ret, size, "a process in another mount namespace");
    while (d && (e = readdir(d))) {
        if (!isdigit((unsigned char)e->d_name[0]) || !holds(e->d_name, dir))
            continue;
        snprintf(path, sizeof(path), "/proc/%.20s/comm", e->d_name);
        if (kt_read_file(path, 64, &comm) < 0)
            continue;
        comm[strcspn(comm, "\n")] = '\0';
        snprintf(ret, size, "process %.20s (%.40s)", e->d_name, comm);
        free(comm);
        break;
    }
    if (d)
        closedir(d);
}

int fs_unmount(const struct attach_volume *v, char *ret_why)
{
    const struct timespec nap = {.tv_nsec = BUSY_NAP_NS};
    char holder[128];

    if (!fs_mounted(v->fs_dir))
        return 0;
    int err = apart(write_out, v->fs_dir);
    if (err < 0) /* it is lost either way; the next mount checks */
        kt_log(KT_LOG_ERROR, "write_out_failed", "volume=%s err=\"%s\"",
               v->name, kt_strerror(err));
    for (int i = 0; i < BUSY_TRIES; i++) {
        err = apart(unmount, v->fs_dir);
        if (err == 0) {
            if (rmdir(v->fs_dir) < 0)
                kt_log(KT_LOG_WARN, "directory_left", "dir=%s", v->fs_dir);
            return 0;
        }
        if (err != -EBUSY)
            break;
        nanosleep(&nap, NULL);
    }
    if (err == -EBUSY)
        name_holder(v->fs_dir, holder, sizeof(holder));
    snprintf(ret_why, VOL_WHY_BYTES, "%s cannot be unmounted: %s%s", v->fs_dir,
             err == -EBUSY ? "it is used by " : kt_strerror(err),
             err == -EBUSY ? holder : "");
    return err;
}
