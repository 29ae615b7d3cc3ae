/* SPDX-License-Identifier: BSD-3-Clause */
/* The store's directory: whose it is, whether it is free, what is in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "replicator/store/disk.h"

int why_set(struct why *w, int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (w->size)
        vsnprintf(w->text, w->size, fmt, ap);
    va_end(ap);
    return err;
}

static int open_dir(struct store *s, const char *dir, struct why *w)
{
    struct stat st;
    if (s->opts.create && mkdir(dir, 0700) && errno != EEXIST)
        return why_set(w, -errno, "cannot make the store directory %s: %s", dir,
                       strerror(errno));
    s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0 || fstat(s->dirfd, &st))
        return why_set(w, -errno, "cannot open the store directory %s: %s%s",
                       dir, strerror(errno),
                       errno == ENOENT ? "; create a store there first" : "");
    if (geteuid() != 0 && st.st_uid != geteuid())
        return why_set(w, -EACCES,
                       "the store directory %s belongs to user %u and this "
                       "program runs as user %u; run it as the owner, or give "
                       "it another directory",
                       dir, (unsigned)st.st_uid, (unsigned)geteuid());
    return 0;
}

static bool exists(int dirfd, const char *name)
{
    return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int take_lock(struct store *s, const char *dir, int how, struct why *w)
{
    if (flock(s->lockfd, how | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return why_set(w, -errno, "cannot lock the store directory %s: %s", dir,
                       strerror(errno));
    char pid[24] = "";
    ssize_t n = pread(s->lockfd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    return why_set(w, -EBUSY,
                   "the store directory %s is in use by another process "
                   "(pid %s); stop that one first, or use another "
                   "directory",
                   dir, n > 0 ? pid : "unknown");
}

static int lock_dir(struct store *s, const char *dir, struct why *w)
{
    s->lockfd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lockfd < 0)
        return why_set(w, -errno,
                       "cannot write in the store directory %s: %s; it must "
                       "be writable for this program",
                       dir, strerror(errno));
    int err = take_lock(s, dir, LOCK_EX, w);
    if (err)
        return err;
    char pid[24];
    int n = snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    /* Only people read it: no harm if the disk is full. */
    if (ftruncate(s->lockfd, 0) == 0 &&
        pwrite(s->lockfd, pid, (size_t)n, 0) < 0)
        errno = 0;
    return 0;
}

static bool is_ours(const char *name)
{
    static const char *const prefixes[] = {"log.",     "data.",  "csum.",
                                           "meta.mdb", "super.", "synced"};
    for (unsigned i = 0; i < KT_ARRAY_LEN(prefixes); i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            return true;
    return false;
}

/* Counts ours and others' files; removes ours when wipe is set. */
static int look_around(struct store *s, bool wipe, unsigned *ret_ours,
                       unsigned *ret_others)
{
    int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    if (!d)
        return -errno;
    *ret_ours = *ret_others = 0;
    while ((e = readdir(d))) {
        const char *n = e->d_name;
        if (!strcmp(n, ".") || !strcmp(n, "..") || !strcmp(n, "lock") ||
            !strcmp(n, "lost+found") || !strcmp(n, DIR_CREATING) ||
            !strcmp(n, "cluster") || !strcmp(n, "volumes")) /* notes of the
                                                              replicator */
            continue;
        if (!is_ours(n))
            (*ret_others)++;
        else if (wipe)
            unlinkat(s->dirfd, n, 0);
        else
            (*ret_ours)++;
    }
    closedir(d);
    return 0;
}

int dir_open(struct store *s, const char *dir, struct why *w, bool *ret_empty)
{
    unsigned ours = 0, others = 0;
    int err = open_dir(s, dir, w);
    if (err)
        return err;
    bool half = exists(s->dirfd, DIR_CREATING);
    bool super = exists(s->dirfd, "super.a") || exists(s->dirfd, "super.b");
    if (!s->opts.create && (half || !super))
        return why_set(w, -ENOENT,
                       "there is no store in %s; create one there first", dir);
    err = lock_dir(s, dir, w);
    if (err)
        return err;
    /* Again, now that nobody else is at work in it. */
    half = exists(s->dirfd, DIR_CREATING);
    super = exists(s->dirfd, "super.a") || exists(s->dirfd, "super.b");
    *ret_empty = half || !super;
    if (!*ret_empty)
        return 0;
    err = look_around(s, half, &ours, &others);
    if (err)
        return why_set(w, err, "cannot list the store directory %s: %s", dir,
                       strerror(-err));
    if (ours)
        return why_set(w, KT_E_CORRUPT,
                       "both superblocks of the store in %s are missing; put "
                       "super.a or super.b back, or empty the directory to "
                       "start with a new store",
                       dir);
    if (others)
        return why_set(w, -ENOTEMPTY,
                       "%s holds %u file(s) that are not a store's; a new "
                       "store needs an empty directory",
                       dir, others);
    return 0;
}

/* ---- to look ---- */

/* A lock that is shared, of a file that is not written: two may look at once,
 * and no replicator meanwhile. A copy of a store may lack the file. */
static int lock_look(struct store *s, const char *dir, struct why *w)
{
    s->lockfd = openat(s->dirfd, "lock", O_RDONLY | O_CLOEXEC);
    if (s->lockfd >= 0)
        return take_lock(s, dir, LOCK_SH, w);
    return errno == ENOENT ? 0
                           : why_set(w, -errno, "cannot open %s/lock: %s", dir,
                                     strerror(errno));
}

int dir_look(struct store *s, const char *dir, struct why *w)
{
    unsigned ours = 0, others;
    s->look = true;
    s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0)
        return why_set(w, -errno, "cannot open the store directory %s: %s", dir,
                       strerror(errno));
    int err = exists(s->dirfd, DIR_CREATING)
                  ? 0
                  : look_around(s, false, &ours, &others);
    if (err)
        return why_set(w, err, "cannot list the store directory %s: %s", dir,
                       strerror(-err));
    if (!ours)
        return why_set(w, -ENOENT, "there is no store in %s", dir);
    return lock_look(s, dir, w);
}
