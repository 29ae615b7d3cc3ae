/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts the daemons of a sandbox and waits for them.
 *
 * A daemon writes the addresses it listens on to a file, and removes it when it
 * ends in peace. What was there once is kept in address.last, from which the
 * port is taken again: others keep reconnecting to it. When the port is no
 * longer free, a second attempt takes any other. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/sandbox.h"
#include "lib/base/os.h"

#define LISTEN_MS 15000u
#define NODES_UP_MS 15000u
#define ARGS_MAX 40

struct args {
    unsigned n;
    char *arg[ARGS_MAX];
};

static void add(struct args *a, const char *text)
{
    assert(a->n + 1 < ARGS_MAX);
    a->arg[a->n] = strdup(text);
    if (!a->arg[a->n++])
        abort(); /* a few hundred bytes do not fit in memory */
}

static void add2(struct args *a, const char *option, const char *value)
{
    add(a, option);
    add(a, value);
}

static void args_release(struct args *a)
{
    for (unsigned i = 0; i < a->n; i++)
        free(a->arg[i]);
    a->n = 0;
}

static void nap(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000,
                               .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* The port it had last time; 0: none yet. */
static uint16_t last_port(const struct sandbox *s, unsigned which)
{
    struct kt_addr a[SANDBOX_ADDRS_MAX];

    unsigned n = sandbox_addresses(s, which, "address.last", a);
    for (unsigned i = 0; i < n; i++) {
        if (a[i].kind == KT_ADDR_TCP)
            return a[i].port;
    }
    return 0;
}

/* What both daemons take. */
static void add_common(struct args *a, const struct sandbox *s, unsigned which,
                       uint16_t port)
{
    char path[SANDBOX_PATH_MAX], text[KT_ADDR_TEXT_BYTES];
    struct kt_addr addr;

    add2(a, "--store", sandbox_path(s, which, "store", path));
    add2(a, "--address-file", sandbox_path(s, which, "address", path));
    if (sandbox_socket(s, which, &addr))
        add2(a, "--listen", kt_addr_format(&addr, text));
    snprintf(text, sizeof(text), "tcp:127.0.0.1:%u", port);
    add2(a, "--listen", text);
}

static void hub_args(struct args *a, const struct sandbox *s, uint16_t port)
{
    char path[SANDBOX_PATH_MAX];
    struct stat st;
    bool first = stat(sandbox_path(s, 0, "store", path), &st) < 0;

    add(a, "kenter-hub");
    add_common(a, s, 0, port);
    if (first)
        add(a, "--init");
    if (s->segment) {
        snprintf(path, sizeof(path), "%llu", (unsigned long long)s->segment);
        add2(a, "--segment", path);
    }
}

static void node_args(struct args *a, const struct sandbox *s, unsigned which,
                      uint16_t port)
{
    char text[KT_ADDR_TEXT_BYTES], name[SANDBOX_NAME_MAX];
    struct kt_addr hub[SANDBOX_ADDRS_MAX];

    add(a, "kenter-replicator");
    add_common(a, s, which, port);
    add(a, "--create");
    add2(a, "--node", sandbox_name(which, name));
    /* A hub that is down now will come back at the same addresses. */
    unsigned n = sandbox_addresses(s, 0, "address", hub);
    if (n == 0)
        n = sandbox_addresses(s, 0, "address.last", hub);
    for (unsigned i = 0; i < n; i++)
        add2(a, "--hub", kt_addr_format(&hub[i], text));
    if (s->capacity) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)s->capacity);
        add2(a, "--capacity", text);
    }
}

/* For the next start. That it fails is not worth a word now: the port only
 * changes then. */
static void remember(const struct sandbox *s, unsigned which)
{
    char path[SANDBOX_PATH_MAX], *text;

    if (kt_read_file(sandbox_path(s, which, "address", path), 4096, &text) < 0)
        return;
    (void)!kt_write_file(sandbox_path(s, which, "address.last", path), text,
                         0600);
    free(text);
}

/* 0 when it listens, -ECHILD when it ended, -ETIMEDOUT. */
static int wait_listening(const struct sandbox *s, unsigned which, pid_t pid)
{
    uint64_t until = kt_now_ms() + LISTEN_MS;
    struct kt_addr a[SANDBOX_ADDRS_MAX];

    for (;;) {
        if (sandbox_addresses(s, which, "address", a) > 0)
            return 0;
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return -ECHILD;
        if (kt_now_ms() >= until)
            return -ETIMEDOUT;
        nap(10);
    }
}

static int attempt(const struct sandbox *s, unsigned which, uint16_t port)
{
    struct args a = {0};
    char program[SANDBOX_PATH_MAX];
    pid_t pid;

    if (which == 0)
        hub_args(&a, s, port);
    else
        node_args(&a, s, which, port);
    sandbox_program(a.arg[0], program, sizeof(program));
    int r = sandbox_spawn(s, which, program, a.arg, &pid);
    if (r < 0)
        (void)cli_fail("%s cannot be run (%s): install it beside kenter, or "
                       "say in KENTER_BINDIR where it is.",
                       program, strerror(-r));
    else
        r = wait_listening(s, which, pid);
    args_release(&a);
    return r;
}

int sandbox_start(const struct sandbox *s, unsigned which, bool *ret_was)
{
    char path[SANDBOX_PATH_MAX], last[SANDBOX_PATH_MAX], text[400];
    char name[SANDBOX_NAME_MAX];
    struct sandbox_proc p;

    sandbox_name(which, name);
    *ret_was = sandbox_proc_find(s, which, &p);
    if (*ret_was) {
        sandbox_proc_close(&p);
        return CLI_DONE;
    }
    if (mkdir(sandbox_path(s, which, NULL, path), 0700) < 0 && errno != EEXIST)
        return cli_fail("%s cannot be made: %s.", path, strerror(errno));
    if (rename(sandbox_path(s, which, "address", path),
               sandbox_path(s, which, "address.last", last)) < 0 &&
        errno != ENOENT)
        return cli_fail("%s cannot be renamed: %s.", path, strerror(errno));
    uint16_t port = last_port(s, which);
    int r = attempt(s, which, port);
    if (r == -ECHILD && port)
        r = attempt(s, which, 0);
    if (r == 0)
        remember(s, which);
    if (r == -ECHILD)
        return cli_fail("%s ended at once; its last words (all are in %s): %s",
                        name, sandbox_path(s, which, "log", path),
                        sandbox_last_words(s, which, text, sizeof(text)));
    if (r == -ETIMEDOUT)
        return cli_fail("%s runs but did not begin to listen within %u s; see "
                        "%s.",
                        name, LISTEN_MS / 1000,
                        sandbox_path(s, which, "log", path));
    return r < 0 ? CLI_FAILED : CLI_DONE;
}

/* A connection to the sandbox's own hub, whatever context.json says. */
static int meet(const struct sandbox *s, struct kt_rpc *r, char *ret_why,
                size_t size)
{
    struct kt_context ctx = {0};
    struct kt_addr a[SANDBOX_ADDRS_MAX];
    struct kt_msg hello;

    snprintf(ctx.path, sizeof(ctx.path), "%.400s/context.json", s->dir);
    unsigned n = sandbox_addresses(s, 0, "address", a);
    for (unsigned i = 0; i < n && ctx.n_hubs < KT_CONTEXT_HUBS_MAX; i++)
        ctx.hubs[ctx.n_hubs++] = a[i];
    cli_hello(&hello, &ctx.cluster);
    return kt_rpc_open_hub(r, &ctx, &hello, CLI_CONNECT_MS, ret_why, size);
}

int sandbox_meet_hub(const struct sandbox *s)
{
    struct kt_rpc r;
    char why[512] = "";

    if (meet(s, &r, why, sizeof(why)) < 0)
        return cli_fail("%s", why);
    struct kt_id cluster = r.peer.u.hello.cluster;
    kt_rpc_close(&r);
    return sandbox_write_context(s, &cluster);
}

static unsigned count_up(const struct sandbox *s, const json_t *reply)
{
    const json_t *n;
    unsigned up = 0;
    size_t i;

    json_array_foreach(json_object_get(reply, "nodes"), i, n)
    {
        if (sandbox_which(s, cli_js_text(n, "name")) > 0 &&
            strcmp(cli_js_text(n, "state"), "up") == 0)
            up++;
    }
    return up;
}

/* One that ended while we wait, or -1. */
static int find_dead(const struct sandbox *s)
{
    struct sandbox_proc p;

    for (unsigned i = 0; i <= s->nodes; i++) {
        if (!sandbox_proc_find(s, i, &p))
            return (int)i;
        sandbox_proc_close(&p);
    }
    return -1;
}

int sandbox_wait_nodes(const struct sandbox *s)
{
    uint64_t until = kt_now_ms() + NODES_UP_MS;
    char why[512] = "", path[SANDBOX_PATH_MAX], name[SANDBOX_NAME_MAX];
    unsigned up = 0;
    struct kt_rpc r;
    json_t *reply;

    if (meet(s, &r, why, sizeof(why)) < 0)
        return cli_fail("%s", why);
    for (;;) {
        int dead = find_dead(s);
        if (dead >= 0) {
            kt_rpc_close(&r);
            return cli_fail(
                "%s ended; its last words (all are in %s): %s",
                sandbox_name((unsigned)dead, name),
                sandbox_path(s, (unsigned)dead, "log", path),
                sandbox_last_words(s, (unsigned)dead, why, sizeof(why)));
        }
        if (cli_hub_try(&r, json_pack("{s:s}", "op", "node-ls"), &reply, why,
                        sizeof(why)) < 0) {
            kt_rpc_close(&r);
            return cli_fail("%s", why);
        }
        up = count_up(s, reply);
        json_decref(reply);
        if (up >= s->nodes || kt_now_ms() >= until)
            break;
        nap(100);
    }
    kt_rpc_close(&r);
    if (up < s->nodes)
        return cli_fail("only %u of %u nodes came up within %u s; their logs "
                        "are %s/n*/log.",
                        up, s->nodes, NODES_UP_MS / 1000, s->dir);
    return CLI_DONE;
}
