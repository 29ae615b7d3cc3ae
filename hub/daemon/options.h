/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of kenter-hub. */
#ifndef KT_HUB_OPTIONS_H
#define KT_HUB_OPTIONS_H

#include "lib/base/log.h"
#include "lib/base/text.h"

#define HUB_LISTEN_MAX 8u

struct options {
    const char *dir;
    bool init, recover, insecure, help, version;
    uint32_t n_listen; /* at least one after options_parse */
    struct kt_addr listen[HUB_LISTEN_MAX];
    uint64_t segment_bytes;              /* 0: not given */
    const char *pid_file, *address_file; /* or NULL */
    enum kt_log_level log_level;
};

/* 0, or -EINVAL with a sentence in ret_why (size bytes). argv's strings are
 * borrowed for the life of ret_o. */
int options_parse(int argc, char **argv, struct options *ret_o, char *ret_why,
                  size_t size) KT_MUST_CHECK;

/* What --help prints. Static storage. */
extern const char options_help[];

#endif
