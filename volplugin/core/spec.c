/* SPDX-License-Identifier: BSD-3-Clause */
#include "volplugin/core/spec.h"

#include <string.h>

#include "lib/base/err.h"
#include "lib/base/text.h"
#include "volplugin/core/say.h"

#define REPLICAS_MAX 5u
#define SEGMENT_BYTES_MAX ((uint64_t)KT_SEGMENT_EXTENTS_MAX * KT_EXTENT_BYTES)

/* Every word that is understood; the first one of an option is its name. */
static const struct {
    const char *word;
    enum vol_opt opt;
} known[] = {
    {"size", VOL_OPT_SIZE},
    {"capacity", VOL_OPT_SIZE},
    {"replicas", VOL_OPT_REPLICAS},
    {"repl", VOL_OPT_REPLICAS},
    {"replication-factor", VOL_OPT_REPLICAS},
    {"min-write", VOL_OPT_MIN_WRITE},
    {"segment", VOL_OPT_SEGMENT},
    {"durability", VOL_OPT_DURABILITY},
    {"pool", VOL_OPT_POOL},
    {"network", VOL_OPT_POOL},
    {"fs", VOL_OPT_FS},
    {"fstype", VOL_OPT_FS},
    {"mkfs", VOL_OPT_MKFS},
    {"fsopts", VOL_OPT_MKFS},
    {"mountopts", VOL_OPT_MOUNTOPTS},
    {"uid", VOL_OPT_UID},
    {"gid", VOL_OPT_GID},
    {"mode", VOL_OPT_MODE},
};

/* Words of options that are still to come. */
static const char *const later[] = {
    "spread",    "shared", "nocache", "from",    "iops",
    "encrypted", "bw",     "profile", "protect", NULL};

const char *vol_opt_name(enum vol_opt o)
{
    for (size_t i = 0; i < KT_ARRAY_LEN(known); i++) {
        if (known[i].opt == o)
            return known[i].word;
    }
    return "";
}

static int unknown(const char *key, struct vol_say *say)
{
    const char *words[KT_ARRAY_LEN(known) + KT_ARRAY_LEN(later)];
    unsigned n = 0;

    for (size_t i = 0; i < KT_ARRAY_LEN(known); i++)
        words[n++] = known[i].word;
    for (size_t i = 0; later[i]; i++) {
        if (strcmp(key, later[i]) == 0) {
            vol_say(say, "the option ");
            vol_say_quoted(say, key);
            vol_say(say, " is not there yet: leave it out");
            return KT_E_INVALID;
        }
    }
    words[n] = NULL;
    vol_say(say, "there is no option ");
    vol_say_quoted(say, key);
    const char *near = vol_nearest(key, words);
    if (near) {
        vol_say(say, ": did you mean ");
        vol_say_quoted(say, near);
        vol_say(say, "?");
        return KT_E_INVALID;
    }
    vol_say(say, "; the options are");
    for (unsigned o = 0; o < VOL_OPT_NONE; o++) {
        vol_say(say, o ? ", " : " ");
        vol_say(say, vol_opt_name((enum vol_opt)o));
    }
    return KT_E_INVALID;
}

/* ---- values ---- */

static bool take_uint(const char *text, unsigned base, uint32_t min,
                      uint32_t max, uint32_t *ret_v)
{
    uint64_t v = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        unsigned digit = (unsigned)(*text - '0');
        if (*text < '0' || digit >= base)
            return false;
        v = v * base + digit;
        if (v > max)
            return false;
    }
    if (v < min)
        return false;
    *ret_v = (uint32_t)v;
    return true;
}

static bool take_bytes(const char *text, uint64_t min, uint64_t max,
                       uint64_t step, uint64_t *ret_v)
{
    uint64_t v;

    if (kt_size_parse(text, &v) < 0 || v < min || v > max || v % step)
        return false;
    *ret_v = v;
    return true;
}

static bool take_segment(const char *text, uint64_t *ret_v)
{
    uint64_t v;

    if (!take_bytes(text, KT_EXTENT_BYTES, SEGMENT_BYTES_MAX, KT_EXTENT_BYTES,
                    &v) ||
        (v & (v - 1)))
        return false;
    *ret_v = v;
    return true;
}

/* Words for mkfs or mount: nothing that another program could take for the
 * name of a file or for more than a word. */
static bool take_words(const char *text, const char *more, char *ret)
{
    size_t n = strlen(text);

    if (n == 0 || n >= VOL_WORDS_BYTES)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9');
        if (!plain && !strchr(more, c))
            return false;
    }
    memcpy(ret, text, n + 1);
    return true;
}

static bool take_one_of(const char *text, const char *a, const char *b,
                        char *ret, size_t size)
{
    size_t n = strlen(text);

    if (n >= size || (strcmp(text, a) != 0 && strcmp(text, b) != 0))
        return false;
    memcpy(ret, text, n + 1);
    return true;
}

/* NULL, or what the value should have been. */
static const char *take(struct vol_spec *s, enum vol_opt o, const char *v)
{
    switch (o) {
    case VOL_OPT_SIZE:
        return take_bytes(v, KT_VOLUME_BYTES_MIN, KT_VOLUME_BYTES_MAX,
                          KT_SECTOR_BYTES, &s->size_bytes)
                   ? NULL
                   : "a multiple of 4096 bytes from 4K to 64T, like 10G";
    case VOL_OPT_REPLICAS:
        return take_uint(v, 10, 1, REPLICAS_MAX, &s->replicas)
                   ? NULL
                   : "a number from 1 to 5";
    case VOL_OPT_MIN_WRITE:
        return take_uint(v, 10, 1, REPLICAS_MAX, &s->min_write)
                   ? NULL
                   : "a number from 1 to the replicas";
    case VOL_OPT_SEGMENT:
        return take_segment(v, &s->segment_bytes)
                   ? NULL
                   : "a power of two from 4M to 16G";
    case VOL_OPT_DURABILITY:
        return take_one_of(v, "flush", "sync", s->durability,
                           sizeof(s->durability))
                   ? NULL
                   : "flush or sync";
    case VOL_OPT_POOL:
        if (!kt_name_valid(v))
            return "the name of a pool";
        memcpy(s->pool, v, strlen(v) + 1);
        return NULL;
    case VOL_OPT_FS:
        return take_one_of(v, "ext4", "xfs", s->fs, sizeof(s->fs))
                   ? NULL
                   : "ext4 or xfs";
    case VOL_OPT_MKFS:
        return take_words(v, "_=,.:^ -", s->mkfs)
                   ? NULL
                   : "words for mkfs, of letters, digits and _ = , . : ^ -";
    case VOL_OPT_MOUNTOPTS:
        return take_words(v, "_=,.:", s->mountopts)
                   ? NULL
                   : "options of mount(8), separated by commas";
    case VOL_OPT_UID:
    case VOL_OPT_GID:
        return take_uint(v, 10, 0, INT32_MAX,
                         o == VOL_OPT_UID ? &s->uid : &s->gid)
                   ? NULL
                   : "a number from 0 to 2147483647";
    case VOL_OPT_MODE:
        return take_uint(v, 8, 0, 07777, &s->mode)
                   ? NULL
                   : "octal permissions, like 0750";
    default:
        return "";
    }
}

int vol_spec_add(struct vol_spec *s, const char *key, const char *value,
                 char *ret_why)
{
    enum vol_opt o = VOL_OPT_NONE;
    struct vol_say say;

    vol_say_init(&say, ret_why, VOL_WHY_BYTES);
    for (size_t i = 0; i < KT_ARRAY_LEN(known); i++) {
        if (strcmp(known[i].word, key) == 0)
            o = known[i].opt;
    }
    if (o == VOL_OPT_NONE)
        return unknown(key, &say);
    if (vol_spec_has(s, o)) {
        vol_say(&say, "the option ");
        vol_say_quoted(&say, vol_opt_name(o));
        vol_say(&say, " is there twice, under two names: give it once");
        return KT_E_INVALID;
    }
    const char *should = take(s, o, value);
    if (should) {
        vol_say(&say, key);
        vol_say(&say, "=");
        vol_say_quoted(&say, value);
        vol_say(&say, " cannot be: it is ");
        vol_say(&say, should);
        return KT_E_INVALID;
    }
    s->given |= 1u << o;
    return 0;
}

int vol_spec_check(const struct vol_spec *s, char *ret_why)
{
    struct vol_say say;

    vol_say_init(&say, ret_why, VOL_WHY_BYTES);
    if (vol_spec_has(s, VOL_OPT_MIN_WRITE) &&
        vol_spec_has(s, VOL_OPT_REPLICAS) && s->min_write > s->replicas) {
        vol_say(&say, "min-write=");
        vol_say_uint(&say, s->min_write);
        vol_say(&say, " is more than replicas=");
        vol_say_uint(&say, s->replicas);
        vol_say(&say, ": nothing could ever be written");
        return KT_E_INVALID;
    }
    return 0;
}

/* ---- two specs ---- */

static void say_mode(struct vol_say *say, uint32_t mode)
{
    char text[5] = {(char)('0' + (mode >> 9 & 7)),
                    (char)('0' + (mode >> 6 & 7)),
                    (char)('0' + (mode >> 3 & 7)), (char)('0' + (mode & 7)), 0};

    vol_say(say, text);
}

static void say_value(struct vol_say *say, const struct vol_spec *s,
                      enum vol_opt o)
{
    switch (o) {
    case VOL_OPT_SIZE:
        vol_say_uint(say, s->size_bytes);
        break;
    case VOL_OPT_REPLICAS:
        vol_say_uint(say, s->replicas);
        break;
    case VOL_OPT_MIN_WRITE:
        vol_say_uint(say, s->min_write);
        break;
    case VOL_OPT_SEGMENT:
        vol_say_uint(say, s->segment_bytes);
        break;
    case VOL_OPT_DURABILITY:
        vol_say(say, s->durability);
        break;
    case VOL_OPT_POOL:
        vol_say(say, s->pool);
        break;
    case VOL_OPT_FS:
        vol_say(say, s->fs);
        break;
    case VOL_OPT_MKFS:
        vol_say(say, s->mkfs);
        break;
    case VOL_OPT_MOUNTOPTS:
        vol_say(say, s->mountopts);
        break;
    case VOL_OPT_UID:
        vol_say_uint(say, s->uid);
        break;
    case VOL_OPT_GID:
        vol_say_uint(say, s->gid);
        break;
    case VOL_OPT_MODE:
        say_mode(say, s->mode);
        break;
    default:
        break;
    }
}

char *vol_spec_text(const struct vol_spec *s,
                    char ret_text[VOL_SPEC_TEXT_BYTES])
{
    struct vol_say say;

    vol_say_init(&say, ret_text, VOL_SPEC_TEXT_BYTES);
    for (unsigned o = 0; o < VOL_OPT_NONE; o++) {
        if (!vol_spec_has(s, (enum vol_opt)o))
            continue;
        vol_say(&say, say.len ? " " : "");
        vol_say(&say, vol_opt_name((enum vol_opt)o));
        vol_say(&say, "=");
        say_value(&say, s, (enum vol_opt)o);
    }
    if (say.len == 0)
        vol_say(&say, "no options");
    return ret_text;
}

uint32_t vol_spec_differs(const struct vol_spec *asked,
                          const struct vol_spec *have)
{
    uint32_t differ = 0;
    char a[VOL_WORDS_BYTES + 1], b[VOL_WORDS_BYTES + 1];
    struct vol_say sa, sb;

    for (unsigned o = 0; o < VOL_OPT_NONE; o++) {
        if (!vol_spec_has(asked, (enum vol_opt)o) ||
            !vol_spec_has(have, (enum vol_opt)o))
            continue;
        vol_say_init(&sa, a, sizeof(a));
        vol_say_init(&sb, b, sizeof(b));
        say_value(&sa, asked, (enum vol_opt)o);
        say_value(&sb, have, (enum vol_opt)o);
        if (strcmp(a, b) != 0)
            differ |= 1u << o;
    }
    return differ;
}

/* ---- names ---- */

const char *vol_name_wrong(const char *name)
{
    if (!name)
        return "the name of the volume is missing";
    if (!kt_name_valid(name))
        return "a name of a volume has 1 to 63 letters, digits, '_', '.' or "
               "'-', and begins with a letter or digit";
    return NULL;
}

bool vol_mount_id_valid(const char *id)
{
    size_t n = id ? strnlen(id, VOL_MOUNT_ID_MAX + 1) : 0;

    if (n == 0 || n > VOL_MOUNT_ID_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = id[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-'))
            return false;
    }
    return true;
}
