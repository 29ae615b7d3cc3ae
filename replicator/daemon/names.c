/* SPDX-License-Identifier: BSD-3-Clause */
/* What the volumes are called whose copies are here, and how large they are, in
 * the file "volumes" of the store: "ID SIZE NAME" a line. Nothing here needs
 * it; `kenter recover` does, when there is no hub any more.
 *
 * 1. Soon after the hub took us, when there are other chains than last time,
 *    and once a minute: the ids are collected and asked for, page by page.
 * 2. The last page is there: when the text is another one, it is written by a
 *    thread, for it is synced.
 * 3. No answer, a hub that does not know the question, a failed write: the file
 *    stays as it is, and the next minute comes. */
#include "replicator/daemon/repl.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/os.h"

#define PAGE 1000u /* ids a question; the hub answers as many */
#define AGAIN_MS 60000u
#define SOON_MS 1000u
#define PATH_BYTES 4096u
#define LINE_BYTES (KT_ID_HEX_BYTES + 24 + KT_NAME_MAX)

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct kt_id));
}

static void collect(struct repl *n)
{
    struct names *k = &n->names;
    uint32_t all = 0;
    free(k->ids);
    k->ids = repl_alloc((n->n_chains + 1) * sizeof(k->ids[0]));
    for (const struct rchain *rc = n->chains; rc; rc = rc->next)
        if (rc->c.have_cfg && !rc->dropping && all < n->n_chains)
            k->ids[all++] = rc->c.cfg.volume;
    qsort(k->ids, all, sizeof(k->ids[0]), by_id);
    k->n_ids = 0;
    for (uint32_t i = 0; i < all; i++)
        if (!i || !kt_id_eq(&k->ids[i], &k->ids[i - 1]))
            k->ids[k->n_ids++] = k->ids[i];
    k->asked = 0;
    free(k->text);
    k->text = repl_alloc((size_t)k->n_ids * LINE_BYTES + 1);
    k->len = 0;
}

static void ask_page(struct repl *n)
{
    struct names *k = &n->names;
    json_t *ids = json_array();
    char hex[KT_ID_HEX_BYTES];
    for (uint32_t i = 0; i < PAGE && k->asked < k->n_ids; i++)
        json_array_append_new(ids,
                              json_string(kt_id_hex(&k->ids[k->asked++], hex)));
    struct kt_msg m = {.type = KT_MSG_ADMIN, .req = ++n->hub.reqs};
    m.json = json_pack("{s:s, s:o}", "op", "volume-names", "ids", ids);
    k->req = m.req;
    if (m.json)
        hub_send(n, &m);
    json_decref(m.json);
}

/* ---- the file ---- */

static void save_work(uv_work_t *w)
{
    struct names *k = kt_container_of(w, struct names, work);
    const struct repl *n = kt_container_of(k, struct repl, names);
    char path[PATH_BYTES];
    int len = snprintf(path, sizeof(path), "%s/volumes", n->opts->store_dir);
    k->err = len < (int)sizeof(path) ? kt_write_file(path, k->saving, 0644)
                                     : -ENAMETOOLONG;
}

static void save_done(uv_work_t *w, int status)
{
    struct names *k = kt_container_of(w, struct names, work);
    int r = status < 0 ? status : k->err;
    if (r == 0) {
        free(k->saved);
        k->saved = k->saving;
    } else {
        kt_log(KT_LOG_WARN, "names_not_saved", "err=\"%s\"", kt_strerror(r));
        free(k->saving);
    }
    k->saving = NULL;
}

static void save(struct repl *n)
{
    struct names *k = &n->names;
    if (k->saving || (k->saved && !strcmp(k->saved, k->text)))
        return;
    k->saving = k->text;
    k->text = NULL;
    int r = uv_queue_work(&n->loop, &k->work, save_work, save_done);
    assert(r == 0); /* it fails without a callback only */
    (void)r;
}

/* ---- answers ---- */

static void take_line(struct names *k, const json_t *v)
{
    const char *hex = json_string_value(json_array_get(v, 0));
    json_int_t size = json_integer_value(json_array_get(v, 1));
    const char *name = json_string_value(json_array_get(v, 2));
    struct kt_id id;
    if (!hex || kt_id_parse(hex, &id) < 0 || size < 0 || !kt_name_valid(name) ||
        k->len + LINE_BYTES > (size_t)k->n_ids * LINE_BYTES)
        return;
    k->len +=
        (size_t)snprintf(k->text + k->len, LINE_BYTES, "%s %" PRIu64 " %s\n",
                         hex, (uint64_t)size, name);
}

void names_answer(struct repl *n, const struct kt_msg *m)
{
    struct names *k = &n->names;
    const json_t *v, *list = json_object_get(m->json, "volumes");
    size_t i;
    if (m->req != k->req || !k->req || !k->text)
        return;
    k->req = 0;
    if (!json_is_array(list)) /* it does not know the question */
        return;
    json_array_foreach(list, i, v)
    {
        take_line(k, v);
    }
    if (k->asked < k->n_ids)
        ask_page(n);
    else
        save(n);
}

/* ---- time ---- */

void names_tick(struct repl *n)
{
    struct names *k = &n->names;
    uint64_t now = repl_now(n);
    if (!n->hub.registered) {
        k->next_ms = now + SOON_MS;
        k->req = 0;
        return;
    }
    if (k->chains != n->n_chains && k->next_ms > now + SOON_MS)
        k->next_ms = now + SOON_MS;
    if (now < k->next_ms || k->saving)
        return;
    k->chains = n->n_chains;
    k->next_ms = now + AGAIN_MS;
    collect(n);
    if (k->n_ids)
        ask_page(n);
}

void names_free(struct repl *n)
{
    free(n->names.ids);
    free(n->names.text);
    free(n->names.saved);
}
