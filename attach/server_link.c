/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections to the nbdkit of a volume. libnbd does the handshake; it reads
 * exactly what belongs to it, so the connection is at its first request then.
 * Structured replies are not asked for: the kernel knows simple ones only. */
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <linux/nbd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach/server.h"
#include "lib/base/err.h"
#include "lib/base/os.h"

#define HANDSHAKE_MS 30000u
#define LISTEN_TRIES 100u
#define NBD_SEND_ZEROES (1u << 6) /* newer than some linux/nbd.h */

static int open_socket(const char *path)
{
    struct kt_addr a = {.kind = KT_ADDR_UNIX};

    if (strlen(path) >= sizeof(a.host))
        return -ENAMETOOLONG;
    memcpy(a.host, path, strlen(path));
    /* The path is there a moment before anybody listens. */
    for (unsigned i = 0;; i++) {
        const struct timespec nap = {.tv_nsec = 20000000};
        int fd = kt_connect_wait(&a, HANDSHAKE_MS);
        if (fd != -ECONNREFUSED || i == LISTEN_TRIES)
            return fd;
        nanosleep(&nap, NULL);
    }
}

static uint64_t flags_of(struct nbd_handle *h)
{
    uint64_t flags = NBD_FLAG_HAS_FLAGS;

    if (nbd_is_read_only(h) == 1)
        flags |= NBD_FLAG_READ_ONLY;
    if (nbd_can_flush(h) == 1)
        flags |= NBD_FLAG_SEND_FLUSH;
    if (nbd_can_fua(h) == 1)
        flags |= NBD_FLAG_SEND_FUA;
    if (nbd_can_trim(h) == 1)
        flags |= NBD_FLAG_SEND_TRIM;
    if (nbd_can_zero(h) == 1)
        flags |= NBD_SEND_ZEROES;
    if (nbd_can_multi_conn(h) == 1)
        flags |= NBD_FLAG_CAN_MULTI_CONN;
    return flags;
}

/* Drives the handshake of fd, which h closes, within its time. */
static int negotiate(struct nbd_handle *h, int fd)
{
    uint64_t until_ms = kt_now_ms() + HANDSHAKE_MS;

    if (nbd_set_request_structured_replies(h, false) < 0 ||
        nbd_aio_connect_socket(h, fd) < 0)
        return -EPROTO;
    while (nbd_aio_is_ready(h) != 1) {
        if (nbd_aio_is_dead(h) == 1 || nbd_aio_is_closed(h) == 1)
            return -EPROTO;
        if (kt_now_ms() >= until_ms)
            return -ETIMEDOUT;
        if (nbd_poll(h, 500) < 0)
            return -EPROTO;
    }
    return 0;
}

int server_connect(const char *socket, struct server_link *ret_link,
                   char ret_why[SERVER_WHY_BYTES])
{
    struct server_link l = {.fd = -1};
    struct nbd_handle *h = NULL;
    int64_t size = 0;

    int fd = open_socket(socket);
    int r = fd < 0 ? fd : 0;
    if (r == 0) {
        l.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        h = nbd_create();
        r = l.fd < 0 ? -errno : !h ? -ENOMEM : negotiate(h, fd);
        if (!h)
            close(fd);
    }
    if (r == 0) {
        size = nbd_get_size(h);
        l.flags = flags_of(h);
        r = size <= 0 ? -EPROTO : 0;
    }
    if (r < 0) {
        const char *text = r == -EPROTO ? nbd_get_error() : NULL;
        snprintf(ret_why, SERVER_WHY_BYTES, "nbdkit does not serve on %s: %s",
                 socket, text ? text : kt_strerror(r));
        if (l.fd >= 0)
            close(l.fd);
    }
    nbd_close(h); /* its own descriptor only; the server hears nothing */
    if (r == 0) {
        l.size_bytes = (uint64_t)size;
        *ret_link = l;
    }
    return r;
}

/* An accepted connection bears the path of the socket it came in on, and is
 * connected, state 03; the listening one is 01. */
int server_connections(const char *socket)
{
    char line[512];
    int n = 0;

    FILE *f = fopen("/proc/net/unix", "re");
    if (!f)
        return -errno;
    while (fgets(line, sizeof(line), f)) {
        char path[128];
        unsigned state;
        if (sscanf(line, "%*s %*x %*x %*x %*x %x %*u %127s", &state, path) ==
                2 &&
            state == 3 && strcmp(path, socket) == 0)
            n++;
    }
    fclose(f);
    return n;
}
