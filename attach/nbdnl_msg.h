/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages to and from the kernel's nbd driver, over generic netlink: what
 * they look like, nothing else. Does no I/O; any thread. */
#ifndef KT_ATTACH_NBDNL_MSG_H
#define KT_ATTACH_NBDNL_MSG_H

#include <sys/types.h>

#include "lib/base/kt.h"

#define NBDNL_MSG_BYTES 512u
#define NBDNL_SOCKETS_MAX 8u
#define NBDNL_BACKEND_BYTES 64u /* with the NUL */
#define NBDNL_NO_INDEX UINT32_MAX

/* A message as it is sent. */
struct nbdnl_out {
    size_t len;
    uint8_t bytes[NBDNL_MSG_BYTES];
};

/* What a device is made of, or made to be. */
struct nbdnl_device {
    uint32_t index;       /* NBDNL_NO_INDEX: the kernel chooses (CONNECT) */
    uint64_t size_bytes;  /* CONNECT only: RECONFIGURE never carries it */
    uint64_t block_bytes; /* CONNECT only */
    /* How long the device waits for a new socket when the last one is dead.
     * 0: not at all, which means errors at once. */
    uint64_t dead_timeout_s;
    uint64_t server_flags; /* the transmission flags of the handshake */
    const char *backend;   /* whose it is: must match in RECONFIGURE */
    unsigned n_sockets;
    int sockets[NBDNL_SOCKETS_MAX];
};

/* Each makes one whole message that asks for an acknowledgement. family is
 * that of "nbd" (nbdnl_take), seq comes back with the answer. */
void nbdnl_put_family(struct nbdnl_out *out, uint32_t seq);
void nbdnl_put_connect(struct nbdnl_out *out, uint16_t family, uint32_t seq,
                       const struct nbdnl_device *d);
void nbdnl_put_reconfigure(struct nbdnl_out *out, uint16_t family, uint32_t seq,
                           const struct nbdnl_device *d);
void nbdnl_put_disconnect(struct nbdnl_out *out, uint16_t family, uint32_t seq,
                          uint32_t index);

enum nbdnl_kind {
    NBDNL_ACK,       /* error: 0 or -errno */
    NBDNL_FAMILY,    /* family, group */
    NBDNL_CONNECTED, /* index: answer to CONNECT */
    NBDNL_LINK_DEAD, /* index: a socket of that device is dead */
    NBDNL_OTHER,     /* something that is of no use here */
};

/* A message as it was received. */
struct nbdnl_in {
    enum nbdnl_kind kind;
    uint32_t seq;
    int error;
    uint16_t family;
    uint32_t group; /* of nbd_mc_group */
    uint32_t index; /* NBDNL_NO_INDEX when it has none */
};

/* Takes the first message of len bytes; family is 0 while it is not known.
 * The bytes it took, or -EBADMSG when they are no message. */
ssize_t nbdnl_take(const uint8_t *bytes, size_t len, uint16_t family,
                   struct nbdnl_in *ret_in) KT_MUST_CHECK;

#endif
