/* SPDX-License-Identifier: BSD-3-Clause */
/* A blocking connection: every wait is a poll with what is left of the
 * deadline, every read goes where the framer wants it. */
#include "lib/link/rpc.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/os.h"

#define SEND_TIMEOUT_MS 10000u

/* 0 when fd is ready, else -ETIMEDOUT or -errno. */
static int wait_for(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        uint64_t now_ms = kt_now_ms();
        int left_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
        int n = poll(&p, 1, left_ms);
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int send_all(int fd, const uint8_t *b, size_t len, uint64_t deadline_ms)
{
    while (len > 0) {
        ssize_t n = send(fd, b, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            b += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            int r = wait_for(fd, POLLOUT, deadline_ms);
            if (r < 0)
                return r;
        } else if (errno != EINTR) {
            return errno == EPIPE ? -ECONNRESET : -errno;
        }
    }
    return 0;
}

int kt_rpc_send(struct kt_rpc *r, const struct kt_msg *m)
{
    uint64_t deadline_ms = kt_now_ms() + SEND_TIMEOUT_MS;
    size_t cap = m->type < KT_MSG_CONTROL ? KT_FRAME_BYTES + KT_HEADER_BYTES_MAX
                                          : KT_CONTROL_BYTES_MAX;
    struct kt_frame f;

    uint8_t *b = malloc(cap);
    if (!b)
        return -ENOMEM;
    int len = kt_msg_encode(m, b, cap);
    int err = len < 0 ? len : kt_frame_decode(b, &f);
    if (err == 0)
        err = send_all(r->fd, b, (size_t)len, deadline_ms);
    if (err == 0 && m->type < KT_MSG_CONTROL && f.plen > 0)
        err = send_all(r->fd, m->buf->data, f.plen, deadline_ms);
    free(b);
    return err;
}

/* Reads until a whole frame is ready. */
static int read_frame(struct kt_rpc *r, uint64_t deadline_ms)
{
    for (;;) {
        size_t room;
        uint8_t *to = kt_framer_want(&r->framer, &room);
        if (!to)
            return r->framer.err;
        ssize_t n = recv(r->fd, to, room, MSG_DONTWAIT);
        if (n == 0)
            return -ECONNRESET;
        int err = 0;
        if (n > 0)
            err = kt_framer_got(&r->framer, (size_t)n);
        else if (errno == EAGAIN)
            err = wait_for(r->fd, POLLIN, deadline_ms);
        else if (errno != EINTR)
            err = -errno;
        if (err != 0)
            return err;
    }
}

int kt_rpc_recv(struct kt_rpc *r, unsigned timeout_ms, struct kt_msg *ret_m)
{
    kt_buf_unref(r->held);
    r->held = NULL;
    int n = read_frame(r, kt_now_ms() + timeout_ms);
    if (n < 0)
        return n;
    return kt_framer_take(&r->framer, &r->room, ret_m, &r->held);
}

void kt_rpc_close(struct kt_rpc *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    kt_buf_unref(r->held);
    r->held = NULL;
    kt_framer_release(&r->framer);
}

static int shake_hands(struct kt_rpc *r, const struct kt_msg *hello,
                       uint64_t deadline_ms, char *ret_why, size_t size)
{
    struct kt_msg m = *hello;
    const struct kt_id *ours = &hello->u.hello.cluster;

    m.type = KT_MSG_HELLO;
    m.buf = NULL;
    m.cfg = NULL;
    m.json = NULL;
    int err = kt_rpc_send(r, &m);
    uint64_t now_ms = kt_now_ms();
    if (err == 0)
        err = kt_rpc_recv(
            r, now_ms < deadline_ms ? (unsigned)(deadline_ms - now_ms) : 0,
            &r->peer);
    if (err < 0) {
        snprintf(ret_why, size, "the daemon does not answer: %s",
                 kt_strerror(err));
        return err;
    }
    const struct kt_id *theirs = &r->peer.u.hello.cluster;
    if (r->peer.type == KT_MSG_REFUSE) {
        snprintf(ret_why, size, "%s", r->peer.u.error.text);
        return KT_E_REFUSED;
    }
    if (r->peer.type != KT_MSG_HELLO_OK) {
        if (r->peer.type == KT_MSG_ADMIN || r->peer.type == KT_MSG_ADMIN_OK)
            json_decref(r->peer.json);
        snprintf(ret_why, size, "the peer does not speak this protocol");
        return KT_E_PROTO;
    }
    if (!kt_id_is_zero(ours) && !kt_id_is_zero(theirs) &&
        !kt_id_eq(ours, theirs)) {
        snprintf(ret_why, size,
                 "the daemon belongs to another cluster: check the context "
                 "file");
        return KT_E_REFUSED;
    }
    r->framer.hello_done = true;
    return 0;
}

int kt_rpc_open(struct kt_rpc *r, const struct kt_addr *a,
                const struct kt_msg *hello, unsigned timeout_ms, char *ret_why,
                size_t size)
{
    uint64_t deadline_ms = kt_now_ms() + timeout_ms;
    char text[KT_ADDR_TEXT_BYTES], why[256];

    kt_framer_init(&r->framer);
    r->held = NULL;
    r->n_asked = 0;
    r->fd = kt_connect_wait(a, timeout_ms);
    if (r->fd < 0) {
        int err = r->fd;
        snprintf(ret_why, size, "cannot connect to %s: %s",
                 kt_addr_format(a, text), kt_strerror(err));
        return err;
    }
    int err = shake_hands(r, hello, deadline_ms, why, sizeof(why));
    if (err < 0) {
        kt_rpc_close(r);
        snprintf(ret_why, size, "%s: %s", kt_addr_format(a, text), why);
    }
    return err;
}

int kt_rpc_open_hub(struct kt_rpc *r, const struct kt_context *ctx,
                    const struct kt_msg *hello, unsigned timeout_ms,
                    char *ret_why, size_t size)
{
    uint64_t deadline_ms = kt_now_ms() + timeout_ms;
    int err = -EINVAL;
    char why[512];

    snprintf(why, sizeof(why), "it names no hub");
    for (uint32_t i = 0; i < ctx->n_hubs; i++) {
        uint64_t now_ms = kt_now_ms();
        uint64_t left_ms = now_ms < deadline_ms ? deadline_ms - now_ms : 0;
        if (i > 0 && left_ms == 0)
            break;
        /* One that does not answer must not take all of the time. */
        unsigned share_ms = (unsigned)(left_ms / (ctx->n_hubs - i));
        err = kt_rpc_open(r, &ctx->hubs[i], hello, share_ms, why, sizeof(why));
        if (err == 0)
            return 0;
    }
    snprintf(ret_why, size,
             "no hub of %s can be used: %s. Is kenter-hub running?", ctx->path,
             why);
    return err;
}

/* ---- what people's programs say ---- */

void kt_rpc_hello(struct kt_msg *ret_m, const struct kt_id *cluster,
                  const char *prog)
{
    struct kt_msg m = {.type = KT_MSG_HELLO};

    m.u.hello.role = KT_ROLE_CLI;
    m.u.hello.cls = KT_CLASS_CONTROL;
    m.u.hello.cluster = *cluster;
    kt_id_random(&m.u.hello.id);
    if (kt_boot_id(&m.u.hello.boot) < 0)
        memset(&m.u.hello.boot, 0, sizeof(m.u.hello.boot));
    snprintf(m.u.hello.name, sizeof(m.u.hello.name), "%s.%ld", prog,
             (long)getpid());
    *ret_m = m;
}

int kt_rpc_admin(struct kt_rpc *r, json_t *req, unsigned timeout_ms,
                 json_t **ret_reply)
{
    struct kt_msg m = {.type = KT_MSG_ADMIN, .req = ++r->n_asked, .json = req};
    struct kt_msg reply;

    int err = kt_rpc_send(r, &m);
    while (err == 0) {
        err = kt_rpc_recv(r, timeout_ms, &reply);
        if (err < 0)
            break;
        if (reply.type == KT_MSG_ERROR && reply.req == m.req)
            return reply.u.error.err < 0 ? reply.u.error.err : KT_E_PROTO;
        if (reply.type != KT_MSG_ADMIN_OK)
            continue;
        if (reply.req == m.req && json_is_object((json_t *)reply.json)) {
            *ret_reply = reply.json;
            return 0;
        }
        json_decref(reply.json);
    }
    return err;
}
