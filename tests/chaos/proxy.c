/* SPDX-License-Identifier: BSD-3-Clause */
/* A bad network for TCP. Connections that iptables redirected to its port are
 * carried on to where they wanted to go, and on the way delayed, slowed down,
 * damaged or reset, by draws from a seed.
 *
 *   proxy PORT SEED MARK
 *
 * Its own connections bear MARK, so that iptables lets them through. It is told
 * on standard input, one line each:
 *
 *   delay MS JITTER   each piece is held back MS to MS+JITTER; within one
 *                     connection they stay in order, across several they do not
 *   rate BYTES        a second, for each direction of each connection
 *   corrupt N         flips a bit in one piece of N
 *   reset N           resets a connection at one piece of N
 *   clear             none of these
 *   stats             prints what was done
 *
 * It ends at the end of its input. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* After the C library's own names of the same things. */
#include <linux/netfilter_ipv4.h>

#define LINKS_MAX 256u
#define PIECE_BYTES 16384u
#define QUEUE_MAX 64u /* pieces held back in one direction */

struct piece {
    uint64_t due_us;
    uint32_t len, sent;
    uint8_t b[PIECE_BYTES];
};

/* One direction: read from one end, due at the other. */
struct way {
    struct piece *q[QUEUE_MAX]; /* a ring */
    uint32_t head, n;
    uint64_t last_us; /* when the newest one is due */
    bool eof, told;   /* nothing more comes; and the other end knows */
};

struct link {
    int fd[2];         /* who connected, where to; -1: free */
    bool ready;        /* the second one is connected */
    struct way way[2]; /* way[i] reads from fd[i] */
};

static struct {
    struct link l[LINKS_MAX];
    struct pollfd p[2 + 2 * LINKS_MAX];
    int listener;
    uint32_t mark;
    uint64_t seed, delay_ms, jitter_ms, rate, corrupt, reset;
    uint64_t n_links, n_pieces, n_corrupt, n_reset;
    char line[256];
    uint32_t line_len;
} px;

static uint64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t draw(uint64_t n)
{
    uint64_t z = px.seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

/* ---- connections ---- */

static void link_end(struct link *l, bool reset)
{
    const struct linger hard = {.l_onoff = 1};
    for (int i = 0; i < 2; i++) {
        if (reset)
            (void)setsockopt(l->fd[i], SOL_SOCKET, SO_LINGER, &hard,
                             sizeof(hard));
        close(l->fd[i]);
        for (uint32_t k = 0; k < l->way[i].n; k++)
            free(l->way[i].q[(l->way[i].head + k) % QUEUE_MAX]);
    }
    memset(l, 0, sizeof(*l));
    l->fd[0] = l->fd[1] = -1;
}

static int connect_to(const struct sockaddr_in *to)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &px.mark, sizeof(px.mark)) < 0 ||
        (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 &&
         errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    return fd;
}

static struct link *free_link(void)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        if (px.l[i].fd[0] < 0)
            return &px.l[i];
    }
    return NULL;
}

static void accept_one(void)
{
    struct sockaddr_in to;
    socklen_t len = sizeof(to);
    int one = 1;
    struct link *l = free_link();
    int fd = accept4(px.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int out = -1;
    if (l && getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &to, &len) == 0)
        out = connect_to(&to);
    if (out < 0) {
        close(fd);
        return;
    }
    l->fd[0] = fd;
    l->fd[1] = out;
    px.n_links++;
}

/* ---- pieces ---- */

static uint64_t when_due(struct way *w, uint32_t len)
{
    uint64_t now = now_us(), due = now + px.delay_ms * 1000;
    if (px.jitter_ms)
        due += draw(px.jitter_ms * 1000);
    if (px.rate) {
        uint64_t from = w->last_us > now ? w->last_us : now;
        uint64_t end = from + len * UINT64_C(1000000) / px.rate;
        due = end > due ? end : due;
    }
    due = due > w->last_us ? due : w->last_us;
    return w->last_us = due;
}

/* False: the connection is no more. */
static bool read_piece(struct link *l, int i)
{
    struct way *w = &l->way[i];
    struct piece *p = malloc(sizeof(*p));
    if (!p)
        abort();
    ssize_t n = read(l->fd[i], p->b, sizeof(p->b));
    if (n <= 0) {
        free(p);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        w->eof = n == 0;
        return n == 0;
    }
    p->len = (uint32_t)n;
    p->sent = 0;
    p->due_us = when_due(w, p->len);
    px.n_pieces++;
    if (px.corrupt && draw(px.corrupt) == 0) {
        p->b[draw(p->len)] ^= (uint8_t)(1u << draw(8));
        px.n_corrupt++;
    }
    w->q[(w->head + w->n++) % QUEUE_MAX] = p;
    if (px.reset && draw(px.reset) == 0) {
        px.n_reset++;
        return false;
    }
    return true;
}

static bool write_pieces(struct link *l, int i)
{
    struct way *w = &l->way[i];
    int to = l->fd[1 - i];
    while (w->n && w->q[w->head]->due_us <= now_us()) {
        struct piece *p = w->q[w->head];
        ssize_t n = send(to, p->b + p->sent, p->len - p->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        p->sent += (uint32_t)n;
        if (p->sent < p->len)
            return true;
        free(p);
        w->head = (w->head + 1) % QUEUE_MAX;
        w->n--;
    }
    if (w->eof && !w->n && !w->told) {
        (void)shutdown(to, SHUT_WR);
        w->told = true;
    }
    return true;
}

static bool serve_link(struct link *l, const struct pollfd *p)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (!l->ready && p[1].revents) {
        if (getsockopt(l->fd[1], SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err)
            return false;
        l->ready = true;
    }
    for (int i = 0; i < 2; i++) {
        if (p[i].revents & (POLLERR | POLLNVAL))
            return false;
        if (p[i].revents & (POLLIN | POLLHUP) && !l->way[i].eof &&
            l->way[i].n < QUEUE_MAX && (i == 0 || l->ready) &&
            !read_piece(l, i))
            return false;
    }
    for (int i = 0; i < 2; i++) {
        if (l->ready && !write_pieces(l, i))
            return false;
    }
    return !(l->way[0].told && l->way[1].told);
}

/* ---- the loop ---- */

static void obey(const char *line)
{
    unsigned long long a = 0, b = 0;
    if (sscanf(line, "delay %llu %llu", &a, &b) == 2) {
        px.delay_ms = a;
        px.jitter_ms = b;
    } else if (sscanf(line, "rate %llu", &a) == 1) {
        px.rate = a;
    } else if (sscanf(line, "corrupt %llu", &a) == 1) {
        px.corrupt = a;
    } else if (sscanf(line, "reset %llu", &a) == 1) {
        px.reset = a;
    } else if (strcmp(line, "clear") == 0) {
        px.delay_ms = px.jitter_ms = px.rate = px.corrupt = px.reset = 0;
    } else if (strcmp(line, "stats") == 0) {
        printf("links=%llu pieces=%llu corrupted=%llu resets=%llu\n",
               (unsigned long long)px.n_links, (unsigned long long)px.n_pieces,
               (unsigned long long)px.n_corrupt,
               (unsigned long long)px.n_reset);
        fflush(stdout);
    } else {
        fprintf(stderr, "proxy: what is \"%s\"?\n", line);
    }
}

/* False at the end of the input. */
static bool take_input(void)
{
    char *end;
    ssize_t n = read(STDIN_FILENO, px.line + px.line_len,
                     sizeof(px.line) - 1 - px.line_len);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    px.line_len += (uint32_t)n;
    px.line[px.line_len] = '\0';
    while ((end = strchr(px.line, '\n'))) {
        *end = '\0';
        obey(px.line);
        px.line_len -= (uint32_t)(end + 1 - px.line);
        memmove(px.line, end + 1, px.line_len + 1);
    }
    return px.line_len < sizeof(px.line) - 1;
}

/* What to wait for, and for how long (ms). */
static int prepare(void)
{
    uint64_t now = now_us(), first = UINT64_MAX;
    px.p[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    px.p[1] = (struct pollfd){.fd = px.listener, .events = POLLIN};
    for (uint32_t k = 0; k < LINKS_MAX; k++) {
        struct link *l = &px.l[k];
        struct pollfd *p = &px.p[2 + 2 * k];
        p[0] = (struct pollfd){.fd = l->fd[0]};
        p[1] = (struct pollfd){.fd = l->fd[1]};
        if (l->fd[0] < 0)
            continue;
        if (!l->ready)
            p[1].events |= POLLOUT;
        for (int i = 0; i < 2; i++) {
            struct way *w = &l->way[i];
            if (!w->eof && w->n < QUEUE_MAX)
                p[i].events |= POLLIN;
            if (!l->ready || !w->n)
                continue;
            if (w->q[w->head]->due_us <= now)
                p[1 - i].events |= POLLOUT;
            else if (w->q[w->head]->due_us < first)
                first = w->q[w->head]->due_us;
        }
        /* An end that hung up is always ready: asked again when its pieces
         * went out. */
        for (int i = 0; i < 2; i++) {
            if (!p[i].events)
                p[i].fd = -1;
        }
    }
    return first == UINT64_MAX ? 1000 : (int)((first - now) / 1000 + 1);
}

static int listen_at(uint16_t port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0)
        return -1;
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: proxy PORT SEED MARK\n");
        return 2;
    }
    px.listener = listen_at((uint16_t)strtoul(argv[1], NULL, 10));
    px.seed = strtoull(argv[2], NULL, 10);
    px.mark = (uint32_t)strtoul(argv[3], NULL, 10);
    if (px.listener < 0) {
        perror("proxy: listen");
        return 1;
    }
    for (uint32_t k = 0; k < LINKS_MAX; k++)
        px.l[k].fd[0] = px.l[k].fd[1] = -1;
    for (;;) {
        int wait_ms = prepare();
        if (poll(px.p, 2 + 2 * LINKS_MAX, wait_ms) < 0 && errno != EINTR)
            return 1;
        if (px.p[0].revents && !take_input())
            return 0;
        for (uint32_t k = 0; k < LINKS_MAX; k++) {
            struct link *l = &px.l[k];
            if (l->fd[0] >= 0 && !serve_link(l, &px.p[2 + 2 * k]))
                link_end(l, true);
        }
        if (px.p[1].revents & POLLIN)
            accept_one();
    }
}
