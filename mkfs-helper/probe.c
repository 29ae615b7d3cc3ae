/* SPDX-License-Identifier: BSD-3-Clause */
/* What is on a device. "blkid finds nothing" is not "blank": it says the same
 * of an unreadable device, of one that has no size yet, and of an ext4 whose
 * first superblock is gone. So the size is compared, errors are errors, and
 * zeros are read. */
#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "lib/base/err.h"
#include "mkfs-helper/mkfs.h"

static const struct {
    const char *type, *what;
} names[] = {
    {"crypto_LUKS", "a LUKS container"},
    {"LVM2_member", "a physical volume of LVM"},
    {"LVM1_member", "a physical volume of LVM"},
    {"swap", "swap space"},
    {"linux_raid_member", "a member of an md array"},
    {"drbd", "a DRBD device"},
    {"zfs_member", "a member of a ZFS pool"},
    {"bcache", "a bcache device"},
    {"LVM2_thin", "LVM thin-pool data"},
};

static void describe(struct mkfs_found *f, const char *usage)
{
    for (size_t i = 0; i < KT_ARRAY_LEN(names); i++) {
        if (strcmp(names[i].type, f->type) == 0) {
            snprintf(f->what, sizeof(f->what), "%s (%s)", names[i].what,
                     f->type);
            return;
        }
    }
    bool fs = usage && strcmp(usage, "filesystem") == 0;
    snprintf(f->what, sizeof(f->what), "%s (%s)",
             fs ? "a file system" : "something with a signature", f->type);
}

static const char *value_of(blkid_probe pr, const char *name)
{
    const char *s = NULL;

    return blkid_probe_lookup_value(pr, name, &s, NULL) == 0 ? s : NULL;
}

static void note(struct mkfs_found *f, blkid_probe pr)
{
    const char *type = value_of(pr, "TYPE");
    const char *uuid = value_of(pr, "UUID");
    const char *table = value_of(pr, "PTTYPE");
    bool sound = value_of(pr, "SBBADCSUM") == NULL;

    f->kind = MKFS_OTHER;
    if (type) {
        snprintf(f->type, sizeof(f->type), "%s", type);
        snprintf(f->uuid, sizeof(f->uuid), "%s", uuid ? uuid : "");
        describe(f, value_of(pr, "USAGE"));
        if (strcmp(type, "ext4") == 0 || strcmp(type, "xfs") == 0)
            f->kind = MKFS_FS;
    } else if (table) {
        snprintf(f->type, sizeof(f->type), "%s", table);
        snprintf(f->what, sizeof(f->what), "a partition table (%s)", table);
    } else {
        snprintf(f->what, sizeof(f->what), "something with a signature");
    }
    if (!sound)
        strncat(f->what, " whose checksum is wrong",
                sizeof(f->what) - strlen(f->what) - 1);
}

/* Signatures. 0 with f->kind set, or -errno. */
static int look(int fd, const struct mkfs_target *t, struct mkfs_found *f,
                char *ret_why)
{
    blkid_probe pr = blkid_new_probe();

    if (!pr)
        return -ENOMEM;
    blkid_probe_enable_superblocks(pr, 1);
    blkid_probe_set_superblocks_flags(
        pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_UUID | BLKID_SUBLKS_USAGE |
                BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_BADCSUM);
    blkid_probe_enable_partitions(pr, 1);
    blkid_probe_set_partitions_flags(pr,
                                     BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
    errno = 0;
    int r = blkid_probe_set_device(pr, fd, 0, 0);
    int err = r == 0 ? 0 : -(errno ? errno : EIO);
    if (err == 0) {
        uint64_t seen = (uint64_t)blkid_probe_get_size(pr);
        r = blkid_do_safeprobe(pr);
        if (r == 0)
            note(f, pr);
        else if (r == 1 && seen == f->size_bytes)
            f->kind = MKFS_BLANK;
        else
            err = r == -2 ? -EUCLEAN : -EIO;
    }
    blkid_free_probe(pr);
    if (err == -EUCLEAN)
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "%s holds more than one thing by its signatures, which "
                 "contradict each other: wipefs %s shows them",
                 t->path, t->path);
    else if (err < 0)
        snprintf(ret_why, MKFS_WHY_BYTES, "%s cannot be probed: %s", t->path,
                 kt_strerror(err));
    return err;
}

/* Opens the target. O_EXCL on a block device: nobody has it mounted. */
static int open_target(const struct mkfs_target *t, uint64_t *ret_size,
                       char *ret_why)
{
    struct stat st;
    uint64_t size = 0;
    int err = 0;

    int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        err = -errno;
    } else if (S_ISBLK(st.st_mode)) {
        close(fd);
        fd = open(t->path, O_RDONLY | O_CLOEXEC | O_EXCL);
        if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0)
            err = -errno;
    } else if (S_ISREG(st.st_mode)) {
        size = (uint64_t)st.st_size;
    } else {
        err = -ENOTBLK;
    }
    if (err == 0) {
        *ret_size = size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    if (err == -EBUSY)
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "%s is in use on this machine, mounted or held by another "
                 "program: findmnt and lsblk tell by what",
                 t->path);
    else
        snprintf(ret_why, MKFS_WHY_BYTES, "%s cannot be opened: %s", t->path,
                 kt_strerror(err));
    return err;
}

int mkfs_probe(const struct mkfs_target *t, struct mkfs_found *ret,
               char *ret_why)
{
    struct mkfs_found f = {.kind = MKFS_OTHER};
    uint64_t at = UINT64_MAX;

    int fd = open_target(t, &f.size_bytes, ret_why);
    if (fd < 0)
        return fd;
    int err = 0;
    if (f.size_bytes == 0 || (t->size_bytes && t->size_bytes != f.size_bytes)) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "%s has %llu bytes and %s: it is not the device that was "
                 "meant, or not ready yet",
                 t->path, (unsigned long long)f.size_bytes,
                 f.size_bytes ? "another size was expected"
                              : "nothing has no bytes");
        err = -EINVAL;
    }
    if (err == 0)
        err = look(fd, t, &f, ret_why);
    if (err == 0 && f.kind == MKFS_BLANK)
        err = mkfs_read_zeros(fd, t, f.size_bytes, &at, &f.whole, ret_why);
    close(fd);
    if (err < 0)
        return err;
    if (at != UINT64_MAX) {
        f.kind = MKFS_OTHER;
        snprintf(f.what, sizeof(f.what),
                 "data without a signature that is known (byte %llu is not "
                 "zero)",
                 (unsigned long long)at);
    }
    *ret = f;
    return 0;
}
