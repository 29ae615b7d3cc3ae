/* SPDX-License-Identifier: BSD-3-Clause */
/* The caller's side: starts a kenter-attachd and hears how it went, sends
 * orders to one that runs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/attach.h"
#include "attach/device.h"
#include "attach/info.h"
#include "attach/kernel.h"
#include "attach/up.h"
#include "lib/base/err.h"
#include "lib/base/os.h"

#ifndef KENTER_SBINDIR
#define KENTER_SBINDIR "/usr/sbin"
#endif

#define ANSWER_BYTES 1024u
#define ORDER_MS 180000 /* a flush of everything, and the giving back */

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

/* After a silence: it has not ended either. */
static bool still_open(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 0;
}

bool up_held(const char *run_dir, const char *name)
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
    char no_program[3 * ATTACH_PATH_BYTES]; /* the answer when it cannot run */
    const char *argv[ARGS_MAX];
};

static void make_command(struct command *c, const struct attach_request *q,
                         int out)
{
    unsigned n = 0;

    program(c->path, sizeof(c->path));
    snprintf(c->wait, sizeof(c->wait), "%u", q->wait_s);
    snprintf(c->fd, sizeof(c->fd), "%d", out);
    snprintf(c->no_program, sizeof(c->no_program),
             "error %d the program %s cannot be run; say in KENTER_BINDIR "
             "where it is\n",
             ENOENT, c->path);
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
    if (q->plugin)
        c->argv[n++] = "--plugin", c->argv[n++] = q->plugin;
    if (q->steal)
        c->argv[n++] = "--steal";
    if (q->adopt)
        c->argv[n++] = "--adopt";
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
    ssize_t n = write(out, c->no_program, strlen(c->no_program));
    (void)n; /* without it "ended without a word" is said */
    _exit(127);
}

/* Twice forked: the second is nobody's child. Returns what it says. */
static int start(const struct attach_request *q, int *ret_fd)
{
    struct command c;
    int out[2];

    if (pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    make_command(&c, q, out[1]);
    pid_t pid = fork();
    if (pid == 0)
        run(&c, out[1]);
    int r = pid < 0 ? -errno : 0;
    close(out[1]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    *ret_fd = out[0];
    return r;
}

int up_start(const struct attach_request *q, int timeout_ms,
             char ret_dev[ATTACH_PATH_BYTES], char ret_why[ATTACH_WHY_BYTES])
{
    char text[ANSWER_BYTES], answer[ANSWER_BYTES], log[INFO_PATH_BYTES];
    int fd = -1;

    int r = start(q, &fd);
    if (r < 0)
        attach_why(ret_why, r, "kenter-attachd cannot be started: %s",
                   kt_strerror(r));
    size_t n = r < 0 ? 0 : read_all(fd, text, sizeof(text), timeout_ms);
    bool silent = n == 0 && timeout_ms >= 0 && fd >= 0 && still_open(fd);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        return r;
    if (silent)
        return attach_why(ret_why, -ETIMEDOUT,
                          "kenter-attachd is still at it after %d s",
                          timeout_ms / 1000);
    r = take_answer(text, answer, sizeof(answer));
    if (r == -EPROTO && info_path(q->run_dir, q->name, "attachd.log", log) == 0)
        return attach_why(ret_why, r,
                          "kenter-attachd ended without a word; see %s", log);
    if (r < 0)
        return attach_why(ret_why, r, "%s", r == -EPROTO ? text : answer);
    snprintf(ret_dev, ATTACH_PATH_BYTES, "%.*s", ATTACH_PATH_BYTES - 1, answer);
    return 0;
}

int attach_up(const struct attach_request *q, char ret_dev[ATTACH_PATH_BYTES],
              char ret_why[ATTACH_WHY_BYTES])
{
    struct attach_found f;

    if (geteuid() != 0)
        return attach_why(ret_why, -EPERM,
                          "devices of the kernel are made by root only; run "
                          "this as root, or serve the volume with nbdkit to "
                          "programs that speak NBD themselves");
    if (!up_held(q->run_dir, q->name))
        /* It has its own limits of time; its end closes the pipe too. */
        return up_start(q, -1, ret_dev, ret_why);
    if (attach_find(q->run_dir, q->name, &f) < 0)
        return attach_why(ret_why, -EBUSY,
                          "volume %s is being attached or detached here just "
                          "now; try again in a moment",
                          q->name);
    snprintf(ret_dev, ATTACH_PATH_BYTES, "%s", f.device);
    return attach_why(ret_why, -EALREADY,
                      "volume %s is attached here already, as %s", q->name,
                      ret_dev);
}

/* ---- down ---- */

/* Where its kenter-attachd has died another one has to be there first, or
 * what is left be cleared away: -ENOENT. */
static int take_up(const char *run_dir, const char *name, char *ret_why)
{
    char dir[INFO_PATH_BYTES], path[INFO_PATH_BYTES], dev[ATTACH_PATH_BYTES];
    struct attach_request q = {.run_dir = run_dir, .name = name, .adopt = true};
    struct attach_info i;

    int r = info_path(run_dir, name, "info.json", path);
    if (r == 0)
        r = info_path(run_dir, name, NULL, dir);
    if (r < 0)
        return attach_why(ret_why, r,
                          "the name of the run directory is too long");
    if (access(dir, F_OK) < 0)
        return attach_why(ret_why, -ENOENT, "volume %s is not attached here",
                          name);
    if (up_held(run_dir, name))
        return 0;
    if (info_load(path, &i) == 0)
        q.id = i.id;
    else
        q.id.b[0] = 1; /* nobody's */
    r = attach_up(&q, dev, ret_why);
    return r == -EALREADY ? 0 : r;
}

int attach_down(const char *run_dir, const char *name, bool force,
                char ret_why[ATTACH_WHY_BYTES])
{
    char path[INFO_PATH_BYTES], text[ANSWER_BYTES], answer[ANSWER_BYTES];
    struct kt_addr a = {.kind = KT_ADDR_UNIX};

    int r = take_up(run_dir, name, ret_why);
    if (r == 0)
        r = info_path(run_dir, name, "control", path);
    if (r < 0)
        return r;
    snprintf(a.host, sizeof(a.host), "%.*s", (int)sizeof(a.host) - 1, path);
    int fd = kt_connect_wait(&a, 5000);
    if (fd < 0)
        return attach_why(ret_why, fd,
                          "the kenter-attachd of volume %s does not listen "
                          "(%s): it is just starting or ending; try again in a "
                          "moment",
                          name, kt_strerror(fd));
    dprintf(fd, "detach%s\n", force ? " force" : "");
    size_t n = read_all(fd, text, sizeof(text), ORDER_MS);
    close(fd);
    if (!n)
        return attach_why(ret_why, -ETIMEDOUT,
                          "the kenter-attachd of volume %s gives no answer; "
                          "see attachd.log beside %s",
                          name, path);
    r = take_answer(text, answer, sizeof(answer));
    return r < 0 ? attach_why(ret_why, r, "%s", answer) : 0;
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
