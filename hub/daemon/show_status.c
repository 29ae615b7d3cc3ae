/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter status: how it is, why, and what is being done about it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hub/daemon/daemon.h"
#include "lib/base/os.h"

#define SENTENCES_MAX 32u
#define OPERATIONS_MAX 64u

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

static void KT_PRINTF(2, 3) add(json_t *a, const char *fmt, ...)
{
    char text[300];
    va_list ap;

    if (json_array_size(a) >= SENTENCES_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_array_append_new(a, json_string(text));
}

/* ---- nodes ---- */

static void why_node(const struct hub_node *n, json_t *why)
{
    const char *name = n->row.node.name;
    uint64_t now = kt_now_ms();
    unsigned long long s = now > n->heard_ms ? (now - n->heard_ms) / 1000 : 0;

    if (n->state == HUB_NODE_DEAD)
        add(why,
            n->confirmed ? "node %s is down for %llu s: nothing answers at its "
                           "address; start kenter-replicator there"
                         : "node %s is silent for %llu s: is it stopped, or "
                           "cut off from the network?",
            name, s);
    else if (n->state == HUB_NODE_SUSPECT)
        add(why, "node %s has not been heard of for %llu s", name, s);
    else if (n->state == HUB_NODE_UNKNOWN)
        add(why, "node %s has not been heard of since the hub started", name);
    if (n->store_err)
        add(why, "the store of node %s is faulty (%s): check its disk", name,
            kt_strerror(n->store_err));
    else if (n->disk_stall_ms >= HUB_STALL_MS)
        add(why, "the disk of node %s has been stuck for %llu s", name,
            (unsigned long long)n->disk_stall_ms / 1000);
}

static json_t *nodes(const struct daemon *d, json_t *why, bool *insecure)
{
    unsigned up = 0, total = 0;

    for (uint32_t i = 0; i < d->hub.nodes_max; i++) {
        const struct hub_node *n = &d->hub.nodes[i];
        if (n->state == HUB_NODE_FREE)
            continue;
        total++;
        up += n->state == HUB_NODE_UP;
        *insecure = *insecure || n->insecure_links;
        why_node(n, why);
    }
    return json_pack("{s:i, s:i}", "up", (int)up, "total", (int)total);
}

/* ---- volumes ---- */

struct tally {
    unsigned missing, blocked, down, syncing, waiting, quarantined, recovering;
};

static void tally_chain(const struct daemon *d, const struct hub_chain *c,
                        struct tally *t)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    unsigned serving = 0, last = 0;

    for (unsigned i = 0; i < cfg->n_members; i++) {
        unsigned state = hub_member_state(&d->hub, c, i);
        serving += state == KT_M_SERVING;
        last += state == KT_M_LAST;
        t->quarantined += state == KT_M_QUARANTINED;
    }
    t->recovering += c->recovering;
    if (hub_chain_health(&d->hub, c) == HUB_UNAVAILABLE) {
        if (serving == 0)
            t->down++;
        else
            t->blocked++;
    } else if (serving < cfg->want_r) {
        t->missing++;
    }
    if (kt_cfg_syncing(cfg) >= 0)
        t->syncing++;
    else if (serving < cfg->want_r && !last)
        t->waiting++;
}

static json_t *why_volume(const struct hub_volume *v, const struct tally *t)
{
    json_t *why = json_array();
    unsigned n = v->n_chains;

    if (v->row.state == HUB_VOLUME_CREATING)
        add(why, "it is being made");
    if (t->down)
        add(why,
            "%u of %u chains have no replica that can serve: reads and writes "
            "wait until a node that served them last returns",
            t->down, n);
    if (t->blocked)
        add(why,
            "%u of %u chains have fewer than %u replicas: writes wait, reads "
            "go on",
            t->blocked, n, v->row.min_write);
    if (t->missing)
        add(why, "%u of %u chains lack replicas of the %u they should have",
            t->missing, n, v->row.replicas);
    if (t->syncing)
        add(why, "%u chains are being copied to a returned replica",
            t->syncing);
    else if (t->waiting)
        add(why,
            "%u chains wait for a node that holds a replica: start it again",
            t->waiting);
    if (t->quarantined)
        add(why, "%u replicas have another history and are not used",
            t->quarantined);
    if (t->recovering)
        add(why,
            "%u of %u chains are taken over from the nodes, and do not change "
            "before all their nodes were asked",
            t->recovering, n);
    if (v->row.state == HUB_VOLUME_LOST)
        add(why,
            "no node holds all of it: it was removed after this database was "
            "copied, or its nodes are not back; kenter volume rm %s removes "
            "what is left",
            v->row.name);
    return why;
}

static json_t *volume(const struct daemon *d, const struct hub_volume *v,
                      enum hub_health *worst)
{
    enum hub_health h = show_volume_health(d, v);
    struct tally t = {0};
    uint32_t at = v->first_chain;

    for (uint32_t i = 0; i < v->n_chains; i++) {
        const struct hub_chain *c = hub_chain_at(&d->hub, at);
        tally_chain(d, c, &t);
        at = c->next_of_volume;
    }
    if (h > *worst && v->row.state == HUB_VOLUME_READY)
        *worst = h;
    json_t *o = json_pack("{s:s, s:s, s:o}", "name", v->row.name, "health",
                          show_health(h), "why", why_volume(v, &t));
    if (t.syncing)
        json_object_set_new(
            o, "resync",
            json_pack("{s:s, s:i, s:i}", "kind", "resync", "done",
                      (int)(v->n_chains - t.syncing - t.waiting), "total",
                      (int)v->n_chains));
    return o;
}

/* ---- recover mode ---- */

static void why_recover(const struct daemon *d, json_t *why)
{
    json_t *r = show_recover(d, false);
    const json_t *missing = json_object_get(r, "missing");
    bool empty = d->hub.cluster_pend.recover == HUB_RECOVER_EMPTY;
    char names[200] = "";
    size_t len = 0;

    for (size_t i = 0; i < json_array_size(missing); i++) {
        if (len < sizeof(names))
            len +=
                (size_t)snprintf(names + len, sizeof(names) - len, " %s",
                                 json_string_value(json_array_get(missing, i)));
    }
    add(why,
        empty ? "the hub's database was lost and is made again from what the "
                "nodes know"
              : "the hub's database is an old copy and is brought up to date "
                "from the nodes");
    if (names[0])
        add(why,
            "not asked yet:%s; start them, or, when they will not come back, "
            "see what that costs: kenter hub recover --dry-run, and say so: "
            "kenter hub recover --lost%s",
            names, strchr(names + 1, ' ') ? " NODE[,NODE]" : names);
    else if (empty && !d->hub.recover_go)
        add(why,
            "when every node is here (kenter node ls): kenter hub recover");
    json_decref(r);
}

/* ---- operations ---- */

static json_t *operation(const struct daemon *d, const struct hub_chain *c)
{
    static const char *const phases[] = {"",         "prepare", "seal",
                                         "equalize", "commit",  "recover"};
    const struct kt_cfg *cfg = &c->row.cfg;
    const char *name = d->hub.volumes[c->volume].row.name;
    int s = kt_cfg_syncing(cfg);

    if (c->op.phase != HUB_OP_NONE)
        return json_pack("{s:s, s:s, s:I, s:s}", "kind", "reconfigure",
                         "volume", name, "chain", (json_int_t)cfg->chain,
                         "phase", phases[c->op.phase]);
    if (s >= 0)
        return json_pack("{s:s, s:s, s:I, s:s}", "kind", "resync", "volume",
                         name, "chain", (json_int_t)cfg->chain, "node",
                         cfg->members[s].node.name);
    return NULL;
}

static json_t *operations(const struct daemon *d)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < d->hub.chains_used; i++) {
        const struct hub_chain *c = &d->hub.chains[i];
        if (!c->used || json_array_size(a) >= OPERATIONS_MAX)
            continue;
        json_t *o = operation(d, c);
        if (o)
            json_array_append_new(a, o);
    }
    return a;
}

json_t *show_status(const struct daemon *d)
{
    enum hub_health worst = HUB_HEALTHY;
    json_t *why = json_array(), *volumes = json_array();
    bool insecure = d->opts->insecure;
    char id[KT_ID_HEX_BYTES];
    json_t *n = nodes(d, why, &insecure);
    bool recovering = hub_in_recovery(&d->hub);

    if (recovering) {
        why_recover(d, why);
        worst = HUB_DEGRADED;
    }

    for (uint32_t i = 0; i < d->hub.volumes_used; i++) {
        const struct hub_volume *v = &d->hub.volumes[i];
        if (v->used && !v->dropping)
            json_array_append_new(volumes, volume(d, v, &worst));
    }
    json_t *all = json_pack(
        "{s:s, s:b, s:{s:s, s:I, s:I, s:s, s:I}, s:o, s:o, s:o, s:o}", "health",
        show_health(worst), "insecure_links", (int)insecure, "hub", "cluster",
        kt_id_hex(&d->hub.cluster.id, id), "term",
        (json_int_t)d->hub.cluster.term, "pid", (json_int_t)getpid(), "version",
        PACKAGE_VERSION, "started", (json_int_t)d->started_s, "why", why,
        "nodes", n, "volumes", volumes, "operations", operations(d));
    if (all && recovering)
        json_object_set_new(all, "recover", show_recover(d, false));
    return all;
}
