/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of a connection.
 *
 * Reading: a payload's rest of 16 KiB or more is read straight into its
 * buffer; everything else goes through one block that all connections of the
 * net share, because it is emptied before the next read.
 *
 * Writing:
 *  1. kt_conn_queue encodes the frame's head into the arena of the last batch
 *     and refers to the payload. The connection is marked dirty.
 *  2. At the end of the loop's turn kt_net_flush writes each dirty
 *     connection's batches by one uv_try_write each.
 *  3. What the socket did not take goes to uv_write; until it calls back,
 *     frames gather in further batches, and then 2 again.
 * A failed write closes the connection; the batches go with it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/log.h"
#include "lib/link/conn_priv.h"

/* ---- reading ---- */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *ret)
{
    struct kt_conn *c = kt_container_of(h, struct kt_conn, h.handle);

    (void)hint;
    c->direct = false;
    if (c->framer.buf) {
        size_t len;
        uint8_t *p = kt_framer_want(&c->framer, &len);
        if (p == c->framer.buf->data + c->framer.have && len >= DIRECT_BYTES) {
            c->direct = true;
            *ret = uv_buf_init((char *)p, (unsigned)len);
            return;
        }
    }
    *ret = uv_buf_init((char *)c->net->rbuf, READ_BYTES);
}

static void garbage(struct kt_conn *c, int err)
{
    char peer[KT_ADDR_TEXT_BYTES], why[128];
    const uint8_t *head = c->framer.head;
    static const uint8_t magic[] = {'K', 'N', 'T', '1'};

    kt_log(KT_LOG_WARN, "conn_garbage", "peer=\"%s\" err=\"%s\"",
           kt_conn_peer_text(c, peer), kt_strerror(err));
    /* Another version of ourselves deserves a sentence. */
    if (c->state == CONN_WAIT_HELLO && memcmp(head, magic, 4) == 0 &&
        head[4] != KT_PROTO) {
        snprintf(why, sizeof(why),
                 "this side speaks protocol %u, yours is %u: upgrade the older",
                 KT_PROTO, head[4]);
        kt_conn_refuse(c, KT_E_PROTO, why);
        return;
    }
    kt_conn_fail(c, err, "");
}

/* The framer has a whole frame. */
static void deliver(struct kt_conn *c)
{
    struct kt_msg m;
    struct kt_buf *buf;

    int r = kt_framer_take(&c->framer, &c->net->room, &m, &buf);
    if (r < 0 && r != KT_E_BADSUM) {
        garbage(c, r);
    } else {
        kt_conn_handle(c, &m, r);
        if (m.type == KT_MSG_ADMIN || m.type == KT_MSG_ADMIN_OK)
            json_decref(m.json);
    }
    kt_buf_unref(buf);
}

static void consume(struct kt_conn *c, const uint8_t *b, size_t len)
{
    /* A paused connection still gets what was read before. */
    while (len > 0 && c->state != CONN_CLOSING && c->state != CONN_REFUSING) {
        size_t used;
        int r = kt_framer_feed(&c->framer, b, len, &used);
        b += used;
        len -= used;
        if (r < 0)
            garbage(c, r);
        else if (r > 0)
            deliver(c);
    }
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct kt_conn *c = kt_container_of(s, struct kt_conn, h.stream);

    if (n == 0 || c->state == CONN_CLOSING)
        return;
    if (n < 0) {
        kt_conn_fail(c, n == UV_EOF ? -ECONNRESET : (int)n, "");
        return;
    }
    if (!c->direct) {
        consume(c, (const uint8_t *)buf->base, (size_t)n);
        return;
    }
    int r = kt_framer_got(&c->framer, (size_t)n);
    if (r < 0)
        garbage(c, r);
    else if (r > 0)
        deliver(c);
}

int kt_conn_read_start(struct kt_conn *c)
{
    return uv_read_start(&c->h.stream, on_alloc, on_read);
}

/* ---- writing ---- */

static struct batch *batch_new(struct kt_conn *c)
{
    struct kt_net *n = c->net;
    struct batch *b = n->free_batches;

    if (b) {
        n->free_batches = b->next;
        n->n_free--;
    } else {
        b = malloc(sizeof(*b));
        if (!b)
            return NULL;
    }
    b->next = NULL;
    b->conn = c;
    b->in_flight = false;
    b->used = 0;
    b->first = b->n = 0;
    b->bytes = 0;
    if (c->out_last)
        c->out_last->next = b;
    else
        c->out_first = b;
    c->out_last = b;
    return b;
}

/* Takes the first batch off its connection and keeps or frees it. */
static void batch_drop_first(struct kt_conn *c)
{
    struct kt_net *n = c->net;
    struct batch *b = c->out_first;

    for (uint32_t i = b->first; i < b->n; i++)
        kt_buf_unref(b->refs[i]);
    assert(c->queued >= b->bytes);
    c->queued -= b->bytes;
    c->out_first = b->next;
    if (!c->out_first)
        c->out_last = NULL;
    if (n->n_free < BATCHES_KEPT && !n->closing) {
        b->next = n->free_batches;
        n->free_batches = b;
        n->n_free++;
    } else {
        free(b);
    }
}

void kt_conn_drop_queue(struct kt_conn *c)
{
    while (c->out_first)
        batch_drop_first(c);
}

static struct batch *batch_for(struct kt_conn *c)
{
    struct batch *b = c->out_last;

    if (b && !b->in_flight && b->n + 2 <= SEGMENTS_MAX &&
        b->used + HEAD_BYTES_MAX <= ARENA_BYTES && b->bytes < BATCH_BYTES_MAX)
        return b;
    return batch_new(c);
}

/* A segment; one that continues the segment before it only lengthens it. */
static void batch_add(struct batch *b, uint8_t *p, size_t len,
                      struct kt_buf *ref)
{
    uv_buf_t *last = b->n > b->first ? &b->bufs[b->n - 1] : NULL;

    if (!ref && last && !b->refs[b->n - 1] &&
        last->base + last->len == (char *)p) {
        last->len += len;
    } else {
        assert(b->n < SEGMENTS_MAX);
        b->bufs[b->n] = uv_buf_init((char *)p, (unsigned)len);
        b->refs[b->n++] = kt_buf_ref(ref);
    }
    b->bytes += len;
    b->conn->queued += len;
}

static int queue_data(struct batch *b, const struct kt_msg *m)
{
    uint8_t *at = b->arena + b->used;
    struct kt_frame f;

    int len = kt_msg_encode(m, at, ARENA_BYTES - b->used);
    if (len < 0)
        return len;
    b->used += (uint32_t)len;
    batch_add(b, at, (size_t)len, NULL);
    int r = kt_frame_decode(at, &f);
    assert(r == 0);
    if (f.plen > 0) {
        assert(m->buf && m->buf->data_len == f.plen);
        batch_add(b, m->buf->data, f.plen, m->buf);
    }
    return 0;
}

static int queue_control(struct batch *b, const struct kt_msg *m)
{
    uint8_t *scratch = b->conn->net->scratch;

    int len = kt_msg_encode(m, scratch, KT_CONTROL_BYTES_MAX);
    if (len < 0)
        return len;
    if ((uint32_t)len <= ARENA_BYTES - b->used) {
        uint8_t *at = b->arena + b->used;
        memcpy(at, scratch, (size_t)len);
        b->used += (uint32_t)len;
        batch_add(b, at, (size_t)len, NULL);
        return 0;
    }
    struct kt_buf *whole = kt_buf_new((uint32_t)len, 0);
    if (!whole)
        return -ENOMEM;
    memcpy(whole->data, scratch, (size_t)len);
    whole->data_len = (uint32_t)len;
    batch_add(b, whole->data, (size_t)len, whole);
    kt_buf_unref(whole);
    return 0;
}

/* The asker must not wait for ever for an answer that cannot be sent. */
static void queue_sorry(struct batch *b, const struct kt_msg *m, int err)
{
    struct kt_msg sorry = {.type = KT_MSG_ERROR, .req = m->req};
    char peer[KT_ADDR_TEXT_BYTES];

    kt_log(KT_LOG_ERROR, "send_failed", "peer=\"%s\" msg=%s err=\"%s\"",
           kt_conn_peer_text(b->conn, peer), kt_msg_name(m->type),
           kt_strerror(err));
    if (m->type != KT_MSG_ADMIN_OK)
        return;
    sorry.u.error.err = KT_E_LIMIT;
    snprintf(sorry.u.error.text, sizeof(sorry.u.error.text),
             "the answer is too large for one message: ask for less");
    if (queue_control(b, &sorry) < 0)
        kt_conn_fail(b->conn, -ENOMEM, "");
}

static void mark_dirty(struct kt_conn *c)
{
    struct kt_net *n = c->net;

    if (c->dirty)
        return;
    c->dirty = true;
    c->dirty_next = n->dirty;
    if (!n->dirty)
        /* Whatever phase of the turn this is, do not sleep before the flush. */
        kt_net_wake(n);
    n->dirty = c;
}

void kt_conn_queue(struct kt_conn *c, const struct kt_msg *m)
{
    struct batch *b = batch_for(c);
    if (!b) {
        kt_conn_fail(c, -ENOMEM, "");
        return;
    }
    int r = m->type < KT_MSG_CONTROL ? queue_data(b, m) : queue_control(b, m);
    if (r < 0)
        queue_sorry(b, m, r);
    if (c->state == CONN_CLOSING)
        return;
    mark_dirty(c);
    if (c->queued > QUEUED_MAX)
        kt_conn_fail(c, -ENOBUFS, "");
}

/* n bytes of b were written. */
static void batch_advance(struct batch *b, size_t n)
{
    assert(n <= b->bytes && n <= b->conn->queued);
    b->bytes -= n;
    b->conn->queued -= n;
    while (b->first < b->n && n >= b->bufs[b->first].len) {
        n -= b->bufs[b->first].len;
        kt_buf_unref(b->refs[b->first++]);
    }
    if (n > 0) {
        b->bufs[b->first].base += n;
        b->bufs[b->first].len -= n;
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct batch *b = kt_container_of(req, struct batch, req);
    struct kt_conn *c = b->conn;

    assert(b == c->out_first && b->in_flight);
    batch_drop_first(c);
    if (c->state == CONN_CLOSING)
        return;
    if (status < 0)
        kt_conn_fail(c, status, "");
    else
        kt_conn_flush(c);
}

void kt_conn_flush(struct kt_conn *c)
{
    struct batch *b;

    while ((b = c->out_first) && !b->in_flight) {
        uint32_t n = b->n - b->first;
        int r = n > 0 ? uv_try_write(&c->h.stream, b->bufs + b->first, n) : 0;
        if (r < 0 && r != UV_EAGAIN) {
            kt_conn_fail(c, r, "");
            return;
        }
        if (r > 0)
            batch_advance(b, (size_t)r);
        if (b->bytes == 0) {
            batch_drop_first(c);
            continue;
        }
        b->in_flight = true;
        r = uv_write(&b->req, &c->h.stream, b->bufs + b->first, b->n - b->first,
                     on_written);
        if (r < 0) {
            b->in_flight = false;
            kt_conn_fail(c, r, "");
            return;
        }
    }
    if (!c->out_first && c->state == CONN_REFUSING)
        kt_conn_fail(c, KT_E_REFUSED, "");
}

void kt_net_flush(struct kt_net *n)
{
    while (n->dirty) {
        struct kt_conn *c = n->dirty;
        n->dirty = c->dirty_next;
        c->dirty = false;
        if (c->state != CONN_CLOSING)
            kt_conn_flush(c);
    }
    uv_idle_stop(&n->idle);
}
