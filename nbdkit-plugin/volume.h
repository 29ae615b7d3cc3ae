/* SPDX-License-Identifier: BSD-3-Clause */
/* An attached volume: its engine, its I/O thread, its links.
 *
 *   hub.c       attach, detach, list: blocking talk with the hub
 *   io.c        the I/O thread: poll, timers, hub session, doing actions
 *   volume.c    the table of volumes; requests of nbdkit's workers
 *   handover.c  from a process that was killed, and to the next one
 *   state.c     the file that does it
 */
#ifndef KT_NBDKIT_PLUGIN_VOLUME_H
#define KT_NBDKIT_PLUGIN_VOLUME_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "lib/client/engine.h"
#include "lib/link/rpc.h"
#include "nbdkit-plugin/link.h"

#define WHY_BYTES 512

/* ---- state.c: the state file (B10) ---- */

/* What one server process leaves to its successor. */
struct state {
    char name[KT_NAME_MAX + 1];
    struct kt_id volume, client;
    uint64_t token;
    uint32_t n;      /* chains; 0: there was no file */
    uint64_t *vgens; /* settled, by segment */
};

/* The lock of path: an fd to keep, or < 0 with a sentence. */
int state_lock(const char *path, unsigned wait_s, char *ret_why, size_t size);
/* 1 and *ret (to be freed), 0 when there is no file, < 0 with a sentence. */
int state_load(const char *path, struct state *ret, char *ret_why, size_t size);
int state_save(const char *path, const struct state *s);
int state_remove(const char *path);
void state_free(struct state *s);

/* What the command line says; fixed once configured. */
struct options {
    char *volume; /* NULL: by export name */
    char *state;  /* NULL: nothing is handed over */
    int state_fd; /* its lock, or -1 */
    bool accept_loss, client_given;
    struct state before; /* of the predecessor */
    char *context;       /* NULL: the usual places */
    bool steal;
    unsigned wait_s;
    struct kt_id client;
    unsigned io_timeout_s;
    uint64_t retain_bytes;
    struct kt_context ctx; /* loaded at the end of the configuration */
    struct kt_id boot;
};
extern struct options options;

enum volume_state {
    VOLUME_ATTACHING,
    VOLUME_READY, /* the I/O thread runs, or will after the fork */
    VOLUME_LEAVING,
    VOLUME_LEFT, /* its thread has ended, or is about to: join, free */
};

struct volume {
    /* the table's, under its lock */
    struct volume *next;
    char name[KT_NAME_MAX + 1];
    enum volume_state state;
    bool stop; /* cleanup wants it gone */
    unsigned refs;
    bool keep;        /* volume=: stays until cleanup */
    uint64_t idle_ms; /* since when nobody has it open */
    bool thread_runs;
    pthread_t thread;

    /* fixed once attached */
    struct kt_id id;
    uint64_t size, token;
    uint64_t *settled; /* room for what the state file says; NULL: none */
    struct engine_opts opts;
    void *mem;
    size_t mem_bytes;

    atomic_bool dead; /* fenced, or the volume is gone */

    /* Under lock: the engine, and the sending side of the links. */
    pthread_mutex_t lock;
    struct engine *engine;
    struct engine_out out;
    struct link *links[ENGINE_NODES_MAX];
    uint8_t enc[KT_FRAME_BYTES + KT_HEADER_BYTES_MAX];
    bool hurry;             /* tick soon */
    bool need_kick;         /* bytes stayed behind in a link */
    bool save_due;          /* the state file is behind */
    uint64_t lost_chain;    /* that made the engine refuse */
    bool left;              /* last is complete */
    struct engine_req last; /* the flush before leaving */

    /* the I/O thread's */
    int kick; /* eventfd */
    struct link *hub;
    uint64_t tick_ms, ticked_ms, renew_ms, renewed_ms;
    uint8_t n_cut;     /* nodes out of reach, as the last RENEW said */
    uint64_t leave_ms; /* deadline of leaving; 0 = not leaving */
    uint64_t save_ms;  /* the state file is not written before */
    bool save_complained;
    struct kt_msg_room room;
};

/* ---- volume.c ---- */

/* The volume of that name, attached, one reference more; NULL after
 * nbdkit_error. fork_later: attach, but start no thread yet. */
struct volume *volume_get(const char *name, bool fork_later);
void volume_put(struct volume *v);
/* Starts the threads of all volumes attached before the fork. */
int volumes_start(void);
/* Flushes and detaches all. */
void volumes_stop(void);

/* Carries r out: blocks until it is complete. 0, or -1 with errno set. */
int volume_do(struct volume *v, struct engine_req *r);

/* The I/O thread asks: time to leave? */
bool volume_must_leave(struct volume *v, uint64_t now_ms);
/* The I/O thread's last words. */
void volume_left(struct volume *v);

/* ---- hub.c ---- */

/* Attaches v->name; fills v's fixed part and gives the hub's connection.
 * 0, or < 0 with a sentence in ret_why. */
int hub_attach(struct volume *v, struct kt_rpc **ret_rpc, char *ret_why,
               size_t size);
/* Gives the attachment back; errors only cost the next one the lease. */
int hub_detach(struct volume *v);
/* Calls each(arg, name, bytes) for every volume there is. */
int hub_list(void (*each)(void *arg, const char *name, uint64_t bytes),
             void *arg, char *ret_why, size_t size);
void hello_fill(struct kt_msg *m, uint8_t role, uint8_t cls);

/* ---- handover.c; all but prepare do nothing without state= ---- */

/* Before attaching: the lock, and what the predecessor left. 0, or < 0 after
 * nbdkit_error. */
int handover_prepare(void);
/* After ATTACH_OK, rpc's: takes over, or refuses. 0, or < 0 after
 * nbdkit_error. */
int handover_begin(struct volume *v, struct kt_rpc *rpc);
/* The hub says that another held the volume: what that means. */
void handover_explain(const struct volume *v);
/* Writes the file when that is due. Lock held, and let go meanwhile. */
void handover_keep(struct volume *v, uint64_t now);
/* All is flushed and given back. */
void handover_end(struct volume *v);

/* ---- io.c ---- */

/* lock held */
void io_step(struct volume *v, struct engine_event ev);
/* Wakes the thread. Any thread. */
void io_kick(struct volume *v);
void *io_main(void *volume);

#endif
