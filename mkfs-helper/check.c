/* SPDX-License-Identifier: BSD-3-Clause */
/* Before each mount: is the file system fit for it, and as large as its
 * device? Never while another node may have it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "mkfs-helper/mkfs.h"

/* e2fsck(8), EXIT CODE. 1 and 2 say that it repaired something; 2 wants a
 * reboot, but only for a file system that is mounted. */
const char *mkfs_fsck_verdict(int status)
{
    if (status & 4)
        return "it has errors that e2fsck does not repair by itself: run "
               "e2fsck by hand and look at what it asks";
    if (status & 8)
        return "e2fsck could not work on it (a damaged superblock is one "
               "reason: e2fsck -b 32768 uses a copy)";
    if (status & 16)
        return "e2fsck did not understand how it was called";
    if (status & 32)
        return "e2fsck was cancelled";
    if (status & ~3)
        return "e2fsck failed";
    return NULL;
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

/*  +4 blocks (low), +24 log2 of the block size over 1024, +56 magic,
 * +96 incompatible features (0x80: 64 bit), +336 blocks (high) */
uint64_t mkfs_ext4_bytes(const uint8_t sb[1024])
{
    uint64_t blocks = le32(sb + 4);
    uint32_t shift = le32(sb + 24);

    if (sb[56] != 0x53 || sb[57] != 0xef || shift > 6)
        return 0;
    if (le32(sb + 96) & 0x80)
        blocks |= (uint64_t)le32(sb + 336) << 32;
    if (blocks > (UINT64_MAX >> (10 + shift)))
        return 0;
    return blocks << (10 + shift);
}

static int fs_bytes(const char *path, uint64_t *ret_bytes)
{
    uint8_t sb[1024];

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = kt_pread_all(fd, sb, sizeof(sb), 1024);
    close(fd);
    if (err < 0)
        return err;
    *ret_bytes = mkfs_ext4_bytes(sb);
    return *ret_bytes ? 0 : KT_E_CORRUPT;
}

/* Returns 0 or 1 (repaired), or an error. */
static int fsck(const char *path, bool force, char *ret_why)
{
    const char *const plain[] = {"e2fsck", "-p", path, NULL};
    const char *const forced[] = {"e2fsck", "-p", "-f", path, NULL};
    char out[512];

    int status = kt_run(force ? forced : plain, out, sizeof(out));
    if (status < 0) {
        snprintf(ret_why, MKFS_WHY_BYTES, "%s", out);
        return status;
    }
    const char *bad = mkfs_fsck_verdict(status);
    if (!bad)
        return status != 0;
    snprintf(ret_why, MKFS_WHY_BYTES,
             "the file system on %s is not mounted: %s. e2fsck (exit status "
             "%d) said: %s",
             path, bad, status, out);
    return KT_E_CORRUPT;
}

static int grow(const char *path, char *ret_why)
{
    const char *const argv[] = {"resize2fs", path, NULL};
    char out[512];

    int err = fsck(path, true, ret_why); /* resize2fs asks for that */
    if (err < 0)
        return err;
    int status = kt_run(argv, out, sizeof(out));
    if (status == 0)
        return 0;
    snprintf(ret_why, MKFS_WHY_BYTES,
             "the file system on %s could not be grown to its device "
             "(resize2fs: %d): %s",
             path, status, out);
    return -EIO;
}

static int check_ext4(const struct mkfs_target *t, uint64_t device_bytes,
                      char *ret_why)
{
    uint64_t bytes = 0;

    int err = fs_bytes(t->path, &bytes);
    if (err < 0) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "the superblock on %s cannot be read: %s", t->path,
                 kt_strerror(err));
        return err;
    }
    if (bytes > device_bytes) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "the file system on %s has %llu bytes and its device only "
                 "%llu: it is not mounted",
                 t->path, (unsigned long long)bytes,
                 (unsigned long long)device_bytes);
        return KT_E_CORRUPT;
    }
    int repaired = fsck(t->path, false, ret_why);
    if (repaired < 0)
        return repaired;
    /* Larger by less than a block is not larger. */
    bool larger = device_bytes - bytes >= KT_SECTOR_BYTES;
    if (larger)
        err = grow(t->path, ret_why);
    if (err == 0)
        snprintf(ret_why, MKFS_WHY_BYTES, "%s",
                 larger     ? "grown"
                 : repaired ? "repaired"
                            : "clean");
    return err;
}

int mkfs_check(const struct mkfs_target *t, const char *uuid, char *ret_why)
{
    struct mkfs_found f;

    int err = mkfs_probe(t, &f, ret_why);
    if (err < 0)
        return err;
    if (f.kind != MKFS_FS) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "%s holds %s and no ext4 or xfs: it is not mounted", t->path,
                 f.kind == MKFS_BLANK ? "nothing" : f.what);
        return KT_E_INVALID;
    }
    if (uuid && strcasecmp(uuid, f.uuid) != 0) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "%s holds another %s than expected (%s, not %s): it is not "
                 "mounted",
                 t->path, f.type, f.uuid, uuid);
        return KT_E_INVALID;
    }
    if (strcmp(f.type, "ext4") == 0)
        return check_ext4(t, f.size_bytes, ret_why);
    snprintf(ret_why, MKFS_WHY_BYTES, "clean");
    return 0;
}

int mkfs_grow_mounted(const char *dir, char *ret_why)
{
    const char *const argv[] = {"xfs_growfs", "-d", dir, NULL};
    char out[512];

    int status = kt_run(argv, out, sizeof(out));
    if (status == 0)
        return 0;
    snprintf(ret_why, MKFS_WHY_BYTES,
             "the file system at %s could not be grown (xfs_growfs: %d): %s",
             dir, status, out);
    return status < 0 ? status : -EIO;
}
