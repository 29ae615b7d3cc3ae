/* SPDX-License-Identifier: BSD-3-Clause */
/* The sandbox's directory: what is where, and what may be removed. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/sandbox.h"
#include "lib/base/os.h"

#define MARK "kenter-sandbox"

int sandbox_find(const struct cli *c, struct sandbox *ret_s)
{
    const char *dir = cli_value(c, "dir");
    const char *home = getenv("HOME");
    char cwd[SANDBOX_DIR_MAX];
    int n;

    memset(ret_s, 0, sizeof(*ret_s));
    ret_s->lock_fd = -1;
    /* An unset variable in a script must not mean the default sandbox. */
    if (dir && !*dir)
        return cli_usage("--dir is empty: say where the sandbox is.");
    if (!dir)
        dir = getenv("KENTER_SANDBOX");
    if (dir && dir[0] == '/') {
        n = snprintf(ret_s->dir, sizeof(ret_s->dir), "%s", dir);
    } else if (dir && dir[0]) {
        if (!getcwd(cwd, sizeof(cwd)))
            return cli_fail("the working directory cannot be told (%s): give "
                            "--dir as a whole path.",
                            strerror(errno));
        n = snprintf(ret_s->dir, sizeof(ret_s->dir), "%s/%s", cwd, dir);
    } else if (home && home[0] == '/') {
        n = snprintf(ret_s->dir, sizeof(ret_s->dir),
                     "%s/.local/share/kenter/sandbox", home);
    } else {
        return cli_fail("HOME is not set: say with --dir DIR where the "
                        "sandbox is.");
    }
    if (n < 0 || (size_t)n >= sizeof(ret_s->dir))
        return cli_fail("the path of the sandbox is too long: choose one "
                        "under %d characters with --dir.",
                        SANDBOX_DIR_MAX);
    while (n > 1 && ret_s->dir[n - 1] == '/')
        ret_s->dir[--n] = '\0';
    return CLI_DONE;
}

int sandbox_read(struct sandbox *s)
{
    char path[SANDBOX_PATH_MAX];
    char *text;

    int r = kt_read_file(sandbox_file(s, "sandbox.json", path), 65536, &text);
    if (r < 0)
        return r == -ENOTDIR ? -ENOENT : r;
    json_t *o = json_loads(text, 0, NULL);
    free(text);
    s->nodes = (unsigned)cli_js_uint(o, "nodes");
    s->replicas = (unsigned)cli_js_uint(o, "replicas");
    s->segment = cli_js_uint(o, "segment");
    s->capacity = cli_js_uint(o, "capacity");
    if (strcmp(cli_js_text(o, "kind"), MARK) != 0 || s->nodes < 1 ||
        s->nodes > SANDBOX_NODES_MAX || s->replicas < 1)
        r = -EINVAL;
    json_decref(o);
    return r;
}

int sandbox_load(const struct cli *c, struct sandbox *ret_s)
{
    int r = sandbox_find(c, ret_s);
    if (r != CLI_DONE)
        return r;
    r = sandbox_read(ret_s);
    if (r == -ENOENT)
        return cli_fail("there is no sandbox in %s: \"kenter sandbox up\" "
                        "makes one, --dir names another place.",
                        ret_s->dir);
    if (r < 0)
        return cli_fail("%s/sandbox.json cannot be used (%s): this is not a "
                        "sandbox; --dir names another place.",
                        ret_s->dir, kt_strerror(r));
    return CLI_DONE;
}

int sandbox_save(const struct sandbox *s)
{
    char path[SANDBOX_PATH_MAX];
    json_t *o = json_pack("{s:s, s:i, s:i, s:i, s:I, s:I}", "kind", MARK,
                          "version", 1, "nodes", (int)s->nodes, "replicas",
                          (int)s->replicas, "segment", (json_int_t)s->segment,
                          "capacity", (json_int_t)s->capacity);
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;

    json_decref(o);
    int r =
        text ? kt_write_file(sandbox_file(s, "sandbox.json", path), text, 0600)
             : -ENOMEM;
    free(text);
    return r;
}

int sandbox_lock(struct sandbox *s)
{
    int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cli_fail("%s cannot be opened: %s.", s->dir, strerror(errno));
    while (flock(fd, LOCK_EX) < 0) {
        if (errno == EINTR)
            continue;
        int r = cli_fail("%s cannot be locked: %s.", s->dir, strerror(errno));
        close(fd);
        return r;
    }
    s->lock_fd = fd;
    return CLI_DONE;
}

static int remove_one(const char *path, const struct stat *st, int flag,
                      struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return flag == FTW_DP ? rmdir(path) : unlink(path);
}

/* Never follows a symbolic link nor leaves the file system. */
static int remove_tree(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 &&
        errno != ENOENT)
        return -errno;
    return 0;
}

int sandbox_wipe(const struct sandbox *s)
{
    char path[SANDBOX_PATH_MAX];
    int r = 0;

    for (unsigned i = 0; i <= s->nodes && r == 0; i++)
        r = remove_tree(sandbox_path(s, i, NULL, path));
    if (r == 0 && unlink(sandbox_file(s, "context.json", path)) < 0 &&
        errno != ENOENT)
        r = -errno;
    /* The mark goes last: a wipe that was cut short can be repeated. */
    if (r == 0 && unlink(sandbox_file(s, "sandbox.json", path)) < 0)
        r = -errno;
    if (r < 0)
        return cli_fail("%s could not be removed: %s.", s->dir, kt_strerror(r));
    if (rmdir(s->dir) < 0)
        return cli_fail("the sandbox is removed, but %s stays (%s): other "
                        "files are in it.",
                        s->dir, strerror(errno));
    return CLI_DONE;
}

const char *sandbox_name(unsigned which, char *ret)
{
    if (which == 0)
        snprintf(ret, SANDBOX_NAME_MAX, "hub");
    else
        snprintf(ret, SANDBOX_NAME_MAX, "n%u", which);
    return ret;
}

int sandbox_which(const struct sandbox *s, const char *name)
{
    char text[SANDBOX_NAME_MAX];

    for (unsigned i = 0; i <= s->nodes; i++) {
        if (strcmp(sandbox_name(i, text), name) == 0)
            return (int)i;
    }
    return -1;
}

const char *sandbox_path(const struct sandbox *s, unsigned which,
                         const char *file, char *ret)
{
    char name[SANDBOX_NAME_MAX];

    snprintf(ret, SANDBOX_PATH_MAX, "%s/%s%s%s", s->dir,
             sandbox_name(which, name), file ? "/" : "", file ? file : "");
    return ret;
}

const char *sandbox_file(const struct sandbox *s, const char *file, char *ret)
{
    snprintf(ret, SANDBOX_PATH_MAX, "%s/%s", s->dir, file);
    return ret;
}

bool sandbox_socket(const struct sandbox *s, unsigned which,
                    struct kt_addr *ret_addr)
{
    char path[SANDBOX_PATH_MAX];
    size_t n = strlen(sandbox_path(
        s, which, which == 0 ? "hub.sock" : "replicator.sock", path));

    /* As long as sun_path of a sockaddr_un. */
    if (n >= sizeof(ret_addr->host))
        return false;
    memset(ret_addr, 0, sizeof(*ret_addr));
    ret_addr->kind = KT_ADDR_UNIX;
    memcpy(ret_addr->host, path, n + 1);
    return true;
}

unsigned sandbox_addresses(const struct sandbox *s, unsigned which,
                           const char *file,
                           struct kt_addr ret[SANDBOX_ADDRS_MAX])
{
    char path[SANDBOX_PATH_MAX];
    char *text, *rest = NULL;
    unsigned n = 0;

    if (kt_read_file(sandbox_path(s, which, file, path), 4096, &text) < 0)
        return 0;
    for (char *line = strtok_r(text, " \t\n", &rest);
         line && n < SANDBOX_ADDRS_MAX; line = strtok_r(NULL, " \t\n", &rest)) {
        if (kt_addr_parse(line, &ret[n]) == 0)
            n++;
    }
    free(text);
    return n;
}

int sandbox_write_context(const struct sandbox *s, const struct kt_id *cluster)
{
    struct kt_addr a[SANDBOX_ADDRS_MAX];
    char path[SANDBOX_PATH_MAX], addr[KT_ADDR_TEXT_BYTES];
    char hex[KT_ID_HEX_BYTES];
    char host[KT_NAME_MAX + 1] = "";
    json_t *hubs = json_array();

    /* The socket first: it needs no port. */
    unsigned n = sandbox_addresses(s, 0, "address", a);
    for (int kind = KT_ADDR_UNIX; kind >= KT_ADDR_TCP; kind--) {
        for (unsigned i = 0; i < n; i++) {
            if ((int)a[i].kind == kind)
                json_array_append_new(hubs,
                                      json_string(kt_addr_format(&a[i], addr)));
        }
    }
    if (gethostname(host, sizeof(host) - 1) < 0 || !kt_name_valid(host))
        snprintf(host, sizeof(host), "sandbox");
    json_t *o =
        json_pack("{s:i, s:s, s:s, s:o, s:{s:i}}", "version", 1, "cluster",
                  kt_id_hex(cluster, hex), "node", host, "hub", hubs,
                  "defaults", "replicas", (int)s->replicas);
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    json_decref(o);
    int r =
        text ? kt_write_file(sandbox_file(s, "context.json", path), text, 0600)
             : -ENOMEM;
    free(text);
    if (r < 0)
        return cli_fail("%s cannot be written: %s.", path, kt_strerror(r));
    return CLI_DONE;
}
