/* SPDX-License-Identifier: BSD-3-Clause */
#include "replicator/daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RATE_MIN (64u << 10)
#define DAYS_MAX 3650u
#define SCRUB_RATE (32u << 20)
#define SCRUB_EVERY_S (7u * 86400)

const char options_help[] =
    "Usage: kenter-replicator --store DIR --hub ADDR [OPTION]...\n"
    "       kenter-replicator --check-store DIR [--json]\n"
    "Keeps copies of volumes in DIR and replicates them with other nodes.\n"
    "\n"
    "  --store DIR          the directory the copies are kept in\n"
    "  --create             make a store when DIR is missing or empty\n"
    "  --hub ADDR           where the hub is; repeat it for several\n"
    "  --listen ADDR        tcp:IP:PORT or unix:PATH; repeat it for several\n"
    "                       (default tcp:127.0.0.1:9721; port 0 takes a free "
    "one)\n"
    "  --node NAME          name of this node (default: the host name)\n"
    "  --cluster HEX32      refuse to serve any other cluster\n"
    "  --capacity SIZE      use at most SIZE of the disk, as 10G (default: "
    "what is\n"
    "                       free when the store is made)\n"
    "  --insecure-links     listen on addresses that other machines can "
    "reach,\n"
    "                       without encryption\n"
    "  --resync-rate SIZE   copy at most SIZE a second to returning nodes, as "
    "50M\n"
    "                       (default: as much as leaves writes quick)\n"
    "  --scrub-every DAYS   read everything and repair what has rotted, so "
    "often (default\n"
    "                       7; 0: only when asked)\n"
    "  --scrub-rate SIZE    ... reading at most SIZE a second (default 32M; 0: "
    "no limit)\n"
    "  --pid-file FILE      write the process id there\n"
    "  --address-file FILE  write the addresses in use there, one a line\n"
    "  --log-level LEVEL    error, warn, info or debug (default info)\n"
    "  --check-store DIR    read a store that is not in use, say what is "
    "damaged,\n"
    "                       and exit\n"
    "  --json               ... as JSON\n"
    "  --help               print this and exit\n"
    "  --version            print the version and exit\n";

enum {
    OPT_STORE = 256,
    OPT_CREATE,
    OPT_HUB,
    OPT_LISTEN,
    OPT_NODE,
    OPT_CLUSTER,
    OPT_CAPACITY,
    OPT_INSECURE,
    OPT_RESYNC_RATE,
    OPT_SCRUB_EVERY,
    OPT_SCRUB_RATE,
    OPT_PID_FILE,
    OPT_ADDRESS_FILE,
    OPT_LOG_LEVEL,
    OPT_CHECK,
    OPT_JSON,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"store", required_argument, NULL, OPT_STORE},
    {"create", no_argument, NULL, OPT_CREATE},
    {"hub", required_argument, NULL, OPT_HUB},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"node", required_argument, NULL, OPT_NODE},
    {"cluster", required_argument, NULL, OPT_CLUSTER},
    {"capacity", required_argument, NULL, OPT_CAPACITY},
    {"insecure-links", no_argument, NULL, OPT_INSECURE},
    {"resync-rate", required_argument, NULL, OPT_RESYNC_RATE},
    {"scrub-every", required_argument, NULL, OPT_SCRUB_EVERY},
    {"scrub-rate", required_argument, NULL, OPT_SCRUB_RATE},
    {"pid-file", required_argument, NULL, OPT_PID_FILE},
    {"address-file", required_argument, NULL, OPT_ADDRESS_FILE},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"check-store", required_argument, NULL, OPT_CHECK},
    {"json", no_argument, NULL, OPT_JSON},
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

static int add_addr(struct kt_addr *list, uint32_t *n, const char *text,
                    const struct why *w)
{
    if (*n == OPTIONS_ADDRS_MAX)
        return refuse(w, "%s is one address too many: 8 is the most", text);
    if (kt_addr_parse(text, &list[*n]) < 0)
        return refuse(w,
                      "%s is not an address: write tcp:IP:PORT or "
                      "unix:PATH (host names are not looked up)",
                      text);
    ++*n;
    return 0;
}

/* Other nodes are told this address, so it must mean something to them. */
static int add_listen(struct options *o, const char *text, const struct why *w)
{
    int r = add_addr(o->listen, &o->n_listen, text, w);
    if (r < 0)
        return r;
    const struct kt_addr *a = &o->listen[o->n_listen - 1];
    if (a->kind == KT_ADDR_UNIX && a->host[0] != '/')
        return refuse(w,
                      "%s: the path of a socket must begin with /, "
                      "because other processes are told it",
                      text);
    if (a->kind == KT_ADDR_TCP &&
        (!strcmp(a->host, "0.0.0.0") || !strcmp(a->host, "::")))
        return refuse(w,
                      "%s: give the address that the other nodes "
                      "reach this one by, not a wildcard",
                      text);
    return 0;
}

static int set_level(struct options *o, const char *text, const struct why *w)
{
    if (kt_log_level_parse(text, &o->log_level) == 0)
        return 0;
    return refuse(w, "--log-level %s: use error, warn, info or debug", text);
}

static int set_node(struct options *o, const char *text, const struct why *w)
{
    if (!kt_name_valid(text))
        return refuse(w,
                      "--node %.80s: a name has 1 to 63 letters, digits, "
                      "'_', '.' or '-', and begins with a letter or digit",
                      text);
    memcpy(o->node, text, strlen(text) + 1);
    return 0;
}

static int set_rate(uint64_t *rate, const char *name, const char *text,
                    const struct why *w)
{
    if (kt_size_parse(text, rate) < 0)
        return refuse(w, "%s %s: give a size such as 50M", name, text);
    if (*rate && *rate < RATE_MIN)
        return refuse(w, "%s %s: 64K at least, or 0", name, text);
    return 0;
}

static int set_every(struct options *o, const char *text, const struct why *w)
{
    char *end;
    double days = strtod(text, &end);
    if (end == text || *end || !(days >= 0 && days <= DAYS_MAX))
        return refuse(w, "--scrub-every %s: give a number of days, up to %u",
                      text, DAYS_MAX);
    o->scrub_every_s = (uint64_t)(days * 86400);
    return 0;
}

static int take(struct options *o, int opt, const struct why *w)
{
    switch (opt) {
    case OPT_STORE:
        o->store_dir = optarg;
        return 0;
    case OPT_CREATE:
        o->create = true;
        return 0;
    case OPT_HUB:
        return add_addr(o->hubs, &o->n_hubs, optarg, w);
    case OPT_LISTEN:
        return add_listen(o, optarg, w);
    case OPT_NODE:
        return set_node(o, optarg, w);
    case OPT_CLUSTER:
        o->have_cluster = true;
        if (kt_id_parse(optarg, &o->cluster) < 0 || kt_id_is_zero(&o->cluster))
            return refuse(w, "--cluster %s: give 32 hex digits", optarg);
        return 0;
    case OPT_CAPACITY:
        if (kt_size_parse(optarg, &o->capacity_bytes) < 0)
            return refuse(w, "--capacity %s: give a size such as 100G", optarg);
        if (o->capacity_bytes < KT_EXTENT_BYTES)
            return refuse(w, "--capacity %s: a store needs 4M at least",
                          optarg);
        return 0;
    case OPT_INSECURE:
        o->insecure = true;
        return 0;
    case OPT_RESYNC_RATE:
        return set_rate(&o->resync_rate, "--resync-rate", optarg, w);
    case OPT_SCRUB_RATE:
        return set_rate(&o->scrub_rate, "--scrub-rate", optarg, w);
    case OPT_SCRUB_EVERY:
        return set_every(o, optarg, w);
    case OPT_PID_FILE:
        o->pid_file = optarg;
        return 0;
    case OPT_ADDRESS_FILE:
        o->address_file = optarg;
        return 0;
    case OPT_LOG_LEVEL:
        return set_level(o, optarg, w);
    case OPT_CHECK:
        o->check_dir = optarg;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
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

/* What is left out. */
static int fill_in(struct options *o, const struct why *w)
{
    if (o->check_dir && (o->store_dir || o->n_hubs || o->create))
        return refuse(w,
                      "%s starts nothing: leave out --store, --create and "
                      "--hub",
                      "--check-store");
    if (o->check_dir)
        return 0;
    if (o->json)
        return refuse(w, "%s goes with --check-store only", "--json");
    if (!o->store_dir || !o->store_dir[0])
        return refuse(w, "%s is missing: say where the copies are kept",
                      "--store DIR");
    if (o->n_hubs == 0)
        return refuse(w, "%s is missing: say where the hub is", "--hub ADDR");
    if (o->n_listen == 0) {
        o->listen[0].kind = KT_ADDR_TCP;
        o->listen[0].port = KT_REPLICATOR_PORT;
        snprintf(o->listen[0].host, sizeof(o->listen[0].host), "127.0.0.1");
        o->n_listen = 1;
    }
    if (!o->node[0]) {
        char host[KT_NAME_MAX + 1] = "";
        if (gethostname(host, sizeof(host) - 1) < 0 || !kt_name_valid(host))
            return refuse(w,
                          "the host name %s cannot be the name of a node: "
                          "give --node NAME",
                          host);
        memcpy(o->node, host, sizeof(host));
    }
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret_o, char *ret_why,
                  size_t size)
{
    const struct why w = {ret_why, size};
    memset(ret_o, 0, sizeof(*ret_o));
    ret_o->log_level = KT_LOG_INFO;
    ret_o->scrub_rate = SCRUB_RATE;
    ret_o->scrub_every_s = SCRUB_EVERY_S;
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
