/* SPDX-License-Identifier: BSD-3-Clause */
/* File systems of volumes, and the devices below them. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach/device.h"
#include "attach/info.h"
#include "attach/up.h"
#include "cli/doctor.h"
#include "lib/base/os.h"

#define MOUNTS "/var/lib/kenter/volumes"
#define RUN "/run/kenter"

struct mount {
    char where[DOCTOR_PATH_BYTES], source[256], options[512];
    const char *id; /* the volume's, in where */
};

/* A line of mountinfo, when it is a volume's below dir. */
static bool read_mount(const char *line, const char *dir, struct mount *m)
{
    size_t len = strlen(dir);
    const char *rest = strstr(line, " - ");
    struct kt_id id;

    if (sscanf(line, "%*s %*s %*s %*s %511s", m->where) != 1 || !rest ||
        sscanf(rest, " - %*s %255s %511s", m->source, m->options) != 2 ||
        strncmp(m->where, dir, len) != 0 || m->where[len] != '/')
        return false;
    m->id = m->where + len + 1;
    return kt_id_parse(m->id, &id) == 0;
}

/* Whether its device is connected; a loop device is. */
static bool device_lives(const struct doctor *d, const char *source)
{
    char name[300], path[DOCTOR_PATH_BYTES];

    if (device_index(source) < 0)
        return true;
    snprintf(name, sizeof(name), "/sys/block/%.32s/pid",
             source + strlen("/dev/"));
    return access(doctor_path(d, name, path), F_OK) == 0;
}

static void check_mount(struct doctor *d, const struct mount *m)
{
    const json_t *row = doctor_volume(d, "id", m->id);
    const char *name = row ? cli_js_text(row, "name") : m->id;
    char fix[DOCTOR_PATH_BYTES + 16];

    snprintf(fix, sizeof(fix), "umount %s", m->where);
    if (!device_lives(d, m->source)) {
        doctor_say(d, DOCTOR_PROBLEM, fix,
                   "the volume %s is mounted, and its device %s is gone: all "
                   "its users get errors. Stop its containers first; the next "
                   "start mounts it anew",
                   name, m->source);
        return;
    }
    if (strncmp(m->options, "ro,", 3) == 0 || strcmp(m->options, "ro") == 0)
        doctor_say(d, DOCTOR_PROBLEM,
                   "docker restart $(docker ps -q --filter volume=VOLUME)",
                   "the file system of the volume %s has become read-only "
                   "after an error. When all its containers have stopped it is "
                   "unmounted; it is checked when the next one starts",
                   name);
    if (d->volumes && !row) {
        doctor_say(d, DOCTOR_PROBLEM, fix,
                   "%s is mounted, and the cluster has no volume of that id",
                   m->where);
        return;
    }
    json_t *v = row ? doctor_get(d, name) : NULL;
    const char *here = cli_js_text(json_object_get(v, "Status"), "here");
    if (v && strcmp(here, "not mounted") == 0)
        doctor_say(d, DOCTOR_PROBLEM, fix,
                   "the volume %s is mounted at %s, and the driver does not "
                   "know of it",
                   name, m->where);
    json_decref(v);
}

void doctor_mounts(struct doctor *d)
{
    char path[DOCTOR_PATH_BYTES], line[4096];
    const char *dir = cli_value(d->c, "mounts");
    unsigned n = 0, before = d->found[DOCTOR_PROBLEM];
    struct mount m;

    FILE *f = fopen(doctor_path(d, "/proc/self/mountinfo", path), "re");
    while (f && fgets(line, sizeof(line), f)) {
        if (!read_mount(line, dir ? dir : MOUNTS, &m))
            continue;
        n++;
        check_mount(d, &m);
    }
    if (f)
        fclose(f);
    if (d->found[DOCTOR_PROBLEM] == before)
        doctor_say(d, DOCTOR_OK, NULL, "%u volumes are mounted, none wrongly",
                   n);
}

/* ---- devices ---- */

/* The backend of nbdN, "" when it is not connected or has none. */
static void backend_of(const struct doctor *d, const char *nbd, char ret[64])
{
    char name[300], path[DOCTOR_PATH_BYTES], *text;

    ret[0] = '\0';
    snprintf(name, sizeof(name), "/sys/block/%.32s/pid", nbd);
    if (access(doctor_path(d, name, path), F_OK) < 0)
        return;
    snprintf(name, sizeof(name), "/sys/block/%.32s/backend", nbd);
    if (kt_read_file(doctor_path(d, name, path), 4096, &text) < 0)
        return;
    snprintf(ret, 64, "%.*s", (int)strcspn(text, "\n"), text);
    free(text);
}

/* One directory of an attached volume: its device, if that is there. */
static void check_attached(struct doctor *d, const char *run, const char *name,
                           json_t *seen)
{
    char path[INFO_PATH_BYTES], nbd[32], backend[64], id[KT_ID_HEX_BYTES];
    char fix[KT_NAME_MAX + 64];
    struct attach_info i;

    if (!kt_name_valid(name) || info_path(run, name, "info.json", path) < 0)
        return;
    int r = info_load(path, &i);
    bool held = up_held(run, name);
    if (r == -ENOENT || held) {
        if (r == 0)
            json_object_set_new(seen, kt_id_hex(&i.id, id), json_true());
        return;
    }
    snprintf(fix, sizeof(fix), "kenter volume detach %.*s", (int)KT_NAME_MAX,
             name);
    snprintf(nbd, sizeof(nbd), "nbd%u", r == 0 ? i.index : 0);
    backend_of(d, nbd, backend);
    if (r == 0 && strcmp(backend, kt_id_hex(&i.id, id)) == 0) {
        json_object_set_new(seen, id, json_true());
        snprintf(fix, sizeof(fix), "kenter volume attach %.*s",
                 (int)KT_NAME_MAX, name);
        doctor_say(d, DOCTOR_PROBLEM, fix,
                   "the kenter-attachd of the volume %s has died: should its "
                   "nbdkit die too, /dev/%s hangs. (The volume driver, where "
                   "it runs, starts it within seconds.)",
                   name, nbd);
        return;
    }
    doctor_say(d, DOCTOR_WARNING, fix,
               "the volume %s was attached here, and its device is gone; what "
               "is left of it is in %s/attach/%s",
               name, run, name);
}

/* Devices with the mark of a volume that nobody keeps. */
static void check_unknown(struct doctor *d, const json_t *seen)
{
    char path[DOCTOR_PATH_BYTES], backend[64], fix[64];
    const struct dirent *e;
    struct kt_id id;

    DIR *dir = opendir(doctor_path(d, "/sys/block", path));
    while (dir && (e = readdir(dir))) {
        if (strncmp(e->d_name, "nbd", 3) != 0)
            continue;
        backend_of(d, e->d_name, backend);
        if (kt_id_parse(backend, &id) < 0 || json_object_get(seen, backend))
            continue;
        const json_t *row = doctor_volume(d, "id", backend);
        snprintf(fix, sizeof(fix), "nbd-client -d /dev/%.32s", e->d_name);
        doctor_say(d, DOCTOR_PROBLEM, fix,
                   "/dev/%s is the volume %s, and nobody keeps it: nothing "
                   "serves it again when its nbdkit dies. Unmount it first",
                   e->d_name, row ? cli_js_text(row, "name") : backend);
    }
    if (dir)
        closedir(dir);
}

void doctor_devices(struct doctor *d)
{
    unsigned before = d->found[DOCTOR_PROBLEM] + d->found[DOCTOR_WARNING];
    char run[DOCTOR_PATH_BYTES], path[INFO_PATH_BYTES];
    json_t *seen = json_object();
    const struct dirent *e;

    doctor_option(d, "run-dir", RUN, run);
    DIR *dir = info_path(run, NULL, NULL, path) == 0 ? opendir(path) : NULL;
    while (dir && (e = readdir(dir)))
        check_attached(d, run, e->d_name, seen);
    if (dir)
        closedir(dir);
    check_unknown(d, seen);
    if (d->found[DOCTOR_PROBLEM] + d->found[DOCTOR_WARNING] == before)
        doctor_say(d, DOCTOR_OK, NULL,
                   "%zu devices of volumes, each with its kenter-attachd",
                   json_object_size(seen));
    json_decref(seen);
}
