/* SPDX-License-Identifier: BSD-3-Clause */
/* The class of an error. Pure: the cores decide by it. */
#include "lib/base/err.h"

enum kt_err_class kt_err_class(int err)
{
    switch (err) {
#define X(n, name, cls, text)                                                  \
    case KT_E_##name:                                                          \
        return KT_##cls;
        KT_ERRORS(X)
#undef X
    default:
        return KT_FATAL;
    }
}
