/* SPDX-License-Identifier: BSD-3-Clause */
/* logfmt lines on stderr, for the shells only: cores never log. */
#ifndef KT_BASE_LOG_H
#define KT_BASE_LOG_H

#include "lib/base/kt.h"

enum kt_log_level { KT_LOG_ERROR, KT_LOG_WARN, KT_LOG_INFO, KT_LOG_DEBUG };

/* error, warn, info or debug; -EINVAL for anything else, *ret untouched. */
int kt_log_level_parse(const char *text, enum kt_log_level *ret) KT_MUST_CHECK;
/* Lines above this level are dropped; KT_LOG_INFO at start. */
void kt_log_set_level(enum kt_log_level level);

/* One line: ts=... level=... event=EVENT and then fmt, which the caller
 * writes as logfmt pairs: kt_log(KT_LOG_WARN, "peer_lost", "peer=%s
 * err=\"%s\"", ...). At most 1 KiB; control characters become '?'. Any thread.
 * Lines of one event beyond 20 a second are counted, not printed, and the
 * count is told with the next line. */
void kt_log(enum kt_log_level level, const char *event, const char *fmt, ...)
    KT_PRINTF(3, 4);

#endif
