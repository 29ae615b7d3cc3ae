/* SPDX-License-Identifier: BSD-3-Clause */
/* What must hold between any two steps of the engine: the invariants of
 * DESIGN.md as far as a client can see them. Nothing here asks for a rule. */
#include "lib/client/engine_int.h"

static const struct engine_kept *kept_of(struct engine_link *l)
{
    return kt_container_of(l, struct engine_kept, all);
}

static const struct engine_part *part_of(struct engine_link *l)
{
    return kt_container_of(l, struct engine_part, all);
}

/* Those with a wseq first, in its order: wstable is read off the front. In a
 * replay they have none yet. */
static void check_writes(const struct engine_chain *c)
{
    struct engine_link *l = c->writes.next;
    uint64_t before = 0;
    uint32_t n = 0;
    bool fresh = false;

    for (; l != &c->writes; l = l->next, n++) {
        const struct engine_part *p = part_of(l);
        assert(p->chain == c && p->req && !p->kept);
        KT_HOLDS(I16, !eng_replaying(c) || p->wseq == 0);
        KT_HOLDS(I19, p->wseq < c->next_wseq);
        KT_HOLDS(I19, !p->wseq || (!fresh && p->wseq > before));
        fresh = p->wseq == 0;
        before = p->wseq;
    }
    assert(n == c->n_writes);
    KT_HOLDS(I19, eng_wstable(c) < c->next_wseq);
}

/* All that is acknowledged and not durable: each copy of the present vgen, but
 * for those that are still to be replayed. */
static void check_kept(const struct engine_chain *c)
{
    struct engine_link *l = c->kept.next;
    bool rest = false; /* not replayed yet */

    for (; l != &c->kept; l = l->next) {
        const struct engine_kept *k = kept_of(l);
        rest = rest || k == c->replay_next;
        KT_HOLDS(I16, k->vgen <= c->cfg.vgen);
        KT_HOLDS(I16, eng_replaying(c) || k->vgen == c->cfg.vgen);
        KT_HOLDS(I16, !rest || k->vgen < c->cfg.vgen);
        KT_HOLDS(I16, eng_replaying(c) || k->seq <= c->max_acked);
    }
    KT_HOLDS(I16, eng_replaying(c) ==
                      (c->replay_next || !eng_list_empty(&c->replays)));
    KT_HOLDS(I16, eng_list_empty(&c->kept) == eng_list_empty(&c->dirty));
}

static void check_reads(const struct engine_chain *c)
{
    struct engine_link *l = c->reads.next;
    uint32_t n = 0;

    for (; l != &c->reads; l = l->next, n++)
        KT_HOLDS(B11, !eng_replaying(c) || part_of(l)->state != PART_SENT);
    assert(n == c->n_reads);
}

static void check_flush(const struct engine_chain *c)
{
    uint8_t all = (uint8_t)((1u << c->n_serving) - 1);

    if (!c->fl.active)
        return;
    KT_HOLDS(I13, c->fl.epoch == c->cfg.epoch && !eng_replaying(c));
    KT_HOLDS(I13, c->fl.ok != all && !(c->fl.ok & ~all));
    KT_HOLDS(I16, c->fl.upto <= c->max_acked);
}

static void check_chain(const struct engine *e, const struct engine_chain *c)
{
    if (c->cfg.epoch == 0) {
        KT_HOLDS(I20, c->n_serving == 0 && c->n_reads == 0);
        return;
    }
    KT_HOLDS(I18, c->cfg.token == e->o.token);
    KT_HOLDS(I20, c->n_serving == kt_cfg_serving(&c->cfg));
    KT_HOLDS(B10, c->settled_vgen == c->cfg.vgen || eng_replaying(c));
    check_writes(c);
    check_kept(c);
    check_reads(c);
    check_flush(c);
}

void engine_check(const struct engine *e)
{
    if (!KT_RULE(self_check))
        return;
    KT_HOLDS(I18, !e->dead || e->n_live == 0);
    for (uint32_t i = 0; !e->dead && i < e->n_chains; i++)
        check_chain(e, &e->chains[i]);
}
