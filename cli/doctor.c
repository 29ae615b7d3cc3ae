/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter doctor: looks at this machine for what users of the volume driver
 * run into, and says for each what mends it. It changes nothing. */
#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"

static const char *const states[] = {"ok", "skipped", "warning", "problem"};

void doctor_say(struct doctor *d, enum doctor_state state, const char *fix,
                const char *fmt, ...)
{
    char text[DOCTOR_TEXT_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_t *o = json_pack("{s:s, s:s, s:s}", "check", d->check, "state",
                          states[state], "text", text);
    json_object_set_new(o, "fix", fix ? json_string(fix) : json_null());
    json_array_append_new(d->findings, o);
    d->found[state]++;
}

char *doctor_path(const struct doctor *d, const char *path,
                  char ret[DOCTOR_PATH_BYTES])
{
    snprintf(ret, DOCTOR_PATH_BYTES, "%s%s", d->root, path);
    return ret;
}

char *doctor_option(const struct doctor *d, const char *name, const char *dflt,
                    char ret[DOCTOR_PATH_BYTES])
{
    const char *given = cli_value(d->c, name);

    return doctor_path(d, given ? given : dflt, ret);
}

const json_t *doctor_volume(const struct doctor *d, const char *field,
                            const char *value)
{
    const json_t *v;
    size_t i;

    json_array_foreach(d->volumes, i, v)
    {
        if (strcmp(cli_js_text(v, field), value) == 0)
            return v;
    }
    return NULL;
}

/* ---- the hub, whom the other checks need ---- */

static json_t *ask(struct kt_rpc *rpc, const char *op, const char *field,
                   char *why, size_t size)
{
    json_t *reply, *a;

    if (cli_hub_try(rpc, json_pack("{s:s}", "op", op), &reply, why, size) < 0)
        return NULL;
    a = json_incref(json_object_get(reply, field));
    json_decref(reply);
    return a;
}

static void doctor_hub(struct doctor *d)
{
    char why[DOCTOR_TEXT_BYTES] = "";
    struct kt_context ctx;
    struct kt_msg hello;
    struct kt_rpc rpc;

    int err =
        kt_context_load(cli_value(d->c, "context"), &ctx, why, sizeof(why));
    if (err < 0) {
        doctor_say(d, DOCTOR_PROBLEM, "kenter status --context FILE", "%s",
                   why);
        return;
    }
    snprintf(d->node, sizeof(d->node), "%s", ctx.node);
    cli_hello(&hello, &ctx.cluster);
    err = kt_rpc_open_hub(&rpc, &ctx, &hello, CLI_CONNECT_MS, why, sizeof(why));
    if (err == 0) {
        d->volumes = ask(&rpc, "volume-ls", "volumes", why, sizeof(why));
        d->nodes = ask(&rpc, "node-ls", "nodes", why, sizeof(why));
        kt_rpc_close(&rpc);
    }
    if (!d->volumes || !d->nodes)
        doctor_say(d, DOCTOR_PROBLEM, "systemctl restart kenter-hub",
                   "the hub is not reached (%s): what is mounted goes on, and "
                   "nothing new can be attached. Restart it where it runs",
                   why);
    else
        doctor_say(d, DOCTOR_OK, NULL, "the hub answers, with %zu volumes",
                   json_array_size(d->volumes));
}

/* ---- all of it ---- */

static const struct {
    const char *name;
    void (*run)(struct doctor *d);
} checks[] = {
    {"hub", doctor_hub},       {"driver", doctor_driver},
    {"docker", doctor_engine}, {"kernel", doctor_kernel},
    {"mounts", doctor_mounts}, {"devices", doctor_devices},
    {"store", doctor_store},   {"clock", doctor_clock},
};

static void print(const struct doctor *d)
{
    const json_t *o;
    size_t i;

    json_array_foreach(d->findings, i, o)
    {
        const char *fix = cli_js_text(o, "fix");
        printf("%-8s %-8s %s\n", cli_js_text(o, "state"),
               cli_js_text(o, "check"), cli_js_text(o, "text"));
        if (*fix)
            printf("%18s%s\n", "mend: ", fix);
    }
    printf("%u problems, %u warnings\n", d->found[DOCTOR_PROBLEM],
           d->found[DOCTOR_WARNING]);
}

static int doctor(struct cli *c)
{
    const char *root = cli_value(c, "root");
    struct doctor d = {.c = c, .root = root ? root : ""};

    d.findings = json_array();
    for (size_t i = 0; i < KT_ARRAY_LEN(checks); i++) {
        d.check = checks[i].name;
        checks[i].run(&d);
    }
    json_decref(d.volumes);
    json_decref(d.nodes);
    if (cli_value(c, "json"))
        cli_print_json(json_pack("{s:O, s:i, s:i}", "findings", d.findings,
                                 "problems", (int)d.found[DOCTOR_PROBLEM],
                                 "warnings", (int)d.found[DOCTOR_WARNING]));
    else
        print(&d);
    json_decref(d.findings);
    return d.found[DOCTOR_PROBLEM] ? CLI_FAILED : CLI_DONE;
}

static const struct cli_opt doctor_opts[] = {
    {"socket", "PATH", false,
     "the volume driver's (default: /run/docker/plugins/kenter.sock)"},
    {"docker", "PATH", false,
     "the Docker engine's socket (default: /run/docker.sock)"},
    {"mounts", "DIR", false,
     "where volumes are mounted (default: /var/lib/kenter/volumes)"},
    {"run-dir", "DIR", false,
     "where the state of attached volumes is (default: /run/kenter)"},
    {"root", "DIR", false,
     "look at the machine whose files are below DIR (default: this one)"},
    {NULL, NULL, false, NULL},
};

const struct cli_verb cli_doctor_verbs[] = {
    {"doctor", NULL, NULL, 0, 0, doctor, doctor_opts,
     "what is wrong on this machine, and what mends it",
     "Looks at the hub, the volume driver, the Docker engine, the kernel, "
     "mounted "
     "file systems, devices, the store and the clock; changes nothing. Exit "
     "status 1 when there is a problem; a warning is none."},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL},
};
