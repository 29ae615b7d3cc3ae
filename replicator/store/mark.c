/* SPDX-License-Identifier: BSD-3-Clause */
/* The file "synced": how far the log was synced in this life.
 *
 * A record says what was durable before it; of the last ones nothing in the log
 * tells. So after a kill one of those that has rotted looks like one that was
 * being written. The sync thread notes each round here before it is known to
 * anybody: in the page cache only, which a kill leaves alone. After a loss of
 * power it says nothing, as little as what else was not synced.
 *
 *   magic u64 | store u64 | incarnation u64 | lsn u64 | XXH3-64 of those u64
 *
 * On a full disk the store does without it. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/cursor.h"
#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/disk.h"

#define MAGIC 0x3130434e5953544bu
#define BYTES 40u
#define SUM_AT (BYTES - 8)

static int write_mark(const struct store *s, uint64_t lsn)
{
    uint8_t b[BYTES];
    struct kt_cur c = kt_cur_w(b, sizeof(b));
    kt_put_u64(&c, MAGIC);
    kt_put_u64(&c, s->uuid64);
    kt_put_u64(&c, s->super.incarnation);
    kt_put_u64(&c, lsn);
    kt_put_u64(&c, kt_sum64(b, SUM_AT));
    return kt_pwrite_all(s->mark_fd, b, sizeof(b), 0);
}

int mark_open(struct store *s)
{
    s->mark_fd =
        openat(s->dirfd, "synced", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int err = s->mark_fd < 0 ? -errno : write_mark(s, s->durable_lsn);
    return err == -ENOSPC || err == -EDQUOT ? 0 : err;
}

int mark_synced(const struct store *s, uint64_t lsn)
{
    int err = s->mark_fd < 0 ? 0 : write_mark(s, lsn);
    return err == -ENOSPC || err == -EDQUOT ? 0 : err;
}

uint64_t mark_read(const struct store *s)
{
    uint8_t b[BYTES];
    int fd = openat(s->dirfd, "synced", O_RDONLY | O_CLOEXEC);
    int err = fd < 0 ? -1 : kt_pread_all(fd, b, sizeof(b), 0);
    if (fd >= 0)
        close(fd);
    if (err)
        return 0;
    struct kt_cur c = kt_cur_r(b, sizeof(b));
    bool ours = kt_get_u64(&c) == MAGIC;
    ours = kt_get_u64(&c) == s->uuid64 && ours;
    ours = kt_get_u64(&c) == s->super.incarnation && ours;
    uint64_t lsn = kt_get_u64(&c);
    return kt_get_u64(&c) == kt_sum64(b, SUM_AT) && ours ? lsn : 0;
}
