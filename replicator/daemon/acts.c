/* SPDX-License-Identifier: BSD-3-Clause */
/* Carrying out what the core asked for, in its order. Nothing here steps a
 * chain: what completes at once is delivered after the step. */
#include "replicator/daemon/repl.h"

static void act_send(struct repl *n, const struct chain_act *a)
{
    struct conn *cn = conns_find(n, a->conn);
    if (cn)
        conns_send(cn, &a->msg);
}

static void act_send_dst(struct rchain *rc, const struct chain_act *a)
{
    if (a->msg.type != KT_MSG_SYNC_START) {
        links_send(rc->dst, KT_CLASS_SYNC, &a->msg);
        return;
    }
    struct kt_msg m = a->msg;
    m.buf = kt_buf_new(KT_DEDUP_BYTES, 0);
    if (!m.buf)
        return; /* asked for again in a while */
    kt_dedup_encode(a->dedup, m.buf->data);
    m.buf->data_len = KT_DEDUP_BYTES;
    links_send(rc->dst, KT_CLASS_SYNC, &m);
    kt_buf_unref(m.buf);
}

static void act_config(struct rchain *rc)
{
    rc->config_due = true;
    if (rc->c.have_cfg)
        conns_tell_writer(rc->n, &rc->c.cfg);
}

/* Those that touch the store. */
static void act_store(struct rchain *rc, const struct chain_act *a)
{
    switch (a->type) {
    case CHAIN_ACT_APPEND:
        ops_append(rc, a);
        break;
    case CHAIN_ACT_SYNC:
        ops_sync(rc);
        break;
    case CHAIN_ACT_SAVE:
        ops_save(rc, a);
        break;
    case CHAIN_ACT_READ:
        serve_read(rc, a);
        break;
    case CHAIN_ACT_STAT:
        serve_stat(rc, a);
        break;
    case CHAIN_ACT_DIGEST:
        serve_digest(rc, a);
        break;
    case CHAIN_ACT_SUMS:
        ops_sums(rc, a);
        break;
    case CHAIN_ACT_BASE_READ:
        ops_base(rc, a);
        break;
    case CHAIN_ACT_ROWS:
        ops_rows(rc, a);
        break;
    case CHAIN_ACT_LOG_READ:
        ops_log(rc, a);
        break;
    default:
        assert(!"an action of the core that nobody carries out");
    }
}

static void act(struct rchain *rc, const struct chain_act *a)
{
    struct repl *n = rc->n;
    switch (a->type) {
    case CHAIN_ACT_SEND:
        act_send(n, a);
        break;
    case CHAIN_ACT_SEND_SUCC:
        links_send(rc->succ, KT_CLASS_DATA, &a->msg);
        break;
    case CHAIN_ACT_SEND_DST:
        act_send_dst(rc, a);
        break;
    case CHAIN_ACT_SEND_HUB:
        hub_send(n, &a->msg);
        break;
    case CHAIN_ACT_RELEASE:
        kt_buf_unref(a->buf);
        break;
    case CHAIN_ACT_ACKED:
        store_acked(n->store, rc->sc, a->seq);
        break;
    case CHAIN_ACT_CREDIT:
        rc->want = a->want;
        rc->credit_due = true;
        break;
    case CHAIN_ACT_EQ_PUSH:
        push_start(rc, a);
        break;
    case CHAIN_ACT_CONFIG:
        act_config(rc);
        break;
    default:
        act_store(rc, a);
        break;
    }
}

void acts_run(struct rchain *rc, const struct chain_out *out)
{
    assert(out->n <= CHAIN_ACTS_MAX);
    for (uint32_t i = 0; i < out->n; i++)
        act(rc, &out->acts[i]);
}
