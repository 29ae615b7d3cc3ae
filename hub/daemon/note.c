/* SPDX-License-Identifier: BSD-3-Clause */
/* What the core found worth telling, as log lines. */
#include <stdio.h>
#include <string.h>

#include "hub/daemon/daemon.h"
#include "lib/base/log.h"

static const char *node_name(const struct daemon *d, uint32_t node)
{
    return node < d->hub.nodes_max ? d->hub.nodes[node].row.node.name : "?";
}

static void why_text(uint64_t why, char *ret, size_t size)
{
    static const char *const names[] = {
        "prepare",     "dead",    "restarted", "writer", "synced",
        "sync_failed", "sync",    "faulty",    "leave",  "cut",
        "promote",     "discard", "slow",      "order"};
    size_t len = 0;

    ret[0] = '\0';
    for (unsigned i = 0; i < KT_ARRAY_LEN(names); i++) {
        if (why & 1u << i)
            len += (size_t)snprintf(ret + len, size - len, "%s%s",
                                    len ? "," : "", names[i]);
    }
}

static void note_node(const struct daemon *d, const struct hub_action *a)
{
    const char *name = node_name(d, a->node);

    switch (a->note) {
    case HUB_N_NODE_UP:
        kt_log(KT_LOG_INFO, "node_up", "node=%s incarnation=%llu", name,
               (unsigned long long)a->a);
        break;
    case HUB_N_NODE_SUSPECT:
        kt_log(KT_LOG_WARN, "node_suspect", "node=%s", name);
        break;
    case HUB_N_NODE_DEAD:
        kt_log(KT_LOG_WARN, "node_dead", "node=%s confirmed=%s", name,
               a->a ? "yes" : "no");
        break;
    default:
        kt_log(KT_LOG_WARN, "node_refused", "reason=\"%s\"",
               a->msg.u.error.text);
        break;
    }
}

static void note_chain(const struct daemon *d, const struct hub_action *a)
{
    unsigned long long chain = a->chain, x = a->a, y = a->b;
    char why[120];

    switch (a->note) {
    case HUB_N_OP_START:
        why_text(a->b, why, sizeof(why));
        kt_log(KT_LOG_INFO, "chain_change", "chain=%llu epoch=%llu why=%s",
               chain, x, why);
        break;
    case HUB_N_OP_AGAIN:
        kt_log(KT_LOG_WARN, "chain_again", "chain=%llu failed_epoch=%llu in=%s",
               chain, x, y == HUB_OP_SEAL ? "seal" : "equalize");
        break;
    case HUB_N_ACTIVE:
        kt_log(KT_LOG_INFO, "chain_active",
               "chain=%llu epoch=%llu serving=%llu", chain, x, y);
        break;
    case HUB_N_VGEN:
        kt_log(KT_LOG_WARN, "chain_vgen",
               "chain=%llu vgen=%llu text=\"no member kept its memory: the "
               "client replays\"",
               chain, x);
        break;
    case HUB_N_PROMOTED:
    case HUB_N_DISCARDED:
        kt_log(KT_LOG_WARN,
               a->note == HUB_N_PROMOTED ? "force_promoted" : "discarded",
               "chain=%llu node=%s epoch=%llu", chain, node_name(d, a->node),
               x);
        break;
    case HUB_N_REGAINED:
        kt_log(KT_LOG_WARN, "chain_regained",
               "chain=%llu epoch=%llu members_lost=%llu text=\"taken over from "
               "the nodes\"",
               chain, x, y);
        break;
    case HUB_N_DOWN:
        kt_log(KT_LOG_WARN, "chain_down",
               "chain=%llu text=\"none of its last members answers\"", chain);
        break;
    default:
        kt_log(KT_LOG_WARN, "member_quarantined",
               "chain=%llu node=%s text=\"it has another history\"", chain,
               node_name(d, a->node));
        break;
    }
}

static void note_recover(const struct daemon *d, const struct hub_action *a)
{
    static const char *const why[] = {
        "?",
        "a node has heard of a later start of the hub",
        "a node belonged to another database",
        "a member has a newer configuration",
        "a node holds a newer chain",
        "a client has a newer token",
        "a node promised an epoch that it was not asked for"};

    kt_log(KT_LOG_ERROR, "recover_mode",
           "why=\"%s\" node=%s chain=%llu text=\"this database is an old copy: "
           "chains move again when all their nodes were asked; kenter status "
           "tells which are missing\"",
           why[a->a], node_name(d, a->node), (unsigned long long)a->chain);
}

void note_log(const struct daemon *d, const struct hub_action *a)
{
    const char *volume = a->volume < d->hub.volumes_max
                             ? d->hub.volumes[a->volume].row.name
                             : "?";

    switch (a->note) {
    case HUB_N_NODE_UP:
    case HUB_N_NODE_SUSPECT:
    case HUB_N_NODE_DEAD:
    case HUB_N_NODE_REFUSED:
        note_node(d, a);
        break;
    case HUB_N_ATTACHED:
        kt_log(KT_LOG_INFO, "attached", "volume=%s token=%llu", volume,
               (unsigned long long)a->a);
        break;
    case HUB_N_DETACHED:
        kt_log(KT_LOG_INFO, "detached", "volume=%s", volume);
        break;
    case HUB_N_LIMIT:
        kt_log(KT_LOG_WARN, "limit", "what=%s",
               a->a == HUB_ROW_NODE    ? "nodes"
               : a->a == HUB_ROW_CHAIN ? "volumes or chains"
                                       : "connections");
        break;
    case HUB_N_RECOVER:
        note_recover(d, a);
        break;
    case HUB_N_REGAIN_NEW:
        kt_log(KT_LOG_WARN, "volume_found",
               "volume=%s text=\"only the nodes knew of it\"", volume);
        break;
    case HUB_N_REGAIN_LOST:
        kt_log(KT_LOG_ERROR, "volume_lost",
               "volume=%s text=\"no node holds all of it\"", volume);
        break;
    case HUB_N_RECOVERED:
        kt_log(KT_LOG_WARN, "recovered", "term=%llu", (unsigned long long)a->a);
        break;
    default:
        note_chain(d, a);
        break;
    }
}
