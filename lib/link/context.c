/* SPDX-License-Identifier: BSD-3-Clause */
/* The context file:
 *   {"version": 1, "cluster": "32 hex digits", "node": "n1",
 *    "hub": ["unix:/run/kenter/hub.sock", "tcp:127.0.0.1:9720"]}
 * "cluster" and "node" may be left out. */
#include "lib/link/rpc.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/os.h"

#define FILE_BYTES_MAX (64u << 10)
#define SYSTEM_PATH "/etc/kenter/context.json"

/* Which file it is; false when the path is too long. */
static bool find_path(const char *path, char *ret, size_t size)
{
    const char *env = getenv("KENTER_CONTEXT");
    const char *home = getenv("HOME");

    if (!path && env && env[0] != '\0')
        path = env;
    if (!path && home && home[0] != '\0') {
        int n = snprintf(ret, size, "%s/.config/kenter/context.json", home);
        if (n > 0 && (size_t)n < size && access(ret, F_OK) == 0)
            return true;
    }
    int n = snprintf(ret, size, "%s", path ? path : SYSTEM_PATH);
    return n >= 0 && (size_t)n < size;
}

static const char *read_hubs(const json_t *hubs, struct kt_context *ctx)
{
    if (!json_is_array(hubs) || json_array_size(hubs) == 0)
        return "\"hub\" is not a list of addresses";
    if (json_array_size(hubs) > KT_CONTEXT_HUBS_MAX)
        return "\"hub\" lists more than 8 addresses";
    ctx->n_hubs = (uint32_t)json_array_size(hubs);
    for (uint32_t i = 0; i < ctx->n_hubs; i++) {
        const char *s = json_string_value(json_array_get(hubs, i));
        if (!s || kt_addr_parse(s, &ctx->hubs[i]) < 0)
            return "\"hub\" holds what is no address: write tcp:IP:PORT or "
                   "unix:PATH";
    }
    return NULL;
}

/* NULL, or what is wrong. */
static const char *read_doc(const json_t *doc, struct kt_context *ctx)
{
    const json_t *version = json_object_get(doc, "version");
    const json_t *cluster = json_object_get(doc, "cluster");
    const json_t *node = json_object_get(doc, "node");

    if (!json_is_object(doc))
        return "it is not a JSON object";
    if (!json_is_integer(version) || json_integer_value(version) != 1)
        return "its \"version\" is not 1";
    if (cluster && (!json_is_string(cluster) ||
                    kt_id_parse(json_string_value(cluster), &ctx->cluster) < 0))
        return "\"cluster\" is not 32 hex digits";
    if (node) {
        const char *s = json_string_value(node);
        if (!s || (s[0] != '\0' && !kt_name_valid(s)))
            return "\"node\" is not a name";
        snprintf(ctx->node, sizeof(ctx->node), "%s", s);
    }
    return read_hubs(json_object_get(doc, "hub"), ctx);
}

int kt_context_load(const char *path, struct kt_context *ret_ctx, char *ret_why,
                    size_t size)
{
    struct kt_context ctx;
    json_error_t where;
    char *text;

    memset(&ctx, 0, sizeof(ctx));
    if (!find_path(path, ctx.path, sizeof(ctx.path))) {
        snprintf(ret_why, size, "the path of the context file is too long");
        return -ENAMETOOLONG;
    }
    int err = kt_read_file(ctx.path, FILE_BYTES_MAX, &text);
    if (err < 0) {
        snprintf(ret_why, size,
                 "cannot read the context file %s: %s. Name one by --context "
                 "or KENTER_CONTEXT, or make a cluster with: kenter sandbox "
                 "up",
                 ctx.path, kt_strerror(err));
        return err;
    }
    json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    free(text);
    if (!doc) {
        snprintf(ret_why, size, "the context file %s is not JSON: line %d: %s",
                 ctx.path, where.line, where.text);
        return KT_E_INVALID;
    }
    const char *wrong = read_doc(doc, &ctx);
    json_decref(doc);
    if (wrong) {
        snprintf(ret_why, size, "the context file %s cannot be used: %s",
                 ctx.path, wrong);
        return KT_E_INVALID;
    }
    *ret_ctx = ctx;
    return 0;
}
