/* SPDX-License-Identifier: BSD-3-Clause */
/* A bounded little-endian cursor whose failure sticks: check once, at the
 * end. Reading past the end gives zeros and sets bad; writing past the end
 * writes nothing and sets bad. Pure. */
#ifndef KT_BASE_CURSOR_H
#define KT_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/id.h"

struct kt_cur {
    uint8_t *p;  /* next byte */
    size_t left; /* bytes left */
    bool bad;    /* something did not fit */
};

static inline struct kt_cur kt_cur_w(void *buf, size_t len)
{
    return (struct kt_cur){.p = buf, .left = len};
}

/* For reading; the bytes are not written to. */
static inline struct kt_cur kt_cur_r(const void *buf, size_t len)
{
    return (struct kt_cur){.p = (uint8_t *)(uintptr_t)buf, .left = len};
}

static inline uint8_t *kt_cur_take(struct kt_cur *c, size_t n)
{
    if (c->bad || n > c->left) {
        c->bad = true;
        return NULL;
    }
    uint8_t *p = c->p;
    c->p += n;
    c->left -= n;
    return p;
}

static inline void kt_put_uint(struct kt_cur *c, uint64_t v, size_t n)
{
    uint8_t *p = kt_cur_take(c, n);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static inline uint64_t kt_get_uint(struct kt_cur *c, size_t n)
{
    const uint8_t *p = kt_cur_take(c, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline void kt_put_u8(struct kt_cur *c, uint8_t v)
{
    kt_put_uint(c, v, 1);
}
static inline void kt_put_u16(struct kt_cur *c, uint16_t v)
{
    kt_put_uint(c, v, 2);
}
static inline void kt_put_u32(struct kt_cur *c, uint32_t v)
{
    kt_put_uint(c, v, 4);
}
static inline void kt_put_u64(struct kt_cur *c, uint64_t v)
{
    kt_put_uint(c, v, 8);
}
static inline uint8_t kt_get_u8(struct kt_cur *c)
{
    return (uint8_t)kt_get_uint(c, 1);
}
static inline uint16_t kt_get_u16(struct kt_cur *c)
{
    return (uint16_t)kt_get_uint(c, 2);
}
static inline uint32_t kt_get_u32(struct kt_cur *c)
{
    return (uint32_t)kt_get_uint(c, 4);
}
static inline uint64_t kt_get_u64(struct kt_cur *c)
{
    return kt_get_uint(c, 8);
}

static inline void kt_put_bytes(struct kt_cur *c, const void *b, size_t n)
{
    uint8_t *p = kt_cur_take(c, n);
    if (p && n)
        memcpy(p, b, n);
}

static inline void kt_get_bytes(struct kt_cur *c, void *b, size_t n)
{
    const uint8_t *p = kt_cur_take(c, n);
    if (p && n)
        memcpy(b, p, n);
    else if (n)
        memset(b, 0, n);
}

static inline void kt_put_id(struct kt_cur *c, const struct kt_id *id)
{
    kt_put_bytes(c, id->b, sizeof(id->b));
}

static inline void kt_get_id(struct kt_cur *c, struct kt_id *ret_id)
{
    kt_get_bytes(c, ret_id->b, sizeof(ret_id->b));
}

/* u8 length and the characters, without the NUL. */
static inline void kt_put_str8(struct kt_cur *c, const char *s)
{
    size_t n = strlen(s);
    if (n > 255) {
        c->bad = true;
        return;
    }
    kt_put_u8(c, (uint8_t)n);
    kt_put_bytes(c, s, n);
}

/* Fails when the text does not fit in size bytes or holds a NUL. */
static inline void kt_get_str8(struct kt_cur *c, char *ret_s, size_t size)
{
    size_t n = kt_get_u8(c);
    if (n >= size)
        c->bad = true;
    const uint8_t *p = c->bad ? NULL : kt_cur_take(c, n);
    if (!p || (n && memchr(p, 0, n))) {
        c->bad = true;
        ret_s[0] = '\0';
        return;
    }
    memcpy(ret_s, p, n);
    ret_s[n] = '\0';
}

#endif
