/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter-attachd: keeps one volume attached as a device of the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach/daemon.h"
#include "attach/device.h"
#include "lib/base/os.h"
#include "lib/base/text.h"

#define DEAD_TIMEOUT_S 3600u
#define WAIT_S_MAX 86400u

static const char help[] =
    "Usage: kenter-attachd --volume NAME --id HEX32 [OPTIONS]\n"
    "Keeps a volume attached as /dev/nbdN. \"kenter volume attach\" starts "
    "it.\n\n"
    "  --volume NAME           the volume\n"
    "  --id HEX32              its id: whose the device is\n"
    "  --context FILE          where the hub is, for nbdkit\n"
    "  --device /dev/nbdN      this device (default: a free one)\n"
    "  --wait SECONDS          wait for another holder to let go (15)\n"
    "  --steal                 take the volume from its holder\n"
    "  --adopt                 only if there is a device whose "
    "kenter-attachd died\n"
    "  --dead-timeout SECONDS  how long the device waits without a server "
    "(3600)\n"
    "  --plugin FILE           nbdkit's plugin (default: beside this program,"
    "\n"
    "                          where it was installed, or by its name)\n"
    "  --run-dir DIR           where it keeps its files (default:\n"
    "                          $KENTER_RUN_DIR, then /run/kenter)\n"
    "  --ready-fd N            tell \"ok DEVICE\" or \"error ERRNO TEXT\" "
    "there\n"
    "  --help                  print this\n"
    "  --version               print the version\n";

/* Descriptors of whoever started this would stay open for as long as the
 * volume is attached. */
static void close_strangers(int keep)
{
    if (keep > 3)
        close_range(3, (unsigned)keep - 1, 0);
    close_range((unsigned)(keep > 2 ? keep : 2) + 1, ~0u, 0);
}

static int usage(const char *text, const char *what)
{
    fprintf(stderr, "kenter-attachd: %s%s; --help tells more.\n", text, what);
    return 2;
}

static bool take_number(const char *text, unsigned max, unsigned *ret)
{
    char *end;

    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || v > max)
        return false;
    *ret = (unsigned)v;
    return true;
}

enum {
    O_VOLUME = 1,
    O_ID,
    O_CONTEXT,
    O_DEVICE,
    O_WAIT,
    O_STEAL,
    O_ADOPT,
    O_DEAD,
    O_PLUGIN,
    O_RUN_DIR,
    O_READY_FD,
    O_HELP,
    O_VERSION
};

static const struct option options[] = {
    {"volume", required_argument, NULL, O_VOLUME},
    {"id", required_argument, NULL, O_ID},
    {"context", required_argument, NULL, O_CONTEXT},
    {"device", required_argument, NULL, O_DEVICE},
    {"wait", required_argument, NULL, O_WAIT},
    {"steal", no_argument, NULL, O_STEAL},
    {"adopt", no_argument, NULL, O_ADOPT},
    {"dead-timeout", required_argument, NULL, O_DEAD},
    {"plugin", required_argument, NULL, O_PLUGIN},
    {"run-dir", required_argument, NULL, O_RUN_DIR},
    {"ready-fd", required_argument, NULL, O_READY_FD},
    {"help", no_argument, NULL, O_HELP},
    {"version", no_argument, NULL, O_VERSION},
    {NULL, 0, NULL, 0},
};

/* 0, or -1: it is not what the option takes. */
static int take(struct daemon *d, int o, const char *value)
{
    unsigned fd;

    switch (o) {
    case O_VOLUME:
        d->q.name = value;
        return kt_name_valid(value) ? 0 : -1;
    case O_ID:
        return kt_id_parse(value, &d->q.id);
    case O_CONTEXT:
        d->q.context = value;
        return 0;
    case O_DEVICE:
        d->q.device = value;
        return device_index(value) < 0 ? -1 : 0;
    case O_WAIT:
        return take_number(value, WAIT_S_MAX, &d->q.wait_s) ? 0 : -1;
    case O_DEAD:
        return take_number(value, INT_MAX, &d->dead_timeout_s) &&
                       d->dead_timeout_s
                   ? 0
                   : -1;
    case O_PLUGIN:
        d->q.plugin = value;
        return 0;
    case O_RUN_DIR:
        d->q.run_dir = value;
        return value[0] == '/' ? 0 : -1;
    default:
        if (!take_number(value, 1 << 16, &fd))
            return -1;
        d->ready_fd = (int)fd;
        return fcntl(d->ready_fd, F_SETFD, FD_CLOEXEC);
    }
}

int main(int argc, char **argv)
{
    struct daemon d = {
        .q.wait_s = 15, .dead_timeout_s = DEAD_TIMEOUT_S, .ready_fd = -1};
    char plugin[PATH_MAX], context[PATH_MAX];
    int o;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (o == '?')
            return usage("an option is wrong", "");
        if (o == O_HELP)
            return fputs(help, stdout) < 0;
        if (o == O_VERSION)
            return printf("kenter-attachd %s\n", PACKAGE_VERSION) < 0;
        if (o == O_STEAL)
            d.q.steal = true;
        else if (o == O_ADOPT)
            d.q.adopt = true;
        else if (take(&d, o, optarg) < 0)
            return usage("an option cannot have this value: ", optarg);
    }
    if (optind < argc)
        return usage("this is too much: ", argv[optind]);
    if (!d.q.name || kt_id_is_zero(&d.q.id))
        return usage("--volume and --id are needed", "");
    close_strangers(d.ready_fd);
    /* For as long as the volume is attached no directory is held. */
    if ((d.q.context && !(d.q.context = realpath(d.q.context, context))) ||
        (d.q.plugin && strchr(d.q.plugin, '/') &&
         !(d.q.plugin = realpath(d.q.plugin, plugin))))
        return usage("no such file: ", strerror(errno));
    if (chdir("/") < 0)
        return usage("/: ", strerror(errno));
    if (!d.q.plugin)
        d.q.plugin = kt_nbdkit_plugin(plugin, sizeof(plugin));
    return daemon_run(&d);
}
