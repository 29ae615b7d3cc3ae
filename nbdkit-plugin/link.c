/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/base/os.h"

#define GREETING_MS 5000u
#define RETRY_MIN_MS 50u
#define RETRY_MAX_MS 1000u
#define DIRECT_BYTES (16u << 10) /* payloads from here on skip the stage */
#define IOV_PIECES 64u

struct link *link_new(uint8_t cls)
{
    struct link *l = calloc(1, sizeof(*l));
    uint8_t *stage = malloc(LINK_STAGE_BYTES);
    if (!l || !stage) {
        free(l);
        free(stage);
        return NULL;
    }
    l->stage = stage;
    l->fd = -1;
    l->cls = cls;
    kt_framer_init(&l->framer);
    return l;
}

static void drop_queue(struct link *l)
{
    for (; l->count; l->count--) {
        kt_buf_unref(l->pieces[l->first].buf);
        l->first = (l->first + 1) % l->pieces_cap;
    }
    l->first = 0;
}

static void shut(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    drop_queue(l);
    kt_framer_release(&l->framer);
    kt_framer_init(&l->framer);
    l->stage_at = l->stage_len = 0;
    l->drained = l->broken = false;
}

void link_free(struct link *l)
{
    if (!l)
        return;
    shut(l);
    free(l->pieces);
    free(l->stage);
    free(l);
}

void link_close(struct link *l)
{
    shut(l);
    l->state = LINK_OFF;
    l->fails = 0;
}

void link_fail(struct link *l, uint64_t now_ms)
{
    unsigned shift = l->fails < 5 ? l->fails : 5;
    uint64_t ms = kt_min_u64(RETRY_MIN_MS << shift, RETRY_MAX_MS);
    shut(l);
    /* Another address gets its chance at once, the first one after a rest. */
    if (l->n_addrs)
        l->addr = (l->addr + 1) % l->n_addrs;
    l->retry_ms = now_ms + (l->addr ? 0 : ms);
    l->fails++;
    l->state = LINK_WAITING;
}

void link_open(struct link *l, uint64_t now_ms)
{
    if (l->n_addrs == 0 || l->addr >= l->n_addrs)
        l->addr = 0;
    shut(l);
    int fd = l->n_addrs ? kt_connect_start(&l->addrs[l->addr]) : -EINVAL;
    if (fd < 0) {
        link_fail(l, now_ms);
        return;
    }
    int size = 1 << 20; /* as much as the system allows */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    l->fd = fd;
    l->state = LINK_CONNECTING;
    l->deadline_ms = now_ms + GREETING_MS;
}

void link_adopt(struct link *l, int fd, const struct kt_framer *f)
{
    shut(l);
    l->fd = fd;
    l->framer = *f;
    l->state = LINK_UP;
    l->fails = 0;
}

int link_connected(struct link *l)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return -errno;
    if (err)
        return err == EINPROGRESS || err == EALREADY ? 0 : -err;
    l->state = LINK_GREETING;
    return 1;
}

static bool push(struct link *l, const uint8_t *b, size_t len)
{
    if (len == 0)
        return true;
    if (l->count == l->pieces_cap) {
        uint32_t cap = l->pieces_cap ? l->pieces_cap * 2 : 64;
        struct link_piece *p = malloc(cap * sizeof(*p));
        if (!p)
            return false;
        for (uint32_t i = 0; i < l->count; i++)
            p[i] = l->pieces[(l->first + i) % l->pieces_cap];
        free(l->pieces);
        l->pieces = p;
        l->pieces_cap = cap;
        l->first = 0;
    }
    struct kt_buf *buf = kt_buf_new((uint32_t)len, 0);
    if (!buf)
        return false;
    memcpy(buf->data, b, len);
    buf->data_len = (uint32_t)len;
    l->pieces[(l->first + l->count) % l->pieces_cap] =
        (struct link_piece){.buf = buf};
    l->count++;
    return true;
}

static bool would_block(int err)
{
    return err == EAGAIN || err == EINTR;
}

bool link_send(struct link *l, const struct kt_msg *m, uint8_t *enc,
               size_t enc_size)
{
    if (l->fd < 0 || l->broken)
        return l->broken;
    int n = kt_msg_encode(m, enc, enc_size);
    if (n < 0) {
        l->broken = true; /* it can never be sent */
        return true;
    }
    bool with_data = m->type < KT_MSG_CONTROL && m->buf;
    struct iovec iov[2] = {{enc, (size_t)n}, {NULL, 0}};
    if (with_data)
        iov[1] = (struct iovec){m->buf->data, m->buf->data_len};
    size_t sent = 0;
    if (l->count == 0) {
        struct msghdr h = {.msg_iov = iov, .msg_iovlen = with_data ? 2 : 1};
        ssize_t w = sendmsg(l->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (w < 0 && !would_block(errno)) {
            l->broken = true;
            return true;
        }
        sent = w < 0 ? 0 : (size_t)w;
    }
    if (sent == iov[0].iov_len + iov[1].iov_len)
        return false;
    /* The user's bytes may go away before the socket takes them: a copy. */
    for (int i = 0; i < 2; i++) {
        size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;
        sent -= skip;
        if (iov[i].iov_len > skip &&
            !push(l, (uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip))
            l->broken = true; /* out of memory, half a frame is out */
    }
    return true;
}

int link_flush(struct link *l)
{
    while (l->count) {
        struct iovec iov[IOV_PIECES];
        uint32_t n = l->count < IOV_PIECES ? l->count : IOV_PIECES;
        for (uint32_t i = 0; i < n; i++) {
            struct link_piece *p = &l->pieces[(l->first + i) % l->pieces_cap];
            iov[i].iov_base = p->buf->data + p->at;
            iov[i].iov_len = p->buf->data_len - p->at;
        }
        struct msghdr h = {.msg_iov = iov, .msg_iovlen = n};
        ssize_t w = sendmsg(l->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (w < 0)
            return would_block(errno) ? 0 : -errno;
        for (size_t left = (size_t)w; left;) {
            struct link_piece *p = &l->pieces[l->first];
            size_t room = p->buf->data_len - p->at;
            size_t take = left < room ? left : room;
            p->at += (uint32_t)take;
            left -= take;
            if (take < room)
                break;
            kt_buf_unref(p->buf);
            l->first = (l->first + 1) % l->pieces_cap;
            l->count--;
        }
    }
    return 0;
}

/* More bytes, into the framer or the stage. As link_recv. */
static int more(struct link *l, int *ret_ready)
{
    size_t want;
    uint8_t *to = kt_framer_want(&l->framer, &want);
    bool direct = want >= DIRECT_BYTES;
    *ret_ready = 0;
    if (!to)
        return l->framer.err;
    if (l->drained) {
        l->drained = false;
        return 0;
    }
    if (!direct) {
        to = l->stage;
        want = LINK_STAGE_BYTES;
    }
    ssize_t n = recv(l->fd, to, want, MSG_DONTWAIT);
    if (n < 0)
        return would_block(errno) ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    /* A short answer empties the socket: the next call would say EAGAIN. */
    l->drained = (size_t)n < want;
    if (direct) {
        *ret_ready = kt_framer_got(&l->framer, (size_t)n);
        return *ret_ready < 0 ? *ret_ready : 1;
    }
    l->stage_at = 0;
    l->stage_len = (size_t)n;
    return 1;
}

int link_recv(struct link *l, struct kt_msg_room *room, struct kt_msg *ret_m,
              struct kt_buf **ret_buf, int *ret_err)
{
    int ready = 0;
    while (!ready) {
        if (l->stage_at < l->stage_len) {
            size_t used;
            ready = kt_framer_feed(&l->framer, l->stage + l->stage_at,
                                   l->stage_len - l->stage_at, &used);
            l->stage_at += used;
        } else {
            int r = more(l, &ready);
            if (r <= 0)
                return r;
        }
        if (ready < 0)
            return ready;
    }
    int r = kt_framer_take(&l->framer, room, ret_m, ret_buf);
    if (r < 0 && r != KT_E_BADSUM) {
        kt_buf_unref(*ret_buf);
        return r;
    }
    *ret_err = r;
    return 1;
}
