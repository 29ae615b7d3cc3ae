/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/chain_talk.h"

#include <ctype.h>
#include <string.h>

#include "lib/base/sum.h"

static struct chain_out out;

struct kt_id talk_store(char who)
{
    struct kt_id id = {{(uint8_t)toupper(who)}};
    return id;
}

struct kt_cfg talk_cfg(uint64_t epoch, const char *members)
{
    struct kt_cfg c = {.chain = TALK_CHAIN,
                       .n_extents = TALK_EXTENTS,
                       .epoch = epoch,
                       .phase = KT_PHASE_ACTIVE,
                       .vgen = 1,
                       .token = TALK_TOKEN,
                       .want_r = 3,
                       .min_write = 1,
                       .last_epoch = epoch};
    bool syncing = false;
    c.volume.b[0] = c.history.b[0] = c.client.b[0] = 1;
    for (const char *p = members; *p; p++) {
        if (*p == '+') {
            syncing = true;
            continue;
        }
        struct kt_member *m = &c.members[c.n_members++];
        m->store = m->node.id = talk_store(*p);
        m->incarnation = 1;
        m->state = KT_M_SERVING;
        if (islower((unsigned char)*p))
            m->state = KT_M_WAITING;
        else if (syncing)
            m->state = KT_M_SYNCING;
        else
            c.last[c.n_last++] = (struct kt_last){m->store, 1};
        syncing = false;
    }
    assert_null(kt_cfg_invalid(&c));
    return c;
}

struct kt_buf *talk_sectors(unsigned n, int value)
{
    struct kt_buf *b = kt_buf_new(n * KT_SECTOR_BYTES, n);
    assert_non_null(b);
    b->data_len = n * KT_SECTOR_BYTES;
    memset(b->data, value, b->data_len);
    kt_sum_sectors(b->data, b->data_len, b->sums);
    return b;
}

/* ---- life ---- */

static void begin(struct talk *t, char me)
{
    memset(t, 0, sizeof(*t));
    t->me = me;
    t->now = 1000;
}

void talk_new(struct talk *t, char me)
{
    struct chain_origin o = {.chain = TALK_CHAIN,
                             .store = talk_store(me),
                             .incarnation = 1,
                             .cont_base = 1};
    begin(t, me);
    chain_init(&t->c, &o);
}

void talk_restart(struct talk *t, char me, uint64_t incarnation,
                  struct kt_rid applied, const struct kt_cfg *cfg)
{
    struct chain_origin o = {.chain = TALK_CHAIN,
                             .store = talk_store(me),
                             .incarnation = incarnation,
                             .cont_base = 1,
                             .applied = applied,
                             .durable = applied.seq,
                             .cfg = cfg};
    begin(t, me);
    t->appended = t->durable = applied.seq;
    chain_init(&t->c, &o);
}

static void forget(struct chain_act *a)
{
    if (a->type != CHAIN_ACT_RELEASE)
        kt_buf_unref(a->type == CHAIN_ACT_APPEND ? a->buf : a->msg.buf);
}

void talk_end(struct talk *t)
{
    for (unsigned i = 0; i < t->n; i++)
        forget(&t->queue[i]);
    for (unsigned i = 0; i < CHAIN_RING; i++)
        kt_buf_unref(t->c.ring[i].buf);
    t->n = 0;
}

/* ---- stepping ---- */

static void complete(struct talk *t);

static void queue(struct talk *t)
{
    for (uint32_t i = 0; i < out.n; i++) {
        struct chain_act *a = &out.acts[i];
        if (a->type == CHAIN_ACT_RELEASE) {
            kt_buf_unref(a->buf);
            continue;
        }
        assert_true(t->n < TALK_QUEUE);
        if (a->type == CHAIN_ACT_APPEND) {
            if (a->hold)
                kt_buf_ref(a->buf);
            kt_buf_ref(a->buf);
        } else {
            kt_buf_ref(a->msg.buf);
        }
        if (a->msg.cfg) {
            t->cfg = *a->msg.cfg;
            a->msg.cfg = &t->cfg;
        }
        t->queue[t->n++] = *a;
    }
}

void say_event(struct talk *t, struct chain_event *ev)
{
    ev->now_ms = t->now;
    chain_step(&t->c, ev, &out);
    chain_check_all(&t->c);
    queue(t);
    if (!t->lazy)
        complete(t);
    while (out.more) {
        struct chain_event more = {.type = CHAIN_EV_TICK, .now_ms = t->now};
        chain_step(&t->c, &more, &out);
        chain_check_all(&t->c);
        queue(t);
    }
}

struct chain_act *take(struct talk *t, enum chain_act_type type)
{
    static struct chain_act a;
    for (unsigned i = 0; i < t->n; i++) {
        if (t->queue[i].type != type)
            continue;
        a = t->queue[i];
        t->n--;
        memmove(&t->queue[i], &t->queue[i + 1],
                (t->n - i) * sizeof(t->queue[0]));
        forget(&a);
        return &a;
    }
    return NULL;
}

static void credit(struct talk *t)
{
    struct chain_event ev = {.type = CHAIN_EV_CREDIT, .set_aside = 8};
    say_event(t, &ev);
}

void appended(struct talk *t, int err)
{
    struct chain_act *a = take(t, CHAIN_ACT_APPEND);
    assert_non_null(a);
    struct chain_event ev = {
        .type = CHAIN_EV_APPENDED, .tag = a->tag, .id = a->rec.id, .err = err};
    if (!err && a->rec.op < KT_OP_COPY_START)
        t->appended = a->rec.id.seq;
    else if (!err && a->rec.op == KT_OP_RESET)
        t->appended = a->rec.id.seq;
    say_event(t, &ev);
}

void synced(struct talk *t, int err)
{
    assert_non_null(take(t, CHAIN_ACT_SYNC));
    t->durable = err ? t->durable : t->appended;
    struct chain_event ev = {
        .type = CHAIN_EV_SYNCED, .durable = t->durable, .err = err};
    say_event(t, &ev);
}

void saved(struct talk *t, int err)
{
    struct chain_act *a = take(t, CHAIN_ACT_SAVE);
    assert_non_null(a);
    struct chain_event ev = {
        .type = CHAIN_EV_SAVED, .promised = a->promised, .err = err};
    say_event(t, &ev);
}

static bool waits(const struct talk *t, unsigned type)
{
    for (unsigned i = 0; i < t->n; i++) {
        if (t->queue[i].type == type)
            return true;
    }
    return false;
}

/* The store does at once what it is asked. */
static void complete(struct talk *t)
{
    for (;;) {
        if (waits(t, CHAIN_ACT_SAVE))
            saved(t, 0);
        else if (waits(t, CHAIN_ACT_SYNC))
            synced(t, 0);
        else if (take(t, CHAIN_ACT_CREDIT))
            credit(t);
        else if (waits(t, CHAIN_ACT_APPEND) && t->c.appends)
            appended(t, 0);
        else
            return;
    }
}

void tick(struct talk *t, uint64_t ms)
{
    struct chain_event ev = {.type = CHAIN_EV_TICK};
    t->now += ms;
    say_event(t, &ev);
}

/* ---- what others say ---- */

struct kt_msg talk_msg(struct talk *t, enum kt_type type)
{
    return (struct kt_msg){
        .type = (uint8_t)type, .chain = TALK_CHAIN, .epoch = t->c.cfg.epoch};
}

void say(struct talk *t, unsigned conn, char from, struct kt_msg *m)
{
    struct chain_event ev = {.type = CHAIN_EV_MSG,
                             .conn = conn,
                             .cls =
                                 conn == SYNC ? KT_CLASS_SYNC : KT_CLASS_DATA,
                             .peer = talk_store(from),
                             .msg = m};
    ev.role = KT_ROLE_REPLICATOR;
    if (conn == CLIENT)
        ev.role = KT_ROLE_CLIENT;
    else if (conn == HUB)
        ev.role = KT_ROLE_HUB;
    say_event(t, &ev);
    kt_buf_unref(m->buf);
}

void say_write(struct talk *t, uint64_t wseq, uint64_t sector, int value)
{
    struct kt_msg m = talk_msg(t, KT_MSG_WRITE);
    m.req = 1000 + wseq;
    m.u.write.token = TALK_TOKEN;
    m.u.write.wseq = wseq;
    m.u.write.op = KT_OP_WRITE;
    m.u.write.extent = (uint32_t)(sector / KT_EXTENT_SECTORS);
    m.u.write.off = (uint32_t)(sector % KT_EXTENT_SECTORS) * KT_SECTOR_BYTES;
    m.u.write.len = KT_SECTOR_BYTES;
    m.buf = talk_sectors(1, value);
    say(t, CLIENT, '1', &m);
}

void say_fwd_on(struct talk *t, unsigned conn, uint64_t seq, uint64_t prev_seq)
{
    struct kt_msg m = talk_msg(t, KT_MSG_FWD);
    m.u.rec = (struct kt_record){.chain = TALK_CHAIN,
                                 .id = {t->c.cfg.epoch, seq},
                                 .prev = {t->c.cfg.epoch, prev_seq},
                                 .token = TALK_TOKEN,
                                 .wseq = seq,
                                 .op = KT_OP_WRITE,
                                 .len = KT_SECTOR_BYTES};
    if (prev_seq == 0)
        m.u.rec.prev = (struct kt_rid){0, 0};
    m.buf = talk_sectors(1, (int)seq);
    char pred = (char)t->c.cfg.members[t->c.me ? t->c.me - 1 : 0].store.b[0];
    say(t, conn, pred, &m);
}

void say_fwd(struct talk *t, uint64_t seq, uint64_t prev_seq)
{
    say_fwd_on(t, PRED, seq, prev_seq);
}

void say_ackc(struct talk *t, uint64_t upto)
{
    struct kt_msg m = talk_msg(t, KT_MSG_ACKC);
    m.u.ackc.upto = upto;
    m.u.ackc.alloc_limit = 8;
    say(t, SUCC, (char)t->c.cfg.members[t->c.me + 1].store.b[0], &m);
}

void say_seal(struct talk *t, uint64_t epoch)
{
    struct kt_msg m = talk_msg(t, KT_MSG_SEAL);
    m.epoch = epoch;
    say(t, HUB, 0, &m);
}

void say_link(struct talk *t, char to, uint8_t cls, bool up)
{
    struct chain_event ev = {.type = up ? CHAIN_EV_LINK_UP : CHAIN_EV_LINK_DOWN,
                             .cls = cls,
                             .peer = talk_store(to)};
    say_event(t, &ev);
}

/* ---- what the core says ---- */

static struct kt_msg *find(struct talk *t, enum kt_type type)
{
    static struct chain_act a;
    for (unsigned i = 0; i < t->n; i++) {
        unsigned k = t->queue[i].type;
        if (k < CHAIN_ACT_SEND || k > CHAIN_ACT_SEND_HUB ||
            t->queue[i].msg.type != type)
            continue;
        a = t->queue[i];
        t->n--;
        memmove(&t->queue[i], &t->queue[i + 1],
                (t->n - i) * sizeof(t->queue[0]));
        forget(&a);
        return &a.msg;
    }
    return NULL;
}

struct kt_msg *heard(struct talk *t, enum kt_type type)
{
    struct kt_msg *m = find(t, type);
    if (!m)
        fail_msg("the core did not say %s", kt_msg_name(type));
    return m;
}

void quiet(struct talk *t, enum kt_type type)
{
    if (find(t, type))
        fail_msg("the core said %s", kt_msg_name(type));
}

uint64_t acks_up(struct talk *t)
{
    const struct kt_msg *m;
    uint64_t upto = 0;
    while ((m = find(t, KT_MSG_ACKC)) != NULL)
        upto = kt_max_u64(upto, m->u.ackc.upto);
    return upto;
}

void nothing(struct talk *t, enum chain_act_type type)
{
    assert_null(take(t, type));
}

/* ---- the usual beginnings ---- */

void talk_activate(struct talk *t, uint64_t epoch, const char *members)
{
    struct kt_cfg cfg = talk_cfg(epoch, members);
    struct kt_msg m = talk_msg(t, KT_MSG_ACTIVATE);
    int me = kt_cfg_find(&cfg, &t->c.store);
    if (me >= 0)
        cfg.members[me].incarnation = t->c.incarnation;
    say_seal(t, epoch);
    heard(t, KT_MSG_SEAL_OK);
    m.epoch = epoch;
    m.cfg = &cfg;
    say(t, HUB, 0, &m);
    heard(t, KT_MSG_ACT_OK);
    assert_non_null(take(t, CHAIN_ACT_CONFIG));
}

void talk_serve(struct talk *t, uint64_t epoch, const char *members)
{
    talk_activate(t, epoch, members);
    const struct kt_member *succ = chain_wants_succ(&t->c);
    if (!succ)
        return;
    say_link(t, (char)succ->store.b[0], KT_CLASS_DATA, true);
    struct kt_msg *r = heard(t, KT_MSG_RESUME);
    struct kt_msg ok = talk_msg(t, KT_MSG_RESUME_OK);
    ok.u.resume.applied = r->u.resume.applied;
    say(t, SUCC, (char)succ->store.b[0], &ok);
    say_ackc(t, t->c.acked);
}
