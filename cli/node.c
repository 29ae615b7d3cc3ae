/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter node ls, inspect. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/reach.h"
#include "cli/verbs.h"
#include "lib/base/text.h"

#define HEALTH_MS 1000u

/* Joins an array of strings with blanks. */
static const char *join(const json_t *a, char *ret, size_t size)
{
    const json_t *v;
    size_t i, n = 0;

    ret[0] = '\0';
    json_array_foreach(a, i, v)
    {
        const char *s = json_string_value(v);
        if (s && n < size)
            n += (size_t)snprintf(ret + n, size - n, "%s%s", n ? " " : "", s);
    }
    return ret;
}

/* Sums over the node's stores; *ret_state is the first that is not well. */
static void stores(const json_t *node, uint64_t *ret_used, uint64_t *ret_size,
                   const char **ret_state)
{
    const json_t *s;
    size_t i;

    *ret_used = *ret_size = 0;
    *ret_state = "-";
    json_array_foreach(json_object_get(node, "stores"), i, s)
    {
        *ret_used += cli_js_uint(s, "used");
        *ret_size += cli_js_uint(s, "size");
        if (i == 0)
            *ret_state = cli_js_text(s, "state");
    }
}

static int node_ls(struct cli *c)
{
    static const char *const heads[] = {"NAME",  "STATE",     "USED", "SIZE",
                                        "STORE", "ADDRESSES", NULL};
    struct cli_table t;
    json_t *reply, *n;
    size_t i;
    char text[512];

    int r = cli_ask(c, json_pack("{s:s}", "op", "node-ls"), &reply);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "json"))
        return cli_print_json(reply);
    cli_table_init(&t, heads);
    json_array_foreach(json_object_get(reply, "nodes"), i, n)
    {
        uint64_t used, size;
        const char *state;

        stores(n, &used, &size, &state);
        cli_table_cell(&t, "%s", cli_js_text(n, "name"));
        cli_table_cell(&t, "%s", cli_js_text(n, "state"));
        cli_table_cell(&t, "%s", kt_size_format(used, text));
        cli_table_cell(&t, "%s", kt_size_format(size, text));
        cli_table_cell(&t, "%s", state);
        cli_table_cell(
            &t, "%s",
            join(json_object_get(n, "addresses"), text, sizeof(text)));
    }
    cli_table_print(&t, 0);
    json_decref(reply);
    return CLI_DONE;
}

/* What the node itself says of its disk; nothing when it was not reached. */
static void print_health(const json_t *h)
{
    const json_t *now = json_object_get(h, "now");

    if (!h)
        return;
    printf("  %-12s %llu found since its start, %llu mended\n", "bad sectors",
           (unsigned long long)cli_js_uint(h, "bad_sectors"),
           (unsigned long long)cli_js_uint(h, "mended"));
    printf("  %-12s %s; %llu bad, %llu mended, %llu left\n", "scrub",
           cli_js_text(h, "state"), (unsigned long long)cli_js_uint(now, "bad"),
           (unsigned long long)cli_js_uint(now, "mended"),
           (unsigned long long)cli_js_uint(now, "left"));
}

static void print_node(const json_t *n)
{
    static const char *const heads[] = {"CHAIN", "VOLUME", "STATE", "ROLE",
                                        NULL};
    struct cli_table t;
    const json_t *v;
    size_t i;
    char a[512], b[KT_SIZE_TEXT_BYTES];

    printf("%s\n", cli_js_text(n, "name"));
    printf("  %-12s %s\n", "id", cli_js_text(n, "id"));
    printf("  %-12s %s\n", "state", cli_js_text(n, "state"));
    printf("  %-12s %s\n", "addresses",
           join(json_object_get(n, "addresses"), a, sizeof(a)));
    printf("  %-12s %llu\n", "incarnation",
           (unsigned long long)cli_js_uint(n, "incarnation"));
    if (json_is_true(json_object_get(n, "insecure_links")))
        printf("  %-12s its links are not encrypted\n", "insecure");
    printf("  %-12s %.1f s ago\n", "last seen",
           (double)cli_js_uint(n, "last_seen_ms") / 1000);
    json_array_foreach(json_object_get(n, "stores"), i, v) printf(
        "  %-12s %s: %s of %s used, %s\n", "store", cli_js_text(v, "uuid"),
        kt_size_format(cli_js_uint(v, "used"), a),
        kt_size_format(cli_js_uint(v, "size"), b), cli_js_text(v, "state"));
    print_health(json_object_get(n, "health"));
    putchar('\n');
    cli_table_init(&t, heads);
    json_array_foreach(json_object_get(n, "chains"), i, v)
    {
        cli_table_cell(&t, "%llu", (unsigned long long)cli_js_uint(v, "chain"));
        cli_table_cell(&t, "%s", cli_js_text(v, "volume"));
        cli_table_cell(&t, "%s", cli_js_text(v, "state"));
        cli_table_cell(&t, "%s", cli_js_text(v, "role"));
    }
    cli_table_print(&t, 2);
}

static void add_health(json_t *n, const struct kt_id *cluster)
{
    char why[300];
    json_t *reply;

    if (strcmp(cli_js_text(n, "state"), "up") != 0 ||
        cli_node_try(n, cluster, json_pack("{s:s}", "op", "scrub-status"),
                     HEALTH_MS, &reply, why, sizeof(why)) < 0)
        return;
    json_object_set(n, "health", json_object_get(reply, "scrub"));
    json_decref(reply);
}

static int node_inspect(struct cli *c)
{
    struct kt_context ctx;
    struct kt_rpc hub;
    json_t *reply;

    int r = cli_check_name("node", c->operands[0]);
    if (r == CLI_DONE)
        r = cli_hub_open(c, &hub, &ctx);
    if (r != CLI_DONE)
        return r;
    r = cli_hub_ask(
        &hub,
        json_pack("{s:s, s:s}", "op", "node-inspect", "name", c->operands[0]),
        &reply);
    kt_rpc_close(&hub);
    if (r != CLI_DONE)
        return r;
    json_t *n = json_incref(json_object_get(reply, "node"));
    json_decref(reply);
    add_health(n, &ctx.cluster);
    if (cli_value(c, "json"))
        return cli_print_json(n);
    print_node(n);
    json_decref(n);
    return CLI_DONE;
}

const struct cli_verb cli_node_verbs[] = {
    {"node", "ls", NULL, 0, 0, node_ls, NULL, "list the nodes", NULL},
    {"node", "inspect", "NAME", 1, 1, node_inspect, NULL,
     "show a node, its store and its chains", NULL},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
