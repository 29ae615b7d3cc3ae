/* SPDX-License-Identifier: BSD-3-Clause */
/* What nbdkit calls. Each data callback is one request to the engine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "nbdkit-plugin/volume.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define STATS_MAX 64u /* questions for the extents of one request */

struct options options = {.wait_s = 15, .state_fd = -1};

/* ---- configuration ---- */

static int config_bool(const char *key, const char *value)
{
    int r = nbdkit_parse_bool(value);
    if (r >= 0 && strcmp(key, "steal") == 0)
        options.steal = r;
    else if (r >= 0)
        options.accept_loss = r;
    return r < 0 ? -1 : 0;
}

static int config_path(char **path, const char *value)
{
    free(*path);
    *path = nbdkit_absolute_path(value);
    return *path ? 0 : -1;
}

static int config(const char *key, const char *value)
{
    if (strcmp(key, "volume") == 0) {
        if (!kt_name_valid(value)) {
            nbdkit_error("volume=%s is not a name: letters, digits, '_', '.' "
                         "and '-', at most 63 characters, beginning with a "
                         "letter or a digit",
                         value);
            return -1;
        }
        free(options.volume);
        options.volume = strdup(value);
        return options.volume ? 0 : -1;
    }
    if (strcmp(key, "context") == 0)
        return config_path(&options.context, value);
    if (strcmp(key, "state") == 0)
        return config_path(&options.state, value);
    if (strcmp(key, "steal") == 0 || strcmp(key, "accept-loss") == 0)
        return config_bool(key, value);
    if (strcmp(key, "wait") == 0) {
        if (nbdkit_parse_unsigned("wait", value, &options.wait_s) < 0)
            return -1;
        if (options.wait_s > 86400) {
            nbdkit_error("wait=%s is more than a day (86400)", value);
            return -1;
        }
        return 0;
    }
    if (strcmp(key, "io_timeout") == 0)
        return nbdkit_parse_unsigned("io_timeout", value,
                                     &options.io_timeout_s);
    if (strcmp(key, "client-id") == 0) {
        if (kt_id_parse(value, &options.client) < 0 ||
            kt_id_is_zero(&options.client)) {
            nbdkit_error("client-id=%s is not 32 hexadecimal digits", value);
            return -1;
        }
        options.client_given = true;
        return 0;
    }
    if (strcmp(key, "retain") == 0) {
        int64_t n = nbdkit_parse_size(value);
        if (n < 0)
            return -1;
        if ((uint64_t)n < ENGINE_RETAIN_MIN || n > INT64_C(4) << 30) {
            nbdkit_error("retain=%s is not between 4M and 4G", value);
            return -1;
        }
        options.retain_bytes = (uint64_t)n;
        return 0;
    }
    nbdkit_error("unknown parameter '%s'; see nbdkit kenter --help", key);
    return -1;
}

static int config_complete(void)
{
    char why[WHY_BYTES];
    if (options.state && !options.volume) {
        nbdkit_error("state= is of one volume: it needs volume=");
        return -1;
    }
    if (options.accept_loss && !options.state) {
        nbdkit_error("accept-loss= is about what state= knows, and needs it");
        return -1;
    }
    if (kt_context_load(options.context, &options.ctx, why, sizeof(why)) < 0) {
        nbdkit_error("%s", why);
        return -1;
    }
    if (kt_id_is_zero(&options.client))
        kt_id_random(&options.client);
    if (kt_boot_id(&options.boot) < 0)
        memset(&options.boot, 0, sizeof(options.boot)); /* nobody is near */
    return 0;
}

#define CONFIG_HELP                                                            \
    "[volume=]NAME      the volume to serve; without it, the NBD export\n"     \
    "                   name of each client chooses\n"                         \
    "context=FILE       where the hub is (default: $KENTER_CONTEXT, then\n"    \
    "                   ~/.config/kenter/context.json, then\n"                 \
    "                   /etc/kenter/context.json)\n"                           \
    "wait=SECONDS       wait for another holder to let go (default 15)\n"      \
    "steal=true         take the volume from its holder\n"                     \
    "state=FILE         what a restarted nbdkit takes over from; its device\n" \
    "                   goes on only if nothing was lost in between\n"         \
    "accept-loss=true   serve even if the state file says something was\n"     \
    "client-id=HEX      32 digits: the same id attaches again at once\n"       \
    "io_timeout=SECONDS fail requests that wait longer (default 0: never)\n"   \
    "retain=SIZE        memory for copies of unflushed writes (64M)"

static void dump_plugin(void)
{
    printf("kenter_version=%s\n", KENTER_VERSION);
    printf("kenter_protocol=%u\n", KT_PROTO);
    printf("kenter_retain_default=%llu\n",
           (unsigned long long)ENGINE_RETAIN_DEFAULT);
}

/* ---- life ---- */

static int get_ready(void)
{
    /* Before the fork, where an error still reaches the user (C2). */
    if (handover_prepare() < 0)
        return -1;
    if (options.volume && !volume_get(options.volume, true))
        return -1;
    return 0;
}

/* Locked memory would fail an unprivileged process at its first large
 * allocation: only when nothing limits it. */
static void lock_memory(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rlimit r;
    bool free_of_limits =
        geteuid() == 0 ||
        (getrlimit(RLIMIT_MEMLOCK, &r) == 0 && r.rlim_cur == RLIM_INFINITY);
    if (free_of_limits &&
        mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == -1)
        nbdkit_debug("kenter: mlockall: %m (continuing)");
#endif
}

static int after_fork(void)
{
    /* The kernel may write to us to free memory: we must not wait for it. */
    if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == -1)
        nbdkit_debug("kenter: PR_SET_IO_FLUSHER: %m (continuing)");
    lock_memory();
    return volumes_start() < 0 ? -1 : 0;
}

static void unload(void)
{
    volumes_stop(); /* nothing is left of it after cleanup */
    free(options.volume);
    free(options.context);
    free(options.state);
    state_free(&options.before);
    if (options.state_fd >= 0)
        close(options.state_fd);
}

static int preconnect(int readonly)
{
    (void)readonly;
    return 0;
}

struct listing {
    struct nbdkit_exports *exports;
    int r;
};

static void list_one(void *arg, const char *name, uint64_t bytes)
{
    struct listing *l = arg;
    char size[KT_SIZE_TEXT_BYTES];
    if (l->r == 0)
        l->r = nbdkit_add_export(l->exports, name, kt_size_format(bytes, size));
}

static int list_exports(int readonly, int is_tls,
                        struct nbdkit_exports *exports)
{
    struct listing l = {.exports = exports};
    char why[WHY_BYTES];
    (void)readonly;
    (void)is_tls;
    if (options.volume)
        return nbdkit_add_export(exports, options.volume, NULL);
    if (hub_list(list_one, &l, why, sizeof(why)) < 0) {
        nbdkit_error("%s", why);
        return -1;
    }
    return l.r;
}

static const char *default_export(int readonly, int is_tls)
{
    (void)readonly;
    (void)is_tls;
    return options.volume ? options.volume : "";
}

/* A read-only open is exclusive too, for now (C2). */
static void *open_volume(int readonly)
{
    const char *name = options.volume;
    (void)readonly;
    if (!name)
        name = nbdkit_export_name();
    if (!name || !*name) {
        nbdkit_error("no volume is named: start nbdkit with volume=NAME or "
                     "connect with an export name");
        return NULL;
    }
    if (!kt_name_valid(name)) {
        nbdkit_error("the export name is not the name of a volume: letters, "
                     "digits, '_', '.' and '-' only");
        return NULL;
    }
    return volume_get(name, false);
}

static void close_volume(void *handle)
{
    volume_put(handle);
}

/* ---- what a volume is ---- */

static int64_t get_size(void *handle)
{
    struct volume *v = handle;
    return (int64_t)v->size;
}

static const char *export_description(void *handle)
{
    struct volume *v = handle;
    char size[KT_SIZE_TEXT_BYTES];
    return nbdkit_printf_intern("Kenter volume %s, %s", v->name,
                                kt_size_format(v->size, size));
}

static int block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
                      uint32_t *maximum)
{
    (void)handle;
    *minimum = *preferred = KT_SECTOR_BYTES;
    *maximum = 32u << 20;
    return 0;
}

static int yes(void *handle)
{
    (void)handle;
    return 1;
}

static int no(void *handle)
{
    (void)handle;
    return 0;
}

static int can_fua(void *handle)
{
    (void)handle;
    return NBDKIT_FUA_NATIVE;
}

static int can_cache(void *handle)
{
    (void)handle;
    return NBDKIT_CACHE_EMULATE;
}

/* ---- data ---- */

static int plugin_pread(void *handle, void *buf, uint32_t count,
                        uint64_t offset, uint32_t flags)
{
    struct engine_req r = {
        .op = ENGINE_READ, .off = offset, .len = count, .buf = buf};
    (void)flags;
    return volume_do(handle, &r);
}

static uint8_t fua(uint32_t flags)
{
    return flags & NBDKIT_FLAG_FUA ? ENGINE_F_FUA : 0;
}

static int plugin_pwrite(void *handle, const void *buf, uint32_t count,
                         uint64_t offset, uint32_t flags)
{
    struct engine_req r = {.op = ENGINE_WRITE,
                           .flags = fua(flags),
                           .off = offset,
                           .len = count,
                           .buf = (uint8_t *)(uintptr_t)buf};
    return volume_do(handle, &r);
}

static int plugin_zero(void *handle, uint32_t count, uint64_t offset,
                       uint32_t flags)
{
    struct engine_req r = {
        .op = ENGINE_ZERO, .flags = fua(flags), .off = offset, .len = count};
    if (!(flags & NBDKIT_FLAG_MAY_TRIM))
        r.flags |= ENGINE_F_NO_HOLE;
    return volume_do(handle, &r);
}

static int plugin_trim(void *handle, uint32_t count, uint64_t offset,
                       uint32_t flags)
{
    struct engine_req r = {
        .op = ENGINE_TRIM, .flags = fua(flags), .off = offset, .len = count};
    return volume_do(handle, &r);
}

static int plugin_flush(void *handle, uint32_t flags)
{
    struct engine_req r = {.op = ENGINE_FLUSH};
    (void)flags;
    return volume_do(handle, &r);
}

/* Adds the runs of one answer, cut to [*at, end). */
static int add_runs(const struct engine_req *r, uint64_t *at, uint64_t end,
                    struct nbdkit_extents *extents)
{
    uint64_t pos = r->off - r->off % KT_SECTOR_BYTES;
    for (uint32_t i = 0; i < r->n_rows && *at < end; i++) {
        uint32_t kind = r->rows[i] & 3, type = 0;
        pos += (uint64_t)(r->rows[i] >> 2) * KT_SECTOR_BYTES;
        if (pos <= *at)
            continue;
        uint64_t to = pos < end ? pos : end;
        if (kind != 1)
            type = NBDKIT_EXTENT_ZERO | (kind == 0 ? NBDKIT_EXTENT_HOLE : 0);
        if (nbdkit_add_extent(extents, *at, to - *at, type) < 0)
            return -1;
        *at = to;
    }
    return 0;
}

static int plugin_extents(void *handle, uint32_t count, uint64_t offset,
                          uint32_t flags, struct nbdkit_extents *extents)
{
    uint64_t at = offset, end = offset + count;
    uint32_t *rows = malloc(KT_STAT_ROWS_MAX * sizeof(*rows));
    int ret = rows ? 0 : -1;
    /* An answer may stop short, and does at the end of a segment. A reply
     * that covers less than was asked is good too. */
    for (unsigned i = 0; ret == 0 && at < end && i < STATS_MAX; i++) {
        struct engine_req r = {.op = ENGINE_STAT,
                               .off = at,
                               .len = end - at,
                               .rows = rows,
                               .rows_max = KT_STAT_ROWS_MAX};
        ret = volume_do(handle, &r);
        if (ret == 0)
            ret = add_runs(&r, &at, end, extents);
        if (flags & NBDKIT_FLAG_REQ_ONE)
            break;
    }
    free(rows);
    return ret;
}

static struct nbdkit_plugin plugin = {
    .name = "kenter",
    .longname = "Kenter replicated volumes",
    .description = "serves volumes kept on several nodes by chain replication",
    .version = KENTER_VERSION,
    .magic_config_key = "volume",
    .config = config,
    .config_complete = config_complete,
    .config_help = CONFIG_HELP,
    .dump_plugin = dump_plugin,
    .get_ready = get_ready,
    .after_fork = after_fork,
    .cleanup = volumes_stop,
    .unload = unload,
    .preconnect = preconnect,
    .list_exports = list_exports,
    .default_export = default_export,
    .open = open_volume,
    .close = close_volume,
    .export_description = export_description,
    .get_size = get_size,
    .block_size = block_size,
    .is_rotational = no,
    .can_write = yes,
    .can_flush = yes,
    .can_trim = yes,
    .can_zero = yes,
    .can_fast_zero = yes,
    .can_extents = yes,
    .can_fua = can_fua,
    .can_cache = can_cache,
    .can_multi_conn = yes,
    .pread = plugin_pread,
    .pwrite = plugin_pwrite,
    .flush = plugin_flush,
    .trim = plugin_trim,
    .zero = plugin_zero,
    .extents = plugin_extents,
    .errno_is_preserved = 1,
};

NBDKIT_REGISTER_PLUGIN(plugin)
