/* SPDX-License-Identifier: BSD-3-Clause */
/* A volume as the catalogue's row. */
#include "volplugin/catalog_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void set_uint(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void text_of(const json_t *o, const char *key, char *ret, size_t size)
{
    const char *s = json_string_value(json_object_get(o, key));

    snprintf(ret, size, "%s", s ? s : "");
}

static uint64_t uint_of(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));

    return v > 0 ? (uint64_t)v : 0;
}

/* Options go by their words, numbers in their usual notation. */
static void add_spec(json_t *o, const struct vol_spec *s)
{
    char mode[8];

#define NUMBER(opt, field)                                                     \
    if (vol_spec_has(s, opt))                                                  \
    set_uint(o, vol_opt_name(opt), s->field)
#define TEXT(opt, field)                                                       \
    if (vol_spec_has(s, opt))                                                  \
    json_object_set_new(o, vol_opt_name(opt), json_string(s->field))
    NUMBER(VOL_OPT_SIZE, size_bytes);
    NUMBER(VOL_OPT_REPLICAS, replicas);
    NUMBER(VOL_OPT_MIN_WRITE, min_write);
    NUMBER(VOL_OPT_SEGMENT, segment_bytes);
    NUMBER(VOL_OPT_UID, uid);
    NUMBER(VOL_OPT_GID, gid);
    TEXT(VOL_OPT_DURABILITY, durability);
    TEXT(VOL_OPT_POOL, pool);
    TEXT(VOL_OPT_FS, fs);
    TEXT(VOL_OPT_MKFS, mkfs);
    TEXT(VOL_OPT_MOUNTOPTS, mountopts);
#undef NUMBER
#undef TEXT
    if (vol_spec_has(s, VOL_OPT_MODE)) {
        snprintf(mode, sizeof(mode), "%04" PRIo32, s->mode & 07777);
        json_object_set_new(o, "mode", json_string(mode));
    }
}

/* Through the same parser as people's options. */
static int read_spec(const json_t *o, struct vol_spec *s)
{
    char why[VOL_WHY_BYTES], number[24];
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        const char *text = json_string_value(v);
        if (json_is_integer(v)) {
            snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
                     json_integer_value(v));
            text = number;
        }
        if (!text)
            return KT_E_CORRUPT;
        if (vol_spec_add(s, key, text, why) < 0)
            return KT_E_CORRUPT;
    }
    return 0;
}

json_t *catalog_json(const struct cat_volume *v)
{
    char hex[KT_ID_HEX_BYTES];
    json_t *spec = json_object();

    add_spec(spec, &v->spec);
    json_t *o = json_pack("{s:s, s:o, s:s}", "id", kt_id_hex(&v->id, hex),
                          "spec", spec, "state", v->state);
    set_uint(o, "created", v->created_s);
    if (v->holder[0]) {
        json_object_set_new(o, "holder", json_string(v->holder));
        set_uint(o, "holder_pid", v->holder_pid);
        set_uint(o, "holder_since", v->holder_since_s);
    }
    return o;
}

int catalog_from_json(const char *name, const json_t *o, struct cat_volume *ret)
{
    struct cat_volume v;

    memset(&v, 0, sizeof(v));
    const char *id = json_string_value(json_object_get(o, "id"));
    if (!kt_name_valid(name) || !id || kt_id_parse(id, &v.id) < 0)
        return KT_E_CORRUPT;
    snprintf(v.name, sizeof(v.name), "%s", name);
    v.created_s = uint_of(o, "created");
    text_of(o, "state", v.state, sizeof(v.state));
    text_of(o, "holder", v.holder, sizeof(v.holder));
    v.holder_pid = (uint32_t)uint_of(o, "holder_pid");
    v.holder_since_s = uint_of(o, "holder_since");
    int err = read_spec(json_object_get(o, "spec"), &v.spec);
    if (err == 0)
        *ret = v;
    return err;
}

static void give(struct vol_spec *s, enum vol_opt o)
{
    s->given |= 1u << o;
}

int catalog_from_hub(const json_t *o, struct cat_volume *ret)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    const char *id = json_string_value(json_object_get(o, "id"));
    const json_t *h = json_object_get(o, "holder");
    struct cat_volume v;

    memset(&v, 0, sizeof(v));
    if (!kt_name_valid(name) || !id || kt_id_parse(id, &v.id) < 0)
        return KT_E_PROTO;
    snprintf(v.name, sizeof(v.name), "%s", name);
    v.created_s = uint_of(o, "created");
    text_of(o, "state", v.state, sizeof(v.state));
    text_of(h, "node", v.holder, sizeof(v.holder));
    v.holder_pid = (uint32_t)uint_of(h, "pid");
    v.holder_since_s = uint_of(h, "since");
    v.spec.size_bytes = uint_of(o, "size");
    v.spec.replicas = (uint32_t)uint_of(o, "replicas");
    v.spec.min_write = (uint32_t)uint_of(o, "min_write");
    v.spec.segment_bytes = uint_of(o, "segment");
    text_of(o, "pool", v.spec.pool, sizeof(v.spec.pool));
    text_of(o, "durability", v.spec.durability, sizeof(v.spec.durability));
    give(&v.spec, VOL_OPT_SIZE);
    give(&v.spec, VOL_OPT_REPLICAS);
    give(&v.spec, VOL_OPT_MIN_WRITE);
    give(&v.spec, VOL_OPT_SEGMENT);
    if (v.spec.pool[0])
        give(&v.spec, VOL_OPT_POOL);
    if (v.spec.durability[0])
        give(&v.spec, VOL_OPT_DURABILITY);
    if (v.spec.size_bytes == 0)
        return KT_E_PROTO;
    *ret = v;
    return 0;
}

void catalog_merge_local(struct cat_volume *v, const struct vol_spec *old)
{
    struct vol_spec s = *old;

    s.given &= CAT_LOCAL_OPTS & ~v->spec.given;
#define TAKE(opt, field)                                                       \
    if (vol_spec_has(&s, opt))                                                 \
    memcpy(&v->spec.field, &s.field, sizeof(s.field))
    TAKE(VOL_OPT_FS, fs);
    TAKE(VOL_OPT_MKFS, mkfs);
    TAKE(VOL_OPT_MOUNTOPTS, mountopts);
    TAKE(VOL_OPT_UID, uid);
    TAKE(VOL_OPT_GID, gid);
    TAKE(VOL_OPT_MODE, mode);
#undef TAKE
    v->spec.given |= s.given;
}
