/* SPDX-License-Identifier: BSD-3-Clause */
/* A store on disk, in a directory of its own. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "replicator/store/logfmt.h"
#include "replicator/store/store.h"
#include "tests/unit/store_model.h"

static int bell = -1;

static void ring(void *arg)
{
    uint64_t one = 1;
    (void)arg;
    ssize_t n = write(bell, &one, sizeof(one));
    assert(n == sizeof(one));
}

void rig_init(struct rig *g, uint64_t slots)
{
    memset(g, 0, sizeof(*g));
    g->slots = slots;
    g->boot.b[0] = 1;
    snprintf(g->dir, sizeof(g->dir), "%s/kt-store-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(g->dir));
    if (bell < 0)
        bell = eventfd(0, EFD_CLOEXEC);
}

int rig_try_open(struct rig *g)
{
    struct store_opts o = {.boot = g->boot,
                           .capacity_bytes = g->slots * KT_EXTENT_BYTES,
                           .log_segment_bytes = 2u << 20,
                           .create = true,
                           .notify = ring};
    g->why[0] = '\0';
    return store_open(g->dir, &o, &g->s, g->why, sizeof(g->why));
}

void rig_open(struct rig *g)
{
    int err = rig_try_open(g);
    if (err)
        fail_msg("store_open: %d: %s", err, g->why);
}

void rig_step(struct rig *g)
{
    struct pollfd p = {.fd = bell, .events = POLLIN};
    uint64_t n;
    store_poll(g->s);
    if (poll(&p, 1, 1) == 1 && read(bell, &n, sizeof(n)) < 0)
        fail_msg("the bell is broken");
}

void rig_close(struct rig *g)
{
    store_close(g->s);
    g->s = NULL;
}

void rig_free(struct rig *g)
{
    char cmd[128];
    if (g->s)
        rig_close(g);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", g->dir);
    assert_int_equal(system(cmd), 0);
}

uint32_t rig_record_at(uint32_t i)
{
    return LOG_SEG_HEAD_BYTES +
           i * log_align(log_rec_bytes(1, KT_SECTOR_BYTES));
}

void rig_flip(const struct rig *g, const char *name, uint64_t at)
{
    char path[96];
    uint8_t b;
    snprintf(path, sizeof(path), "%s/%s", g->dir, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(kt_pread_all(fd, &b, 1, at), 0);
    b ^= 4;
    assert_int_equal(kt_pwrite_all(fd, &b, 1, at), 0);
    close(fd);
}
