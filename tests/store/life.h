/* SPDX-License-Identifier: BSD-3-Clause */
/* A store at work, and what it promised meanwhile.
 *
 * A life is one opening of the store, random operations, a clean close, all of
 * it in a log of the shim; marks in the log say what was asked for and what was
 * promised. So at any place of the log it is known what the store owes: of each
 * chain, a content between the durable one and all that was submitted. */
#ifndef KT_TESTS_STORE_LIFE_H
#define KT_TESTS_STORE_LIFE_H

#include "tests/store/disk.h"
#include "tests/unit/store_model.h"

#define LIFE_CHAINS 2u
#define LIFE_SLOTS 16u
#define LIFE_FLIGHT 8u

enum life_mark {
    MARK_SUBMIT = 1, /* a: seq */
    MARK_DONE,       /* a: seq */
    MARK_DURABLE,    /* a: seq */
    MARK_SAVE,       /* a: promised */
    MARK_SAVED,      /* a: promised */
    MARK_OPENED,     /* a: incarnation, b: cont_base */
    MARK_CLOSED,
};

/* One chain: contents by seq, from `first` on. */
struct past {
    uint64_t id;
    struct model *at; /* [n]: at[i] is the content after seq first + i */
    uint64_t first, n, cap;
    /* owed at the present place of the log */
    uint64_t submitted, done, durable, save, saved;
};

struct owed {
    struct past chains[LIFE_CHAINS];
    uint64_t incarnation, cont_base;
    bool opened, closed;
};

/* First in main: directories are made in memory, where there is some, and large
 * blocks are not given back to the system each time. */
void bench_in_memory(void);

void owed_init(struct owed *o);
void owed_free(struct owed *o);
/* The mark was passed. */
void owed_mark(struct owed *o, const struct shim_event *e);
/* What a life begins with: the state that i shows of chain k. */
void owed_restart(struct owed *o, uint32_t k, const struct store_chain_info *i);

struct life_opts {
    uint64_t seed;
    uint32_t records;
    bool large; /* many records of 1 MiB: the log goes round */
    /* Errors are expected: the life ends at the first. */
    bool failing;
    bool faulty; /* ... and the store must call itself faulty then */
};
/* Opens g, works, closes; extends the pasts and marks the log. 0, or why the
 * store could not be opened or became faulty (failing). */
int life_live(struct rig *g, struct owed *o, const struct life_opts *l);

/* Opens the state in g's directory and compares it with what is owed. killed:
 * the kernel lived, so all that completed must be there. Fails the test. When
 * `again`, applies everything, writes, and opens once more. Returns with the
 * store closed; ret_i: what it said of each chain. */
void owed_check(struct rig *g, const struct owed *o, bool killed, bool again,
                struct store_chain_info ret_i[LIFE_CHAINS]);

#endif
