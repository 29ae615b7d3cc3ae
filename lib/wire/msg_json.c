/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON values, bounded and checked. */
#include "lib/wire/msg_json.h"

#include <string.h>

/* How deep brackets nest, without parsing: jansson recurses. */
static bool too_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char ch = text[i];
        if (in_string) {
            if (ch == '\\')
                i++;
            else if (ch == '"')
                in_string = false;
        } else if (ch == '"') {
            in_string = true;
        } else if (ch == '[' || ch == '{') {
            if (++depth > KT_JSON_DEPTH_MAX)
                return true;
        } else if ((ch == ']' || ch == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

json_t *kt_js_parse(const char *text, size_t len)
{
    if (too_deep(text, len))
        return NULL;
    return json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
}

/* Gives v away; NULL (no memory) is bad. */
static void put(struct kt_js *js, const char *key, json_t *v)
{
    if (json_object_set_new(js->o, key, v) < 0)
        js->bad = true;
}

static uint64_t get_uint(struct kt_js *js, const json_t *v, uint64_t max)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        (uint64_t)json_integer_value(v) > max) {
        js->bad = true;
        return 0;
    }
    return (uint64_t)json_integer_value(v);
}

static json_t *new_uint(struct kt_js *js, uint64_t v)
{
    if (v > INT64_MAX)
        js->bad = true;
    return json_integer((json_int_t)v);
}

void kt_js_u64(struct kt_js *js, const char *key, uint64_t *v)
{
    if (js->w)
        put(js, key, new_uint(js, *v));
    else
        *v = get_uint(js, json_object_get(js->o, key), INT64_MAX);
}

void kt_js_u32(struct kt_js *js, const char *key, uint32_t *v)
{
    if (js->w)
        put(js, key, new_uint(js, *v));
    else
        *v = (uint32_t)get_uint(js, json_object_get(js->o, key), UINT32_MAX);
}

void kt_js_u8(struct kt_js *js, const char *key, uint8_t *v)
{
    if (js->w)
        put(js, key, new_uint(js, *v));
    else
        *v = (uint8_t)get_uint(js, json_object_get(js->o, key), UINT8_MAX);
}

void kt_js_i32(struct kt_js *js, const char *key, int32_t *v)
{
    if (js->w) {
        put(js, key, json_integer(*v));
        return;
    }
    const json_t *j = json_object_get(js->o, key);
    if (!json_is_integer(j) || json_integer_value(j) < INT32_MIN ||
        json_integer_value(j) > INT32_MAX)
        js->bad = true;
    else
        *v = (int32_t)json_integer_value(j);
}

void kt_js_id(struct kt_js *js, const char *key, struct kt_id *v)
{
    char hex[KT_ID_HEX_BYTES];

    if (js->w) {
        put(js, key, json_string(kt_id_hex(v, hex)));
        return;
    }
    const char *s = json_string_value(json_object_get(js->o, key));
    if (!s || kt_id_parse(s, v) < 0)
        js->bad = true;
}

static json_t *new_text(const char *s)
{
    json_t *v = json_string(s);
    if (v)
        return v;
    /* Not UTF-8: an address or a message of the system. Keep what is ASCII. */
    char ascii[256];
    size_t n = 0;
    for (; s[n] != '\0' && n + 1 < sizeof(ascii); n++)
        ascii[n] = (s[n] & 0x80) ? '?' : s[n];
    ascii[n] = '\0';
    return json_string(ascii);
}

void kt_js_str(struct kt_js *js, const char *key, char *v, size_t size)
{
    if (js->w) {
        assert(memchr(v, '\0', size));
        put(js, key, new_text(v));
        return;
    }
    const json_t *j = json_object_get(js->o, key);
    size_t n = json_string_length(j);
    if (!json_is_string(j) || n >= size) {
        js->bad = true;
        return;
    }
    memcpy(v, json_string_value(j), n);
    v[n] = '\0';
}

void kt_js_rid(struct kt_js *js, const char *key, struct kt_rid *v)
{
    if (js->w) {
        json_t *a = json_array();
        json_array_append_new(a, new_uint(js, v->epoch));
        json_array_append_new(a, new_uint(js, v->seq));
        put(js, key, a);
        return;
    }
    const json_t *a = json_object_get(js->o, key);
    if (!json_is_array(a) || json_array_size(a) != 2) {
        js->bad = true;
        return;
    }
    v->epoch = get_uint(js, json_array_get(a, 0), INT64_MAX);
    v->seq = get_uint(js, json_array_get(a, 1), INT64_MAX);
}

static void js_addr(struct kt_js *js, const char *key, struct kt_addr *a,
                    enum kt_addr_kind kind)
{
    char text[KT_ADDR_TEXT_BYTES] = "";

    if (js->w) {
        if (a->kind != KT_ADDR_NONE)
            kt_addr_format(a, text);
        put(js, key, new_text(text));
        return;
    }
    kt_js_str(js, key, text, sizeof(text));
    if (text[0] == '\0')
        memset(a, 0, sizeof(*a));
    else if (kt_addr_parse(text, a) < 0 || a->kind != kind)
        js->bad = true;
}

void kt_js_node(struct kt_js *js, const char *key, struct kt_node *v)
{
    struct kt_js in = {.w = js->w};

    if (js->w)
        put(js, key, json_object());
    in.o = json_object_get(js->o, key);
    if (!json_is_object(in.o)) {
        js->bad = true;
        return;
    }
    kt_js_id(&in, "id", &v->id);
    kt_js_id(&in, "boot", &v->boot);
    kt_js_str(&in, "name", v->name, sizeof(v->name));
    js_addr(&in, "tcp", &v->tcp, KT_ADDR_TCP);
    js_addr(&in, "unix", &v->unix_, KT_ADDR_UNIX);
    if (!js->w && v->name[0] != '\0' && !kt_name_valid(v->name))
        in.bad = true;
    js->bad = js->bad || in.bad;
}

void kt_js_put_cfg(struct kt_js *js, const char *key, const struct kt_cfg *v)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t b[KT_CFG_BYTES_MAX];
    char hex[2 * KT_CFG_BYTES_MAX];
    size_t n = kt_cfg_encode(v, b);

    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[b[i] >> 4];
        hex[2 * i + 1] = digits[b[i] & 15];
    }
    put(js, key, json_stringn(hex, 2 * n));
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if (ch >= 'a' && ch <= 'f')
        return ch - 'a' + 10;
    return -1;
}

void kt_js_get_cfg(struct kt_js *js, const char *key, struct kt_cfg *ret_v)
{
    uint8_t b[KT_CFG_BYTES_MAX];
    const json_t *j = json_object_get(js->o, key);
    const char *s = json_string_value(j);
    size_t n = json_string_length(j);

    if (!s || n % 2 != 0 || n / 2 > sizeof(b)) {
        js->bad = true;
        return;
    }
    for (size_t i = 0; i < n; i += 2) {
        int hi = hex_digit(s[i]), lo = hex_digit(s[i + 1]);
        if (hi < 0 || lo < 0) {
            js->bad = true;
            return;
        }
        b[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    if (kt_cfg_decode(b, n / 2, ret_v) < 0)
        js->bad = true;
}

json_t *kt_js_array(struct kt_js *js, const char *key, size_t max)
{
    if (js->w)
        put(js, key, json_array());
    json_t *a = json_object_get(js->o, key);
    if (!json_is_array(a) || json_array_size(a) > max) {
        js->bad = true;
        return NULL;
    }
    return a;
}

struct kt_js kt_js_element(struct kt_js *js, json_t *a, size_t i)
{
    struct kt_js in = {.w = js->w};

    if (js->w && json_array_append_new(a, json_object()) < 0)
        js->bad = true;
    in.o = json_array_get(a, i);
    in.bad = !json_is_object(in.o);
    return in;
}
