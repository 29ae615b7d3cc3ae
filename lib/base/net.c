/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets: listening at and connecting to an address. */
#include "lib/base/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128
#define USER_TIMEOUT_MS 10000u

union any_addr {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static int to_sockaddr(const struct kt_addr *addr, union any_addr *ret_sa,
                       socklen_t *ret_len)
{
    union any_addr sa;

    memset(&sa, 0, sizeof(sa));
    if (addr->kind == KT_ADDR_UNIX) {
        size_t n = strnlen(addr->host, sizeof(addr->host));
        if (n == 0 || n >= sizeof(sa.un.sun_path))
            return -EINVAL;
        sa.un.sun_family = AF_UNIX;
        memcpy(sa.un.sun_path, addr->host, n);
        *ret_len = sizeof(sa.un);
    } else if (addr->kind != KT_ADDR_TCP) {
        return -EINVAL;
    } else if (inet_pton(AF_INET, addr->host, &sa.v4.sin_addr) == 1) {
        sa.v4.sin_family = AF_INET;
        sa.v4.sin_port = htons(addr->port);
        *ret_len = sizeof(sa.v4);
    } else if (inet_pton(AF_INET6, addr->host, &sa.v6.sin6_addr) == 1) {
        sa.v6.sin6_family = AF_INET6;
        sa.v6.sin6_port = htons(addr->port);
        *ret_len = sizeof(sa.v6);
    } else {
        return -EINVAL;
    }
    *ret_sa = sa;
    return 0;
}

/* A fresh non-blocking socket. Options of a listening one are inherited by
 * what it accepts. */
static int new_socket(const union any_addr *sa)
{
    int fd =
        socket(sa->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (sa->sa.sa_family != AF_UNIX) {
        int one = 1;
        unsigned timeout_ms = USER_TIMEOUT_MS;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
                       sizeof(timeout_ms)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0) {
            int r = -errno;
            close(fd);
            return r;
        }
    }
    return fd;
}

/* Removes a socket file that nobody listens on. 0 when it is gone. Two
 * daemons started on one path at the same instant can both find it dead;
 * the store's own lock stops the second. */
static int remove_dead_socket(const union any_addr *sa, socklen_t len)
{
    struct stat st;

    if (lstat(sa->un.sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EADDRINUSE;
    int fd = new_socket(sa);
    if (fd < 0)
        return fd;
    int r = connect(fd, &sa->sa, len) == 0 ? 0 : -errno;
    close(fd);
    if (r != -ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(sa->un.sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int bound_port(int fd, uint16_t *ret_port)
{
    union any_addr sa;
    socklen_t len = sizeof(sa);

    if (getsockname(fd, &sa.sa, &len) < 0)
        return -errno;
    *ret_port =
        ntohs(sa.sa.sa_family == AF_INET ? sa.v4.sin_port : sa.v6.sin6_port);
    return 0;
}

int kt_listen(const struct kt_addr *addr, struct kt_addr *ret_bound)
{
    union any_addr sa;
    socklen_t len;
    struct kt_addr bound = *addr;

    int r = to_sockaddr(addr, &sa, &len);
    if (r < 0)
        return r;
    int fd = new_socket(&sa);
    if (fd < 0)
        return fd;
    r = bind(fd, &sa.sa, len) < 0 ? -errno : 0;
    if (r == -EADDRINUSE && addr->kind == KT_ADDR_UNIX) {
        r = remove_dead_socket(&sa, len);
        if (r == 0 && bind(fd, &sa.sa, len) < 0)
            r = -errno;
    }
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = -errno;
    if (r == 0 && addr->kind == KT_ADDR_TCP)
        r = bound_port(fd, &bound.port);
    if (r < 0) {
        close(fd);
        return r;
    }
    if (ret_bound)
        *ret_bound = bound;
    return fd;
}

int kt_connect_start(const struct kt_addr *addr)
{
    union any_addr sa;
    socklen_t len;

    int r = to_sockaddr(addr, &sa, &len);
    if (r < 0)
        return r;
    int fd = new_socket(&sa);
    if (fd < 0)
        return fd;
    /* An interrupted connect goes on by itself, like one in progress. */
    if (connect(fd, &sa.sa, len) < 0 && errno != EINPROGRESS &&
        errno != EINTR) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* Waits until the connect of fd has ended, one way or the other. */
static int wait_connected(int fd, unsigned timeout_ms)
{
    uint64_t deadline_ms = kt_now_ms() + timeout_ms;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        uint64_t now_ms = kt_now_ms();
        int left_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
        int n = poll(&p, 1, left_ms);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -ETIMEDOUT;
        if (n > 0)
            break;
    }
    int err;
    socklen_t len = sizeof(err);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return -errno;
    return -err;
}

int kt_connect_wait(const struct kt_addr *addr, unsigned timeout_ms)
{
    int fd = kt_connect_start(addr);
    if (fd < 0)
        return fd;
    int r = wait_connected(fd, timeout_ms);
    if (r == 0) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
            r = -errno;
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}
