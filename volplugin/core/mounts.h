/* SPDX-License-Identifier: BSD-3-Clause */
/* Who has which volume mounted on this node, and what follows from it: a step
 * function. Docker counts by (volume, mount id), asks twice with the same id,
 * forgets an id whose Mount failed, and never repeats an Unmount. Pure; the
 * tables are the caller's, and so is the lock. */
#ifndef KT_VOLPLUGIN_CORE_MOUNTS_H
#define KT_VOLPLUGIN_CORE_MOUNTS_H

#include "lib/base/id.h"
#include "volplugin/core/spec.h"

/* A lowering that failed is tried again after this, and each time after
 * twice as long, up to the second. */
#define VOL_RETRY_MS 1000u
#define VOL_RETRY_MS_MAX 60000u

enum vol_phase {
    VOL_IDLE,     /* not mounted */
    VOL_RAISING,  /* being attached and mounted */
    VOL_UP,       /* mounted */
    VOL_LOWERING, /* being unmounted and detached */
};

struct vol_slot { /* one volume that is more than idle, or has counts */
    bool used;
    uint8_t phase;
    struct kt_id volume;
    uint32_t count;   /* sum over its refs, waiting ones included */
    uint32_t waiting; /* Mounts that have no answer yet */
    bool half;        /* LOWERING: unmounted, not detached, tried again */
    uint64_t retry_at_ms, retry_ms;
};

struct vol_ref { /* count[(volume, mount id)] */
    bool used;
    uint32_t slot;
    uint32_t count;
    uint32_t answered; /* of these; what is on disk */
    uint64_t since_ms; /* the last Mount */
    char id[VOL_MOUNT_ID_MAX + 1];
};

struct vol_wait { /* a Mount that waits for the volume to be up */
    bool used;
    uint32_t ref;
    uint64_t req;
};

struct vol_table {
    struct vol_slot *slots;
    struct vol_ref *refs;
    struct vol_wait *waits;
    uint32_t n_slots, n_refs, n_waits;
};

enum vol_ev_type {
    VOL_EV_MOUNT,   /* volume, id, req */
    VOL_EV_UNMOUNT, /* volume, id, req */
    VOL_EV_HANGUP,  /* req: who asked for a Mount is gone */
    VOL_EV_RAISED,  /* volume, err: what VOL_ACT_RAISE came to */
    VOL_EV_LOWERED, /* volume, err, mounted: after an error, whether it is */
    VOL_EV_TICK,    /* time passes */
    /* At start, in this order: */
    VOL_EV_RESTORE, /* volume, id, count: as saved in this boot */
    VOL_EV_FOUND,   /* volume, mounted: it is, or it is only attached */
    VOL_EV_START,   /* that was all */
};

struct vol_event {
    enum vol_ev_type type;
    int err;
    bool mounted;
    uint32_t count;
    uint64_t req, now_ms;
    struct kt_id volume;
    const char *id;
};

enum vol_act_type {
    VOL_ACT_RAISE,  /* volume: attach and mount; then VOL_EV_RAISED. On an
                       error nothing of it may be left behind */
    VOL_ACT_LOWER,  /* volume: unmount and detach, whatever of the two is still
                       to do; then VOL_EV_LOWERED */
    VOL_ACT_SAVE,   /* volume, id, count: durably, before what follows; 0:
                       forget it */
    VOL_ACT_ANSWER, /* req, err */
};

struct vol_action {
    enum vol_act_type type;
    int err;
    uint32_t count;
    uint64_t req;
    struct kt_id volume;
    const char *id; /* for the call */
};

struct vol_out {
    void (*emit)(void *ctx, const struct vol_action *a);
    void *ctx;
};

/* One event; its actions come in order, before the call returns. emit must
 * not call back in. */
void vol_step(struct vol_table *t, const struct vol_event *ev,
              const struct vol_out *out);

/* NULL when nothing is known of it: idle. */
const struct vol_slot *vol_find(const struct vol_table *t,
                                const struct kt_id *volume);

#endif
