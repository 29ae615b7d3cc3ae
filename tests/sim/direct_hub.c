/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub dies around every row that it commits: the same story again and
 * again, and each time it ends one row later, just before that row is durable
 * or just after (sim --sweep). What it takes up again must be one thing or
 * the other. The rows that make the volume are not among them: one that is
 * half made is removed, and the simulator has but one. */
#include "tests/sim/direct.h"

static bool gone(struct world *w)
{
    return w->clients[1].state == CL_OFF;
}

static void hub_rows(struct world *w)
{
    d_write(w, 0, 0);
    d_attach(w, 1, true);
    d_write(w, 1, 0);
    unsigned t = d_tail(w);
    d_kill(w, t);
    d_write(w, 1, 1);
    d_up(w, t);
    d_until(w, d_healthy, "the killed one serves again");
    unsigned h = d_head(w);
    d_kill(w, h); /* not its machine: two such wait 30 s for each other (A5) */
    node_lose(&w->nodes[h]);
    d_write(w, 1, 2);
    d_up(w, h);
    d_until(w, d_healthy, "the one with nothing serves again");
    node_leave(&w->nodes[d_tail(w)]);
    d_write(w, 1, 3);
    d_run(w, 3000);
    d_up_all(w);
    d_until(w, d_healthy, "the one that left serves again");
    client_detach(&w->clients[1]);
    d_until(w, gone, "a client detaches");
    d_attach(w, 0, true);
    d_write(w, 0, 4);
    d_power_bare_all(w);
    d_up_all(w);
    d_write(w, 0, 0);
    d_read(w, 0, 1);
    d_flush(w, 0);
}

/* clang-format off */
const struct direct direct_hub[] = {
    {"hub-rows", NULL, "the hub dies around each row it commits", hub_rows,
     {0}, NULL},
    {0}};
/* clang-format on */
