/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter status: healthy, degraded or unavailable; why; what is being done.
 * A degraded cluster is an answer, not a failure: exit 0. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/verbs.h"

/* A sentence as it is; an object by the fields such things have. */
static void print_item(const json_t *v, unsigned indent)
{
    static const char *const fields[] = {"kind", "op",     "volume", "chain",
                                         "node", "target", "phase",  "why"};
    const json_t *f;
    bool first = true;

    printf("%*s", (int)indent, "");
    if (json_is_string(v)) {
        printf("%s\n", json_string_value(v));
        return;
    }
    for (size_t i = 0; i < KT_ARRAY_LEN(fields); i++) {
        f = json_object_get(v, fields[i]);
        if (json_is_string(f))
            printf("%s%s", first ? "" : " ", json_string_value(f));
        else if (json_is_integer(f))
            printf("%s%s %lld", first ? "" : " ", fields[i],
                   (long long)json_integer_value(f));
        else
            continue;
        first = false;
    }
    uint64_t total = cli_js_uint(v, "total");
    if (total)
        printf(": %llu of %llu", (unsigned long long)cli_js_uint(v, "done"),
               (unsigned long long)total);
    putchar('\n');
}

static void print_items(const json_t *a, unsigned indent)
{
    const json_t *v;
    size_t i;

    json_array_foreach(a, i, v) print_item(v, indent);
}

static void print_volumes(const json_t *volumes)
{
    const json_t *v;
    size_t i;

    json_array_foreach(volumes, i, v)
    {
        printf("  %-20s %s\n", cli_js_text(v, "name"),
               cli_js_text(v, "health"));
        print_items(json_object_get(v, "why"), 23);
        const json_t *resync = json_object_get(v, "resync");
        if (json_is_array(resync))
            print_items(resync, 23);
        else if (json_is_object(resync) || json_is_string(resync))
            print_item(resync, 23);
    }
}

static void print_status(const json_t *s)
{
    const json_t *nodes = json_object_get(s, "nodes");
    const json_t *ops = json_object_get(s, "operations");

    printf("%s\n", cli_js_text(s, "health"));
    print_items(json_object_get(s, "why"), 2);
    if (json_is_true(json_object_get(s, "insecure_links")))
        printf("  links between machines are not encrypted "
               "(--insecure-links)\n");
    printf("nodes    %llu of %llu up\n",
           (unsigned long long)cli_js_uint(nodes, "up"),
           (unsigned long long)cli_js_uint(nodes, "total"));
    size_t n = json_array_size(json_object_get(s, "volumes"));
    printf("volumes  %zu\n", n);
    print_volumes(json_object_get(s, "volumes"));
    if (json_array_size(ops) > 0) {
        printf("being done\n");
        print_items(ops, 2);
    }
}

static void show(const struct cli *c, json_t *s)
{
    char text[32];
    struct tm tm;
    time_t now = time(NULL);

    if (cli_value(c, "json")) {
        cli_print_json(s);
        fflush(stdout);
        return;
    }
    if (cli_value(c, "watch")) {
        if (cli_on_terminal())
            printf("\033[H\033[2J");
        if (localtime_r(&now, &tm) &&
            strftime(text, sizeof(text), "%H:%M:%S", &tm))
            printf("%s  ", text);
    }
    print_status(s);
    fflush(stdout);
    json_decref(s);
}

static int status(struct cli *c)
{
    const char *every = cli_value(c, "watch");
    unsigned seconds = 2;
    json_t *s;

    if (every && *every) {
        int r = cli_count(c, "watch", 2, 1, 3600, &seconds);
        if (r != CLI_DONE)
            return r;
    }
    for (;;) {
        int r = cli_ask(c, json_pack("{s:s}", "op", "status"), &s);
        /* Watching, a hub that is away for a while is news, not the end. */
        if (r != CLI_DONE && !every)
            return r;
        if (r == CLI_DONE)
            show(c, s);
        if (!every || ferror(stdout))
            return CLI_DONE;
        sleep(seconds);
    }
}

static const struct cli_opt status_opts[] = {
    {"watch", "SECONDS", true, "show it again and again (default: every 2)"},
    {NULL, NULL, false, NULL},
};

const struct cli_verb cli_status_verbs[] = {
    {"status", NULL, NULL, 0, 0, status, status_opts,
     "healthy, degraded or unavailable, and why (--watch)",
     "The first line is one word: healthy (every volume has all its "
     "replicas), degraded (everything works, replicas are missing) or "
     "unavailable (some reads or writes wait). Then why, and what is being "
     "done about it. Exit status 1 only when the hub cannot be asked."},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
