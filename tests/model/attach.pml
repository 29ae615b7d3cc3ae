/* SPDX-License-Identifier: BSD-3-Clause */
/* A volume is taken from its holder: ATTACH with steal, one token for all its
 * chains, and the first holder's writes that are still on the way.
 *
 * Model of hub/control/attach.c, the gates of replicator/core/chain_{data,
 * hop,epoch}.c and lib/client/chain.c. C chains of two members, 0 before 1;
 * each of the two clients (tokens 1 and 2) writes to every chain, as often as
 * it likes. The network is a set of messages: late, twice, in any order or
 * never. Each chain changes up to E - 1 times, for the new token or without a
 * reason, and may leave either member out; who is left out knows nothing of
 * it. What counts is what a member that serves in the stored configuration
 * takes after ATTACH_OK(2): nothing of token 1. */
#ifndef C
#define C 2
#endif
#ifndef E
#define E 3
#endif
#ifndef REACH
#define REACH 0
#endif
#define REACHED(k) assert(REACH != k)

#define IN(m, i) (((m) >> (i)) & 1)
#define CE(c, e) ((c) * (E + 1) + (e))
#define CM(c, i) ((c) * 2 + (i))

/* Hub, stored: the attachment, and each chain's configurations. */
byte att = 1, epoch[C], serving[C * (E + 1)], token[C * (E + 1)];
/* Hub, in memory: SEAL_OK of the change under way. */
bool sealing[C];
byte sealed[C];

/* Members: active epoch, SEALED; records they have: bits of tokens. */
byte ep[C * 2], has[C * 2];
bool off[C * 2];

/* The network: WRITE and FWD, bits of tokens, by chain and epoch. */
byte m_write[C * (E + 1)], m_fwd[C * (E + 1)];

/* Clients. */
byte c_epoch[C]; /* the first holder's; the second one's are the hub's */
bool dead;
byte granted = 1;

bool late_write;
byte c, e, t, i, k;
bool ok;

inline scratch()
{
    c = 0;
    e = 0;
    t = 0;
    i = 0;
    k = 0;
    ok = false
}

#define CFG(c) CE(c, epoch[c])
/* The configuration a member acts by. */
#define MINE(c, i) CE(c, ep[CM(c, i)])

/* Member i of chain c takes a record of token t. */
inline take(c, i, t)
{
    if
    :: t == 2 -> REACHED(1)
    :: else
    fi;
    late_write = (IN(serving[CFG(c)], i) && t < granted);
    assert(!late_write); /* promise 4 */
    has[CM(c, i)] = has[CM(c, i)] | (1 << t)
}

/* It acts on data of epoch e (I2, I3). */
inline gate(c, i, e)
{
    ok = (ep[CM(c, i)] == e);
#ifdef NO_I2_EPOCH
    ok = true;
#endif
#ifndef NO_I3_PROMISE
    ok = ok && !off[CM(c, i)]
#endif
}

init {
    atomic {
        for (c : 0 .. C - 1) {
            epoch[c] = 1;
            c_epoch[c] = 1;
            serving[CE(c, 1)] = 3;
            token[CE(c, 1)] = 1;
            ep[CM(c, 0)] = 1;
            ep[CM(c, 1)] = 1
        }
        scratch()
    }
end:
    do
    /* ---- clients ---- */
    :: atomic { /* WRITE of the first holder, by what it knows */
        !dead ->
        select (c : 0 .. C - 1);
        m_write[CE(c, c_epoch[c])] = m_write[CE(c, c_epoch[c])] | 2;
        scratch()
    }
    :: atomic { /* it learns of a newer configuration (B14) */
        !dead ->
        select (c : 0 .. C - 1);
        if
        :: c_epoch[c] < epoch[c] ->
#ifndef NO_I18_FENCED
            dead = (token[CFG(c)] > 1);
#endif
            c_epoch[c] = (dead -> c_epoch[c] : epoch[c])
        :: else
        fi;
        scratch()
    }
    :: atomic { /* WRITE of the second */
        granted == 2 ->
        select (c : 0 .. C - 1);
        m_write[CFG(c)] = m_write[CFG(c)] | 4;
        scratch()
    }
    /* ---- members ---- */
    :: atomic { /* WRITE(e, t) at the head */
        select (c : 0 .. C - 1);
        select (e : 1 .. E);
        select (t : 1 .. 2);
        select (i : 0 .. 1);
        gate(c, i, e);
        ok = ok && IN(m_write[CE(c, e)], t) && !IN(has[CM(c, i)], t) &&
             IN(serving[MINE(c, i)], i) && (i == 0 || serving[MINE(c, i)] == 2);
#ifndef NO_I18_TOKEN
        ok = ok && t == token[MINE(c, i)];
#endif
        if
        :: ok ->
            take(c, i, t);
            if
            :: i == 0 -> m_fwd[MINE(c, 0)] = m_fwd[MINE(c, 0)] | (1 << t)
            :: else
            fi
        :: else
        fi;
        scratch()
    }
    :: atomic { /* FWD(e) at the successor */
        select (c : 0 .. C - 1);
        select (e : 1 .. E);
        select (t : 1 .. 2);
        gate(c, 1, e);
        ok = ok && IN(m_fwd[CE(c, e)], t) && !IN(has[CM(c, 1)], t) &&
             IN(serving[MINE(c, 1)], 1);
#ifndef NO_I8_PRED
        ok = ok && IN(serving[MINE(c, 1)], 0); /* from our predecessor */
#endif
        if
        :: ok ->
            if
            :: t == 1 && att == 2 -> REACHED(2)
            :: else
            fi;
            take(c, 1, t)
        :: else
        fi;
        scratch()
    }
    :: atomic { /* SEAL(e') */
        select (c : 0 .. C - 1);
        select (i : 0 .. 1);
        if
        :: sealing[c] && IN(serving[CFG(c)], i) && !IN(sealed[c], i) ->
            off[CM(c, i)] = true;
            sealed[c] = sealed[c] | (1 << i)
        :: else
        fi;
        scratch()
    }
    :: atomic { /* ACTIVATE(e') */
        select (c : 0 .. C - 1);
        select (i : 0 .. 1);
        if
        :: IN(serving[CFG(c)], i) && ep[CM(c, i)] < epoch[c] ->
            ep[CM(c, i)] = epoch[c];
            off[CM(c, i)] = IN(sealed[c], i)
        :: else
        fi;
        scratch()
    }
    /* ---- hub ---- */
    :: atomic { /* ATTACH with steal: the token is stored first (B9) */
        att == 1 -> att = 2
    }
    :: atomic { /* a change begins */
        select (c : 0 .. C - 1);
        if
        :: !sealing[c] && epoch[c] < E -> sealing[c] = true
        :: else
        fi;
        scratch()
    }
    :: atomic { /* EQ, and ACTIVE is stored */
        select (c : 0 .. C - 1);
        if
        :: sealing[c] && sealed[c] != 0 ->
            k = has[CM(c, 0)] | has[CM(c, 1)];
            k = (sealed[c] == 1 -> has[CM(c, 0)] : k);
            k = (sealed[c] == 2 -> has[CM(c, 1)] : k);
            for (i : 0 .. 1) {
                has[CM(c, i)] = (IN(sealed[c], i) -> k : has[CM(c, i)])
            }
            k = sealed[c];
#ifdef NO_I4_SEALED
            k = serving[CFG(c)];
#endif
            epoch[c]++;
            serving[CFG(c)] = k;
            token[CFG(c)] = att;
            sealing[c] = false;
            sealed[c] = 0
        :: else
        fi;
        scratch()
    }
    :: atomic { /* ATTACH_OK when every chain has the token (B9) */
        att == 2 && granted == 1 ->
        k = 0;
        for (c : 0 .. C - 1) {
            k = k + (token[CFG(c)] == 2)
        }
#ifdef NO_B9_ALL
        granted = (k > 0 -> 2 : 1);
#else
        granted = (k == C -> 2 : 1);
#endif
        if
        :: granted == 2 && !dead -> REACHED(3)
        :: else
        fi;
        scratch()
    }
    od
}
