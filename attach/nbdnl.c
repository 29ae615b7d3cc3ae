/* SPDX-License-Identifier: BSD-3-Clause */
#include "attach/nbdnl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel answers at once, but for its own locks. */
#define ANSWER_MS 30000
#define READ_BYTES 8192u

static int open_netlink(void)
{
    struct sockaddr_nl me = {.nl_family = AF_NETLINK};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&me, sizeof(me)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int send_out(int fd, const struct nbdnl_out *out)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t k;

    do {
        k = sendto(fd, out->bytes, out->len, 0, (struct sockaddr *)&kernel,
                   sizeof(kernel));
    } while (k < 0 && errno == EINTR);
    return k < 0 ? -errno : (size_t)k == out->len ? 0 : -EIO;
}

/* One datagram of the kernel's; others may send to us as well, and do not
 * count. Its length, or -errno (-EAGAIN: nothing within wait_ms). */
static ssize_t receive(int fd, int wait_ms, uint8_t *buf, size_t size)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    for (;;) {
        struct sockaddr_nl from;
        socklen_t n = sizeof(from);
        int r = poll(&p, 1, wait_ms);
        if (r == 0)
            return -EAGAIN;
        ssize_t k = r < 0 ? -1
                          : recvfrom(fd, buf, size, MSG_DONTWAIT,
                                     (struct sockaddr *)&from, &n);
        if (k < 0 && errno != EINTR)
            return -errno;
        if (k >= 0 && n == sizeof(from) && from.nl_pid == 0)
            return k;
    }
}

/* Sends, and reads up to the acknowledgement. What else came with our number
 * is left in ret_in when it is of that kind. */
static int ask(struct nbdnl *n, const struct nbdnl_out *out,
               enum nbdnl_kind kind, struct nbdnl_in *ret_in)
{
    uint8_t buf[READ_BYTES];
    struct nbdnl_in in;
    bool found = kind == NBDNL_ACK;

    int r = send_out(n->fd, out);
    if (r < 0)
        return r;
    for (;;) {
        ssize_t len = receive(n->fd, ANSWER_MS, buf, sizeof(buf));
        if (len < 0)
            return len == -EAGAIN ? -ETIMEDOUT : (int)len;
        for (size_t at = 0; at < (size_t)len;) {
            ssize_t took =
                nbdnl_take(buf + at, (size_t)len - at, n->family, &in);
            if (took < 0)
                return (int)took;
            at += (size_t)took;
            if (in.seq != n->seq)
                continue; /* of a question that was given up */
            if (in.kind == NBDNL_ACK)
                return in.error < 0 ? in.error : found ? 0 : -EBADMSG;
            if (in.kind == kind) {
                *ret_in = in;
                found = true;
            }
        }
    }
}

static int join_events(struct nbdnl *n, uint32_t group)
{
    n->events = open_netlink();
    if (n->events < 0)
        return n->events;
    if (setsockopt(n->events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
                   sizeof(group)) < 0)
        return -errno;
    return 0;
}

int nbdnl_open(struct nbdnl *ret_n)
{
    struct nbdnl n = {.events = -1, .seq = 1};
    struct nbdnl_out out;
    struct nbdnl_in in;

    n.fd = open_netlink();
    if (n.fd < 0)
        return n.fd;
    nbdnl_put_family(&out, n.seq);
    int r = ask(&n, &out, NBDNL_FAMILY, &in);
    if (r == 0) {
        n.family = in.family;
        r = join_events(&n, in.group);
    }
    if (r < 0) {
        nbdnl_close(&n);
        return r;
    }
    *ret_n = n;
    return 0;
}

void nbdnl_close(struct nbdnl *n)
{
    if (n->fd >= 0)
        close(n->fd);
    if (n->events >= 0)
        close(n->events);
    n->fd = n->events = -1;
}

int nbdnl_connect(struct nbdnl *n, const struct nbdnl_device *d,
                  uint32_t *ret_index)
{
    struct nbdnl_out out;
    struct nbdnl_in in;

    nbdnl_put_connect(&out, n->family, ++n->seq, d);
    int r = ask(n, &out, NBDNL_CONNECTED, &in);
    if (r == 0)
        *ret_index = in.index;
    return r;
}

int nbdnl_reconfigure(struct nbdnl *n, const struct nbdnl_device *d)
{
    struct nbdnl_out out;

    nbdnl_put_reconfigure(&out, n->family, ++n->seq, d);
    return ask(n, &out, NBDNL_ACK, NULL);
}

int nbdnl_disconnect(struct nbdnl *n, uint32_t index)
{
    struct nbdnl_out out;

    nbdnl_put_disconnect(&out, n->family, ++n->seq, index);
    return ask(n, &out, NBDNL_ACK, NULL);
}

int nbdnl_event(struct nbdnl *n, uint32_t *ret_index)
{
    uint8_t buf[READ_BYTES];
    struct nbdnl_in in;

    for (;;) {
        ssize_t len = receive(n->events, 0, buf, sizeof(buf));
        if (len == -EAGAIN || len == -ENOBUFS)
            return 0;
        if (len < 0)
            return (int)len;
        /* The kernel sends each event in a datagram of its own. */
        if (nbdnl_take(buf, (size_t)len, n->family, &in) > 0 &&
            in.kind == NBDNL_LINK_DEAD) {
            *ret_index = in.index;
            return 1;
        }
    }
}
