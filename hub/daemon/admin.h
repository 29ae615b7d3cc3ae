/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files that answer people share. */
#ifndef KT_HUB_ADMIN_H
#define KT_HUB_ADMIN_H

#include "hub/daemon/daemon.h"

/* {"ok": true} with a member when key is not NULL. Steals value. */
void admin_ok(struct slot *s, uint64_t req, const char *key, json_t *value);
/* {"ok": false} and one sentence. */
void admin_err(struct slot *s, uint64_t req, int err, const char *fmt, ...)
    KT_PRINTF(4, 5);
/* 0 when missing; false when it is there and no such number. */
bool admin_uint(const json_t *q, const char *key, uint64_t max,
                uint64_t *ret_v);

/* ---- order.c ---- */
/* False: the request is none of those about chains. */
bool order_request(struct daemon *d, struct slot *s, const struct kt_msg *m,
                   const char *op);
void order_refuse(struct daemon *d, struct slot *s, const struct hub_action *a);

#endif
