/* SPDX-License-Identifier: BSD-3-Clause */
/* One question to the hub, one answer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

void cli_hello(struct kt_msg *ret_m, const struct kt_id *cluster)
{
    kt_rpc_hello(ret_m, cluster, "kenter");
}

int cli_hub_open(const struct cli *c, struct kt_rpc *r,
                 struct kt_context *ret_ctx)
{
    struct kt_context ctx;
    struct kt_msg hello;
    char why[512] = "";

    if (kt_context_load(cli_value(c, "context"), &ctx, why, sizeof(why)) < 0)
        return cli_fail("%s%s", why,
                        strstr(why, "sandbox up")
                            ? ""
                            : ". \"kenter sandbox up\" makes a cluster on "
                              "this machine; --context FILE names the context "
                              "of another.");
    cli_hello(&hello, &ctx.cluster);
    if (kt_rpc_open_hub(r, &ctx, &hello, CLI_CONNECT_MS, why, sizeof(why)) < 0)
        return cli_fail("%s", why);
    if (ret_ctx)
        *ret_ctx = ctx;
    return CLI_DONE;
}

static void broken(char *ret_why, size_t size, int err)
{
    if (err == -ETIMEDOUT)
        snprintf(ret_why, size,
                 "the hub did not answer within %u s: it may still do what "
                 "was asked; look with \"kenter status\" and try again.",
                 CLI_ANSWER_MS / 1000);
    else
        snprintf(ret_why, size,
                 "the connection to the hub broke (%s): it may still do what "
                 "was asked; look with \"kenter status\" and try again.",
                 kt_strerror(err));
}

int cli_hub_try(struct kt_rpc *r, json_t *req, json_t **ret_reply,
                char *ret_why, size_t size)
{
    json_t *reply = NULL;

    if (!req)
        return -ENOMEM;
    int err = kt_rpc_admin(r, req, CLI_ANSWER_MS, &reply);
    json_decref(req);
    if (err < 0) {
        broken(ret_why, size, err);
        return err;
    }
    if (!json_is_true(json_object_get(reply, "ok"))) {
        const char *text = cli_js_text(reply, "message");
        snprintf(ret_why, size, "%s",
                 *text ? text : "the hub refused and did not say why.");
        json_decref(reply);
        return KT_E_REFUSED;
    }
    json_object_del(reply, "ok");
    *ret_reply = reply;
    return 0;
}

int cli_hub_ask(struct kt_rpc *r, json_t *req, json_t **ret_reply)
{
    char why[512] = "memory is out.";

    if (cli_hub_try(r, req, ret_reply, why, sizeof(why)) < 0)
        return cli_fail("%s", why);
    return CLI_DONE;
}

int cli_ask(const struct cli *c, json_t *req, json_t **ret_reply)
{
    struct kt_rpc r;

    int status = cli_hub_open(c, &r, NULL);
    if (status != CLI_DONE) {
        json_decref(req);
        return status;
    }
    status = cli_hub_ask(&r, req, ret_reply);
    kt_rpc_close(&r);
    return status;
}

/* One page: chains from number `from` on. */
static int inspect_page(struct kt_rpc *r, const char *name, uint64_t from,
                        json_t **ret_volume, char *ret_why, size_t size)
{
    json_t *req = json_pack("{s:s, s:s}", "op", "volume-inspect", "name", name);
    json_t *reply;

    if (from)
        json_object_set_new(req, "from_chain", json_integer((json_int_t)from));
    int err = cli_hub_try(r, req, &reply, ret_why, size);
    if (err < 0)
        return err;
    json_t *v = json_object_get(reply, "volume");
    if (json_is_object(v))
        *ret_volume = json_incref(v);
    else
        err = KT_E_PROTO;
    json_decref(reply);
    if (err < 0)
        snprintf(ret_why, size, "the hub's answer names no volume.");
    return err;
}

int cli_hub_inspect(struct kt_rpc *r, const char *name, uint64_t from, bool all,
                    json_t **ret_volume, char *ret_why, size_t size)
{
    json_t *volume, *page;

    int err = inspect_page(r, name, from, &volume, ret_why, size);
    while (err == 0 && all) {
        uint64_t next = cli_js_uint(volume, "next_chain");
        if (next <= from)
            break;
        from = next;
        err = inspect_page(r, name, from, &page, ret_why, size);
        if (err < 0) {
            json_decref(volume);
            break;
        }
        json_object_del(volume, "next_chain");
        json_array_extend(json_object_get(volume, "chains"),
                          json_object_get(page, "chains"));
        if (cli_js_uint(page, "next_chain"))
            json_object_set(volume, "next_chain",
                            json_object_get(page, "next_chain"));
        json_decref(page);
    }
    if (err == 0)
        *ret_volume = volume;
    return err;
}

const char *cli_js_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

uint64_t cli_js_uint(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}
