/* SPDX-License-Identifier: BSD-3-Clause */
#include "hub/daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char options_help[] =
    "Usage: kenter-hub --dir DIR [OPTION]...\n"
    "Decides about nodes, volumes and chains, and keeps what it decided in "
    "DIR.\n"
    "\n"
    "  --dir DIR            the directory of its database\n"
    "  --store DIR          the same\n"
    "  --init               make a new cluster when DIR is missing or empty\n"
    "  --recover            make a database when DIR is missing or empty, "
    "and fill\n"
    "                       it from what the nodes of the cluster know\n"
    "  --listen ADDR        tcp:IP:PORT or unix:PATH; repeat it for several\n"
    "                       (default tcp:127.0.0.1:9720; port 0 takes a free "
    "one)\n"
    "  --segment SIZE       how much of a volume one chain serves, when the\n"
    "                       volume does not say (default 16G)\n"
    "  --insecure-links     listen on addresses that other machines can "
    "reach,\n"
    "                       without encryption\n"
    "  --pid-file FILE      write the process id there\n"
    "  --address-file FILE  write the addresses in use there, one a line\n"
    "  --log-level LEVEL    error, warn, info or debug (default info)\n"
    "  --help               print this and exit\n"
    "  --version            print the version and exit\n";

enum {
    OPT_DIR = 256,
    OPT_INIT,
    OPT_RECOVER,
    OPT_LISTEN,
    OPT_SEGMENT,
    OPT_INSECURE,
    OPT_PID_FILE,
    OPT_ADDRESS_FILE,
    OPT_LOG_LEVEL,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"dir", required_argument, NULL, OPT_DIR},
    {"store", required_argument, NULL, OPT_DIR},
    {"init", no_argument, NULL, OPT_INIT},
    {"recover", no_argument, NULL, OPT_RECOVER},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"segment", required_argument, NULL, OPT_SEGMENT},
    {"insecure-links", no_argument, NULL, OPT_INSECURE},
    {"pid-file", required_argument, NULL, OPT_PID_FILE},
    {"address-file", required_argument, NULL, OPT_ADDRESS_FILE},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

struct why {
    char *text;
    size_t size;
};

static int KT_PRINTF(2, 3) refuse(const struct why *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->text, w->size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static int add_listen(struct options *o, const char *text, const struct why *w)
{
    if (o->n_listen == HUB_LISTEN_MAX)
        return refuse(w, "%s is one address too many: 8 is the most", text);
    if (kt_addr_parse(text, &o->listen[o->n_listen]) < 0)
        return refuse(w,
                      "%s is not an address: write tcp:IP:PORT or "
                      "unix:PATH (host names are not looked up)",
                      text);
    o->n_listen++;
    return 0;
}

static int set_segment(struct options *o, const char *text, const struct why *w)
{
    uint64_t max = (uint64_t)KT_SEGMENT_EXTENTS_MAX * KT_EXTENT_BYTES;
    uint64_t v;

    if (kt_size_parse(text, &v) < 0 || v < KT_EXTENT_BYTES || v > max ||
        (v & (v - 1)) != 0)
        return refuse(w, "--segment %s: give a power of two from 4M to 16G",
                      text);
    o->segment_bytes = v;
    return 0;
}

static int set_level(struct options *o, const char *text, const struct why *w)
{
    if (kt_log_level_parse(text, &o->log_level) == 0)
        return 0;
    return refuse(w, "--log-level %s: use error, warn, info or debug", text);
}

static int take(struct options *o, int opt, const struct why *w)
{
    switch (opt) {
    case OPT_DIR:
        o->dir = optarg;
        return 0;
    case OPT_INIT:
        o->init = true;
        return 0;
    case OPT_RECOVER:
        o->recover = true;
        return 0;
    case OPT_LISTEN:
        return add_listen(o, optarg, w);
    case OPT_SEGMENT:
        return set_segment(o, optarg, w);
    case OPT_INSECURE:
        o->insecure = true;
        return 0;
    case OPT_PID_FILE:
        o->pid_file = optarg;
        return 0;
    case OPT_ADDRESS_FILE:
        o->address_file = optarg;
        return 0;
    case OPT_LOG_LEVEL:
        return set_level(o, optarg, w);
    case OPT_HELP:
        o->help = true;
        return 0;
    case OPT_VERSION:
        o->version = true;
        return 0;
    default:
        return -EINVAL;
    }
}

static int fill_in(struct options *o, const struct why *w)
{
    if (!o->dir || !o->dir[0])
        return refuse(w, "%s is missing: say where the database is",
                      "--dir DIR");
    if (o->init && o->recover)
        return refuse(w, "--init begins a new cluster and --recover takes up "
                         "an old one: give one of them");
    if (o->n_listen == 0) {
        o->listen[0].kind = KT_ADDR_TCP;
        o->listen[0].port = KT_HUB_PORT;
        snprintf(o->listen[0].host, sizeof(o->listen[0].host), "127.0.0.1");
        o->n_listen = 1;
    }
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret_o, char *ret_why,
                  size_t size)
{
    const struct why w = {ret_why, size};

    memset(ret_o, 0, sizeof(*ret_o));
    ret_o->log_level = KT_LOG_INFO;
    ret_why[0] = '\0';
    optind = 0;
    opterr = 0;
    for (;;) {
        int at = optind ? optind : 1;
        int opt = getopt_long(argc, argv, ":", long_options, NULL);
        if (opt == -1)
            break;
        if (opt == ':')
            return refuse(&w, "%s needs a value", argv[at]);
        if (opt == '?')
            return refuse(&w, "%s is not an option", argv[at]);
        int r = take(ret_o, opt, &w);
        if (r < 0)
            return r;
        if (ret_o->help || ret_o->version)
            return 0;
    }
    if (optind < argc)
        return refuse(&w, "%s: only options are taken", argv[optind]);
    return fill_in(ret_o, &w);
}
