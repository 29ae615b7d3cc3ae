/* SPDX-License-Identifier: BSD-3-Clause */
/* Many seeds in several processes, and what they did together. */
#ifndef KT_TESTS_SIM_JOBS_H
#define KT_TESTS_SIM_JOBS_H

#include "tests/sim/sim.h"

#define JOBS_MAX 64u

/* Of one process; in memory that all of them share. */
struct job {
    struct sim_stats stats;
    uint64_t seed;      /* under way: named when the process dies of it */
    uint64_t bad;       /* seeds that failed */
    uint64_t steps_min; /* of the smallest run */
    uint64_t hash;      /* of all traces, in any order */
};

/* The memory; returns the first job's. Call it once, before anything else. */
struct job *jobs_open(void);
/* Runs fn(arg, job, index) for n jobs: in this process when n is 1, else each
 * in its own. One that dies counts as a failed seed. */
void jobs_run(unsigned n, void (*fn)(void *, struct job *, unsigned),
              void *arg);
/* Everybody ends after the seed under way. */
void jobs_stop(void);
bool jobs_stopped(void);
/* All jobs added up, in the first job's memory. */
struct job *jobs_sum(void);

/* The line for tests/ledger.tsv, without date and commit. False when the runs
 * were smaller than they should be on average: too few of them would say
 * little. */
bool campaign_print(const struct job *all, uint64_t from);

#endif
