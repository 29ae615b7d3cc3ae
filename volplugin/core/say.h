/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentences put together without the C library: for pure code. */
#ifndef KT_VOLPLUGIN_CORE_SAY_H
#define KT_VOLPLUGIN_CORE_SAY_H

#include "lib/base/kt.h"

struct vol_say {
    char *buf; /* ends in NUL; what does not fit is cut off */
    size_t size, len;
};

void vol_say_init(struct vol_say *s, char *buf, size_t size);
void vol_say(struct vol_say *s, const char *text);
void vol_say_uint(struct vol_say *s, uint64_t v);
/* Between double quotes, at most 40 bytes of it, strange bytes as '?'. */
void vol_say_quoted(struct vol_say *s, const char *text);

#endif
