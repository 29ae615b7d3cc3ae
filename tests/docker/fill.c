/* SPDX-License-Identifier: BSD-3-Clause */
/* fill DIR N: a catalogue of N volumes, v00000 and on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "volplugin/catalog.h"

static bool none(void *arg, const struct kt_id *id)
{
    (void)arg;
    (void)id;
    return false;
}

int main(int argc, char **argv)
{
    char why[VOL_WHY_BYTES] = "usage: fill DIR N";
    unsigned n = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    struct cat_volume *v = calloc(n + 1, sizeof(*v));
    struct catalog *c;

    int err = n && v ? catalog_open(argv[1], &c, why, sizeof(why)) : -1;
    for (unsigned i = 0; i < n && err == 0; i++) {
        snprintf(v[i].name, sizeof(v[i].name), "v%05u", i);
        v[i].id.b[0] = 1;
        memcpy(&v[i].id.b[4], &i, sizeof(i));
        v[i].created_s = 1700000000;
        snprintf(v[i].state, sizeof(v[i].state), "healthy");
        err = vol_spec_add(&v[i].spec, "size", "10G", why);
    }
    if (err == 0) {
        err = catalog_replace(c, v, n, catalog_changes(c), none, NULL);
        snprintf(why, sizeof(why), "%s", kt_strerror(err));
        catalog_free(c);
    }
    free(v);
    if (err < 0)
        fprintf(stderr, "fill: %s\n", why);
    return err < 0;
}
