/* SPDX-License-Identifier: BSD-3-Clause */
/* What a volume is asked to be: the driver options of `docker volume create
 * -o`, their synonyms, their values. Pure. */
#ifndef KT_VOLPLUGIN_CORE_SPEC_H
#define KT_VOLPLUGIN_CORE_SPEC_H

#include "lib/base/kt.h"

#define VOL_WHY_BYTES 1024
#define VOL_WORDS_BYTES 256
#define VOL_SPEC_TEXT_BYTES 1024
#define VOL_MOUNT_ID_MAX 128

enum vol_opt {
    VOL_OPT_SIZE,
    VOL_OPT_REPLICAS,
    VOL_OPT_MIN_WRITE,
    VOL_OPT_SEGMENT,
    VOL_OPT_DURABILITY,
    VOL_OPT_POOL,
    VOL_OPT_FS,
    VOL_OPT_MKFS,
    VOL_OPT_MOUNTOPTS,
    VOL_OPT_UID,
    VOL_OPT_GID,
    VOL_OPT_MODE,
    VOL_OPT_NONE,
};

/* value[i] as it was written, and for numbers as it was meant. Only options
 * with their bit in `given` are set. */
struct vol_spec {
    uint32_t given;
    uint64_t size_bytes;
    uint64_t segment_bytes;
    uint32_t replicas;
    uint32_t min_write;
    uint32_t uid, gid, mode;
    char durability[8]; /* "flush" or "sync" */
    char pool[KT_NAME_MAX + 1];
    char fs[8]; /* "ext4" or "xfs" */
    char mkfs[VOL_WORDS_BYTES];
    char mountopts[VOL_WORDS_BYTES];
};

static inline bool vol_spec_has(const struct vol_spec *s, enum vol_opt o)
{
    return (s->given >> o) & 1;
}

/* Adds one option to a spec that began as zeros. 0, or KT_E_INVALID with a
 * sentence in ret_why (VOL_WHY_BYTES): unknown (the nearest known one is
 * named), not there yet, named twice, or a value that cannot be. */
int vol_spec_add(struct vol_spec *s, const char *key, const char *value,
                 char *ret_why) KT_MUST_CHECK;
/* What only the whole tells: min-write above replicas. */
int vol_spec_check(const struct vol_spec *s, char *ret_why) KT_MUST_CHECK;
/* "size=10737418240 fs=ext4"; "no options". Returns ret_text. */
char *vol_spec_text(const struct vol_spec *s,
                    char ret_text[VOL_SPEC_TEXT_BYTES]);
/* Options that `asked` names and `have` knows to be something else, as bits.
 * What is not named is not asked for. */
uint32_t vol_spec_differs(const struct vol_spec *asked,
                          const struct vol_spec *have);
const char *vol_opt_name(enum vol_opt o);

/* NULL, or why this cannot be a volume's name / Docker's id of a mount. */
const char *vol_name_wrong(const char *name);
bool vol_mount_id_valid(const char *id);

/* near.c: the known word that is fewest edits away from `word`, or NULL when
 * none is near. words ends with NULL. */
const char *vol_nearest(const char *word, const char *const *words);

#endif
