/* SPDX-License-Identifier: BSD-3-Clause */
/* Chains as JSON and in sentences: what each is, and why. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hub/daemon/daemon.h"

#define CHAINS_SHOWN 600u
#define TEXT_BYTES 300u

struct text {
    size_t len;
    char s[TEXT_BYTES];
};

static void KT_PRINTF(2, 3) add(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, ap);
    va_end(ap);
    if (n > 0)
        t->len += (size_t)n;
    if (t->len >= sizeof(t->s))
        t->len = sizeof(t->s) - 1;
}

static void add_last(struct text *t, const struct kt_cfg *cfg)
{
    for (unsigned i = 0; i < cfg->n_last; i++) {
        int at = kt_cfg_find(cfg, &cfg->last[i].store);
        add(t, "%s%s", i ? ", " : "",
            at < 0 ? "?" : cfg->members[at].node.name);
    }
}

static void why_members(const struct daemon *d, const struct hub_chain *c,
                        struct text *t)
{
    const struct kt_cfg *cfg = &c->row.cfg;

    for (unsigned i = 0; i < cfg->n_members; i++) {
        unsigned state = hub_member_state(&d->hub, c, i);
        if (state == KT_M_SERVING)
            continue;
        add(t, "%s%s is %s", t->len ? "; " : "", cfg->members[i].node.name,
            kt_member_state_name(state));
        if (state == KT_M_QUARANTINED)
            add(t, " (another history; it is not used, nor deleted)");
    }
}

static void why_chain(const struct daemon *d, const struct hub_chain *c,
                      struct text *t)
{
    const struct kt_cfg *cfg = &c->row.cfg;

    switch (hub_chain_state(&d->hub, c)) {
    case HUB_C_CREATING:
        add(t, "it is being made");
        return;
    case HUB_C_DOWN:
        add(t, "of those that served last (");
        add_last(t, cfg);
        add(t, ") none is here: start one of them");
        return;
    case HUB_C_RECOVERING:
        add(t, "its members are asked what they know: kenter hub recover "
               "--dry-run");
        return;
    case HUB_C_LOST:
        add(t, "no node holds all of its volume");
        return;
    case HUB_C_DELETING:
        add(t, "its volume is removed");
        return;
    case HUB_C_BLOCKED:
        add(t, "fewer than %u replicas serve: writes wait, reads go on",
            cfg->min_write);
        break;
    case HUB_C_PREPARE:
        add(t, "it is being changed");
        break;
    default:
        break;
    }
    why_members(d, c, t);
}

static json_t *chain(const struct daemon *d, const struct hub_chain *c)
{
    const struct kt_cfg *cfg = &c->row.cfg;
    json_t *members = json_array();
    struct text why = {0};

    for (unsigned i = 0; i < cfg->n_members; i++)
        json_array_append_new(
            members,
            json_pack("{s:s, s:s, s:s}", "node", cfg->members[i].node.name,
                      "state",
                      kt_member_state_name(hub_member_state(&d->hub, c, i)),
                      "role", show_role(cfg, i)));
    why_chain(d, c, &why);
    return json_pack("{s:I, s:s, s:i, s:I, s:s, s:I, s:o, s:s}", "chain",
                     (json_int_t)cfg->chain, "volume",
                     d->hub.volumes[c->volume].row.name, "seg", (int)cfg->seg,
                     "epoch", (json_int_t)cfg->epoch, "phase",
                     hub_chain_state_name(hub_chain_state(&d->hub, c)), "vgen",
                     (json_int_t)cfg->vgen, "members", members, "why", why.s);
}

/* {chains, next}: from a place in the table on; next is 0 at the end. */
json_t *show_chains(const struct daemon *d, const char *volume, uint32_t from)
{
    json_t *a = json_array();
    uint32_t i = from;

    for (; i < d->hub.chains_used && json_array_size(a) < CHAINS_SHOWN; i++) {
        const struct hub_chain *c = &d->hub.chains[i];
        if (c->used &&
            (!volume || !strcmp(d->hub.volumes[c->volume].row.name, volume)))
            json_array_append_new(a, chain(d, c));
    }
    return json_pack("{s:o, s:i}", "chains", a, "next",
                     i < d->hub.chains_used ? (int)i : 0);
}

void show_promote_cost(const struct daemon *d, const struct hub_admin *q,
                       char *ret, size_t size)
{
    const struct hub_chain *c = hub_chain_of(&d->hub, q->chain);
    struct text last = {0};
    struct kt_rid at = {0};

    add_last(&last, &c->row.cfg);
    for (unsigned i = 0; i < c->row.cfg.n_members; i++) {
        if (!strcmp(c->row.cfg.members[i].node.name, q->name))
            at = c->known[i].applied;
    }
    snprintf(ret, size,
             "Chain %llu was served last, in epoch %llu, by %s; the copy of %s "
             "ends with record %llu of epoch %llu. Whatever was written later "
             "is lost, flushed or not, whoever has the volume attached is cut "
             "off, and other copies are put in quarantine. If that is meant: "
             "--accept-data-loss.",
             (unsigned long long)q->chain,
             (unsigned long long)c->row.cfg.last_epoch, last.s, q->name,
             (unsigned long long)at.seq, (unsigned long long)at.epoch);
}
