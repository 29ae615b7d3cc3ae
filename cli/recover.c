/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter recover: a volume out of store directories, with neither hub nor
 * cluster. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress.h"
#include "cli/salvage.h"
#include "cli/verbs.h"

#define RUNS_SHOWN 100u

static const char *const losses[] = {
    [SALVAGE_L_OLDER] = "older",   [SALVAGE_L_ZEROS] = "lost",
    [SALVAGE_L_HOLE] = "hole",     [SALVAGE_L_EARLIER] = "earlier",
    [SALVAGE_L_UNSURE] = "unsure", [SALVAGE_L_DOUBTFUL] = "doubtful",
};
static const char *const loss_texts[] = {
    [SALVAGE_L_OLDER] = "the newest bytes are damaged in every store given; "
                        "older ones are in the image",
    [SALVAGE_L_ZEROS] = "damaged in every store given; zeros are in the image",
    [SALVAGE_L_HOLE] = "no store given has this segment; zeros are in the "
                       "image",
    [SALVAGE_L_EARLIER] = "the last records are damaged in every store given; "
                          "the image has this segment as it was before them",
    [SALVAGE_L_UNSURE] = "in every store given a record of the log is damaged "
                         "so that nobody can say whose it was: this segment "
                         "may lack its last writes",
    [SALVAGE_L_DOUBTFUL] = "only copies that were not finished are there: "
                           "older and newer bytes may be mixed",
};

/* ---- listing ---- */

static json_t *store_json(const struct salvage_store *st)
{
    const struct look_info *i = look_info(st->look);
    char hex[KT_ID_HEX_BYTES];
    return json_pack("{s:s, s:s, s:b, s:b, s:b, s:s}", "dir", st->dir, "store",
                     kt_id_hex(&i->uuid, hex), "superblocks_lost",
                     (int)i->super_lost, "index_lost", (int)i->index_lost,
                     "log_damaged", (int)i->log_cut, "text", i->text);
}

static json_t *stores_json(const struct salvage *s)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < s->n; i++)
        json_array_append_new(a, store_json(&s->stores[i]));
    return a;
}

static void print_stores(const struct salvage *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        const struct look_info *info = look_info(s->stores[i].look);
        if (info->text[0])
            printf("%s: %s\n", s->stores[i].dir, info->text);
    }
}

static uint64_t volume_bytes(const struct salvage_volume *v)
{
    return v->size ? v->size : v->extents * KT_EXTENT_BYTES;
}

static int list_json(const struct salvage *s)
{
    json_t *a = json_array();
    char hex[KT_ID_HEX_BYTES];
    for (uint32_t i = 0; i < s->n_volumes; i++) {
        const struct salvage_volume *v = &s->volumes[i];
        json_t *dirs = json_array();
        for (unsigned k = 0; k < s->n; k++)
            if (v->stores >> k & 1)
                json_array_append_new(dirs, json_string(s->stores[k].dir));
        json_array_append_new(
            a,
            json_pack("{s:s, s:s, s:I, s:b, s:o}", "id", kt_id_hex(&v->id, hex),
                      "name", v->name, "size", (json_int_t)volume_bytes(v),
                      "size_exact", v->size != 0, "stores", dirs));
    }
    return cli_print_json(
        json_pack("{s:o, s:o}", "volumes", a, "stores", stores_json(s)));
}

static int list(const struct cli *c, const struct salvage *s)
{
    static const char *const heads[] = {"NAME", "ID", "SIZE", "STORES", NULL};
    struct cli_table t;
    char hex[KT_ID_HEX_BYTES], size[KT_SIZE_TEXT_BYTES];
    if (cli_value(c, "json"))
        return list_json(s);
    print_stores(s);
    cli_table_init(&t, heads);
    for (uint32_t i = 0; i < s->n_volumes; i++) {
        const struct salvage_volume *v = &s->volumes[i];
        cli_table_cell(&t, "%s", v->name[0] ? v->name : "-");
        cli_table_cell(&t, "%s", kt_id_hex(&v->id, hex));
        cli_table_cell(&t, "%s", kt_size_format(volume_bytes(v), size));
        cli_table_cell(&t, "%d of %u", __builtin_popcountll(v->stores), s->n);
    }
    cli_table_print(&t, 0);
    return CLI_DONE;
}

/* ---- report ---- */

static int report_json(const struct salvage *s, const struct salvage_volume *v,
                       const struct salvage_image *m, const char *output)
{
    json_t *runs = json_array();
    char hex[KT_ID_HEX_BYTES];
    for (uint32_t i = 0; i < m->n_runs; i++)
        json_array_append_new(
            runs, json_pack("{s:s, s:I, s:I}", "kind", losses[m->runs[i].loss],
                            "offset", (json_int_t)m->runs[i].off, "length",
                            (json_int_t)m->runs[i].len));
    return cli_print_json(json_pack(
        "{s:s, s:s, s:I, s:b, s:I, s:I, s:b, s:s?, s:o, s:o}", "id",
        kt_id_hex(&v->id, hex), "name", v->name, "size", (json_int_t)m->size,
        "size_exact", v->size != 0, "written", (json_int_t)m->written,
        "segments", (json_int_t)m->segments, "whole", m->n_runs == 0, "output",
        output, "damage", runs, "stores", stores_json(s)));
}

static void report_text(const struct salvage *s, const struct salvage_volume *v,
                        const struct salvage_image *m)
{
    char a[KT_SIZE_TEXT_BYTES], b[KT_SIZE_TEXT_BYTES], hex[KT_ID_HEX_BYTES];
    print_stores(s);
    for (uint32_t i = 0; i < m->n_runs && i < RUNS_SHOWN; i++)
        printf("bytes %llu to %llu: %s\n", (unsigned long long)m->runs[i].off,
               (unsigned long long)(m->runs[i].off + m->runs[i].len - 1),
               loss_texts[m->runs[i].loss]);
    if (m->n_runs > RUNS_SHOWN)
        printf("... and %u runs more\n", m->n_runs - RUNS_SHOWN);
    printf("%s: %s, of which %s are not zero\n",
           v->name[0] ? v->name : kt_id_hex(&v->id, hex),
           kt_size_format(m->size, a), kt_size_format(m->written, b));
    if (!v->size)
        printf("its size was not written down in these stores: the image ends "
               "with its last extent of 4 MiB\n");
}

static int report(const struct cli *c, const struct salvage *s,
                  const struct salvage_volume *v, const struct salvage_image *m)
{
    const char *output = cli_value(c, "output");
    uint64_t lost = 0;
    for (uint32_t i = 0; i < m->n_runs; i++)
        lost += m->runs[i].len;
    if (cli_value(c, "json"))
        (void)report_json(s, v, m, output);
    else
        report_text(s, v, m);
    fflush(stdout);
    if (!lost)
        return CLI_DONE;
    return cli_fail("%llu bytes are not what the volume held last: what is "
                    "above names them. %s; give more stores of the cluster, "
                    "if there are any.",
                    (unsigned long long)lost,
                    output ? "The image has everything else"
                           : "Everything else can be recovered");
}

/* ---- the verb ---- */

static int make_image(const struct cli *c, struct salvage *s,
                      const struct salvage_volume *v)
{
    const char *output = cli_value(c, "output");
    struct cli_progress p;
    struct salvage_image m = {.fd = -1, .progress = cli_progress_show};
    m.arg = &p;
    cli_progress_init(&p, c);
    if (output && !cli_value(c, "dry-run")) {
        m.fd = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (m.fd < 0 && errno == EEXIST)
            return cli_fail("%s exists: nothing is overwritten; name another "
                            "file.",
                            output);
        if (m.fd < 0)
            return cli_fail("%s cannot be made: %s.", output, strerror(errno));
    }
    int err = salvage_image(s, v, &m);
    cli_progress_end(&p);
    if (m.fd >= 0 && close(m.fd) && !err)
        err = -errno;
    int status = CLI_FAILED;
    if (err) {
        if (m.fd >= 0)
            (void)unlink(output);
        status = cli_fail("the image is not made: %s.%s", kt_strerror(err),
                          err == -ENOSPC ? " It needs as much room as the "
                                           "volume holds data; --dry-run tells "
                                           "how much that is."
                                         : "");
    } else {
        status = report(c, s, v, &m);
    }
    free(m.runs);
    return status;
}

static int check_usage(const struct cli *c)
{
    bool volume = cli_value(c, "volume") != NULL;
    bool output = cli_value(c, "output") != NULL;
    if (!volume && (output || cli_value(c, "dry-run")))
        return cli_usage("--volume is missing: say which volume, by name or "
                         "id; without --output all are listed.");
    if (volume && !output && !cli_value(c, "dry-run"))
        return cli_usage("--output is missing: say where the image goes, or "
                         "give --dry-run to see what there is to recover.");
    return CLI_DONE;
}

static int recover(struct cli *c)
{
    struct salvage s;
    char why[1024] = "";
    int status = check_usage(c);
    if (status != CLI_DONE)
        return status;
    if (cli_value(c, "output") && access(cli_value(c, "output"), F_OK) == 0)
        return cli_fail("%s exists: nothing is overwritten; name another file.",
                        cli_value(c, "output"));
    int err = salvage_open(&s, c->operands, c->n_operands, why, sizeof(why));
    if (err) {
        salvage_close(&s);
        return cli_fail("%s", why);
    }
    const char *what = cli_value(c, "volume");
    const struct salvage_volume *v =
        what ? salvage_find(&s, what, why, sizeof(why)) : NULL;
    if (!what)
        status = list(c, &s);
    else
        status = v ? make_image(c, &s, v) : cli_fail("%s", why);
    salvage_close(&s);
    return status;
}

static const struct cli_opt recover_opts[] = {
    {"stores", NULL, false,
     "what follows are store directories (the word may be left out)"},
    {"volume", "NAME|ID", false, "which one; without it all there are, listed"},
    {"output", "FILE", false, "the image, which must not exist yet"},
    {"dry-run", NULL, false, "read everything and write nothing"},
    {NULL, NULL, false, NULL},
};

const struct cli_verb cli_recover_verbs[] = {
    {"recover", NULL, "DIR", 1, SALVAGE_STORES_MAX, recover, recover_opts,
     "rebuild a volume from raw store directories",
     "For when hub and cluster are gone. One store that was in service has all "
     "of a volume's segments that were placed on its node; more stores make up "
     "for what is damaged in one of them, sector by sector: the newest content "
     "whose checksum matches wins. What is missing, damaged everywhere or only "
     "there in an older form is listed, and the exit status is 1 then. "
     "Replicators of these stores must not run. The directories are read and "
     "never written."},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
