/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk in memory that lies now and then: what the verifier has to notice.
 *
 *   size=N     of the disk, in bytes
 *   lie=KIND   none, lost, stale, corrupt, torn, misplaced, stuck
 *   every=N    one write of N is a lie (1000)
 *
 * lost: a write is answered and not done. stale: what it wrote is seen once and
 * then for once what was there before. corrupt: a bit of it is flipped. torn:
 * its last 512 bytes are left out. misplaced: it goes to the next block. stuck:
 * it is never answered. */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#define BLOCK 4096u

static struct {
    pthread_mutex_t lock;
    uint8_t *mem;
    int64_t size;
    const char *kind;
    uint32_t every, writes;
    uint64_t at;        /* of the hidden block */
    uint32_t reads_due; /* of it, the last of which is stale */
    uint8_t old[BLOCK];
} lie = {.lock = PTHREAD_MUTEX_INITIALIZER, .kind = "none", .every = 1000};

static int lie_config(const char *key, const char *value)
{
    if (strcmp(key, "size") == 0) {
        lie.size = nbdkit_parse_size(value);
        return lie.size > 0 ? 0 : -1;
    }
    if (strcmp(key, "every") == 0)
        return nbdkit_parse_uint32_t("every", value, &lie.every);
    if (strcmp(key, "lie") == 0) {
        lie.kind = value;
        return 0;
    }
    nbdkit_error("unknown parameter %s", key);
    return -1;
}

static int lie_get_ready(void)
{
    lie.mem = calloc(1, (size_t)lie.size);
    return lie.mem ? 0 : -1;
}

static void *lie_open(int readonly)
{
    (void)readonly;
    return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t lie_get_size(void *handle)
{
    (void)handle;
    return lie.size;
}

static int yes(void *handle)
{
    (void)handle;
    return 1;
}

static int lie_pread(void *handle, void *buf, uint32_t count, uint64_t offset,
                     uint32_t flags)
{
    (void)handle;
    (void)flags;
    pthread_mutex_lock(&lie.lock);
    memcpy(buf, lie.mem + offset, count);
    if (lie.reads_due && offset <= lie.at && lie.at + BLOCK <= offset + count &&
        --lie.reads_due == 0)
        memcpy((uint8_t *)buf + (lie.at - offset), lie.old, BLOCK);
    pthread_mutex_unlock(&lie.lock);
    return 0;
}

/* Does one write wrongly. Called and left with the lock held. */
static void tell_a_lie(const uint8_t *buf, uint32_t count, uint64_t offset)
{
    uint8_t *to = lie.mem + offset;
    if (strcmp(lie.kind, "lost") == 0)
        return;
    if (strcmp(lie.kind, "stuck") == 0) {
        pthread_mutex_unlock(&lie.lock);
        for (;;)
            pause();
    }
    if (strcmp(lie.kind, "misplaced") == 0)
        to += offset + BLOCK + count <= (uint64_t)lie.size ? BLOCK : 0;
    if (strcmp(lie.kind, "stale") == 0) {
        memcpy(lie.old, to, BLOCK);
        lie.at = offset;
        lie.reads_due = 2;
    }
    if (strcmp(lie.kind, "torn") == 0)
        count -= 512;
    memcpy(to, buf, count);
    if (strcmp(lie.kind, "corrupt") == 0)
        to[count / 2] ^= 4;
}

static int lie_pwrite(void *handle, const void *buf, uint32_t count,
                      uint64_t offset, uint32_t flags)
{
    (void)handle;
    (void)flags;
    pthread_mutex_lock(&lie.lock);
    /* In the middle of the disk, where the verifier also reads. */
    bool due = count == BLOCK && offset >= 16 * BLOCK &&
               offset < (uint64_t)lie.size - 16 * BLOCK &&
               ++lie.writes % lie.every == 0 && strcmp(lie.kind, "none") != 0;
    if (due)
        tell_a_lie(buf, count, offset);
    else
        memcpy(lie.mem + offset, buf, count);
    if (!due && lie.reads_due && offset <= lie.at && lie.at < offset + count)
        lie.reads_due = 0; /* overwritten: nothing to hide any more */
    pthread_mutex_unlock(&lie.lock);
    return 0;
}

static int lie_clear(void *handle, uint32_t count, uint64_t offset,
                     uint32_t flags)
{
    (void)handle;
    (void)flags;
    pthread_mutex_lock(&lie.lock);
    memset(lie.mem + offset, 0, count);
    if (lie.reads_due && offset <= lie.at && lie.at < offset + count)
        lie.reads_due = 0;
    pthread_mutex_unlock(&lie.lock);
    return 0;
}

static int lie_flush(void *handle, uint32_t flags)
{
    (void)handle;
    (void)flags;
    return 0;
}

static int can_fua(void *handle)
{
    (void)handle;
    return NBDKIT_FUA_NATIVE;
}

static struct nbdkit_plugin plugin = {
    .name = "lie",
    .config = lie_config,
    .get_ready = lie_get_ready,
    .open = lie_open,
    .get_size = lie_get_size,
    .can_write = yes,
    .can_flush = yes,
    .can_trim = yes,
    .can_zero = yes,
    .can_multi_conn = yes,
    .can_fua = can_fua,
    .pread = lie_pread,
    .pwrite = lie_pwrite,
    .trim = lie_clear,
    .zero = lie_clear,
    .flush = lie_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
