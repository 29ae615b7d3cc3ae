/* SPDX-License-Identifier: BSD-3-Clause */
#include "attach/info.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach/attach.h"
#include "lib/base/os.h"
#include "lib/base/text.h"

#define INFO_VERSION 1
#define INFO_BYTES_MAX 4096
#define SOCKET_PATH_MAX 107u

int info_path(const char *run_dir, const char *name, const char *file,
              char ret[INFO_PATH_BYTES])
{
    const char *env = getenv("KENTER_RUN_DIR");

    if (!run_dir)
        run_dir = env && *env ? env : ATTACH_RUN_DIR;
    if (run_dir[0] != '/')
        return -EINVAL;
    int n = snprintf(ret, INFO_PATH_BYTES, "%s/attach%s%s%s%s", run_dir,
                     name ? "/" : "", name ? name : "", file ? "/" : "",
                     file ? file : "");
    /* The longest name of a socket there has to fit as well. */
    size_t rest = file ? 0 : sizeof("/control") - 1;
    return n < 0 || (size_t)n + rest > SOCKET_PATH_MAX ? -ENAMETOOLONG : 0;
}

int info_save(const char *path, const struct attach_info *i)
{
    char id[KT_ID_HEX_BYTES], boot[KT_ID_HEX_BYTES];

    json_t *o = json_pack(
        "{s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s}", "version",
        INFO_VERSION, "name", i->name, "id", kt_id_hex(&i->id, id), "boot",
        kt_id_hex(&i->boot, boot), "index", (json_int_t)i->index, "size",
        (json_int_t)i->size_bytes, "pid", (json_int_t)i->server_pid, "start",
        (json_int_t)i->server_start, "context", i->context);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    int r = text ? kt_write_file(path, text, 0600) : -ENOMEM;
    free(text);
    json_decref(o);
    return r;
}

static bool take_id(const json_t *o, const char *key, struct kt_id *ret)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s && kt_id_parse(s, ret) == 0;
}

static bool take_number(const json_t *o, const char *key, uint64_t max,
                        uint64_t *ret)
{
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_integer_value(v);

    *ret = (uint64_t)n;
    return json_is_integer(v) && n >= 0 && *ret <= max;
}

static bool take(const json_t *o, struct attach_info *i)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    uint64_t version, index, size, pid, start;

    if (!take_number(o, "version", INFO_VERSION, &version) ||
        version != INFO_VERSION || !kt_name_valid(name) ||
        !take_id(o, "id", &i->id) || !take_id(o, "boot", &i->boot) ||
        !take_number(o, "index", UINT32_MAX - 1, &index) ||
        !take_number(o, "size", KT_VOLUME_BYTES_MAX, &size) ||
        !take_number(o, "pid", INT32_MAX, &pid) ||
        !take_number(o, "start", INT64_MAX, &start))
        return false;
    snprintf(i->name, sizeof(i->name), "%s", name);
    i->index = (uint32_t)index;
    i->size_bytes = size;
    i->server_pid = (pid_t)pid;
    i->server_start = start;
    const char *context = json_string_value(json_object_get(o, "context"));
    int n =
        snprintf(i->context, sizeof(i->context), "%s", context ? context : "");
    if (n < 0 || (size_t)n >= sizeof(i->context))
        return false;
    return true;
}

int info_load(const char *path, struct attach_info *ret_i)
{
    struct attach_info i;
    struct kt_id boot;
    char *text;

    int r = kt_read_file(path, INFO_BYTES_MAX, &text);
    if (r < 0)
        return r;
    json_t *o = json_loads(text, 0, NULL);
    free(text);
    bool good =
        o && take(o, &i) && kt_boot_id(&boot) == 0 && kt_id_eq(&boot, &i.boot);
    json_decref(o);
    if (!good)
        return -EINVAL;
    *ret_i = i;
    return 0;
}
