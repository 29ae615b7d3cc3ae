/* SPDX-License-Identifier: BSD-3-Clause */
/* The nodes links are wanted to, and which of them to read from. */
#include "lib/client/engine_int.h"

#include <string.h>

static bool same_place(const struct kt_node *a, const struct kt_node *b)
{
    return kt_id_eq(&a->boot, &b->boot) && a->tcp.kind == b->tcp.kind &&
           a->tcp.port == b->tcp.port && a->unix_.kind == b->unix_.kind &&
           memcmp(a->tcp.host, b->tcp.host, sizeof(a->tcp.host)) == 0 &&
           memcmp(a->unix_.host, b->unix_.host, sizeof(a->unix_.host)) == 0;
}

static uint32_t find(const struct engine *e, const struct kt_id *id)
{
    for (uint32_t i = 0; i < ENGINE_NODES_MAX; i++)
        if (e->nodes[i].used && kt_id_eq(&e->nodes[i].node.id, id))
            return i;
    return ENG_NO_SLOT;
}

static uint32_t find_free(const struct engine *e)
{
    for (uint32_t i = 0; i < ENGINE_NODES_MAX; i++)
        if (!e->nodes[i].used)
            return i;
    return ENG_NO_SLOT;
}

uint32_t eng_node_ref(struct engine *e, const struct kt_node *n)
{
    uint32_t i = find(e, &n->id);
    if (i == ENG_NO_SLOT) {
        i = find_free(e);
        if (i == ENG_NO_SLOT)
            return i; /* as if it were down: others serve */
        struct engine_node *w = &e->nodes[i];
        memset(w, 0, sizeof(*w));
        w->used = true;
        w->down_ms = e->now;
    }
    struct engine_node *w = &e->nodes[i];
    w->refs++;
    if (!w->told || !same_place(&w->node, n)) {
        w->node = *n;
        w->local = kt_id_eq(&n->boot, &e->o.boot);
        w->say_connect = true;
        e->say_nodes = true;
    }
    return i;
}

void eng_node_unref(struct engine *e, uint32_t slot)
{
    if (slot == ENG_NO_SLOT)
        return;
    assert(e->nodes[slot].used && e->nodes[slot].refs > 0);
    if (--e->nodes[slot].refs == 0)
        e->say_nodes = true;
}

/* What was sent to slot may be lost; all that waits for it goes again. */
static void lost(struct engine *e, uint32_t slot)
{
    for (uint32_t i = 0; i < e->n_chains; i++) {
        struct engine_chain *c = &e->chains[i];
        if (c->n_serving && c->slot[0] == slot)
            eng_requeue_writes(e, c);
        eng_flush_link(c, slot);
    }
    for (uint32_t i = 0; i < e->parts_touched; i++) {
        struct engine_part *p = &e->parts[i];
        if (p->state == PART_SENT && p->slot == slot && !eng_is_write(p->op))
            eng_requeue_read(e, p);
    }
}

void eng_link_down(struct engine *e, uint32_t slot)
{
    assert(slot < ENGINE_NODES_MAX);
    struct engine_node *n = &e->nodes[slot];
    if (!n->used || !n->up || e->dead)
        return;
    n->up = false;
    n->down_ms = e->now;
    lost(e, slot);
}

void eng_link_up(struct engine *e, uint32_t slot)
{
    assert(slot < ENGINE_NODES_MAX);
    struct engine_node *n = &e->nodes[slot];
    if (!n->used || e->dead)
        return;
    if (n->up)
        lost(e, slot);
    n->up = true;
    n->say_reset = false;
    n->rx_ms = e->now;
    n->suspect_ms = 0;
    for (uint32_t i = 0; i < e->n_chains; i++)
        for (unsigned j = 0; j < e->chains[i].n_serving; j++)
            if (e->chains[i].slot[j] == slot) {
                eng_flush_link(&e->chains[i], slot);
                eng_work(e, &e->chains[i]);
            }
    e->again = true;
}

/* Tells one node's wishes. False when out is full. */
static bool node_say(struct engine_node *n, uint32_t slot,
                     struct engine_out *out)
{
    if (!n->used)
        return true;
    uint8_t type = 0;
    if (n->refs == 0)
        type = n->told ? ENGINE_ACT_DISCONNECT : 0;
    else if (n->say_connect)
        type = ENGINE_ACT_CONNECT;
    else if (n->say_reset)
        type = ENGINE_ACT_RESET;
    if (type) {
        struct engine_action *a = eng_act(out, type);
        if (!a)
            return false;
        a->slot = slot;
        a->node = &n->node;
    }
    if (n->refs == 0) {
        n->used = n->up = n->told = false;
        return true;
    }
    n->told = true;
    n->say_connect = n->say_reset = false;
    return true;
}

bool eng_links_say(struct engine *e, struct engine_out *out)
{
    for (uint32_t i = 0; e->say_nodes && i < ENGINE_NODES_MAX; i++)
        if (!node_say(&e->nodes[i], i, out))
            return false;
    e->say_nodes = false;
    return true;
}

int eng_choose(const struct engine *e, const struct engine_chain *c,
               uint8_t skip)
{
    int best = -1;
    uint64_t best_cost = UINT64_MAX;
    for (unsigned i = 0; i < c->n_serving; i++) {
        if ((skip & (1u << i)) || !eng_up(e, c->slot[i]))
            continue;
        const struct engine_node *n = &e->nodes[c->slot[i]];
        uint64_t cost = n->local ? 0 : 1 + n->out;
        if (n->suspect_ms > e->now)
            cost += 1u << 20; /* it let a read wait not long ago */
        if (cost < best_cost) {
            best_cost = cost;
            best = (int)i;
        }
    }
    return best;
}

uint32_t engine_cut(const struct engine *e, uint64_t now_ms,
                    struct kt_id *ret_ids, uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < ENGINE_NODES_MAX && n < max; i++) {
        const struct engine_node *w = &e->nodes[i];
        if (w->used && w->refs && !w->up && now_ms > w->down_ms &&
            now_ms - w->down_ms > ENG_CUT_MS)
            ret_ids[n++] = w->node.id;
    }
    return n;
}
