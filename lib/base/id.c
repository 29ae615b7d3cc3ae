/* SPDX-License-Identifier: BSD-3-Clause */
/* Identities as text. Pure; where fresh ones come from is idnew.c. */
#include "lib/base/id.h"

#include <errno.h>

char *kt_id_hex(const struct kt_id *id, char ret_hex[KT_ID_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(id->b); i++) {
        ret_hex[2 * i] = digits[id->b[i] >> 4];
        ret_hex[2 * i + 1] = digits[id->b[i] & 15];
    }
    ret_hex[KT_ID_HEX_BYTES - 1] = '\0';
    return ret_hex;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int kt_id_parse(const char *hex, struct kt_id *ret_id)
{
    struct kt_id id;

    if (!hex)
        return -EINVAL;
    /* Each digit is looked at before the next, so a short text's NUL is
     * never passed. */
    for (size_t i = 0; i < sizeof(id.b); i++) {
        int hi = hex_digit(hex[2 * i]);
        int lo = hi < 0 ? -1 : hex_digit(hex[2 * i + 1]);
        if (lo < 0)
            return -EINVAL;
        id.b[i] = (uint8_t)(hi << 4 | lo);
    }
    if (hex[KT_ID_HEX_BYTES - 1] != '\0')
        return -EINVAL;
    *ret_id = id;
    return 0;
}
