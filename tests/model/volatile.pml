/* SPDX-License-Identifier: BSD-3-Clause */
/* What is acknowledged is in the logs, what is flushed is on disk: FLUSH,
 * power lost on any of the members at once, vgen, and the client's replay.
 *
 * Model of lib/client/{chain,retain,flush}.c with hub/control/{seal,commit}.c.
 * A change of the chain is one step here (reconfig.pml takes it apart): any
 * of those that served last answer; others may come with it, complete by
 * resync. Two members; one sector; the client writes 1, 2, 3... into it, one
 * after the other (A2), the one numbered FUA with FUA.
 *
 * V writes, R changes, LOSSES of power, DEATHS of the client (after which
 * another one attaches and only reads), START: members that serve first. */
#ifndef V
#define V 2
#endif
#ifndef R
#define R 3
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef START
#define START 3
#endif
#ifndef FUA
#define FUA 0
#endif
#ifndef REACH
#define REACH 0
#endif
#define REACHED(k) assert(REACH != k)

#define L (V + 2) /* records in a log */
#define IN(m, i) (((m) >> (i)) & 1)
#define VAL(i) (n[i] > 0 -> val[(i) * L + n[i] - 1] : 0)
#define SERVES(i) (IN(serving, i) && cont[i])
#define ALL_SERVE ((!IN(serving, 0) || cont[0]) && (!IN(serving, 1) || cont[1]))
#define HEAD (IN(serving, 0) -> 0 : 1)

/* Members: log, how much is durable, continuity since the last ACTIVE. */
byte val[2 * L], wseq[2 * L], n[2], durable[2];
bool cont[2];
/* Configuration. */
byte epoch = 1, serving = START, vgen = 1, base_seq;
/* Client. */
bool alive = true, replaying;
byte c_epoch = 1, c_vgen = 1, next_val, next_wseq, cur, cur_wseq;
byte acked, kept[V], kept_seq[V], kept_vgen[V], n_kept, at, at_wseq;
bool flushing;
byte f_upto, f_ok, f_n;
/* Promises. */
byte flushed, seen;
bool stale, flush_lost, went_back;

byte losses, deaths, i, k, s, t, d;
bool any;

inline scratch()
{
    i = 0;
    k = 0;
    s = 0;
    t = 0;
    d = 0;
    any = false
}

/* Where wseq k is in the log of member i: s, or 0. */
inline find(i, w)
{
    s = 0;
    for (k : 0 .. L - 1) {
        if
        :: k < n[i] && wseq[i * L + k] == w -> s = k + 1
        :: else
        fi
    }
}

inline copy_rec(to, from, k)
{
    val[to * L + k] = val[from * L + k];
    wseq[to * L + k] = wseq[from * L + k]
}

/* Forgets the first of the kept. */
inline drop_first()
{
    for (k : 1 .. V - 1) {
        kept[k - 1] = kept[k];
        kept_seq[k - 1] = kept_seq[k];
        kept_vgen[k - 1] = kept_vgen[k]
    }
    n_kept--;
    kept[n_kept] = 0;
    kept_seq[n_kept] = 0;
    kept_vgen[n_kept] = 0
}

inline flush_off()
{
    flushing = false;
    f_upto = 0;
    f_n = 0;
#ifndef NO_I13_EPOCH
    f_ok = 0
#endif
}

/* Cuts the log of member i to s records. */
inline cut(i)
{
    for (k : 0 .. L - 1) {
        if
        :: k >= s -> val[i * L + k] = 0; wseq[i * L + k] = 0
        :: else
        fi
    }
    n[i] = s
}

init {
    atomic {
        cont[0] = IN(START, 0);
        cont[1] = IN(START, 1)
    }
end:
    do
    /* ---- client ---- */
    :: atomic {
        alive && cur == 0 && !replaying && next_val < V ->
        next_val++;
        next_wseq++;
        cur = next_val;
        cur_wseq = next_wseq
    }
    :: atomic { /* WRITE at the head: what waits, or what is replayed */
        alive && c_epoch == epoch && SERVES(HEAD) && (replaying || cur != 0) ->
        i = HEAD;
        t = (replaying -> at_wseq : cur_wseq);
        find(i, t);
        if
        :: s == 0 && n[i] < L ->
            val[i * L + n[i]] = (replaying -> kept[at] : cur);
            wseq[i * L + n[i]] = t;
            n[i]++
        :: else
        fi;
        scratch()
    }
    :: atomic { /* FWD */
        serving == 3 && ALL_SERVE && n[1] < n[0] ->
        k = n[1];
        copy_rec(1, 0, k);
        n[1]++;
        scratch()
    }
    :: atomic { /* ACK */
        alive && c_epoch == epoch && SERVES(HEAD) && (replaying || cur != 0) ->
        i = HEAD;
        t = (replaying -> at_wseq : cur_wseq);
        find(i, t);
        if
        :: s != 0 && (serving != 3 || (ALL_SERVE && n[1] >= s)) ->
            if
            :: replaying ->
                REACHED(1);
                kept_seq[at] = s;
                kept_vgen[at] = c_vgen;
#ifdef NO_B11_ORDER
                replaying = (at > 0);
                at = (at > 0 -> at - 1 : 0);
#else
                at++;
                replaying = (at < n_kept);
#endif
                next_wseq = next_wseq + replaying;
                at_wseq = (replaying -> next_wseq : 0);
                at = (replaying -> at : 0)
            :: else ->
                acked = cur;
                if
                :: cur == FUA ->
                    durable[0] = (IN(serving, 0) -> n[0] : durable[0]);
                    durable[1] = (IN(serving, 1) -> n[1] : durable[1]);
                    flushed = cur
                :: else
                fi;
                any = (cur != FUA);
#ifndef NO_I16_FUA
                any = any || n_kept > 0; /* as long as an older one is */
#endif
                if
                :: any ->
                    kept[n_kept] = cur;
                    kept_seq[n_kept] = s;
                    kept_vgen[n_kept] = c_vgen;
                    n_kept++
                :: else
                fi;
                cur = 0;
                cur_wseq = 0
            fi
        :: else
        fi;
        scratch()
    }
    :: atomic { /* READ: by any serving member of the client's epoch */
#ifdef NO_B11_READ
        alive && c_epoch == epoch && cur == 0 ->
#else
        alive && c_epoch == epoch && cur == 0 && !replaying ->
#endif
        select (i : 0 .. 1);
        if
        :: SERVES(i) ->
            stale = (VAL(i) != acked);
            assert(!stale);
            if
            :: c_vgen > 1 && acked == V -> REACHED(2)
            :: else
            fi
        :: else
        fi;
        scratch()
    }
    :: atomic { /* ACTIVATE */
        alive && c_epoch < epoch ->
        c_epoch = epoch;
        flush_off();
        if
        :: c_vgen != vgen ->
            do
#ifndef NO_I16_BASE
            :: n_kept > 0 && kept_vgen[0] == c_vgen &&
               kept_seq[0] <= base_seq ->
                REACHED(3);
                drop_first()
#endif
            :: else -> break
            od;
            c_vgen = vgen;
#ifndef NO_I16_REPLAY
            replaying = (n_kept > 0);
#endif
            next_wseq = next_wseq + replaying;
            at_wseq = (replaying -> next_wseq : 0);
            at = 0;
#ifdef NO_B11_ORDER
            at = (replaying -> n_kept - 1 : 0);
#endif
#ifndef NO_I16_FRESH
            if
            :: cur != 0 -> next_wseq++; cur_wseq = next_wseq
            :: else
            fi
#endif
        :: else
        fi;
        scratch()
    }
    /* ---- flush ---- */
    :: atomic { /* FLUSH{upto} to all serving members */
        alive && !flushing && !replaying && n_kept > 0 && c_epoch == epoch ->
        flushing = true;
        f_upto = kept_seq[n_kept - 1];
        f_n = n_kept
    }
    :: atomic { /* FLUSH_OK */
        alive && flushing && c_epoch == epoch ->
        select (i : 0 .. 1);
        if
        :: SERVES(i) && n[i] >= f_upto ->
            durable[i] = n[i];
            f_ok = f_ok | (1 << i)
        :: else
        fi;
        scratch()
    }
    :: atomic {
#ifdef NO_I13_ALL
        alive && flushing && f_ok != 0 ->
#else
        alive && flushing && (f_ok & serving) == serving && c_epoch == epoch ->
#endif
        flushed = (kept[f_n - 1] > flushed -> kept[f_n - 1] : flushed);
#ifdef NO_I16_BYSEQ
        f_n = n_kept;
#endif
        do
        :: f_n > 0 -> drop_first(); f_n--
        :: else -> break
        od;
        f_ok = 0;
        flush_off();
        scratch()
    }
    /* ---- what goes wrong ---- */
    :: atomic { /* power, of one or both: what is not durable may be gone */
        losses < LOSSES ->
        losses++;
        select (t : 1 .. 3);
        for (i : 0 .. 1) {
            if
            :: IN(t, i) ->
                s = durable[i];
                do
                :: s < n[i] -> s++
                :: break
                od;
                cut(i);
                durable[i] = n[i]; /* what was found at the start */
                cont[i] = false
            :: else
            fi
        }
        scratch()
    }
    :: atomic { /* the client's node dies */
        alive && deaths < DEATHS ->
        deaths++;
        alive = false;
        replaying = false;
        flushing = false;
        cur = 0;
        cur_wseq = 0;
        n_kept = 0;
        at = 0;
        at_wseq = 0;
        f_upto = 0;
        f_ok = 0;
        f_n = 0;
        next_val = 0;
        next_wseq = 0;
        acked = 0;
        c_epoch = 0;
        c_vgen = 0;
        for (k : 0 .. V - 1) {
            kept[k] = 0;
            kept_seq[k] = 0;
            kept_vgen[k] = 0
        }
        scratch()
    }
    /* ---- SEAL, EQ, ACTIVATE ---- */
    :: atomic {
        epoch <= R ->
        select (t : 1 .. 3); /* who answers: t; who of them served last: s */
        s = t & serving;
        if
        :: s != 0 ->
            any = (IN(s, 0) && cont[0]) || (IN(s, 1) && cont[1]);
            /* continuity first, then the longest history (B16) */
            d = (IN(s, 0) -> 0 : 1);
            if
            :: s == 3 && cont[1] && !cont[0] -> d = 1
            :: s == 3 && cont[1] == cont[0] && n[1] > n[0] -> d = 1
            :: else
            fi;
            i = 1 - d;
            if
            :: IN(t, i) ->
                /* EQDATA, or the copy of a resync before it */
                n[i] = (IN(s, i) -> n[i] : 0);
                for (k : 0 .. L - 1) {
                    if
                    :: k >= n[i] || !IN(s, i) -> copy_rec(i, d, k)
                    :: else
                    fi
                }
                n[i] = (n[i] < n[d] -> n[d] : n[i]);
                t = (n[i] > n[d] -> 1 << d : t); /* only appends (B1) */
#ifdef NO_I14_EQSYNC
                durable[i] = (durable[i] > n[i] -> n[i] : durable[i])
            :: else
            fi;
#else
                durable[i] = n[i]
            :: else
            fi;
            durable[d] = n[d];
#endif
            epoch++;
            serving = t;
            base_seq = n[d];
#ifndef NO_I15_VGEN
            vgen = vgen + !any;
#endif
            if
            :: !any && alive -> REACHED(4)
            :: else
            fi;
            cont[0] = IN(t, 0);
            cont[1] = IN(t, 1);
            if
            :: !alive ->
                flush_lost = (VAL(d) < flushed);
                assert(!flush_lost);
                went_back = (VAL(d) < seen);
                assert(!went_back);
                seen = VAL(d)
            :: else
            fi
        :: else
        fi;
        scratch()
    }
    od
}
