/* SPDX-License-Identifier: BSD-3-Clause */
/* The nbdkit of one volume: a process of its own, which outlives whoever
 * started it. Blocking; one thread. */
#ifndef KT_ATTACH_SERVER_H
#define KT_ATTACH_SERVER_H

#include <sys/types.h>

#include "lib/base/kt.h"

#define SERVER_WHY_BYTES 512u

struct server {
    pid_t pid;                /* 0: there is none */
    unsigned long long start; /* its start time, which a number's next owner
                                 does not share */
    int fd;                   /* pidfd, readable when it has ended */
};

struct server_opts {
    const char *socket;
    const char *log;
    const char *plugin; /* a file, or "kenter" */
    const char *volume;
    const char *context; /* NULL: as the plugin finds it */
    const char *state;   /* what it takes over from, and leaves */
    unsigned wait_s;     /* for another holder */
    bool steal;
};

/* Starts it and waits until it listens. On failure it is gone, and its last
 * words are in ret_why. */
int server_start(const struct server_opts *o, struct server *ret_s,
                 char ret_why[SERVER_WHY_BYTES]) KT_MUST_CHECK;

/* One that runs already: -ESRCH when that process has ended. */
int server_adopt(pid_t pid, unsigned long long start,
                 struct server *ret_s) KT_MUST_CHECK;

/* The one that was told to serve on this socket: -ESRCH without. */
int server_find(const char *socket, struct server *ret_s) KT_MUST_CHECK;

/* Whether it runs. */
bool server_alive(struct server *s);

/* Ends it: SIGTERM lets the plugin flush and give the volume back, and must
 * not be sent while a device is connected (its requests would fail); SIGKILL
 * loses nothing. False when it still runs after timeout_ms. */
bool server_end(struct server *s, int sig, unsigned timeout_ms);

/* A connection for the kernel: negotiated, at the first request. The caller
 * closes *ret_fd. */
struct server_link {
    int fd;
    uint64_t size_bytes;
    uint64_t flags; /* transmission flags, as the kernel takes them */
};
int server_connect(const char *socket, struct server_link *ret_link,
                   char ret_why[SERVER_WHY_BYTES]) KT_MUST_CHECK;

/* How many connections the server has on this socket now, or -errno. */
int server_connections(const char *socket) KT_MUST_CHECK;

#endif
