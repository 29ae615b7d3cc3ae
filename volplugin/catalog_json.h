/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes as JSON: rows of the catalogue, and what the hub says. */
#ifndef KT_VOLPLUGIN_CATALOG_JSON_H
#define KT_VOLPLUGIN_CATALOG_JSON_H

#include <jansson.h>

#include "lib/base/err.h"
#include "lib/base/text.h"
#include "volplugin/catalog.h"

/* Ownership: the caller's reference. */
json_t *catalog_json(const struct cat_volume *v);
/* 0 or KT_E_CORRUPT. */
int catalog_from_json(const char *name, const json_t *o,
                      struct cat_volume *ret) KT_MUST_CHECK;
/* A volume of the hub's volume-ls or volume-inspect. 0 or KT_E_PROTO. */
int catalog_from_hub(const json_t *o, struct cat_volume *ret) KT_MUST_CHECK;
/* Options that only a node is told, from an older spec of the same volume,
 * unless v has its own. */
void catalog_merge_local(struct cat_volume *v, const struct vol_spec *old);

#endif
