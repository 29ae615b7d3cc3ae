/* SPDX-License-Identifier: BSD-3-Clause */
/* The volume driver, and what the Docker engine thinks of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "volplugin/core/spec.h"

#define SOCKET "/run/docker/plugins/kenter.sock"
#define ENGINE "/run/docker.sock"
#define DRIVER "kenter"

json_t *doctor_get(const struct doctor *d, const char *name)
{
    char path[DOCTOR_PATH_BYTES], body[KT_NAME_MAX + 32];
    json_t *o, *v = NULL;

    snprintf(body, sizeof(body), "{\"Name\":\"%.*s\"}", (int)KT_NAME_MAX, name);
    if (!d->driver || doctor_http(doctor_option(d, "socket", SOCKET, path),
                                  "POST", "/VolumeDriver.Get", body, &o) < 0)
        return NULL;
    v = json_incref(json_object_get(o, "Volume"));
    json_decref(o);
    return v;
}

void doctor_driver(struct doctor *d)
{
    static const char start[] =
        "systemctl enable --now kenter-volplugin.socket kenter-volplugin";
    char path[DOCTOR_PATH_BYTES];
    struct stat st;
    json_t *o;

    doctor_option(d, "socket", SOCKET, path);
    if (stat(path, &st) < 0) {
        doctor_say(d, DOCTOR_PROBLEM, start,
                   "the volume driver does not run: there is no socket %s",
                   path);
        return;
    }
    int r = doctor_http(path, "POST", "/Plugin.Activate", "", &o);
    if (r == -ECONNREFUSED || !S_ISSOCK(st.st_mode)) {
        doctor_say(d, DOCTOR_PROBLEM,
                   "systemctl restart kenter-volplugin.socket kenter-volplugin",
                   "nobody listens at the socket %s, which a driver left that "
                   "died; Docker waits 15 s for each volume when it starts",
                   path);
    } else if (r < 0) {
        doctor_say(d, DOCTOR_PROBLEM, "systemctl restart kenter-volplugin",
                   "the volume driver does not answer at %s: %s", path,
                   r == -EPROTO ? "what comes is no answer" : kt_strerror(r));
    } else {
        d->driver = true;
        json_decref(o);
        doctor_say(d, DOCTOR_OK, NULL, "the volume driver answers at %s", path);
    }
}

/* ---- the engine ---- */

static void check_known(struct doctor *d, const json_t *info)
{
    const json_t *o, *all = json_object_get(info, "Plugins");
    size_t i;

    json_array_foreach(json_object_get(all, "Volume"), i, o)
    {
        if (json_is_string(o) && strcmp(json_string_value(o), DRIVER) == 0) {
            doctor_say(d, DOCTOR_OK, NULL, "Docker knows the driver " DRIVER);
            return;
        }
    }
    doctor_say(d, DOCTOR_PROBLEM, "docker volume ls",
               "Docker does not know the driver " DRIVER " yet: Swarm places "
               "no task with a volume here. Listing volumes makes it look");
}

/* A volume of the cluster's name that is only on this machine's disk. */
static void check_shadow(struct doctor *d, const char *name)
{
    char fix[KT_NAME_MAX + 64];

    if (!doctor_volume(d, "name", name))
        return;
    snprintf(fix, sizeof(fix), "docker volume rm %s", name);
    doctor_say(d, DOCTOR_PROBLEM, fix,
               "Docker has a volume %s of the driver local, on this machine's "
               "disk: containers get that and not the cluster's %s. Copy out "
               "what is in it first",
               name, name);
}

/* Whether text, "size=1 fs=ext4", has the option with another value. */
static bool differs(const char *text, const char *option)
{
    char key[64], both[64 + VOL_SPEC_TEXT_BYTES],
        padded[VOL_SPEC_TEXT_BYTES + 3];

    snprintf(padded, sizeof(padded), " %s ", text);
    snprintf(key, sizeof(key), " %.*s=", (int)strcspn(option, "="), option);
    snprintf(both, sizeof(both), " %s ", option);
    return strstr(padded, key) && !strstr(padded, both);
}

static void check_options(struct doctor *d, const char *name, json_t *options,
                          const char *real)
{
    char why[VOL_WHY_BYTES], text[VOL_SPEC_TEXT_BYTES];
    json_t *value;
    const char *key;

    json_object_foreach(options, key, value)
    {
        struct vol_spec s;
        memset(&s, 0, sizeof(s));
        if (!json_is_string(value) ||
            vol_spec_add(&s, key, json_string_value(value), why) < 0)
            continue;
        if (differs(real, vol_spec_text(&s, text)))
            doctor_say(d, DOCTOR_WARNING, "systemctl restart docker",
                       "Docker remembers other options for the volume %s: %s; "
                       "it has %s. What it has counts",
                       name, text, real);
    }
}

static void check_driven(struct doctor *d, const char *name, json_t *options)
{
    char fix[KT_NAME_MAX + 64];

    if (d->volumes && !doctor_volume(d, "name", name)) {
        snprintf(fix, sizeof(fix), "docker volume rm -f %s", name);
        doctor_say(d, DOCTOR_WARNING, fix,
                   "Docker remembers a volume %s that the cluster does not "
                   "have",
                   name);
        return;
    }
    json_t *v = doctor_get(d, name);
    const json_t *status = json_object_get(v, "Status");
    const char *error = cli_js_text(status, "lastError");
    if (v)
        check_options(d, name, options, cli_js_text(status, "options"));
    if (*error)
        doctor_say(d, DOCTOR_PROBLEM, "journalctl -u kenter-volplugin",
                   "the volume %s: %s", name, error);
    json_decref(v);
}

void doctor_engine(struct doctor *d)
{
    char path[DOCTOR_PATH_BYTES];
    const json_t *v;
    json_t *info, *all;
    size_t i;

    doctor_option(d, "docker", ENGINE, path);
    if (access(path, F_OK) < 0) {
        doctor_say(d, DOCTOR_SKIPPED, NULL, "there is no Docker engine at %s",
                   path);
        return;
    }
    int r = doctor_http(path, "GET", "/info", "", &info);
    if (r < 0) {
        doctor_say(d, DOCTOR_PROBLEM, "systemctl restart docker",
                   "the Docker engine does not answer at %s: %s", path,
                   r == -EPROTO ? "what comes is no answer" : kt_strerror(r));
        return;
    }
    check_known(d, info);
    json_decref(info);
    if (doctor_http(path, "GET", "/volumes", "", &all) < 0)
        return;
    json_array_foreach(json_object_get(all, "Volumes"), i, v)
    {
        const char *name = cli_js_text(v, "Name");
        if (strcmp(cli_js_text(v, "Driver"), "local") == 0)
            check_shadow(d, name);
        else if (strcmp(cli_js_text(v, "Driver"), DRIVER) == 0)
            check_driven(d, name, json_object_get(v, "Options"));
    }
    json_decref(all);
}
