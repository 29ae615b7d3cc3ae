/* SPDX-License-Identifier: BSD-3-Clause */
/* Columns as wide as their widest cell. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct cli_table *t, char *text)
{
    if (t->rows == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->cells = realloc(t->cells, t->cap * sizeof(*t->cells));
    }
    if (!t->cells || !text)
        abort(); /* a page of text does not fit in memory */
    t->cells[t->rows++] = text;
}

void cli_table_init(struct cli_table *t, const char *const *heads)
{
    memset(t, 0, sizeof(*t));
    for (; heads[t->columns]; t->columns++)
        add(t, strdup(heads[t->columns]));
    assert(t->columns <= CLI_COLUMNS_MAX);
}

void cli_table_cell(struct cli_table *t, const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    /* Names of peers may hold anything; a terminal must not. */
    for (char *p = text; p && *p; p++) {
        if ((unsigned char)*p < ' ')
            *p = '?';
    }
    add(t, text);
}

void cli_table_print(struct cli_table *t, unsigned indent)
{
    size_t width[CLI_COLUMNS_MAX] = {0};

    assert(t->rows % t->columns == 0);
    for (unsigned i = 0; i < t->rows; i++) {
        size_t n = strlen(t->cells[i]);
        if (n > width[i % t->columns])
            width[i % t->columns] = n;
    }
    for (unsigned i = 0; i < t->rows; i++) {
        unsigned column = i % t->columns;
        if (column == 0)
            printf("%*s", (int)indent, "");
        if (column + 1 == t->columns)
            printf("%s\n", t->cells[i]);
        else
            printf("%-*s  ", (int)width[column], t->cells[i]);
        free(t->cells[i]);
    }
    free(t->cells);
    memset(t, 0, sizeof(*t));
}
