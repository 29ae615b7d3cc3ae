/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of people about chains: to see them, to force one to be served by
 * an older copy, to delete a copy in quarantine. */
#include <stdio.h>
#include <string.h>

#include "hub/daemon/admin.h"

static bool ask_chain(struct slot *s, uint64_t req, const json_t *q,
                      struct hub_admin *a)
{
    const char *node = json_string_value(json_object_get(q, "node"));

    if (!admin_uint(q, "chain", INT64_MAX, &a->chain) || a->chain == 0) {
        admin_err(s, req, KT_E_INVALID,
                  "A chain has a number; kenter chain ls shows them.");
        return false;
    }
    if (!kt_name_valid(node)) {
        admin_err(s, req, KT_E_INVALID, "A node is missing: --node NODE.");
        return false;
    }
    snprintf(a->name, sizeof(a->name), "%s", node);
    return true;
}

void order_refuse(struct daemon *d, struct slot *s, const struct hub_action *a)
{
    const char *node =
        a->node < d->hub.nodes_max ? d->hub.nodes[a->node].row.node.name : "?";

    switch (a->detail) {
    case HUB_D_NO_CHAIN:
        admin_err(s, a->req, a->err,
                  "There is no such chain; kenter chain ls shows those there "
                  "are.");
        break;
    case HUB_D_NO_MEMBER:
        admin_err(s, a->req, a->err,
                  "That node has no copy of the chain; kenter chain ls shows "
                  "which have.");
        break;
    case HUB_D_NOT_HERE:
        admin_err(s, a->req, a->err,
                  "That node is not up, or its store is faulty: start it "
                  "first.");
        break;
    case HUB_D_NOT_QUARANTINED:
        admin_err(s, a->req, a->err,
                  "The copy of node %s is not in quarantine: it is in use, or "
                  "will be.",
                  node);
        break;
    case HUB_D_LAST_HERE:
        admin_err(s, a->req, a->err,
                  "Node %s served the chain last and is here: it holds all "
                  "that was acknowledged, and the chain starts from it by "
                  "itself.",
                  node);
        break;
    case HUB_D_ORDER_TIMEOUT:
        admin_err(s, a->req, a->err,
                  "The node did not answer in 10 s, and nothing was done: "
                  "look at kenter status and try again.");
        break;
    default:
        admin_err(s, a->req, KT_E_BUSY,
                  "The chain is being changed just now, or one that served it "
                  "last came back: look at kenter chain ls.");
        break;
    }
}

/* Without "accept", the cost is told and nothing is done. */
static void order(struct daemon *d, struct slot *s, uint64_t req,
                  const json_t *q, unsigned op)
{
    struct hub_admin a = {.op = (uint8_t)op};
    struct hub_action no = {.req = req, .err = KT_E_INVALID};
    char text[600];

    if (!ask_chain(s, req, q, &a))
        return;
    if (!json_is_true(json_object_get(q, "accept"))) {
        no.detail = (uint8_t)hub_order_invalid(&d->hub, &a, &no.node);
        if (no.detail != HUB_D_OK) {
            order_refuse(d, s, &no);
        } else if (op == HUB_ADMIN_PROMOTE) {
            show_promote_cost(d, &a, text, sizeof(text));
            admin_err(s, req, KT_E_INVALID, "%s", text);
        } else {
            admin_err(s, req, KT_E_INVALID,
                      "The copy of chain %llu on node %s would be deleted; it "
                      "may hold writes that no other copy has. If that is "
                      "meant: --accept-data-loss.",
                      (unsigned long long)a.chain, a.name);
        }
        return;
    }
    kt_id_random(&a.history);
    struct hub_event ev = {
        .type = HUB_EV_ADMIN, .conn = s->id, .req = req, .admin = &a};
    pump_step(d, &ev);
}

bool order_request(struct daemon *d, struct slot *s, const struct kt_msg *m,
                   const char *op)
{
    const json_t *q = m->json;
    const char *volume = json_string_value(json_object_get(q, "volume"));
    uint64_t from;

    if (strcmp(op, "chain-force-promote") == 0) {
        order(d, s, m->req, q, HUB_ADMIN_PROMOTE);
    } else if (strcmp(op, "chain-discard") == 0) {
        order(d, s, m->req, q, HUB_ADMIN_DISCARD);
    } else if (strcmp(op, "chain-ls") == 0) {
        if (!admin_uint(q, "from", UINT32_MAX, &from))
            from = 0;
        if (volume && !hub_volume_named(&d->hub, volume))
            admin_err(s, m->req, KT_E_NO_VOLUME,
                      "There is no such volume; kenter volume ls shows those "
                      "there are.");
        else
            admin_ok(s, m->req, "page", show_chains(d, volume, (uint32_t)from));
    } else {
        return false;
    }
    return true;
}
