/* SPDX-License-Identifier: BSD-3-Clause */
/* Fields of control messages as members of a JSON object. One walk writes or
 * reads, as in msg_data.c. Reading: unknown members are ignored, a missing or
 * wrongly typed one sets bad. */
#ifndef KT_WIRE_MSG_JSON_H
#define KT_WIRE_MSG_JSON_H

#include <jansson.h>

#include "lib/wire/msg.h"

struct kt_js {
    json_t *o; /* the object (borrowed) */
    bool w;    /* write */
    bool bad;
};

/* Deeper documents are refused before they are parsed. */
#define KT_JSON_DEPTH_MAX 8u

/* Ownership: the caller drops the result. NULL when it is no document. */
json_t *kt_js_parse(const char *text, size_t len);

/* Whole numbers; above INT64_MAX is bad in both directions: jansson's are
 * signed, and none of ours comes near. */
void kt_js_u64(struct kt_js *js, const char *key, uint64_t *v);
void kt_js_u32(struct kt_js *js, const char *key, uint32_t *v);
void kt_js_u8(struct kt_js *js, const char *key, uint8_t *v);
void kt_js_i32(struct kt_js *js, const char *key, int32_t *v);
/* 32 hex digits. */
void kt_js_id(struct kt_js *js, const char *key, struct kt_id *v);
/* Reading: at most size - 1 bytes. Writing: what is not UTF-8 becomes '?'. */
void kt_js_str(struct kt_js *js, const char *key, char *v, size_t size);
/* [epoch, seq] */
void kt_js_rid(struct kt_js *js, const char *key, struct kt_rid *v);
/* {id, boot, name, tcp, unix}; an absent address is "". */
void kt_js_node(struct kt_js *js, const char *key, struct kt_node *v);
/* The bytes of cfg.c in hex. */
void kt_js_put_cfg(struct kt_js *js, const char *key, const struct kt_cfg *v);
void kt_js_get_cfg(struct kt_js *js, const char *key, struct kt_cfg *ret_v);

/* A member that is an array. Writing: a fresh one; reading: NULL and bad when
 * it is none or longer than max. Borrowed. */
json_t *kt_js_array(struct kt_js *js, const char *key, size_t max);
/* Element i of a, an object: a fresh one when writing. */
struct kt_js kt_js_element(struct kt_js *js, json_t *a, size_t i);

#endif
