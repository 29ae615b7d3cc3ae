/* SPDX-License-Identifier: BSD-3-Clause */
/* Superblock, 4096 bytes, little-endian:
 *   0 magic u64 "KTSUPER1" | 8 version u32 | 12 seg_bytes u32 | 16 uuid[16]
 *   | 32 node[16] | 48 boot[16] | 64 serial u64 | 72 incarnation u64
 *   | 80 cont_base u64 | 88 capacity u64 | 96 durable_lsn u64 | 104 clean u8
 *   | zeros | 112 index_commits u64 | zeros | 4080 XXH3-128 of the 4080 before
 */
#include "replicator/store/super.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/cursor.h"
#include "lib/base/err.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/logfmt.h"

#define MAGIC 0x315245505553544bu
#define SUM_AT (SUPER_BYTES - 16)

static const char *const names[2] = {"super.a", "super.b"};

static void encode(const struct super *s, uint8_t ret[SUPER_BYTES])
{
    struct kt_cur c = kt_cur_w(ret, SUPER_BYTES);
    memset(ret, 0, SUPER_BYTES);
    kt_put_u64(&c, MAGIC);
    kt_put_u32(&c, SUPER_VERSION);
    kt_put_u32(&c, s->seg_bytes);
    kt_put_id(&c, &s->uuid);
    kt_put_id(&c, &s->node);
    kt_put_id(&c, &s->boot);
    kt_put_u64(&c, s->serial);
    kt_put_u64(&c, s->incarnation);
    kt_put_u64(&c, s->cont_base);
    kt_put_u64(&c, s->capacity);
    kt_put_u64(&c, s->durable_lsn);
    kt_put_u8(&c, s->clean);
    kt_put_bytes(&c, (const uint8_t[7]){0}, 7);
    kt_put_u64(&c, s->index_commits);
    struct kt_id sum = kt_sum128(ret, SUM_AT);
    memcpy(ret + SUM_AT, sum.b, sizeof(sum.b));
}

static int decode(const uint8_t b[SUPER_BYTES], struct super *ret_s)
{
    struct kt_cur c = kt_cur_r(b, SUPER_BYTES);
    struct kt_id sum = kt_sum128(b, SUM_AT);
    if (memcmp(b + SUM_AT, sum.b, sizeof(sum.b)) != 0)
        return KT_E_CORRUPT;
    struct super s = {.one_bad = false};
    uint64_t magic = kt_get_u64(&c);
    uint32_t version = kt_get_u32(&c);
    s.seg_bytes = kt_get_u32(&c);
    kt_get_id(&c, &s.uuid);
    kt_get_id(&c, &s.node);
    kt_get_id(&c, &s.boot);
    s.serial = kt_get_u64(&c);
    s.incarnation = kt_get_u64(&c);
    s.cont_base = kt_get_u64(&c);
    s.capacity = kt_get_u64(&c);
    s.durable_lsn = kt_get_u64(&c);
    s.clean = kt_get_u8(&c);
    uint8_t zero[7];
    kt_get_bytes(&c, zero, sizeof(zero));
    s.index_commits = kt_get_u64(&c);
    if (magic != MAGIC)
        return KT_E_CORRUPT;
    if (version == 0 || version > SUPER_VERSION)
        return KT_E_PROTO;
    if (s.seg_bytes < LOG_SEG_BYTES_MIN || s.seg_bytes > LOG_SEG_BYTES_MAX ||
        s.capacity > SUPER_CAPACITY_MAX)
        return KT_E_CORRUPT;
    s.version = version;
    *ret_s = s;
    return 0;
}

static int load_one(int dirfd, const char *name, struct super *ret_s)
{
    uint8_t b[SUPER_BYTES];
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = kt_pread_all(fd, b, sizeof(b), 0);
    close(fd);
    if (err == -EIO)
        return KT_E_CORRUPT; /* short, or not readable */
    return err ? err : decode(b, ret_s);
}

int super_load(int dirfd, struct super *ret_s)
{
    struct super s[2];
    int err[2];
    for (unsigned i = 0; i < 2; i++)
        err[i] = load_one(dirfd, names[i], &s[i]);
    if (err[0] == KT_E_PROTO || err[1] == KT_E_PROTO)
        return KT_E_PROTO;
    if (err[0] && err[1])
        return err[0] == -ENOENT ? err[1] : err[0];
    unsigned best = err[0] || (!err[1] && s[1].serial > s[0].serial);
    *ret_s = s[best];
    ret_s->one_bad = err[0] || err[1];
    return 0;
}

int super_save(int dirfd, struct super *s)
{
    uint8_t b[SUPER_BYTES];
    s->serial++;
    encode(s, b);
    int fd = openat(dirfd, names[s->serial % 2], O_WRONLY | O_CREAT | O_CLOEXEC,
                    0600);
    if (fd < 0)
        return -errno;
    int err = kt_pwrite_all(fd, b, sizeof(b), 0);
    if (!err && fsync(fd))
        err = -errno;
    if (!err && fsync(dirfd))
        err = -errno;
    close(fd);
    return err;
}
