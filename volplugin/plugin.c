/* SPDX-License-Identifier: BSD-3-Clause */
/* Start and end of the plugin. */
#include "volplugin/plugin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#define SLOTS 1024u
#define REFS 8192u
#define WAITS 2048u
#define STOP_MS 5000u

static int choose_attach(struct plugin *p, char *ret_why, size_t size)
{
    if (p->o->stub) {
        p->attach = &attach_stub;
        p->attach_ctx = (void *)(uintptr_t)p->o->stub;
        kt_log(KT_LOG_WARN, "attach_is_a_stub",
               "dir=%s note=\"a test: no data is kept\"", p->o->stub);
        return 0;
    }
    return attach_choose(p, ret_why, size);
}

static int make_state(struct plugin *p)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    p->table = (struct vol_table){
        .slots = calloc(SLOTS, sizeof(struct vol_slot)),
        .refs = calloc(REFS, sizeof(struct vol_ref)),
        .waits = calloc(WAITS, sizeof(struct vol_wait)),
        .n_slots = SLOTS,
        .n_refs = REFS,
        .n_waits = WAITS,
    };
    return p->table.slots && p->table.refs && p->table.waits ? 0 : -ENOMEM;
}

static void free_state(struct plugin *p)
{
    while (p->notes) {
        struct note *n = p->notes;
        p->notes = n->next;
        json_decref(n->chains);
        free(n);
    }
    free(p->table.slots);
    free(p->table.refs);
    free(p->table.waits);
    catalog_free(p->cat);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
}

static int begin(struct plugin *p, char *ret_why, size_t size)
{
    int err = make_state(p);
    if (err < 0)
        return err;
    err = choose_attach(p, ret_why, size);
    if (err < 0)
        return err;
    if (mkdir(p->o->mounts, 0711) < 0 && errno != EEXIST) {
        err = -errno;
        snprintf(ret_why, size, "cannot make the directory %s: %s",
                 p->o->mounts, kt_strerror(err));
        return err;
    }
    err = catalog_open(p->o->dir, &p->cat, ret_why, size);
    /* First, for the next step may have to wait for a device. */
    if (err == 0 && p->way) {
        err = -pthread_create(&p->keep_thread, NULL, attach_keep_run, p);
        p->kept = err == 0;
    }
    if (err == 0)
        err = work_restore(p, ret_why);
    if (err == 0)
        err = -pthread_create(&p->sync_thread, NULL, sync_run, p);
    return err;
}

bool plugin_wait(struct plugin *p, unsigned ms)
{
    uint64_t until = kt_now_ms() + ms;
    struct timespec t;

    pthread_mutex_lock(&p->lock);
    while (!p->stop && kt_now_ms() < until) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec += ms / 1000;
        t.tv_nsec += ms % 1000 * 1000000l;
        t.tv_sec += t.tv_nsec / 1000000000l;
        t.tv_nsec %= 1000000000l;
        pthread_cond_timedwait(&p->changed, &p->lock, &t);
    }
    bool stop = p->stop;
    pthread_mutex_unlock(&p->lock);
    return stop;
}

static void stop_keeping(struct plugin *p)
{
    if (!p->kept)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->keep_thread, NULL);
}

int plugin_start(struct plugin *p, const struct options *o, char *ret_why,
                 size_t size)
{
    memset(p, 0, sizeof(*p));
    p->o = o;
    snprintf(ret_why, size, "memory is out");
    int err = begin(p, ret_why, size);
    if (err < 0) {
        stop_keeping(p);
        free_state(p);
    }
    return err;
}

void plugin_stop(struct plugin *p)
{
    const struct timespec nap = {.tv_nsec = 50000000l};
    uint64_t until = kt_now_ms() + STOP_MS;
    unsigned workers;

    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->sync_thread, NULL);
    stop_keeping(p);
    do {
        pthread_mutex_lock(&p->lock);
        workers = p->workers;
        pthread_mutex_unlock(&p->lock);
        if (workers)
            nanosleep(&nap, NULL);
    } while (workers && kt_now_ms() < until);
    if (workers == 0) /* else a thread still uses it */
        free_state(p);
}
