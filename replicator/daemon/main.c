/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter-replicator: start, run, stop.
 *
 * 1. Options. 2. The store: lock, replay, chains. 3. Listen; the addresses go
 *    to the address file. 4. Hub, links, chains on the loop.
 * 5. SIGTERM or SIGINT: LEAVE, so that the hub moves our chains on before we
 *    go, for at most 2 s; a second signal does not wait.
 * 6. Every connection is closed, then the store, which is marked clean. */
#include "replicator/daemon/repl.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/os.h"
#include "replicator/daemon/check.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define WHY_BYTES 1024u

static void say(const char *why)
{
    fprintf(stderr, "kenter-replicator: %s\n", why);
}

/* ---- stop ---- */

static void on_closed(void *arg)
{
    struct repl *n = arg;
    n->net_gone = true;
    uv_close((uv_handle_t *)&n->tick, NULL);
    uv_close((uv_handle_t *)&n->fine, NULL);
    uv_close((uv_handle_t *)&n->term, NULL);
    uv_close((uv_handle_t *)&n->intr, NULL);
    /* Not the async one: the store's threads use it until it is closed. */
    uv_unref((uv_handle_t *)&n->async);
}

void repl_left(struct repl *n)
{
    if (n->closing)
        return;
    n->closing = true;
    kt_log(KT_LOG_INFO, "stopping", "pid=%ld", (long)getpid());
    kt_net_close(n->net, on_closed);
}

static void on_signal(uv_signal_t *s, int signum)
{
    struct repl *n = kt_container_of(s->loop, struct repl, loop);
    kt_log(KT_LOG_INFO, "signal", "number=%d", signum);
    if (n->leaving) {
        repl_left(n);
        return;
    }
    n->leaving = true;
    n->leave_ms = repl_now(n);
    hub_leave(n);
}

/* ---- time ---- */

/* Later than that it is the tick's. */
static bool is_soon(struct repl *n, uint64_t at_ms)
{
    return at_ms < repl_now(n) + REPL_TICK_MS;
}

static void on_fine(uv_timer_t *t)
{
    struct repl *n = kt_container_of(t, struct repl, fine);
    if (n->closing)
        return;
    n->fine_on = false;
    bool again = links_fine(n);
    again = push_fine(n) || again;
    again = probe_fine(n) || again;
    again = mend_fine(n) || again;
    again = scrub_fine(n) || again;
    hub_tick(n);
    again = again || (!n->hub.cn && !n->leaving && is_soon(n, n->hub.next_ms));
    conns_fine(n);
    if (again)
        repl_fine(n);
}

void repl_fine(struct repl *n)
{
    if (n->fine_on || n->closing)
        return;
    n->fine_on = true;
    int r = uv_timer_start(&n->fine, on_fine, REPL_FINE_MS, 0);
    assert(r == 0);
    (void)r;
}

/* A6: the store is done for, the process lives on and says so. */
static void watch_store(struct repl *n)
{
    struct store_info info;
    store_info(n->store, &info);
    if (info.err == n->store_err_told)
        return;
    n->store_err_told = info.err;
    kt_log(KT_LOG_ERROR, "store_faulty",
           "dir=\"%s\" err=\"%s\" do=\"check the disk, then start the node "
           "with an empty directory\"",
           n->opts->store_dir, kt_strerror(info.err));
}

static void on_tick(uv_timer_t *t)
{
    struct repl *n = kt_container_of(t, struct repl, tick);
    if (n->closing)
        return;
    n->ticks++;
    if (n->leaving && repl_now(n) - n->leave_ms >= REPL_LEAVE_MS) {
        repl_left(n);
        return;
    }
    store_poll(n->store);
    chains_tick(n);
    conns_tick(n);
    hub_tick(n);
    if (links_fine(n) || (!n->hub.cn && is_soon(n, n->hub.next_ms)))
        repl_fine(n);
    watch_store(n);
    names_tick(n);
    scrub_tick(n);
    if (n->ticks % (1000 / REPL_TICK_MS) == 0)
        links_second(n);
}

static void on_async(uv_async_t *a)
{
    struct repl *n = kt_container_of(a, struct repl, async);
    if (n->store)
        store_poll(n->store);
}

/* Any thread. */
static void on_notify(void *arg)
{
    struct repl *n = arg;
    uv_async_send(&n->async);
}

/* ---- start ---- */

static int start_loop(struct repl *n)
{
    int r = uv_loop_init(&n->loop);
    if (r == 0)
        r = uv_async_init(&n->loop, &n->async, on_async);
    if (r == 0)
        r = uv_timer_init(&n->loop, &n->tick);
    if (r == 0)
        r = uv_timer_init(&n->loop, &n->fine);
    if (r == 0)
        r = uv_signal_init(&n->loop, &n->term);
    if (r == 0)
        r = uv_signal_init(&n->loop, &n->intr);
    return r;
}

static int start_store(struct repl *n, char *why)
{
    struct store_opts so = {.capacity_bytes = n->opts->capacity_bytes,
                            .create = n->opts->create,
                            .notify = on_notify,
                            .notify_arg = n};
    int r = kt_boot_id(&so.boot);
    if (r < 0) {
        snprintf(why, WHY_BYTES, "the boot id of the system is unknown (%s)",
                 kt_strerror(r));
        return r;
    }
    r = store_open(n->opts->store_dir, &so, &n->store, why, WHY_BYTES);
    if (r < 0) {
        if (!why[0])
            snprintf(why, WHY_BYTES, "%s: %s", n->opts->store_dir,
                     kt_strerror(r));
        return r;
    }
    struct store_info info;
    store_info(n->store, &info);
    n->self.role = KT_ROLE_REPLICATOR;
    n->self.id = info.node;
    n->self.boot = so.boot;
    n->self.store = info.uuid;
    n->self.incarnation = info.incarnation;
    snprintf(n->self.name, sizeof(n->self.name), "%s", n->opts->node);
    n->me.id = info.node;
    n->me.boot = so.boot;
    snprintf(n->me.name, sizeof(n->me.name), "%s", n->opts->node);
    r = chains_load(n);
    if (r < 0)
        snprintf(why, WHY_BYTES, "%s holds more than %u chains",
                 n->opts->store_dir, REPL_CHAINS_MAX);
    return r;
}

static int start_listening(struct repl *n, char *why)
{
    char text[OPTIONS_ADDRS_MAX * KT_ADDR_TEXT_BYTES] = "";
    char one[KT_ADDR_TEXT_BYTES];
    size_t len = 0;
    for (uint32_t i = 0; i < n->opts->n_listen; i++) {
        const struct kt_addr *a = &n->opts->listen[i];
        struct kt_addr bound;
        int r = kt_net_listen(n->net, a, n->opts->insecure, &bound);
        if (r == -EPERM && !kt_addr_is_local(a)) {
            snprintf(why, WHY_BYTES,
                     "%s can be reached by other machines and links are "
                     "not encrypted: give --insecure-links to accept that, "
                     "or listen on 127.0.0.1 or a unix socket",
                     kt_addr_format(a, one));
            return r;
        }
        if (r < 0) {
            snprintf(why, WHY_BYTES, "cannot listen on %s: %s",
                     kt_addr_format(a, one), kt_strerror(r));
            return r;
        }
        kt_log(KT_LOG_INFO, "listening", "address=%s",
               kt_addr_format(&bound, one));
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", one);
        struct kt_addr *me =
            bound.kind == KT_ADDR_TCP ? &n->me.tcp : &n->me.unix_;
        if (me->kind == KT_ADDR_NONE)
            *me = bound;
    }
    if (!n->opts->address_file)
        return 0;
    int r = kt_write_file(n->opts->address_file, text, 0644);
    n->wrote_address = r == 0;
    if (r < 0)
        snprintf(why, WHY_BYTES, "cannot write %s: %s", n->opts->address_file,
                 kt_strerror(r));
    return r;
}

static int start_node(struct repl *n, char *why)
{
    int r = start_store(n, why);
    /* The store is ours, so that file is of a process that was killed. */
    if (r == 0 && n->opts->address_file)
        (void)unlink(n->opts->address_file);
    if (r == 0)
        r = hub_cluster_load(n, why, WHY_BYTES);
    if (r == 0)
        r = hub_known_load(n, why, WHY_BYTES);
    if (r == 0)
        scrub_load(n);
    if (r < 0)
        return r;
    n->net = kt_net_new(&n->loop, &n->self, &conns_ops, n);
    if (!n->net) {
        snprintf(why, WHY_BYTES, "out of memory");
        return -ENOMEM;
    }
    r = start_listening(n, why);
    if (r < 0)
        return r;
    if (n->opts->pid_file) {
        char pid[32];
        snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
        r = kt_write_file(n->opts->pid_file, pid, 0644);
        n->wrote_pid = r == 0;
        if (r < 0) {
            snprintf(why, WHY_BYTES, "cannot write %s: %s", n->opts->pid_file,
                     kt_strerror(r));
            return r;
        }
    }
    r = uv_timer_start(&n->tick, on_tick, REPL_TICK_MS, REPL_TICK_MS);
    if (r == 0)
        r = uv_signal_start(&n->term, on_signal, SIGTERM);
    if (r == 0)
        r = uv_signal_start(&n->intr, on_signal, SIGINT);
    if (r < 0)
        snprintf(why, WHY_BYTES, "event loop: %s", uv_strerror(r));
    return r;
}

static void log_start(const struct repl *n)
{
    char store[KT_ID_HEX_BYTES], cluster[KT_ID_HEX_BYTES];
    struct store_info info;
    store_info(n->store, &info);
    kt_log(KT_LOG_INFO, "started",
           "version=%s node=%s store=%s dir=\"%s\" incarnation=%llu "
           "cont_base=%llu cluster=%s chains=%u size=%llu used=%llu",
           PACKAGE_VERSION, n->opts->node, kt_id_hex(&info.uuid, store),
           n->opts->store_dir, (unsigned long long)info.incarnation,
           (unsigned long long)info.cont_base,
           kt_id_hex(&n->self.cluster, cluster), n->n_chains,
           (unsigned long long)info.size, (unsigned long long)info.used);
    if (n->opts->insecure)
        kt_log(KT_LOG_WARN, "insecure_links",
               "text=\"links are neither encrypted nor authenticated\"");
}

/* ---- the whole life ---- */

static void finish(struct repl *n)
{
    n->closing = true;
    if (n->net && !n->net_gone) {
        kt_net_close(n->net, on_closed);
        uv_run(&n->loop, UV_RUN_DEFAULT);
    } else if (!n->net) {
        on_closed(n);
    }
    if (n->store)
        store_close(n->store);
    n->store = NULL;
    push_free_all(n);
    probe_free_all(n);
    mend_free(n);
    names_free(n);
    chains_free_all(n);
    links_free_all(n);
    ops_free_all(n);
    uv_ref((uv_handle_t *)&n->async);
    uv_close((uv_handle_t *)&n->async, NULL);
    uv_run(&n->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&n->loop);
    assert(r == 0);
    (void)r;
    if (n->opts->pid_file && n->wrote_pid)
        (void)unlink(n->opts->pid_file);
    if (n->opts->address_file && n->wrote_address)
        (void)unlink(n->opts->address_file);
}

/* We stand below a block device of this machine: memory that the kernel
 * frees by writing to us must not wait for us. Needs a capability. */
static void become_flusher(void)
{
    if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
        kt_log(KT_LOG_DEBUG, "io_flusher", "err=\"%s\"", kt_strerror(-errno));
}

static int run(const struct options *o)
{
    char why[WHY_BYTES] = "";
    struct repl *n = repl_alloc(sizeof(*n));
    n->opts = o;
    n->late_end = &n->late;
    int r = start_loop(n);
    if (r < 0) {
        say(uv_strerror(r));
        free(n);
        return 1;
    }
    r = start_node(n, why);
    if (r < 0) {
        say(why);
    } else {
        log_start(n);
        hub_start(n);
        uv_run(&n->loop, UV_RUN_DEFAULT);
    }
    finish(n);
    free(n);
    if (r == 0)
        kt_log(KT_LOG_INFO, "stopped", "pid=%ld", (long)getpid());
    return r < 0;
}

/* Large payloads go back to the system when they are freed: on the heap, among
 * small ones, they left it three times as large as what was in use. */
static void bound_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 16 << 20);
}

int main(int argc, char **argv)
{
    struct options o;
    char why[WHY_BYTES];
    if (options_parse(argc, argv, &o, why, sizeof(why)) < 0) {
        say(why);
        fprintf(stderr, "Try kenter-replicator --help.\n");
        return 2;
    }
    if (o.help) {
        fputs(options_help, stdout);
        return 0;
    }
    if (o.version) {
        printf("kenter-replicator %s\n", PACKAGE_VERSION);
        return 0;
    }
    if (o.check_dir)
        return check_main(o.check_dir, o.json, stdout);
    kt_log_set_level(o.log_level);
    (void)signal(SIGPIPE, SIG_IGN);
    become_flusher();
    bound_memory();
    return run(&o);
}
