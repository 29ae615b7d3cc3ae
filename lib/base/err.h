/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors: negative errno, or one of ours from -20000 down. */
#ifndef KT_BASE_ERR_H
#define KT_BASE_ERR_H

/* class RETRY: the same call may succeed later, unchanged.
 * class MOVED: refresh the configuration, then try again.
 * class CALLER: the caller asked for something it may not have.
 * class FATAL: give up this object; it does not heal by itself. */
enum kt_err_class { KT_RETRY, KT_MOVED, KT_CALLER, KT_FATAL };

/* X(number, NAME, CLASS, text). Numbers travel on the wire: never reuse. */
#define KT_ERRORS(X)                                                           \
    X(0, OLD_EPOCH, MOVED, "the chain has a newer configuration")              \
    X(1, NEW_EPOCH, MOVED, "the request is newer than this member")            \
    X(2, NOT_HEAD, MOVED, "this member is not the head of the chain")          \
    X(3, NOT_SERVING, MOVED, "this member does not serve the chain")           \
    X(4, SEALED, MOVED, "the chain is being reconfigured")                     \
    X(5, FENCED, FATAL, "the volume is attached elsewhere")                    \
    X(6, BEHIND, FATAL, "this member lacks acknowledged writes")               \
    X(7, BUSY, RETRY, "too much is in flight")                                 \
    X(8, MINWRITE, RETRY, "too few replicas are up to acknowledge writes")     \
    X(9, NOSPC, CALLER, "a store of the chain is full")                        \
    X(10, BADSUM, FATAL, "a checksum does not match its data")                 \
    X(11, FAULTY, FATAL, "the store is faulty")                                \
    X(12, GAP, RETRY, "a record is missing before this one")                   \
    X(13, DUP, CALLER, "the request was executed and retired before")          \
    X(14, PROTO, FATAL, "the peer does not speak this protocol")               \
    X(15, CORRUPT, FATAL, "stored or received bytes are damaged")              \
    X(16, NO_VOLUME, CALLER, "there is no such volume")                        \
    X(17, EXISTS, CALLER, "the name is taken")                                 \
    X(18, HELD, CALLER, "the volume is attached elsewhere")                    \
    X(19, INVALID, CALLER, "the request is not valid")                         \
    X(20, NO_NODES, CALLER, "there are not enough nodes")                      \
    X(21, LIMIT, CALLER, "a limit of this cluster is reached")                 \
    X(22, UNREACHABLE, RETRY, "the peer cannot be reached")                    \
    X(23, PROMISED, MOVED, "a later epoch is promised already")                \
    X(24, UNKNOWN_CHAIN, MOVED, "this member does not know the chain")         \
    X(25, IN_USE, CALLER, "it is in use")                                      \
    X(26, NO_NODE, CALLER, "there is no such node")                            \
    X(27, REFUSED, FATAL, "the peer refused the connection")

enum kt_err {
#define X(n, name, cls, text) KT_E_##name = -20000 - (n),
    KT_ERRORS(X)
#undef X
};

/* The text of any error this code base returns: ours or -errno.
 * Never NULL; static storage; any thread. */
const char *kt_strerror(int err);

/* The symbolic name ("OLD_EPOCH", "EIO"); static storage; any thread. */
const char *kt_errname(int err);

/* The class of one of ours; KT_FATAL for -errno. */
enum kt_err_class kt_err_class(int err);

#endif
