/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter-replicator --check-store. */
#ifndef KT_REPL_CHECK_H
#define KT_REPL_CHECK_H

#include <stdio.h>

#include "lib/base/kt.h"

enum { CHECK_SOUND = 0, CHECK_FAILED = 1, CHECK_DAMAGED = 3 };

/* Looks through the store in dir and says on `out` what it found, as JSON when
 * asked. Returns the exit status above; CHECK_FAILED, with a sentence on
 * stderr, when it could not look. Blocking. */
int check_main(const char *dir, bool json, FILE *out);

#endif
