/* SPDX-License-Identifier: BSD-3-Clause */
/* The caller's side: starts a kenter-attachd and hears how it went, sends
 * orders to one that runs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/attach.h"
#include "attach/device.h"
#include "attach/info.h"
#include "lib/base/err.h"
#include "lib/base/os.h"

#ifndef KENTER_SBINDIR
#define KENTER_SBINDIR "/usr/sbin"
#endif

#define ANSWER_BYTES 1024u
#define ORDER_MS 180000 /* a flush of everything, and the giving back */

KT_PRINTF(3, 4)
static int why(char *ret_why, int err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(ret_why, ATTACH_WHY_BYTES, fmt, ap);
    va_end(ap);
    return err;
}

/* "ok TEXT" or "error NUMBER TEXT". */
static int take_answer(char *text, char *ret_text, size_t size)
{
    int err, at = 0;

    text[strcspn(text, "\n")] = 0;
    if (strncmp(text, "ok", 2) == 0) {
        snprintf(ret_text, size, "%s", text[2] ? text + 3 : "");
        return 0;
    }
    if (sscanf(text, "error %d %n", &err, &at) != 1 || err <= 0 || !at)
        return -EPROTO;
    snprintf(ret_text, size, "%s", text + at);
    return -err;
}

static size_t read_all(int fd, char *buf, size_t size, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t n = 0;

    while (n < size - 1 && poll(&p, 1, timeout_ms) > 0) {
        ssize_t k = read(fd, buf + n, size - 1 - n);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    buf[n] = 0;
    return n;
}

/* Whether a kenter-attachd has the volume. */
static bool is_held(const char *run_dir, const char *name)
{
    char path[INFO_PATH_BYTES];

    if (info_path(run_dir, name, "lock", path) < 0)
        return false;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

bool attach_device_valid(const char *path)
{
    return device_index(path) >= 0;
}

/* ---- up ---- */

/* The program: in KENTER_BINDIR, beside this one, or where it is installed. */
static const char *program(char *ret, size_t size)
{
    const char *dir = getenv("KENTER_BINDIR");
    char self[ATTACH_PATH_BYTES];

    if (dir && *dir) {
        snprintf(ret, size, "%s/kenter-attachd", dir);
        return ret;
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = 0;
        *strrchr(self, '/') = 0;
        snprintf(ret, size, "%s/kenter-attachd", self);
        if (access(ret, X_OK) == 0)
            return ret;
    }
    snprintf(ret, size, "%s/kenter-attachd", KENTER_SBINDIR);
    return ret;
}

#define ARGS_MAX 24

struct command {
    char path[2 * ATTACH_PATH_BYTES], id[KT_ID_HEX_BYTES], wait[16], fd[16];
    const char *argv[ARGS_MAX];
};

static void make_command(struct command *c, const struct attach_request *q,
                         int out)
{
    unsigned n = 0;

    program(c->path, sizeof(c->path));
    snprintf(c->wait, sizeof(c->wait), "%u", q->wait_s);
    snprintf(c->fd, sizeof(c->fd), "%d", out);
    c->argv[n++] = "kenter-attachd";
    c->argv[n++] = "--volume", c->argv[n++] = q->name;
    c->argv[n++] = "--id", c->argv[n++] = kt_id_hex(&q->id, c->id);
    c->argv[n++] = "--wait", c->argv[n++] = c->wait;
    c->argv[n++] = "--ready-fd", c->argv[n++] = c->fd;
    if (q->run_dir)
        c->argv[n++] = "--run-dir", c->argv[n++] = q->run_dir;
    if (q->context)
        c->argv[n++] = "--context", c->argv[n++] = q->context;
    if (q->device)
        c->argv[n++] = "--device", c->argv[n++] = q->device;
    if (q->steal)
        c->argv[n++] = "--steal";
    assert(n < ARGS_MAX);
    c->argv[n] = NULL;
}

/* The child's side, which takes no memory and no lock: the caller may have
 * threads. Twice forked, so that it is nobody's child but init's. */
static void run(const struct command *c, int out)
{
    setsid();
    pid_t pid = fork();
    if (pid != 0)
        _exit(pid < 0);
    fcntl(out, F_SETFD, 0);
    execv(c->path, (char *const *)(uintptr_t)c->argv);
    dprintf(out,
            "error %d the program %s cannot be run: %s; say in "
            "KENTER_BINDIR where it is\n",
            errno, c->path, strerror(errno));
    _exit(127);
}

int attach_up(const struct attach_request *q, char ret_dev[ATTACH_PATH_BYTES],
              char ret_why[ATTACH_WHY_BYTES])
{
    char text[ANSWER_BYTES], answer[ANSWER_BYTES];
    struct attach_found f;
    struct command c;
    int out[2];

    if (geteuid() != 0)
        return why(ret_why, -EPERM,
                   "devices of the kernel are made by root only; run this as "
                   "root, or serve the volume with nbdkit to programs that "
                   "speak NBD themselves");
    if (is_held(q->run_dir, q->name)) {
        if (attach_find(q->run_dir, q->name, &f) < 0)
            return why(ret_why, -EBUSY,
                       "volume %s is being attached or detached here just now; "
                       "try again in a moment",
                       q->name);
        snprintf(ret_dev, ATTACH_PATH_BYTES, "%s", f.device);
        return why(ret_why, -EALREADY,
                   "volume %s is attached here already, as %s", q->name,
                   ret_dev);
    }
    if (pipe2(out, O_CLOEXEC) < 0)
        return why(ret_why, -errno, "no pipe: %s", strerror(errno));
    make_command(&c, q, out[1]);
    pid_t pid = fork();
    if (pid == 0)
        run(&c, out[1]);
    close(out[1]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    /* It has its own limits of time; its end closes the pipe too. */
    read_all(out[0], text, sizeof(text), -1);
    close(out[0]);
    int r = take_answer(text, answer, sizeof(answer));
    if (r == -EPROTO)
        return why(ret_why, r,
                   "kenter-attachd ended without a word; see its log in %s",
                   q->run_dir ? q->run_dir : ATTACH_RUN_DIR);
    if (r < 0)
        return why(ret_why, r, "%s", answer);
    snprintf(ret_dev, ATTACH_PATH_BYTES, "%.*s", ATTACH_PATH_BYTES - 1, answer);
    return 0;
}

/* ---- down ---- */

int attach_down(const char *run_dir, const char *name, bool force,
                char ret_why[ATTACH_WHY_BYTES])
{
    char path[INFO_PATH_BYTES], text[ANSWER_BYTES], answer[ANSWER_BYTES];
    struct kt_addr a = {.kind = KT_ADDR_UNIX};

    int r = info_path(run_dir, name, "control", path);
    if (r < 0)
        return why(ret_why, r, "the name of the run directory is too long");
    snprintf(a.host, sizeof(a.host), "%.*s", (int)sizeof(a.host) - 1, path);
    if (access(path, F_OK) < 0)
        return why(ret_why, -ENOENT, "volume %s is not attached here", name);
    int fd = kt_connect_wait(&a, 5000);
    if (fd < 0)
        return why(ret_why, fd,
                   "the kenter-attachd of volume %s is gone (%s); \"kenter "
                   "volume attach %s\" starts another one for its device, "
                   "then detach it",
                   name, kt_strerror(fd), name);
    dprintf(fd, "detach%s\n", force ? " force" : "");
    if (!read_all(fd, text, sizeof(text), ORDER_MS)) {
        close(fd);
        return why(ret_why, -ETIMEDOUT,
                   "the kenter-attachd of volume %s gives no answer; see "
                   "attachd.log beside %s",
                   name, path);
    }
    close(fd);
    r = take_answer(text, answer, sizeof(answer));
    return r < 0 ? why(ret_why, r, "%s", answer) : 0;
}

/* ---- finding ---- */

static bool load(const char *run_dir, const char *name, struct attach_info *i)
{
    char path[INFO_PATH_BYTES];

    return kt_name_valid(name) &&
           info_path(run_dir, name, "info.json", path) == 0 &&
           info_load(path, i) == 0;
}

int attach_find(const char *run_dir, const char *name_or_device,
                struct attach_found *ret_found)
{
    int64_t index = device_index(name_or_device);
    char path[INFO_PATH_BYTES], is[NBDNL_BACKEND_BYTES], id[KT_ID_HEX_BYTES];
    struct attach_info i;
    bool found = false;

    if (index < 0) {
        found = load(run_dir, name_or_device, &i);
    } else if (info_path(run_dir, NULL, NULL, path) == 0) {
        struct dirent *e;
        DIR *d = opendir(path);
        while (d && !found && (e = readdir(d)))
            found = load(run_dir, e->d_name, &i) && i.index == (uint64_t)index;
        if (d)
            closedir(d);
    }
    if (!found || device_backend(i.index, is) < 0 ||
        strcmp(is, kt_id_hex(&i.id, id)) != 0)
        return -ENOENT;
    memset(ret_found, 0, sizeof(*ret_found));
    memcpy(ret_found->name, i.name, sizeof(i.name));
    ret_found->id = i.id;
    snprintf(ret_found->device, sizeof(ret_found->device), "/dev/nbd%u",
             i.index);
    return 0;
}
