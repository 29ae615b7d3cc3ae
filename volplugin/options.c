/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/text.h"
#include "volplugin/plugin.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

static const char help[] =
    "usage: kenter-volplugin [OPTION]...\n"
    "The Docker volume driver \"kenter\".\n"
    "\n"
    "  --socket PATH        where the Docker engine looks for it (default\n"
    "                       /run/docker/plugins/kenter.sock; systemd's own\n"
    "                       socket is taken when it gives one)\n"
    "  --dir DIR            the catalogue of this node (default\n"
    "                       /var/lib/kenter/volplugin)\n"
    "  --mounts DIR         where volumes are mounted (default\n"
    "                       /var/lib/kenter/volumes)\n"
    "  --run DIR            what attached volumes need, gone after a reboot\n"
    "                       (default /run/kenter)\n"
    "  --attach HOW         nbd: the kernel's nbd driver; fuse: nbdfuse and a\n"
    "                       loop device; auto: nbd, or fuse where the kernel\n"
    "                       has no nbd (default auto)\n"
    "  --nbdkit-plugin P    name or path of nbdkit's plugin (default: the one\n"
    "                       built or installed with this program)\n"
    "  --context FILE       says where the hub is\n"
    "  --default-size SIZE  of volumes made without a size (default 10G)\n"
    "  --log-level LEVEL    error, warn, info or debug (default info)\n"
    "  --help               print this and exit\n"
    "  --version            print the version and exit\n";

enum {
    OPT_SOCKET = 256,
    OPT_DIR,
    OPT_MOUNTS,
    OPT_RUN,
    OPT_ATTACH,
    OPT_PLUGIN,
    OPT_CONTEXT,
    OPT_SIZE,
    OPT_LEVEL,
    OPT_STUB,
    OPT_HELP,
    OPT_VERSION
};

/* --test-attach is for tests only: volumes are not attached at all. */
static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"dir", required_argument, NULL, OPT_DIR},
    {"mounts", required_argument, NULL, OPT_MOUNTS},
    {"run", required_argument, NULL, OPT_RUN},
    {"attach", required_argument, NULL, OPT_ATTACH},
    {"nbdkit-plugin", required_argument, NULL, OPT_PLUGIN},
    {"context", required_argument, NULL, OPT_CONTEXT},
    {"default-size", required_argument, NULL, OPT_SIZE},
    {"log-level", required_argument, NULL, OPT_LEVEL},
    {"test-attach", required_argument, NULL, OPT_STUB},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "kenter-volplugin: %s: %s; see kenter-volplugin --help.\n",
            value, what);
    return 2;
}

static int take_level(const char *text)
{
    enum kt_log_level level;

    if (kt_log_level_parse(text, &level) < 0)
        return wrong("a level is error, warn, info or debug", text);
    kt_log_set_level(level);
    return 0;
}

static int take_size(struct options *o, const char *text)
{
    uint64_t v;

    if (kt_size_parse(text, &v) < 0 || v < KT_VOLUME_BYTES_MIN ||
        v > KT_VOLUME_BYTES_MAX || v % KT_SECTOR_BYTES)
        return wrong("a size is a multiple of 4096 bytes from 4K to 64T", text);
    o->default_bytes = v;
    return 0;
}

static int take(struct options *o, int opt, const char *arg)
{
    switch (opt) {
    case OPT_SOCKET:
        o->socket = arg;
        return 0;
    case OPT_DIR:
        o->dir = arg;
        return 0;
    case OPT_MOUNTS:
        o->mounts = arg;
        return arg[0] == '/' ? 0 : wrong("--mounts is an absolute path", arg);
    case OPT_RUN:
        o->run = arg;
        return arg[0] == '/' ? 0 : wrong("--run is an absolute path", arg);
    case OPT_ATTACH:
        o->attach = arg;
        return strcmp(arg, "auto") == 0 || strcmp(arg, "nbd") == 0 ||
                       strcmp(arg, "fuse") == 0
                   ? 0
                   : wrong("--attach is auto, nbd or fuse", arg);
    case OPT_PLUGIN:
        o->nbdkit_plugin = arg;
        return 0;
    case OPT_CONTEXT:
        o->context = arg;
        return 0;
    case OPT_SIZE:
        return take_size(o, arg);
    case OPT_LEVEL:
        return take_level(arg);
    case OPT_STUB:
        o->stub = arg;
        return 0;
    case OPT_HELP:
        fputs(help, stdout);
        return 1;
    case OPT_VERSION:
        printf("kenter-volplugin %s\n", PACKAGE_VERSION);
        return 1;
    default:
        return 2;
    }
}

int options_parse(int argc, char **argv, struct options *ret)
{
    struct options o = {
        .socket = "/run/docker/plugins/kenter.sock",
        .dir = "/var/lib/kenter/volplugin",
        .mounts = "/var/lib/kenter/volumes",
        .run = "/run/kenter",
        .attach = "auto",
        .default_bytes = 10ull << 30,
    };
    int opt;

    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        int r = take(&o, opt, optarg);
        if (r != 0)
            return r;
    }
    if (optind != argc)
        return wrong("this is no option", argv[optind]);
    *ret = o;
    return 0;
}
