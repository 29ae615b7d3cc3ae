/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter volume attach and detach: a volume as a device of this machine's
 * kernel. The work is done by kenter-attachd (attach/). */
#include "attach/attach.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/verbs.h"

#define WAIT_S 15u
#define WAIT_S_MAX 86400u

/* The volume's id, from what is attached here or else from the hub. ret_context
 * is the file the hub was found by, "" when it was not asked. */
static int find_volume(const struct cli *c, struct kt_id *ret_id,
                       char ret_context[PATH_MAX])
{
    char why[512] = "";
    const char *name = c->operands[0];
    struct attach_found f;
    struct kt_context ctx;
    struct kt_rpc rpc;
    json_t *v;

    const char *given = cli_value(c, "context");
    ret_context[0] = 0;
    if (attach_find(cli_value(c, "run-dir"), name, &f) == 0) {
        *ret_id = f.id;
        if (given && !realpath(given, ret_context))
            return cli_fail("%s: %s.", given, strerror(errno));
        return CLI_DONE;
    }
    int r = cli_hub_open(c, &rpc, &ctx);
    if (r != CLI_DONE)
        return r;
    int err = cli_hub_inspect(&rpc, name, 0, false, &v, why, sizeof(why));
    kt_rpc_close(&rpc);
    if (err < 0)
        return cli_fail("%s", why);
    err = kt_id_parse(cli_js_text(v, "id"), ret_id);
    json_decref(v);
    if (err < 0)
        return cli_fail("the hub gives volume %s no id; is it of another "
                        "version?",
                        name);
    if (!realpath(ctx.path, ret_context))
        return cli_fail("%s: %s.", ctx.path, strerror(errno));
    return CLI_DONE;
}

static int check_run_dir(const struct cli *c)
{
    const char *dir = cli_value(c, "run-dir");

    if (dir && dir[0] != '/')
        return cli_usage("--run-dir %s has to begin with a slash.", dir);
    return CLI_DONE;
}

static int check_attach(const struct cli *c, struct attach_request *q)
{
    q->name = c->operands[0];
    q->run_dir = cli_value(c, "run-dir");
    q->device = cli_value(c, "device");
    q->steal = cli_value(c, "steal") != NULL;
    int r = cli_check_name("volume", q->name);
    if (r == CLI_DONE)
        r = check_run_dir(c);
    if (r == CLI_DONE)
        r = cli_count(c, "wait", WAIT_S, 0, WAIT_S_MAX, &q->wait_s);
    if (r == CLI_DONE && q->device && !attach_device_valid(q->device))
        return cli_usage("--device %s is none: use /dev/nbd0, /dev/nbd1 and "
                         "so on.",
                         q->device);
    return r;
}

int cli_volume_attach(struct cli *c)
{
    char dev[ATTACH_PATH_BYTES], why[ATTACH_WHY_BYTES], context[PATH_MAX];
    struct attach_request q = {0};

    int r = check_attach(c, &q);
    if (r == CLI_DONE)
        r = find_volume(c, &q.id, context);
    if (r != CLI_DONE)
        return r;
    if (*context)
        q.context = context;
    int err = attach_up(&q, dev, why);
    if (err == -EALREADY)
        return cli_fail("%s; use that, or detach it first.", why);
    /* The hub does not know what its word is called here. */
    char *word = strstr(why, "take it with steal");
    if (err < 0 && word) {
        *word = 0;
        return cli_fail("%stake it with --steal.", why);
    }
    if (err < 0)
        return cli_fail("%s", why);
    if (cli_value(c, "json"))
        return cli_print_json(
            json_pack("{s:s, s:s}", "volume", q.name, "device", dev));
    printf("%s\n", dev);
    return CLI_DONE;
}

int cli_volume_detach(struct cli *c)
{
    const char *what = c->operands[0], *run_dir = cli_value(c, "run-dir");
    char why[ATTACH_WHY_BYTES];
    struct attach_found f;

    int r = check_run_dir(c);
    if (r != CLI_DONE)
        return r;
    if (strncmp(what, "/dev/", 5) == 0) {
        if (attach_find(run_dir, what, &f) < 0)
            return cli_fail("no volume is attached here as %s.", what);
        what = f.name;
    } else {
        r = cli_check_name("volume", what);
        if (r != CLI_DONE)
            return r;
    }
    int err = attach_down(run_dir, what, cli_value(c, "force") != NULL, why);
    if (err < 0)
        return cli_fail("%s.", why);
    if (cli_value(c, "json"))
        return cli_print_json(json_pack("{s:s}", "volume", what));
    printf("volume %s detached.\n", what);
    return CLI_DONE;
}

static const char run_dir_help[] =
    "where the state of attached volumes is (default: $KENTER_RUN_DIR, then "
    "/run/kenter)";

const struct cli_opt cli_volume_attach_opts[] = {
    {"device", "/dev/nbdN", false, "this device (default: a free one)"},
    {"steal", NULL, false,
     "take the volume from its holder, who gets errors from then on"},
    {"wait", "SECONDS", false,
     "how long to wait for another holder to let go (default: 15)"},
    {"run-dir", "DIR", false, run_dir_help},
    {NULL, NULL, false, NULL},
};

const struct cli_opt cli_volume_detach_opts[] = {
    {"force", NULL, false,
     "even if it is in use or cannot be flushed: what is not written is lost, "
     "and its users get errors"},
    {"run-dir", "DIR", false, run_dir_help},
    {NULL, NULL, false, NULL},
};
