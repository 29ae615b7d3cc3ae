/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors as people read them. Texts of errno values are the C library's own,
 * so this file stays out of the pure cores. */
#include "lib/base/err.h"

#include <limits.h>
#include <string.h>

/* libuv's end of file: the one code of its own that reaches our messages. */
#define UV_END_OF_FILE (-4095)

const char *kt_strerror(int err)
{
    switch (err) {
    case 0:
        return "success";
    case UV_END_OF_FILE:
        return "the connection was closed by the peer";
#define X(n, name, cls, text)                                                  \
    case KT_E_##name:                                                          \
        return text;
        KT_ERRORS(X)
#undef X
    default:
        break;
    }
    const char *s = err == INT_MIN ? NULL : strerrordesc_np(-err);
    return s ? s : "unknown error";
}

const char *kt_errname(int err)
{
    switch (err) {
    case 0:
        return "OK";
    case UV_END_OF_FILE:
        return "EOF";
#define X(n, name, cls, text)                                                  \
    case KT_E_##name:                                                          \
        return #name;
        KT_ERRORS(X)
#undef X
    default:
        break;
    }
    const char *s = err == INT_MIN ? NULL : strerrorname_np(-err);
    return s ? s : "UNKNOWN";
}
