/* SPDX-License-Identifier: BSD-3-Clause */
/* The store's threads, and how they and the loop tell each other. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "replicator/store/disk.h"

bool store_due(struct store *s)
{
    pthread_cond_signal(&s->loop_cv);
    if (s->due)
        return false;
    s->due = true;
    return true;
}

void store_tell(struct store *s)
{
    if (s->opts.notify)
        s->opts.notify(s->opts.notify_arg);
}

void store_fault(struct store *s, int err)
{
    assert(err < 0);
    pthread_mutex_lock(&s->mu);
    int none = 0;
    atomic_compare_exchange_strong(&s->fault, &none, err);
    bool tell = store_due(s);
    pthread_mutex_unlock(&s->mu);
    if (tell)
        store_tell(s);
}

int store_fsync(struct store *s, int fd)
{
    if (!fsync(fd))
        return 0;
    int err = -errno;
    store_fault(s, err);
    return err;
}

void job_post(struct worker *w, struct job *j)
{
    struct store *s = w->store;
    j->store = s;
    j->next = NULL;
    s->n_jobs++;
    pthread_mutex_lock(&s->mu);
    *w->last = j;
    w->last = &j->next;
    pthread_cond_signal(&w->cv);
    pthread_mutex_unlock(&s->mu);
}

static void worker_wait(struct worker *w)
{
    struct store *s = w->store;
    if (!w->ticks) {
        pthread_cond_wait(&w->cv, &s->mu);
        return;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += TICK_MS / 1000;
    if (pthread_cond_timedwait(&w->cv, &s->mu, &t) != ETIMEDOUT)
        return;
    s->tick = true;
    if (store_due(s)) {
        pthread_mutex_unlock(&s->mu);
        store_tell(s);
        pthread_mutex_lock(&s->mu);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct store *s = w->store;
    pthread_mutex_lock(&s->mu);
    for (;;) {
        while (!w->first && !s->stop)
            worker_wait(w);
        struct job *j = w->first;
        if (!j)
            break;
        if (!(w->first = j->next))
            w->last = &w->first;
        pthread_mutex_unlock(&s->mu);
        bool refuse = w != &s->read && atomic_load(&s->fault);
        j->err = refuse ? KT_E_FAULTY : j->run(j);
        /* Before the next job is looked at: what failed to sync would sync. */
        if (j->err < 0 && w == &s->apply)
            store_fault(s, j->err);
        pthread_mutex_lock(&s->mu);
        j->next = NULL;
        *s->jobs_done_last = j;
        s->jobs_done_last = &j->next;
        if (store_due(s)) {
            pthread_mutex_unlock(&s->mu);
            store_tell(s);
            pthread_mutex_lock(&s->mu);
        }
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

static void cond_init(pthread_cond_t *cv)
{
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(cv, &a);
    pthread_condattr_destroy(&a);
}

static int worker_start(struct store *s, struct worker *w, unsigned n)
{
    w->store = s;
    w->first = NULL;
    w->last = &w->first;
    cond_init(&w->cv);
    for (; w->n_threads < n; w->n_threads++) {
        int err =
            pthread_create(&w->threads[w->n_threads], NULL, worker_main, w);
        if (err)
            return -err;
    }
    return 0;
}

static void worker_stop(struct worker *w)
{
    pthread_cond_broadcast(&w->cv);
    while (w->n_threads)
        pthread_join(w->threads[--w->n_threads], NULL);
}

static int start_all(struct store *s)
{
    s->apply.ticks = true;
    int err = worker_start(s, &s->meta, 1);
    if (!err)
        err = worker_start(s, &s->apply, 1);
    if (!err)
        err = worker_start(s, &s->read, READERS);
    if (!err)
        err = worker_start(s, &s->scrub, 1);
    if (!err)
        err = -pthread_create(&s->log_thread, NULL, log_main, s);
    if (err)
        return err;
    err = -pthread_create(&s->sync_thread, NULL, sync_main, s);
    if (err) {
        pthread_mutex_lock(&s->mu);
        s->stop = true;
        pthread_cond_broadcast(&s->log_cv);
        pthread_mutex_unlock(&s->mu);
        pthread_join(s->log_thread, NULL);
    }
    return err;
}

int threads_start(struct store *s)
{
    sigset_t all, old;
    cond_init(&s->log_cv);
    cond_init(&s->sync_cv);
    cond_init(&s->loop_cv);
    /* Signals are for the program's own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = start_all(s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    s->threads_up = !err;
    if (err)
        threads_stop(s);
    return err;
}

void threads_stop(struct store *s)
{
    pthread_mutex_lock(&s->mu);
    s->stop = true;
    pthread_cond_broadcast(&s->log_cv);
    pthread_cond_broadcast(&s->sync_cv);
    pthread_mutex_unlock(&s->mu);
    if (s->threads_up) {
        pthread_join(s->log_thread, NULL);
        pthread_join(s->sync_thread, NULL);
        s->threads_up = false;
    }
    worker_stop(&s->meta);
    worker_stop(&s->apply);
    worker_stop(&s->read);
    worker_stop(&s->scrub);
}
