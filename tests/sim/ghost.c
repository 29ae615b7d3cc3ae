/* SPDX-License-Identifier: BSD-3-Clause */
/* What the simulator knows and nobody in it does: every record there ever
 * was, as a tree whose branches are what power losses cut off. Each answer of
 * a member is held against it at the moment it is given, so a fault is seen
 * where it happens and not when a client stumbles over it.
 *
 *   same id, same bytes (I7); executed once (I19); acknowledged means in the
 *   log of every member (I12), durable when it had to be (I13); members begin
 *   an epoch with one history (I9), committed before (I1, I5), that lacks
 *   nothing acknowledged under its vgen and nothing flushed ever (I14, I15). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 31);
}

static unsigned bucket(unsigned chain, uint64_t a, uint64_t b)
{
    return (unsigned)(mix(mix(chain, a), b) % GHOST_HASH);
}

static struct grec *rec_new(struct world *w, unsigned chain, struct kt_rid id)
{
    struct grec *g = calloc(1, sizeof(*g));
    assert(g);
    unsigned b = bucket(chain, id.epoch, id.seq);
    g->chain = chain;
    g->id = id;
    g->next = w->ghost.recs[b];
    w->ghost.recs[b] = g;
    return g;
}

void ghost_init(struct world *w)
{
    for (unsigned i = 0; i < SIM_CHAINS_MAX; i++)
        w->ghost.chains[i].root = rec_new(w, i, (struct kt_rid){0, 0});
}

void ghost_free(struct world *w)
{
    struct ghost *gh = &w->ghost;
    for (unsigned i = 0; i < GHOST_HASH; i++) {
        while (gh->recs[i]) {
            struct grec *g = gh->recs[i];
            gh->recs[i] = g->next;
            free(g);
        }
        while (gh->writes[i]) {
            struct gwrite *g = gh->writes[i];
            gh->writes[i] = g->next;
            free(g);
        }
    }
    while (gh->cfgs) {
        struct gcfg *g = gh->cfgs;
        gh->cfgs = g->next;
        free(g);
    }
}

struct grec *ghost_find(struct world *w, unsigned chain, struct kt_rid id)
{
    struct grec *g = w->ghost.recs[bucket(chain, id.epoch, id.seq)];
    while (g && (g->chain != chain || !kt_rid_eq(g->id, id)))
        g = g->next;
    return g;
}

struct grec *ghost_back(struct grec *from, uint64_t seq)
{
    while (from && from->id.seq > seq)
        from = from->parent;
    return from && from->id.seq == seq ? from : NULL;
}

static bool holds(struct grec *history, const struct grec *g)
{
    return !g || ghost_back(history, g->id.seq) == g;
}

/* ---- writes ---- */

static struct gwrite *write_find(struct world *w, unsigned chain,
                                 uint64_t token, uint64_t wseq)
{
    struct gwrite *g = w->ghost.writes[bucket(chain, token, wseq)];
    while (g && (g->chain != chain || g->token != token || g->wseq != wseq))
        g = g->next;
    return g;
}

static uint64_t fingerprint(const struct kt_record *r, const struct kt_buf *b)
{
    uint64_t h = mix(r->op, r->flags & KT_RF_NO_HOLE);
    h = mix(mix(mix(h, r->extent), r->off), r->len);
    for (uint32_t i = 0; b && i < b->n_sums; i++)
        h = mix(h, b->sums[i]);
    return h;
}

static uint64_t volume_sector(const struct world *w, unsigned chain,
                              uint32_t extent, uint32_t off)
{
    return (chain * (uint64_t)w->p.extents + extent) * KT_EXTENT_SECTORS +
           off / KT_SECTOR_BYTES;
}

void ghost_sent(struct sclient *c, const struct kt_msg *m)
{
    struct world *w = c->w;
    unsigned chain = (unsigned)(m->chain - 1);
    struct kt_record r = {.op = m->u.write.op,
                          .flags = m->u.write.flags,
                          .extent = m->u.write.extent,
                          .off = m->u.write.off,
                          .len = m->u.write.len};
    uint64_t print = fingerprint(&r, m->buf);
    struct gwrite *g = write_find(w, chain, m->u.write.token, m->u.write.wseq);
    SIM_CHECK(w, !g || g->fingerprint == print,
              "the client used wseq %" PRIu64 " for two writes (I19)",
              m->u.write.wseq);
    if (g)
        return;
    g = calloc(1, sizeof(*g));
    assert(g);
    g->chain = chain;
    g->token = m->u.write.token;
    g->wseq = m->u.write.wseq;
    g->fingerprint = print;
    unsigned b = bucket(chain, g->token, g->wseq);
    g->next = w->ghost.writes[b];
    w->ghost.writes[b] = g;
    uint64_t first = volume_sector(w, chain, r.extent, r.off);
    uint64_t n = r.len / KT_SECTOR_BYTES;
    if (r.op != KT_OP_WRITE) {
        work_zero_ids(c, first, n, g->ids);
        return;
    }
    for (unsigned h = 0; h < SIM_CELLS; h++) {
        uint64_t at = cell_sector(w, h);
        if (at < first || at >= first + n)
            continue;
        g->ids[h] = cell_parse(m->buf->data + (at - first) * KT_SECTOR_BYTES +
                                   h % 2 * SIM_CELL_BYTES,
                               h);
        SIM_CHECK(w, g->ids[h] != UINT64_MAX,
                  "the client writes half a stamp to sector %" PRIu64, at);
        /* An end of a ZERO, or zeros it found and keeps. */
        if (!g->ids[h])
            g->ids[h] = work_zero_id(c, h);
    }
}

static void execute(struct snode *n, unsigned chain, const struct kt_record *r,
                    uint64_t print)
{
    struct world *w = n->w;
    const struct chain *c = &n->chains[chain].c;
    struct grec *parent = ghost_find(w, chain, r->prev);
    SIM_CHECK(
        w, c->role == CHAIN_MEMBER && c->me == 0 && c->cfg.epoch == r->id.epoch,
        "n%u makes record (%" PRIu64 ",%" PRIu64 ") and is not the head",
        n->index + 1, r->id.epoch, r->id.seq);
    SIM_CHECK(w, parent && parent->id.seq + 1 == r->id.seq,
              "record (%" PRIu64 ",%" PRIu64 ") follows nothing", r->id.epoch,
              r->id.seq);
    struct gwrite *gw = write_find(w, chain, r->token, r->wseq);
    SIM_CHECK(w, gw && gw->fingerprint == print,
              "record (%" PRIu64 ",%" PRIu64 ") is no client's write",
              r->id.epoch, r->id.seq);
    SIM_CHECK(w, !gw->done || !holds(parent, gw->done),
              "wseq %" PRIu64 " of token %" PRIu64
              " is executed twice, as seq %" PRIu64 " and %" PRIu64 " (I19)",
              r->wseq, r->token, gw->done->id.seq, r->id.seq);
    struct grec *g = rec_new(w, chain, r->id);
    g->parent = parent;
    g->token = r->token;
    g->wseq = r->wseq;
    g->fingerprint = print;
    g->fua = r->flags & KT_RF_FUA;
    gw->done = g;
    memcpy(g->content, parent->content, sizeof(g->content));
    for (unsigned h = 0; h < SIM_CELLS; h++) {
        if (gw->ids[h])
            g->content[h] = gw->ids[h];
    }
}

void ghost_append(struct snode *n, unsigned chain, const struct kt_record *r,
                  const struct kt_buf *buf)
{
    struct world *w = n->w;
    struct grec *g = ghost_find(w, chain, r->id);
    uint64_t print = fingerprint(r, buf);
    if (!g) {
        execute(n, chain, r, print);
        return;
    }
    bool same = r->flags & KT_RF_SKIP || g->fingerprint == print;
    SIM_CHECK(w, same && g->token == r->token && g->wseq == r->wseq,
              "two records are (%" PRIu64 ",%" PRIu64 ") (I7)", r->id.epoch,
              r->id.seq);
    SIM_CHECK(w, g->parent && kt_rid_eq(g->parent->id, r->prev),
              "record (%" PRIu64 ",%" PRIu64 ") stands behind another at n%u",
              r->id.epoch, r->id.seq, n->index + 1);
}

/* ---- what members say ---- */

static bool knows(const struct world *w, const struct kt_member *m,
                  const struct snode **ret_n)
{
    int i = node_of_store(w, &m->store);
    /* One whose disk was exchanged may have the number of its former self. */
    if (i < 0 || !w->nodes[i].store || w->lost == (unsigned)i + 1)
        return false;
    *ret_n = &w->nodes[i];
    return w->nodes[i].disk->incarnation == m->incarnation;
}

static void ack_everywhere(struct schain *sc, struct grec *g)
{
    struct world *w = sc->n->w;
    const struct kt_cfg *cfg = &sc->c.cfg;
    for (unsigned i = 0; i < sc->c.n_serving; i++) {
        const struct snode *n = NULL;
        if (!knows(w, &cfg->members[i], &n))
            continue;
        struct store_chain *st = store_chain_find(n->store, sc->c.id);
        struct grec *has = ghost_find(w, g->chain, st->applied);
        SIM_CHECK(w, holds(has, g),
                  "seq %" PRIu64 " is acknowledged and not in the log of n%u "
                  "(I12)",
                  g->id.seq, n->index + 1);
        const struct chain *c = &n->chains[g->chain].c;
        bool durable = g->fua && c->cfg.epoch == cfg->epoch;
        SIM_CHECK(w, !durable || st->durable >= g->id.seq,
                  "seq %" PRIu64 " has FUA, is acknowledged, and not durable "
                  "at n%u",
                  g->id.seq, n->index + 1);
    }
}

struct grec *ghost_ack(struct schain *sc, const struct kt_msg *m)
{
    struct world *w = sc->n->w;
    unsigned chain = (unsigned)(sc->c.id - 1);
    struct gchain *gc = &w->ghost.chains[chain];
    struct grec *g =
        ghost_back(ghost_find(w, chain, sc->c.received), m->u.ack.id.seq);
    SIM_CHECK(w, g && g->token == m->u.ack.token && g->wseq == m->u.ack.wseq,
              "the ack of wseq %" PRIu64 " names seq %" PRIu64
              ", which is another",
              m->u.ack.wseq, m->u.ack.id.seq);
    SIM_CHECK(w, sc->c.n_serving >= sc->c.cfg.min_write,
              "seq %" PRIu64 " is acknowledged by %u members (B12)", g->id.seq,
              sc->c.n_serving);
    ack_everywhere(sc, g);
    if (m->u.ack.vgen > gc->vgen) {
        gc->vgen = m->u.ack.vgen;
        gc->acked = NULL;
    }
    if (m->u.ack.vgen == gc->vgen &&
        (!gc->acked || g->id.seq > gc->acked->id.seq)) {
        SIM_CHECK(w, holds(g, gc->acked),
                  "seq %" PRIu64 " is acknowledged on another branch than "
                  "(%" PRIu64 ",%" PRIu64 ")",
                  g->id.seq, gc->acked->id.epoch, gc->acked->id.seq);
        gc->acked = g;
    }
    if (g->fua)
        ghost_flushed(w, chain, g, m->u.ack.vgen);
    return g;
}

void ghost_flush_ok(struct schain *sc, const struct kt_msg *m)
{
    if (!kt_id_eq(&m->u.flush.store, &sc->n->uuid)) {
        sc->n->w->st->relays++; /* checked where it was said */
        return;
    }
    SIM_CHECK(sc->n->w, sc->sc->durable >= m->u.flush.upto,
              "n%u says seq %" PRIu64 " is flushed and is durable to %" PRIu64,
              sc->n->index + 1, m->u.flush.upto, sc->sc->durable);
}

/* The target of a resync has all of it on its disk (I14). */
void ghost_sync_ack(struct schain *sc, const struct kt_msg *m)
{
    SIM_CHECK(sc->n->w, sc->sc->durable >= m->u.sync.at.seq,
              "n%u says it is in sync at seq %" PRIu64 " and is durable to "
              "%" PRIu64 " (I14)",
              sc->n->index + 1, m->u.sync.at.seq, sc->sc->durable);
}

/* What the hub builds on is on the disk: promises (I3), histories (B3). */
void ghost_told_hub(struct schain *sc, const struct kt_msg *m)
{
    struct world *w = sc->n->w;
    const struct store_chain *c = sc->n->disk->chains;
    while (c && c->id != sc->c.id)
        c = c->next;
    uint64_t promised = c ? c->promised : 0;
    SIM_CHECK(w, m->type != KT_MSG_SEAL_OK || promised >= m->epoch,
              "n%u promises epoch %" PRIu64 " and has only %" PRIu64
              " on its disk (I3)",
              sc->n->index + 1, m->epoch, promised);
    SIM_CHECK(w,
              m->type != KT_MSG_EQ_OK || m->u.eq_ok.err ||
                  sc->sc->durable >= m->u.eq_ok.applied.seq,
              "n%u says it is equal at seq %" PRIu64 " and is durable to "
              "%" PRIu64 " (B3)",
              sc->n->index + 1, m->u.eq_ok.applied.seq, sc->sc->durable);
}

void ghost_flushed(struct world *w, unsigned chain, struct grec *g,
                   uint64_t vgen)
{
    struct gchain *gc = &w->ghost.chains[chain];
    if (!g || vgen != gc->vgen ||
        (gc->flushed && gc->flushed->id.seq >= g->id.seq))
        return;
    SIM_CHECK(w, holds(g, gc->flushed),
              "seq %" PRIu64 " is flushed on another branch than seq %" PRIu64,
              g->id.seq, gc->flushed->id.seq);
    gc->flushed = g;
}

/* ---- configurations ---- */

static uint64_t cfg_sum(const struct kt_cfg *cfg)
{
    uint8_t b[KT_CFG_BYTES_MAX];
    size_t n = kt_cfg_encode(cfg, b);
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static struct gcfg *cfg_find(struct world *w, uint64_t chain, uint64_t epoch)
{
    struct gcfg *g = w->ghost.cfgs;
    while (g && (g->chain != chain || g->epoch != epoch))
        g = g->next;
    return g;
}

/* What an old database cannot know (DESIGN 13): of the nodes that take part in
 * the chain's newest configuration none was heard since the copy came back, and
 * here is another. */
static bool nobody_knows(struct world *w, uint64_t chain)
{
    const struct gcfg *g = w->ghost.cfgs;
    while (g && g->chain != chain)
        g = g->next;
    if (!g || !hubnode_is_old(w))
        return false;
    for (unsigned i = 0; i < g->n_nodes; i++) {
        if (hubnode_heard(w, &g->nodes[i]))
            return false;
    }
    return true;
}

void ghost_committed(struct world *w, const struct kt_cfg *cfg)
{
    uint64_t sum = cfg_sum(cfg);
    struct gcfg *g = cfg_find(w, cfg->chain, cfg->epoch);
    struct gchain *gc = &w->ghost.chains[cfg->chain - 1];
    w->seen_token = kt_max_u64(w->seen_token, cfg->token);
    if (g && g->sum == sum)
        return; /* its row, with another PREPARE */
    if (nobody_knows(w, cfg->chain))
        sim_end(w);
    SIM_CHECK(w, !g, "two configurations of epoch %" PRIu64 " (I1)",
              cfg->epoch);
    SIM_CHECK(w, cfg->epoch > gc->epoch, "epoch %" PRIu64 " after %" PRIu64,
              cfg->epoch, gc->epoch);
    g = calloc(1, sizeof(*g));
    assert(g);
    g->chain = cfg->chain;
    g->epoch = gc->epoch = cfg->epoch;
    g->sum = sum;
    for (unsigned i = 0; i < cfg->n_members; i++) {
        unsigned state = cfg->members[i].state;
        if (state == KT_M_SERVING || state == KT_M_SYNCING)
            g->nodes[g->n_nodes++] = cfg->members[i].node.id;
    }
    g->next = w->ghost.cfgs;
    w->ghost.cfgs = g;
    w->st->epochs++;
    trace(w, SIM_EP_HUB, "ACTIVE", cfg->chain, cfg->epoch,
          cfg->vgen << 8 | kt_cfg_serving(cfg));
}

static void begins(struct schain *sc, struct gcfg *cfg)
{
    struct world *w = sc->n->w;
    const struct chain *c = &sc->c;
    unsigned chain = (unsigned)(c->id - 1);
    struct gchain *gc = &w->ghost.chains[chain];
    struct grec *g = ghost_find(w, chain, c->applied);
    SIM_CHECK(w, g, "n%u begins epoch %" PRIu64 " at no known record",
              sc->n->index + 1, c->cfg.epoch);
    SIM_CHECK(w, !cfg->at || cfg->at == g,
              "members begin epoch %" PRIu64 " with different histories, "
              "(%" PRIu64 ",%" PRIu64 ") and (%" PRIu64 ",%" PRIu64 ") (I9)",
              c->cfg.epoch, cfg->at->id.epoch, cfg->at->id.seq, g->id.epoch,
              g->id.seq);
    cfg->at = g;
    SIM_CHECK(w, c->cfg.base_seq == g->id.seq,
              "epoch %" PRIu64 " begins at seq %" PRIu64 " and says %" PRIu64,
              c->cfg.epoch, g->id.seq, c->cfg.base_seq);
    if (c->cfg.epoch < gc->epoch)
        return; /* superseded before it heard of it */
    if (c->cfg.vgen > gc->vgen) {
        gc->vgen = c->cfg.vgen;
        gc->acked = NULL;
        w->st->vgens++;
    }
    SIM_CHECK(w, c->cfg.vgen < gc->vgen || holds(g, gc->acked),
              "epoch %" PRIu64 " begins at seq %" PRIu64 " without the "
              "acknowledged (%" PRIu64 ",%" PRIu64 ") (I15)",
              c->cfg.epoch, g->id.seq, gc->acked->id.epoch, gc->acked->id.seq);
    SIM_CHECK(w, holds(g, gc->flushed),
              "epoch %" PRIu64 " begins at seq %" PRIu64 " without the "
              "flushed (%" PRIu64 ",%" PRIu64 ") (I14)",
              c->cfg.epoch, g->id.seq, gc->flushed->id.epoch,
              gc->flushed->id.seq);
    uint64_t token = c->cfg.token;
    if (token < SIM_TOKENS_MAX && !gc->granted[token]) {
        gc->granted[token] = g;
        gc->granted_vgen[token] = c->cfg.vgen;
    }
}

void ghost_activated(struct schain *sc)
{
    struct world *w = sc->n->w;
    const struct chain *c = &sc->c;
    struct gcfg *g = cfg_find(w, c->id, c->cfg.epoch);
    trace(w, sc->n->ep, "activated", c->id, c->cfg.epoch,
          c->applied.seq << 8 | c->role);
    SIM_CHECK(w, g && g->sum == cfg_sum(&c->cfg),
              "n%u is active at epoch %" PRIu64 ", which nobody committed (I5)",
              sc->n->index + 1, c->cfg.epoch);
    if (c->role == CHAIN_MEMBER)
        begins(sc, g);
}

/* ---- reads ---- */

/* An end of a ZERO there is written. */
static bool all_zero(const uint8_t *sector)
{
    static const uint8_t zeros[KT_SECTOR_BYTES];
    return memcmp(sector, zeros, sizeof(zeros)) == 0;
}

struct grec *ghost_read(struct schain *sc, const struct store_read *r)
{
    struct world *w = sc->n->w;
    const struct kt_buf *buf = r->ret_buf;
    unsigned chain = (unsigned)(sc->c.id - 1);
    struct grec *g =
        ghost_back(ghost_find(w, chain, sc->sc->applied), r->ret_seq);
    uint64_t first = volume_sector(w, chain, r->extent, r->off);
    const uint8_t *data = buf->data;
    if (!g || sc->c.role != CHAIN_MEMBER)
        return g;
    for (uint32_t i = 0; i < r->len / KT_SECTOR_BYTES; i++) {
        unsigned h = 0;
        while (h < SIM_CELLS && cell_sector(w, h) != first + i)
            h += 2;
        const uint8_t *sector = buf->sums[i] ? data : NULL;
        data += sector ? KT_SECTOR_BYTES : 0;
        SIM_CHECK(w, h < SIM_CELLS || !sector || all_zero(sector),
                  "n%u at seq %" PRIu64 " has data in sector %" PRIu64,
                  sc->n->index + 1, g->id.seq, first + i);
        for (unsigned k = h; k < SIM_CELLS && k < h + 2; k++) {
            uint64_t id =
                sector ? cell_parse(sector + k % 2 * SIM_CELL_BYTES, k) : 0;
            uint64_t want = g->content[k];
            SIM_CHECK(w, id == (want & WID_ZERO ? 0 : want),
                      "n%u at seq %" PRIu64 " has write %" PRIu64
                      " in sector %" PRIu64 " where its history has %" PRIu64,
                      sc->n->index + 1, g->id.seq, id, first + i, want);
        }
    }
    return g;
}
