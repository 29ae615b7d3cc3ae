/* SPDX-License-Identifier: BSD-3-Clause */
/* The state file (B10): what a server process leaves to the one that is
 * started in its place while the device is in use.
 *
 *   1. Before anything else the file's lock is taken: FILE.lock, held for the
 *      life of the process. Where the predecessor is not quite dead, wait=.
 *   2. The file of the predecessor is read: its client id becomes ours, so
 *      that the hub needs no steal; ATTACH carries its token, the engine gets
 *      its vgens. Either may say that something is lost: then nothing is
 *      served.
 *   3. Before the first request our own token and vgens are written. They are
 *      written again when the vgen of a chain has changed and all that was
 *      lost there is sent again; a death before that has the old vgen stand,
 *      and the successor learns of the loss.
 *   4. After a last flush and DETACH the file is removed.
 * Whether anything is unflushed is not noted: it would take an fsync here
 * with the first write after every flush. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "nbdkit-plugin/volume.h"

#define STATE_VERSION 1
#define STATE_BYTES_MAX (1u << 20)
#define RETRY_MS 100u

int state_lock(const char *path, unsigned wait_s, char *ret_why, size_t size)
{
    uint64_t until_ms = kt_now_ms() + wait_s * UINT64_C(1000);
    char *name;
    if (asprintf(&name, "%s.lock", path) < 0)
        return -ENOMEM;
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : 0;
    while (r == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        struct timespec t = {.tv_nsec = RETRY_MS * 1000000};
        if (errno != EWOULDBLOCK && errno != EINTR)
            r = -errno;
        else if (kt_now_ms() >= until_ms)
            r = -EBUSY;
        else
            nanosleep(&t, NULL);
    }
    if (r == -EBUSY)
        snprintf(ret_why, size,
                 "%s is in use by a process that still runs; end that one, or "
                 "choose another file",
                 path);
    else if (r < 0)
        snprintf(ret_why, size, "%s cannot be used: %s", name, kt_strerror(r));
    free(name);
    if (r < 0 && fd >= 0)
        close(fd);
    return r < 0 ? r : fd;
}

static bool take_id(const json_t *o, const char *key, struct kt_id *ret)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && kt_id_parse(s, ret) == 0 && !kt_id_is_zero(ret);
}

static bool take_number(const json_t *o, uint64_t *ret)
{
    json_int_t n = json_integer_value(o);
    *ret = n > 0 ? (uint64_t)n : 0;
    return json_is_integer(o) && n > 0;
}

static const char *take(const json_t *o, struct state *s)
{
    const json_t *vgens = json_object_get(o, "vgens");
    const char *name = json_string_value(json_object_get(o, "name"));
    uint64_t version;
    if (!take_number(json_object_get(o, "version"), &version))
        return "it has no version";
    if (version != STATE_VERSION)
        return "it was written by another version of the plugin";
    if (!kt_name_valid(name) || !take_id(o, "volume", &s->volume) ||
        !take_id(o, "client", &s->client) ||
        !take_number(json_object_get(o, "token"), &s->token))
        return "name, volume, client or token is missing";
    s->n = (uint32_t)json_array_size(vgens);
    if (s->n == 0 || s->n > ENGINE_CHAINS_MAX)
        return "vgens is missing";
    s->vgens = calloc(s->n, sizeof(*s->vgens));
    if (!s->vgens)
        return "memory is out";
    for (uint32_t i = 0; i < s->n; i++)
        if (!take_number(json_array_get(vgens, i), &s->vgens[i]))
            return "a vgen is not a number";
    snprintf(s->name, sizeof(s->name), "%s", name);
    return NULL;
}

int state_load(const char *path, struct state *ret, char *ret_why, size_t size)
{
    char *text;
    json_error_t err;
    memset(ret, 0, sizeof(*ret));
    int r = kt_read_file(path, STATE_BYTES_MAX, &text);
    if (r == -ENOENT)
        return 0;
    if (r < 0 && r != -EINVAL && r != -EFBIG) {
        snprintf(ret_why, size, "%s cannot be read: %s", path, kt_strerror(r));
        return r;
    }
    json_t *o = r < 0 ? NULL : json_loads(text, JSON_REJECT_DUPLICATES, &err);
    const char *what = o ? take(o, ret) : "it is not JSON";
    json_decref(o);
    if (r == 0)
        free(text);
    if (!what)
        return 1;
    state_free(ret);
    snprintf(ret_why, size,
             "the state file %s is damaged (%s), so nobody can tell whether "
             "unflushed writes of the process before this one are still there; "
             "end what uses the volume, remove the file, and start again",
             path, what);
    return KT_E_INVALID;
}

int state_save(const char *path, const struct state *s)
{
    char volume[KT_ID_HEX_BYTES], client[KT_ID_HEX_BYTES];
    json_t *vgens = json_array();
    for (uint32_t i = 0; i < s->n && vgens; i++)
        json_array_append_new(vgens, json_integer((json_int_t)s->vgens[i]));
    json_t *o =
        json_pack("{s:i, s:s, s:s, s:s, s:I, s:o}", "version", STATE_VERSION,
                  "name", s->name, "volume", kt_id_hex(&s->volume, volume),
                  "client", kt_id_hex(&s->client, client), "token",
                  (json_int_t)s->token, "vgens", vgens);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!text)
        return -ENOMEM;
    int r = kt_write_file(path, text, 0600);
    free(text);
    return r;
}

int state_remove(const char *path)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    return kt_sync_parent(path);
}

void state_free(struct state *s)
{
    free(s->vgens);
    memset(s, 0, sizeof(*s));
}
