/* SPDX-License-Identifier: BSD-3-Clause */
/* Keeping up with the hub: its list of volumes becomes the catalogue every
 * two seconds, and the chains of what is mounted here are shown in Status.
 * The same thread tells the state of mounts that time passes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"
#include "volplugin/catalog_json.h"
#include "volplugin/plugin.h"

#define ROUND_MS 2000u
#define ROUND_FAILED_MS 5000u
#define TICK_MS 500u
#define SHOWN_MAX 64u /* volumes whose chains are asked for in a round */

/* Volumes that are mounted here, or on their way, or being made: the catalogue
 * keeps them. A copy, because the lock is not to be taken within the
 * catalogue's. */
struct in_use {
    size_t n;
    struct kt_id *ids;
};

static int look_in_use(struct plugin *p, size_t more, struct in_use *ret)
{
    struct in_use u = {.n = 0};

    u.ids = calloc(p->table.n_slots + more, sizeof(*u.ids));
    if (!u.ids)
        return -ENOMEM;
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; i < p->table.n_slots; i++) {
        if (p->table.slots[i].used)
            u.ids[u.n++] = p->table.slots[i].volume;
    }
    pthread_mutex_unlock(&p->lock);
    *ret = u;
    return 0;
}

static bool is_in_use(void *arg, const struct kt_id *id)
{
    const struct in_use *u = arg;

    for (size_t i = 0; i < u->n; i++) {
        if (kt_id_eq(&u->ids[i], id))
            return true;
    }
    return false;
}

/* "epoch 3: n1 head serving, ..." would be prose: members as JSON. */
static json_t *short_chains(const json_t *volume)
{
    json_t *all = json_array();
    const json_t *c, *m;
    size_t i, k;

    json_array_foreach(json_object_get(volume, "chains"), i, c)
    {
        json_t *members = json_object();
        json_array_foreach(json_object_get(c, "members"), k, m) json_object_set(
            members, json_string_value(json_object_get(m, "node")),
            json_object_get(m, "state"));
        json_t *o = json_object();
        json_object_set(o, "epoch", json_object_get(c, "epoch"));
        json_object_set_new(o, "members", members);
        json_array_append_new(all, o);
        if (i == 15)
            break; /* enough for a person; `kenter volume inspect` has all */
    }
    return all;
}

static void show_chains(struct plugin *p, const struct in_use *u)
{
    char why[VOL_WHY_BYTES];
    struct cat_volume c;
    json_t *v;

    for (size_t i = 0; i < u->n && i < SHOWN_MAX; i++) {
        pthread_mutex_lock(&p->lock);
        bool stop = p->stop;
        pthread_mutex_unlock(&p->lock);
        if (stop)
            return;
        if (catalog_by_id(p->cat, &u->ids[i], &c) < 0)
            continue;
        int err = hub_inspect(p, c.name, 0, &v, why);
        if (err == KT_E_NO_VOLUME)
            continue;
        if (err < 0)
            return; /* the others would wait as long for it */
        json_t *chains = short_chains(v);
        json_decref(v);
        pthread_mutex_lock(&p->lock);
        struct note *note = work_note(p, &u->ids[i], true);
        if (note) {
            json_decref(note->chains);
            note->chains = chains;
        }
        pthread_mutex_unlock(&p->lock);
        if (!note)
            json_decref(chains);
    }
}

struct listed {
    struct cat_volume *all; /* what is being made comes last */
    size_t n, n_made;
};

static int store_list(struct plugin *p, const struct listed *l, uint64_t seen)
{
    struct in_use u;

    int err = look_in_use(p, l->n - l->n_made, &u);
    if (err < 0)
        return err;
    size_t n_here = u.n;
    for (size_t i = l->n_made; i < l->n; i++)
        u.ids[u.n++] = l->all[i].id;
    err = catalog_replace(p->cat, l->all, l->n_made, seen, is_in_use, &u);
    u.n = n_here;
    if (err == 0)
        show_chains(p, &u);
    free(u.ids);
    return err;
}

/* Twice over the list: first what is there, then what is half made, which may
 * yet fail. */
static int read_list(const json_t *all, struct listed *ret)
{
    const json_t *v;
    size_t i;

    ret->all = calloc(json_array_size(all) + 1, sizeof(*ret->all));
    ret->n = ret->n_made = 0;
    if (!ret->all)
        return -ENOMEM;
    for (unsigned half = 0; half < 2; half++) {
        json_array_foreach(all, i, v)
        {
            const char *state = json_string_value(json_object_get(v, "state"));
            bool creating = state && strcmp(state, "creating") == 0;
            if (creating == (half == 1) &&
                catalog_from_hub(v, &ret->all[ret->n]) == 0)
                ret->n++;
        }
        if (half == 0)
            ret->n_made = ret->n;
    }
    return 0;
}

int sync_round(struct plugin *p, char *ret_why)
{
    uint64_t seen = catalog_changes(p->cat);
    struct listed l;
    json_t *reply;

    int err = hub_ask(p, json_pack("{s:s}", "op", "volume-ls"), &reply, NULL,
                      ret_why);
    if (err < 0)
        return err;
    const json_t *all = json_object_get(reply, "volumes");
    if (!json_is_array(all)) {
        json_decref(reply);
        snprintf(ret_why, VOL_WHY_BYTES, "the hub's list is none");
        return KT_E_PROTO;
    }
    err = read_list(all, &l);
    json_decref(reply);
    if (err == 0)
        err = store_list(p, &l, seen);
    free(l.all);
    if (err < 0)
        snprintf(ret_why, VOL_WHY_BYTES, "the catalogue cannot be written: %s",
                 kt_strerror(err));
    return err;
}

static bool round_or_tell(struct plugin *p, bool was_good)
{
    char why[VOL_WHY_BYTES];

    int err = sync_round(p, why);
    if (err < 0 && was_good)
        kt_log(KT_LOG_WARN, "hub_lost", "err=\"%s\"", why);
    if (err == 0 && !was_good)
        kt_log(KT_LOG_INFO, "hub_found", "addr=context");
    return err == 0;
}

void *sync_run(void *arg)
{
    const struct timespec nap = {.tv_nsec = TICK_MS * 1000000l};
    const struct vol_event tick = {.type = VOL_EV_TICK};
    struct plugin *p = arg;
    uint64_t next = 0;
    bool good = true, stop = false;

    while (!stop) {
        if (kt_now_ms() >= next) {
            good = round_or_tell(p, good);
            next = kt_now_ms() + (good ? ROUND_MS : ROUND_FAILED_MS);
        }
        pthread_mutex_lock(&p->lock);
        work_step(p, &tick);
        stop = p->stop;
        pthread_mutex_unlock(&p->lock);
        if (!stop)
            nanosleep(&nap, NULL);
    }
    return NULL;
}
