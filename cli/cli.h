/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: a table of verbs, their options, and what all of them
 * share. A verb is a function that returns the exit status: 0 done, 1 refused
 * or failed with one sentence on stderr, 2 usage. */
#ifndef KT_CLI_CLI_H
#define KT_CLI_CLI_H

#include <jansson.h>

#include "lib/base/err.h"
#include "lib/base/kt.h"
#include "lib/link/rpc.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli_opt {
    const char *name;    /* without the dashes; NULL ends a table */
    const char *value;   /* what it takes, as help calls it; NULL: nothing */
    bool value_optional; /* taken when the next word begins with a digit */
    const char *help;
};

struct cli;

struct cli_verb {
    const char *object;
    const char *verb; /* NULL: the object is a command by itself */
    const char *operand;
    unsigned operands_min, operands_max;
    int (*run)(struct cli *c);
    const struct cli_opt *opts; /* besides the common ones; may be NULL */
    const char *help;           /* one line */
    const char *more;           /* paragraphs for its own --help, or NULL */
};

#define CLI_GIVEN_MAX 16
#define CLI_OPERANDS_MAX 64

/* One invocation. */
struct cli {
    const struct cli_verb *verb;
    unsigned n_operands;
    const char *operands[CLI_OPERANDS_MAX];
    unsigned n_given;
    struct {
        const struct cli_opt *opt;
        const char *value; /* "" when it has none */
    } given[CLI_GIVEN_MAX];
};

/* The whole program. argv as main has it. */
int cli_main(int argc, char **argv);

/* Every verb there is; an entry with object NULL ends it. */
extern const struct cli_verb *const cli_objects[];

/* opts.c: fills c from argv. CLI_DONE, or CLI_USAGE after a sentence. *ret_help
 * is set when --help was among the words. */
int cli_parse(struct cli *c, int argc, char **argv, bool *ret_help);
extern const struct cli_opt cli_common_opts[];

/* The option's value, "" for one without, NULL when it was not given. */
const char *cli_value(const struct cli *c, const char *name);
/* A size or a count; *ret_v is dflt when the option was not given. CLI_DONE,
 * or CLI_USAGE after a sentence. */
int cli_size(const struct cli *c, const char *name, uint64_t dflt,
             uint64_t *ret_v) KT_MUST_CHECK;
int cli_count(const struct cli *c, const char *name, unsigned dflt,
              unsigned min, unsigned max, unsigned *ret_v) KT_MUST_CHECK;

/* help.c */
void cli_help(void);
void cli_help_object(const char *object);
void cli_help_verb(const struct cli_verb *v);

/* say.c: "kenter: " and the sentence on stderr. */
int cli_fail(const char *fmt, ...) KT_PRINTF(1, 2);  /* CLI_FAILED */
int cli_usage(const char *fmt, ...) KT_PRINTF(1, 2); /* CLI_USAGE */
/* Pretty JSON and a newline on stdout. Takes the reference. CLI_DONE. */
int cli_print_json(json_t *doc);
/* Whether stdout is a terminal. */
bool cli_on_terminal(void);

/* volume.c: --segment, 0 when not given. */
int cli_check_segment(const struct cli *c, uint64_t *ret_v) KT_MUST_CHECK;

/* Name checks with the sentence; what is "volume" or "node". */
int cli_check_name(const char *what, const char *name) KT_MUST_CHECK;

/* ---- hub.c: asking the hub ---- */

#define CLI_CONNECT_MS 5000u
#define CLI_ANSWER_MS 30000u

/* Finds the hub by --context and connects, both within 5 s. CLI_DONE, or
 * CLI_FAILED after a sentence. ret_ctx may be NULL. */
int cli_hub_open(const struct cli *c, struct kt_rpc *r,
                 struct kt_context *ret_ctx) KT_MUST_CHECK;
/* The HELLO of this program, for any peer. */
void cli_hello(struct kt_msg *ret_m, const struct kt_id *cluster);
/* One admin request; takes the reference of req. On success *ret_reply is the
 * caller's, with "ok" removed. cli_hub_ask says why on stderr; cli_hub_try puts
 * it in ret_why and returns the error (KT_E_REFUSED: the hub said no). */
int cli_hub_ask(struct kt_rpc *r, json_t *req,
                json_t **ret_reply) KT_MUST_CHECK;
int cli_hub_try(struct kt_rpc *r, json_t *req, json_t **ret_reply,
                char *ret_why, size_t size) KT_MUST_CHECK;
/* volume-inspect, which the hub answers in pages of chains: from chain number
 * `from` on, one page or all. */
int cli_hub_inspect(struct kt_rpc *r, const char *name, uint64_t from, bool all,
                    json_t **ret_volume, char *ret_why,
                    size_t size) KT_MUST_CHECK;
/* Open, ask, close. */
int cli_ask(const struct cli *c, json_t *req, json_t **ret_reply) KT_MUST_CHECK;

/* Fields of a reply; a missing or strange one is "" or 0, never a crash. */
const char *cli_js_text(const json_t *o, const char *key);
uint64_t cli_js_uint(const json_t *o, const char *key);

/* ---- table.c: aligned columns ---- */

#define CLI_COLUMNS_MAX 10
struct cli_table {
    unsigned columns;
    unsigned rows, cap;
    char **cells;
};
/* heads: the first row, ended by NULL. */
void cli_table_init(struct cli_table *t, const char *const *heads);
void cli_table_cell(struct cli_table *t, const char *fmt, ...) KT_PRINTF(2, 3);
/* Prints with `indent` spaces before each row and frees everything. */
void cli_table_print(struct cli_table *t, unsigned indent);

#endif
