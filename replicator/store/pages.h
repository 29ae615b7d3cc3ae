/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether LMDB may be let loose on an index file. */
#ifndef KT_STORE_PAGES_H
#define KT_STORE_PAGES_H

#include <stdint.h>

#include "lib/base/kt.h"

/* Walks all pages of the closed index at path, when it has any. LMDB follows
 * what stands in a page without question: a damaged one ends the process, or
 * makes rows vanish. key (key_len bytes) names a row that begins with a u64
 * which grows with each commit, in the table called db: it must not be greater
 * in the older of the two trees. 0, KT_E_CORRUPT, -errno. Blocking. */
struct pages_clock {
    const char *db, *key;
    uint32_t key_len;
};
int pages_check(const char *path,
                const struct pages_clock *clock) KT_MUST_CHECK;

#endif
