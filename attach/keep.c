/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices whose kenter-attachd has died get another one. Only such: what is
 * being attached or detached has one, which holds the lock. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "attach/info.h"
#include "attach/up.h"
#include "lib/base/text.h"

#define KEEP_WAIT_MS 10000
/* Something without a record: begun, or left. */
#define BEGUN_S 10

/* What is there is worth a look. */
static bool is_left(const char *run_dir, const char *name,
                    struct attach_info *ret_i)
{
    char path[INFO_PATH_BYTES], dir[INFO_PATH_BYTES];
    struct stat st;

    if (!kt_name_valid(name) ||
        info_path(run_dir, name, "info.json", path) < 0 ||
        info_path(run_dir, name, NULL, dir) < 0)
        return false;
    int r = info_load(path, ret_i);
    if (r == -ENOENT)
        return stat(dir, &st) == 0 && time(NULL) - st.st_mtime > BEGUN_S &&
               !up_held(run_dir, name);
    return r == 0 && !up_held(run_dir, name);
}

unsigned attach_keep(const char *run_dir, const char *plugin,
                     void (*tell)(void *arg, const char *name, int err,
                                  const char *text),
                     void *arg)
{
    char path[INFO_PATH_BYTES], dev[ATTACH_PATH_BYTES], why[ATTACH_WHY_BYTES];
    struct attach_info i;
    const struct dirent *e;
    unsigned failed = 0;

    if (info_path(run_dir, NULL, NULL, path) < 0)
        return 0;
    DIR *d = opendir(path);
    while (d && (e = readdir(d))) {
        memset(&i, 0, sizeof(i));
        if (e->d_name[0] == '.' || !is_left(run_dir, e->d_name, &i))
            continue;
        if (kt_id_is_zero(&i.id))
            i.id.b[0] = 1; /* nobody's: there is nothing but to clear away */
        const struct attach_request q = {.run_dir = run_dir,
                                         .name = e->d_name,
                                         .id = i.id,
                                         .plugin = plugin,
                                         .adopt = true};
        int r = up_start(&q, KEEP_WAIT_MS, dev, why);
        if (r == -ENOENT)
            continue; /* cleared away */
        failed += r < 0;
        tell(arg, e->d_name, r, r < 0 ? why : dev);
    }
    if (d)
        closedir(d);
    return failed;
}
