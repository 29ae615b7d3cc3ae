/* SPDX-License-Identifier: BSD-3-Clause */
/* The control connection.
 *
 * 1. Connect to one hub after the other, 50 ms apart doubling to 1 s.
 * 2. REGISTER with every chain, in pages. REGISTER_OK tells the cluster: taken
 *    over when we had none, and from then on no other one is served.
 * 3. A heartbeat each second; SEAL, EQ, ACTIVATE and RELEASE are carried out.
 * 4. No word for 5 s, or the connection fails: back to 1. Everything else
 *    goes on meanwhile: the hub is not in the data path. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/os.h"

#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 1000u
#define HB_MS 1000u
#define DEAF_MS 5000u
#define PATH_BYTES 4096u

/* ---- the cluster's identity ---- */

static int cluster_path(const struct repl *n, char path[PATH_BYTES])
{
    int len = snprintf(path, PATH_BYTES, "%s/cluster", n->opts->store_dir);
    return len < 0 || len >= (int)PATH_BYTES ? -ENAMETOOLONG : 0;
}

static int cluster_save(const struct repl *n)
{
    char path[PATH_BYTES], text[KT_ID_HEX_BYTES + 1], hex[KT_ID_HEX_BYTES];
    int r = cluster_path(n, path);
    if (r < 0)
        return r;
    snprintf(text, sizeof(text), "%s\n", kt_id_hex(&n->self.cluster, hex));
    return kt_write_file(path, text, 0644);
}

static int cluster_read(const struct repl *n, struct kt_id *ret_id)
{
    char path[PATH_BYTES], *text = NULL;
    int r = cluster_path(n, path);
    if (r == 0)
        r = kt_read_file(path, 64, &text);
    if (r < 0)
        return r;
    text[strcspn(text, "\n")] = '\0';
    r = kt_id_parse(text, ret_id);
    free(text);
    return r;
}

int hub_cluster_load(struct repl *n, char *ret_why, size_t size)
{
    struct kt_id id = {{0}};
    int r = cluster_read(n, &id);
    if (r < 0 && r != -ENOENT) {
        snprintf(ret_why, size,
                 "%s/cluster, which says whose data these are, cannot be "
                 "read (%s)",
                 n->opts->store_dir, kt_strerror(r));
        return r;
    }
    bool mine = r == 0 && !kt_id_is_zero(&id);
    if (mine && n->opts->have_cluster && !kt_id_eq(&id, &n->opts->cluster)) {
        snprintf(ret_why, size,
                 "%s belongs to another cluster: see the file cluster "
                 "in it, and leave --cluster out or take another directory",
                 n->opts->store_dir);
        return KT_E_INVALID;
    }
    if (mine)
        n->self.cluster = id;
    if (mine || !n->opts->have_cluster)
        return 0;
    n->self.cluster = n->opts->cluster;
    r = cluster_save(n);
    if (r < 0)
        snprintf(ret_why, size, "%s/cluster cannot be written (%s)",
                 n->opts->store_dir, kt_strerror(r));
    return r;
}

static bool is_foreign(const struct repl *n, const struct kt_id *cluster)
{
    return !kt_id_is_zero(cluster) && !kt_id_is_zero(&n->self.cluster) &&
           !kt_id_eq(cluster, &n->self.cluster);
}

static void refuse_foreign(struct repl *n, const struct kt_id *cluster)
{
    char ours[KT_ID_HEX_BYTES], theirs[KT_ID_HEX_BYTES];
    kt_log(KT_LOG_ERROR, "hub_refused",
           "reason=\"it is the hub of another cluster\" store_cluster=%s "
           "hub_cluster=%s",
           kt_id_hex(&n->self.cluster, ours), kt_id_hex(cluster, theirs));
    n->hub.backoff_ms = BACKOFF_MAX_MS;
    kt_conn_close(n->hub.cn->kc);
}

/* ---- sending ---- */

void hub_send(struct repl *n, const struct kt_msg *m)
{
    if (!n->closing && n->hub.cn && kt_conn_is_up(n->hub.cn->kc))
        conns_send(n->hub.cn, m);
}

void hub_error(struct repl *n, uint64_t req, int err, const char *text)
{
    struct kt_msg m = {.type = KT_MSG_ERROR, .req = req};
    m.u.error.err = err;
    snprintf(m.u.error.text, sizeof(m.u.error.text), "%s", text);
    hub_send(n, &m);
}

/* Numbers of this platform's errors that mean "nobody is there" become the
 * one everybody knows. */
static int plain_err(int err)
{
    if (err == UV_EOF || err == -EPIPE)
        return -ECONNRESET;
    return err == -ENOENT ? -ECONNREFUSED : err;
}

void hub_report(struct repl *n, const struct kt_node *node, int err)
{
    struct kt_msg m = {.type = KT_MSG_REPORT, .req = ++n->hub.reqs};
    m.u.report.node = *node;
    m.u.report.err = plain_err(err);
    hub_send(n, &m);
}

static void send_register(struct repl *n)
{
    struct kt_chain_report *page =
        repl_alloc(KT_REGISTER_CHAINS_MAX * sizeof(*page));
    struct store_info info;
    store_info(n->store, &info);
    struct kt_msg m = {.type = KT_MSG_REGISTER};
    m.u.reg.node = n->me;
    m.u.reg.store = info.uuid;
    m.u.reg.incarnation = info.incarnation;
    m.u.reg.cont_base = info.cont_base;
    m.u.reg.size = info.size;
    m.u.reg.used = info.used;
    m.u.reg.store_err = info.err;
    m.u.reg.insecure_links = n->opts->insecure;
    m.u.reg.hub_term = n->hub.term;
    m.u.reg.hub_mark = n->hub.mark;
    m.u.reg.first = 1;
    m.u.reg.chains = page;
    const struct rchain *rc = n->chains;
    do {
        uint32_t k = 0;
        for (; rc && k < KT_REGISTER_CHAINS_MAX; rc = rc->next) {
            if (!rc->dropping)
                chain_report(&rc->c, &page[k++]);
        }
        m.u.reg.n_chains = k;
        m.u.reg.last = rc == NULL;
        m.req = ++n->hub.reqs;
        hub_send(n, &m);
        m.u.reg.first = 0;
    } while (rc);
    free(page);
}

static void send_heartbeat(struct repl *n)
{
    struct store_info info;
    store_info(n->store, &info);
    struct kt_msg m = {.type = KT_MSG_HB, .req = ++n->hub.reqs};
    m.u.hb.size = info.size;
    m.u.hb.used = info.used;
    m.u.hb.store_err = info.err;
    m.u.hb.disk_stall_ms = info.stall_us / 1000;
    hub_send(n, &m);
}

/* ---- up and down ---- */

static void hub_open(struct repl *n)
{
    struct hub *h = &n->hub;
    const struct kt_addr *a = &n->opts->hubs[h->turn % n->opts->n_hubs];
    h->turn++;
    h->registered = false;
    h->cn = conns_open(n, a, CONN_HUB, KT_CLASS_CONTROL, h);
    h->heard_ms = repl_now(n);
    if (!h->cn)
        hub_down(n, -ENOMEM, "");
}

void hub_start(struct repl *n)
{
    n->hub.backoff_ms = BACKOFF_MIN_MS;
    hub_open(n);
}

void hub_up(struct repl *n, const struct kt_msg *peer)
{
    n->hub.heard_ms = repl_now(n);
    if (peer->u.hello.role != KT_ROLE_HUB) {
        kt_log(KT_LOG_ERROR, "hub_refused",
               "reason=\"the peer at the hub's address is no hub: check "
               "--hub\"");
        n->hub.backoff_ms = BACKOFF_MAX_MS;
        kt_conn_close(n->hub.cn->kc);
    } else if (is_foreign(n, &peer->u.hello.cluster)) {
        refuse_foreign(n, &peer->u.hello.cluster);
    } else {
        send_register(n);
    }
}

void hub_down(struct repl *n, int err, const char *text)
{
    struct hub *h = &n->hub;
    bool was = h->registered;
    h->cn = NULL;
    h->registered = false;
    for (struct rchain *rc = n->chains; rc; rc = rc->next)
        rc->seal_held = 0;
    h->next_ms = repl_now(n) + h->backoff_ms;
    h->backoff_ms *= 2;
    if (h->backoff_ms > BACKOFF_MAX_MS)
        h->backoff_ms = BACKOFF_MAX_MS;
    if (was || !h->told || text[0]) {
        h->told = true;
        kt_log(KT_LOG_WARN, "hub_down", "err=\"%s\" text=\"%s\"",
               err ? kt_strerror(plain_err(err)) : "closed here", text);
    }
    if (n->leaving)
        repl_left(n);
    else
        repl_fine(n);
}

static void registered(struct repl *n, const struct kt_msg *m)
{
    char hex[KT_ID_HEX_BYTES];
    const struct kt_id *cluster = &m->u.reg_ok.cluster;
    if (is_foreign(n, cluster)) {
        refuse_foreign(n, cluster);
        return;
    }
    if (!hub_known(n, m->u.reg_ok.hub_term, &m->u.reg_ok.hub_mark)) {
        n->hub.backoff_ms = BACKOFF_MAX_MS;
        kt_conn_close(n->hub.cn->kc);
        return;
    }
    if (kt_id_is_zero(&n->self.cluster) && !kt_id_is_zero(cluster)) {
        n->self.cluster = *cluster;
        int r = cluster_save(n);
        if (r < 0)
            kt_log(KT_LOG_ERROR, "cluster_not_saved", "err=\"%s\"",
                   kt_strerror(r));
    }
    if (n->hub.registered)
        return;
    n->hub.registered = true;
    n->hub.told = false;
    n->hub.backoff_ms = BACKOFF_MIN_MS;
    n->hub.hb_ms = repl_now(n);
    kt_log(KT_LOG_INFO, "hub_up", "cluster=%s term=%llu chains=%u",
           kt_id_hex(&n->self.cluster, hex),
           (unsigned long long)m->u.reg_ok.hub_term, n->n_chains);
}

/* ---- what the hub says ---- */

/* A member of a new chain is sealed before it has a configuration; its size
 * is only a bound then. */
static struct rchain *chain_for(struct repl *n, const struct kt_msg *m)
{
    struct rchain *rc = chains_find(n, m->chain);
    if (rc || m->chain == 0)
        return rc;
    if (m->type == KT_MSG_SEAL)
        return chains_create(n, m->chain, KT_SEGMENT_EXTENTS_MAX);
    if (m->type == KT_MSG_ACTIVATE && m->cfg &&
        kt_cfg_find(m->cfg, &n->self.store) >= 0)
        return chains_create(n, m->chain, m->cfg->n_extents);
    return NULL;
}

static void hub_chain(struct repl *n, struct conn *cn, const struct kt_msg *m)
{
    struct rchain *rc = chain_for(n, m);
    if (!rc) {
        struct store_info info;
        store_info(n->store, &info);
        hub_error(n, m->req, info.err ? KT_E_FAULTY : KT_E_UNKNOWN_CHAIN,
                  "this node cannot take part in the chain");
        return;
    }
    if (rc->dropping) {
        hub_error(n, m->req, KT_E_IN_USE, "the chain is being released");
        return;
    }
    if (m->type == KT_MSG_SEAL && n->hub.save.busy)
        rc->seal_held = m->epoch;
    else
        chains_msg(rc, cn, m);
}

void hub_known_saved(struct repl *n, int err)
{
    struct conn *cn = n->hub.cn;
    if (err < 0 && cn) { /* it comes again, and so does the attempt */
        n->hub.backoff_ms = BACKOFF_MAX_MS;
        kt_conn_close(cn->kc);
    }
    for (struct rchain *rc = n->chains; rc; rc = rc->next) {
        struct kt_msg m = {
            .type = KT_MSG_SEAL, .chain = rc->c.id, .epoch = rc->seal_held};
        rc->seal_held = 0;
        if (m.epoch && err == 0 && cn && kt_conn_is_up(cn->kc) && !rc->dropping)
            chains_msg(rc, cn, &m);
    }
}

static void hub_release(struct repl *n, const struct kt_msg *m)
{
    struct rchain *rc = chains_find(n, m->chain);
    if (!rc) { /* done before */
        struct kt_msg ok = {
            .type = KT_MSG_RELEASE_OK, .req = m->req, .chain = m->chain};
        hub_send(n, &ok);
        return;
    }
    if (rc->c.have_cfg && !kt_id_eq(&rc->c.cfg.volume, &m->u.release.volume)) {
        kt_log(KT_LOG_ERROR, "release_refused",
               "chain=%llu reason=\"it holds another volume\"",
               (unsigned long long)m->chain);
        hub_error(n, m->req, KT_E_INVALID, "the chain holds another volume");
        return;
    }
    chains_release(rc, m->req);
}

/* B15: what the hub lost, it asks us. */
static void hub_cfg(struct repl *n, struct conn *cn, const struct kt_msg *m)
{
    struct rchain *rc = chains_find(n, m->chain);
    struct kt_msg a = {.type = KT_MSG_CFG, .req = m->req, .chain = m->chain};
    if (!rc || rc->dropping) {
        conns_nak(cn, m, KT_E_UNKNOWN_CHAIN);
    } else if (!rc->c.have_cfg) {
        conns_nak(cn, m, KT_E_NOT_SERVING);
    } else {
        a.epoch = rc->c.cfg.epoch;
        a.cfg = &rc->c.cfg;
        hub_send(n, &a);
    }
}

void hub_msg(struct repl *n, struct conn *cn, struct kt_msg *m)
{
    /* Whatever it asks or tells of itself is no sign that it hears us. */
    if (!n->hub.registered || m->type == KT_MSG_HB_OK)
        n->hub.heard_ms = repl_now(n);
    switch (m->type) {
    case KT_MSG_REGISTER_OK:
        registered(n, m);
        break;
    case KT_MSG_HB_OK:
        break;
    case KT_MSG_SEAL:
    case KT_MSG_EQ:
    case KT_MSG_ACTIVATE:
        hub_chain(n, cn, m);
        break;
    case KT_MSG_CFG_GET:
        hub_cfg(n, cn, m);
        break;
    case KT_MSG_RELEASE:
        hub_release(n, m);
        break;
    case KT_MSG_PROBE:
        probe_start(n, m);
        break;
    case KT_MSG_ADMIN_OK:
        names_answer(n, m);
        break;
    case KT_MSG_LEAVE_OK:
        if (n->leaving)
            repl_left(n);
        break;
    case KT_MSG_ERROR:
        kt_log(KT_LOG_WARN, "hub_says", "err=\"%s\" text=\"%s\"",
               kt_strerror(m->u.error.err), m->u.error.text);
        if (!n->hub.registered) {
            n->hub.backoff_ms = BACKOFF_MAX_MS;
            kt_conn_close(cn->kc);
        }
        break;
    default:
        kt_log(KT_LOG_WARN, "hub_says", "msg=%s err=\"not understood\"",
               kt_msg_name(m->type));
        break;
    }
}

/* ---- time ---- */

void hub_tick(struct repl *n)
{
    struct hub *h = &n->hub;
    uint64_t now = repl_now(n);
    if (!h->cn) {
        if (!n->leaving && now >= h->next_ms)
            hub_open(n);
        return;
    }
    if (!kt_conn_is_up(h->cn->kc))
        return;
    if (now - h->heard_ms >= DEAF_MS) {
        kt_log(KT_LOG_WARN, "hub_silent", "for_ms=%llu",
               (unsigned long long)(now - h->heard_ms));
        kt_conn_close(h->cn->kc);
    } else if (h->registered && now - h->hb_ms >= HB_MS) {
        h->hb_ms = now;
        send_heartbeat(n);
    }
}

void hub_leave(struct repl *n)
{
    struct kt_msg m = {.type = KT_MSG_LEAVE, .req = ++n->hub.reqs};
    if (n->hub.cn && n->hub.registered && kt_conn_is_up(n->hub.cn->kc))
        conns_send(n->hub.cn, &m);
    else
        repl_left(n);
}
