/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter volume and its verbs. What can be judged here is judged
 * here, in the words of the options; the hub judges everything once more. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/verbs.h"
#include "lib/base/text.h"

#define REPLICAS_MAX 5u
#define SEGMENT_BYTES_MAX ((uint64_t)KT_SEGMENT_EXTENTS_MAX * KT_EXTENT_BYTES)

static int check_size(const struct cli *c, uint64_t *ret_size)
{
    uint64_t v = 0;

    const char *text = cli_value(c, "size");
    if (!text)
        return cli_usage("a volume needs a size: --size 10G.");
    int r = kt_size_parse(text, &v);
    if (r == -ERANGE || (r == 0 && v > KT_VOLUME_BYTES_MAX))
        return cli_usage("a size of %s is too large: volumes have 64T at most.",
                         text);
    if (r < 0)
        return cli_size(c, "size", 0, &v);
    if (v < KT_VOLUME_BYTES_MIN)
        return cli_usage("a size of %s is too small: volumes have 4K at least.",
                         text);
    if (v % KT_SECTOR_BYTES)
        return cli_usage(
            "--size %s is not a multiple of 4096 bytes: %llu "
            "would be.",
            text,
            (unsigned long long)(v + KT_SECTOR_BYTES - v % KT_SECTOR_BYTES));
    *ret_size = v;
    return CLI_DONE;
}

int cli_check_segment(const struct cli *c, uint64_t *ret_v)
{
    uint64_t v;

    int r = cli_size(c, "segment", 0, &v);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "segment") &&
        (v < KT_EXTENT_BYTES || v > SEGMENT_BYTES_MAX || (v & (v - 1))))
        return cli_usage("--segment %s cannot be: use a power of two from 4M "
                         "to 16G.",
                         cli_value(c, "segment"));
    *ret_v = v;
    return CLI_DONE;
}

static void set_uint(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

/* The request, checked. */
static int create_request(const struct cli *c, json_t *req)
{
    uint64_t size = 0, segment;
    unsigned replicas, min_write;
    const char *durability = cli_value(c, "durability");
    const char *pool = cli_value(c, "pool");

    int r = cli_check_name("volume", c->operands[0]);
    if (r == CLI_DONE)
        r = check_size(c, &size);
    if (r == CLI_DONE)
        r = cli_count(c, "replicas", 0, 1, REPLICAS_MAX, &replicas);
    if (r == CLI_DONE)
        r = cli_count(c, "min-write", 0, 1, replicas ? replicas : REPLICAS_MAX,
                      &min_write);
    if (r == CLI_DONE)
        r = cli_check_segment(c, &segment);
    if (r == CLI_DONE && pool)
        r = cli_check_name("pool", pool);
    if (r != CLI_DONE)
        return r;
    if (durability && strcmp(durability, "flush") != 0 &&
        strcmp(durability, "sync") != 0)
        return cli_usage("--durability \"%s\" cannot be: use flush (a write is "
                         "durable after the next flush) or sync (at once).",
                         durability);
    json_object_set_new(req, "op", json_string("volume-create"));
    json_object_set_new(req, "name", json_string(c->operands[0]));
    set_uint(req, "size", size);
    if (replicas)
        set_uint(req, "replicas", replicas);
    if (min_write)
        set_uint(req, "min_write", min_write);
    if (segment)
        set_uint(req, "segment", segment);
    if (durability)
        json_object_set_new(req, "durability", json_string(durability));
    if (pool)
        json_object_set_new(req, "pool", json_string(pool));
    return CLI_DONE;
}

/* A context may say how many replicas volumes have when nobody says: that of
 * a sandbox with fewer than three nodes does. */
static void add_defaults(const struct kt_context *ctx, json_t *req)
{
    json_t *o = json_load_file(ctx->path, 0, NULL);
    uint64_t replicas = cli_js_uint(json_object_get(o, "defaults"), "replicas");

    if (replicas && !json_object_get(req, "replicas"))
        set_uint(req, "replicas", replicas);
    json_decref(o);
}

static int volume_create(struct cli *c)
{
    json_t *req = json_object();
    json_t *reply;
    char text[KT_SIZE_TEXT_BYTES];
    struct kt_context ctx;
    struct kt_rpc rpc;

    int r = create_request(c, req);
    if (r == CLI_DONE)
        r = cli_hub_open(c, &rpc, &ctx);
    if (r != CLI_DONE) {
        json_decref(req);
        return r;
    }
    add_defaults(&ctx, req);
    r = cli_hub_ask(&rpc, req, &reply);
    kt_rpc_close(&rpc);
    if (r != CLI_DONE)
        return r;
    json_t *v = json_incref(json_object_get(reply, "volume"));
    json_decref(reply);
    if (cli_value(c, "json"))
        return cli_print_json(v);
    printf("volume %s made: %s on %llu replicas.\n", c->operands[0],
           kt_size_format(cli_js_uint(v, "size"), text),
           (unsigned long long)cli_js_uint(v, "replicas"));
    json_decref(v);
    return CLI_DONE;
}

/* "n1 (pid 4711)" or "-" */
static const char *holder_text(const json_t *v, char *ret, size_t size)
{
    const json_t *h = json_object_get(v, "holder");
    unsigned long long pid = cli_js_uint(h, "pid");

    if (!json_is_object(h))
        snprintf(ret, size, "-");
    else if (pid)
        snprintf(ret, size, "%s (pid %llu)", cli_js_text(h, "node"), pid);
    else
        snprintf(ret, size, "%s", cli_js_text(h, "node"));
    return ret;
}

static int volume_ls(struct cli *c)
{
    static const char *const heads[] = {"NAME",  "SIZE",   "REPLICAS", "POOL",
                                        "STATE", "HOLDER", NULL};
    struct cli_table t;
    json_t *reply, *v;
    size_t i;
    char text[128];

    int r = cli_ask(c, json_pack("{s:s}", "op", "volume-ls"), &reply);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "json"))
        return cli_print_json(reply);
    cli_table_init(&t, heads);
    json_array_foreach(json_object_get(reply, "volumes"), i, v)
    {
        cli_table_cell(&t, "%s", cli_js_text(v, "name"));
        cli_table_cell(&t, "%s", kt_size_format(cli_js_uint(v, "size"), text));
        cli_table_cell(&t, "%llu",
                       (unsigned long long)cli_js_uint(v, "replicas"));
        cli_table_cell(&t, "%s", cli_js_text(v, "pool"));
        cli_table_cell(&t, "%s", cli_js_text(v, "state"));
        cli_table_cell(&t, "%s", holder_text(v, text, sizeof(text)));
    }
    cli_table_print(&t, 0);
    json_decref(reply);
    return CLI_DONE;
}

static void chain_rows(struct cli_table *t, const json_t *chain)
{
    const json_t *m;
    size_t i;

    json_array_foreach(json_object_get(chain, "members"), i, m)
    {
        const json_t *at = json_object_get(m, "applied");

        if (i == 0) {
            cli_table_cell(t, "%llu",
                           (unsigned long long)cli_js_uint(chain, "seg"));
            cli_table_cell(t, "%llu",
                           (unsigned long long)cli_js_uint(chain, "id"));
            cli_table_cell(t, "%llu",
                           (unsigned long long)cli_js_uint(chain, "epoch"));
            cli_table_cell(t, "%s", cli_js_text(chain, "phase"));
        } else {
            for (int k = 0; k < 4; k++)
                cli_table_cell(t, "%s", "");
        }
        cli_table_cell(t, "%s", cli_js_text(m, "node"));
        cli_table_cell(t, "%s", cli_js_text(m, "state"));
        cli_table_cell(t, "%s", cli_js_text(m, "role"));
        cli_table_cell(t, "%llu.%llu",
                       (unsigned long long)cli_js_uint(at, "epoch"),
                       (unsigned long long)cli_js_uint(at, "seq"));
    }
}

/* Whole seconds since 1970 as "2026-11-22 15:04:05", other things as they
 * are. */
static void print_time(const char *label, const json_t *t)
{
    char text[32] = "-";
    struct tm tm;

    if (json_is_integer(t)) {
        time_t at = (time_t)json_integer_value(t);
        if (localtime_r(&at, &tm))
            strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    }
    printf("  %-11s %s\n", label,
           json_is_string(t) ? json_string_value(t) : text);
}

static void print_volume(const json_t *v)
{
    static const char *const heads[] = {"SEGMENT", "CHAIN",   "EPOCH",
                                        "PHASE",   "NODE",    "STATE",
                                        "ROLE",    "APPLIED", NULL};
    struct cli_table t;
    const json_t *chain;
    size_t i;
    char text[128];

    printf("%s\n", cli_js_text(v, "name"));
    printf("  %-11s %s\n", "id", cli_js_text(v, "id"));
    printf("  %-11s %s (%llu bytes)\n", "size",
           kt_size_format(cli_js_uint(v, "size"), text),
           (unsigned long long)cli_js_uint(v, "size"));
    printf("  %-11s %s\n", "pool", cli_js_text(v, "pool"));
    printf("  %-11s %s\n", "state", cli_js_text(v, "state"));
    printf("  %-11s %llu, writes wait below %llu\n", "replicas",
           (unsigned long long)cli_js_uint(v, "replicas"),
           (unsigned long long)cli_js_uint(v, "min_write"));
    printf("  %-11s %s\n", "durability", cli_js_text(v, "durability"));
    printf("  %-11s %s\n", "segment",
           kt_size_format(cli_js_uint(v, "segment"), text));
    print_time("created", json_object_get(v, "created"));
    printf("  %-11s %s\n\n", "holder", holder_text(v, text, sizeof(text)));
    cli_table_init(&t, heads);
    json_array_foreach(json_object_get(v, "chains"), i, chain)
        chain_rows(&t, chain);
    cli_table_print(&t, 2);
}

static int volume_inspect(struct cli *c)
{
    char why[512] = "";
    struct kt_rpc rpc;
    json_t *v;

    int r = cli_check_name("volume", c->operands[0]);
    if (r == CLI_DONE)
        r = cli_hub_open(c, &rpc, NULL);
    if (r != CLI_DONE)
        return r;
    int err =
        cli_hub_inspect(&rpc, c->operands[0], 0, true, &v, why, sizeof(why));
    kt_rpc_close(&rpc);
    if (err < 0)
        return cli_fail("%s", why);
    if (cli_value(c, "json"))
        return cli_print_json(v);
    print_volume(v);
    json_decref(v);
    return CLI_DONE;
}

static int volume_rm(struct cli *c)
{
    json_t *reply;

    int r = cli_check_name("volume", c->operands[0]);
    if (r == CLI_DONE)
        r = cli_ask(
            c,
            json_pack("{s:s, s:s}", "op", "volume-rm", "name", c->operands[0]),
            &reply);
    if (r != CLI_DONE)
        return r;
    if (cli_value(c, "json"))
        return cli_print_json(reply);
    printf("volume %s removed.\n", c->operands[0]);
    json_decref(reply);
    return CLI_DONE;
}

static const struct cli_opt create_opts[] = {
    {"size", "SIZE", false, "how large: 4K to 64T, like 10G (required)"},
    {"replicas", "N", false,
     "on how many nodes the data is kept, 1 to 5 (default: the pool's)"},
    {"min-write", "N", false,
     "with fewer replicas than this, writes wait (default: 2, or 1 of 1)"},
    {"segment", "SIZE", false,
     "how much of the volume one chain serves: a power of two from 4M to 16G "
     "(default: the pool's)"},
    {"durability", "WHEN", false,
     "flush: a write is on stable storage after the next flush; sync: before "
     "it is acknowledged (default: flush)"},
    {"pool", "POOL", false, "the pool it is made in (default: default)"},
    {NULL, NULL, false, NULL},
};

const struct cli_verb cli_volume_verbs[] = {
    {"volume", "create", "NAME", 1, 1, volume_create, create_opts,
     "make a volume",
     "The volume is thin: space is taken when data is written. Serve it with: "
     "nbdkit kenter volume=NAME"},
    {"volume", "ls", NULL, 0, 0, volume_ls, NULL, "list the volumes", NULL},
    {"volume", "inspect", "NAME", 1, 1, volume_inspect, NULL,
     "show a volume, its chains and their replicas", NULL},
    {"volume", "rm", "NAME", 1, 1, volume_rm, NULL,
     "remove a volume and its data",
     "Refused while the volume is attached somewhere. The data is gone for "
     "good."},
    {"volume", "verify", "NAME", 1, 1, cli_volume_verify, NULL,
     "compare the replicas of a volume",
     "Asks every serving replica for digests of what it holds and compares "
     "them, while the volume is in use. Names the extents and nodes that "
     "differ; exit status 1 then."},
    {"volume", "attach", "NAME", 1, 1, cli_volume_attach,
     cli_volume_attach_opts, "make a volume a disk of this machine",
     "Prints the device, /dev/nbdN. It outlives this command and the nbdkit "
     "that serves it. Needs root and the kernel's nbd driver."},
    {"volume", "detach", "NAME|DEVICE", 1, 1, cli_volume_detach,
     cli_volume_detach_opts, "flush such a disk and give it back",
     "Refused while it is mounted or claimed by LVM, dm-crypt or swap."},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
