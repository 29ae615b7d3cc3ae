/* SPDX-License-Identifier: BSD-3-Clause */
/* Everything is in host order and at multiples of four bytes:
 *
 *   struct nlmsghdr    length, type, flags, sequence, port
 *   struct genlmsghdr  command, version, 0
 *   attributes         u16 length with these four bytes, u16 type, value
 *
 * NBD_ATTR_SOCKETS holds items which hold one NBD_SOCK_FD each. A TIMEOUT of
 * zero is written explicitly: a device that had one before keeps it
 * otherwise. With it the kernel never kills a slow server's connection, and
 * what is in flight is sent again on a new one only. */
#include "attach/nbdnl_msg.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/types.h>

#define HEAD_BYTES (NLMSG_HDRLEN + GENL_HDRLEN)

/* ---- writing ---- */

static void *put(struct nbdnl_out *out, size_t len)
{
    size_t at = out->len, padded = NLMSG_ALIGN(len);

    assert(padded <= sizeof(out->bytes) - at); /* the largest one fits */
    memset(out->bytes + at, 0, padded);
    out->len = at + padded;
    return out->bytes + at;
}

static void begin(struct nbdnl_out *out, uint16_t type, uint8_t cmd,
                  uint32_t seq)
{
    struct nlmsghdr h = {.nlmsg_type = type,
                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
                         .nlmsg_seq = seq};
    struct genlmsghdr g = {.cmd = cmd, .version = 1};

    out->len = 0;
    memcpy(put(out, sizeof(h)), &h, sizeof(h));
    memcpy(put(out, sizeof(g)), &g, sizeof(g));
}

static void end(struct nbdnl_out *out)
{
    uint32_t len = (uint32_t)out->len;

    memcpy(out->bytes, &len, sizeof(len)); /* nlmsg_len */
}

static void put_attr(struct nbdnl_out *out, uint16_t type, const void *value,
                     size_t len)
{
    struct nlattr a = {.nla_len = (uint16_t)(NLA_HDRLEN + len),
                       .nla_type = type};
    uint8_t *p = put(out, NLA_HDRLEN + len);

    memcpy(p, &a, sizeof(a));
    memcpy(p + NLA_HDRLEN, value, len);
}

static void put_u32(struct nbdnl_out *out, uint16_t type, uint32_t v)
{
    put_attr(out, type, &v, sizeof(v));
}

static void put_u64(struct nbdnl_out *out, uint16_t type, uint64_t v)
{
    put_attr(out, type, &v, sizeof(v));
}

static size_t open_nest(struct nbdnl_out *out, uint16_t type)
{
    size_t at = out->len;

    put_attr(out, type | NLA_F_NESTED, "", 0);
    return at;
}

static void close_nest(struct nbdnl_out *out, size_t at)
{
    uint16_t len = (uint16_t)(out->len - at);

    memcpy(out->bytes + at, &len, sizeof(len)); /* nla_len */
}

static void put_sockets(struct nbdnl_out *out, const struct nbdnl_device *d)
{
    assert(d->n_sockets > 0 && d->n_sockets <= NBDNL_SOCKETS_MAX);
    size_t list = open_nest(out, NBD_ATTR_SOCKETS);
    for (unsigned i = 0; i < d->n_sockets; i++) {
        size_t item = open_nest(out, NBD_SOCK_ITEM);
        put_u32(out, NBD_SOCK_FD, (uint32_t)d->sockets[i]);
        close_nest(out, item);
    }
    close_nest(out, list);
}

static void put_device(struct nbdnl_out *out, const struct nbdnl_device *d)
{
    assert(d->backend && strlen(d->backend) < NBDNL_BACKEND_BYTES);
    put_u64(out, NBD_ATTR_DEAD_CONN_TIMEOUT, d->dead_timeout_s);
    put_attr(out, NBD_ATTR_BACKEND_IDENTIFIER, d->backend,
             strlen(d->backend) + 1);
    put_sockets(out, d);
}

void nbdnl_put_family(struct nbdnl_out *out, uint32_t seq)
{
    static const char name[] = NBD_GENL_FAMILY_NAME;

    begin(out, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, seq);
    put_attr(out, CTRL_ATTR_FAMILY_NAME, name, sizeof(name));
    end(out);
}

void nbdnl_put_connect(struct nbdnl_out *out, uint16_t family, uint32_t seq,
                       const struct nbdnl_device *d)
{
    begin(out, family, NBD_CMD_CONNECT, seq);
    if (d->index != NBDNL_NO_INDEX)
        put_u32(out, NBD_ATTR_INDEX, d->index);
    put_u64(out, NBD_ATTR_SIZE_BYTES, d->size_bytes);
    put_u64(out, NBD_ATTR_BLOCK_SIZE_BYTES, d->block_bytes);
    put_u64(out, NBD_ATTR_SERVER_FLAGS, d->server_flags);
    put_u64(out, NBD_ATTR_CLIENT_FLAGS, 0);
    put_u64(out, NBD_ATTR_TIMEOUT, 0);
    put_device(out, d);
    end(out);
}

void nbdnl_put_reconfigure(struct nbdnl_out *out, uint16_t family, uint32_t seq,
                           const struct nbdnl_device *d)
{
    assert(d->index != NBDNL_NO_INDEX);
    begin(out, family, NBD_CMD_RECONFIGURE, seq);
    put_u32(out, NBD_ATTR_INDEX, d->index);
    /* No size: with a dead socket newer kernels hang for good over it. No
     * timeout: it would put the request queue's back to 30 s. */
    put_device(out, d);
    end(out);
}

static void put_index(struct nbdnl_out *out, uint16_t family, uint8_t cmd,
                      uint32_t seq, uint32_t index)
{
    assert(index != NBDNL_NO_INDEX);
    begin(out, family, cmd, seq);
    put_u32(out, NBD_ATTR_INDEX, index);
    end(out);
}

void nbdnl_put_disconnect(struct nbdnl_out *out, uint16_t family, uint32_t seq,
                          uint32_t index)
{
    put_index(out, family, NBD_CMD_DISCONNECT, seq, index);
}

/* ---- reading ---- */

struct attr {
    uint16_t type;
    const uint8_t *value;
    size_t len;
};

/* The attribute at *at of len bytes; false at the end, and where what follows
 * is none. */
static bool next_attr(const uint8_t *bytes, size_t len, size_t *at,
                      struct attr *ret)
{
    struct nlattr a;

    if (*at >= len || len - *at < NLA_HDRLEN)
        return false;
    memcpy(&a, bytes + *at, sizeof(a));
    if (a.nla_len < NLA_HDRLEN || a.nla_len > len - *at)
        return false;
    ret->type = a.nla_type & NLA_TYPE_MASK;
    ret->value = bytes + *at + NLA_HDRLEN;
    ret->len = a.nla_len - NLA_HDRLEN;
    *at += NLA_ALIGN(a.nla_len);
    return true;
}

static uint32_t number(const struct attr *a)
{
    uint32_t v = 0;

    if (a->len == 1)
        v = a->value[0];
    else if (a->len >= sizeof(v))
        memcpy(&v, a->value, sizeof(v));
    return v;
}

static uint16_t number16(const struct attr *a)
{
    uint16_t v = 0;

    if (a->len >= sizeof(v))
        memcpy(&v, a->value, sizeof(v));
    return v;
}

static bool is_text(const struct attr *a, const char *text)
{
    size_t n = strlen(text) + 1;

    return a->len == n && memcmp(a->value, text, n) == 0;
}

static void take_groups(const struct attr *list, struct nbdnl_in *in)
{
    struct attr item, a;

    for (size_t at = 0; next_attr(list->value, list->len, &at, &item);) {
        uint32_t id = 0;
        bool ours = false;
        for (size_t i = 0; next_attr(item.value, item.len, &i, &a);) {
            if (a.type == CTRL_ATTR_MCAST_GRP_ID)
                id = number(&a);
            else if (a.type == CTRL_ATTR_MCAST_GRP_NAME)
                ours = is_text(&a, NBD_GENL_MCAST_GROUP_NAME);
        }
        if (ours)
            in->group = id;
    }
}

static void take_family(const uint8_t *bytes, size_t len, struct nbdnl_in *in)
{
    struct attr a;
    bool ours = false;

    for (size_t at = 0; next_attr(bytes, len, &at, &a);) {
        if (a.type == CTRL_ATTR_FAMILY_NAME)
            ours = is_text(&a, NBD_GENL_FAMILY_NAME);
        else if (a.type == CTRL_ATTR_FAMILY_ID)
            in->family = number16(&a);
        else if (a.type == CTRL_ATTR_MCAST_GROUPS)
            take_groups(&a, in);
    }
    if (ours && in->family)
        in->kind = NBDNL_FAMILY;
}

static void take_nbd(uint8_t cmd, const uint8_t *bytes, size_t len,
                     struct nbdnl_in *in)
{
    struct attr a;

    for (size_t at = 0; next_attr(bytes, len, &at, &a);) {
        if (a.type == NBD_ATTR_INDEX)
            in->index = number(&a);
    }
    if (in->index != NBDNL_NO_INDEX && cmd == NBD_CMD_CONNECT)
        in->kind = NBDNL_CONNECTED;
    else if (in->index != NBDNL_NO_INDEX && cmd == NBD_CMD_LINK_DEAD)
        in->kind = NBDNL_LINK_DEAD;
}

ssize_t nbdnl_take(const uint8_t *bytes, size_t len, uint16_t family,
                   struct nbdnl_in *ret_in)
{
    struct nbdnl_in in = {.kind = NBDNL_OTHER, .index = NBDNL_NO_INDEX};
    struct nlmsghdr h;
    struct genlmsghdr g;

    if (len < NLMSG_HDRLEN)
        return -EBADMSG;
    memcpy(&h, bytes, sizeof(h));
    if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > len)
        return -EBADMSG;
    in.seq = h.nlmsg_seq;
    if (h.nlmsg_type == NLMSG_ERROR) {
        int32_t error;
        if (h.nlmsg_len < NLMSG_HDRLEN + sizeof(error))
            return -EBADMSG;
        memcpy(&error, bytes + NLMSG_HDRLEN, sizeof(error));
        if (error > 0)
            return -EBADMSG;
        in.kind = NBDNL_ACK;
        in.error = error;
    } else if (h.nlmsg_len >= HEAD_BYTES) {
        memcpy(&g, bytes + NLMSG_HDRLEN, sizeof(g));
        const uint8_t *attrs = bytes + HEAD_BYTES;
        size_t n = h.nlmsg_len - HEAD_BYTES;
        if (h.nlmsg_type == GENL_ID_CTRL)
            take_family(attrs, n, &in);
        else if (family && h.nlmsg_type == family)
            take_nbd(g.cmd, attrs, n, &in);
    }
    *ret_in = in;
    size_t whole = NLMSG_ALIGN(h.nlmsg_len);
    return (ssize_t)(whole < len ? whole : len);
}
