/* SPDX-License-Identifier: BSD-3-Clause */
/* libFuzzer target: the file of the index. Whatever pages_check lets through
 * LMDB must be able to open and to read to its end: it follows what stands in a
 * page without question. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "replicator/store/index.h"
#include "replicator/store/pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_log(void *arg, const struct index_log *r)
{
    (void)arg;
    return r->lsn == UINT64_MAX;
}

static int on_ckpt(void *arg, const struct index_ckpt *r)
{
    (void)arg;
    return r->chain == 0;
}

static int on_cfg(void *arg, const struct index_cfg *r)
{
    (void)arg;
    return r->chain == 0;
}

static int on_ext(void *arg, const struct index_ext *r)
{
    (void)arg;
    return r->chain == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct index_visitor v = {on_log, on_ckpt, on_cfg, on_ext,
                                           NULL};
    static int fd = -1;
    static char path[64];
    struct index *ix;
    if (fd < 0) {
        fd = memfd_create("index", 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) || kt_pwrite_all(fd, data, size, 0))
        abort();
    if (index_open(path, 8, true, &ix))
        return 0;
    if (!index_begin(ix)) {
        if (index_visit(ix, &v, size & 1) > 0)
            abort();
        index_abort(ix);
    }
    index_free(ix);
    return 0;
}
