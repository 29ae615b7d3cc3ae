/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's I/O engine: one per attached volume. Turns requests of a disk
 * into messages to the members of its chains, and answers into completions.
 *
 * Pure: no I/O, clock, allocation, log or global. The shell (the nbdkit
 * plugin, the simulator) feeds events and carries out actions:
 *
 *   struct engine_out out;
 *   engine_step(e, &ev, &out);  ... carry out out.act[0..n-1] in order ...
 *   while (out.more) { ev = {.type = ENGINE_EV_MORE}; step and carry out }
 *
 * Everything an action points to lives until the next engine_step of the same
 * engine. One thread at a time per engine: shells hold a lock over the step
 * and, so that messages of one link keep their order, over its SENDs. */
#ifndef KT_CLIENT_ENGINE_H
#define KT_CLIENT_ENGINE_H

#include "lib/base/kt.h"
#include "lib/wire/msg.h"

#define ENGINE_PARTS_MAX 1024u   /* pieces of requests in flight */
#define ENGINE_CHAINS_MAX 4096u  /* 64 TiB of 16 GiB segments */
#define ENGINE_NODES_MAX 128u    /* nodes links are wanted to */
#define ENGINE_CHAIN_WRITES 256u /* write parts in flight per chain */
#define ENGINE_CHAIN_BYTES (64ull << 20)
#define ENGINE_RETAIN_DEFAULT (64ull << 20)
#define ENGINE_RETAIN_MIN (4ull << 20)
#define ENGINE_TICK_MS 100u

struct engine;

struct engine_opts {
    struct kt_id volume;    /* cfgs of other volumes are ignored */
    struct kt_id boot;      /* of this machine: its members are read first */
    uint64_t token;         /* of our attachment */
    uint64_t size;          /* of the volume, bytes */
    uint64_t segment_bytes; /* multiple of KT_EXTENT_BYTES */
    uint64_t retain_bytes;  /* I16 copies; 0 = ENGINE_RETAIN_DEFAULT */
    uint64_t io_timeout_ms; /* requests older than this fail; 0 = never (A4) */
    /* Hand-over (B10): what engine_settled said, segment by segment, to the
     * process that served the volume before this one and may have left
     * acknowledged writes unflushed. When a chain has another vgen by now they
     * may be gone: ENGINE_ACT_LOST, and nothing is served. 0 and NULL: nobody
     * served it. Borrowed for the life of the engine. */
    const uint64_t *settled;
};

/* Segments of the volume: ceil(size / segment_bytes). */
uint32_t engine_chains(const struct engine_opts *o);

/* Bytes of zeroed, 8-aligned memory engine_init wants for these options (most
 * of it is touched only when needed: mmap or calloc it). */
size_t engine_bytes(const struct engine_opts *o);

/* Builds an engine in mem. Every chain waits for its cfg (ENGINE_EV_CFG). No
 * release: the shell frees mem, once no request is in flight. */
struct engine *engine_init(void *mem, const struct engine_opts *o);

enum engine_op {
    ENGINE_READ = 1,
    ENGINE_WRITE,
    ENGINE_ZERO,
    ENGINE_TRIM,  /* reads as zeros afterwards */
    ENGINE_FLUSH, /* covers all that completed before it was submitted */
    ENGINE_STAT,
};

enum {
    ENGINE_F_FUA = 1,     /* WRITE, ZERO, TRIM: durable when complete */
    ENGINE_F_NO_HOLE = 2, /* ZERO: keep the space */
};

struct engine_link {
    struct engine_link *prev, *next;
};

/* One request. Ownership: the caller's, who leaves it (and buf) alone from
 * SUBMIT until its COMPLETE. Any byte range inside the volume will do; whole
 * sectors are the fast case. */
struct engine_req {
    uint8_t op;    /* enum engine_op */
    uint8_t flags; /* ENGINE_F_* */
    uint64_t off, len;
    uint8_t *buf;   /* READ: filled; WRITE: only read */
    uint32_t *rows; /* STAT: KT_STAT_ROWS_MAX at most; sectors << 2 | kind */
    uint32_t rows_max;
    uint64_t tag; /* the caller's */
    /* Results, valid at COMPLETE. */
    int err;         /* 0, -EIO, -ENOSPC, -EINVAL */
    uint32_t n_rows; /* STAT: from the sector of off; cover at least one sector
                        and maybe less than len: ask again for the rest */
    /* The engine's own. */
    struct {
        struct engine_link live; /* all requests alive, oldest first */
        struct engine_link q;    /* those waiting for something */
        uint64_t since_ms;
        uint64_t next_off; /* parts were made up to here */
        uint64_t ticket;   /* FLUSH */
        uint32_t blockers; /* older overlapping requests alive (A2) */
        uint32_t parts;    /* in flight */
        uint8_t phase;
        uint8_t edges;  /* unaligned ends: bits */
        uint8_t unread; /* of these, not asked for yet */
        uint8_t *pages; /* room for both */
    } p;
};

enum engine_ev {
    ENGINE_EV_MORE = 1,  /* go on: out was full */
    ENGINE_EV_TICK,      /* every ENGINE_TICK_MS or so */
    ENGINE_EV_SUBMIT,    /* req */
    ENGINE_EV_MSG,       /* slot, msg, err */
    ENGINE_EV_LINK_UP,   /* slot: handshake done */
    ENGINE_EV_LINK_DOWN, /* slot: all sent and not answered may be lost */
    ENGINE_EV_CFG,       /* cfg, ACTIVE; from the hub: attach or push */
    ENGINE_EV_FENCED,    /* the hub says the volume is held by another */
    ENGINE_EV_GONE,      /* the volume was removed */
    ENGINE_EV_CANCEL,    /* req, alive: fail it; for a shell that gives up */
};

struct engine_event {
    uint8_t type;    /* enum engine_ev */
    uint64_t now_ms; /* monotonic */
    struct engine_req *req;
    uint32_t slot;
    const struct kt_msg *msg; /* borrowed for the call */
    int err;                  /* of decoding msg: 0 or KT_E_BADSUM */
    const struct kt_cfg *cfg; /* borrowed for the call */
};

enum engine_act {
    ENGINE_ACT_SEND = 1,   /* slot, msg; msg.buf is borrowed */
    ENGINE_ACT_COMPLETE,   /* req */
    ENGINE_ACT_CONNECT,    /* slot, node: a link is wanted; again when its
                              addresses changed */
    ENGINE_ACT_DISCONNECT, /* slot: not wanted any more; no event of this slot
                              may follow until the next CONNECT */
    ENGINE_ACT_RESET,      /* slot: silent; close, say LINK_DOWN, connect */
    ENGINE_ACT_STALLED,    /* chain, ms: no progress for so long */
    ENGINE_ACT_RESUMED,    /* chain, ms: it took so long */
    ENGINE_ACT_REPLAY,     /* chain: vgen changed, writes are sent again */
    ENGINE_ACT_FENCED,     /* once: everything fails from here on */
    ENGINE_ACT_LOST,       /* chain: it lost what a predecessor left (B10);
                              once: everything fails from here on */
    ENGINE_ACT_SETTLED,    /* chain: engine_settled says something new */
};

struct engine_action {
    uint8_t type;  /* enum engine_act */
    uint32_t slot; /* 0..ENGINE_NODES_MAX-1: stands for the node from its
                      CONNECT to its DISCONNECT */
    const struct kt_node *node;
    struct engine_req *req;
    uint64_t chain, ms;
    struct kt_msg msg;
};

#define ENGINE_ACTIONS_MAX 32u
struct engine_out {
    uint32_t n;
    bool more;  /* step again with ENGINE_EV_MORE */
    bool hurry; /* something backs off: TICK again within 10 ms or so */
    struct engine_action act[ENGINE_ACTIONS_MAX];
};

void engine_step(struct engine *e, const struct engine_event *ev,
                 struct engine_out *out);

/* Asserts what must hold between steps, each by its number. It looks at every
 * request and copy: for tests and the simulator. */
void engine_check(const struct engine *e);

/* ---- for people, logs and tests ---- */

struct engine_info {
    bool ready; /* every chain has a configuration */
    bool fenced, gone, lost;
    uint32_t requests, parts; /* alive */
    uint64_t retained_bytes;  /* copies kept for a vgen change */
    uint32_t retained;        /* and their number */
    uint64_t behind;          /* NAK BEHIND seen: each is a bug (I20) */
    uint64_t bad_sums;        /* answers whose data did not match */
    uint64_t resends, replays, self_flushes;
};
void engine_info(const struct engine *e, struct engine_info *ret);

/* The vgen under which the members of segment seg have all that was ever
 * acknowledged here: that of its cfg, once a replay is complete. 0: none yet.
 * A successor that finds the same one lost nothing (B10). */
uint64_t engine_settled(const struct engine *e, uint32_t seg);

/* The nodes of serving members that no link led to for more than a second, at
 * most max: for RENEW, so that the hub orders the chains round them (B13). */
uint32_t engine_cut(const struct engine *e, uint64_t now_ms,
                    struct kt_id *ret_ids, uint32_t max);

/* The cfg of segment seg, or NULL while there is none. */
const struct kt_cfg *engine_cfg(const struct engine *e, uint32_t seg);

#endif
