/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/reach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Whether who answered is the replica we look for, and for a unix socket, on
 * this machine: the same path may exist on another. */
static bool is_it(const struct kt_rpc *r, const struct kt_id *store,
                  const struct kt_addr *a)
{
    struct kt_id boot;

    if (!kt_id_eq(&r->peer.u.hello.store, store))
        return false;
    return a->kind != KT_ADDR_UNIX ||
           (kt_boot_id(&boot) == 0 && kt_id_eq(&boot, &r->peer.u.hello.boot));
}

int cli_reach(const json_t *addresses, const struct kt_id *store,
              const struct kt_msg *hello, unsigned timeout_ms,
              struct kt_rpc **ret_r, char *ret_why, size_t size)
{
    struct kt_addr a;
    const json_t *v;
    size_t i;

    snprintf(ret_why, size, "it has no address");
    for (int kind = KT_ADDR_UNIX; kind >= KT_ADDR_TCP; kind--) {
        json_array_foreach(addresses, i, v)
        {
            const char *text = json_string_value(v);
            if (!text || kt_addr_parse(text, &a) < 0 || (int)a.kind != kind ||
                (kind == KT_ADDR_UNIX && access(a.host, F_OK) < 0))
                continue;
            struct kt_rpc *r = calloc(1, sizeof(*r));
            if (!r)
                return -ENOMEM;
            int err = kt_rpc_open(r, &a, hello, timeout_ms, ret_why, size);
            if (err == 0 && is_it(r, store, &a)) {
                *ret_r = r;
                return 0;
            }
            if (err == 0) {
                kt_rpc_close(r);
                snprintf(ret_why, size, "another process answers at %s", text);
            }
            free(r);
        }
    }
    return -EAGAIN;
}

int cli_node_try(const json_t *node, const struct kt_id *cluster, json_t *req,
                 unsigned timeout_ms, json_t **ret_reply, char *ret_why,
                 size_t size)
{
    const json_t *st = json_array_get(json_object_get(node, "stores"), 0);
    struct kt_id store;
    struct kt_msg hello;
    struct kt_rpc *r = NULL;
    json_t *reply = NULL;

    cli_hello(&hello, cluster);
    snprintf(ret_why, size, "it has no store");
    int err = kt_id_parse(cli_js_text(st, "uuid"), &store);
    if (err == 0)
        err = cli_reach(json_object_get(node, "addresses"), &store, &hello,
                        timeout_ms, &r, ret_why, size);
    if (err == 0) {
        err = kt_rpc_admin(r, req, timeout_ms, &reply);
        if (err < 0)
            snprintf(ret_why, size, "%s", kt_strerror(err));
        kt_rpc_close(r);
    }
    free(r);
    json_decref(req);
    if (err < 0)
        return err;
    if (!json_is_true(json_object_get(reply, "ok"))) {
        snprintf(ret_why, size, "%s", cli_js_text(reply, "message"));
        json_decref(reply);
        return KT_E_REFUSED;
    }
    *ret_reply = reply;
    return 0;
}
