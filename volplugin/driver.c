/* SPDX-License-Identifier: BSD-3-Clause */
/* Docker's volume driver protocol, one function a method. Only Create, Remove
 * and Mount may take time; the others answer from the catalogue, whatever the
 * hub does: the engine forgets a volume when Get gives it any error. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/err.h"
#include "lib/base/os.h"
#include "volplugin/catalog_json.h"
#include "volplugin/plugin.h"

#define LOWER_WAIT_MS 20000u

struct call {
    struct plugin *p;
    const json_t *body;
    bool (*gone)(void *arg);
    void *arg;
    char name[KT_NAME_MAX + 1]; /* "Name" of the body, checked */
    char why[VOL_WHY_BYTES];
};

json_t *driver_error(const char *text)
{
    /* What is not UTF-8 cannot be a string of JSON. */
    json_t *s = json_string(text);

    return json_pack("{s:o}", "Err",
                     s ? s : json_string("an error that cannot be shown"));
}

static void refuse(struct reply *r, unsigned status, const char *why)
{
    r->status = status;
    r->body = driver_error(why);
}

static void done(struct reply *r)
{
    r->status = 200;
    r->body = driver_error("");
}

/* The catalogue says nothing at all: no answer, then, which the engine takes
 * for a plugin that is not there yet, and asks again. */
static void no_answer(struct reply *r)
{
    r->status = 0;
    r->body = NULL;
}

static const char *text_at(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* ---- shapes ---- */

static void add_created(json_t *o, uint64_t created_s)
{
    time_t at = (time_t)created_s;
    char text[32];
    struct tm tm;

    if (created_s && gmtime_r(&at, &tm) &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
        json_object_set_new(o, "CreatedAt", json_string(text));
}

static const char *phase_text(const struct vol_slot *s)
{
    static const char *const names[] = {"not mounted", "being mounted",
                                        "mounted", "being unmounted"};

    return names[s ? s->phase : VOL_IDLE];
}

static void add_hub(const struct plugin *p, json_t *status)
{
    char text[VOL_WHY_BYTES + 64];
    uint64_t ago_s = (kt_now_ms() - p->hub_heard_ms) / 1000;

    if (p->hub_error[0])
        snprintf(text, sizeof(text), "no answer: %s", p->hub_error);
    else if (p->hub_heard_ms == 0)
        snprintf(text, sizeof(text), "not asked yet");
    else
        snprintf(text, sizeof(text), "answered %llu s ago",
                 (unsigned long long)ago_s);
    json_object_set_new(status, "hub", json_string(text));
}

static json_t *status_of(struct plugin *p, const struct cat_volume *v)
{
    char text[VOL_SPEC_TEXT_BYTES], size[KT_SIZE_TEXT_BYTES];
    char id[KT_ID_HEX_BYTES];
    json_t *o =
        json_pack("{s:s, s:I, s:s, s:s, s:s}", "id", kt_id_hex(&v->id, id),
                  "size", (json_int_t)v->spec.size_bytes, "sizeText",
                  kt_size_format(v->spec.size_bytes, size), "state",
                  v->state[0] ? v->state : "unknown", "options",
                  vol_spec_text(&v->spec, text));

    if (v->holder[0])
        json_object_set_new(o, "holder",
                            json_pack("{s:s, s:I, s:I}", "node", v->holder,
                                      "pid", (json_int_t)v->holder_pid, "since",
                                      (json_int_t)v->holder_since_s));
    else
        json_object_set_new(o, "holder", json_null());
    pthread_mutex_lock(&p->lock);
    const struct vol_slot *s = vol_find(&p->table, &v->id);
    const struct note *n = work_note(p, &v->id, false);
    json_object_set_new(o, "here", json_string(phase_text(s)));
    json_object_set_new(o, "mounts", json_integer(s ? s->count : 0));
    if (n && n->error[0])
        json_object_set_new(o, "lastError", json_string(n->error));
    if (s && n && n->chains)
        json_object_set_new(o, "chains", json_deep_copy(n->chains));
    add_hub(p, o);
    pthread_mutex_unlock(&p->lock);
    return o;
}

static json_t *volume_of(struct plugin *p, const struct cat_volume *v,
                         bool whole)
{
    char path[ATTACH_PATH_BYTES];
    json_t *o = json_pack("{s:s, s:s}", "Name", v->name, "Mountpoint",
                          work_mountpoint(p, &v->id, path));

    if (whole) {
        add_created(o, v->created_s);
        json_object_set_new(o, "Status", status_of(p, v));
    }
    return o;
}

/* ---- methods that need no hub ---- */

static void no_volume(struct call *c, struct reply *r)
{
    snprintf(c->why, sizeof(c->why),
             "there is no volume %s on the cluster; kenter volume ls shows "
             "those there are",
             c->name);
    refuse(r, 500, c->why);
}

/* Whether *ret_v is there; else r is the answer. */
static bool known(struct call *c, struct cat_volume *ret_v, struct reply *r)
{
    int err = catalog_get(c->p->cat, c->name, ret_v);

    if (err == KT_E_NO_VOLUME)
        no_volume(c, r);
    else if (err < 0)
        no_answer(r);
    return err == 0;
}

static void on_get(struct call *c, struct reply *r)
{
    struct cat_volume v;

    if (!known(c, &v, r))
        return;
    r->status = 200;
    r->body =
        json_pack("{s:o, s:s}", "Volume", volume_of(c->p, &v, true), "Err", "");
}

static void on_path(struct call *c, struct reply *r)
{
    char path[ATTACH_PATH_BYTES];
    struct cat_volume v;

    if (!known(c, &v, r))
        return;
    r->status = 200;
    r->body = json_pack("{s:s, s:s}", "Mountpoint",
                        work_mountpoint(c->p, &v.id, path), "Err", "");
}

struct list {
    struct plugin *p;
    json_t *volumes;
};

static int list_one(void *arg, const struct cat_volume *v)
{
    struct list *l = arg;

    return json_array_append_new(l->volumes, volume_of(l->p, v, false));
}

static void on_list(struct call *c, struct reply *r)
{
    struct list l = {.p = c->p, .volumes = json_array()};

    if (catalog_each(c->p->cat, list_one, &l) != 0) {
        json_decref(l.volumes);
        no_answer(r);
        return;
    }
    r->status = 200;
    r->body = json_pack("{s:o, s:s}", "Volumes", l.volumes, "Err", "");
}

static void on_capabilities(struct call *c, struct reply *r)
{
    (void)c;
    r->status = 200;
    r->body = json_pack("{s:{s:s}}", "Capabilities", "Scope", "global");
}

static void on_activate(struct call *c, struct reply *r)
{
    (void)c;
    r->status = 200;
    r->body = json_pack("{s:[s]}", "Implements", "VolumeDriver");
}

/* ---- Create ---- */

/* The options of the body. false with the reason in c->why. */
static bool options_of(struct call *c, struct vol_spec *ret)
{
    json_t *opts = json_object_get(c->body, "Opts"), *v;
    struct vol_spec s;
    const char *key;

    memset(&s, 0, sizeof(s));
    if (opts && !json_is_null(opts) && !json_is_object(opts)) {
        snprintf(c->why, sizeof(c->why), "Opts is no object");
        return false;
    }
    json_object_foreach(opts, key, v)
    {
        const char *text = json_string_value(v);
        if (!text || strlen(text) != json_string_length(v)) {
            snprintf(c->why, sizeof(c->why),
                     "the value of the option \"%.40s\" is no text", key);
            return false;
        }
        if (vol_spec_add(&s, key, text, c->why) < 0)
            return false;
    }
    if (vol_spec_check(&s, c->why) < 0)
        return false;
    *ret = s;
    return true;
}

static json_t *create_request(const struct call *c, const struct vol_spec *s)
{
    uint64_t size =
        vol_spec_has(s, VOL_OPT_SIZE) ? s->size_bytes : c->p->o->default_bytes;
    json_t *q = json_pack("{s:s, s:s, s:I}", "op", "volume-create", "name",
                          c->name, "size", (json_int_t)size);

    uint32_t replicas = vol_spec_has(s, VOL_OPT_REPLICAS)
                            ? s->replicas
                            : hub_default_replicas(c->p);
    if (replicas)
        json_object_set_new(q, "replicas", json_integer(replicas));
    if (vol_spec_has(s, VOL_OPT_MIN_WRITE))
        json_object_set_new(q, "min_write", json_integer(s->min_write));
    if (vol_spec_has(s, VOL_OPT_SEGMENT))
        json_object_set_new(q, "segment",
                            json_integer((json_int_t)s->segment_bytes));
    if (vol_spec_has(s, VOL_OPT_DURABILITY))
        json_object_set_new(q, "durability", json_string(s->durability));
    if (vol_spec_has(s, VOL_OPT_POOL))
        json_object_set_new(q, "pool", json_string(s->pool));
    return q;
}

/* The name is taken: the same volume again, or another? */
static bool same_volume(struct call *c, const struct vol_spec *asked,
                        const struct cat_volume *have)
{
    char a[VOL_SPEC_TEXT_BYTES], b[VOL_SPEC_TEXT_BYTES];
    struct cat_volume old, all = *have;

    if (catalog_get(c->p->cat, c->name, &old) == 0 &&
        kt_id_eq(&old.id, &have->id))
        catalog_merge_local(&all, &old.spec);
    uint32_t differ = vol_spec_differs(asked, &all.spec);
    if (!differ)
        return true;
    enum vol_opt first = VOL_OPT_SIZE;
    while (!((differ >> first) & 1))
        first++;
    vol_spec_text(asked, a);
    vol_spec_text(&all.spec, b);
    /* Long words for mkfs or mount must not push out the reason. */
    snprintf(c->why, sizeof(c->why),
             "there is a volume %s already, and %s differs: asked for %.400s; "
             "there is %.400s",
             c->name, vol_opt_name(first), a, b);
    return false;
}

/* The volume as the hub has it, or false with a reason. */
static bool fetch(struct call *c, struct cat_volume *ret)
{
    json_t *v;

    int err = hub_inspect(c->p, c->name, 0, &v, c->why);
    if (err == 0) {
        err = catalog_from_hub(v, ret);
        json_decref(v);
        if (err < 0)
            snprintf(c->why, sizeof(c->why),
                     "the hub's answer about volume %s is not understood",
                     c->name);
    }
    return err == 0;
}

/* Waits for an unmount that goes on in the background. false: in use here. */
static bool lowered(struct call *c, const struct kt_id *volume)
{
    uint64_t until = kt_now_ms() + LOWER_WAIT_MS;
    const struct timespec nap = {.tv_nsec = 50000000l};

    for (;;) {
        pthread_mutex_lock(&c->p->lock);
        const struct vol_slot *s = vol_find(&c->p->table, volume);
        bool idle = !s, counted = s && s->count > 0;
        unsigned n = s ? s->count : 0;
        pthread_mutex_unlock(&c->p->lock);
        if (idle)
            return true;
        if (counted || kt_now_ms() >= until || c->gone(c->arg)) {
            snprintf(c->why, sizeof(c->why),
                     counted ? "the volume %s is mounted on this node, %u "
                               "times: stop the containers that use it first"
                             : "the volume %s is still being unmounted on "
                               "this node: try again in a moment",
                     c->name, n);
            return false;
        }
        nanosleep(&nap, NULL);
    }
}

static bool keep(struct call *c, const struct cat_volume *v)
{
    struct cat_volume old;

    /* Another volume had the name, and may be mounted here still. */
    if (catalog_get(c->p->cat, c->name, &old) == 0 &&
        !kt_id_eq(&old.id, &v->id) && !lowered(c, &old.id))
        return false;
    int err = catalog_put(c->p->cat, v);

    if (err < 0)
        snprintf(c->why, sizeof(c->why),
                 "the volume %s is made, but the catalogue of this node "
                 "cannot be written (%s): free some space and try again",
                 c->name, kt_strerror(err));
    return err == 0;
}

static void on_create(struct call *c, struct reply *r)
{
    struct vol_spec asked;
    struct cat_volume v, old;
    char code[32] = "";
    json_t *reply;

    if (!options_of(c, &asked)) {
        refuse(r, 500, c->why);
        return;
    }
    int err = hub_ask(c->p, create_request(c, &asked), &reply, code, c->why);
    if (err == 0)
        json_decref(reply);
    bool exists = err == KT_E_REFUSED && strcmp(code, "EXISTS") == 0;
    bool good = (err == 0 || exists) && fetch(c, &v) &&
                (err == 0 || same_volume(c, &asked, &v));
    if (good) {
        catalog_merge_local(&v, &asked);
        if (exists && catalog_get(c->p->cat, c->name, &old) == 0 &&
            kt_id_eq(&old.id, &v.id))
            catalog_merge_local(&v, &old.spec);
        good = keep(c, &v);
    }
    if (good)
        done(r);
    else
        refuse(r, 500, c->why);
}

/* ---- Remove ---- */

static void on_remove(struct call *c, struct reply *r)
{
    struct cat_volume v;
    char code[32] = "";
    json_t *reply;

    if (catalog_get(c->p->cat, c->name, &v) == 0 && !lowered(c, &v.id)) {
        refuse(r, 500, c->why);
        return;
    }
    int err = hub_ask(
        c->p, json_pack("{s:s, s:s}", "op", "volume-rm", "name", c->name),
        &reply, code, c->why);
    if (err == 0)
        json_decref(reply);
    bool gone = err == KT_E_REFUSED && strcmp(code, "NO_VOLUME") == 0;
    if (err < 0 && !gone) {
        refuse(r, 500, c->why);
        return;
    }
    /* A row that cannot be deleted now goes with the next list. */
    if (catalog_del(c->p->cat, c->name) < 0)
        c->why[0] = '\0';
    done(r);
}

/* ---- Mount, Unmount ---- */

static bool mount_id(struct call *c, const char **ret_id, struct reply *r)
{
    *ret_id = text_at(c->body, "ID");
    if (vol_mount_id_valid(*ret_id))
        return true;
    refuse(r, 400,
           "ID, which names the mount, is missing or is no word of 1 to 128 "
           "letters, digits, '_', '.' or '-'");
    return false;
}

static void on_mount(struct call *c, struct reply *r)
{
    char path[ATTACH_PATH_BYTES];
    struct cat_volume v;
    const char *id;

    if (!mount_id(c, &id, r))
        return;
    int err = catalog_get(c->p->cat, c->name, &v);
    /* Made elsewhere a moment ago, perhaps. */
    if (err == KT_E_NO_VOLUME) {
        if (!fetch(c, &v)) {
            refuse(r, 500, c->why);
            return;
        }
        err = keep(c, &v) ? 0 : -EIO;
    } else if (err < 0) {
        snprintf(c->why, sizeof(c->why),
                 "the catalogue of this node cannot be read: %s",
                 kt_strerror(err));
    }
    if (err == 0)
        err = work_mount(c->p, &v, id, c->gone, c->arg, c->why);
    if (err < 0) {
        refuse(r, 500, c->why);
        return;
    }
    r->status = 200;
    r->body = json_pack("{s:s, s:s}", "Mountpoint",
                        work_mountpoint(c->p, &v.id, path), "Err", "");
}

static void on_unmount(struct call *c, struct reply *r)
{
    struct cat_volume v;
    const char *id;

    if (!mount_id(c, &id, r))
        return;
    if (catalog_get(c->p->cat, c->name, &v) == 0)
        work_unmount(c->p, &v.id, id);
    done(r);
}

/* ---- dispatch ---- */

static const struct method {
    const char *path;
    void (*run)(struct call *c, struct reply *r);
    bool named; /* the body has a Name */
    bool bodied;
} methods[] = {
    {"/Plugin.Activate", on_activate, false, false},
    {"/VolumeDriver.Capabilities", on_capabilities, false, true},
    {"/VolumeDriver.List", on_list, false, true},
    {"/VolumeDriver.Get", on_get, true, true},
    {"/VolumeDriver.Path", on_path, true, true},
    {"/VolumeDriver.Create", on_create, true, true},
    {"/VolumeDriver.Remove", on_remove, true, true},
    {"/VolumeDriver.Mount", on_mount, true, true},
    {"/VolumeDriver.Unmount", on_unmount, true, true},
};

/* The body, and the name in it. NULL, or why not. */
static const char *read_body(const struct method *m, const char *body,
                             size_t len, struct call *c, json_t **ret_json)
{
    json_error_t where;

    if (!m->bodied)
        return NULL;
    if (len == 0)
        return "the request has no body";
    json_t *o = json_loadb(body, len, JSON_REJECT_DUPLICATES, &where);
    if (!o) {
        snprintf(c->why, sizeof(c->why), "the body is not JSON: %s",
                 where.text);
        return c->why;
    }
    *ret_json = o;
    if (!json_is_object(o))
        return "the body is no JSON object";
    c->body = o;
    if (!m->named)
        return NULL;
    const char *name = text_at(o, "Name");
    const char *wrong = vol_name_wrong(name);
    if (!wrong)
        snprintf(c->name, sizeof(c->name), "%s", name);
    return wrong;
}

void driver_call(struct plugin *p, const char *path, const char *body,
                 size_t len, bool (*gone)(void *arg), void *arg,
                 struct reply *ret)
{
    struct call c = {.p = p, .gone = gone, .arg = arg};
    const struct method *m = NULL;
    json_t *o = NULL;

    for (size_t i = 0; i < KT_ARRAY_LEN(methods); i++) {
        if (strcmp(methods[i].path, path) == 0)
            m = &methods[i];
    }
    if (!m) {
        snprintf(c.why, sizeof(c.why),
                 "\"%.80s\" is no method of a volume driver", path);
        refuse(ret, 404, c.why);
        return;
    }
    const char *wrong = read_body(m, body, len, &c, &o);
    if (wrong)
        refuse(ret, 400, wrong);
    else
        m->run(&c, ret);
    json_decref(o);
}
