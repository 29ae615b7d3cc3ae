/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the verb, parses its options, runs it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/verbs.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

const struct cli_verb *const cli_objects[] = {
    cli_sandbox_verbs, cli_volume_verbs,
    cli_node_verbs,    cli_chain_verbs,
    cli_hub_verbs,     cli_status_verbs,
    cli_scrub_verbs,   cli_recover_verbs,
    cli_doctor_verbs,  NULL,
};

static const struct cli_verb *object_verbs(const char *object)
{
    for (const struct cli_verb *const *o = cli_objects; *o; o++) {
        if (strcmp((*o)->object, object) == 0)
            return *o;
    }
    return NULL;
}

static bool asks_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
           strcmp(word, "help") == 0;
}

/* What was printed must have arrived: a script that reads half a table from
 * a full disk should not see success. */
static int flushed(int status)
{
    bool bad = ferror(stdout) != 0;

    if (fflush(stdout) != 0 || bad) {
        if (status == CLI_DONE && errno != EPIPE)
            return cli_fail("the output could not be written: %s.",
                            strerror(errno));
        return status == CLI_DONE ? CLI_FAILED : status;
    }
    return status;
}

static int run_verb(const struct cli_verb *v, int argc, char **argv)
{
    struct cli c = {.verb = v};
    bool help;

    int r = cli_parse(&c, argc, argv, &help);
    if (r != CLI_DONE)
        return r;
    if (help) {
        cli_help_verb(v);
        return CLI_DONE;
    }
    return v->run(&c);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        cli_help();
        return CLI_USAGE;
    }
    if (asks_help(argv[1])) {
        cli_help();
        return CLI_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("kenter %s\n", PACKAGE_VERSION);
        return CLI_DONE;
    }
    const struct cli_verb *v = object_verbs(argv[1]);
    if (!v)
        return cli_usage("there is no \"%s\"; \"kenter --help\" lists what "
                         "there is.",
                         argv[1]);
    if (!v->verb)
        return run_verb(v, argc - 2, argv + 2);
    if (argc < 3 || asks_help(argv[2])) {
        cli_help_object(v->object);
        return argc < 3 ? CLI_USAGE : CLI_DONE;
    }
    for (; v->object; v++) {
        if (strcmp(v->verb, argv[2]) == 0)
            return run_verb(v, argc - 3, argv + 3);
    }
    return cli_usage("\"%s\" is nothing that can be done to a %s; \"kenter %s "
                     "--help\" lists what can.",
                     argv[2], argv[1], argv[1]);
}

int cli_main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a hub that goes away is an error, not death */
    return flushed(dispatch(argc, argv));
}
