/* SPDX-License-Identifier: BSD-3-Clause */
/* What `kenter doctor` looks at and what it found, for its files. */
#ifndef KT_CLI_DOCTOR_H
#define KT_CLI_DOCTOR_H

#include "cli/cli.h"

#define DOCTOR_PATH_BYTES 512
#define DOCTOR_TEXT_BYTES 1024

enum doctor_state { DOCTOR_OK, DOCTOR_SKIPPED, DOCTOR_WARNING, DOCTOR_PROBLEM };

struct doctor {
    const struct cli *c;
    const char *root; /* before each path of the machine; "" */
    json_t *findings;
    unsigned found[DOCTOR_PROBLEM + 1];
    const char *check; /* the one that runs */
    json_t *volumes;   /* as the hub has them, or NULL: it was not reached */
    json_t *nodes;
    char node[KT_NAME_MAX + 1]; /* this machine's; "" */
    bool driver;                /* the volume driver answers */
};

/* One finding of the check that runs: a sentence, and a command that mends
 * it, NULL without. */
void doctor_say(struct doctor *d, enum doctor_state state, const char *fix,
                const char *fmt, ...) KT_PRINTF(4, 5);
/* A file of the machine; returns ret. */
char *doctor_path(const struct doctor *d, const char *path,
                  char ret[DOCTOR_PATH_BYTES]);
/* The value of an option that is a path, or its default, on the machine. */
char *doctor_option(const struct doctor *d, const char *name, const char *dflt,
                    char ret[DOCTOR_PATH_BYTES]);
/* The hub's row of a volume by its field "name" or "id", or NULL. */
const json_t *doctor_volume(const struct doctor *d, const char *field,
                            const char *value);

/* doctor_http.c: one request over a unix socket, within 10 s. 0 and the body
 * as JSON, which is the caller's; or -errno, -EPROTO when it is no answer. */
int doctor_http(const char *socket, const char *method, const char *target,
                const char *body, json_t **ret_json) KT_MUST_CHECK;

/* doctor_docker.c */
void doctor_driver(struct doctor *d);
void doctor_engine(struct doctor *d);
/* What the driver says of a volume ("Volume" of its answer), or NULL. */
json_t *doctor_get(const struct doctor *d, const char *name);

/* doctor_node.c */
void doctor_kernel(struct doctor *d);
void doctor_clock(struct doctor *d);
void doctor_store(struct doctor *d);
/* doctor_disk.c */
void doctor_mounts(struct doctor *d);
void doctor_devices(struct doctor *d);

#endif
