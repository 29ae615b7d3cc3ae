/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter hub recover: what becomes of a hub whose database is an old copy, or
 * was lost. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/verbs.h"

#define NAME_BYTES 64u

/* "a,b" as an array; NULL after a sentence. */
static json_t *names(const char *text)
{
    json_t *a = json_array();

    while (*text) {
        char name[NAME_BYTES];
        size_t len = strcspn(text, ",");
        snprintf(name, sizeof(name), "%.*s", (int)len, text);
        if (len >= sizeof(name) || cli_check_name("node", name) != CLI_DONE) {
            json_decref(a);
            return NULL;
        }
        json_array_append_new(a, json_string(name));
        text += len + (text[len] == ',');
    }
    return a;
}

static void join(const json_t *a, const char *key, char *ret, size_t size)
{
    const json_t *v;
    size_t i, len = 0;

    snprintf(ret, size, "-");
    json_array_foreach(a, i, v)
    {
        const char *s = key ? cli_js_text(v, key) : json_string_value(v);
        if (s && len < size)
            len += (size_t)snprintf(ret + len, size - len, "%s%s",
                                    len ? " " : "", s);
    }
}

static void print_plan(const json_t *r)
{
    static const char *const heads[] = {"CHAIN",   "VOLUME",  "HUB HAS",
                                        "TAKES",   "MEMBERS", "NOT ASKED",
                                        "WRITES?", NULL};
    const json_t *v;
    struct cli_table t;
    char text[256];
    size_t i;

    printf("%s: %llu chains wait\n", cli_js_text(r, "mode"),
           (unsigned long long)cli_js_uint(r, "chains_waiting"));
    join(json_object_get(r, "missing"), NULL, text, sizeof(text));
    printf("not asked yet: %s\n", text);
    cli_table_init(&t, heads);
    json_array_foreach(json_object_get(r, "chains"), i, v)
    {
        cli_table_cell(&t, "%llu", (unsigned long long)cli_js_uint(v, "chain"));
        cli_table_cell(&t, "%s", cli_js_text(v, "volume"));
        cli_table_cell(&t, "%llu",
                       (unsigned long long)cli_js_uint(v, "hub_epoch"));
        cli_table_cell(&t, "%llu", (unsigned long long)cli_js_uint(v, "epoch"));
        join(json_object_get(v, "members"), "node", text, sizeof(text));
        cli_table_cell(&t, "%s", text);
        join(json_object_get(v, "missing"), NULL, text, sizeof(text));
        cli_table_cell(&t, "%s", text);
        cli_table_cell(&t, "%s",
                       json_is_true(json_object_get(v, "lossy"))
                           ? "some may be lost"
                           : "all kept");
    }
    cli_table_print(&t, 2);
}

static int hub_recover(struct cli *c)
{
    const char *lost = cli_value(c, "lost");
    bool dry = cli_value(c, "dry-run") != NULL;
    json_t *reply, *list = names(lost ? lost : "");

    if (!list)
        return CLI_USAGE;
    int r = cli_ask(c,
                    json_pack("{s:s, s:b, s:o}", "op", "hub-recover", "dry_run",
                              (int)dry, "lost", list),
                    &reply);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "json"))
        return cli_print_json(reply);
    const json_t *plan = json_object_get(reply, "recover");
    if (plan)
        print_plan(plan);
    else if (dry)
        printf("The hub's database is in order: there is nothing to "
               "recover.\n");
    json_decref(reply);
    return CLI_DONE;
}

static const struct cli_opt recover_opts[] = {
    {"lost", "NODE[,NODE]", false, "nodes that will not come back"},
    {"dry-run", NULL, false, "show what is taken over, and from whom"},
    {NULL, NULL, false, NULL},
};

const struct cli_verb cli_hub_verbs[] = {
    {"hub", "recover", NULL, 0, 0, hub_recover, recover_opts,
     "go on with a hub whose database is old or lost",
     "A hub that was started on an old copy of its database, or was told that "
     "it is lost, asks the nodes what they know, and changes no "
     "chain before all its members were asked. Nodes that will not come back "
     "are named with --lost. Writes that only they knew are lost then; "
     "--dry-run tells which chains that may concern. kenter status shows "
     "whether there is anything to recover."},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
