/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of people: JSON in, JSON out. Every refusal is one sentence that
 * says what happened and what to do. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hub/daemon/admin.h"

#define MESSAGE_BYTES 640

static void reply(struct slot *s, uint64_t req, json_t *body)
{
    struct kt_msg m = {.type = KT_MSG_ADMIN_OK, .req = req, .json = body};

    if (body && s->kc && !s->closing)
        kt_conn_send(s->kc, &m);
    json_decref(body);
}

void admin_ok(struct slot *s, uint64_t req, const char *key, json_t *value)
{
    json_t *o = json_object();

    json_object_set_new(o, "ok", json_true());
    if (key)
        json_object_set_new(o, key, value);
    reply(s, req, o);
}

void admin_err(struct slot *s, uint64_t req, int err, const char *fmt, ...)
{
    char text[MESSAGE_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    reply(s, req,
          json_pack("{s:b, s:s, s:s}", "ok", 0, "err", kt_errname(err),
                    "message", text));
}

/* ---- members of the request ---- */

bool admin_uint(const json_t *q, const char *key, uint64_t max, uint64_t *ret_v)
{
    const json_t *v = json_object_get(q, key);

    *ret_v = 0;
    if (!v || json_is_null(v))
        return true;
    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        (uint64_t)json_integer_value(v) > max)
        return false;
    *ret_v = (uint64_t)json_integer_value(v);
    return true;
}

static bool get_name(const json_t *q, char ret[KT_NAME_MAX + 1])
{
    const char *s = json_string_value(json_object_get(q, "name"));

    if (!kt_name_valid(s))
        return false;
    memcpy(ret, s, strlen(s) + 1);
    return true;
}

static void bad_name(struct slot *s, uint64_t req, const char *what)
{
    admin_err(s, req, KT_E_INVALID,
              "A name of a %s has 1 to 63 letters, digits, '_', '.' or '-', "
              "and begins with a letter or digit.",
              what);
}

/* ---- create and rm ---- */

static bool create_options(const json_t *q, struct hub_admin *a,
                           const char **ret_bad)
{
    uint64_t replicas, min_write;
    const json_t *dur = json_object_get(q, "durability");
    const json_t *pool = json_object_get(q, "pool");

    *ret_bad = "The size is missing, or is no number of bytes.";
    if (!admin_uint(q, "size", INT64_MAX, &a->size))
        return false;
    *ret_bad = "The segment is no number of bytes.";
    if (!admin_uint(q, "segment", INT64_MAX, &a->segment_bytes))
        return false;
    *ret_bad = "Replicas are 1 to 5, and min-write is 1 to replicas.";
    if (!admin_uint(q, "replicas", 255, &replicas) ||
        !admin_uint(q, "min_write", 255, &min_write))
        return false;
    a->replicas = (uint32_t)replicas;
    a->min_write = (uint32_t)min_write;
    *ret_bad = "Durability is flush or sync.";
    if (dur && !json_is_null(dur)) {
        const char *text = json_string_value(dur);
        if (!text || (strcmp(text, "flush") && strcmp(text, "sync")))
            return false;
        a->durability =
            text[0] == 's' ? KT_DURABILITY_SYNC : KT_DURABILITY_FLUSH;
    }
    *ret_bad = "There is no such pool: the only one is default.";
    if (pool && !json_is_null(pool)) {
        const char *text = json_string_value(pool);
        if (!text || strcmp(text, "default"))
            return false;
    }
    return true;
}

static void mutate(struct daemon *d, struct slot *s, uint64_t req,
                   const json_t *q, unsigned op)
{
    struct hub_admin a = {.op = (uint8_t)op};
    const char *bad;

    if (!get_name(q, a.name)) {
        bad_name(s, req, "volume");
        return;
    }
    if (op == HUB_ADMIN_CREATE && !create_options(q, &a, &bad)) {
        admin_err(s, req, KT_E_INVALID, "%s", bad);
        return;
    }
    if (op == HUB_ADMIN_CREATE) {
        kt_id_random(&a.id);
        kt_id_random(&a.history);
    }
    struct hub_event ev = {
        .type = HUB_EV_ADMIN, .conn = s->id, .req = req, .admin = &a};
    pump_step(d, &ev);
}

static void recover(struct daemon *d, struct slot *s, uint64_t req,
                    const json_t *q)
{
    struct hub_admin a = {.op = HUB_ADMIN_RECOVER};
    const json_t *v, *lost = json_object_get(q, "lost");
    size_t i;

    if (json_is_true(json_object_get(q, "dry_run"))) {
        if (hub_in_recovery(&d->hub))
            admin_ok(s, req, "recover", show_recover(d, true));
        else
            admin_ok(s, req, NULL, NULL);
        return;
    }
    json_array_foreach(lost, i, v)
    {
        const char *name = json_string_value(v);
        if (!kt_name_valid(name)) {
            bad_name(s, req, "node");
            return;
        }
        if (a.n_lost == HUB_LOST_MAX) {
            admin_err(s, req, KT_E_LIMIT, "%u nodes at a time are the most.",
                      HUB_LOST_MAX);
            return;
        }
        snprintf(a.lost[a.n_lost++], sizeof(a.lost[0]), "%s", name);
    }
    struct hub_event ev = {
        .type = HUB_EV_ADMIN, .conn = s->id, .req = req, .admin = &a};
    pump_step(d, &ev);
}

static void refuse_recover(struct slot *s, const struct hub_action *a)
{
    unsigned long long x = a->a;
    uint64_t req = a->req;
    int err = a->err;

    switch (a->detail) {
    case HUB_D_RECOVER:
        admin_err(s, req, err,
                  "The hub's database is being brought up to date from the "
                  "nodes, and nothing else is changed meanwhile: kenter status "
                  "tells which are missing.");
        break;
    case HUB_D_NO_RECOVER:
        admin_err(s, req, err,
                  "The hub's database is in order: there is nothing to "
                  "recover.");
        break;
    case HUB_D_LOST_NAME:
        admin_err(s, req, err,
                  "Name %llu after --lost is no node's that the hub or a chain "
                  "knows; kenter status names those that are missing.",
                  x + 1);
        break;
    case HUB_D_LOST_HERE:
        admin_err(s, req, err,
                  "Node %llu after --lost is here: only those that will not "
                  "come back are named.",
                  x + 1);
        break;
    default:
        admin_err(s, req, err,
                  "The volume is being changed just now: try again in a "
                  "moment.");
        break;
    }
}

static void refuse(struct slot *s, const struct hub_action *a)
{
    unsigned long long x = a->a, y = a->b;
    uint64_t req = a->req;
    int err = a->err;

    switch (a->detail) {
    case HUB_D_NAME:
        bad_name(s, req, "volume");
        break;
    case HUB_D_SIZE:
        admin_err(s, req, err,
                  "The size must be a multiple of 4096 bytes, from 4K to 64T.");
        break;
    case HUB_D_SEGMENT:
        admin_err(s, req, err,
                  "The segment must be a power of two from 4M to 16G.");
        break;
    case HUB_D_REPLICAS:
        admin_err(s, req, err, "Replicas are 1 to 5.");
        break;
    case HUB_D_MIN_WRITE:
        admin_err(s, req, err,
                  "min-write is at least 1 and at most the number of "
                  "replicas.");
        break;
    case HUB_D_EXISTS:
        admin_err(s, req, err,
                  "There is a volume of this name already: choose another.");
        break;
    case HUB_D_NODES:
        admin_err(s, req, err,
                  "%llu replicas need as many nodes that are up and have a "
                  "healthy store with room; there %s %llu: start more, or ask "
                  "for fewer with --replicas.",
                  y, x == 1 ? "is" : "are", x);
        break;
    case HUB_D_CHAINS:
        admin_err(s, req, err,
                  "The volume would need %llu chains and the cluster has room "
                  "for %llu: make it smaller, or its segments larger.",
                  x, y);
        break;
    case HUB_D_VOLUMES:
        admin_err(s, req, err,
                  "The cluster has %llu volumes, which is the limit: remove "
                  "one first.",
                  y);
        break;
    case HUB_D_NO_VOLUME:
        admin_err(s, req, err,
                  "There is no such volume; kenter volume ls shows those "
                  "there are.");
        break;
    case HUB_D_TIMEOUT:
        admin_err(s, req, err,
                  "Only %llu of %llu chains came up in 10 s, so the volume was "
                  "not made: look at kenter status and try again.",
                  x, y);
        break;
    default:
        refuse_recover(s, a);
        break;
    }
}

static void in_use(struct daemon *d, struct slot *s, const struct hub_action *a)
{
    const struct hub_volume *v = NULL;

    for (uint32_t i = 0; i < d->hub.volumes_used; i++) {
        if (d->hub.volumes[i].used &&
            kt_id_eq(&d->hub.volumes[i].row.id, &a->id))
            v = &d->hub.volumes[i];
    }
    admin_err(s, a->req, a->err,
              "The volume is attached on node %s (pid %u): stop that one "
              "first.",
              v ? v->row.att.node : "?", v ? v->row.att.pid : 0);
}

void admin_done(struct daemon *d, const struct hub_action *a)
{
    struct slot *s = pump_slot(d, a->conn);

    if (!s)
        return; /* nobody waits any more */
    if (a->detail >= HUB_D_NO_CHAIN) {
        order_refuse(d, s, a);
    } else if (a->detail == HUB_D_IN_USE) {
        in_use(d, s, a);
    } else if (a->err) {
        refuse(s, a);
    } else {
        const struct hub_volume *v =
            a->volume < d->hub.volumes_max ? &d->hub.volumes[a->volume] : NULL;
        if (v && v->used && !v->dropping)
            admin_ok(s, a->req, "volume", show_volume(d, v, 0));
        else
            admin_ok(s, a->req, NULL, NULL);
    }
}

/* ---- questions ---- */

static void volume_inspect(struct daemon *d, struct slot *s, uint64_t req,
                           const json_t *q)
{
    char name[KT_NAME_MAX + 1];
    uint64_t from;

    if (!get_name(q, name)) {
        bad_name(s, req, "volume");
        return;
    }
    const struct hub_volume *v = hub_volume_named(&d->hub, name);
    if (!v) {
        admin_err(s, req, KT_E_NO_VOLUME,
                  "There is no volume %s; kenter volume ls shows those there "
                  "are.",
                  name);
        return;
    }
    if (!admin_uint(q, "from_chain", UINT32_MAX, &from))
        from = 0;
    admin_ok(s, req, "volume", show_volume(d, v, (uint32_t)from));
}

static void node_inspect(struct daemon *d, struct slot *s, uint64_t req,
                         const json_t *q)
{
    char name[KT_NAME_MAX + 1];

    if (!get_name(q, name)) {
        bad_name(s, req, "node");
        return;
    }
    const struct hub_node *n = hub_node_named(&d->hub, name);
    if (!n) {
        admin_err(s, req, KT_E_NO_NODE,
                  "There is no node %s; kenter node ls shows those there are.",
                  name);
        return;
    }
    admin_ok(s, req, "node", show_node(d, n, true));
}

void admin_request(struct daemon *d, struct slot *s, const struct kt_msg *m)
{
    const json_t *q = m->json;
    const char *op = json_string_value(json_object_get(q, "op"));
    json_t *all;

    if (!op)
        op = "";
    if (strcmp(op, "volume-create") == 0) {
        mutate(d, s, m->req, q, HUB_ADMIN_CREATE);
    } else if (strcmp(op, "volume-rm") == 0) {
        mutate(d, s, m->req, q, HUB_ADMIN_RM);
    } else if (strcmp(op, "volume-ls") == 0) {
        admin_ok(s, m->req, "volumes", show_volumes(d));
    } else if (strcmp(op, "volume-names") == 0) {
        admin_ok(s, m->req, "volumes",
                 show_names(d, json_object_get(q, "ids")));
    } else if (strcmp(op, "volume-inspect") == 0) {
        volume_inspect(d, s, m->req, q);
    } else if (strcmp(op, "node-ls") == 0) {
        admin_ok(s, m->req, "nodes", show_nodes(d));
    } else if (strcmp(op, "node-inspect") == 0) {
        node_inspect(d, s, m->req, q);
    } else if (strcmp(op, "hub-recover") == 0) {
        recover(d, s, m->req, q);
    } else if (strcmp(op, "status") == 0) {
        all = show_status(d);
        json_object_set_new(all, "ok", json_true());
        reply(s, m->req, all);
    } else if (!order_request(d, s, m, op)) {
        admin_err(s, m->req, KT_E_INVALID,
                  "This hub does not know the request \"%.40s\": is the "
                  "program that asks newer?",
                  op);
    }
}
