/* SPDX-License-Identifier: BSD-3-Clause */
/* For the tests of the command line: a server that answers as told, in a
 * process of its own, and a way to run the program and read what it said. */
#ifndef KT_TESTS_UNIT_CLI_FAKE_H
#define KT_TESTS_UNIT_CLI_FAKE_H

#include <sys/types.h>

#include "lib/wire/msg.h"

#define FAKE_TEXT_BYTES 8192

struct fake_reply {
    const char *op;   /* NULL ends the list */
    const char *json; /* NULL: close the connection instead */
};

struct fake {
    char dir[64];  /* one per test, removed by fake_end */
    char addr[96]; /* "unix:DIR/NAME.sock" */
    struct kt_id store, boot, cluster;
    const struct fake_reply *replies;
    /* Rows for DIGEST_GET; returns how many of them it wrote. tries counts
     * the calls. */
    unsigned (*rows)(unsigned tries, struct kt_digest_row *ret_rows);
    pid_t pid;
};

/* What the program printed. */
struct said {
    int status;
    char out[FAKE_TEXT_BYTES], err[FAKE_TEXT_BYTES];
};

/* Makes a directory under /tmp; dir is as in struct fake. */
void fake_dir(char dir[64]);
void fake_write(const char *dir, const char *name, const char *text);
/* Starts answering at DIR/NAME.sock. */
void fake_start(struct fake *f, const char *name);
void fake_stop(struct fake *f);
/* DIR/context.json for one address. */
void fake_context(const char *dir, const char *addr);
void fake_remove(const char *dir);

/* kenter WORDS...; NULL ends them. --context DIR/context.json is added when
 * dir is not NULL. */
struct said *fake_run(const char *dir, ...);

#endif
