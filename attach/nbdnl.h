/* SPDX-License-Identifier: BSD-3-Clause */
/* Talking to the kernel's nbd driver. Blocking, one thread at a time for each
 * struct; needs CAP_SYS_ADMIN, and before Linux 6.12 the first network
 * namespace. Every function returns 0 or -errno, with nothing changed then. */
#ifndef KT_ATTACH_NBDNL_H
#define KT_ATTACH_NBDNL_H

#include "attach/nbdnl_msg.h"

struct nbdnl {
    int fd;     /* requests and their answers */
    int events; /* readable: nbdnl_event has something to say */
    uint16_t family;
    uint32_t seq;
};

/* -ENOENT: the kernel has no nbd driver (or it is not loaded). Nothing is
 * open then. nbdnl_close may be called on a zeroed struct with fds of -1. */
int nbdnl_open(struct nbdnl *ret_n) KT_MUST_CHECK;
void nbdnl_close(struct nbdnl *n);

/* The device begins to exist, of the size given, on these sockets; the caller
 * closes its own ends. -EBUSY: the index is in use, or its device open. */
int nbdnl_connect(struct nbdnl *n, const struct nbdnl_device *d,
                  uint32_t *ret_index) KT_MUST_CHECK;

/* New sockets for dead ones. -EINVAL: the device is not connected, or has
 * another backend. A success says nothing of whether the sockets were taken:
 * those beyond the dead ones are closed, silently. */
int nbdnl_reconfigure(struct nbdnl *n,
                      const struct nbdnl_device *d) KT_MUST_CHECK;

/* Ends the device whoever uses it, with errors for what is not done. Look at
 * its backend and for users before. */
int nbdnl_disconnect(struct nbdnl *n, uint32_t index) KT_MUST_CHECK;

/* The next event without waiting: 1 and the device that lost a socket, 0 when
 * there is none. Events may be lost; who depends on them looks for himself
 * now and then. */
int nbdnl_event(struct nbdnl *n, uint32_t *ret_index) KT_MUST_CHECK;

#endif
