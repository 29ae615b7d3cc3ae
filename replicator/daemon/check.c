/* SPDX-License-Identifier: BSD-3-Clause */
/* The report of the offline check. Problems are listed as they are found, the
 * first PROBLEMS_SHOWN of them; the end says what they mean. */
#include "replicator/daemon/check.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/text.h"
#include "replicator/store/check.h"

#define PROBLEMS_SHOWN 100u
#define WHY_BYTES 1024u

static const char *const parts[] = {
    [STORE_PART_SUPER] = "superblock", [STORE_PART_INDEX] = "index",
    [STORE_PART_LOG] = "log",          [STORE_PART_SLOTS] = "slots",
    [STORE_PART_SECTOR] = "sector",
};

struct report {
    struct store_check c;
    json_t *list; /* of problems */
    bool whole;   /* one of them concerns the store as a whole */
};

static json_t *whole_number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static void on_problem(void *arg, const struct store_problem *p)
{
    struct report *r = arg;
    r->whole = r->whole || p->part == STORE_PART_INDEX ||
               p->part == STORE_PART_LOG ||
               (p->part == STORE_PART_SUPER && kt_id_is_zero(&r->c.uuid));
    if (json_array_size(r->list) >= PROBLEMS_SHOWN)
        return;
    json_t *j =
        json_pack("{s:s, s:s}", "part", parts[p->part], "text", p->text);
    if (j && (p->part == STORE_PART_SECTOR || p->part == STORE_PART_SLOTS)) {
        json_object_set_new(j, "chain", whole_number(p->chain));
        json_object_set_new(j, "extent", whole_number(p->extent));
        json_object_set_new(j, "sector", whole_number(p->sector));
        json_object_set_new(j, "file", json_string(p->file));
        json_object_set_new(j, "offset", whole_number(p->off));
    }
    json_array_append_new(r->list, j);
}

/* ---- as JSON ---- */

static void print_json(const struct report *r, const char *dir, FILE *out)
{
    const struct store_check *c = &r->c;
    char uuid[KT_ID_HEX_BYTES], node[KT_ID_HEX_BYTES];
    json_t *j =
        json_pack("{s:i, s:s, s:b, s:s, s:s, s:I, s:I, s:b, s:b, s:b}",
                  "version", 1, "dir", dir, "sound", c->problems == 0, "store",
                  kt_id_hex(&c->uuid, uuid), "node", kt_id_hex(&c->node, node),
                  "format", (json_int_t)c->format, "incarnation",
                  (json_int_t)c->incarnation, "clean", c->clean, "index_read",
                  c->index_read, "log_read", c->log_read);
    const struct {
        const char *name;
        uint64_t v;
    } numbers[] = {
        {"segments", c->segments}, {"records", c->records},
        {"fresh", c->fresh},       {"end_lsn", c->end_lsn},
        {"chains", c->chains},     {"extents", c->extents},
        {"slots", c->slots},       {"slots_used", c->slots_used},
        {"sectors", c->sectors},   {"n_problems", c->problems},
    };
    for (unsigned i = 0; i < KT_ARRAY_LEN(numbers); i++)
        json_object_set_new(j, numbers[i].name, whole_number(numbers[i].v));
    json_object_set(j, "problems", r->list);
    json_dumpf(j, out, JSON_INDENT(2));
    fputc('\n', out);
    json_decref(j);
}

/* ---- for people ---- */

static void print_problem(const json_t *p, FILE *out)
{
    const char *text = json_string_value(json_object_get(p, "text"));
    const json_t *chain = json_object_get(p, "chain");
    if (!chain) {
        fprintf(out, "  %s: %s\n",
                json_string_value(json_object_get(p, "part")), text);
        return;
    }
    fprintf(out,
            "  chain %" JSON_INTEGER_FORMAT ", extent %" JSON_INTEGER_FORMAT
            ", sector %" JSON_INTEGER_FORMAT ": %s (%s at byte "
            "%" JSON_INTEGER_FORMAT ")\n",
            json_integer_value(chain),
            json_integer_value(json_object_get(p, "extent")),
            json_integer_value(json_object_get(p, "sector")), text,
            json_string_value(json_object_get(p, "file")),
            json_integer_value(json_object_get(p, "offset")));
}

static void print_numbers(const struct store_check *c, FILE *out)
{
    char size[KT_SIZE_TEXT_BYTES];
    if (c->log_read)
        fprintf(out,
                "log       %llu segments, %llu records, the last is %llu; "
                "%llu not in the slots yet\n",
                (unsigned long long)c->segments, (unsigned long long)c->records,
                (unsigned long long)c->end_lsn, (unsigned long long)c->fresh);
    if (c->index_read)
        fprintf(out,
                "index     %llu chains, %llu extents\n"
                "slots     %llu of %llu in use; %llu sectors (%s) read\n",
                (unsigned long long)c->chains, (unsigned long long)c->extents,
                (unsigned long long)c->slots_used, (unsigned long long)c->slots,
                (unsigned long long)c->sectors,
                kt_size_format(c->sectors * KT_SECTOR_BYTES, size));
}

static void print_verdict(const struct report *r, FILE *out)
{
    uint64_t n = r->c.problems;
    if (n == 0) {
        fprintf(out, "sound: every sum matches\n");
        return;
    }
    fprintf(out, "%llu problem%s:\n", (unsigned long long)n, n == 1 ? "" : "s");
    for (size_t i = 0; i < json_array_size(r->list); i++)
        print_problem(json_array_get(r->list, i), out);
    if (n > json_array_size(r->list))
        fprintf(out, "  ... and %llu more\n",
                (unsigned long long)n - json_array_size(r->list));
    fputs(r->whole
              ? "damaged: this store cannot be opened. The other replicas have "
                "what it held: move\nthe directory away and start the node "
                "with an empty one.\n"
              : "damaged: none of it is ever handed out; reads are answered by "
                "the other replicas.\nLook at the disk. To have it all copied "
                "anew, move the directory away and start\nthe node with an "
                "empty one, when the other replicas are healthy.\n",
          out);
}

static void print_text(const struct report *r, const char *dir, FILE *out)
{
    const struct store_check *c = &r->c;
    char uuid[KT_ID_HEX_BYTES];
    fprintf(out, "store     %s\n", dir);
    if (!kt_id_is_zero(&c->uuid))
        fprintf(out, "identity  %s, format %u, opened %llu times, %s\n",
                kt_id_hex(&c->uuid, uuid), c->format,
                (unsigned long long)c->incarnation,
                c->clean ? "closed" : "not closed since");
    print_numbers(c, out);
    print_verdict(r, out);
}

int check_main(const char *dir, bool json, FILE *out)
{
    char why[WHY_BYTES] = "";
    struct report r = {.list = json_array()};
    r.c.problem = on_problem;
    r.c.arg = &r;
    if (kt_boot_id(&r.c.boot) < 0)
        memset(&r.c.boot, 0, sizeof(r.c.boot));
    int err = r.list ? store_check(dir, &r.c, why, sizeof(why)) : -ENOMEM;
    if (err) {
        fprintf(stderr, "kenter-replicator: %s\n",
                why[0] ? why : kt_strerror(err));
        json_decref(r.list);
        return CHECK_FAILED;
    }
    if (json)
        print_json(&r, dir, out);
    else
        print_text(&r, dir, out);
    json_decref(r.list);
    return r.c.problems ? CHECK_DAMAGED : CHECK_SOUND;
}
