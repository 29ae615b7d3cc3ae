/* SPDX-License-Identifier: BSD-3-Clause */
/* What people ask a node itself, as JSON: scrub-start, scrub-status. The answer
 * has "ok", and "message" when that is false. */
#include "replicator/daemon/repl.h"

#include <jansson.h>
#include <string.h>

static json_t *u64(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *count_json(const struct scrub_count *c)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "bytes", u64(c->bytes), "bad",
                     u64(c->bad), "mended", u64(c->mended), "left",
                     u64(c->left));
}

static const char *state_name(const struct repl *n)
{
    return n->store_err_told ? "faulty" : n->scrub.running ? "running" : "idle";
}

static json_t *status(struct repl *n)
{
    const struct scrub *s = &n->scrub;
    struct store_info info;
    uint64_t every = n->opts->scrub_every_s, ran = s->ran_ms / 1000;
    char hex[KT_ID_HEX_BYTES];
    store_info(n->store, &info);
    json_t *j = json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "node",
        n->opts->node, "store", kt_id_hex(&info.uuid, hex), "state",
        state_name(n), "total", u64(store_scrub_total(n->store)), "now",
        count_json(&s->now), "passes", u64(s->passes), "rate",
        u64(n->opts->scrub_rate), "every_s", u64(every), "bad_sectors",
        u64(info.bad_sectors), "mended", u64(info.mended));
    json_object_set_new(
        j, "next_s", every ? u64(ran < every ? every - ran : 0) : json_null());
    if (s->ended_s) {
        json_t *last = count_json(&s->last);
        json_object_set_new(last, "ended", u64(s->ended_s));
        json_object_set_new(j, "last", last);
    }
    return j;
}

void admin_request(struct repl *n, struct conn *cn, const struct kt_msg *m)
{
    const char *op = json_string_value(json_object_get(m->json, "op"));
    struct kt_msg a = {.type = KT_MSG_ADMIN_OK, .req = m->req};
    const char *refused = NULL;
    if (op && !strcmp(op, "scrub-start")) {
        if (scrub_start(n))
            refused = "The store of this node is faulty: it is read no more.";
    } else if (!op || strcmp(op, "scrub-status") != 0) {
        refused = "This node does not know the request: is the program that "
                  "asks newer?";
    }
    a.json = refused ? json_pack("{s:b, s:s}", "ok", 0, "message", refused)
                     : json_pack("{s:b, s:o}", "ok", 1, "scrub", status(n));
    if (a.json)
        conns_send(cn, &a);
    json_decref(a.json);
}
