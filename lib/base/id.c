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

char *kt_id_uuid(const struct kt_id *id, char ret_uuid[KT_ID_UUID_BYTES])
{
    char hex[KT_ID_HEX_BYTES], *to = ret_uuid;

    kt_id_hex(id, hex);
    for (size_t i = 0; i < KT_ID_HEX_BYTES; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *to++ = '-';
        *to++ = hex[i]; /* its NUL as well */
    }
    return ret_uuid;
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
