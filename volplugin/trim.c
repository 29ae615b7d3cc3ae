/* SPDX-License-Identifier: BSD-3-Clause */
/* Space that files no longer use goes back to the stores, once a day for each
 * mounted volume. Not with every delete (the option discard of mount): each
 * commit of the journal sends its trims then. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"
#include "volplugin/fs.h"

#define WAIT_MS 200

/* The volume in the i-th slot, if it is mounted. */
static bool mounted_one(struct plugin *p, uint32_t i, struct kt_id *ret_id,
                        char ret_dir[ATTACH_PATH_BYTES])
{
    pthread_mutex_lock(&p->lock);
    const struct vol_slot *s = &p->table.slots[i];
    bool up = s->used && s->phase == VOL_UP;
    if (up)
        *ret_id = s->volume;
    pthread_mutex_unlock(&p->lock);
    return up && *work_mountpoint(p, ret_id, ret_dir);
}

/* Until it has ended, however long its device stalls; or the plugin stops, or
 * the volume is wanted down, which a trim would hold up. */
static void trim_one(struct plugin *p, uint32_t i)
{
    char dir[ATTACH_PATH_BYTES], hex[KT_ID_HEX_BYTES];
    uint64_t begin = kt_now_ms();
    struct kt_id id, now;
    struct kt_apart a;

    if (!mounted_one(p, i, &id, dir))
        return;
    int64_t r = fs_trim_begin(&a, dir);
    bool ended = r < 0;
    while (!ended && mounted_one(p, i, &now, dir) && kt_id_eq(&now, &id)) {
        ended = kt_apart_wait(&a, 0, &r);
        if (!ended && plugin_wait(p, WAIT_MS))
            break;
    }
    if (!ended) {
        kt_apart_leave(&a);
        return;
    }
    if (r < 0)
        kt_log(KT_LOG_WARN, "not_trimmed", "volume_id=%s err=\"%s\"",
               kt_id_hex(&id, hex), kt_strerror((int)r));
    else
        kt_log(KT_LOG_INFO, "trimmed", "volume_id=%s bytes=%lld ms=%llu",
               kt_id_hex(&id, hex), (long long)r,
               (unsigned long long)(kt_now_ms() - begin));
}

void *trim_run(void *arg)
{
    struct plugin *p = arg;
    struct kt_id id;

    kt_id_random(&id);
    /* Not on all nodes at the same moment. */
    uint64_t wait_s = 1 + id.b[0] * (uint64_t)p->o->trim_s / 256;
    while (!plugin_wait(p, 1000)) {
        if (--wait_s > 0)
            continue;
        for (uint32_t i = 0; i < p->table.n_slots; i++)
            trim_one(p, i);
        wait_s = p->o->trim_s;
    }
    return NULL;
}
