/* SPDX-License-Identifier: BSD-3-Clause */
/* A replica catches up while the volume is written: SYNC_START, digests,
 * COPY_START, SKIP, SYNC_EXT, SYNC_FIN, and the last records in EQ.
 *
 * Model of replicator/core/chain_{src,dst}.c, replicator/store/fold.c and the
 * part of hub/control that makes a SYNCING member SERVING. One extent of two
 * sectors; a write stores its own seq in one of them. Everything from source
 * to target is one ordered stream (DESIGN.md 13), reading is not: what was
 * read may be sent after records that came later. When the connection breaks,
 * what was under way on it may still arrive, beside the new one's bytes. The
 * target begins with a write that nobody else has.
 *
 * W writes while it goes on, BREAKS of any kind (link lost, evicted and taken
 * back, killed, power lost), LAGS of the target that put the extent back into
 * the queue. Q messages fit into a connection. */
#ifndef W
#define W 2
#endif
#ifndef BREAKS
#define BREAKS 1
#endif
#ifndef LAGS
#define LAGS 1
#endif
#ifndef Q
#define Q 3
#endif
#ifndef REACH
#define REACH 0
#endif
#define REACHED(k) assert(REACH != k)

mtype = { SYNC_START, SYNC_AT, DIGEST_GET, DIGEST, COPY_START, EXT_SUMS, WANT,
          SYNC_EXT, SYNC_END, EXT_DONE, SYNC_DONE, SYNC_ACK, FWD, SKIP };
mtype = { OFF, COMPARE, COPY, ENDING, DONE };
mtype = { UNKNOWN, CLEAN, QUEUED, COPYING, AGAIN };

#define FOREIGN 15 /* what only the target ever had */

chan stream = [Q] of { mtype, byte, byte, byte, byte }; /* sync id, ... */
chan late = [Q] of { mtype, byte, byte, byte, byte };
chan answers = [2] of { mtype, byte, byte, byte, byte };

/* Source: content, its extent's id, its log. */
byte v0, v1 = 1, id = 1, seq = 1, sector[W + 2];
/* Source: the sync. */
mtype state = OFF, ext = UNKNOWN;
byte sid;
bool have_mine, have_theirs, sums_asked, base_asked, same, have_sums, have_base;
byte mine_0, mine_1, mine_id, their_0, their_1, their_id;
byte read_0, read_1, read_id, want;

/* Target: content, id, position; what it has on disk for sure. */
byte t0 = FOREIGN, t1, tid = FOREIGN, tseq, inc;
bool partial = false;
byte d0 = FOREIGN, d1, did = FOREIGN, dseq;
bool dpartial = false;
/* Target: the sync. */
bool started, copying;
byte conn, touched;

/* Hub. */
byte epoch = 1, cfg_inc, fin_epoch, fin_inc;

byte writes, breaks, lags, x;
mtype m;
byte a, b, c, d;
bool diverged;

inline scratch()
{
    m = 0;
    a = 0;
    b = 0;
    c = 0;
    d = 0;
    x = 0
}

inline src_off()
{
    state = OFF;
    ext = UNKNOWN;
    have_mine = false;
    have_theirs = false;
    sums_asked = false;
    base_asked = false;
    have_sums = false;
    have_base = false;
    same = false;
    mine_0 = 0;
    mine_1 = 0;
    mine_id = 0;
    their_0 = 0;
    their_1 = 0;
    their_id = 0;
    read_0 = 0;
    read_1 = 0;
    read_id = 0;
    want = 0
}

/* The connection is gone; its bytes may still be on the way. */
inline cut()
{
    do
    :: nempty(late) -> late?m,a,b,c,d
    :: empty(late) -> break
    od;
    do
    :: nempty(stream) ->
        stream?m,a,b,c,d;
        late!m,a,b,c,d
    :: empty(stream) -> break
    od;
    do
    :: nempty(answers) -> answers?m,a,b,c,d
    :: empty(answers) -> break
    od;
    src_off()
}

inline dst_off()
{
    started = false;
    copying = false;
    conn = 0;
    touched = 0
}

inline durable()
{
    d0 = t0;
    d1 = t1;
    did = tid;
    dseq = tseq;
    dpartial = partial
}

/* A record: seq r to sector x of the target. */
inline fold(r)
{
    if
    :: x == 0 -> t0 = r
    :: else -> t1 = r
    fi;
    tid = r;
    tseq = r
}

inline base()
{
    /* b, c: both sectors' bytes; d: those wished for */
#ifdef NO_B8_TOUCHED
    x = d;
#else
    x = d & ~touched;
#endif
    if
    :: (d & touched) != 0 -> REACHED(1)
    :: else
    fi;
    if
    :: x & 1 -> t0 = b
    :: else
    fi;
    if
    :: x & 2 -> t1 = c
    :: else
    fi
}

/* One message m of sync a, at the target. */
inline target()
{
    if
    :: m == SYNC_START && a > conn ->
        dst_off();
        started = true;
        conn = a;
        tseq = b;
        answers!SYNC_AT,a,0,0,0
#ifdef NO_B8_CONN
    :: m != SYNC_START && started ->
#else
    :: m != SYNC_START && started && a == conn ->
#endif
        if
        :: m == FWD && b == tseq + 1 ->
            x = c;
            touched = touched | (copying -> 1 << c : 0);
            fold(b)
        :: m == SKIP && b == tseq + 1 ->
            REACHED(2);
            tseq = b;
#ifndef NO_I21_PARTIAL
            partial = true
#endif
        :: (m == FWD || m == SKIP) && b != tseq + 1 -> skip
        :: m == DIGEST_GET ->
            answers!DIGEST,a,(partial -> 0 : tid),t0,t1
        :: m == COPY_START ->
            copying = true;
            touched = 0;
            tid = 0;
#ifndef NO_I21_PARTIAL
            partial = true
#endif
        :: m == EXT_SUMS && copying ->
            /* ours are read now; what differs and is not touched */
            x = (b != t0 -> 1 : 0) | (c != t1 -> 2 : 0);
            answers!WANT,a,x & ~touched,0,0
        :: m == SYNC_EXT && copying -> base()
        :: m == SYNC_END && copying ->
            copying = false;
            tid = (tid > b -> tid : b);
            partial = false;
            answers!EXT_DONE,a,0,0,0
        :: m == SYNC_DONE && tseq >= b ->
#ifndef NO_B3_SYNC
            durable();
#endif
            answers!SYNC_ACK,a,inc,0,0
        :: else
        fi
    :: else
    fi
}

init {
    atomic {
        sector[1] = 1;
        sector[0] = 0
    }
end:
    do
    :: atomic { /* WRITE at the source; the target is fed, not waited for */
        writes < W && nfull(stream) ->
        writes++;
        seq++;
        id = seq;
        if
        :: v0 = seq
        :: v1 = seq;
            sector[seq] = 1
        fi;
        if
        :: state != OFF && state != ENDING && state != DONE && lags < LAGS ->
            lags++; /* too far behind: into the queue, or again */
            ext = (ext == COPYING || ext == AGAIN -> AGAIN : QUEUED)
        :: true
        fi;
        x = (ext == QUEUED || ext == AGAIN);
#ifdef NO_B8_WHOLE
        x = x || ext == COPYING;
#endif
        if
        :: state != OFF && !x -> stream!FWD,sid,seq,sector[seq],0
        :: state != OFF && x -> stream!SKIP,sid,seq,sector[seq],0
        :: else
        fi;
        scratch()
    }
    /* ---- source ---- */
    :: atomic { /* SYNC_START */
#ifdef NO_B17_ONCE
        state == OFF && sid <= BREAKS ->
#else
        /* after SYNC_FIN the target's position must stay what it was */
        state == OFF && sid <= BREAKS && fin_epoch != epoch ->
#endif
        sid++;
        state = COMPARE;
        stream!SYNC_START,sid,seq,0,0
    }
    :: atomic { /* DIGEST_GET, on SYNC_AT; our own rows in their own time */
        answers?[SYNC_AT,_,_,_,_] && nfull(stream) ->
        answers?m,a,b,c,d;
        if
        :: a == sid && state == COMPARE -> stream!DIGEST_GET,sid,0,0,0
        :: else
        fi;
        scratch()
    }
    :: atomic {
        state == COMPARE && !have_mine ->
        have_mine = true;
        mine_0 = v0;
        mine_1 = v1;
        mine_id = id
    }
    :: atomic {
        answers?[DIGEST,_,_,_,_] ->
        answers?m,a,b,c,d;
        if
        :: a == sid && state == COMPARE ->
            have_theirs = true;
            their_id = b;
            their_0 = c;
            their_1 = d
        :: else
        fi;
        scratch()
    }
    :: atomic {
        have_mine && have_theirs && state == COMPARE ->
        same = (mine_id == their_id);
#ifndef NO_B8_DIGEST
        same = same && mine_0 == their_0 && mine_1 == their_1;
#endif
        if
        :: ext == UNKNOWN && same -> ext = CLEAN
        :: ext == UNKNOWN && !same -> ext = QUEUED
        :: else
        fi;
        same = false;
        state = COPY
    }
    :: atomic { /* COPY_START */
        state == COPY && ext == QUEUED && nfull(stream) ->
        ext = COPYING;
        sums_asked = false;
        base_asked = false;
        stream!COPY_START,sid,0,0,0
    }
    :: atomic { /* the sums are read ... */
        (ext == COPYING || ext == AGAIN) && !sums_asked ->
        sums_asked = true;
        have_sums = true;
        read_0 = v0;
        read_1 = v1;
        read_id = id
    }
    :: atomic { /* ... and sent */
        have_sums && nfull(stream) ->
        have_sums = false;
        stream!EXT_SUMS,sid,read_0,read_1,0
    }
    :: atomic { /* WANT: the bytes are read ... */
        answers?[WANT,_,_,_,_] ->
        answers?m,a,b,c,d;
        if
        :: a == sid && sums_asked && !base_asked ->
            base_asked = true;
            have_base = true;
            want = b;
            read_0 = v0;
            read_1 = v1
        :: else
        fi;
        scratch()
    }
    :: atomic { /* ... and sent */
        have_base && len(stream) + 1 < Q ->
        have_base = false;
        if
        :: want != 0 -> stream!SYNC_EXT,sid,read_0,read_1,want
        :: else
        fi;
        stream!SYNC_END,sid,read_id,0,0;
        read_0 = 0;
        read_1 = 0;
        read_id = 0;
        want = 0
    }
    :: atomic {
        answers?[EXT_DONE,_,_,_,_] ->
        answers?m,a,b,c,d;
        if
        :: a == sid && (ext == COPYING || ext == AGAIN) ->
#ifdef NO_B8_AGAIN
            ext = CLEAN
#else
            ext = (ext == AGAIN -> QUEUED : CLEAN)
#endif
        :: else
        fi;
        scratch()
    }
    :: atomic {
        state == COPY && ext == CLEAN && nfull(stream) ->
        state = ENDING;
        stream!SYNC_DONE,sid,seq,0,0
    }
    :: atomic { /* SYNC_ACK, and SYNC_FIN to the hub */
        answers?[SYNC_ACK,_,_,_,_] ->
        answers?m,a,b,c,d;
        if
        :: a == sid && state == ENDING ->
            state = DONE;
            fin_epoch = epoch;
            fin_inc = b
        :: else
        fi;
        scratch()
    }
    /* ---- target ---- */
    :: atomic {
        nempty(stream) && nfull(answers) ->
        stream?m,a,b,c,d;
        target();
        scratch()
    }
    :: atomic {
        nempty(late) && nfull(answers) ->
        late?m,a,b,c,d;
        if
        :: started && a != conn -> REACHED(3)
        :: else
        fi;
        target();
        scratch()
    }
    :: atomic { /* the log is written out whenever it likes */
        !partial && tid != did && breaks < BREAKS -> durable()
    }
    /* ---- what goes wrong ---- */
    :: atomic {
        breaks < BREAKS ->
        breaks++;
        cut();
        if
        :: true /* the link only */
        :: epoch++; /* evicted and taken back */
            dst_off();
            cfg_inc = inc
        :: inc++; /* killed: what is in the log stays */
            dst_off()
        :: inc++; /* power */
            dst_off();
            t0 = d0;
            t1 = d1;
            tid = did;
            tseq = dseq;
            partial = dpartial
        :: inc++; /* killed, noticed, taken back */
            epoch++;
            dst_off();
            cfg_inc = inc
        fi;
        scratch()
    }
    /* ---- hub: SYNC_FIN, then SEAL of both, EQ, ACTIVATE ---- */
    :: atomic {
        fin_epoch != 0 &&
#ifndef NO_I2_FIN
            fin_epoch == epoch &&
#endif
#ifndef NO_B17_INC
            fin_inc == cfg_inc && inc == cfg_inc &&
#endif
            tseq <= seq ->
        if
        :: breaks > 0 -> REACHED(4)
        :: else
        fi;
        do
        :: tseq < seq -> x = sector[tseq + 1]; a = tseq + 1; fold(a)
        :: else -> break
        od;
        diverged = (t0 != v0 || t1 != v1);
        assert(!diverged);
        REACHED(5);
        break
    }
    od
}
