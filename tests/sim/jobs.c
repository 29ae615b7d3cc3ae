/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/disk.h"

/* On average, of each run. */
#define WRITES_LEAST 100u
#define READS_LEAST 100u

static struct shared {
    struct job jobs[JOBS_MAX];
    _Atomic bool stop;
} * shared;
static unsigned n_jobs = 1;

struct job *jobs_open(void)
{
    void *m = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) {
        perror("sim: mmap");
        exit(2);
    }
    shared = m;
    for (unsigned i = 0; i < JOBS_MAX; i++)
        shared->jobs[i].steps_min = UINT64_MAX;
    return &shared->jobs[0];
}

void jobs_stop(void)
{
    shared->stop = true;
}

bool jobs_stopped(void)
{
    return shared->stop;
}

static pid_t begin(unsigned i, void (*fn)(void *, struct job *, unsigned),
                   void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("sim: fork");
        exit(2);
    }
    if (pid == 0) {
        fn(arg, &shared->jobs[i], i);
        fflush(NULL);
        _exit(0);
    }
    return pid;
}

void jobs_run(unsigned n, void (*fn)(void *, struct job *, unsigned), void *arg)
{
    pid_t pids[JOBS_MAX];

    n_jobs = n;
    if (n == 1) {
        fn(arg, &shared->jobs[0], 0);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        pids[i] = begin(i, fn, arg);
    for (unsigned i = 0; i < n; i++) {
        int status = 0;
        if (waitpid(pids[i], &status, 0) < 0 || status == 0)
            continue;
        fprintf(stderr,
                "FAILED seed %" PRIu64 ": the process died of it "
                "(status %#x)\n",
                shared->jobs[i].seed, (unsigned)status);
        shared->jobs[i].bad++;
        jobs_stop();
    }
}

struct job *jobs_sum(void)
{
    struct job *all = &shared->jobs[0];
    _Static_assert(sizeof(struct sim_stats) % sizeof(uint64_t) == 0,
                   "nothing but counters");
    for (unsigned i = 1; i < n_jobs; i++) {
        const struct job *j = &shared->jobs[i];
        uint64_t add[sizeof(j->stats) / sizeof(uint64_t)];
        uint64_t to[sizeof(j->stats) / sizeof(uint64_t)];
        memcpy(add, &j->stats, sizeof(add));
        memcpy(to, &all->stats, sizeof(to));
        for (size_t k = 0; k < sizeof(add) / sizeof(add[0]); k++)
            to[k] += add[k];
        memcpy(&all->stats, to, sizeof(to));
        all->bad += j->bad;
        all->hash += j->hash;
        all->steps_min = kt_min_u64(all->steps_min, j->steps_min);
    }
    return all;
}

bool campaign_print(const struct job *all, uint64_t from)
{
    const struct sim_stats *s = &all->stats;
    uint64_t n = s->seeds ? s->seeds : 1;
    bool enough = s->writes / n >= WRITES_LEAST &&
                  s->reads / n >= READS_LEAST &&
                  all->steps_min >= SIM_STEPS_MIN;
    printf("sim: each run: %" PRIu64 " steps at least, %" PRIu64
           " on average, %" PRIu64 " writes, %" PRIu64 " reads\n",
           all->steps_min, s->steps / n, s->writes / n, s->reads / n);
    if (!enough)
        printf("sim: FAILED: too small: %u steps at least, %u writes and %u "
               "reads on average are asked for\n",
               SIM_STEPS_MIN, WRITES_LEAST, READS_LEAST);
    printf("ledger\tsim --seeds %" PRIu64 "\t%" PRIu64 " seeds, %" PRIu64
           " virtual hours, %" PRIu64 " writes, %" PRIu64 " reads, %" PRIu64
           " flushes\t",
           from, s->seeds, s->virtual_ms / 3600000, s->writes, s->reads,
           s->flushes);
    printf("%" PRIu64 " kills, %" PRIu64 " power losses (%" PRIu64
           " total), %" PRIu64 " pauses, %" PRIu64 " resets, %" PRIu64
           " partitions, %" PRIu64 " EIO, %" PRIu64 " hub kills, %" PRIu64
           " old databases, %" PRIu64 " client kills, %" PRIu64 " steals, ",
           s->kills, s->powers, s->powers_all, s->pauses, s->resets,
           s->partitions, s->eios, s->hub_kills, s->old_copies, s->client_kills,
           s->steals);
    disk_print(s);
    printf(", ");
    kinds_list(s);
    printf("\t%" PRIu64 "\n", all->bad);
    return enough;
}
