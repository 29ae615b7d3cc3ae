/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the server of a device has data: on a thin volume a handful of
 * places, so that all of it can be read. */
#include <errno.h>
#include <libnbd.h>
#include <stdio.h>
#include <string.h>

#include "mkfs-helper/mkfs.h"

#define ASK_BYTES_MAX (1ull << 30)
#define STATE_ZERO 2u /* base:allocation: hole is 1, reads as zero is 2 */

struct walk {
    int (*have)(void *ctx, uint64_t off, uint64_t len);
    void *ctx;
    uint64_t next; /* told so far */
    uint64_t end;
    int err;
};

static int on_extents(void *user, const char *context, uint64_t off,
                      uint32_t *entries, size_t n, int *error)
{
    struct walk *w = user;
    (void)error;

    if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 || off != w->next)
        return 0;
    for (size_t i = 0; i + 1 < n && w->err == 0 && w->next < w->end; i += 2) {
        uint64_t len = kt_min_u64(entries[i], w->end - w->next);
        if (!(entries[i + 1] & STATE_ZERO))
            w->err = w->have(w->ctx, w->next, len);
        w->next += len;
    }
    return 0;
}

static int walk_all(struct nbd_handle *h, struct walk *w, char *ret_why)
{
    while (w->next < w->end) {
        uint64_t before = w->next;
        nbd_extent_callback cb = {.callback = on_extents, .user_data = w};
        uint64_t len = kt_min_u64(w->end - w->next, ASK_BYTES_MAX);
        if (nbd_block_status(h, len, w->next, cb, 0) < 0) {
            snprintf(ret_why, MKFS_WHY_BYTES,
                     "the NBD server does not tell where it has data: %s",
                     nbd_get_error());
            return -EIO;
        }
        if (w->err != 0)
            return w->err;
        if (w->next == before) {
            snprintf(ret_why, MKFS_WHY_BYTES,
                     "the NBD server does not tell where it has data");
            return -EPROTO;
        }
    }
    return 0;
}

int mkfs_nbd_extents(const char *uri, uint64_t size_bytes,
                     int (*have)(void *ctx, uint64_t off, uint64_t len),
                     void *ctx, char *ret_why)
{
    struct walk w = {.have = have, .ctx = ctx, .end = size_bytes};
    int err = 0;

    struct nbd_handle *h = nbd_create();
    if (!h)
        return -ENOMEM;
    if (nbd_add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
        nbd_connect_uri(h, uri) < 0) {
        snprintf(ret_why, MKFS_WHY_BYTES, "cannot ask the NBD server %s: %s",
                 uri, nbd_get_error());
        err = -ECONNREFUSED;
    } else if (nbd_get_size(h) != (int64_t)size_bytes) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "the NBD server %s serves %lld bytes and the device has %llu: "
                 "they are not the same thing",
                 uri, (long long)nbd_get_size(h),
                 (unsigned long long)size_bytes);
        err = -EINVAL;
    } else if (nbd_can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) != 1) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "the NBD server %s does not tell where it has data", uri);
        err = -EOPNOTSUPP;
    } else {
        err = walk_all(h, &w, ret_why);
        nbd_shutdown(h, 0);
    }
    nbd_close(h);
    return err;
}
