/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of kenter-replicator. */
#ifndef KT_REPL_OPTIONS_H
#define KT_REPL_OPTIONS_H

#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

#define OPTIONS_ADDRS_MAX 8u

struct options {
    const char *store_dir;
    const char *check_dir; /* --check-store: only that, and json */
    bool json;
    bool create;
    uint32_t n_hubs;
    struct kt_addr hubs[OPTIONS_ADDRS_MAX];
    uint32_t n_listen; /* at least one after options_parse */
    struct kt_addr listen[OPTIONS_ADDRS_MAX];
    char node[KT_NAME_MAX + 1];
    bool have_cluster;
    struct kt_id cluster;
    uint64_t capacity_bytes; /* 0: not given */
    bool insecure;
    uint64_t scrub_rate;    /* bytes a second; 0: as fast as it goes */
    uint64_t scrub_every_s; /* of running; 0: only when asked */
    uint64_t resync_rate;   /* bytes a second; 0: found out */
    const char *pid_file, *address_file; /* or NULL */
    enum kt_log_level log_level;
    bool help, version;
};

/* 0, or -EINVAL with a sentence in ret_why (size bytes). argv's strings are
 * borrowed for the life of ret_o. */
int options_parse(int argc, char **argv, struct options *ret_o, char *ret_why,
                  size_t size) KT_MUST_CHECK;

/* What --help prints. Static storage. */
extern const char options_help[];

#endif
