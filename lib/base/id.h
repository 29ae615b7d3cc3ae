/* SPDX-License-Identifier: BSD-3-Clause */
/* 128-bit identities: nodes, stores, volumes, clients, boots. */
#ifndef KT_BASE_ID_H
#define KT_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/kt.h"

struct kt_id {
    uint8_t b[16];
};

#define KT_ID_HEX_BYTES 33 /* 32 digits and the NUL */

static inline bool kt_id_eq(const struct kt_id *a, const struct kt_id *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static inline bool kt_id_is_zero(const struct kt_id *a)
{
    static const struct kt_id zero;
    return kt_id_eq(a, &zero);
}

/* Writes 32 lower-case hex digits and a NUL; returns ret_hex. Pure. */
char *kt_id_hex(const struct kt_id *id, char ret_hex[KT_ID_HEX_BYTES]);
/* The same with the dashes of a UUID: 8-4-4-4-12 digits. Returns ret_uuid. */
#define KT_ID_UUID_BYTES 37
char *kt_id_uuid(const struct kt_id *id, char ret_uuid[KT_ID_UUID_BYTES]);

/* 32 hex digits, nothing else. 0 or -EINVAL. Pure. */
int kt_id_parse(const char *hex, struct kt_id *ret_id) KT_MUST_CHECK;

/* Fresh random identity from the kernel; aborts if there is no entropy. */
void kt_id_random(struct kt_id *ret_id);

/* The identity of this boot of the kernel
 * (/proc/sys/kernel/random/boot_id, dashes dropped). 0 or -errno. */
int kt_boot_id(struct kt_id *ret_id) KT_MUST_CHECK;

#endif
