/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine: its kernel, its clock, its store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "lib/base/os.h"

#define MODULES_BYTES_MAX ((size_t)16 << 20)
#define FULL_PERCENT 85u /* no replica is synced to a store above this */
#define STOP_PERCENT 95u

/* Whether a list of modules has kernel/.../nbd.ko, compressed or not. */
static bool lists_nbd(const struct doctor *d, const char *release,
                      const char *list)
{
    char path[DOCTOR_PATH_BYTES], name[DOCTOR_PATH_BYTES], *text;

    snprintf(name, sizeof(name), "/lib/modules/%.200s/%s", release, list);
    if (kt_read_file(doctor_path(d, name, path), MODULES_BYTES_MAX, &text) < 0)
        return false;
    bool found = strstr(text, "/nbd.ko") != NULL;
    free(text);
    return found;
}

void doctor_kernel(struct doctor *d)
{
    char path[DOCTOR_PATH_BYTES], release[256], *text;
    struct utsname u;

    snprintf(release, sizeof(release), "%s", uname(&u) == 0 ? u.release : "");
    if (kt_read_file(doctor_path(d, "/proc/sys/kernel/osrelease", path), 255,
                     &text) == 0) {
        text[strcspn(text, "\n")] = '\0';
        snprintf(release, sizeof(release), "%s", text);
        free(text);
    }
    if (access(doctor_path(d, "/sys/module/nbd", path), F_OK) == 0 ||
        lists_nbd(d, release, "modules.builtin"))
        doctor_say(d, DOCTOR_OK, NULL, "the kernel %s has nbd", release);
    else if (lists_nbd(d, release, "modules.dep"))
        doctor_say(d, DOCTOR_OK, NULL,
                   "the kernel %s has nbd, loaded when it is needed", release);
    else
        doctor_say(d, DOCTOR_WARNING,
                   "apt install linux-image-$(dpkg --print-architecture)",
                   "the kernel %s has no nbd driver: volumes are attached by "
                   "nbdfuse, and the death of an nbdkit is an I/O error. "
                   "Install a kernel that has it, and start it",
                   release);
}

void doctor_clock(struct doctor *d)
{
    /* For tests: what the kernel would say. */
    const char *fake = getenv("KENTER_DOCTOR_CLOCK");
    struct timex t = {.modes = 0};

    int r = adjtimex(&t);
    if (fake ? strcmp(fake, "unset") == 0 : r == -1 || r == TIME_ERROR)
        doctor_say(d, DOCTOR_WARNING, "timedatectl set-ntp true",
                   "the clock is not set by any time server: the times in logs "
                   "and of snapshots do not agree between nodes (data do not "
                   "depend on it)");
    else
        doctor_say(d, DOCTOR_OK, NULL, "the clock is set by a time server");
}

static void check_one_store(struct doctor *d, const json_t *s)
{
    uint64_t size = cli_js_uint(s, "size"), used = cli_js_uint(s, "used");
    const char *state = cli_js_text(s, "state");
    unsigned percent = size ? (unsigned)(used * 100 / size) : 0;

    if (strcmp(state, "healthy") != 0)
        doctor_say(d, DOCTOR_PROBLEM, "kenter status",
                   "the store %s of this node is %s", cli_js_text(s, "uuid"),
                   state);
    if (percent >= FULL_PERCENT)
        doctor_say(d, percent >= STOP_PERCENT ? DOCTOR_PROBLEM : DOCTOR_WARNING,
                   "fstrim -a",
                   "the store %s of this node is %u %% full%s. Give back what "
                   "file systems do not use, remove volumes, or add a node",
                   cli_js_text(s, "uuid"), percent,
                   percent >= STOP_PERCENT ? ": new space is refused soon"
                                           : ": no replica is copied to it");
    else if (strcmp(state, "healthy") == 0)
        doctor_say(d, DOCTOR_OK, NULL, "the store %s is %u %% full",
                   cli_js_text(s, "uuid"), percent);
}

void doctor_store(struct doctor *d)
{
    const json_t *n, *s;
    size_t i, k;

    if (!d->nodes) {
        doctor_say(d, DOCTOR_SKIPPED, NULL, "the hub was not reached");
        return;
    }
    json_array_foreach(d->nodes, i, n)
    {
        if (strcmp(cli_js_text(n, "name"), d->node) != 0)
            continue;
        if (strcmp(cli_js_text(n, "state"), "up") != 0)
            doctor_say(d, DOCTOR_PROBLEM, "systemctl restart kenter-replicator",
                       "the hub says that this node, %s, is %s", d->node,
                       cli_js_text(n, "state"));
        json_array_foreach(json_object_get(n, "stores"), k, s)
            check_one_store(d, s);
        return;
    }
    doctor_say(d, DOCTOR_SKIPPED, NULL,
               "the hub knows no node \"%s\": no replicator is here, or the "
               "context has another name for it",
               d->node);
}
