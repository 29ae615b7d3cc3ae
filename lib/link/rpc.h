/* SPDX-License-Identifier: BSD-3-Clause */
/* A blocking connection with a deadline, for the CLI and for attaching, and
 * the context file that says where the hub is (C5). */
#ifndef KT_LINK_RPC_H
#define KT_LINK_RPC_H

#include <jansson.h>

#include "lib/link/framer.h"

#define KT_CONTEXT_HUBS_MAX 8
struct kt_context {
    char path[512]; /* the file it came from */
    struct kt_id cluster;
    char node[KT_NAME_MAX + 1]; /* of this machine; may be "" */
    uint32_t n_hubs;
    struct kt_addr hubs[KT_CONTEXT_HUBS_MAX];
};

/* path NULL: $KENTER_CONTEXT, then ~/.config/kenter/context.json, then
 * /etc/kenter/context.json. On failure ret_why (size bytes) holds a sentence
 * for people that names the file and what to do. 0 or -errno / KT_E_INVALID.
 */
int kt_context_load(const char *path, struct kt_context *ret_ctx, char *ret_why,
                    size_t size) KT_MUST_CHECK;

struct kt_rpc {
    int fd;
    uint64_t n_asked; /* admin requests */
    struct kt_framer framer;
    struct kt_msg_room room;
    struct kt_msg peer; /* HELLO_OK */
    struct kt_buf *held;
};

/* Connects and shakes hands. hello: role, cls, id, name, cluster are used.
 * On failure ret_why tells people what happened. */
int kt_rpc_open(struct kt_rpc *r, const struct kt_addr *a,
                const struct kt_msg *hello, unsigned timeout_ms, char *ret_why,
                size_t size) KT_MUST_CHECK;
/* Tries each hub of the context in turn until the deadline. */
int kt_rpc_open_hub(struct kt_rpc *r, const struct kt_context *ctx,
                    const struct kt_msg *hello, unsigned timeout_ms,
                    char *ret_why, size_t size) KT_MUST_CHECK;
int kt_rpc_send(struct kt_rpc *r, const struct kt_msg *m) KT_MUST_CHECK;
/* The next message; it lives until the next call. -ETIMEDOUT, -ECONNRESET,
 * KT_E_*. ADMIN_OK: the json reference is the caller's. */
int kt_rpc_recv(struct kt_rpc *r, unsigned timeout_ms,
                struct kt_msg *ret_m) KT_MUST_CHECK;
void kt_rpc_close(struct kt_rpc *r);

/* The HELLO of a program for people, for any peer: a fresh id, and "PROG.PID"
 * for a name. */
void kt_rpc_hello(struct kt_msg *ret_m, const struct kt_id *cluster,
                  const char *prog);
/* One admin request, whose reference stays the caller's, and the object that
 * answers it, which is the caller's; "ok" in it says whether it was granted.
 * timeout_ms for each message that comes. Errors as of kt_rpc_recv, or what an
 * ERROR says: then it may have been carried out all the same. */
int kt_rpc_admin(struct kt_rpc *r, json_t *req, unsigned timeout_ms,
                 json_t **ret_reply) KT_MUST_CHECK;

#endif
