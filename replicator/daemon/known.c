/* SPDX-License-Identifier: BSD-3-Clause */
/* The newest hub this node ever heard, in the file "hub" of its store:
 * "TERM MARK" (B15). It goes into every REGISTER, so that a hub that was
 * started from an old copy of its database finds out; and a hub that is older
 * all the same is not obeyed. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/os.h"

#define PATH_BYTES 4096u
#define TEXT_BYTES 64u

static int known_path(const struct repl *n, char path[PATH_BYTES])
{
    int len = snprintf(path, PATH_BYTES, "%s/hub", n->opts->store_dir);
    return len < 0 || len >= (int)PATH_BYTES ? -ENAMETOOLONG : 0;
}

static int known_parse(struct hub *h, char *text)
{
    char *end = NULL;
    text[strcspn(text, "\n")] = '\0';
    errno = 0;
    unsigned long long term = strtoull(text, &end, 10);
    if (errno || end == text || *end != ' ' || text[0] == '-' || term == 0 ||
        kt_id_parse(end + 1, &h->mark) < 0)
        return KT_E_CORRUPT;
    h->term = term;
    return 0;
}

int hub_known_load(struct repl *n, char *ret_why, size_t size)
{
    char path[PATH_BYTES], *text = NULL;
    int r = known_path(n, path);
    if (r == 0)
        r = kt_read_file(path, TEXT_BYTES, &text);
    if (r == 0)
        r = known_parse(&n->hub, text);
    free(text);
    if (r == 0 || r == -ENOENT)
        return 0;
    snprintf(ret_why, size,
             "%s/hub, which says which hub was the newest, cannot be read "
             "(%s): take it away only when you know that the hub's database "
             "is no old copy",
             n->opts->store_dir, kt_strerror(r));
    return r;
}

static void known_save(struct repl *n);

static void save_work(uv_work_t *w)
{
    struct hub *h = kt_container_of(w, struct hub, save.work);
    const struct repl *n = kt_container_of(h, struct repl, hub);
    char path[PATH_BYTES], text[TEXT_BYTES], hex[KT_ID_HEX_BYTES];
    int r = known_path(n, path);
    snprintf(text, sizeof(text), "%" PRIu64 " %s\n", h->save.term,
             kt_id_hex(&h->save.mark, hex));
    h->save.err = r < 0 ? r : kt_write_file(path, text, 0644);
}

static void save_done(uv_work_t *w, int status)
{
    struct hub *h = kt_container_of(w, struct hub, save.work);
    int r = status < 0 ? status : h->save.err;
    h->save.busy = false;
    h->unsaved = r < 0;
    if (r < 0)
        kt_log(KT_LOG_ERROR, "hub_not_saved", "err=\"%s\"", kt_strerror(r));
    if (h->term != h->save.term)
        known_save(kt_container_of(h, struct repl, hub));
    else
        hub_known_saved(kt_container_of(h, struct repl, hub), r);
}

/* It is synced, so not on the loop. Until it is, nothing is promised to that
 * start (hub.c): from a promise to a start that the node does not know of, the
 * hub concludes that its database is old. */
static void known_save(struct repl *n)
{
    struct hub *h = &n->hub;
    if (h->save.busy)
        return; /* save_done sees that there is more */
    h->save.busy = true;
    h->save.term = h->term;
    h->save.mark = h->mark;
    int r = uv_queue_work(&n->loop, &h->save.work, save_work, save_done);
    assert(r == 0); /* it fails without a callback only */
    (void)r;
}

bool hub_known(struct repl *n, uint64_t term, const struct kt_id *mark)
{
    struct hub *h = &n->hub;
    bool same = term == h->term && kt_id_eq(mark, &h->mark);
    if (term == 0 || (same && !h->unsaved))
        return true; /* in recovery it names none */
    if (term <= h->term && !same) {
        kt_log(KT_LOG_ERROR, "hub_refused",
               "reason=\"its database is an old copy: this node has obeyed a "
               "later start of the hub\" hub_term=%" PRIu64
               " known_term=%" PRIu64,
               term, h->term);
        return false;
    }
    h->term = term;
    h->mark = *mark;
    known_save(n);
    return true;
}
