/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions to the hub, each over a connection of its own: they are rare, and
 * a plugin that holds none needs no care when a hub restarts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "volplugin/plugin.h"

#define CONNECT_MS 5000u
#define ANSWER_MS 30000u

static int ask(struct plugin *p, json_t *req, json_t **ret_reply, char *ret_why)
{
    struct kt_context ctx;
    struct kt_msg m;
    struct kt_rpc rpc;

    int err = kt_context_load(p->o->context, &ctx, ret_why, VOL_WHY_BYTES);
    if (err < 0)
        return err;
    kt_rpc_hello(&m, &ctx.cluster, "volplugin");
    err = kt_rpc_open_hub(&rpc, &ctx, &m, CONNECT_MS, ret_why, VOL_WHY_BYTES);
    if (err < 0)
        return err;
    err = kt_rpc_admin(&rpc, req, ANSWER_MS, ret_reply);
    kt_rpc_close(&rpc);
    if (err < 0)
        snprintf(ret_why, VOL_WHY_BYTES,
                 "the hub gave no answer (%s): it may still do what was asked",
                 kt_strerror(err));
    return err;
}

int hub_ask(struct plugin *p, json_t *req, json_t **ret_reply, char *ret_err,
            char *ret_why)
{
    json_t *reply = NULL;

    snprintf(ret_why, VOL_WHY_BYTES, "memory is out");
    int err = req ? ask(p, req, &reply, ret_why) : -ENOMEM;
    json_decref(req);
    pthread_mutex_lock(&p->lock);
    snprintf(p->hub_error, sizeof(p->hub_error), "%s", err < 0 ? ret_why : "");
    if (err == 0)
        p->hub_heard_ms = kt_now_ms();
    pthread_mutex_unlock(&p->lock);
    if (err < 0)
        return err;
    if (!json_is_true(json_object_get(reply, "ok"))) {
        const char *text = json_string_value(json_object_get(reply, "message"));
        const char *name = json_string_value(json_object_get(reply, "err"));
        snprintf(ret_why, VOL_WHY_BYTES, "%s",
                 text ? text : "the hub refused and did not say why");
        if (ret_err)
            snprintf(ret_err, 32, "%s", name ? name : "");
        json_decref(reply);
        return KT_E_REFUSED;
    }
    *ret_reply = reply;
    return 0;
}

uint32_t hub_default_replicas(struct plugin *p)
{
    char why[VOL_WHY_BYTES];
    struct kt_context ctx;

    if (kt_context_load(p->o->context, &ctx, why, sizeof(why)) < 0)
        return 0;
    json_t *o = json_load_file(ctx.path, 0, NULL);
    json_int_t n = json_integer_value(
        json_object_get(json_object_get(o, "defaults"), "replicas"));
    json_decref(o);
    return n > 0 && n <= KT_MEMBERS_MAX ? (uint32_t)n : 0;
}

int hub_inspect(struct plugin *p, const char *name, uint64_t from,
                json_t **ret_volume, char *ret_why)
{
    char code[32] = "";
    json_t *reply;

    int err = hub_ask(p,
                      json_pack("{s:s, s:s, s:I}", "op", "volume-inspect",
                                "name", name, "from_chain", (json_int_t)from),
                      &reply, code, ret_why);
    if (err == KT_E_REFUSED && strcmp(code, "NO_VOLUME") == 0)
        return KT_E_NO_VOLUME;
    if (err < 0)
        return err;
    json_t *v = json_object_get(reply, "volume");
    if (json_is_object(v))
        *ret_volume = json_incref(v);
    else
        err = KT_E_PROTO;
    json_decref(reply);
    if (err < 0)
        snprintf(ret_why, VOL_WHY_BYTES, "the hub's answer names no volume");
    return err;
}
