/* SPDX-License-Identifier: BSD-3-Clause */
/* Configurations, and what a change of vgen asks for (I16, B11).
 *
 * A new epoch: everything unacknowledged goes again, with its old wseq, to
 * the new head, which knows what it has seen. A new vgen: the members may have
 * lost what was acknowledged but not flushed, and their memory of wseqs
 * proves nothing. So, in this order:
 *   1. no read of the chain is sent or completed, no new write sent;
 *   2. the kept writes that did not survive go again under fresh wseqs, in the
 * order of history; of two that overlap the second waits for the first's ack;
 *   3. when all are acknowledged: the unacknowledged ones, fresh wseqs too;
 *   4. reads and new writes.
 * Another vgen in between starts over: the list of kept writes is in the
 * order of history all the time. */
#include "lib/client/engine_int.h"

#include <string.h>

void eng_chain_init(struct engine *e, uint32_t idx)
{
    struct engine_chain *c = &e->chains[idx];
    struct engine_link *lists[] = {
        &c->writes, &c->reads, &c->replays, &c->replayq, &c->sendq,
        &c->readq,  &c->kept,  &c->work,    &c->dirty,   &c->flushing};
    for (size_t i = 0; i < KT_ARRAY_LEN(lists); i++)
        eng_list_init(lists[i]);
    c->idx = idx;
    c->next_wseq = 1;
    for (unsigned i = 0; i < KT_MEMBERS_MAX; i++)
        c->slot[i] = ENG_NO_SLOT;
}

/* The cfg describes segment c of our volume. */
static bool fits(const struct engine *e, const struct engine_chain *c,
                 const struct kt_cfg *cfg)
{
    uint64_t per = e->o.segment_bytes / KT_EXTENT_BYTES;
    uint64_t all = (e->o.size + KT_EXTENT_BYTES - 1) / KT_EXTENT_BYTES;
    uint64_t n = kt_min_u64(per, all - c->idx * per);
    return cfg->first_extent == c->idx * per && cfg->n_extents >= n &&
           (c->cfg.epoch == 0 || cfg->chain == c->cfg.chain);
}

static void take_members(struct engine *e, struct engine_chain *c,
                         const struct kt_cfg *cfg)
{
    uint32_t old[KT_MEMBERS_MAX];
    unsigned n_old = c->n_serving;
    memcpy(old, c->slot, sizeof(old));
    c->n_serving = (uint8_t)kt_cfg_serving(cfg);
    for (unsigned i = 0; i < KT_MEMBERS_MAX; i++)
        c->slot[i] = i < c->n_serving ? eng_node_ref(e, &cfg->members[i].node)
                                      : ENG_NO_SLOT;
    /* After the new ones were taken: a link both need stays up. */
    for (unsigned i = 0; i < n_old; i++)
        eng_node_unref(e, old[i]);
}

/* What is in the history that the new vgen begins with is durable there.
 * It must not go again: over something newer, that was flushed and needs no
 * copy, it would stand alone if we and the members were lost half way. */
static void drop_survivors(struct engine *e, struct engine_chain *c,
                           uint64_t base_seq)
{
    if (eng_replaying(c))
        KT_REACH(replay_again);
    while (!eng_list_empty(&c->replays))
        eng_part_put(e, eng_part_all(c->replays.next));
    eng_move(c, ENG_READY);
    eng_kept_drop(e, c, KT_RULE(replay_base) ? base_seq : 0);
}

static void replay_begin(struct engine *e, struct engine_chain *c)
{
    for (struct engine_link *l = c->writes.next; l != &c->writes; l = l->next) {
        struct engine_part *p = eng_part_all(l);
        if (KT_RULE(fresh_wseq))
            p->wseq = 0; /* retired: counts as settled from now on */
        p->tries = p->waits = 0;
        eng_part_queue(e, p);
    }
    c->max_acked = 0;
    c->replay_next = NULL;
    if (eng_list_empty(&c->kept))
        return;
    eng_move(c, ENG_REPLAYING);
    c->replay_next = kt_container_of(c->kept.next, struct engine_kept, all);
    c->say_replay = true;
    e->info.replays++;
}

static bool overlaps_replay(struct engine_chain *c, const struct engine_kept *k)
{
    struct engine_link *l = c->replays.next;
    for (; l != &c->replays; l = l->next) {
        const struct engine_part *p = eng_part_all(l);
        if (p->extent == k->extent && p->off < k->off + k->len &&
            k->off < p->off + p->len)
            return true;
    }
    return false;
}

void eng_replay_next(struct engine *e, struct engine_chain *c)
{
    while (eng_replaying(c) && c->replay_next) {
        struct engine_kept *k = c->replay_next;
        if (overlaps_replay(c, k))
            return;
        struct engine_part *p = eng_part_get_replay(e);
        if (!p)
            return;
        if (k->op != ENGINE_WRITE)
            KT_REACH(replay_zero);
        p->kept = k;
        p->chain = c;
        p->op = k->op;
        p->flags = k->flags;
        p->extent = k->extent;
        p->off = k->off;
        p->len = k->len;
        if (k->op == ENGINE_WRITE) {
            p->buf.refs = 1;
            p->buf.data_len = p->buf.data_cap = k->len;
            p->buf.sums = p->sums;
            p->buf.n_sums = k->len / KT_SECTOR_BYTES;
            eng_kept_load(e, k, p->buf.data);
            kt_sum_sectors(p->buf.data, k->len, p->sums);
        }
        eng_list_add(&c->replays, &p->all);
        eng_part_queue(e, p);
        c->replay_next =
            k->all.next == &c->kept
                ? NULL
                : kt_container_of(k->all.next, struct engine_kept, all);
    }
}

/* The members have all that was acknowledged, under the present vgen. Not
 * before the replay is complete: whoever takes over in its middle must learn
 * that some of it is missing (B10). */
static void settle(struct engine *e, struct engine_chain *c)
{
    if ((eng_replaying(c) && KT_RULE(settle_late)) ||
        c->settled_vgen == c->cfg.vgen)
        return;
    c->settled_vgen = c->cfg.vgen;
    c->say_settled = true;
    eng_work(e, c);
}

void eng_replay_acked(struct engine *e, struct engine_part *p, uint64_t seq)
{
    struct engine_chain *c = p->chain;
    assert(eng_replaying(c) && p->kept);
    p->kept->vgen = c->cfg.vgen;
    p->kept->seq = seq;
    eng_part_put(e, p);
    if (!c->replay_next && eng_list_empty(&c->replays)) {
        eng_move(c, ENG_READY);
        settle(e, c);
        /* The slots are free for the others. */
        for (uint32_t i = 0; i < e->n_chains; i++)
            if (eng_replaying(&e->chains[i]))
                eng_work(e, &e->chains[i]);
        e->again = true;
    }
    eng_progress(e, c);
}

static void install(struct engine *e, struct engine_chain *c,
                    const struct kt_cfg *cfg)
{
    KT_HOLDS(I20, cfg->epoch > c->cfg.epoch);
    KT_HOLDS(I18, cfg->token == e->o.token);
    bool first = c->cfg.epoch == 0;
    bool lost = !first && cfg->vgen != c->cfg.vgen && KT_RULE(replay);

    if (lost)
        drop_survivors(e, c, cfg->base_seq);
    take_members(e, c, cfg);
    c->cfg = *cfg;
    c->want_cfg = false;
    c->cfg_asked = 0;
    e->n_ready += first;
    if (first)
        eng_move(c, ENG_READY);
    if (lost)
        replay_begin(e, c);
    else
        eng_requeue_writes(e, c);
    settle(e, c);
    for (struct engine_link *l = c->reads.next; l != &c->reads; l = l->next) {
        struct engine_part *p = eng_part_all(l);
        p->tried = p->bad = p->damaged = p->bad_rounds = 0;
        if (p->state != PART_QUEUED)
            eng_requeue_read(e, p);
    }
    eng_flush_restart(c);
    eng_work(e, c);
    e->again = true;
}

void eng_adopt(struct engine *e, const struct kt_cfg *cfg)
{
    if (e->dead || kt_cfg_invalid(cfg) || cfg->phase != KT_PHASE_ACTIVE ||
        !kt_id_eq(&cfg->volume, &e->o.volume) || cfg->seg >= e->n_chains)
        return;
    struct engine_chain *c = &e->chains[cfg->seg];
    if (cfg->epoch <= c->cfg.epoch || !fits(e, c, cfg))
        return;
    /* B9: one token per volume, growing. A greater one is another holder's
     * (I18); a smaller one is of the time before our attach. */
    if (cfg->token < e->o.token)
        return;
    /* B16: force-promoted to another history. What we hold belongs to the
     * old one and must never be replayed into it. */
    bool other = c->cfg.epoch && !kt_id_eq(&cfg->history, &c->cfg.history);
    if ((cfg->token > e->o.token && KT_RULE(token_dies)) ||
        (other && KT_RULE(history_fence))) {
        KT_REACH(fenced_by_cfg);
        eng_die(e, false);
        return;
    }
    uint64_t was = e->o.settled ? e->o.settled[c->idx] : 0;
    if (c->cfg.epoch == 0 && was && was != cfg->vgen && KT_RULE(hand_over)) {
        e->lost = true;
        e->lost_chain = cfg->chain;
        eng_die(e, false);
        return;
    }
    install(e, c, cfg);
}
