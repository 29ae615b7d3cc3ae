/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedules for disks that damage what they hold (F20, F21). */
#include "replicator/store/mem_priv.h"
#include "tests/sim/direct.h"

static void rot_at(struct world *w, unsigned place, unsigned hot)
{
    bool hit = store_mem_rot(w->nodes[d_at(w, place)].disk, 1,
                             cell_extent(w, 2 * hot), cell_offset(w, 2 * hot));
    SIM_CHECK(w, hit, "nothing to rot");
}

/* Every member has lost another sector, and the read wants all of them. */
static void rot_apart(struct world *w)
{
    d_done(w, work_one(&w->clients[0], ENGINE_WRITE, 0, 3, false));
    d_flush(w, 0);
    for (unsigned i = 0; i < 3; i++)
        rot_at(w, i, i);
    d_done(w, work_one(&w->clients[0], ENGINE_READ, 0, 3, false));
}

/* Only one serves, and its copy is damaged: the others' are whole, and will be
 * back. */
static void rot_of_the_last(struct world *w)
{
    unsigned a = d_at(w, 0), b = d_at(w, 1), c = d_at(w, 2);
    d_write(w, 0, 0);
    d_flush(w, 0);
    rot_at(w, 0, 0);
    uint64_t e = d_epoch(w);
    d_kill(w, b);
    d_kill(w, c);
    d_until_epoch(w, e);
    SIM_CHECK(w, d_head(w) == a, "another serves");
    struct wop *r = d_start(w, 0, ENGINE_READ, 0);
    d_run(w, 3000);
    SIM_CHECK(w, d_pending(r), "an answer from a damaged copy alone");
    d_up(w, b);
    d_up(w, c);
    d_done(w, r);
}

/* Every member's disk is wrong once. */
static void bad_reads(struct world *w)
{
    d_write(w, 0, 0);
    for (unsigned i = 0; i < 3; i++)
        store_mem_fail_next(w->nodes[i].store, STORE_MEM_BAD_READ);
    d_read(w, 0, 0);
    for (unsigned i = 0; i < 3; i++)
        SIM_CHECK(w, d_serves(w, i), "out, for one bad read");
}

/* A write to one sector went to another's place, on two members. */
static void misdirected(struct world *w)
{
    uint32_t from[2] = {cell_extent(w, 2 * 0), cell_offset(w, 2 * 0)};
    uint32_t to[2] = {cell_extent(w, 2 * 5), cell_offset(w, 2 * 5)};
    d_write(w, 0, 0);
    d_write(w, 0, 5);
    d_flush(w, 0);
    for (unsigned i = 0; i < 2; i++) {
        bool hit = store_mem_misdirect(w->nodes[d_at(w, i)].disk, 1, from, to);
        SIM_CHECK(w, hit, "nothing to misdirect");
    }
    for (unsigned i = 0; i < 10; i++)
        d_read(w, 0, i % 2 ? 0 : 5);
    d_write(w, 0, 0);
    d_write(w, 0, 5);
    d_read(w, 0, 0);
    d_read(w, 0, 5);
}

/* The directory of one goes back to what it was some starts ago. It is started
 * until its number is beyond what the hub saw, and then it is the only one. */
static void older_alone(struct world *w)
{
    unsigned a = d_at(w, 0);
    d_write(w, 0, 0);
    d_flush(w, 0);
    struct store_mem_disk *old = store_mem_disk_copy(w->nodes[a].disk);
    for (unsigned i = 0; i < 2; i++) {
        d_kill(w, a);
        d_up(w, a);
        d_write(w, 0, i);
        d_until(w, d_healthy, "full strength");
    }
    d_write(w, 0, 0);
    d_flush(w, 0);
    for (unsigned i = 0; i < 3; i++)
        d_kill(w, i);
    node_swap(&w->nodes[a], old);
    for (unsigned i = 0; i < 3; i++) {
        d_up(w, a);
        d_kill(w, a);
    }
    d_up(w, a);
    struct wop *r = d_start(w, 0, ENGINE_READ, 0);
    d_run(w, 45000);
    SIM_CHECK(w, d_pending(r), "an older state of a disk serves");
    for (unsigned i = 0; i < 3; i++)
        d_up(w, i);
    d_done(w, r);
}

/* The directory of one is that of a start ago: when it is started on that, it
 * has the number that the hub knows, and the chain has not missed it yet. */
static void older_same(struct world *w)
{
    unsigned a = d_at(w, 1);
    d_write(w, 0, 0);
    struct store_mem_disk *old = store_mem_disk_copy(w->nodes[a].disk);
    d_kill(w, a);
    d_up(w, a);
    d_until(w, d_healthy, "full strength");
    d_write(w, 0, 0);
    d_kill(w, a);
    node_swap(&w->nodes[a], old);
    d_up(w, a);
    w->lost = a + 1;
    d_write(w, 0, 0);
    d_read(w, 0, 0);
}

/* The store of one is lost, and another answers at its address at once. */
static void wiped(struct world *w)
{
    unsigned a = d_at(w, 1);
    d_write(w, 0, 0);
    d_flush(w, 0);
    w->lost = a + 1;
    d_kill(w, a);
    node_swap(&w->nodes[a], NULL);
    d_up(w, a);
    d_write(w, 0, 0);
    d_read(w, 0, 0);
}

/* What a node said of itself, on a connection that it gave up, comes when it
 * has registered on another and is the only one that serves. */
static void late_register(struct world *w)
{
    unsigned a = d_at(w, 0), b = d_at(w, 1), c = d_at(w, 2);
    struct gate *g = d_gate(w, N(a), HUB, KT_MSG_REGISTER, 1);
    d_reset(w, N(a), HUB);
    d_until_hit(w, g);
    d_run(w, 6000);
    d_until(w, d_healthy, "it is back by another connection");
    for (unsigned i = 0; i < 2; i++) {
        uint64_t e = d_epoch(w);
        d_kill(w, i ? c : b);
        d_until_epoch(w, e);
    }
    SIM_CHECK(w, d_head(w) == a, "another serves");
    d_open(w, g);
    d_run(w, 3000);
    d_read(w, 0, 0);
}

/* clang-format off */
const struct direct direct_disk[] = {
    {"f20-bad-reads", NULL,
     "a read that fails once on every member is no error",
     bad_reads, {0}, NULL},
    {"f20-wiped", NULL,
     "who answers at its address is not the one that is lost",
     wiped, {0}, NULL},
    {"f21-misdirected", "sum_checked",
     "a write that landed elsewhere is never handed out",
     misdirected, {0}, NULL},
    {"f21-rot-apart", "bad_hope",
     "sectors whole on different members are put together",
     rot_apart, {0}, NULL},
    {"f21-rot-of-the-last", "bad_hope",
     "a read waits for the copies that are whole",
     rot_of_the_last, {0}, NULL},
    {"f36-older-alone", "base_kept,promise_kept",
     "an older state of a disk serves not even alone",
     older_alone, {0}, NULL},
    {"f36-older-same", "promise_kept",
     "nor when it has the number of its former self",
     older_same, {0}, NULL},
    {"f36-late-register", "newest_conn",
     "what a node said on a connection it gave up is not what it is",
     late_register, {0}, NULL},
    {0}};
/* clang-format on */
