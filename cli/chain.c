/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter chain ls, force-promote, discard. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/verbs.h"

/* All pages in one array. */
static int all_chains(const struct cli *c, json_t **ret_chains)
{
    const char *volume = cli_value(c, "volume");
    json_t *all = json_array(), *reply;
    uint64_t from = 0;

    do {
        json_t *req =
            json_pack("{s:s, s:I}", "op", "chain-ls", "from", (json_int_t)from);
        if (volume)
            json_object_set_new(req, "volume", json_string(volume));
        int r = cli_ask(c, req, &reply);
        if (r != CLI_DONE) {
            json_decref(all);
            return r;
        }
        const json_t *page = json_object_get(reply, "page");
        json_array_extend(all, json_object_get(page, "chains"));
        from = cli_js_uint(page, "next");
        json_decref(reply);
    } while (from);
    *ret_chains = all;
    return CLI_DONE;
}

static void members(const json_t *chain, char *ret, size_t size)
{
    const json_t *m;
    size_t i, len = 0;

    ret[0] = '\0';
    json_array_foreach(json_object_get(chain, "members"), i, m)
    {
        if (len < size)
            len += (size_t)snprintf(ret + len, size - len, "%s%s:%s",
                                    i ? " " : "", cli_js_text(m, "node"),
                                    cli_js_text(m, "state"));
    }
}

static int chain_ls(struct cli *c)
{
    static const char *const heads[] = {"CHAIN",   "VOLUME", "SEG",
                                        "EPOCH",   "PHASE",  "VGEN",
                                        "MEMBERS", "WHY",    NULL};
    struct cli_table t;
    const json_t *v;
    json_t *all;
    char text[512];
    size_t i;

    int r = all_chains(c, &all);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "json"))
        return cli_print_json(json_pack("{s:o}", "chains", all));
    cli_table_init(&t, heads);
    json_array_foreach(all, i, v)
    {
        const char *why = cli_js_text(v, "why");
        cli_table_cell(&t, "%llu", (unsigned long long)cli_js_uint(v, "chain"));
        cli_table_cell(&t, "%s", cli_js_text(v, "volume"));
        cli_table_cell(&t, "%llu", (unsigned long long)cli_js_uint(v, "seg"));
        cli_table_cell(&t, "%llu", (unsigned long long)cli_js_uint(v, "epoch"));
        cli_table_cell(&t, "%s", cli_js_text(v, "phase"));
        cli_table_cell(&t, "%llu", (unsigned long long)cli_js_uint(v, "vgen"));
        members(v, text, sizeof(text));
        cli_table_cell(&t, "%s", text);
        cli_table_cell(&t, "%s", why[0] ? why : "-");
    }
    cli_table_print(&t, 0);
    json_decref(all);
    return CLI_DONE;
}

static int order(struct cli *c, const char *op)
{
    const char *text = c->operands[0], *node = cli_value(c, "node");
    json_t *reply;
    char *end;

    errno = 0;
    unsigned long long chain = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || chain > INT64_MAX)
        return cli_usage("\"%s\" is no chain: they have numbers, which kenter "
                         "chain ls shows.",
                         text);
    if (!node)
        return cli_usage("say which copy is meant: --node NODE.");
    int r = cli_check_name("node", node);
    if (r == CLI_DONE)
        r = cli_ask(c,
                    json_pack("{s:s, s:I, s:s, s:b}", "op", op, "chain",
                              (json_int_t)chain, "node", node, "accept",
                              (int)(cli_value(c, "accept-data-loss") != NULL)),
                    &reply);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "json"))
        return cli_print_json(reply);
    json_decref(reply);
    return CLI_DONE;
}

static int chain_force_promote(struct cli *c)
{
    return order(c, "chain-force-promote");
}

static int chain_discard(struct cli *c)
{
    return order(c, "chain-discard");
}

static const struct cli_opt ls_opts[] = {
    {"volume", "NAME", false, "only those of this volume"},
    {NULL, NULL, false, NULL},
};

static const struct cli_opt order_opts[] = {
    {"node", "NODE", false, "whose copy is meant"},
    {"accept-data-loss", NULL, false, "do it; else only say what is lost"},
    {NULL, NULL, false, NULL},
};

const struct cli_verb cli_chain_verbs[] = {
    {"chain", "ls", NULL, 0, 0, chain_ls, ls_opts,
     "list the chains, what they are, and why", NULL},
    {"chain", "force-promote", "CHAIN", 1, 1, chain_force_promote, order_opts,
     "let an older copy serve when the last are lost",
     "A chain whose last members are all gone waits for one of them, since "
     "only they hold everything that was acknowledged. When none will ever "
     "come back, this lets the copy of NODE serve as it is. What was written "
     "later is lost. Whoever has the volume attached is cut off and must "
     "attach it again. All other copies are put in quarantine. Without the "
     "last option it only says what would be lost."},
    {"chain", "discard", "CHAIN", 1, 1, chain_discard, order_opts,
     "delete a copy in quarantine, and sync it anew",
     "A copy of another history is never used, and never deleted by itself. "
     "This deletes that of NODE for good; the node is then synced like a new "
     "one."},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
