/* SPDX-License-Identifier: BSD-3-Clause */
/* kenter-hub: start, run, stop.
 *
 * 1. Options. 2. The database: lock, the term raised and stored, every row
 *    into the core. 3. Listen; the addresses go to the address file. 4. Events
 *    on the loop.
 * 5. SIGTERM or SIGINT: connections are closed, the commit under way ends,
 *    exit 0. A failed commit: the same, exit 1, and nothing that depended on
 *    it was ever told. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hub/daemon/daemon.h"
#include "hub/daemon/rows.h"
#include "lib/base/log.h"
#include "lib/base/os.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

#define WHY_BYTES 1024u

static void say(const char *why)
{
    fprintf(stderr, "kenter-hub: %s\n", why);
}

/* ---- stop ---- */

static void on_net_closed(void *arg)
{
    struct daemon *d = arg;

    d->net_gone = true;
    uv_close((uv_handle_t *)&d->tick, NULL);
    uv_close((uv_handle_t *)&d->term, NULL);
    uv_close((uv_handle_t *)&d->intr, NULL);
}

static void stop(struct daemon *d)
{
    if (d->closing)
        return;
    d->closing = true;
    if (d->net)
        kt_net_close(d->net, on_net_closed);
    else
        on_net_closed(d);
}

static void on_signal(uv_signal_t *s, int signum)
{
    struct daemon *d = kt_container_of(s->loop, struct daemon, loop);

    kt_log(KT_LOG_INFO, "stopping", "signal=%d", signum);
    stop(d);
}

void daemon_fail(struct daemon *d, int err)
{
    if (!d->failed)
        kt_log(KT_LOG_ERROR, "commit_failed",
               "dir=\"%s\" err=\"%s\" do=\"nothing was acknowledged; make "
               "room or mend the disk, then start the hub again\"",
               d->opts->dir, kt_strerror(err));
    d->failed = true;
    stop(d);
}

static void on_tick(uv_timer_t *t)
{
    struct daemon *d = kt_container_of(t, struct daemon, tick);

    if (!d->closing)
        pump_tick(d);
}

/* ---- start ---- */

static int load_row(void *arg, const struct row_any *row)
{
    struct daemon *d = arg;

    switch (row->kind) {
    case HUB_ROW_CLUSTER:
        d->hub.cluster = d->hub.cluster_pend = row->cluster;
        return 0;
    case HUB_ROW_NODE:
        return hub_load_node(&d->hub, &row->node);
    case HUB_ROW_VOLUME:
        return hub_load_volume(&d->hub, &row->volume);
    case HUB_ROW_CHAIN:
        return hub_load_chain(&d->hub, &row->chain);
    default:
        return hub_load_tomb(&d->hub, &row->tomb);
    }
}

static int load(struct daemon *d, char *why)
{
    struct hub_cluster *c = &d->hub.cluster;
    struct kt_id mark;
    const struct hub_db_how how = {.init = d->opts->init || d->opts->recover,
                                   .recover = d->opts->recover};
    int r = hub_db_open(d->opts->dir, &how, &d->db, why, WHY_BYTES);

    if (r == 0)
        r = hub_db_read(d->db, load_row, d, why, WHY_BYTES);
    if (r < 0)
        return r;
    if (kt_id_is_zero(&c->id) && c->recover != HUB_RECOVER_EMPTY) {
        snprintf(why, WHY_BYTES,
                 "the database in %s names no cluster: restore "
                 "it from a backup",
                 d->opts->dir);
        return KT_E_CORRUPT;
    }
    kt_id_random(&mark);
    hub_cluster_start(c, &mark); /* B15 */
    if (d->opts->segment_bytes)
        c->segment_bytes = d->opts->segment_bytes;
    d->hub.cluster_pend = *c;
    struct hub_row row = {.kind = HUB_ROW_CLUSTER, .u.cluster = c};
    r = hub_db_put_now(d->db, &row);
    if (r < 0)
        snprintf(why, WHY_BYTES, "the database in %s cannot be written (%s)",
                 d->opts->dir, kt_strerror(r));
    return r;
}

static int who_we_are(struct daemon *d, char *why)
{
    int r = kt_boot_id(&d->self.boot);

    if (r < 0) {
        snprintf(why, WHY_BYTES, "the boot id of the system is unknown (%s)",
                 kt_strerror(r));
        return r;
    }
    d->self.role = KT_ROLE_HUB;
    d->self.id = d->self.cluster = d->hub.cluster.id;
    snprintf(d->self.name, sizeof(d->self.name), "hub");
    return 0;
}

static int listen_on(struct daemon *d, const struct kt_addr *a,
                     struct kt_addr *ret_bound, char *why)
{
    char one[KT_ADDR_TEXT_BYTES];
    int r = kt_net_listen(d->net, a, d->opts->insecure, ret_bound);

    if (r == -EPERM && !kt_addr_is_local(a))
        snprintf(why, WHY_BYTES,
                 "%s can be reached by other machines and links are not "
                 "encrypted: give --insecure-links to accept that, or listen "
                 "on 127.0.0.1 or a unix socket",
                 kt_addr_format(a, one));
    else if (r < 0)
        snprintf(why, WHY_BYTES, "cannot listen on %s: %s",
                 kt_addr_format(a, one), kt_strerror(r));
    return r;
}

static int start_listening(struct daemon *d, char *why)
{
    char text[HUB_LISTEN_MAX * (KT_ADDR_TEXT_BYTES + 1)] = "";
    char one[KT_ADDR_TEXT_BYTES];
    size_t len = 0;

    for (uint32_t i = 0; i < d->opts->n_listen; i++) {
        struct kt_addr bound;
        int r = listen_on(d, &d->opts->listen[i], &bound, why);
        if (r < 0)
            return r;
        kt_addr_format(&bound, one);
        kt_log(KT_LOG_INFO, "listening", "address=%s", one);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", one);
    }
    if (!d->opts->address_file)
        return 0;
    int r = kt_write_file(d->opts->address_file, text, 0644);
    d->wrote_address = r == 0;
    if (r < 0)
        snprintf(why, WHY_BYTES, "cannot write %s: %s", d->opts->address_file,
                 kt_strerror(r));
    return r;
}

static int write_pid(struct daemon *d, char *why)
{
    char pid[32];

    if (!d->opts->pid_file)
        return 0;
    snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    int r = kt_write_file(d->opts->pid_file, pid, 0644);
    d->wrote_pid = r == 0;
    if (r < 0)
        snprintf(why, WHY_BYTES, "cannot write %s: %s", d->opts->pid_file,
                 kt_strerror(r));
    return r;
}

static int start(struct daemon *d, char *why)
{
    int r = load(d, why);

    if (r == 0)
        r = who_we_are(d, why);
    if (r < 0)
        return r;
    /* The database is ours, so that file is of a hub that was killed. */
    if (d->opts->address_file)
        (void)unlink(d->opts->address_file);
    d->started_s = (uint64_t)time(NULL);
    hub_db_run(d->db, &d->loop, &pump_db_ops, d);
    d->net = kt_net_new(&d->loop, &d->self, &pump_net_ops, d);
    if (!d->net) {
        snprintf(why, WHY_BYTES, "out of memory");
        return -ENOMEM;
    }
    hub_start(&d->hub, kt_now_ms());
    r = start_listening(d, why);
    if (r == 0)
        r = write_pid(d, why);
    if (r < 0)
        return r;
    r = uv_timer_start(&d->tick, on_tick, DAEMON_TICK_MS, DAEMON_TICK_MS);
    if (r == 0)
        r = uv_signal_start(&d->term, on_signal, SIGTERM);
    if (r == 0)
        r = uv_signal_start(&d->intr, on_signal, SIGINT);
    if (r < 0)
        snprintf(why, WHY_BYTES, "event loop: %s", uv_strerror(r));
    return r;
}

static void log_start(const struct daemon *d)
{
    char cluster[KT_ID_HEX_BYTES];

    kt_log(KT_LOG_INFO, "started",
           "version=%s cluster=%s term=%llu dir=\"%s\" volumes=%u chains=%u",
           PACKAGE_VERSION, kt_id_hex(&d->hub.cluster.id, cluster),
           (unsigned long long)d->hub.cluster.term, d->opts->dir,
           d->hub.volumes_used, d->hub.chains_used);
    if (d->opts->insecure)
        kt_log(KT_LOG_WARN, "insecure_links",
               "text=\"links are neither encrypted nor authenticated\"");
}

/* ---- the whole life ---- */

static int init_loop(struct daemon *d)
{
    int r = uv_loop_init(&d->loop);

    if (r == 0)
        r = uv_timer_init(&d->loop, &d->tick);
    if (r == 0)
        r = uv_signal_init(&d->loop, &d->term);
    if (r == 0)
        r = uv_signal_init(&d->loop, &d->intr);
    return r;
}

static int run(const struct options *o)
{
    static struct daemon daemon;
    struct daemon *d = &daemon;
    char why[WHY_BYTES] = "out of memory";

    d->opts = o;
    int r = init_loop(d);
    if (r < 0) {
        say(uv_strerror(r));
        return 1;
    }
    r = pump_new(d);
    if (r == 0)
        r = start(d, why);
    if (r == 0) {
        log_start(d);
    } else {
        say(why);
        stop(d);
    }
    uv_run(&d->loop, UV_RUN_DEFAULT);
    int closed = uv_loop_close(&d->loop);
    assert(closed == 0 && d->net_gone);
    (void)closed;
    hub_db_free(d->db);
    pump_free(d);
    if (d->wrote_pid)
        (void)unlink(o->pid_file);
    if (d->wrote_address)
        (void)unlink(o->address_file);
    return r == 0 && !d->failed ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options o;
    char why[WHY_BYTES];

    /* A reader of our log may go away; that ends nothing. */
    signal(SIGPIPE, SIG_IGN);
    if (options_parse(argc, argv, &o, why, sizeof(why)) < 0) {
        say(why);
        fprintf(stderr, "Try 'kenter-hub --help'.\n");
        return 2;
    }
    if (o.help) {
        fputs(options_help, stdout);
        return 0;
    }
    if (o.version) {
        printf("kenter-hub %s\n", PACKAGE_VERSION);
        return 0;
    }
    kt_log_set_level(o.log_level);
    return run(&o);
}
