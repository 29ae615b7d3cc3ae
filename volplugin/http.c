/* SPDX-License-Identifier: BSD-3-Clause */
/* HTTP/1.1 on a unix socket, a thread a connection: Mount and Create block.
 * The engine keeps connections open and idle for 30 s; we for 75, so that it
 * is never us who closes just as it writes. */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/os.h"
#include "volplugin/plugin.h"

#define BODY_BYTES_MAX (64u << 10)
#define CONNECTIONS_MAX 2000u
#define IDLE_S 75u
#define STACK_BYTES ((size_t)1 << 20)
#define BACKLOG 4096
#define SYSTEMD_FD 3
#define TYPE "application/vnd.docker.plugins.v1.2+json"

struct http {
    struct MHD_Daemon *mhd;
    struct plugin *p;
    bool ours; /* the socket's file is ours to remove */
};

struct request {
    size_t len;
    bool too_large;
    char body[BODY_BYTES_MAX];
};

static bool has_hung_up(void *arg)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(arg, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd f = {.events = POLLRDHUP};

    if (!info)
        return true;
    f.fd = info->connect_fd;
    return poll(&f, 1, 0) > 0 &&
           (f.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static enum MHD_Result send_reply(struct MHD_Connection *conn,
                                  struct reply *reply, bool last)
{
    if (reply->status == 0)
        return MHD_NO; /* closes it */
    char *text =
        json_dumps(reply->body ? reply->body : json_null(), JSON_COMPACT);
    json_decref(reply->body);
    if (!text)
        return MHD_NO;
    struct MHD_Response *r = MHD_create_response_from_buffer(
        strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, TYPE);
    if (last)
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result ok = MHD_queue_response(conn, reply->status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result send_error(struct MHD_Connection *conn, unsigned status,
                                  const char *why)
{
    struct reply r = {.status = status, .body = driver_error(why)};

    return send_reply(conn, &r, status == MHD_HTTP_CONTENT_TOO_LARGE);
}

static enum MHD_Result too_large(struct MHD_Connection *conn)
{
    return send_error(conn, MHD_HTTP_CONTENT_TOO_LARGE,
                      "the request is larger than 64 KiB, which none has to "
                      "be");
}

/* Only the head is there. */
static enum MHD_Result begin(struct MHD_Connection *conn, const char *method,
                             void **req)
{
    const char *length = MHD_lookup_connection_value(
        conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    if (strcmp(method, MHD_HTTP_METHOD_POST) != 0)
        return send_error(conn, MHD_HTTP_METHOD_NOT_ALLOWED,
                          "every method of a volume driver is a POST");
    if (length && strtoull(length, NULL, 10) > BODY_BYTES_MAX)
        return too_large(conn);
    struct request *r = malloc(sizeof(*r));
    if (!r)
        return MHD_NO;
    r->len = 0;
    r->too_large = false;
    *req = r;
    return MHD_YES;
}

static void take(struct request *r, const char *data, size_t len)
{
    if (len > sizeof(r->body) - r->len) {
        r->too_large = true;
        return;
    }
    memcpy(r->body + r->len, data, len);
    r->len += len;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn,
                                  const char *url, const char *method,
                                  const char *version, const char *data,
                                  size_t *len, void **req)
{
    struct http *h = arg;
    struct request *r = *req;
    struct reply reply = {.status = 0};
    (void)version;

    if (!r)
        return begin(conn, method, req);
    if (*len > 0) {
        take(r, data, *len);
        *len = 0;
        return MHD_YES;
    }
    if (r->too_large)
        return too_large(conn);
    driver_call(h->p, url, r->body, r->len, has_hung_up, conn, &reply);
    if (reply.status >= 400)
        kt_log(KT_LOG_DEBUG, "refused", "method=%s status=%u", url,
               reply.status);
    return send_reply(conn, &reply, false);
}

static void on_end(void *arg, struct MHD_Connection *conn, void **req,
                   enum MHD_RequestTerminationCode code)
{
    (void)arg;
    (void)conn;
    (void)code;
    free(*req);
    *req = NULL;
}

static void KT_PRINTF(2, 0) on_mhd_log(void *arg, const char *fmt, va_list ap)
{
    char text[256];
    (void)arg;

    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    kt_log(KT_LOG_DEBUG, "http", "text=\"%s\"", text);
}

/* ---- the socket ---- */

/* systemd's, or -1. */
static int given_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    struct stat st;

    if (!pid || !n || strtol(pid, NULL, 10) != (long)getpid() ||
        strcmp(n, "1") != 0 || fstat(SYSTEMD_FD, &st) < 0 ||
        !S_ISSOCK(st.st_mode) || fcntl(SYSTEMD_FD, F_SETFD, FD_CLOEXEC) < 0)
        return -1;
    /* Nothing that we start has to do with it. */
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return SYSTEMD_FD;
}

static int own_socket(const char *path, char *ret_why, size_t size)
{
    struct kt_addr a = {.kind = KT_ADDR_UNIX};

    if (strlen(path) >= sizeof(a.host)) {
        snprintf(ret_why, size, "the socket's path %s is longer than 107 bytes",
                 path);
        return -ENAMETOOLONG;
    }
    snprintf(a.host, sizeof(a.host), "%s", path);
    mode_t old = umask(0177); /* root alone talks to it */
    int fd = kt_listen(&a, NULL);
    umask(old);
    if (fd == -EADDRINUSE)
        snprintf(ret_why, size, "another program answers at %s", path);
    else if (fd < 0)
        snprintf(ret_why, size, "cannot listen at %s: %s", path,
                 kt_strerror(fd));
    return fd;
}

/* A thousand connections are more than the usual limit of descriptors. */
static void raise_limit(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &l) < 0)
            kt_log(KT_LOG_WARN, "few_descriptors", "err=\"%s\"",
                   strerror(errno));
    }
}

int http_start(struct plugin *p, struct http **ret, char *ret_why, size_t size)
{
    struct http *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    raise_limit();
    h->p = p;
    int fd = given_socket();
    h->ours = fd < 0;
    if (fd < 0)
        fd = own_socket(p->o->socket, ret_why, size);
    if (fd < 0) {
        free(h);
        return fd;
    }
    /* More than kt_listen's: a whole node's containers start at once. */
    if (h->ours && listen(fd, BACKLOG) < 0)
        kt_log(KT_LOG_WARN, "short_backlog", "err=\"%s\"", strerror(errno));
    h->mhd = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
            MHD_USE_POLL | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log,
        NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
        MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        on_end, NULL, MHD_OPTION_END);
    if (!h->mhd) {
        snprintf(ret_why, size, "the HTTP server cannot be started: %s",
                 strerror(errno));
        close(fd);
        free(h);
        return -EIO;
    }
    *ret = h;
    return 0;
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    /* A stale socket costs the engine 15 s a volume at its next start. */
    if (h->ours)
        unlink(h->p->o->socket);
    MHD_stop_daemon(h->mhd);
    free(h);
}
