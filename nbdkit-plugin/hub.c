/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocking talk with the hub: attach, detach, list.
 *
 * Attaching:
 *   1. connect to one of the context's hubs (5 s, then an error says so);
 *   2. ATTACH; while the answer is HELD or BUSY ask again until wait= is
 *      over: a killed predecessor's lease may still run (C2);
 *   3. a connection lost in between is opened again: asking twice under one
 *      client id is harmless;
 *   4. ATTACH_OK: the connection goes to the I/O thread, where the chains'
 *      configurations follow on it. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "lib/base/os.h"
#include "nbdkit-plugin/volume.h"

#define CONNECT_MS 5000u
#define GRANT_MS 15000u /* beyond wait=: the chains are reconfigured */
#define RETRY_MS 300u
#define DETACH_MS 3000u

void hello_fill(struct kt_msg *m, uint8_t role, uint8_t cls)
{
    memset(m, 0, sizeof(*m));
    m->type = KT_MSG_HELLO;
    m->u.hello.role = role;
    m->u.hello.cls = cls;
    m->u.hello.id = options.client;
    m->u.hello.cluster = options.ctx.cluster;
    m->u.hello.boot = options.boot;
    memcpy(m->u.hello.name, options.ctx.node, sizeof(m->u.hello.name));
}

static int open_hub(struct kt_rpc *r, uint8_t role, unsigned timeout_ms,
                    char *ret_why, size_t size)
{
    struct kt_msg hello;
    hello_fill(&hello, role, KT_CLASS_CONTROL);
    return kt_rpc_open_hub(r, &options.ctx, &hello, timeout_ms, ret_why, size);
}

/* A pause. False: nbdkit is shutting down, or the client is gone. Before the
 * fork there is neither client nor loop, and a signal just ends us. */
static bool pause_ms(const struct volume *v, unsigned ms)
{
    if (v->keep) {
        struct timespec t = {.tv_sec = ms / 1000,
                             .tv_nsec = (long)(ms % 1000) * 1000000};
        nanosleep(&t, NULL);
        return true;
    }
    return nbdkit_nanosleep(ms / 1000, ms % 1000 * 1000000) == 0;
}

struct asking {
    struct kt_rpc *rpc;
    bool open;
    uint64_t connect_ms;  /* deadline for reaching a hub */
    uint64_t deadline_ms; /* for HELD and BUSY */
    uint64_t end_ms;      /* for everything */
    char *why;
    size_t size;
};

static void fill_attach(struct kt_msg *m, const struct volume *v)
{
    memset(m, 0, sizeof(*m));
    m->type = KT_MSG_ATTACH;
    m->req = 1;
    memcpy(m->u.attach.volume, v->name, sizeof(m->u.attach.volume));
    m->u.attach.client = options.client;
    memcpy(m->u.attach.node, options.ctx.node, sizeof(m->u.attach.node));
    m->u.attach.pid = (uint32_t)getpid();
    m->u.attach.steal = options.steal;
    m->u.attach.volume_id = options.before.volume;
    m->u.attach.token = options.before.token;
}

/* One round: 1 granted (*ret_m), 0 ask again, < 0 an error told in why. */
static int ask_once(struct volume *v, struct asking *a, struct kt_msg *ret_m)
{
    uint64_t now = kt_now_ms();
    struct kt_msg m;
    int r;
    if (!a->open) {
        r = open_hub(a->rpc, KT_ROLE_CLIENT, CONNECT_MS, a->why, a->size);
        if (r < 0 && r != KT_E_REFUSED && kt_now_ms() < a->connect_ms)
            return 0; /* it may just be starting */
        if (r < 0)
            return r;
        a->open = true;
        a->connect_ms = a->end_ms; /* it was there: it will be again */
    }
    fill_attach(&m, v);
    r = kt_rpc_send(a->rpc, &m);
    while (r == 0) {
        unsigned left = (unsigned)(now < a->end_ms ? a->end_ms - now : 0);
        r = kt_rpc_recv(a->rpc, left, ret_m);
        if (r < 0)
            break;
        if (ret_m->type == KT_MSG_ATTACH_OK)
            return 1;
        if (ret_m->type == KT_MSG_ERROR) {
            int err = ret_m->u.error.err;
            snprintf(a->why, a->size, "%s", ret_m->u.error.text);
            bool again = (err == KT_E_HELD || err == KT_E_BUSY) &&
                         kt_now_ms() < a->deadline_ms;
            return again ? 0 : err < 0 ? err : KT_E_PROTO;
        }
        now = kt_now_ms();
        r = 0; /* something else: not for us */
    }
    kt_rpc_close(a->rpc);
    a->open = false;
    if (r != -ETIMEDOUT && kt_now_ms() < a->end_ms)
        return 0;
    snprintf(a->why, a->size,
             "the hub did not grant the attachment in time: too few of the "
             "volume's replicas may be up; kenter volume inspect %s shows "
             "them",
             v->name);
    return r < 0 ? r : -ETIMEDOUT;
}

static int take_grant(struct volume *v, const struct kt_msg *m, char *why,
                      size_t size)
{
    v->id = m->u.attach_ok.volume_id;
    v->size = m->u.attach_ok.size;
    v->token = m->u.attach_ok.token;
    uint64_t seg = m->u.attach_ok.segment_bytes;
    if (!seg || seg % KT_EXTENT_BYTES || !v->size ||
        v->size % KT_SECTOR_BYTES || v->size > KT_VOLUME_BYTES_MAX ||
        (v->size + seg - 1) / seg != m->u.attach_ok.n_chains ||
        m->u.attach_ok.n_chains > ENGINE_CHAINS_MAX) {
        snprintf(why, size,
                 "the hub described the volume in a way this plugin cannot "
                 "serve (%llu bytes in %u chains); update the plugin",
                 (unsigned long long)v->size, m->u.attach_ok.n_chains);
        return KT_E_PROTO;
    }
    v->opts = (struct engine_opts){
        .volume = v->id,
        .boot = options.boot,
        .token = v->token,
        .size = v->size,
        .segment_bytes = seg,
        .retain_bytes = options.retain_bytes,
        .io_timeout_ms = options.io_timeout_s * UINT64_C(1000),
    };
    return 0;
}

int hub_attach(struct volume *v, struct kt_rpc **ret_rpc, char *ret_why,
               size_t size)
{
    uint64_t now = kt_now_ms();
    struct asking a = {.rpc = calloc(1, sizeof(*a.rpc)),
                       .connect_ms = now + CONNECT_MS,
                       .deadline_ms = now + options.wait_s * 1000,
                       .end_ms = now + options.wait_s * 1000 + GRANT_MS,
                       .why = ret_why,
                       .size = size};
    struct kt_msg m;
    if (!a.rpc) {
        snprintf(ret_why, size, "out of memory");
        return -ENOMEM;
    }
    int r;
    while ((r = ask_once(v, &a, &m)) == 0) {
        if (!pause_ms(v, RETRY_MS)) {
            snprintf(ret_why, size, "nbdkit is shutting down");
            r = -ESHUTDOWN;
            break;
        }
    }
    if (r == 1)
        r = take_grant(v, &m, ret_why, size);
    if (r < 0) {
        if (a.open)
            kt_rpc_close(a.rpc);
        free(a.rpc);
        return r;
    }
    *ret_rpc = a.rpc;
    return 0;
}

/* 0, or < 0: KT_E_BUSY means ask again. */
static int detach_once(struct volume *v, struct kt_rpc *rpc)
{
    struct kt_msg m = {.type = KT_MSG_DETACH, .req = 1};
    m.u.attach.volume_id = v->id;
    m.u.attach.token = v->token;
    m.u.attach.client = options.client;
    int r = kt_rpc_send(rpc, &m);
    while (r == 0) {
        r = kt_rpc_recv(rpc, DETACH_MS, &m);
        if (r == 0 && m.type == KT_MSG_DETACH_OK)
            return 0;
        if (r == 0 && m.type == KT_MSG_ERROR)
            return m.u.error.err < 0 ? m.u.error.err : KT_E_PROTO;
    }
    return r;
}

int hub_detach(struct volume *v)
{
    char why[WHY_BYTES];
    uint64_t until_ms = kt_now_ms() + DETACH_MS;
    struct kt_rpc *rpc = calloc(1, sizeof(*rpc));
    if (!rpc)
        return -ENOMEM;
    int r = open_hub(rpc, KT_ROLE_CLIENT, DETACH_MS, why, sizeof(why));
    if (r == 0) {
        while ((r = detach_once(v, rpc)) == KT_E_BUSY &&
               kt_now_ms() < until_ms) {
            struct timespec t = {.tv_nsec = 100000000};
            nanosleep(&t, NULL);
        }
        kt_rpc_close(rpc);
    }
    if (r < 0)
        nbdkit_debug("kenter: volume %s was not detached: %s", v->name,
                     kt_strerror(r));
    free(rpc);
    return r;
}

static int each_of(const json_t *reply,
                   void (*each)(void *, const char *, uint64_t), void *arg)
{
    const json_t *list = json_object_get(reply, "volumes");
    if (!json_is_true(json_object_get(reply, "ok")) || !json_is_array(list))
        return KT_E_PROTO;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(o, "name"));
        json_int_t size = json_integer_value(json_object_get(o, "size"));
        if (kt_name_valid(name))
            each(arg, name, size > 0 ? (uint64_t)size : 0);
    }
    return 0;
}

int hub_list(void (*each)(void *arg, const char *name, uint64_t bytes),
             void *arg, char *ret_why, size_t size)
{
    struct kt_rpc *rpc = calloc(1, sizeof(*rpc));
    struct kt_msg m = {.type = KT_MSG_ADMIN, .req = 1};
    if (!rpc) {
        snprintf(ret_why, size, "out of memory");
        return -ENOMEM;
    }
    int r = open_hub(rpc, KT_ROLE_CLI, CONNECT_MS, ret_why, size);
    if (r < 0) {
        free(rpc);
        return r;
    }
    m.json = json_pack("{s:s}", "op", "volume-ls");
    r = m.json ? kt_rpc_send(rpc, &m) : -ENOMEM;
    json_decref(m.json);
    if (r == 0)
        r = kt_rpc_recv(rpc, CONNECT_MS, &m);
    if (r == 0 && m.type == KT_MSG_ADMIN_OK) {
        r = each_of(m.json, each, arg);
        json_decref(m.json);
    } else if (r == 0) {
        r = KT_E_PROTO;
    }
    if (r < 0)
        snprintf(ret_why, size, "the hub did not list its volumes: %s",
                 kt_strerror(r));
    kt_rpc_close(rpc);
    free(rpc);
    return r;
}
