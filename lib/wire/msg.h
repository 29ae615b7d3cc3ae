/* SPDX-License-Identifier: BSD-3-Clause */
/* Every message of Kenter as a struct, and its frame on the wire.
 *
 * Frame head, 24 bytes, little-endian:
 *   magic u32 "KNT1" | proto u8 | type u8 | flags u16 | hlen u32 | plen u32
 *   | req u64
 * then hlen bytes of header, whose last 8 are the XXH3-64 of the frame head
 * and the rest of the header (and, for control messages, the payload), then
 * plen bytes of payload. Data messages have binary headers (byte tables in
 * msg_data.c); control messages (type >= KT_MSG_CONTROL) have an 8-byte header
 * (the sum) and a JSON document as payload. */
#ifndef KT_WIRE_MSG_H
#define KT_WIRE_MSG_H

#include "lib/base/err.h"
#include "lib/base/id.h"
#include "lib/base/kt.h"
#include "lib/wire/buf.h"
#include "lib/wire/cfg.h"
#include "lib/wire/record.h"

#define KT_FRAME_BYTES 24u
#define KT_MAGIC 0x31544e4bu
#define KT_PROTO 1u
#define KT_HEADER_BYTES_MAX (16u << 10) /* 1024 sums and then some */
#define KT_PAYLOAD_BYTES_MAX (1u << 20)
#define KT_HELLO_BYTES_MAX 4096u /* header + payload before HELLO_OK */

enum kt_type {
    /* link */
    KT_MSG_HELLO = 1,
    KT_MSG_HELLO_OK,
    KT_MSG_REFUSE,
    KT_MSG_PING,
    KT_MSG_PONG,
    /* client <-> member */
    KT_MSG_WRITE, /* u.write; buf for op WRITE */
    KT_MSG_ACK,   /* u.ack; cfg when newer than the request's epoch */
    KT_MSG_READ,  /* u.read */
    KT_MSG_DATA,  /* u.data; buf */
    KT_MSG_FLUSH, /* u.flush */
    KT_MSG_FLUSH_OK,
    KT_MSG_STAT,    /* u.stat: holes and data */
    KT_MSG_STAT_OK, /* u.stat_ok; buf opaque: u32 runs, see below */
    KT_MSG_NAK,     /* u.nak; cfg when err is OLD_EPOCH */
    KT_MSG_CFG_GET, /* chain; answered by CFG or NAK */
    KT_MSG_CFG,     /* cfg; also unsolicited to clients at ACTIVATE */
    /* member -> successor and back */
    KT_MSG_FWD,       /* u.rec; buf for op WRITE */
    KT_MSG_ACKC,      /* u.ackc */
    KT_MSG_RESUME,    /* u.resume */
    KT_MSG_RESUME_OK, /* u.resume_ok */
    KT_MSG_EQDATA,    /* u.eqdata; buf */
    /* resync, on its own connection src -> dst; FWD and ACKC travel on it */
    KT_MSG_SYNC_START, /* u.sync; buf opaque: kt_dedup_encode() */
    KT_MSG_SYNC_AT,    /* u.sync: dst is ready, history reset to u.sync.at */
    KT_MSG_DIGEST_GET, /* u.digest: also sent by `kenter volume verify` */
    KT_MSG_DIGEST,     /* u.digest; buf opaque: rows, see below */
    KT_MSG_COPY_START, /* u.ext.extent: from here in the stream on, dst
                          remembers which sectors records touch */
    KT_MSG_EXT_SUMS,   /* u.ext; buf with 1024 sums and no data */
    KT_MSG_WANT,       /* u.ext, u.ext.want: sectors dst lacks */
    KT_MSG_SYNC_EXT,   /* u.rec with op BASE; buf */
    KT_MSG_SYNC_END,   /* u.rec with op BASE_END: prev = the extent's id */
    KT_MSG_EXT_DONE,   /* u.ext: dst journaled the whole extent */
    KT_MSG_SYNC_DONE,  /* u.sync.at: make all up to here durable */
    KT_MSG_SYNC_ACK,   /* u.sync: dst is durable at .at */

    KT_MSG_CONTROL = 64,
    /* replicator <-> hub */
    KT_MSG_REGISTER = 64, /* u.reg; paged, see struct */
    KT_MSG_REGISTER_OK,
    KT_MSG_HB, /* u.hb */
    KT_MSG_HB_OK,
    KT_MSG_REPORT,       /* u.report: a peer cannot be reached */
    KT_MSG_PROBE,        /* u.report: hub asks a node to ping another */
    KT_MSG_PROBE_OK,     /* u.report with .err */
    KT_MSG_SEAL,         /* chain, epoch = e' */
    KT_MSG_SEAL_OK,      /* u.seal_ok */
    KT_MSG_SEAL_REFUSED, /* u.seal_ok.promised */
    KT_MSG_EQ,           /* u.eq */
    KT_MSG_EQ_OK,        /* u.eq_ok */
    KT_MSG_ACTIVATE,     /* cfg; to members and to the writer */
    KT_MSG_ACT_OK,       /* chain, epoch */
    KT_MSG_SYNC_FIN,     /* u.sync_fin */
    KT_MSG_LEAVE,        /* planned stop of the node */
    KT_MSG_LEAVE_OK,
    KT_MSG_RELEASE, /* chain, u.release: drop the chain's data */
    KT_MSG_RELEASE_OK,
    /* client <-> hub */
    KT_MSG_ATTACH = 96, /* u.attach */
    KT_MSG_ATTACH_OK,   /* u.attach_ok; then n_chains ACTIVATE messages */
    KT_MSG_RENEW,       /* u.attach.volume_id, .token */
    KT_MSG_RENEW_OK,
    KT_MSG_DETACH, /* u.attach.volume_id, .token */
    KT_MSG_DETACH_OK,
    KT_MSG_ERROR, /* u.error: answers any control request */
    /* people <-> hub: free JSON, not decoded here */
    KT_MSG_ADMIN = 112, /* json */
    KT_MSG_ADMIN_OK,    /* json */
    KT_MSG_TYPE_END
};

enum kt_role {
    KT_ROLE_REPLICATOR = 1,
    KT_ROLE_CLIENT,
    KT_ROLE_HUB,
    KT_ROLE_CLI
};
enum kt_class { KT_CLASS_DATA = 1, KT_CLASS_SYNC, KT_CLASS_CONTROL };

/* STAT_OK rows: u32 le each: sectors << 2 | (1 = data, 2 = zero but owning
 * its slot, 0 = hole). DIGEST rows, 56 bytes: extent u32, state u32 (bit 0:
 * owns a slot, bit 1: partial or copying), epoch u64, seq u64 (id of the last
 * record that changed it), xxh3-128 of the 1024 sums [16], spare [16] zero. */
#define KT_STAT_ROWS_MAX 4096u
#define KT_DIGEST_ROW_BYTES 56u
#define KT_DIGEST_ROWS_MAX 512u
#define KT_DIGEST_F_ALLOC 1u
#define KT_DIGEST_F_PARTIAL 2u

struct kt_digest_row {
    uint32_t extent;
    uint32_t state;
    struct kt_rid id;
    struct kt_id sum;
};
void kt_digest_row_encode(const struct kt_digest_row *r,
                          uint8_t ret[KT_DIGEST_ROW_BYTES]);
void kt_digest_row_decode(struct kt_digest_row *ret_r,
                          const uint8_t b[KT_DIGEST_ROW_BYTES]);

/* What a replicator tells of one chain it holds. */
struct kt_chain_report {
    uint64_t chain;
    uint64_t promised;  /* highest epoch sealed */
    uint64_t cfg_epoch; /* of the last ACTIVE cfg it keeps; 0 = none */
    struct kt_id volume;
    struct kt_rid applied;
};

#define KT_REGISTER_CHAINS_MAX 512
#define KT_CUT_MAX 8u

struct kt_eq_target {
    struct kt_id store;
    uint64_t incarnation;
    struct kt_rid applied;
    struct kt_node node;
};

struct kt_msg {
    uint8_t type;   /* enum kt_type */
    uint16_t flags; /* 0 so far */
    uint64_t req;   /* chosen by the asker, echoed in the answer */
    uint64_t chain; /* data messages and chain control */
    uint64_t epoch; /* exact match or refusal (I2) */
    union {
        struct {
            uint8_t role, cls;
            struct kt_id id;      /* node or client */
            struct kt_id cluster; /* zero: any (first contact) */
            struct kt_id boot;
            struct kt_id store;   /* replicators */
            uint64_t incarnation; /* replicators */
            char name[KT_NAME_MAX + 1];
        } hello; /* HELLO and HELLO_OK */
        struct {
            int32_t err;
            char text[200];
        } error; /* REFUSE, ERROR */
        struct {
            uint64_t token, wseq, wstable;
            uint8_t op, flags;
            uint32_t extent, off, len;
        } write;
        struct {
            uint64_t token, wseq;
            struct kt_rid id;
            uint64_t vgen;
        } ack;
        struct {
            uint32_t extent, off, len;
            uint64_t min_seq;
        } read;
        struct {
            uint32_t extent, off, len;
            uint64_t seq;
        } data;
        struct {
            uint64_t upto;                       /* FLUSH: seq to cover */
            uint64_t incarnation, durable, vgen; /* FLUSH_OK */
            /* FLUSH_OK: who is durable. FLUSH: the serving member that is
             * meant, when the one addressed shall pass it on along the chain
             * (B13); zero: the one addressed. */
            struct kt_id store;
        } flush;
        struct {
            uint32_t extent, off, sectors; /* sectors may cross extents */
            uint64_t min_seq;
        } stat;
        struct {
            uint32_t rows;
        } stat_ok;
        struct {
            int32_t err;        /* KT_E_* or -errno */
            uint8_t re;         /* type of the refused message */
            uint64_t wseq;      /* of a refused WRITE */
            struct kt_rid at;   /* GAP, BEHIND: applied here */
            struct kt_id store; /* of a FLUSH passed on: who was meant */
        } nak;
        struct kt_record rec;
        struct {
            uint64_t upto;        /* every seq <= upto is journaled here and
                                     on every successor */
            uint64_t alloc_limit; /* B7: new extents allowed this epoch */
            uint8_t full;         /* a member below cannot grant more */
        } ackc;
        struct {
            struct kt_rid applied;
            uint64_t acked, durable;
        } resume; /* RESUME and RESUME_OK */
        struct {
            struct kt_record rec; /* ignored when last */
            uint8_t last;         /* no record: all were sent */
            struct kt_rid upto;   /* last: the donor's applied */
            uint64_t incarnation; /* of the target */
        } eqdata;
        struct {
            struct kt_id history;
            struct kt_rid at;
            uint64_t incarnation; /* of dst */
            /* SYNC_START: dst may say where its own history ends instead of
             * starting anew. SYNC_AT: it does, at .at: nothing was reset, and
             * src sends what its log holds after that, if it holds it. */
            uint8_t suffix;
        } sync;
        struct {
            uint32_t first, count; /* extents; DIGEST: rows in buf, and
                                      first = the next extent to ask for,
                                      UINT32_MAX when that was all */
            struct kt_rid at;      /* DIGEST: applied here */
        } digest;
        struct {
            uint32_t extent;
            struct kt_rid id; /* of the source's last change to it */
            uint8_t alloc;
            uint64_t want[KT_EXTENT_SECTORS / 64];
        } ext;
        struct {
            struct kt_node node;
            struct kt_id store;
            uint64_t incarnation, cont_base;
            uint64_t size, used; /* bytes */
            int32_t store_err;   /* 0 or why it is FAULTY */
            uint8_t insecure_links;
            uint8_t first, last;   /* page marks; others only carry chains */
            uint64_t hub_term;     /* highest ever heard; 0 = none (B15) */
            struct kt_id hub_mark; /* of the hub's database, then */
            uint32_t n_chains;
            const struct kt_chain_report *chains; /* borrowed */
        } reg;
        struct {
            struct kt_id cluster;
            uint64_t hub_term;
            struct kt_id hub_mark; /* made with the database, and anew when
                                      it is recovered (B15) */
        } reg_ok;
        struct {
            uint64_t size, used;
            int32_t store_err;
            uint64_t disk_stall_ms; /* age of the oldest unfinished append or
                                       sync */
        } hb;                       /* HB; HB_OK has no fields */
        struct {
            struct kt_node node; /* REPORT, PROBE: the other one */
            int32_t err;         /* REPORT, PROBE_OK: 0 or what happened */
            uint64_t slow_ms;    /* REPORT with err 0: it owes an
                                    acknowledgement for so long */
        } report;
        struct {
            struct kt_id store;
            uint64_t incarnation, cont_base;
            uint64_t promised;
            uint64_t last_epoch; /* of the ACTIVE cfg it last had */
            struct kt_rid applied;
            uint64_t acked, durable;
            struct kt_id history;
        } seal_ok;
        struct {
            uint64_t incarnation;  /* the donor's, as sealed (B2) */
            struct kt_rid applied; /* the donor's, as sealed (B2) */
            uint8_t n;
            const struct kt_eq_target *targets; /* borrowed */
        } eq;
        struct {
            struct kt_id store;
            uint64_t incarnation;
            struct kt_rid applied;
            int32_t err; /* 0, or why this member cannot */
        } eq_ok;
        struct {
            struct kt_id store; /* of dst */
            uint64_t incarnation;
            struct kt_rid applied;
            int32_t err; /* 0 done; else the sync failed */
        } sync_fin;
        struct {
            struct kt_id volume;
        } release;
        struct {
            char volume[KT_NAME_MAX + 1];
            struct kt_id volume_id;
            struct kt_id client;
            char node[KT_NAME_MAX + 1]; /* holder's node name */
            uint32_t pid;
            uint64_t token; /* RENEW, DETACH; ATTACH: of a predecessor or 0 */
            uint8_t steal;
            uint8_t n_cut; /* RENEW: nodes of its chains that it cannot */
            struct kt_id cut[KT_CUT_MAX]; /* reach (B13) */
        } attach;
        struct {
            struct kt_id volume_id;
            uint64_t size; /* bytes */
            uint64_t token;
            uint64_t segment_bytes;
            uint32_t lease_ms;
            uint32_t n_chains;
        } attach_ok;
    } u;
    /* Sent: borrowed for the call. Decoded: see kt_msg_decode. */
    struct kt_buf *buf;
    const struct kt_cfg *cfg;
    void *json; /* json_t; ADMIN and ADMIN_OK only */
};

/* The largest head + header (or whole control frame) encode can produce for
 * anything but ADMIN_OK and REGISTER pages, which may reach 1 MiB. */
#define KT_CONTROL_BYTES_MAX (KT_FRAME_BYTES + 8 + KT_PAYLOAD_BYTES_MAX)

/* Writes frame head and header of a data message, or the whole frame of a
 * control message, to ret; a data message's payload is m->buf->data, to be
 * sent after it (sums travel in the header). Returns the length or
 * -EMSGSIZE. Data messages: pure. Control messages allocate (jansson). */
int kt_msg_encode(const struct kt_msg *m, uint8_t *ret, size_t cap);

/* Frame head as received. */
struct kt_frame {
    uint8_t type;
    uint16_t flags;
    uint32_t hlen, plen;
    uint64_t req;
};
/* 0, or KT_E_PROTO (bad magic, version, type, or a length beyond its bound:
 * nothing may be allocated for it). Pure. */
int kt_frame_decode(const uint8_t b[KT_FRAME_BYTES],
                    struct kt_frame *ret_f) KT_MUST_CHECK;

/* Storage a decoded message may point into. */
struct kt_msg_room {
    struct kt_cfg cfg;
    struct kt_chain_report chains[KT_REGISTER_CHAINS_MAX];
    struct kt_eq_target targets[KT_MEMBERS_MAX];
};

/* Decodes one whole frame. head: KT_FRAME_BYTES + hlen bytes. payload: plen
 * bytes: for data messages a kt_buf whose data holds the payload (data_len
 * set, sums capacity >= KT_EXTENT_SECTORS): its sums are filled in from the
 * header and every sector is checked against them; for control messages a
 * kt_buf with the JSON text. NULL when plen is 0 (sum-only messages such as
 * EXT_SUMS then get their sums from a buffer the caller passes anyway: pass
 * one whenever hlen > 512).
 * ret_m->buf becomes payload for messages that carry one (no reference is
 * taken), ret_m->cfg points into room. ADMIN: ret_m->json is a new reference
 * for the caller. 0, KT_E_PROTO, KT_E_CORRUPT (sum of the header) or
 * KT_E_BADSUM (payload; ret_m is filled, so that a NAK can name it). */
int kt_msg_decode(const uint8_t *head, const struct kt_frame *f,
                  struct kt_buf *payload, struct kt_msg_room *room,
                  struct kt_msg *ret_m) KT_MUST_CHECK;

/* True when messages of this type bring one sum per sector: their decoding
 * wants a buffer even when plen is 0. Pure. */
bool kt_msg_has_sums(unsigned type);

/* "WRITE" etc.; "?" when unknown. Static storage. */
const char *kt_msg_name(unsigned type);

#endif
