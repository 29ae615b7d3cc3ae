/* SPDX-License-Identifier: BSD-3-Clause */
/* The only code of Kenter that formats. It looks at a device first, and what
 * it cannot prove to be empty it does not touch. Every function that fails
 * says why in ret_why (MKFS_WHY_BYTES), a sentence for people. */
#ifndef KT_MKFS_HELPER_MKFS_H
#define KT_MKFS_HELPER_MKFS_H

#include "lib/base/kt.h"

#define MKFS_WHY_BYTES 1024
#define MKFS_UUID_BYTES 40

enum mkfs_kind {
    MKFS_BLANK, /* no signature, no partition table, zeros wherever we read */
    MKFS_FS,    /* ext4 or xfs, sound enough to be known */
    MKFS_OTHER, /* anything else: never ours to touch */
};

struct mkfs_found {
    enum mkfs_kind kind;
    bool whole;    /* blank: every byte was read or is a hole */
    char type[32]; /* "ext4", "crypto_LUKS", "dos"; "" unknown */
    char uuid[MKFS_UUID_BYTES];
    char what[192];      /* "a LUKS container (crypto_LUKS)": what is there */
    uint64_t size_bytes; /* of the device or file */
};

/* How and what to look at. */
struct mkfs_target {
    const char *path;    /* a block device or a regular file */
    const char *nbd;     /* URI of the server behind it: it says where data is;
                            NULL: not known */
    uint64_t size_bytes; /* what the caller knows it must be; 0: anything */
};

/* probe.c. 0 and *ret, or -errno / KT_E_*: unreadable, busy, of another size
 * than expected, or the signatures contradict each other. A device that
 * something on this machine uses is refused (-EBUSY). Nothing is changed. */
int mkfs_probe(const struct mkfs_target *t, struct mkfs_found *ret,
               char *ret_why) KT_MUST_CHECK;

/* blank.c. Whether all that was read of fd is zero. *ret_at is the first
 * byte that is not, or UINT64_MAX; *ret_whole tells whether nothing was left
 * out. 0 or -errno. */
int mkfs_read_zeros(int fd, const struct mkfs_target *t, uint64_t size_bytes,
                    uint64_t *ret_at, bool *ret_whole,
                    char *ret_why) KT_MUST_CHECK;
/* The first byte of buf that is not zero, or len. */
uint64_t mkfs_first_nonzero(const uint8_t *buf, uint64_t len);

/* extents.c. Calls have(ctx, offset, length) for every stretch that the
 * server of uri does not promise to be zero. 0, what have returned, or
 * -errno. */
int mkfs_nbd_extents(const char *uri, uint64_t size_bytes,
                     int (*have)(void *ctx, uint64_t off, uint64_t len),
                     void *ctx, char *ret_why) KT_MUST_CHECK;

/* What a format is asked for. */
struct mkfs_wish {
    const char *fs;       /* "ext4" or "xfs" */
    const char *uuid;     /* NULL: a fresh one */
    const char *label;    /* NULL: none */
    const char *options;  /* more words for mkfs; NULL: none */
    bool never_formatted; /* the hub says so */
};

/* format.c. Probes, and formats what is blank and was never formatted; looks
 * again afterwards. *ret_uuid is the new file system's. On failure after the
 * first write the device holds half a file system, and every later call
 * refuses it. */
int mkfs_format(const struct mkfs_target *t, const struct mkfs_wish *w,
                char ret_uuid[MKFS_UUID_BYTES], char *ret_why) KT_MUST_CHECK;

/* check.c. Before a mount: ext4 is checked by e2fsck -p and grown when its
 * device is larger; of xfs the kernel replays the log at mount. The file
 * system must have this uuid unless NULL. ret_why says in a word what was
 * done ("clean", "repaired", "grown"), or why it must not be mounted. */
int mkfs_check(const struct mkfs_target *t, const char *uuid,
               char *ret_why) KT_MUST_CHECK;
/* What e2fsck's exit status means (a bit mask). NULL: mount it; else what is
 * wrong, for people. */
const char *mkfs_fsck_verdict(int status);
/* check.c. Grows what is mounted at dir to its device; for xfs, which cannot
 * be grown otherwise. */
int mkfs_grow_mounted(const char *dir, char *ret_why) KT_MUST_CHECK;
/* Size in bytes by the superblock of an ext4 (sb: 1024 bytes from offset
 * 1024 on); 0 when it is none. */
uint64_t mkfs_ext4_bytes(const uint8_t sb[1024]);

/* opts.c. The whole program. */
int mkfs_main(int argc, char **argv);

#endif
