/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection's life.
 *
 *  1. CONNECTING: the opener waits for the socket.      -> down(-errno)
 *  2. WAIT_HELLO_OK: it said HELLO.      REFUSE, timeout -> down
 *     WAIT_HELLO: the accepter waits for it. Anything else: closed; nobody
 *     was told of the connection, so nobody is told of its end.
 *  3. UP: the accepter judged HELLO (cluster, then ops.up) and said HELLO_OK.
 *     Every message goes to ops.msg. Any error -> down.
 *     REFUSING: it said no; closes when that is written.
 *  4. CLOSING: the handle closes; on a later turn down is called and the
 *     memory freed. Until then every call on the connection is harmless. */
#include "lib/link/conn_priv.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/log.h"

/* ---- small things ---- */

void *kt_conn_data(const struct kt_conn *c)
{
    return c->data;
}

void kt_conn_set_data(struct kt_conn *c, void *data)
{
    c->data = data;
}

bool kt_conn_is_up(const struct kt_conn *c)
{
    return c->state == CONN_UP;
}

bool kt_conn_is_accepted(const struct kt_conn *c)
{
    return c->accepted;
}

uint8_t kt_conn_class(const struct kt_conn *c)
{
    return c->cls;
}

const struct kt_msg *kt_conn_peer(const struct kt_conn *c)
{
    return &c->peer;
}

size_t kt_conn_queued(const struct kt_conn *c)
{
    return c->queued;
}

const char *kt_conn_peer_text(const struct kt_conn *c,
                              char ret_text[KT_ADDR_TEXT_BYTES])
{
    struct sockaddr_storage sa;
    int len = sizeof(sa);
    struct kt_addr a = {.kind = KT_ADDR_TCP};

    snprintf(ret_text, KT_ADDR_TEXT_BYTES, "unix");
    if (c->h.handle.type != UV_TCP)
        return ret_text;
    snprintf(ret_text, KT_ADDR_TEXT_BYTES, "tcp");
    if (uv_tcp_getpeername(&c->h.tcp, (struct sockaddr *)&sa, &len) < 0)
        return ret_text;
    if (sa.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)&sa;
        uv_ip4_name(v4, a.host, sizeof(a.host));
        a.port = ntohs(v4->sin_port);
    } else {
        const struct sockaddr_in6 *v6 = (const void *)&sa;
        uv_ip6_name(v6, a.host, sizeof(a.host));
        a.port = ntohs(v6->sin6_port);
    }
    return kt_addr_format(&a, ret_text);
}

/* ---- birth and death ---- */

struct kt_conn *kt_conn_new(struct kt_net *n, enum kt_addr_kind kind)
{
    struct kt_conn *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    int r = kind == KT_ADDR_TCP ? uv_tcp_init(n->loop, &c->h.tcp)
                                : uv_pipe_init(n->loop, &c->h.pipe, 0);
    if (r < 0) {
        free(c);
        return NULL;
    }
    c->net = n;
    kt_framer_init(&c->framer);
    c->deadline_ms = uv_now(n->loop) + HANDSHAKE_MS;
    c->next = n->conns;
    if (c->next)
        c->next->prev = c;
    n->conns = c;
    n->handles++;
    return c;
}

static void forget_dirty(struct kt_conn *c)
{
    struct kt_conn **at = &c->net->dirty;

    if (!c->dirty)
        return;
    while (*at != c)
        at = &(*at)->dirty_next;
    *at = c->dirty_next;
    c->dirty = false;
}

static void on_closed(uv_handle_t *h)
{
    struct kt_conn *c = kt_container_of(h, struct kt_conn, h.handle);
    struct kt_net *n = c->net;

    /* libuv has cancelled the write in flight before it called here. */
    forget_dirty(c);
    kt_conn_drop_queue(c);
    kt_framer_release(&c->framer);
    if (c->prev)
        c->prev->next = c->next;
    else
        n->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (c->was_up || !c->accepted)
        n->ops->down(n->arg, c, c->err, c->text);
    free(c);
    kt_net_handle_closed(n);
}

void kt_conn_fail(struct kt_conn *c, int err, const char *text)
{
    struct kt_net *n = c->net;

    if (c->state == CONN_CLOSING)
        return;
    if (c->accepted && c->state != CONN_UP)
        n->n_pre--;
    if (c->state == CONN_UP)
        n->n_up--;
    c->state = CONN_CLOSING;
    c->err = err;
    snprintf(c->text, sizeof(c->text), "%s", text);
    uv_close(&c->h.handle, on_closed);
}

void kt_conn_close(struct kt_conn *c)
{
    kt_conn_fail(c, 0, "");
}

void kt_conn_deadlines(struct kt_net *n)
{
    uint64_t now = uv_now(n->loop);
    bool waiting = false;
    char peer[KT_ADDR_TEXT_BYTES];

    for (struct kt_conn *c = n->conns; c; c = c->next) {
        if (c->state == CONN_UP || c->state == CONN_CLOSING)
            continue;
        if (now < c->deadline_ms) {
            waiting = true;
            continue;
        }
        if (c->accepted)
            kt_log(KT_LOG_WARN, "handshake_timeout", "peer=\"%s\"",
                   kt_conn_peer_text(c, peer));
        kt_conn_fail(c, -ETIMEDOUT, "");
    }
    if (!waiting)
        uv_timer_stop(&n->timer);
}

static void tcp_options(struct kt_conn *c)
{
    unsigned timeout_ms = 10000;
    uv_os_fd_t fd;

    if (c->h.handle.type != UV_TCP)
        return;
    uv_tcp_nodelay(&c->h.tcp, 1);
    /* A peer whose machine is gone answers nothing: find out when idle too. */
    uv_tcp_keepalive(&c->h.tcp, 1, 10);
    if (uv_fileno(&c->h.handle, &fd) == 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
                         sizeof(timeout_ms));
}

/* ---- handshake ---- */

static void send_hello(struct kt_conn *c, uint8_t type, uint64_t req)
{
    const struct kt_self *self = c->net->self;
    struct kt_msg m = {.type = type, .req = req};

    m.u.hello.role = self->role;
    m.u.hello.cls = c->cls;
    m.u.hello.id = self->id;
    m.u.hello.cluster = self->cluster;
    m.u.hello.boot = self->boot;
    m.u.hello.store = self->store;
    m.u.hello.incarnation = self->incarnation;
    snprintf(m.u.hello.name, sizeof(m.u.hello.name), "%s", self->name);
    kt_conn_queue(c, &m);
}

void kt_conn_refuse(struct kt_conn *c, int err, const char *text)
{
    struct kt_msg m = {.type = KT_MSG_REFUSE, .req = c->peer.req};

    if (c->state == CONN_CLOSING || c->state == CONN_REFUSING)
        return;
    c->state = CONN_REFUSING;
    uv_read_stop(&c->h.stream);
    m.u.error.err = err;
    snprintf(m.u.error.text, sizeof(m.u.error.text), "%s", text);
    kt_conn_queue(c, &m);
}

static bool other_cluster(const struct kt_conn *c, const struct kt_msg *m)
{
    const struct kt_id *ours = &c->net->self->cluster;

    return !kt_id_is_zero(ours) && !kt_id_is_zero(&m->u.hello.cluster) &&
           !kt_id_eq(ours, &m->u.hello.cluster);
}

static void go_up(struct kt_conn *c, const struct kt_msg *m)
{
    c->peer = *m;
    c->state = CONN_UP;
    c->framer.hello_done = true;
    c->net->n_up++;
}

static void on_hello(struct kt_conn *c, const struct kt_msg *m)
{
    struct kt_net *n = c->net;

    c->peer.req = m->req;
    if (other_cluster(c, m)) {
        kt_conn_refuse(c, KT_E_REFUSED,
                       "this daemon belongs to another cluster: check the "
                       "context file or the address");
        return;
    }
    if (n->n_up >= UP_MAX) {
        kt_log(KT_LOG_WARN, "too_many_connections", "limit=%u", UP_MAX);
        kt_conn_refuse(c, KT_E_LIMIT,
                       "this daemon has too many connections: close some");
        return;
    }
    c->cls = m->u.hello.cls;
    n->n_pre--;
    go_up(c, m);
    /* First in the queue, whatever up() sends. */
    send_hello(c, KT_MSG_HELLO_OK, m->req);
    if (c->state != CONN_UP)
        return;
    int r = n->ops->up(n->arg, c, &c->peer);
    if (r >= 0) {
        c->was_up = true;
        return;
    }
    if (c->state != CONN_UP)
        return;
    /* Nothing is written before the turn ends: take it all back. */
    n->n_up--;
    n->n_pre++;
    kt_conn_drop_queue(c);
    kt_conn_refuse(c, r, kt_strerror(r));
}

static void on_hello_ok(struct kt_conn *c, const struct kt_msg *m)
{
    struct kt_net *n = c->net;

    if (m->type == KT_MSG_REFUSE) {
        kt_conn_fail(c, KT_E_REFUSED, m->u.error.text);
        return;
    }
    if (other_cluster(c, m)) {
        kt_conn_fail(c, KT_E_REFUSED, "the peer belongs to another cluster");
        return;
    }
    go_up(c, m);
    c->was_up = true;
    int r = n->ops->up(n->arg, c, &c->peer);
    if (r < 0)
        kt_conn_fail(c, r, "");
}

void kt_conn_handle(struct kt_conn *c, struct kt_msg *m, int err)
{
    char peer[KT_ADDR_TEXT_BYTES];

    switch (c->state) {
    case CONN_UP:
        if (m->type > KT_MSG_REFUSE) {
            c->net->ops->msg(c->net->arg, c, m, err);
            return;
        }
        break;
    case CONN_WAIT_HELLO:
        if (m->type == KT_MSG_HELLO) {
            on_hello(c, m);
            return;
        }
        break;
    case CONN_WAIT_HELLO_OK:
        if (m->type == KT_MSG_HELLO_OK || m->type == KT_MSG_REFUSE) {
            on_hello_ok(c, m);
            return;
        }
        break;
    default:
        return;
    }
    kt_log(KT_LOG_WARN, "conn_garbage", "peer=\"%s\" err=\"%s out of place\"",
           kt_conn_peer_text(c, peer), kt_msg_name(m->type));
    kt_conn_fail(c, KT_E_PROTO, "");
}

void kt_conn_accepted(struct kt_conn *c)
{
    struct kt_net *n = c->net;
    bool full = n->n_pre >= PRE_MAX;

    c->accepted = true;
    c->state = CONN_WAIT_HELLO;
    n->n_pre++;
    if (full) {
        kt_log(KT_LOG_WARN, "too_many_handshakes", "limit=%u", PRE_MAX);
        kt_conn_fail(c, KT_E_LIMIT, "");
        return;
    }
    tcp_options(c);
    int r = kt_conn_read_start(c);
    if (r < 0)
        kt_conn_fail(c, r, "");
    else
        kt_net_watch(n);
}

/* ---- opening ---- */

static void on_connected(uv_connect_t *req, int status)
{
    struct kt_conn *c = kt_container_of(req, struct kt_conn, connect);

    if (c->state == CONN_CLOSING)
        return;
    if (status == 0)
        status = kt_conn_read_start(c);
    if (status < 0) {
        kt_conn_fail(c, status, "");
        return;
    }
    tcp_options(c);
    c->state = CONN_WAIT_HELLO_OK;
    send_hello(c, KT_MSG_HELLO, 0);
}

static int start_connect(struct kt_conn *c, const struct kt_addr *a)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u;

    if (a->kind == KT_ADDR_UNIX) {
        uv_pipe_connect(&c->connect, &c->h.pipe, a->host, on_connected);
        return 0;
    }
    if (a->kind != KT_ADDR_TCP)
        return -EINVAL;
    if (uv_ip4_addr(a->host, a->port, &u.v4) < 0 &&
        uv_ip6_addr(a->host, a->port, &u.v6) < 0)
        return -EINVAL;
    return uv_tcp_connect(&c->connect, &c->h.tcp, &u.sa, on_connected);
}

struct kt_conn *kt_conn_open(struct kt_net *n, const struct kt_addr *a,
                             uint8_t cls, void *data)
{
    if (n->closing)
        return NULL;
    struct kt_conn *c = kt_conn_new(n, a->kind);
    if (!c)
        return NULL;
    c->cls = cls;
    c->data = data;
    c->state = CONN_CONNECTING;
    int r = start_connect(c, a);
    if (r < 0)
        kt_conn_fail(c, r, "");
    else
        kt_net_watch(n);
    return c;
}

/* ---- use ---- */

size_t kt_conn_send(struct kt_conn *c, const struct kt_msg *m)
{
    if (c->state == CONN_UP)
        kt_conn_queue(c, m);
    return c->queued;
}

void kt_conn_pause(struct kt_conn *c, bool paused)
{
    if (c->paused == paused)
        return;
    c->paused = paused;
    if (c->state != CONN_UP)
        return;
    if (paused) {
        uv_read_stop(&c->h.stream);
        return;
    }
    int r = kt_conn_read_start(c);
    if (r < 0)
        kt_conn_fail(c, r, "");
}
