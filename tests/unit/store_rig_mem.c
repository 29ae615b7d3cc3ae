/* SPDX-License-Identifier: BSD-3-Clause */
/* The store in memory, completing everything by itself. */
#include <stdio.h>

#include "replicator/store/store_mem.h"
#include "tests/unit/store_model.h"

void rig_init(struct rig *g, uint64_t slots)
{
    memset(g, 0, sizeof(*g));
    g->slots = slots;
    g->boot.b[0] = 1;
    g->disk = store_mem_disk_new(slots, slots);
    assert_non_null(g->disk);
}

int rig_try_open(struct rig *g)
{
    struct store_opts o = {.boot = g->boot};
    store_mem_set_disk(g->disk);
    int err = store_open("", &o, &g->s, g->why, sizeof(g->why));
    if (!err)
        store_mem_set_auto(g->s, true);
    return err;
}

void rig_open(struct rig *g)
{
    assert_int_equal(rig_try_open(g), 0);
}

void rig_step(struct rig *g)
{
    store_poll(g->s);
}

void rig_close(struct rig *g)
{
    store_close(g->s);
    g->s = NULL;
}

void rig_free(struct rig *g)
{
    if (g->s)
        rig_close(g);
    store_mem_disk_free(g->disk);
}
