/* SPDX-License-Identifier: BSD-3-Clause */
/* The net of one daemon: its listeners, its turn of the loop, its end.
 *
 * Frames are flushed twice a turn: by the check handle, right after the
 * sockets were read, and by the prepare handle, for what timers sent. While
 * anything waits to be flushed an idle handle keeps the loop from sleeping. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/os.h"
#include "lib/link/conn_priv.h"

#define BACKLOG 128

static void on_check(uv_check_t *h)
{
    kt_net_flush(kt_container_of(h, struct kt_net, check));
}

static void on_prepare(uv_prepare_t *h)
{
    kt_net_flush(kt_container_of(h, struct kt_net, prepare));
}

static void on_idle(uv_idle_t *h)
{
    (void)h;
}

static void on_tick(uv_timer_t *h)
{
    kt_conn_deadlines(kt_container_of(h, struct kt_net, timer));
}

struct kt_net *kt_net_new(uv_loop_t *loop, const struct kt_self *self,
                          const struct kt_net_ops *ops, void *arg)
{
    struct kt_net *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->scratch = malloc(KT_CONTROL_BYTES_MAX);
    if (!n->scratch) {
        free(n);
        return NULL;
    }
    n->loop = loop;
    n->self = self;
    n->ops = ops;
    n->arg = arg;
    /* These never fail; they only link the handle to the loop. */
    uv_check_init(loop, &n->check);
    uv_prepare_init(loop, &n->prepare);
    uv_idle_init(loop, &n->idle);
    uv_timer_init(loop, &n->timer);
    uv_check_start(&n->check, on_check);
    uv_prepare_start(&n->prepare, on_prepare);
    uv_unref((uv_handle_t *)&n->check);
    uv_unref((uv_handle_t *)&n->prepare);
    n->handles = 4;
    return n;
}

void kt_net_wake(struct kt_net *n)
{
    uv_idle_start(&n->idle, on_idle);
}

void kt_net_watch(struct kt_net *n)
{
    if (!uv_is_active((uv_handle_t *)&n->timer))
        uv_timer_start(&n->timer, on_tick, TICK_MS, TICK_MS);
}

void kt_net_handle_closed(struct kt_net *n)
{
    assert(n->handles > 0);
    if (--n->handles > 0)
        return;
    assert(n->closing && !n->conns && !n->listeners && !n->dirty);
    while (n->free_batches) {
        struct batch *b = n->free_batches;
        n->free_batches = b->next;
        free(b);
    }
    void (*done)(void *arg) = n->done;
    void *arg = n->arg;
    free(n->scratch);
    free(n);
    if (done)
        done(arg);
}

static void on_check_closed(uv_handle_t *h)
{
    kt_net_handle_closed(
        kt_container_of((uv_check_t *)h, struct kt_net, check));
}

static void on_prepare_closed(uv_handle_t *h)
{
    kt_net_handle_closed(
        kt_container_of((uv_prepare_t *)h, struct kt_net, prepare));
}

static void on_idle_closed(uv_handle_t *h)
{
    kt_net_handle_closed(kt_container_of((uv_idle_t *)h, struct kt_net, idle));
}

static void on_timer_closed(uv_handle_t *h)
{
    kt_net_handle_closed(
        kt_container_of((uv_timer_t *)h, struct kt_net, timer));
}

static void on_listener_closed(uv_handle_t *h)
{
    struct listener *l = kt_container_of(h, struct listener, h.handle);
    struct kt_net *n = l->net;
    struct listener **at = &n->listeners;

    while (*at && *at != l)
        at = &(*at)->next;
    if (*at)
        *at = l->next;
    free(l);
    kt_net_handle_closed(n);
}

void kt_net_close(struct kt_net *n, void (*done)(void *arg))
{
    assert(!n->closing);
    n->closing = true;
    n->done = done;
    for (struct listener *l = n->listeners; l; l = l->next) {
        /* While we still listen nobody can have taken the path over. */
        if (l->addr.kind == KT_ADDR_UNIX)
            (void)unlink(l->addr.host);
        uv_close(&l->h.handle, on_listener_closed);
    }
    for (struct kt_conn *c = n->conns; c; c = c->next)
        kt_conn_close(c);
    uv_close((uv_handle_t *)&n->check, on_check_closed);
    uv_close((uv_handle_t *)&n->prepare, on_prepare_closed);
    uv_close((uv_handle_t *)&n->idle, on_idle_closed);
    uv_close((uv_handle_t *)&n->timer, on_timer_closed);
}

static void on_connection(uv_stream_t *s, int status)
{
    struct listener *l = kt_container_of(s, struct listener, h.stream);
    struct kt_net *n = l->net;

    if (n->closing)
        return;
    if (status == 0) {
        struct kt_conn *c = kt_conn_new(n, l->addr.kind);
        status = c ? uv_accept(s, &c->h.stream) : -ENOMEM;
        if (c)
            kt_conn_accepted(c);
        if (c && status < 0)
            kt_conn_fail(c, status, "");
    }
    if (status < 0)
        kt_log(KT_LOG_WARN, "accept_failed", "err=\"%s\"", kt_strerror(status));
}

/* Gives fd to a new listener; on failure fd stays the caller's. */
static int listener_open(struct kt_net *n, struct listener *l, int fd)
{
    int r;

    if (l->addr.kind == KT_ADDR_TCP) {
        r = uv_tcp_init(n->loop, &l->h.tcp);
        if (r < 0)
            return r;
        n->handles++;
        r = uv_tcp_open(&l->h.tcp, fd);
    } else {
        r = uv_pipe_init(n->loop, &l->h.pipe, 0);
        if (r < 0)
            return r;
        n->handles++;
        r = uv_pipe_open(&l->h.pipe, fd);
    }
    return r;
}

int kt_net_listen(struct kt_net *n, const struct kt_addr *a, bool insecure,
                  struct kt_addr *ret_bound)
{
    struct kt_addr bound;

    if (!insecure && !kt_addr_is_local(a))
        return -EPERM;
    struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    int fd = kt_listen(a, &bound);
    if (fd < 0) {
        free(l);
        return fd;
    }
    l->net = n;
    l->addr = bound;
    uint32_t before = n->handles;
    int r = listener_open(n, l, fd);
    if (r < 0) {
        close(fd);
        if (n->handles == before)
            free(l);
        else
            uv_close(&l->h.handle, on_listener_closed);
        return r;
    }
    l->next = n->listeners;
    n->listeners = l;
    r = uv_listen(&l->h.stream, BACKLOG, on_connection);
    if (r < 0) {
        uv_close(&l->h.handle, on_listener_closed);
        return r;
    }
    if (ret_bound)
        *ret_bound = bound;
    return 0;
}
