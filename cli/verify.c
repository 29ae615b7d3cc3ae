/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter volume verify (C10): are the replicas of a volume the same?
 *
 *  1. The hub tells the chains and where their SERVING members are.
 *  2. Each chain is compared window by window: every member is asked at the
 *     same time for the digests of the same extents.
 *  3. The same id of the last record with another sum is damage (I7, I21).
 * Other ids mean that a write is on its way: the window is asked again, until
 * its busy extents agree. When they stand still and still differ, that is
 *     damage too: a record is missing.
 *  4. A chain that changes meanwhile is asked for again at the hub and begun
 *     anew. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/verbs.h"
#include "cli/verify.h"

#define BUSY_TRIES 50u
#define BUSY_NAP_MS 20u
#define STILL_TRIES 40u /* so often the same rows: nothing is on its way */
#define CHAIN_TRIES 20u
#define CHAIN_NAP_MS 500u

struct verify {
    struct cli *c;
    struct kt_rpc hub;
    struct kt_id cluster;
    struct verify_chain chain;
    struct kt_digest_row rows[KT_MEMBERS_MAX * VERIFY_WINDOW];
    struct kt_digest_row before[KT_MEMBERS_MAX * VERIFY_WINDOW];
    unsigned still[VERIFY_WINDOW];
    bool settled[VERIFY_WINDOW];
    uint64_t compared; /* extents, finished chains only */
    uint64_t here;     /* of the present chain */
    uint64_t total;
    unsigned replicas; /* the fewest of any chain */
    bool progress;
    json_t *differ, *differ_here;
    json_t *busy, *busy_here;
};

enum verify_verdict verify_rows(const struct kt_digest_row *rows, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        if (!kt_rid_eq(rows[i].id, rows[0].id))
            return VERIFY_BUSY;
    }
    for (unsigned i = 1; i < n; i++) {
        if (rows[i].state != rows[0].state ||
            !kt_id_eq(&rows[i].sum, &rows[0].sum))
            return VERIFY_DAMAGE;
    }
    return VERIFY_SAME;
}

static void nap(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000,
                               .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static void show_progress(const struct verify *v)
{
    if (v->progress)
        fprintf(stderr, "\r%llu of %llu extents compared ",
                (unsigned long long)(v->compared + v->here),
                (unsigned long long)v->total);
}

static void clear_progress(const struct verify *v)
{
    if (v->progress)
        fprintf(stderr, "\r%60s\r", "");
}

/* What each member has of one extent. */
static json_t *describe(const struct verify *v, uint32_t lo, uint32_t i)
{
    const struct verify_chain *vc = &v->chain;
    json_t *nodes = json_array();
    char hex[KT_ID_HEX_BYTES];

    for (unsigned m = 0; m < vc->n; m++) {
        const struct kt_digest_row *r = &v->rows[m * VERIFY_WINDOW + i];
        json_array_append_new(
            nodes,
            json_pack("{s:s, s:{s:I, s:I}, s:s, s:b, s:b}", "node",
                      vc->m[m].node, "id", "epoch", (json_int_t)r->id.epoch,
                      "seq", (json_int_t)r->id.seq, "sum",
                      kt_id_hex(&r->sum, hex), "allocated",
                      (r->state & KT_DIGEST_F_ALLOC) != 0, "partial",
                      (r->state & KT_DIGEST_F_PARTIAL) != 0));
    }
    return json_pack("{s:I, s:I, s:o}", "extent",
                     (json_int_t)(vc->first_extent + lo + i), "chain",
                     (json_int_t)vc->chain, "replicas", nodes);
}

/* Judges one extent of the window as it stands now. */
static void judge(struct verify *v, uint32_t lo, uint32_t i, bool last)
{
    struct kt_digest_row rows[KT_MEMBERS_MAX];
    bool moved = false;

    for (unsigned m = 0; m < v->chain.n; m++) {
        unsigned at = m * VERIFY_WINDOW + i;
        rows[m] = v->rows[at];
        moved = moved || !kt_rid_eq(v->before[at].id, rows[m].id);
    }
    v->still[i] = moved ? 0 : v->still[i] + 1;
    switch (verify_rows(rows, v->chain.n)) {
    case VERIFY_SAME:
        v->settled[i] = true;
        break;
    case VERIFY_DAMAGE:
        json_array_append_new(v->differ_here, describe(v, lo, i));
        v->settled[i] = true;
        break;
    case VERIFY_BUSY:
        if (v->still[i] >= STILL_TRIES)
            json_array_append_new(v->differ_here, describe(v, lo, i));
        else if (last)
            json_array_append_new(v->busy_here, describe(v, lo, i));
        v->settled[i] = last || v->still[i] >= STILL_TRIES;
        break;
    }
}

static int compare_window(struct verify *v, uint32_t lo, uint32_t n,
                          char *ret_why, size_t size)
{
    memset(v->still, 0, sizeof(v->still));
    memset(v->settled, 0, sizeof(v->settled));
    memset(v->before, 0xff, sizeof(v->before));
    for (unsigned try = 1;; try++) {
        unsigned open = 0;
        int r = verify_ask(&v->chain, lo, n, v->rows, ret_why, size);
        if (r < 0)
            return r;
        for (uint32_t i = 0; i < n; i++) {
            if (!v->settled[i])
                judge(v, lo, i, try == BUSY_TRIES);
            open += !v->settled[i];
        }
        if (open == 0)
            return 0;
        memcpy(v->before, v->rows, sizeof(v->before));
        nap(BUSY_NAP_MS);
    }
}

static int compare_chain(struct verify *v, const json_t *ch, char *ret_why,
                         size_t size)
{
    v->here = 0;
    json_array_clear(v->differ_here);
    json_array_clear(v->busy_here);
    int r = verify_connect(&v->chain, ch, &v->cluster, ret_why, size);
    if (r == 0 && v->chain.n == 0) {
        snprintf(ret_why, size,
                 "no replica of chain %llu serves: \"kenter status\" tells "
                 "why.",
                 (unsigned long long)v->chain.chain);
        r = -EAGAIN;
    }
    for (uint32_t lo = 0; r == 0 && lo < v->chain.extents;
         lo += VERIFY_WINDOW) {
        uint32_t n = v->chain.extents - lo;
        if (n > VERIFY_WINDOW)
            n = VERIFY_WINDOW;
        r = compare_window(v, lo, n, ret_why, size);
        v->here += n;
        show_progress(v);
    }
    if (r == 0) {
        v->compared += v->chain.extents;
        if (v->chain.n < v->replicas)
            v->replicas = v->chain.n;
        json_array_extend(v->differ, v->differ_here);
        json_array_extend(v->busy, v->busy_here);
    }
    v->here = 0;
    verify_disconnect(&v->chain);
    return r;
}

/* Chain number i, asked for again at the hub when it moved meanwhile. */
static int compare_number(struct verify *v, uint64_t i, char *ret_why,
                          size_t size)
{
    json_t *volume;

    for (unsigned try = 1;; try++) {
        int r = cli_hub_inspect(&v->hub, v->c->operands[0], i, false, &volume,
                                ret_why, size);
        if (r < 0)
            return r;
        const json_t *ch = json_array_get(json_object_get(volume, "chains"), 0);
        r = ch ? compare_chain(v, ch, ret_why, size) : 0;
        json_decref(volume);
        if (r != -EAGAIN || try == CHAIN_TRIES)
            return r;
        nap(CHAIN_NAP_MS);
    }
}

static int compare_all(struct verify *v, char *ret_why, size_t size)
{
    json_t *volume;
    const json_t *ch;
    size_t i;

    int r = cli_hub_inspect(&v->hub, v->c->operands[0], 0, true, &volume,
                            ret_why, size);
    if (r < 0)
        return r;
    size_t n = json_array_size(json_object_get(volume, "chains"));
    json_array_foreach(json_object_get(volume, "chains"), i, ch)
    {
        v->total += cli_js_uint(ch, "extents");
    }
    json_decref(volume);
    for (i = 0; i < n && r == 0; i++)
        r = compare_number(v, i, ret_why, size);
    return r;
}

/* "extent 12: n1 1.40 8f3a.., n2 1.40 77b1.." for people. */
static void print_rows(const json_t *list, const char *what)
{
    const json_t *e, *n;
    size_t i, k;

    json_array_foreach(list, i, e)
    {
        printf("extent %llu %s:", (unsigned long long)cli_js_uint(e, "extent"),
               what);
        json_array_foreach(json_object_get(e, "replicas"), k, n)
        {
            const json_t *id = json_object_get(n, "id");
            printf("%s %s has %llu.%llu sum %.8s%s", k ? "," : "",
                   cli_js_text(n, "node"),
                   (unsigned long long)cli_js_uint(id, "epoch"),
                   (unsigned long long)cli_js_uint(id, "seq"),
                   cli_js_text(n, "sum"),
                   json_is_true(json_object_get(n, "partial")) ? " (incomplete)"
                                                               : "");
        }
        putchar('\n');
    }
}

static int report(struct verify *v)
{
    size_t differ = json_array_size(v->differ);
    size_t busy = json_array_size(v->busy);

    if (cli_value(v->c, "json"))
        (void)cli_print_json(json_pack(
            "{s:s, s:b, s:I, s:i, s:O, s:O}", "volume", v->c->operands[0], "ok",
            differ + busy == 0, "extents", (json_int_t)v->compared, "replicas",
            (int)v->replicas, "differ", v->differ, "busy", v->busy));
    else {
        print_rows(v->differ, "differs");
        print_rows(v->busy, "is busy");
        printf("%llu extents compared on %u replica%s, %zu differ\n",
               (unsigned long long)(v->compared - busy), v->replicas,
               v->replicas == 1 ? "" : "s", differ);
    }
    fflush(stdout);
    if (differ)
        return cli_fail("%zu extents of %s differ between replicas: what is "
                        "above names them; the data of one replica is wrong.",
                        differ, v->c->operands[0]);
    if (busy)
        return cli_fail("%zu extents were written all the time and are not "
                        "compared: run it again when there are fewer writes.",
                        busy);
    return CLI_DONE;
}

int cli_volume_verify(struct cli *c)
{
    struct kt_context ctx;
    char why[512] = "";

    int status = cli_check_name("volume", c->operands[0]);
    if (status != CLI_DONE)
        return status;
    struct verify *v = calloc(1, sizeof(*v));
    if (!v)
        return cli_fail("memory is out.");
    v->c = c;
    v->replicas = KT_MEMBERS_MAX;
    v->progress = cli_on_terminal() && !cli_value(c, "json");
    v->differ = json_array();
    v->busy = json_array();
    v->differ_here = json_array();
    v->busy_here = json_array();
    status = cli_hub_open(c, &v->hub, &ctx);
    if (status == CLI_DONE) {
        v->cluster = ctx.cluster;
        int r = compare_all(v, why, sizeof(why));
        kt_rpc_close(&v->hub);
        clear_progress(v);
        status = r < 0 ? cli_fail("%s", why) : report(v);
    }
    json_decref(v->differ);
    json_decref(v->busy);
    json_decref(v->differ_here);
    json_decref(v->busy_here);
    free(v);
    return status;
}
