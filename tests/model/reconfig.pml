/* SPDX-License-Identifier: BSD-3-Clause */
/* A chain changes: PREPARE, SEAL, EQ, ACTIVATE, beside the writes, with a
 * failure detector that may be wrong about anybody at any time.
 *
 * Model of hub/control/{op,seal,commit}.c, replicator/core/chain_{epoch,hop,
 * data}.c and lib/client/chain.c. Members are in chain order. The network is a
 * set of messages: what was sent may come late, twice, in another order or
 * never; so the successor that resumes needs no messages of its own. A record
 * is (epoch, wseq); its seq is its place in the log. Each wseq writes a sector
 * of its own, all of them are in flight at once, and the client sends again
 * whatever has no ACK under each configuration it learns of.
 *
 * N members, W writes, E epochs, LOSSES of a member's unsynced log (with at
 * least one member's continuity left, see volatile.pml for the rest), DEATHS
 * of the hub. */
#ifndef N
#define N 3
#endif
#ifndef W
#define W 2
#endif
#ifndef E
#define E 3
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef REACH
#define REACH 0
#endif
#define REACHED(k) assert(REACH != k)

#define REC(e, w) (((e) << 2) | (w))
#define WSEQ(r) ((r) & 3)
#define ONE(i) (1 << (i))
#define IN(m, i) (((m) >> (i)) & 1)
#define AT(e, i) ((e) * N + (i))
#define SLOT(e, i, s) (AT(e, i) * W + (s))

/* Members. on: ACTIVE at ep. sealing: SEALED for that epoch; 0: not. */
bool on[N];
byte ep[N], promised[N], sealing[N], inc[N], n[N], durable[N];
byte base[N]; /* what it had at ACTIVATE counts as acknowledged (I9) */
byte rec[N * W];
byte dedup[N]; /* bits of wseqs */

/* Hub, in its store. serving and cfg_inc are the cfg of each epoch. */
byte h_epoch = 1, h_prepare = 1;
byte serving[E + 1], cfg_inc[(E + 1) * N];
/* Hub, in memory. */
mtype = { NONE, SEAL, EQ, TOLD };
mtype op = NONE;
byte op_epoch, s_ok, s_n[N], s_inc[N], donor, targets, done;

/* The network. */
byte m_seal;            /* bits of epochs: SEAL(e), to all */
byte m_activate;        /* bits of epochs: ACTIVATE(e), to all and the client */
byte ok_epoch[N], ok_inc[N], ok_n[N];    /* SEAL_OK */
byte m_eq;                               /* EQ(e) to the donor */
byte d_epoch, d_n, d_rec[W], d_inc[N], d_from[N]; /* EQDATA */
byte eq_epoch[N], eq_inc[N], eq_n[N];    /* EQ_OK */
byte m_write[E + 1];                     /* WRITE(e): bits of wseqs */
byte f_rec[(E + 1) * N * W], f_prev[(E + 1) * N * W]; /* FWD(e) to i */
byte m_ackc[(E + 1) * N];                /* ACKC(e) of i: upto */
byte m_ack[E + 1];                       /* ACK(e): bits of wseqs */

/* Client. */
byte c_epoch = 1, acked;

byte losses, deaths;
bool lost_acked, twice;

/* Neighbours of i in mask m; N: none. */
byte nb;
inline succ_of(m, i)
{
    nb = N;
    if
    :: i < 1 && IN(m, 1) && 1 < N -> nb = 1
    :: i < 2 && !(i < 1 && IN(m, 1)) && IN(m, 2) && 2 < N -> nb = 2
    :: else
    fi
}
inline pred_of(m, i)
{
    nb = N;
    if
    :: i > 1 && IN(m, 1) -> nb = 1
    :: i > 0 && !(i > 1 && IN(m, 1)) && IN(m, 0) -> nb = 0
    :: else
    fi
}

byte k;
/* chain_take(): append, fold the duplicate filter, forward at once. */
inline take(i, r)
{
    rec[i * W + n[i]] = r;
    dedup[i] = dedup[i] | ONE(WSEQ(r));
    succ_of(serving[ep[i]], i);
    if
    :: nb < N && f_rec[SLOT(ep[i], nb, n[i])] == 0 ->
        f_rec[SLOT(ep[i], nb, n[i])] = r;
        f_prev[SLOT(ep[i], nb, n[i])] =
            (n[i] > 0 -> rec[i * W + n[i] - 1] : 0)
    :: else
    fi;
    n[i]++
}

/* What member i has: bits of wseqs, and whether any is there twice. */
byte has;
inline look(i)
{
    has = 0;
    for (k : 0 .. W - 1) {
        if
        :: k < n[i] -> has = has | ONE(WSEQ(rec[i * W + k]))
        :: else
        fi
    }
    k = 0
}

#ifdef NO_I2_EPOCH
#define SAME(e, i) ((e) <= E)
#else
#define SAME(e, i) ((e) == ep[i])
#endif

#ifdef NO_B2_INCARNATION
#define AS_SEALED(i) true
#define EQ_AS_SEALED(i) true
#else
#define AS_SEALED(i) (inc[i] == s_inc[i] && n[i] == s_n[i])
#define EQ_AS_SEALED(i) (eq_inc[i] == s_inc[i] && eq_n[i] == s_n[donor])
#endif

#ifdef NO_I4_LAST
#define LAST(i) true
#define CONT(i) true
#else
#define LAST(i) IN(serving[h_epoch], i)
#define CONT(i) (s_inc[i] == cfg_inc[AT(h_epoch, i)])
#endif

byte i, e, w, s, b;
bool hit;

/* What every option of the loop leaves behind: nothing in the scratch. */
inline clean()
{
    i = 0;
    e = 0;
    w = 0;
    s = 0;
    b = 0;
    k = 0;
    nb = 0;
    has = 0;
    hit = false
}

inline adopt(e)
{
    c_epoch = e;
    m_write[e] = ((ONE(W) - 1) << 1) & ~acked
}

inline op_forget()
{
    op = NONE;
    op_epoch = 0;
    s_ok = 0;
    donor = 0;
    targets = 0;
    done = 0;
    m_eq = 0;
    for (k : 0 .. N - 1) {
        s_n[k] = 0;
        s_inc[k] = 0
    }
}

inline set_cfg()
{
    serving[op_epoch] = s_ok;
    for (k : 0 .. N - 1) {
        cfg_inc[AT(op_epoch, k)] = s_inc[k]
    }
}

init {
    atomic {
        for (i : 0 .. N - 1) {
            on[i] = true;
            ep[i] = 1;
            promised[i] = 1
        }
        serving[1] = ONE(N) - 1;
        m_activate = ONE(1);
        m_write[1] = (ONE(W) - 1) << 1;
        clean()
    }
end:
    do
    /* ---- member: data ---- */
    :: atomic { /* WRITE(e, w) at the head */
        select (i : 0 .. N - 1);
        select (e : 1 .. E);
        select (w : 1 .. W);
        if
        :: on[i] && SAME(e, i) && IN(m_write[e], w) ->
            pred_of(serving[ep[i]], i);
            if
            :: nb == N && IN(serving[ep[i]], i) ->
                hit = IN(dedup[i], w);
#ifdef NO_I19_DEDUP
                hit = false;
#endif
                if
                :: !hit && n[i] < W ->
                    look(i);
                    twice = IN(has, w);
                    assert(!twice); /* I19 */
                    take(i, REC(ep[i], w))
                :: else
                fi
            :: else
            fi
        :: else
        fi;
        clean()
    }
    :: atomic { /* FWD(e, s) */
        select (i : 1 .. N - 1);
        select (e : 1 .. E);
        select (s : 0 .. W - 1);
        if
        :: on[i] && SAME(e, i) && IN(serving[ep[i]], i) && n[i] < W &&
           f_rec[SLOT(e, i, s)] != 0 ->
            /* from our predecessor, not from whoever was it once */
            pred_of(serving[e], i);
            b = nb;
            pred_of(serving[ep[i]], i);
            hit = (nb == b && nb < N);
#ifndef NO_I8_PREV
            hit = hit && s == n[i] &&
                  f_prev[SLOT(e, i, s)] ==
                      (n[i] > 0 -> rec[i * W + n[i] - 1] : 0);
#else
            look(i);
            hit = hit && !IN(has, WSEQ(f_rec[SLOT(e, i, s)]));
#endif
            if
            :: hit -> take(i, f_rec[SLOT(e, i, s)])
            :: else
            fi
        :: else
        fi;
        clean()
    }
    :: atomic { /* ACKC up, or ACK to the client that asked in this epoch */
        select (i : 0 .. N - 1);
        if
        :: on[i] && IN(serving[ep[i]], i) ->
            b = n[i];
            succ_of(serving[ep[i]], i);
            if
            :: nb < N ->
                /* ACKC counts at our epoch only */
                s = m_ackc[AT(ep[i], nb)];
#ifdef NO_I2_EPOCH
                for (e : 1 .. E) {
                    if
                    :: m_ackc[AT(e, nb)] > s -> s = m_ackc[AT(e, nb)]
                    :: else
                    fi
                }
#endif
                s = (s < base[i] -> base[i] : s);
                b = (s < b -> s : b)
            :: else
            fi;
            pred_of(serving[ep[i]], i);
            if
            :: nb < N && b > m_ackc[AT(ep[i], i)] -> m_ackc[AT(ep[i], i)] = b
            :: nb == N ->
                has = m_write[ep[i]];
#if defined(NO_I2_EPOCH) || defined(NO_I20_ASKED)
                has = (ONE(W) - 1) << 1;
#endif
                for (k : 0 .. W - 1) {
                    w = (k < b -> WSEQ(rec[i * W + k]) : 0);
                    if
                    :: w != 0 && IN(has, w) ->
                        m_ack[ep[i]] = m_ack[ep[i]] | ONE(w)
                    :: else
                    fi
                }
            :: else
            fi
        :: else
        fi;
        clean()
    }
    :: atomic { /* READ at the client's epoch, any serving member */
        select (i : 0 .. N - 1);
        if
        :: on[i] && SAME(c_epoch, i) && IN(serving[c_epoch], i) ->
            look(i);
            if
            :: acked != 0 && c_epoch > 1 -> REACHED(1)
            :: else
            fi;
            if
            :: acked == (ONE(W) - 1) << 1 && c_epoch == E -> REACHED(2)
            :: else
            fi;
            lost_acked = (acked & has) != acked;
            assert(!lost_acked) /* I12 */
        :: else
        fi;
        clean()
    }
    /* ---- client ---- */
    :: atomic { /* ACK: a newer configuration first (I20) */
        select (e : 1 .. E);
        if
        :: (m_ack[e] & ~acked) != 0 ->
#ifndef NO_I20_ADOPT
            if
            :: e > c_epoch -> adopt(e)
            :: else
            fi;
#endif
            acked = acked | m_ack[e]
        :: else
        fi;
        clean()
    }
    :: atomic { /* ACTIVATE, or a configuration in an answer (B14) */
        select (e : 2 .. E);
        if
        :: IN(m_activate, e) && e > c_epoch ->
            adopt(e)
        :: else
        fi;
        clean()
    }
    /* ---- member: the change ---- */
    :: atomic { /* SEAL(e) */
        select (i : 0 .. N - 1);
        select (e : 2 .. E);
        if
        :: IN(m_seal, e) && e >= promised[i] && sealing[i] != e &&
           !(on[i] && e <= ep[i]) -> /* B1 */
            promised[i] = e;
            sealing[i] = e;
#ifndef NO_I3_PROMISE
            on[i] = false;
#endif
            ok_epoch[i] = e;
            ok_inc[i] = inc[i];
            ok_n[i] = n[i]
        :: else
        fi;
        clean()
    }
    :: atomic { /* EQ(e) at the donor */
        m_eq != 0 && sealing[donor] == m_eq && d_epoch != m_eq ->
        if
        :: AS_SEALED(donor) ->
            durable[donor] = n[donor]; /* B3 */
            d_epoch = m_eq;
            d_n = n[donor];
            for (k : 0 .. W - 1) {
                d_rec[k] = (k < n[donor] -> rec[donor * W + k] : 0)
            }
            for (k : 0 .. N - 1) {
                d_inc[k] = s_inc[k];
                d_from[k] = s_n[k]
            }
            eq_epoch[donor] = m_eq;
            eq_inc[donor] = inc[donor];
            eq_n[donor] = n[donor]
        :: else -> op_forget() /* it says so: again, at a higher epoch */
        fi;
        clean()
    }
    :: atomic { /* EQDATA(e) at a target, all of it */
        select (i : 0 .. N - 1);
        hit = (d_epoch != 0 && sealing[i] == d_epoch && IN(targets, i));
#ifndef NO_B2_INCARNATION
        hit = hit && d_inc[i] == inc[i];
#endif
#ifdef NO_B1_APPEND
        if
        :: d_epoch != 0 && on[i] && ep[i] == d_epoch && n[i] > d_n &&
           IN(serving[ep[i]], i) ->
            n[i] = d_n /* a late one cuts what came after it */
        :: else
        fi;
#endif
        if
        :: hit ->
            if
            :: n[i] < d_n -> REACHED(3)
            :: else
            fi;
            /* begins behind what was sealed, and only appends */
            hit = n[i] >= d_from[i] &&
                  (n[i] == 0 || rec[i * W + n[i] - 1] == d_rec[n[i] - 1]);
            for (k : 0 .. W - 1) {
                if
                :: hit && k >= n[i] && k < d_n ->
                    rec[i * W + k] = d_rec[k];
#ifndef NO_B6_TRAVELS
                    dedup[i] = dedup[i] | ONE(WSEQ(d_rec[k]));
#endif
                :: else
                fi
            }
            n[i] = (hit && n[i] < d_n -> d_n : n[i]);
            durable[i] = n[i]; /* B3 */
            eq_epoch[i] = d_epoch;
            eq_inc[i] = inc[i];
            eq_n[i] = n[i]
        :: else
        fi;
        clean()
    }
    :: atomic { /* ACTIVATE(e) at a member of it */
        select (i : 0 .. N - 1);
        select (e : 2 .. E);
        hit = (sealing[i] == e);
#ifndef NO_I11_INCARNATION
        hit = hit && cfg_inc[AT(e, i)] == inc[i];
#endif
        if
        :: hit && IN(m_activate, e) && IN(serving[e], i) &&
           e >= promised[i] && !(on[i] && ep[i] >= e) ->
            on[i] = true;
            ep[i] = e;
            promised[i] = e;
            sealing[i] = 0;
            base[i] = n[i]
        :: else
        fi;
        clean()
    }
    :: atomic { /* power: the log beyond the last sync may be gone */
#ifdef LOSS_IN_EQ
        losses < LOSSES && op == EQ ->
#else
        losses < LOSSES ->
#endif
        select (i : 0 .. N - 1);
        select (s : 0 .. W);
        if
        :: s >= durable[i] && s <= n[i] ->
            losses++;
            inc[i]++;
            on[i] = false;
            sealing[i] = 0;
            dedup[i] = 0;
            for (k : 0 .. W - 1) {
                if
                :: k < s -> dedup[i] = dedup[i] | ONE(WSEQ(rec[i * W + k]))
                :: else -> rec[i * W + k] = 0
                fi
            }
            n[i] = s;
            base[i] = 0
        :: else
        fi;
        clean()
    }
    /* ---- hub ---- */
    :: atomic { /* P1: any suspicion will do; PREPARE is stored */
        op == NONE && h_epoch < E ->
        op_epoch = (h_prepare > h_epoch -> h_prepare : h_epoch) + 1;
        if
        :: op_epoch <= E ->
            op = SEAL;
            h_prepare = op_epoch;
            if
            :: op_epoch > h_epoch + 1 -> REACHED(4)
            :: else
            fi;
            m_seal = m_seal | ONE(op_epoch)
        :: else -> op_epoch = 0
        fi;
        clean()
    }
    :: atomic { /* SEAL_OK */
        op == SEAL ->
        select (i : 0 .. N - 1);
        if
        :: ok_epoch[i] == op_epoch && LAST(i) && !IN(s_ok, i) ->
            s_ok = s_ok | ONE(i);
            s_n[i] = ok_n[i];
            s_inc[i] = ok_inc[i]
        :: else
        fi;
        clean()
    }
    :: atomic { /* P3: those that answered so far are the next chain */
        op == SEAL && s_ok != 0 ->
        for (k : 0 .. N - 1) {
            if
            :: IN(s_ok, k) && CONT(k) && (!hit || s_n[k] > s_n[donor]) ->
                donor = k;
                hit = true
            :: else
            fi
        }
        if
        :: hit ->
            op = EQ;
            m_eq = op_epoch;
            targets = s_ok & ~ONE(donor);
#ifdef NO_I9_EQ
            m_eq = 0;
            done = s_ok;
#endif
        :: else -> donor = 0 /* DOWN: wait for more */
        fi;
        clean()
    }
    :: atomic { /* EQ_OK */
        op == EQ ->
        select (i : 0 .. N - 1);
        if
        :: eq_epoch[i] == op_epoch && IN(s_ok, i) && !IN(done, i) ->
            if
            :: EQ_AS_SEALED(i) -> done = done | ONE(i)
            :: else -> op_forget()
            fi
        :: else
        fi;
        clean()
    }
#ifdef NO_I5_STORED
    :: atomic { /* P5 before P4 */
        op == EQ && done == s_ok ->
        set_cfg();
        m_activate = m_activate | ONE(op_epoch);
        op = TOLD;
        clean()
    }
#endif
    :: atomic { /* P4: ACTIVE is stored */
#ifdef NO_I5_STORED
        op == TOLD ->
#else
        op == EQ && done == s_ok ->
#endif
        h_epoch = op_epoch;
#ifndef NO_I5_STORED
        set_cfg();
#endif
        op_forget();
        clean()
    }
    :: atomic { /* P5: everybody is told */
        !IN(m_activate, h_epoch) -> m_activate = m_activate | ONE(h_epoch)
    }
    :: atomic { /* time is up, or the hub dies: its memory is gone */
        op != NONE && deaths < DEATHS ->
        deaths++;
        op_forget();
        clean()
    }
    od
}
