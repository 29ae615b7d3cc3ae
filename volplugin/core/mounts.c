/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a volume on this node:
 *
 *   IDLE --Mount--> RAISING --done--> UP --last Unmount--> LOWERING --> IDLE
 *                      | error          ^                      | error
 *                      v                +----------------------+ tried again
 *                    IDLE (all who waited are told)
 *
 * An error after it was unmounted is no way back to UP: it stays LOWERING, and
 * the rest is tried again.
 *
 * A count is saved before its Mount is answered, so a restart knows whom it
 * told; what was saved and is not mounted, or is mounted and was never told
 * of, is put right at VOL_EV_START. Unmount is always answered with success:
 * Docker asks once, and counts wrongly after an error. */
#include "volplugin/core/mounts.h"

#include <string.h>

#include "lib/base/err.h"

#define NONE UINT32_MAX

/* ---- tables ---- */

static uint32_t slot_of(const struct vol_table *t, const struct kt_id *volume)
{
    for (uint32_t i = 0; i < t->n_slots; i++) {
        if (t->slots[i].used && kt_id_eq(&t->slots[i].volume, volume))
            return i;
    }
    return NONE;
}

const struct vol_slot *vol_find(const struct vol_table *t,
                                const struct kt_id *volume)
{
    uint32_t i = slot_of(t, volume);

    return i == NONE ? NULL : &t->slots[i];
}

static uint32_t slot_take(struct vol_table *t, const struct kt_id *volume)
{
    uint32_t i = slot_of(t, volume);

    if (i != NONE)
        return i;
    for (i = 0; i < t->n_slots; i++) {
        if (!t->slots[i].used) {
            memset(&t->slots[i], 0, sizeof(t->slots[i]));
            t->slots[i].used = true;
            t->slots[i].volume = *volume;
            return i;
        }
    }
    return NONE;
}

static uint32_t ref_of(const struct vol_table *t, uint32_t slot, const char *id)
{
    for (uint32_t i = 0; i < t->n_refs; i++) {
        if (t->refs[i].used && t->refs[i].slot == slot &&
            strcmp(t->refs[i].id, id) == 0)
            return i;
    }
    return NONE;
}

static uint32_t ref_take(struct vol_table *t, uint32_t slot, const char *id)
{
    uint32_t i = ref_of(t, slot, id);

    if (i != NONE)
        return i;
    for (i = 0; i < t->n_refs; i++) {
        if (!t->refs[i].used) {
            memset(&t->refs[i], 0, sizeof(t->refs[i]));
            t->refs[i].used = true;
            t->refs[i].slot = slot;
            memcpy(t->refs[i].id, id, strlen(id) + 1);
            return i;
        }
    }
    return NONE;
}

static uint32_t wait_take(struct vol_table *t)
{
    for (uint32_t i = 0; i < t->n_waits; i++) {
        if (!t->waits[i].used)
            return i;
    }
    return NONE;
}

/* ---- actions ---- */

static void answer(const struct vol_out *out, uint64_t req, int err)
{
    struct vol_action a = {.type = VOL_ACT_ANSWER, .req = req, .err = err};

    out->emit(out->ctx, &a);
}

static void work(const struct vol_out *out, struct vol_slot *s,
                 enum vol_act_type what)
{
    struct vol_action a = {.type = what, .volume = s->volume};

    s->phase = what == VOL_ACT_RAISE ? VOL_RAISING : VOL_LOWERING;
    s->half = false;
    out->emit(out->ctx, &a);
}

static void save(struct vol_table *t, const struct vol_out *out,
                 const struct vol_ref *r)
{
    struct vol_action a = {.type = VOL_ACT_SAVE,
                           .volume = t->slots[r->slot].volume,
                           .id = r->id,
                           .count = r->answered};

    out->emit(out->ctx, &a);
}

/* One count less of a ref that has one. */
static void uncount(struct vol_table *t, uint32_t ref)
{
    struct vol_ref *r = &t->refs[ref];
    struct vol_slot *s = &t->slots[r->slot];

    assert(r->used && r->count > 0 && s->count > 0);
    r->count--;
    s->count--;
    if (r->count == 0)
        r->used = false;
}

/* After anything that may have taken the last count away. */
static void settle(struct vol_slot *s, const struct vol_out *out)
{
    if (s->phase == VOL_UP && s->count == 0)
        work(out, s, VOL_ACT_LOWER);
    else if (s->phase == VOL_IDLE && s->count > 0)
        work(out, s, VOL_ACT_RAISE);
    else if (s->phase == VOL_IDLE)
        s->used = false;
}

/* ---- events ---- */

static void on_mount(struct vol_table *t, const struct vol_event *ev,
                     const struct vol_out *out)
{
    uint32_t slot = slot_take(t, &ev->volume);
    uint32_t wait = wait_take(t);
    uint32_t ref = slot == NONE ? NONE : ref_take(t, slot, ev->id);

    if (ref == NONE || wait == NONE) {
        if (ref != NONE && t->refs[ref].count == 0)
            t->refs[ref].used = false;
        if (slot != NONE)
            settle(&t->slots[slot], out);
        answer(out, ev->req, KT_E_LIMIT);
        return;
    }
    struct vol_slot *s = &t->slots[slot];
    struct vol_ref *r = &t->refs[ref];
    r->count++;
    s->count++;
    r->since_ms = ev->now_ms;
    if (s->phase == VOL_UP) {
        r->answered++;
        save(t, out, r);
        answer(out, ev->req, 0);
        return;
    }
    t->waits[wait] =
        (struct vol_wait){.used = true, .ref = ref, .req = ev->req};
    s->waiting++;
    settle(s, out);
}

static void on_unmount(struct vol_table *t, const struct vol_event *ev,
                       const struct vol_out *out)
{
    uint32_t slot = slot_of(t, &ev->volume);
    uint32_t ref = slot == NONE ? NONE : ref_of(t, slot, ev->id);

    /* What nobody was told of is not Docker's to give back. */
    if (ref != NONE && t->refs[ref].answered > 0) {
        t->refs[ref].answered--;
        save(t, out, &t->refs[ref]);
        uncount(t, ref);
        settle(&t->slots[slot], out);
    }
    answer(out, ev->req, 0);
}

static void on_hangup(struct vol_table *t, const struct vol_event *ev,
                      const struct vol_out *out)
{
    for (uint32_t i = 0; i < t->n_waits; i++) {
        struct vol_wait *w = &t->waits[i];
        if (!w->used || w->req != ev->req)
            continue;
        struct vol_slot *s = &t->slots[t->refs[w->ref].slot];
        w->used = false;
        s->waiting--;
        uncount(t, w->ref);
        settle(s, out);
        return;
    }
}

/* Everybody who waits for the slot hears err; on success they are counted. */
static void tell(struct vol_table *t, uint32_t slot, int err,
                 const struct vol_out *out)
{
    for (uint32_t i = 0; i < t->n_waits; i++) {
        struct vol_wait *w = &t->waits[i];
        if (!w->used || t->refs[w->ref].slot != slot)
            continue;
        w->used = false;
        t->slots[slot].waiting--;
        if (err == 0) {
            t->refs[w->ref].answered++;
            save(t, out, &t->refs[w->ref]);
        } else {
            uncount(t, w->ref);
        }
        answer(out, w->req, err);
    }
    assert(t->slots[slot].waiting == 0);
}

static void on_raised(struct vol_table *t, const struct vol_event *ev,
                      const struct vol_out *out)
{
    uint32_t slot = slot_of(t, &ev->volume);

    if (slot == NONE || t->slots[slot].phase != VOL_RAISING)
        return;
    struct vol_slot *s = &t->slots[slot];
    s->phase = ev->err == 0 ? VOL_UP : VOL_IDLE;
    s->retry_ms = 0;
    tell(t, slot, ev->err, out);
    settle(s, out);
}

static void on_lowered(struct vol_table *t, const struct vol_event *ev,
                       const struct vol_out *out)
{
    uint32_t slot = slot_of(t, &ev->volume);

    if (slot == NONE || t->slots[slot].phase != VOL_LOWERING)
        return;
    struct vol_slot *s = &t->slots[slot];
    if (ev->err == 0) {
        s->phase = VOL_IDLE;
        s->retry_ms = 0;
        settle(s, out);
        return;
    }
    s->retry_ms = s->retry_ms ? kt_min_u64(2 * s->retry_ms, VOL_RETRY_MS_MAX)
                              : VOL_RETRY_MS;
    s->retry_at_ms = ev->now_ms + s->retry_ms;
    if (!ev->mounted) {
        s->half = true;
        return;
    }
    /* Still mounted: good for who came meanwhile, or tried again later. */
    s->phase = VOL_UP;
    tell(t, slot, 0, out);
}

static void drop_refs(struct vol_table *t, uint32_t slot, uint64_t before_ms,
                      const struct vol_out *out)
{
    for (uint32_t i = 0; i < t->n_refs; i++) {
        struct vol_ref *r = &t->refs[i];
        if (!r->used || r->slot != slot || r->since_ms > before_ms)
            continue;
        while (r->used && r->answered > 0) {
            r->answered--;
            if (r->answered == 0)
                save(t, out, r);
            uncount(t, i);
        }
    }
}

static void on_tick(struct vol_table *t, const struct vol_event *ev,
                    const struct vol_out *out)
{
    for (uint32_t i = 0; i < t->n_slots; i++) {
        struct vol_slot *s = &t->slots[i];
        if (!s->used || ev->now_ms < s->retry_at_ms)
            continue;
        if (s->phase == VOL_UP && s->count == 0)
            settle(s, out);
        else if (s->phase == VOL_LOWERING && s->half)
            work(out, s, VOL_ACT_LOWER);
    }
}

/* ---- start ---- */

static void on_restore(struct vol_table *t, const struct vol_event *ev,
                       const struct vol_out *out)
{
    uint32_t slot = slot_take(t, &ev->volume);
    uint32_t ref = slot == NONE ? NONE : ref_take(t, slot, ev->id);
    (void)out;

    if (ref == NONE || ev->count == 0)
        return;
    t->refs[ref].count = t->refs[ref].answered = ev->count;
    t->refs[ref].since_ms = ev->now_ms;
    t->slots[slot].count += ev->count;
}

static void on_found(struct vol_table *t, const struct vol_event *ev,
                     const struct vol_out *out)
{
    uint32_t slot = slot_take(t, &ev->volume);
    (void)out;

    if (slot == NONE)
        return;
    /* Half way up or half way down: down it goes, at the next tick. */
    t->slots[slot].phase = ev->mounted ? VOL_UP : VOL_LOWERING;
    t->slots[slot].half = !ev->mounted;
}

static void on_start(struct vol_table *t, const struct vol_event *ev,
                     const struct vol_out *out)
{
    for (uint32_t i = 0; i < t->n_slots; i++) {
        if (!t->slots[i].used)
            continue;
        if (t->slots[i].phase != VOL_UP)
            drop_refs(t, i, ev->now_ms, out); /* the mount is gone */
        settle(&t->slots[i], out);            /* or nobody has it */
    }
}

void vol_step(struct vol_table *t, const struct vol_event *ev,
              const struct vol_out *out)
{
    static void (*const handlers[])(struct vol_table *,
                                    const struct vol_event *,
                                    const struct vol_out *) = {
        [VOL_EV_MOUNT] = on_mount,     [VOL_EV_UNMOUNT] = on_unmount,
        [VOL_EV_HANGUP] = on_hangup,   [VOL_EV_RAISED] = on_raised,
        [VOL_EV_LOWERED] = on_lowered, [VOL_EV_TICK] = on_tick,
        [VOL_EV_RESTORE] = on_restore, [VOL_EV_FOUND] = on_found,
        [VOL_EV_START] = on_start,
    };

    assert(ev->type < KT_ARRAY_LEN(handlers));
    assert(!ev->id || strlen(ev->id) <= VOL_MOUNT_ID_MAX);
    handlers[ev->type](t, ev, out);
}
