/* SPDX-License-Identifier: BSD-3-Clause */
/* Names and sizes. Pure: written without the C library's formatting. */
#include "lib/base/text.h"

#include <errno.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool kt_name_valid(const char *name)
{
    if (!name || !is_alnum(name[0]))
        return false;
    for (size_t i = 1; name[i]; i++) {
        char c = name[i];
        if (i >= KT_NAME_MAX)
            return false;
        if (!is_alnum(c) && c != '_' && c != '.' && c != '-')
            return false;
    }
    return true;
}

/* How far the letter shifts; -1 when it is no unit. */
static int unit_shift(char c)
{
    static const char units[] = "KMGTPE";

    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    for (int i = 0; units[i]; i++) {
        if (units[i] == c)
            return 10 * (i + 1);
    }
    return -1;
}

int kt_size_parse(const char *text, uint64_t *ret_bytes)
{
    uint64_t v = 0;
    int shift = 0;
    bool over = false;

    if (!text || !is_digit(*text))
        return -EINVAL;
    for (; is_digit(*text); text++) {
        uint64_t digit = (uint64_t)(*text - '0');
        if (v > (INT64_MAX - digit) / 10)
            over = true;
        else
            v = v * 10 + digit;
    }
    if (*text) {
        shift = unit_shift(*text++);
        if (shift < 0)
            return -EINVAL;
        if (*text == 'i' && text[1] == 'B')
            text += 2;
        else if (*text == 'B')
            text++;
        if (*text)
            return -EINVAL;
    }
    /* Range comes last: "99999999999999999999x" is no size at all. */
    if (over || v > (uint64_t)INT64_MAX >> shift)
        return -ERANGE;
    *ret_bytes = v << shift;
    return 0;
}

char *kt_size_format(uint64_t bytes, char ret_text[KT_SIZE_TEXT_BYTES])
{
    static const char units[] = "KMGTPE";
    unsigned unit = 0; /* 0 is bytes, 1 is KiB */
    uint64_t whole = bytes, tenths = 0;

    while (bytes >> (10 * unit) >= 1024 && unit < sizeof(units) - 1)
        unit++;
    if (unit > 0) {
        whole = bytes >> (10 * unit);
        uint64_t frac = bytes >> (10 * (unit - 1)) & 1023;
        tenths = (frac * 10 + 512) / 1024;
        whole += tenths / 10;
        tenths %= 10;
        if (whole == 1024 && unit < sizeof(units) - 1) {
            whole = 1;
            unit++;
        }
    }

    char digits[8];
    size_t n = 0, at = 0;
    do
        digits[n++] = (char)('0' + whole % 10);
    while ((whole /= 10) > 0);
    assert(n <= 4);
    while (n > 0)
        ret_text[at++] = digits[--n];
    if (tenths) {
        ret_text[at++] = '.';
        ret_text[at++] = (char)('0' + tenths);
    }
    ret_text[at++] = ' ';
    if (unit > 0) {
        ret_text[at++] = units[unit - 1];
        ret_text[at++] = 'i';
    }
    ret_text[at++] = 'B';
    ret_text[at++] = '\0';
    assert(at <= KT_SIZE_TEXT_BYTES);
    return ret_text;
}
