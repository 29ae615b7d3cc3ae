/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether LMDB may be let loose on an index file. */
#ifndef KT_STORE_PAGES_H
#define KT_STORE_PAGES_H

#include <stdint.h>

#include "lib/base/kt.h"

/* Walks all pages of the closed index at path, when it has any. LMDB follows
 * what stands in a page without question: a damaged one ends the process, or
 * makes rows vanish. 0, KT_E_CORRUPT, -errno. Blocking. */
int pages_check(const char *path) KT_MUST_CHECK;

#endif
