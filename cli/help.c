/* SPDX-License-Identifier: BSD-3-Clause */
/* --help, written from the table of verbs. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Text filled to 79 columns behind `indent` spaces; the first line starts
 * where the cursor is, at `at`. "\n" stays a line break. */
static void fill(const char *text, size_t at, size_t indent)
{
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (at > indent && at + 1 + word > 79) {
            printf("\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            putchar(' ');
            at++;
        }
        printf("%.*s", (int)word, text);
        at += word;
        text += word;
        if (*text == '\n') {
            printf("\n%*s", (int)indent, "");
            at = indent;
        }
        if (*text)
            text++;
    }
    putchar('\n');
}

static void print_opts(const struct cli_opt *o)
{
    for (; o && o->name; o++) {
        char left[64];

        snprintf(left, sizeof(left), "  --%s%s%s%s", o->name,
                 !o->value           ? ""
                 : o->value_optional ? " ["
                                     : " ",
                 o->value ? o->value : "", o->value_optional ? "]" : "");
        printf("%-25s ", left);
        fill(o->help, 26, 26);
    }
}

/* "volume create NAME" */
static void verb_line(const struct cli_verb *v, char *ret, size_t size)
{
    bool may = v->operand && v->operands_min == 0;

    snprintf(ret, size, "%s%s%s%s%s%s%s%s", v->object, v->verb ? " " : "",
             v->verb ? v->verb : "", v->operand ? " " : "", may ? "[" : "",
             v->operand ? v->operand : "", v->operands_max > 1 ? "..." : "",
             may ? "]" : "");
}

static void print_verbs(const struct cli_verb *v)
{
    for (; v->object; v++) {
        char left[64];

        verb_line(v, left, sizeof(left));
        printf("  %-23s %s\n", left, v->help);
    }
}

void cli_help(void)
{
    printf("Usage: kenter OBJECT VERB [NAME] [OPTIONS]\n"
           "Replicated block storage: volumes, nodes, and a whole cluster on "
           "one machine.\n\n");
    for (const struct cli_verb *const *o = cli_objects; *o; o++)
        print_verbs(*o);
    printf("\nCommon options:\n");
    print_opts(cli_common_opts);
    printf("  --version               print the version\n"
           "\nkenter OBJECT VERB --help tells more. Sizes are like 512M or 10G "
           "(of 1024).\n"
           "Exit status: 0 done, 1 refused or failed, 2 used wrongly.\n");
}

void cli_help_object(const char *object)
{
    for (const struct cli_verb *const *o = cli_objects; *o; o++) {
        if (strcmp((*o)->object, object) != 0)
            continue;
        printf("Usage: kenter %s VERB [NAME] [OPTIONS]\n\n", object);
        print_verbs(*o);
        printf("\nkenter %s VERB --help tells more.\n", object);
    }
}

void cli_help_verb(const struct cli_verb *v)
{
    char line[64];

    verb_line(v, line, sizeof(line));
    printf("Usage: kenter %s [OPTIONS]\n%s.\n", line, v->help);
    if (v->more) {
        putchar('\n');
        fill(v->more, 0, 0);
    }
    printf("\nOptions:\n");
    print_opts(v->opts);
    print_opts(cli_common_opts);
}
