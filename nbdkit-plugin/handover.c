/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking a volume over from a process that was killed while its device is in
 * use, and leaving it to the next one; the rules are told in state.c. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "lib/base/os.h"
#include "nbdkit-plugin/volume.h"

#define CFGS_MS 15000u
#define SAVE_AGAIN_MS 5000u

int handover_prepare(void)
{
    struct state *s = &options.before;
    char why[WHY_BYTES];
    if (!options.state)
        return 0;
    options.state_fd =
        state_lock(options.state, options.wait_s, why, sizeof(why));
    int r = options.state_fd < 0
                ? options.state_fd
                : state_load(options.state, s, why, sizeof(why));
    if (r < 0) {
        nbdkit_error("%s", why);
        return r;
    }
    if (r == 0)
        return 0;
    if (strcmp(s->name, options.volume) != 0) {
        nbdkit_error("the state file %s belongs to volume %s, not to %s; give "
                     "each volume a file of its own",
                     options.state, s->name, options.volume);
        return KT_E_INVALID;
    }
    if (options.client_given && !kt_id_eq(&s->client, &options.client)) {
        nbdkit_error("the state file %s was written under another client-id; "
                     "leave client-id= out to use that one",
                     options.state);
        return KT_E_INVALID;
    }
    options.client = s->client;
    if (options.accept_loss)
        s->token = 0;
    return 0;
}

/* The configurations follow ATTACH_OK on the same connection. */
static int await_cfgs(struct volume *v, struct kt_rpc *rpc)
{
    uint64_t end_ms = kt_now_ms() + CFGS_MS;
    for (;;) {
        struct engine_info info;
        struct kt_msg m;
        engine_info(v->engine, &info);
        if (info.ready || info.lost || v->dead)
            return 0;
        uint64_t now = kt_now_ms();
        int r =
            kt_rpc_recv(rpc, now < end_ms ? (unsigned)(end_ms - now) : 0, &m);
        if (r < 0)
            return r;
        if ((m.type == KT_MSG_ACTIVATE || m.type == KT_MSG_CFG) && m.cfg)
            io_step(v,
                    (struct engine_event){.type = ENGINE_EV_CFG, .cfg = m.cfg});
    }
}

/* What the engine has settled, to the file. v->lock is not held, or nobody
 * else is there yet. */
static int save(struct volume *v, const uint64_t *vgens)
{
    struct state s = {.volume = v->id,
                      .client = options.client,
                      .token = v->token,
                      .n = engine_chains(&v->opts),
                      .vgens = (uint64_t *)(uintptr_t)vgens};
    snprintf(s.name, sizeof(s.name), "%s", v->name);
    return state_save(options.state, &s);
}

static void collect(struct volume *v)
{
    for (uint32_t i = 0; i < engine_chains(&v->opts); i++)
        v->settled[i] = engine_settled(v->engine, i);
}

static int begin(struct volume *v, struct kt_rpc *rpc)
{
    struct engine_info info;
    pthread_mutex_lock(&v->lock);
    int r = await_cfgs(v, rpc);
    engine_info(v->engine, &info);
    collect(v);
    v->save_due = false;
    pthread_mutex_unlock(&v->lock);
    if (info.lost) {
        nbdkit_error(
            "volume %s: the replicas of chain %" PRIu64 " lost power while "
            "nobody served the volume, so writes that the process before this "
            "one acknowledged and that were not flushed may be gone; what "
            "uses the device must not go on: end it, then start once with "
            "accept-loss=true to serve what is there",
            v->name, v->lost_chain);
        return KT_E_FENCED;
    }
    if (r == 0 && v->dead)
        r = KT_E_FENCED;
    if (r < 0) {
        nbdkit_error("volume %s: the hub did not tell where its chains are: "
                     "%s; start again",
                     v->name, kt_strerror(r));
        return r;
    }
    r = save(v, v->settled);
    if (r < 0)
        nbdkit_error("volume %s: the state file %s cannot be written: %s; "
                     "without it a restart could not tell what is lost",
                     v->name, options.state, kt_strerror(r));
    return r;
}

int handover_begin(struct volume *v, struct kt_rpc *rpc)
{
    const struct state *s = &options.before;
    if (!options.state)
        return 0;
    if (s->n &&
        (!kt_id_eq(&s->volume, &v->id) || s->n != engine_chains(&v->opts))) {
        nbdkit_error("the state file %s belongs to another volume that had the "
                     "name %s; end what used that one, remove the file, and "
                     "start again",
                     options.state, v->name);
        return KT_E_INVALID;
    }
    v->settled = calloc(engine_chains(&v->opts), sizeof(*v->settled));
    if (!v->settled) {
        nbdkit_error("volume %s: out of memory", v->name);
        return -ENOMEM;
    }
    return begin(v, rpc);
}

void handover_explain(const struct volume *v)
{
    if (options.before.token)
        nbdkit_error(
            "volume %s: whatever the process before this one acknowledged and "
            "did not flush may be overwritten by now; what uses the device "
            "must not go on: end it, then start once with accept-loss=true to "
            "serve what is there",
            v->name);
}

void handover_keep(struct volume *v, uint64_t now)
{
    if (!v->save_due || now < v->save_ms)
        return;
    v->save_due = false;
    collect(v);
    pthread_mutex_unlock(&v->lock);
    int r = save(v, v->settled);
    pthread_mutex_lock(&v->lock);
    if (r == 0) {
        v->save_complained = false;
        return;
    }
    v->save_due = true;
    v->save_ms = now + SAVE_AGAIN_MS;
    if (!v->save_complained)
        nbdkit_error("volume %s: the state file %s cannot be written: %s; were "
                     "this process killed now, its successor would refuse",
                     v->name, options.state, kt_strerror(r));
    v->save_complained = true;
}

void handover_end(struct volume *v)
{
    int r = options.state ? state_remove(options.state) : 0;
    if (r < 0)
        nbdkit_error("volume %s: the state file %s cannot be removed: %s",
                     v->name, options.state, kt_strerror(r));
}
