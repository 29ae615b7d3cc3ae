/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading for zeros. All of the device when that is cheap: what its server
 * says is no hole, what the file system of a file says is none, or simply
 * everything when it is small. Otherwise both ends, where labels, journals
 * and tables lie, and samples between them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "mkfs-helper/mkfs.h"

#define CHUNK_BYTES (1ull << 20)
#define WHOLE_BYTES_MAX (1ull << 30) /* read through without asking */
#define EDGE_BYTES (64ull << 20)
#define SAMPLES 4096u
#define SAMPLE_BYTES (16ull << 10)

struct reading {
    int fd;
    uint8_t *buf; /* CHUNK_BYTES */
    uint64_t at;  /* the first byte that is not zero */
};

uint64_t mkfs_first_nonzero(const uint8_t *buf, uint64_t len)
{
    uint64_t i = 0;

    /* Equal to itself shifted by one, and zero in the first: all zero. */
    if (len == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0))
        return len;
    while (buf[i] == 0)
        i++;
    return i;
}

/* 0, 1 when something was found, or -errno. */
static int read_range(void *ctx, uint64_t off, uint64_t len)
{
    struct reading *r = ctx;

    while (len > 0) {
        uint64_t n = kt_min_u64(len, CHUNK_BYTES);
        int err = kt_pread_all(r->fd, r->buf, n, off);
        if (err < 0)
            return err;
        uint64_t i = mkfs_first_nonzero(r->buf, n);
        if (i < n) {
            r->at = off + i;
            return 1;
        }
        off += n;
        len -= n;
    }
    return 0;
}

/* A sparse file: what its file system calls data. */
static int read_data(struct reading *r, uint64_t size)
{
    uint64_t off = 0;

    while (off < size) {
        off_t data = lseek(r->fd, (off_t)off, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO ? 0 : -errno;
        off_t hole = lseek(r->fd, data, SEEK_HOLE);
        if (hole < 0)
            return -errno;
        uint64_t end = kt_min_u64((uint64_t)hole, size);
        if ((uint64_t)data >= size)
            return 0;
        int err = read_range(r, (uint64_t)data, end - (uint64_t)data);
        if (err != 0)
            return err;
        off = end;
    }
    return 0;
}

static int read_samples(struct reading *r, uint64_t size)
{
    int err = read_range(r, 0, EDGE_BYTES);
    if (err == 0)
        err = read_range(r, size - EDGE_BYTES, EDGE_BYTES);
    uint64_t step = (size - 2 * EDGE_BYTES) / SAMPLES;
    step -= step % KT_SECTOR_BYTES; /* where superblocks begin */
    for (unsigned i = 0; i < SAMPLES && err == 0; i++)
        err = read_range(r, EDGE_BYTES + i * step, SAMPLE_BYTES);
    return err;
}

int mkfs_read_zeros(int fd, const struct mkfs_target *t, uint64_t size_bytes,
                    uint64_t *ret_at, bool *ret_whole, char *ret_why)
{
    struct reading r = {.fd = fd, .at = UINT64_MAX};
    bool whole = true;
    struct stat st;
    int err;

    if (fstat(fd, &st) < 0)
        return -errno;
    r.buf = malloc(CHUNK_BYTES);
    if (!r.buf)
        return -ENOMEM;
    ret_why[0] = '\0';
    if (t->nbd) {
        err = mkfs_nbd_extents(t->nbd, size_bytes, read_range, &r, ret_why);
    } else if (S_ISREG(st.st_mode)) {
        err = read_data(&r, size_bytes);
    } else if (size_bytes <= WHOLE_BYTES_MAX) {
        err = read_range(&r, 0, size_bytes);
    } else {
        whole = false;
        err = read_samples(&r, size_bytes);
    }
    /* The server's word is for the middle; the ends are looked at. */
    if (err == 0 && t->nbd)
        err = read_range(&r, 0, kt_min_u64(size_bytes, EDGE_BYTES));
    if (err == 0 && t->nbd && size_bytes > EDGE_BYTES)
        err = read_range(&r, size_bytes - EDGE_BYTES, EDGE_BYTES);
    free(r.buf);
    if (err < 0) {
        if (ret_why[0] == '\0')
            snprintf(ret_why, MKFS_WHY_BYTES, "%s cannot be read: %s", t->path,
                     kt_strerror(err));
        return err;
    }
    *ret_at = r.at;
    *ret_whole = whole;
    return 0;
}
