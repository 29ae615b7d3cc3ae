/* SPDX-License-Identifier: BSD-3-Clause */
/* Words into options and operands. Options may stand anywhere after the
 * verb, as --name VALUE or --name=VALUE; "--" ends them. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/text.h"

const struct cli_opt cli_common_opts[] = {
    {"context", "FILE", false,
     "where the hub is (default: $KENTER_CONTEXT, then "
     "~/.config/kenter/context.json, then /etc/kenter/context.json)"},
    {"json", NULL, false, "print a JSON document instead of a table"},
    {"help", NULL, false, "print this"},
    {NULL, NULL, false, NULL},
};

static const struct cli_opt *find_in(const struct cli_opt *o, const char *name,
                                     size_t len)
{
    for (; o && o->name; o++) {
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    }
    return NULL;
}

/* "kenter volume create" */
static const char *verb_text(const struct cli_verb *v, char *ret, size_t size)
{
    snprintf(ret, size, "kenter %s%s%s", v->object, v->verb ? " " : "",
             v->verb ? v->verb : "");
    return ret;
}

/* One --option; *i is at it and left at the last word it used. */
static int take_option(struct cli *c, int argc, char **argv, int *i)
{
    const char *word = argv[*i] + 2;
    const char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    char text[64];

    const struct cli_opt *o = find_in(c->verb->opts, word, len);
    if (!o)
        o = find_in(cli_common_opts, word, len);
    if (!o)
        return cli_usage("there is no option --%.*s here; \"%s --help\" lists "
                         "them.",
                         (int)len, word,
                         verb_text(c->verb, text, sizeof(text)));
    const char *value = equals ? equals + 1 : NULL;
    bool more = *i + 1 < argc;
    if (!o->value && value)
        return cli_usage("--%s takes no value.", o->name);
    if (o->value && !value) {
        if (o->value_optional)
            more = more && isdigit((unsigned char)argv[*i + 1][0]);
        else if (!more)
            return cli_usage("--%s needs a value: --%s %s.", o->name, o->name,
                             o->value);
        if (more)
            value = argv[++*i];
    }
    if (cli_value(c, o->name))
        return cli_usage("--%s is given twice.", o->name);
    if (c->n_given == CLI_GIVEN_MAX)
        return cli_usage("there are too many options.");
    c->given[c->n_given].opt = o;
    c->given[c->n_given++].value = value ? value : "";
    return CLI_DONE;
}

static int check_operands(const struct cli *c)
{
    const struct cli_verb *v = c->verb;
    char text[64];

    verb_text(v, text, sizeof(text));
    if (c->n_operands > v->operands_max)
        return cli_usage("\"%s\" is too much here; \"%s --help\" shows how it "
                         "is used.",
                         c->operands[v->operands_max], text);
    if (c->n_operands < v->operands_min)
        return cli_usage("%s needs a %s: %s %s.", text, v->operand, text,
                         v->operand);
    return CLI_DONE;
}

int cli_parse(struct cli *c, int argc, char **argv, bool *ret_help)
{
    bool only_operands = false;

    *ret_help = false;
    for (int i = 0; i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (!only_operands && strncmp(argv[i], "--", 2) == 0) {
            int r = take_option(c, argc, argv, &i);
            if (r != CLI_DONE)
                return r;
        } else if (!only_operands && strcmp(argv[i], "-h") == 0) {
            *ret_help = true;
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            return cli_usage("there is no option %s; options begin with two "
                             "dashes.",
                             argv[i]);
        } else if (c->n_operands == CLI_OPERANDS_MAX) {
            return cli_usage("there are too many words.");
        } else {
            c->operands[c->n_operands++] = argv[i];
        }
    }
    if (cli_value(c, "help"))
        *ret_help = true;
    return *ret_help ? CLI_DONE : check_operands(c);
}

const char *cli_value(const struct cli *c, const char *name)
{
    for (unsigned i = 0; i < c->n_given; i++) {
        if (strcmp(c->given[i].opt->name, name) == 0)
            return c->given[i].value;
    }
    return NULL;
}

int cli_size(const struct cli *c, const char *name, uint64_t dflt,
             uint64_t *ret_v)
{
    const char *text = cli_value(c, name);
    uint64_t v = dflt;

    int r = text ? kt_size_parse(text, &v) : 0;
    if (r == -ERANGE)
        return cli_usage("--%s %s is more than there can be.", name, text);
    if (r < 0)
        return cli_usage("--%s \"%s\" is not a size: write it like 512M or "
                         "10G (powers of 1024: K M G T P E).",
                         name, text);
    *ret_v = v;
    return CLI_DONE;
}

int cli_count(const struct cli *c, const char *name, unsigned dflt,
              unsigned min, unsigned max, unsigned *ret_v)
{
    const char *text = cli_value(c, name);
    char *end;

    if (!text) {
        *ret_v = dflt;
        return CLI_DONE;
    }
    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || v < min || v > max)
        return cli_usage("--%s \"%s\" is not a number from %u to %u.", name,
                         text, min, max);
    *ret_v = (unsigned)v;
    return CLI_DONE;
}
