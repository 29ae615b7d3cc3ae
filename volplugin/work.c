/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of mounts (core/mounts.h) with threads around it: an event is
 * given under the lock, its actions start threads, write counts, wake who
 * waits. A thread that raised or lowered a volume brings the next event. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"
#include "volplugin/plugin.h"

#define LOOK_MS 250u /* how often a waiting Mount looks for a hang-up */

struct job {
    struct plugin *p;
    struct kt_id volume;
    bool raise;
};

static int vol_paths(const struct plugin *p, const struct kt_id *id,
                     char ret[ATTACH_PATH_BYTES], const char *below)
{
    char hex[KT_ID_HEX_BYTES];

    int n = snprintf(ret, ATTACH_PATH_BYTES, "%s/%s%s", p->o->mounts,
                     kt_id_hex(id, hex), below);
    return n < 0 || n >= ATTACH_PATH_BYTES ? -ENAMETOOLONG : 0;
}

struct note *work_note(struct plugin *p, const struct kt_id *volume,
                       bool create)
{
    struct note *n = p->notes;

    while (n && !kt_id_eq(&n->volume, volume))
        n = n->next;
    if (n || !create)
        return n;
    n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->volume = *volume;
    n->next = p->notes;
    p->notes = n;
    return n;
}

/* ---- raising and lowering ---- */

static int raise_volume(struct plugin *p, const struct attach_volume *v,
                        char *ret_why)
{
    char dev[ATTACH_PATH_BYTES], other[VOL_WHY_BYTES];

    int err = p->attach->attach(p->attach_ctx, v, dev, ret_why);
    if (err < 0)
        return err;
    err = p->attach->mount(p->attach_ctx, v, dev, ret_why);
    if (err < 0 && p->attach->detach(p->attach_ctx, v, other) < 0)
        kt_log(KT_LOG_ERROR, "detach_failed", "volume=%s err=\"%s\"", v->name,
               other);
    return err;
}

static int lower_volume(struct plugin *p, const struct attach_volume *v,
                        char *ret_why)
{
    int err = p->attach->unmount(p->attach_ctx, v, ret_why);
    if (err < 0)
        return err;
    return p->attach->detach(p->attach_ctx, v, ret_why);
}

static int do_job(const struct job *j, bool *ret_mounted, char *ret_why)
{
    struct plugin *p = j->p;
    struct attach_volume v = {.id = j->volume};
    struct cat_volume c;
    uint64_t begin = kt_now_ms();

    int err = catalog_by_id(p->cat, &j->volume, &c);
    if (err == KT_E_NO_VOLUME && !j->raise) {
        memset(&c, 0, sizeof(c)); /* what is mounted can always come down */
        err = 0;
    }
    if (err < 0)
        snprintf(ret_why, VOL_WHY_BYTES, "the catalogue does not know it: %s",
                 kt_strerror(err));
    if (err == 0)
        err = vol_paths(p, &j->volume, v.fs_dir, "");
    v.name = c.name;
    v.spec = &c.spec;
    if (err == 0)
        err = j->raise ? raise_volume(p, &v, ret_why)
                       : lower_volume(p, &v, ret_why);
    *ret_mounted = !v.fs_dir[0] || p->attach->mounted(p->attach_ctx, &v);
    if (err < 0)
        kt_log(KT_LOG_ERROR, j->raise ? "mount_failed" : "unmount_failed",
               "volume=%s err=\"%s\"", c.name, ret_why);
    else
        kt_log(KT_LOG_INFO, j->raise ? "mounted" : "unmounted",
               "volume=%s ms=%llu", c.name,
               (unsigned long long)(kt_now_ms() - begin));
    return err;
}

static void *job_run(void *arg)
{
    struct job *j = arg;
    struct plugin *p = j->p;
    char why[VOL_WHY_BYTES] = "it failed without a reason";

    bool mounted;
    int err = do_job(j, &mounted, why);
    pthread_mutex_lock(&p->lock);
    struct note *n = work_note(p, &j->volume, err < 0);
    if (n)
        snprintf(n->error, sizeof(n->error), "%s", err < 0 ? why : "");
    struct vol_event ev = {.type = j->raise ? VOL_EV_RAISED : VOL_EV_LOWERED,
                           .volume = j->volume,
                           .err = err,
                           .mounted = mounted};
    work_step(p, &ev);
    p->workers--;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    free(j);
    return NULL;
}

/* Without memory for a thread nothing works here any more: a restart of the
 * plugin begins anew, and mounts outlive it. */
static void start_job(struct plugin *p, const struct kt_id *volume, bool raise)
{
    pthread_attr_t attr;
    pthread_t t;
    int err = ENOMEM;

    struct job *j = malloc(sizeof(*j));
    if (j) {
        *j = (struct job){.p = p, .volume = *volume, .raise = raise};
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        err = pthread_create(&t, &attr, job_run, j);
        pthread_attr_destroy(&attr);
    }
    if (err == 0) {
        p->workers++;
        return;
    }
    free(j);
    kt_log(KT_LOG_ERROR, "no_thread", "err=\"%s\"", strerror(err));
    abort();
}

/* ---- actions ---- */

static void wake(struct plugin *p, const struct vol_action *a)
{
    for (struct waiter *w = p->waiters; w; w = w->next) {
        if (w->req != a->req || w->done)
            continue;
        w->done = true;
        w->err = a->err;
        pthread_cond_broadcast(&p->changed);
    }
}

static void emit(void *ctx, const struct vol_action *a)
{
    struct plugin *p = ctx;
    int err;

    switch (a->type) {
    case VOL_ACT_RAISE:
    case VOL_ACT_LOWER:
        start_job(p, &a->volume, a->type == VOL_ACT_RAISE);
        break;
    case VOL_ACT_SAVE:
        err = catalog_ref_save(p->cat, &a->volume, a->id, a->count);
        if (err < 0) /* known until this process ends */
            kt_log(KT_LOG_ERROR, "count_not_saved", "err=\"%s\"",
                   kt_strerror(err));
        break;
    case VOL_ACT_ANSWER:
        wake(p, a);
        break;
    }
}

void work_step(struct plugin *p, const struct vol_event *ev)
{
    const struct vol_out out = {.emit = emit, .ctx = p};
    struct vol_event e = *ev;

    e.now_ms = kt_now_ms();
    vol_step(&p->table, &e, &out);
}

/* ---- calls ---- */

static void wait_a_little(struct plugin *p)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += LOOK_MS * 1000000l;
    t.tv_sec += t.tv_nsec / 1000000000l;
    t.tv_nsec %= 1000000000l;
    pthread_cond_timedwait(&p->changed, &p->lock, &t);
}

static void forget(struct plugin *p, const struct waiter *w)
{
    struct waiter **at = &p->waiters;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

int work_mount(struct plugin *p, const struct cat_volume *v, const char *id,
               bool (*gone)(void *arg), void *arg, char *ret_why)
{
    struct waiter w = {.done = false};
    struct vol_event ev = {.type = VOL_EV_MOUNT, .volume = v->id, .id = id};
    bool left = false;

    pthread_mutex_lock(&p->lock);
    ev.req = w.req = ++p->last_req;
    w.next = p->waiters;
    p->waiters = &w;
    work_step(p, &ev);
    while (!w.done && !left) {
        wait_a_little(p);
        left = !w.done && (p->stop || gone(arg));
    }
    forget(p, &w);
    if (left) {
        ev.type = VOL_EV_HANGUP;
        work_step(p, &ev);
    } else if (w.err == 0 && gone(arg)) {
        /* It will never hear of the success, so it will never unmount. */
        left = true;
        ev.type = VOL_EV_UNMOUNT;
        ev.req = 0;
        work_step(p, &ev);
    }
    const struct note *n = work_note(p, &v->id, false);
    if (left)
        snprintf(ret_why, VOL_WHY_BYTES, "who asked has hung up");
    else if (w.err == KT_E_LIMIT)
        snprintf(ret_why, VOL_WHY_BYTES,
                 "too many volumes are mounted on this node");
    else if (w.err < 0)
        snprintf(ret_why, VOL_WHY_BYTES, "%s",
                 n && n->error[0] ? n->error : kt_strerror(w.err));
    pthread_mutex_unlock(&p->lock);
    return left ? -ECONNRESET : w.err;
}

void work_unmount(struct plugin *p, const struct kt_id *volume, const char *id)
{
    struct vol_event ev = {.type = VOL_EV_UNMOUNT, .volume = *volume, .id = id};

    pthread_mutex_lock(&p->lock);
    work_step(p, &ev);
    pthread_mutex_unlock(&p->lock);
}

char *work_mountpoint(struct plugin *p, const struct kt_id *volume,
                      char ret[ATTACH_PATH_BYTES])
{
    pthread_mutex_lock(&p->lock);
    const struct vol_slot *s = vol_find(&p->table, volume);
    bool up = s && s->phase == VOL_UP;
    pthread_mutex_unlock(&p->lock);
    if (!up || vol_paths(p, volume, ret, "/_data") < 0)
        ret[0] = '\0';
    return ret;
}

/* ---- start ---- */

static void restore_one(void *arg, const struct kt_id *volume, const char *id,
                        uint32_t count)
{
    struct vol_event ev = {
        .type = VOL_EV_RESTORE, .volume = *volume, .id = id, .count = count};

    work_step(arg, &ev);
}

static int find_one(void *arg, const struct cat_volume *c)
{
    struct plugin *p = arg;
    struct attach_volume v = {.id = c->id, .name = c->name, .spec = &c->spec};
    struct vol_event ev = {.type = VOL_EV_FOUND, .volume = c->id};

    int err = vol_paths(p, &c->id, v.fs_dir, "");
    if (err < 0)
        return err;
    ev.mounted = p->attach->mounted(p->attach_ctx, &v);
    if (!ev.mounted && !p->attach->attached(p->attach_ctx, &v))
        return 0;
    kt_log(KT_LOG_INFO, ev.mounted ? "found_mounted" : "found_attached",
           "volume=%s", c->name);
    work_step(p, &ev);
    return 0;
}

int work_restore(struct plugin *p, char *ret_why)
{
    struct vol_event ev = {.type = VOL_EV_START};

    pthread_mutex_lock(&p->lock);
    int err = catalog_refs(p->cat, restore_one, p);
    if (err == 0)
        err = catalog_each(p->cat, find_one, p);
    if (err == 0)
        work_step(p, &ev);
    pthread_mutex_unlock(&p->lock);
    if (err < 0)
        snprintf(ret_why, VOL_WHY_BYTES, "the catalogue cannot be read: %s",
                 kt_strerror(err));
    return err;
}
