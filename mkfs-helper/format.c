/* SPDX-License-Identifier: BSD-3-Clause */
/* Formatting:
 *   1. look: anything there, or not all of the proofs: refused;
 *   2. mkfs, and the device made durable;
 *   3. look again: the file system that was wanted is there.
 * A crash in 2 leaves bytes that 1 refuses for ever after: such a volume was
 * never mounted, so nothing is lost by removing it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/id.h"
#include "lib/base/os.h"
#include "mkfs-helper/mkfs.h"

#define WORDS_MAX 48

/* ext4 asks for discards of all of it (it is empty already), for zeroed inode
 * tables (they read as zeros already) and for reserved blocks (nobody else
 * shares it): none of that. Blocks of 4 KiB also where it is small. */
static const char *const ext4_words[] = {
    "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-e", "remount-ro", "-E"};
static const char *const ext4_lazy =
    "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
static const char *const ext4_zeroed = "nodiscard,assume_storage_prezeroed=1";

static const char *const xfs_words[] = {"mkfs.xfs", "-q", "-K"};

static void fresh_uuid(char ret[MKFS_UUID_BYTES])
{
    struct kt_id id;

    kt_id_random(&id);
    id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x40); /* RFC 4122, random */
    id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
    kt_id_uuid(&id, ret);
}

struct words {
    const char *v[WORDS_MAX];
    unsigned n;
};

static void add(struct words *w, const char *word)
{
    assert(w->n + 1 < WORDS_MAX);
    w->v[w->n++] = word;
    w->v[w->n] = NULL;
}

/* Splits text at blanks, in place. */
static bool add_options(struct words *w, char *text)
{
    char *save = NULL;

    for (char *s = strtok_r(text, " \t", &save); s;
         s = strtok_r(NULL, " \t", &save)) {
        if (w->n + 8 >= WORDS_MAX)
            return false;
        add(w, s);
    }
    return true;
}

static bool command(struct words *c, const struct mkfs_wish *w,
                    const char *uuid_word, const char *uuid, bool zeroed,
                    char *options)
{
    if (strcmp(w->fs, "ext4") == 0) {
        for (size_t i = 0; i < KT_ARRAY_LEN(ext4_words); i++)
            add(c, ext4_words[i]);
        add(c, zeroed ? ext4_zeroed : ext4_lazy);
        add(c, "-U");
        add(c, uuid);
    } else {
        for (size_t i = 0; i < KT_ARRAY_LEN(xfs_words); i++)
            add(c, xfs_words[i]);
        add(c, "-m");
        add(c, uuid_word);
    }
    if (w->label) {
        add(c, "-L");
        add(c, w->label);
    }
    return add_options(c, options);
}

static int sync_path(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int err = fd < 0 || fsync(fd) < 0 ? -errno : 0;

    if (fd >= 0 && close(fd) < 0 && err == 0)
        err = -errno;
    return err;
}

/* Step 1. */
static int may_format(const struct mkfs_target *t, const struct mkfs_wish *w,
                      struct mkfs_found *ret_found, char *ret_why)
{
    int err = mkfs_probe(t, ret_found, ret_why);
    if (err < 0)
        return err;
    if (ret_found->kind != MKFS_BLANK) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "%s holds %s and is not formatted: if nothing of it is "
                 "needed, make a new volume",
                 t->path, ret_found->what);
        return KT_E_IN_USE;
    }
    if (!w->never_formatted) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "%s looks empty, but nobody says that it was never written: "
                 "it is not formatted, for what was there may be damaged and "
                 "not gone",
                 t->path);
        return KT_E_REFUSED;
    }
    return 0;
}

/* Step 3. */
static int confirm(const struct mkfs_target *t, const struct mkfs_wish *w,
                   const char *uuid, char *ret_why)
{
    struct mkfs_found f;

    int err = mkfs_probe(t, &f, ret_why);
    if (err < 0)
        return err;
    if (f.kind == MKFS_FS && strcmp(f.type, w->fs) == 0 &&
        strcasecmp(f.uuid, uuid) == 0)
        return 0;
    snprintf(ret_why, MKFS_WHY_BYTES,
             "%s was formatted and then held %s instead of the new %s: "
             "something else writes to it",
             t->path, f.kind == MKFS_BLANK ? "nothing" : f.what, w->fs);
    return -EIO;
}

int mkfs_format(const struct mkfs_target *t, const struct mkfs_wish *w,
                char ret_uuid[MKFS_UUID_BYTES], char *ret_why)
{
    char uuid[MKFS_UUID_BYTES], word[64], options[512], out[512];
    struct mkfs_found f;
    struct words c = {.n = 0};

    int err = may_format(t, w, &f, ret_why);
    if (err < 0)
        return err;
    if (w->uuid)
        snprintf(uuid, sizeof(uuid), "%s", w->uuid);
    else
        fresh_uuid(uuid);
    snprintf(word, sizeof(word), "uuid=%s", uuid);
    snprintf(options, sizeof(options), "%s", w->options ? w->options : "");
    if (!command(&c, w, word, uuid, f.whole, options)) {
        snprintf(ret_why, MKFS_WHY_BYTES, "too many options for mkfs");
        return KT_E_INVALID;
    }
    add(&c, t->path);
    err = kt_run(c.v, out, sizeof(out));
    if (err != 0) {
        snprintf(ret_why, MKFS_WHY_BYTES, "%s failed on %s (%s %d): %s", c.v[0],
                 t->path, err < 0 ? "error" : "exit status",
                 err < 0 ? -err : err, out);
        return err < 0 ? err : -EIO;
    }
    err = sync_path(t->path);
    if (err < 0) {
        snprintf(ret_why, MKFS_WHY_BYTES,
                 "%s was formatted, and then writing it out failed: %s",
                 t->path, kt_strerror(err));
        return err;
    }
    err = confirm(t, w, uuid, ret_why);
    if (err == 0)
        snprintf(ret_uuid, MKFS_UUID_BYTES, "%s", uuid);
    return err;
}
