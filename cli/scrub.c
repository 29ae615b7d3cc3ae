/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter scrub start, status: asked of the nodes themselves. The hub only says
 * where they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/progress.h"
#include "cli/reach.h"
#include "cli/verbs.h"
#include "lib/base/text.h"

#define NODE_MS 5000u
#define POLL_MS 500u

struct scrub {
    struct cli *c;
    struct kt_context ctx;
    json_t *nodes; /* of node-ls, those that are meant */
    json_t *out;   /* what each said, in that order */
    unsigned failed, running;
    uint64_t left, done, total;
};

/* ---- asking ---- */

/* The nodes, or the one that is named. */
static int find_nodes(struct scrub *s)
{
    const char *only = cli_value(s->c, "node");
    struct kt_rpc r;
    json_t *reply, *n;
    size_t i;

    int status = only ? cli_check_name("node", only) : CLI_DONE;
    if (status == CLI_DONE)
        status = cli_hub_open(s->c, &r, &s->ctx);
    if (status != CLI_DONE)
        return status;
    status = cli_hub_ask(&r, json_pack("{s:s}", "op", "node-ls"), &reply);
    kt_rpc_close(&r);
    if (status != CLI_DONE)
        return status;
    s->nodes = json_array();
    json_array_foreach(json_object_get(reply, "nodes"), i, n)
    {
        if (!only || !strcmp(cli_js_text(n, "name"), only))
            json_array_append(s->nodes, n);
    }
    json_decref(reply);
    if (only && json_array_size(s->nodes) == 0)
        return cli_fail("there is no node %s; \"kenter node ls\" shows those "
                        "there are.",
                        only);
    return CLI_DONE;
}

static json_t *ask_one(struct scrub *s, const json_t *node, const char *op)
{
    char why[400] = "";
    json_t *reply;

    int err = cli_node_try(node, &s->ctx.cluster, json_pack("{s:s}", "op", op),
                           NODE_MS, &reply, why, sizeof(why));
    if (err < 0) {
        s->failed++;
        return json_pack("{s:s, s:s, s:s}", "node", cli_js_text(node, "name"),
                         "state", "not asked", "why", why);
    }
    json_t *one = json_incref(json_object_get(reply, "scrub"));
    json_decref(reply);
    const json_t *now = json_object_get(one, "now");
    s->left += cli_js_uint(now, "left");
    s->done += cli_js_uint(now, "bytes");
    s->total += cli_js_uint(one, "total");
    s->running += !strcmp(cli_js_text(one, "state"), "running");
    s->failed += !strcmp(cli_js_text(one, "state"), "faulty");
    return one ? one : json_object();
}

static void ask_all(struct scrub *s, const char *op)
{
    const json_t *n;
    size_t i;

    json_decref(s->out);
    s->out = json_array();
    s->failed = s->running = 0;
    s->left = s->done = s->total = 0;
    json_array_foreach(s->nodes, i, n)
    {
        json_array_append_new(s->out, ask_one(s, n, op));
    }
}

/* ---- showing ---- */

static void ended_cell(struct cli_table *t, const json_t *last)
{
    time_t at = (time_t)cli_js_uint(last, "ended");
    char text[32];
    struct tm tm;

    if (!at || !localtime_r(&at, &tm) ||
        !strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm))
        snprintf(text, sizeof(text), "-");
    cli_table_cell(t, "%s", text);
}

static void print_all(const struct scrub *s)
{
    static const char *const heads[] = {"NODE", "STATE", "READ",   "OF",
                                        "BAD",  "LEFT",  "MENDED", "LAST ENDED",
                                        "NEXT", NULL};
    struct cli_table t;
    const json_t *n;
    size_t i;
    char a[KT_SIZE_TEXT_BYTES], b[KT_SIZE_TEXT_BYTES];

    cli_table_init(&t, heads);
    json_array_foreach(s->out, i, n)
    {
        const json_t *now = json_object_get(n, "now");
        bool auto_next = json_is_integer(json_object_get(n, "next_s"));
        cli_table_cell(&t, "%s", cli_js_text(n, "node"));
        cli_table_cell(&t, "%s", cli_js_text(n, "state"));
        cli_table_cell(&t, "%s", kt_size_format(cli_js_uint(now, "bytes"), a));
        cli_table_cell(&t, "%s", kt_size_format(cli_js_uint(n, "total"), b));
        cli_table_cell(&t, "%llu", (unsigned long long)cli_js_uint(now, "bad"));
        cli_table_cell(&t, "%llu",
                       (unsigned long long)cli_js_uint(now, "left"));
        cli_table_cell(&t, "%llu",
                       (unsigned long long)cli_js_uint(now, "mended"));
        ended_cell(&t, json_object_get(n, "last"));
        if (auto_next)
            cli_table_cell(&t, "in %.1f days",
                           (double)cli_js_uint(n, "next_s") / 86400);
        else
            cli_table_cell(&t, "%s", "when asked");
    }
    cli_table_print(&t, 0);
}

static int report(struct scrub *s)
{
    const json_t *n;
    size_t i;

    if (cli_value(s->c, "json"))
        (void)cli_print_json(json_pack("{s:O}", "nodes", s->out));
    else
        print_all(s);
    fflush(stdout);
    json_array_foreach(s->out, i, n)
    {
        if (json_object_get(n, "why"))
            (void)cli_fail("%s cannot be asked: %s.", cli_js_text(n, "node"),
                           cli_js_text(n, "why"));
    }
    if (s->left)
        return cli_fail("%llu sectors are damaged and no other member gave "
                        "their bytes; they are never handed out. The log of "
                        "the node names them (event=scrub_bad); kenter status "
                        "tells whether members are missing.",
                        (unsigned long long)s->left);
    return s->failed ? CLI_FAILED : CLI_DONE;
}

/* ---- the verbs ---- */

static void wait_end(struct scrub *s)
{
    struct cli_progress p;
    struct timespec t = {.tv_nsec = POLL_MS * 1000000L};

    cli_progress_init(&p, s->c);
    do {
        nanosleep(&t, NULL);
        ask_all(s, "scrub-status");
        cli_progress_show(&p, s->done < s->total ? s->done : s->total,
                          s->total);
    } while (s->running && !s->failed);
    cli_progress_end(&p);
}

static int run(struct cli *c, bool start)
{
    struct scrub s = {.c = c};
    int status = find_nodes(&s);

    if (status == CLI_DONE) {
        ask_all(&s, start ? "scrub-start" : "scrub-status");
        if (start && cli_value(c, "wait") && !s.failed)
            wait_end(&s);
        status = report(&s);
    }
    json_decref(s.nodes);
    json_decref(s.out);
    return status;
}

static int scrub_start(struct cli *c)
{
    return run(c, true);
}

static int scrub_status(struct cli *c)
{
    return run(c, false);
}

static const struct cli_opt start_opts[] = {
    {"node", "NODE", false, "only this one"},
    {"wait", NULL, false, "until it has ended"},
    {NULL, NULL, false, NULL},
};
static const struct cli_opt status_opts[] = {
    {"node", "NODE", false, "only this one"},
    {NULL, NULL, false, NULL},
};

const struct cli_verb cli_scrub_verbs[] = {
    {"scrub", "start", NULL, 0, 0, scrub_start, start_opts,
     "read all copies and repair what has rotted",
     "Each node reads everything its store holds, past the page cache and when "
     "nobody else wants the disk, at most at the rate it was started with; "
     "bytes that do not match their checksum are replaced with another "
     "member's. It does so by itself every week."},
    {"scrub", "status", NULL, 0, 0, scrub_status, status_opts,
     "how far that is, and what it found", NULL},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
