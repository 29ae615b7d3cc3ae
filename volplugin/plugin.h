/* SPDX-License-Identifier: BSD-3-Clause */
/* The volume plugin's shell: HTTP in front (http.c), one function a method
 * (driver.c), the catalogue and the counts behind one lock, threads for the
 * slow work (work.c), one that keeps up with the hub (sync.c). */
#ifndef KT_VOLPLUGIN_PLUGIN_H
#define KT_VOLPLUGIN_PLUGIN_H

#include <jansson.h>
#include <pthread.h>

#include "lib/link/rpc.h"
#include "volplugin/attach.h"
#include "volplugin/catalog.h"
#include "volplugin/core/mounts.h"

struct options {
    const char *socket;
    const char *dir;
    const char *mounts;
    const char *context;       /* NULL: where contexts usually are */
    const char *run;           /* what attached volumes need, until a reboot */
    const char *attach;        /* "auto", or the name of an implementation */
    const char *nbdkit_plugin; /* NULL: the one that is found */
    const char *stub;          /* for tests only: see attach_stub */
    uint64_t default_bytes;
};

/* What is shown of a volume beyond the catalogue. */
struct note {
    struct note *next;
    struct kt_id volume;
    char error[VOL_WHY_BYTES]; /* the last one here; "" none */
    json_t *chains;            /* as the hub last told, or NULL */
};

/* One Mount that waits. On its handler's stack. */
struct waiter {
    struct waiter *next;
    uint64_t req;
    bool done;
    int err;
};

struct plugin {
    const struct options *o;
    const struct attach_ops *attach;
    void *attach_ctx;
    const struct attach_ops *way; /* attach_real's, for new ones */
    struct catalog *cat;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t changed;
    struct vol_table table;
    struct note *notes;
    struct waiter *waiters;
    uint64_t last_req;
    unsigned workers; /* threads that raise or lower */
    bool stop;
    char hub_error[VOL_WHY_BYTES]; /* of the last question; "" it answered */
    uint64_t hub_heard_ms;         /* 0: not since the start */
    pthread_t sync_thread, keep_thread;
    bool kept; /* there is a keep_thread */
};

/* Opens the catalogue, takes up what a predecessor left, starts the threads.
 * 0, or an error with a sentence in ret_why. */
int plugin_start(struct plugin *p, const struct options *o, char *ret_why,
                 size_t size) KT_MUST_CHECK;
/* Leaves mounted what is mounted. */
void plugin_stop(struct plugin *p);
/* Sleeps for so long, or until the stop: true. No lock held. */
bool plugin_wait(struct plugin *p, unsigned ms);

/* ---- hub.c: any thread, no lock held ---- */

/* Takes the reference of req. 0 and *ret_reply; KT_E_REFUSED and the hub's
 * sentence, its error's name in ret_err (32 bytes; may be NULL); or the error
 * of the way there. */
int hub_ask(struct plugin *p, json_t *req, json_t **ret_reply, char *ret_err,
            char *ret_why) KT_MUST_CHECK;
/* How many replicas the context file wants where nobody says; 0: the hub's
 * own default. A sandbox of fewer than three nodes does. */
uint32_t hub_default_replicas(struct plugin *p);
/* volume-inspect, one page of its chains: from the one with this id on, 0 for
 * the first; "next_chain" begins the next page. Ownership: *ret_volume is the
 * caller's. KT_E_NO_VOLUME. */
int hub_inspect(struct plugin *p, const char *name, uint64_t from,
                json_t **ret_volume, char *ret_why) KT_MUST_CHECK;

/* ---- work.c ---- */

/* One event for the state of mounts; the lock is held. */
void work_step(struct plugin *p, const struct vol_event *ev);
/* Blocks until the volume is mounted and counted for the id. gone() tells
 * whether who asked has hung up: then nothing is counted. */
int work_mount(struct plugin *p, const struct cat_volume *v, const char *id,
               bool (*gone)(void *arg), void *arg, char *ret_why) KT_MUST_CHECK;
void work_unmount(struct plugin *p, const struct kt_id *volume, const char *id);
/* Counts of before, and what is mounted. */
int work_restore(struct plugin *p, char *ret_why) KT_MUST_CHECK;
/* "" or where v's data is mounted now; returns ret. */
char *work_mountpoint(struct plugin *p, const struct kt_id *volume,
                      char ret[ATTACH_PATH_BYTES]);
/* The note of a volume, made when create is set; the lock is held. */
struct note *work_note(struct plugin *p, const struct kt_id *volume,
                       bool create);

/* ---- sync.c ---- */

/* A round with the hub: its list of volumes becomes the catalogue. */
int sync_round(struct plugin *p, char *ret_why) KT_MUST_CHECK;
void *sync_run(void *plugin);

/* ---- driver.c ---- */

struct reply {
    unsigned status; /* of HTTP; 0: close the connection without one */
    json_t *body;
};

/* One call of the driver protocol. path begins with '/'; body may be NULL.
 * Ownership: ret->body is the caller's. */
void driver_call(struct plugin *p, const char *path, const char *body,
                 size_t len, bool (*gone)(void *arg), void *arg,
                 struct reply *ret);
json_t *driver_error(const char *text);

/* ---- http.c ---- */

struct http;
/* Listens at the socket, or takes the one systemd gives. */
int http_start(struct plugin *p, struct http **ret, char *ret_why,
               size_t size) KT_MUST_CHECK;
void http_stop(struct http *h);

/* options.c: 0 go on, 1 done (help), 2 wrong (said on stderr). */
int options_parse(int argc, char **argv, struct options *ret);

#endif
