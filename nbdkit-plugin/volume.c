/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of attached volumes, and the requests of nbdkit's workers.
 *
 * A worker takes the volume's lock, steps the engine with its request and
 * carries out what comes of it, sending included; then it waits on a
 * semaphore of its own that the I/O thread posts when the request completes.
 * No thread stands between the worker and the wire. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "lib/base/os.h"
#include "nbdkit-plugin/volume.h"

#define LINGER_MS 5000u  /* attached after the last close */
#define GIVE_UP_MS 5000u /* a stalled request, once nbdkit shuts down */

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t table_changed = PTHREAD_COND_INITIALIZER;
static struct volume *table;

/* ---- making and unmaking ---- */

static void unlist(struct volume *v)
{
    struct volume **at = &table;
    while (*at && *at != v)
        at = &(*at)->next;
    if (*at)
        *at = v->next;
    pthread_cond_broadcast(&table_changed);
}

/* All but the memory v itself lies in. */
static void release(struct volume *v)
{
    for (uint32_t i = 0; i < ENGINE_NODES_MAX; i++)
        link_free(v->links[i]);
    link_free(v->hub);
    free(v->settled);
    if (v->mem)
        munmap(v->mem, v->mem_bytes);
    if (v->kick >= 0)
        close(v->kick);
    pthread_mutex_destroy(&v->lock);
}

static void destroy(struct volume *v)
{
    release(v);
    free(v);
}

static struct volume *new_volume(const char *name)
{
    struct volume *v = calloc(1, sizeof(*v));
    if (!v)
        return NULL;
    snprintf(v->name, sizeof(v->name), "%s", name);
    pthread_mutex_init(&v->lock, NULL);
    v->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    v->hub = link_new(KT_CLASS_CONTROL);
    if (v->kick < 0 || !v->hub) {
        destroy(v);
        return NULL;
    }
    return v;
}

/* The connection that was attached on goes on as the I/O thread's. */
static void take_hub(struct volume *v, struct kt_rpc *rpc)
{
    struct link *l = v->hub;
    int flags = fcntl(rpc->fd, F_GETFL);
    l->n_addrs = options.ctx.n_hubs;
    for (unsigned i = 0; i < l->n_addrs; i++)
        l->addrs[i] = options.ctx.hubs[i];
    if (flags >= 0)
        (void)fcntl(rpc->fd, F_SETFL, flags | O_NONBLOCK);
    kt_buf_unref(rpc->held);
    link_adopt(l, rpc->fd, &rpc->framer);
    free(rpc);
}

static int make_engine(struct volume *v)
{
    v->mem_bytes = engine_bytes(&v->opts);
    v->mem = mmap(NULL, v->mem_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->mem == MAP_FAILED) {
        v->mem = NULL;
        return -errno;
    }
    v->engine = engine_init(v->mem, &v->opts);
    return 0;
}

static int start_thread(struct volume *v)
{
    int r = pthread_create(&v->thread, NULL, io_main, v);
    if (r) {
        nbdkit_error("volume %s: cannot start a thread: %s", v->name,
                     kt_strerror(-r));
        return -r;
    }
    v->thread_runs = true;
    return 0;
}

/* 0, or < 0 after nbdkit_error. */
static int attach(struct volume *v, bool fork_later)
{
    char why[WHY_BYTES];
    struct kt_rpc *rpc;
    int r = hub_attach(v, &rpc, why, sizeof(why));
    if (r < 0) {
        nbdkit_error("volume %s cannot be attached: %s", v->name, why);
        if (r == KT_E_FENCED)
            handover_explain(v);
        return r;
    }
    if (options.before.token && options.before.n == engine_chains(&v->opts))
        v->opts.settled = options.before.vgens;
    r = make_engine(v);
    if (r < 0)
        nbdkit_error("volume %s: %zu MiB of memory cannot be had: %s", v->name,
                     v->mem_bytes >> 20, kt_strerror(r));
    bool made = r == 0;
    if (made)
        r = handover_begin(v, rpc);
    take_hub(v, rpc);
    if (r == 0 && !fork_later)
        r = start_thread(v);
    /* A volume that is not taken over stays ours: given back it would look
     * like one that others held since. */
    if (r < 0 && !(made && options.state))
        hub_detach(v);
    return r;
}

/* ---- the table ---- */

static struct volume *find(const char *name)
{
    struct volume *v = table;
    while (v && strcmp(v->name, name) != 0)
        v = v->next;
    return v;
}

/* Joins the threads that have ended: the plugin may be unloaded after it. */
static void reap(void)
{
    struct volume *next;
    for (struct volume *v = table; v; v = next) {
        next = v->next;
        if (v->state != VOLUME_LEFT)
            continue;
        pthread_join(v->thread, NULL);
        unlist(v);
        free(v);
    }
}

/* Waits until the volume is ready or not in the table. Table lock held. */
static struct volume *settled(const char *name)
{
    struct volume *v;
    while (reap(), (v = find(name))) {
        if (v->state == VOLUME_READY && !(v->dead && v->refs == 0 && !v->keep))
            return v;
        if (v->state == VOLUME_READY) { /* fenced: attach afresh */
            v->stop = true;
            io_kick(v);
        }
        pthread_cond_wait(&table_changed, &table_lock);
    }
    return NULL;
}

struct volume *volume_get(const char *name, bool fork_later)
{
    pthread_mutex_lock(&table_lock);
    struct volume *v = settled(name);
    if (v) {
        v->refs++;
        pthread_mutex_unlock(&table_lock);
        return v;
    }
    v = new_volume(name);
    if (!v) {
        pthread_mutex_unlock(&table_lock);
        nbdkit_error("volume %s: out of memory", name);
        return NULL;
    }
    v->state = VOLUME_ATTACHING;
    v->refs = 1;
    v->keep = fork_later;
    v->next = table;
    table = v;
    pthread_mutex_unlock(&table_lock);

    int r = attach(v, fork_later);

    pthread_mutex_lock(&table_lock);
    v->state = VOLUME_READY;
    if (r < 0)
        unlist(v);
    pthread_cond_broadcast(&table_changed);
    pthread_mutex_unlock(&table_lock);
    if (r < 0) {
        destroy(v);
        return NULL;
    }
    return v;
}

void volume_put(struct volume *v)
{
    pthread_mutex_lock(&table_lock);
    assert(v->refs > 0);
    v->refs--;
    v->idle_ms = kt_now_ms();
    pthread_mutex_unlock(&table_lock);
}

bool volume_must_leave(struct volume *v, uint64_t now_ms)
{
    pthread_mutex_lock(&table_lock);
    bool idle = !v->keep && v->refs == 0 && now_ms >= v->idle_ms + LINGER_MS;
    bool go = v->state == VOLUME_READY && (v->stop || idle);
    if (go)
        v->state = VOLUME_LEAVING;
    pthread_mutex_unlock(&table_lock);
    return go;
}

void volume_left(struct volume *v)
{
    release(v);
    pthread_mutex_lock(&table_lock);
    v->state = VOLUME_LEFT;
    pthread_cond_broadcast(&table_changed);
    pthread_mutex_unlock(&table_lock);
}

int volumes_start(void)
{
    int r = 0;
    pthread_mutex_lock(&table_lock);
    for (struct volume *v = table; v && r == 0; v = v->next)
        if (!v->thread_runs)
            r = start_thread(v);
    pthread_mutex_unlock(&table_lock);
    return r;
}

void volumes_stop(void)
{
    struct volume *next;
    pthread_mutex_lock(&table_lock);
    for (struct volume *v = table; v; v = next) {
        next = v->next;
        if (v->state != VOLUME_READY || v->thread_runs)
            continue;
        hub_detach(v); /* attached, and then nbdkit did not start */
        unlist(v);
        destroy(v);
    }
    for (reap(); table; reap()) {
        for (struct volume *v = table; v; v = v->next) {
            v->stop = true;
            if (v->state == VOLUME_READY)
                io_kick(v);
        }
        pthread_cond_wait(&table_changed, &table_lock);
    }
    pthread_mutex_unlock(&table_lock);
}

/* ---- requests ---- */

/* nbdkit is going away, or this client has. Asks nbdkit at most once after
 * it said so: it complains each time. */
static bool shutting_down(bool *known)
{
    if (!*known)
        *known = nbdkit_nanosleep(0, 1) != 0;
    return *known;
}

static void wait_for(struct volume *v, struct engine_req *r, sem_t *sem)
{
    uint64_t give_up_ms = 0;
    bool known = false;
    for (;;) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_sec++;
        if (sem_timedwait(sem, &t) == 0)
            return;
        if (errno != ETIMEDOUT || !shutting_down(&known))
            continue;
        uint64_t now = kt_now_ms();
        if (!give_up_ms)
            give_up_ms = now + GIVE_UP_MS;
        if (now < give_up_ms)
            continue;
        pthread_mutex_lock(&v->lock);
        io_step(v, (struct engine_event){.type = ENGINE_EV_CANCEL, .req = r});
        pthread_mutex_unlock(&v->lock);
        give_up_ms = UINT64_MAX; /* it is complete now */
    }
}

int volume_do(struct volume *v, struct engine_req *r)
{
    sem_t sem;
    sem_init(&sem, 0, 0);
    r->tag = (uintptr_t)&sem;

    pthread_mutex_lock(&v->lock);
    io_step(v, (struct engine_event){.type = ENGINE_EV_SUBMIT, .req = r});
    bool kick = v->need_kick;
    v->need_kick = false;
    pthread_mutex_unlock(&v->lock);
    if (kick)
        io_kick(v);

    wait_for(v, r, &sem);
    sem_destroy(&sem);
    if (r->err == 0)
        return 0;
    errno = r->err > -4096 ? -r->err : EIO;
    return -1;
}
