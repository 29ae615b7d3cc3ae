/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentences for people on stderr, documents for scripts on stdout. */
#include "cli/cli.h"

#include <stdio.h>
#include <unistd.h>

#include "lib/base/text.h"

KT_PRINTF(1, 0)
static void sentence(const char *fmt, va_list ap)
{
    char text[1024];

    /* In one write, so that lines of several programs do not mix; control
     * characters could come from a name or a peer. */
    vsnprintf(text, sizeof(text), fmt, ap);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ' && *p != '\n')
            *p = '?';
    }
    fprintf(stderr, "kenter: %s\n", text);
}

int cli_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    sentence(fmt, ap);
    va_end(ap);
    return CLI_FAILED;
}

int cli_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    sentence(fmt, ap);
    va_end(ap);
    return CLI_USAGE;
}

int cli_print_json(json_t *doc)
{
    json_dumpf(doc, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(doc);
    return CLI_DONE;
}

bool cli_on_terminal(void)
{
    return isatty(STDOUT_FILENO) == 1;
}

int cli_check_name(const char *what, const char *name)
{
    if (kt_name_valid(name))
        return CLI_DONE;
    return cli_usage("\"%s\" cannot be the name of a %s: use 1 to %d letters, "
                     "digits, '_', '.' or '-', the first a letter or a digit.",
                     name, what, KT_NAME_MAX);
}
