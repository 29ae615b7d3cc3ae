/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub's shell: what its files share. Everything runs on the loop's
 * thread, but for commits. */
#ifndef KT_HUB_DAEMON_H
#define KT_HUB_DAEMON_H

#include <jansson.h>
#include <uv.h>

#include "hub/control/control.h"
#include "hub/daemon/options.h"
#include "hub/daemon/store_lmdb.h"
#include "lib/link/conn.h"

#define DAEMON_TICK_MS 50u
#define DAEMON_SLOTS (HUB_CONNS_MAX + HUB_NODES_MAX + 64u)
#define DAEMON_PROBE_MS 1000u
#define DAEMON_CLOSE_MS 2000u /* at most, for what was sent to leave */

/* A connection; its id for the core is generation << 16 | slot. */
struct slot {
    uint64_t id; /* 0 = free */
    struct kt_conn *kc;
    bool closing;  /* when its queue is empty */
    bool known;    /* the core was told of it */
    uint32_t node; /* our own probe of that node; else HUB_NONE */
    bool answered; /* the probe's result was told */
    uint64_t deadline_ms;
};

struct daemon {
    const struct options *opts;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t term, intr;
    struct kt_self self; /* its cluster may be learnt from the nodes */
    struct kt_net *net;
    struct hub_db *db;
    struct hub hub;
    struct hub_action *acts; /* [HUB_ACTS_MIN] */
    struct slot slots[DAEMON_SLOTS];
    uint64_t generation;
    uint64_t started_s;
    bool closing, net_gone, failed;
    bool wrote_pid, wrote_address;
};

/* ---- pump.c: events in, actions out ---- */
extern const struct kt_net_ops pump_net_ops;
extern const struct hub_db_ops pump_db_ops;
int pump_new(struct daemon *d); /* takes the core's memory */
void pump_free(struct daemon *d);
void pump_step(struct daemon *d, struct hub_event *ev);
void pump_tick(struct daemon *d);
struct slot *pump_slot(struct daemon *d, uint64_t id);
/* A commit failed: never acknowledge anything again. main.c. */
void daemon_fail(struct daemon *d, int err);

/* ---- note.c ---- */
void note_log(const struct daemon *d, const struct hub_action *a);

/* ---- admin.c: people's requests ---- */
void admin_request(struct daemon *d, struct slot *s, const struct kt_msg *m);
void admin_done(struct daemon *d, const struct hub_action *a);

/* ---- show*.c: answers. Ownership: the caller drops them. ---- */
json_t *show_volume(const struct daemon *d, const struct hub_volume *v,
                    uint32_t from_chain);
json_t *show_volumes(const struct daemon *d);
#define NAMES_ASKED_MAX 1000u
/* [[id, size, name], ...] of those of ids (an array) that there are. */
json_t *show_names(const struct daemon *d, const json_t *ids);
json_t *show_node(const struct daemon *d, const struct hub_node *n,
                  bool chains);
json_t *show_nodes(const struct daemon *d);
json_t *show_chains(const struct daemon *d, const char *volume, uint32_t from);
/* What a force-promote that is valid would lose, in a sentence. */
void show_promote_cost(const struct daemon *d, const struct hub_admin *q,
                       char *ret, size_t size);
/* Only in recover mode. */
json_t *show_recover(const struct daemon *d, bool with_chains);
json_t *show_status(const struct daemon *d);
const char *show_health(enum hub_health h);
enum hub_health show_volume_health(const struct daemon *d,
                                   const struct hub_volume *v);
/* "head", "middle", "tail", "single", "syncing" or "none". */
const char *show_role(const struct kt_cfg *c, unsigned member);

#endif
