/* SPDX-License-Identifier: BSD-3-Clause */
/* Names and sizes of volumes, for replicators: they write them down beside
 * their copies, so that those mean something without a hub. */
#include <string.h>

#include "hub/daemon/daemon.h"

static const struct hub_volume *with_id(const struct daemon *d,
                                        const struct kt_id *id)
{
    for (uint32_t i = 0; i < d->hub.volumes_used; i++) {
        const struct hub_volume *v = &d->hub.volumes[i];
        if (v->used && kt_id_eq(&v->row.id, id))
            return v;
    }
    return NULL;
}

json_t *show_names(const struct daemon *d, const json_t *ids)
{
    json_t *a = json_array();
    const json_t *v;
    size_t i;

    json_array_foreach(ids, i, v)
    {
        const char *hex = json_string_value(v);
        struct kt_id id;
        if (i == NAMES_ASKED_MAX)
            break;
        if (!hex || kt_id_parse(hex, &id) < 0)
            continue;
        const struct hub_volume *vol = with_id(d, &id);
        if (vol)
            json_array_append_new(a, json_pack("[s, I, s]", hex,
                                               (json_int_t)vol->row.size,
                                               vol->row.name));
    }
    return a;
}
