/* SPDX-License-Identifier: BSD-3-Clause */
#include "volplugin/core/say.h"

#include <string.h>

#define QUOTED_MAX 40u

void vol_say_init(struct vol_say *s, char *buf, size_t size)
{
    assert(size > 0);
    s->buf = buf;
    s->size = size;
    s->len = 0;
    buf[0] = '\0';
}

static void put(struct vol_say *s, char c)
{
    if (s->len + 1 >= s->size)
        return;
    s->buf[s->len++] = c;
    s->buf[s->len] = '\0';
}

void vol_say(struct vol_say *s, const char *text)
{
    for (; *text; text++)
        put(s, *text);
}

void vol_say_uint(struct vol_say *s, uint64_t v)
{
    char digits[20];
    unsigned n = 0;

    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    while (n)
        put(s, digits[--n]);
}

void vol_say_quoted(struct vol_say *s, const char *text)
{
    unsigned n = 0;

    put(s, '"');
    for (; *text && n < QUOTED_MAX; text++, n++)
        put(s, *text < ' ' || *text > '~' || *text == '"' ? '?' : *text);
    if (*text)
        vol_say(s, "...");
    put(s, '"');
}
