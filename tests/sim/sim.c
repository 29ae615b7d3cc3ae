/* SPDX-License-Identifier: BSD-3-Clause */
/* The deterministic simulator: one hub, three to five replicators, one
 * to four clients, in one process, from the libraries the daemons are made of.
 * Time, net, disks and faults come from one seed; the same seed is the same
 * run.
 *
 *   sim --seed N [--trace] [--steps N]    one run
 *   sim --seeds FROM COUNT                many; stops at the first failure
 *   sim --file FILE                       the seeds listed in it, a line each:
 *                                         [plain] [only KIND[,KIND]] [long] N
 *   --plain                               --without all, and disks only lose
 *                                         what was not synced, and fail: a seed
 *                                         from before kinds.c and disk.c
 *   --long                                longer runs, fewer of them in an hour
 *   --without KIND[,KIND]|all             no trouble of these kinds (kinds.c)
 *   --jobs N                              in N processes
 *   --campaign                            fails, too, when the runs were too
 *                                         small; ends with what goes into
 *                                         tests/ledger.tsv
 *   sim --again FROM COUNT                each twice: the same hash?
 *   sim --direct NAME|all|list             schedules written by hand
 *   --sweep                               the hub dies around each commit of
 *                                         the schedule hub-rows
 *   --rules                               the rules that can be off
 *   --mutant NAME[,NAME]                  with rules off (sim-mutants);
 *   --mutant +NAME[,NAME]                 and its own assertions still on
 *   --reach                               how often rare paths were taken
 *   --keep-going                          count failures instead of stopping
 *   --seconds N                           stop after so long
 */
#include <inttypes.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/disk.h"
#include "tests/sim/jobs.h"

struct options {
    uint64_t from, count, steps, seconds;
    unsigned jobs;
    uint32_t kinds;
    bool brief, campaign;
    const char *file, *direct;
    bool trace, keep_going, again, quiet, reach, sweep;
    uint64_t die_at; /* of a sweep */
    bool die_after;
};

static struct world *current;
static jmp_buf failed;
static struct job *me; /* what this process did */
static uint64_t last_hash, last_commits;

/* An assertion of the code under test failed: that is a result, too. */
static void on_abort(int sig)
{
    (void)sig;
    if (!current)
        _Exit(134);
    current->reason = "an assertion failed (see above)";
    longjmp(failed, 1);
}

static void print_params(const struct world *w)
{
    const struct sim_params *p = &w->p;
    fprintf(
        stderr,
        "seed %" PRIu64
        ": %u nodes, %u clients, %u chains of %u extents, %u copies%s, "
        "%u slots, delay %" PRIu64 " us, disk %" PRIu64 " us, think %" PRIu64
        " us, depth %u, log %u, faults %03x kinds %x every %" PRIu64
        " ms for %" PRIu64 " ms\n",
        w->seed, p->nodes, p->clients, p->chains, p->extents, p->replicas,
        p->sync ? ", sync" : "", p->slots, p->delay_us, p->disk_us, p->think_us,
        p->depth, p->retain, p->faults, p->kinds, p->fault_ms, p->run_ms);
}

/* direct: a schedule to follow instead, or NULL. */
static bool run_seed(const struct options *o, uint64_t seed, const char *direct)
{
    struct world *w = world_make(seed, o->brief, o->kinds,
                                 direct ? direct_params(direct) : NULL);
    w->trace = o->trace;
    w->max_steps = o->steps;
    me->seed = seed;
    w->st = &me->stats;
    w->fail = &failed;
    current = w;
    if (o->die_at)
        hubnode_die_at(w, o->die_at, o->die_after);
    switch (setjmp(failed)) {
    case 0:
        if (direct)
            direct_run(w, direct);
        else
            world_run(w);
        last_hash = w->hash;
        last_commits = hubnode_commits(w);
        me->hash += w->hash;
        current = NULL;
        me->steps_min = kt_min_u64(me->steps_min, w->step);
        world_free(w);
        me->stats.seeds++;
        return true;
    case SIM_ENDED:
        current = NULL;
        me->stats.seeds++;
        me->stats.blind++;
        return true;
    default:
        break;
    }
    current = NULL;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGABRT);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    if (!o->quiet) {
        trace_print_last(w);
        print_params(w);
        disk_describe(w);
    }
    fprintf(stderr, "FAILED seed %" PRIu64 " step %" PRIu64 " at %.3f ms: %s\n",
            seed, w->step, (double)w->now / 1000, w->reason);
    /* What it held stays held: it may be in the middle of anything. */
    return false;
}

static void print_stats(double seconds)
{
    printf("sim: hash of all traces %016" PRIx64 "\n", me->hash);
    const struct sim_stats *s = &me->stats;
    printf("sim: %" PRIu64 " seeds ok, %" PRIu64 " failed, %.1f s, %" PRIu64
           " virtual s, %" PRIu64 " events, %" PRIu64 " messages\n",
           s->seeds, me->bad, seconds, s->virtual_ms / 1000, s->steps, s->msgs);
    printf(
        "sim: %" PRIu64 " operations: %" PRIu64 " writes acknowledged (%" PRIu64
        " zeros), %" PRIu64 " reads, %" PRIu64 " flushes, %" PRIu64
        " refused by full stores, %" PRIu64 " of unknown outcome\n",
        s->ops, s->writes, s->zeros, s->reads, s->flushes, s->full, s->unknown);
    printf("sim: %" PRIu64 " kills, %" PRIu64 " power losses (%" PRIu64
           " total), %" PRIu64 " pauses, %" PRIu64 " resets, %" PRIu64
           " partitions, %" PRIu64 " EIOs, %" PRIu64 " hub kills, %" PRIu64
           " old copies of its database (%" PRIu64
           " worlds ended: nobody alive "
           "could know), %" PRIu64 " client kills, %" PRIu64 " steals\n",
           s->kills, s->powers, s->powers_all, s->pauses, s->resets,
           s->partitions, s->eios, s->hub_kills, s->old_copies, s->blind,
           s->client_kills, s->steals);
    printf("sim: disks: ");
    disk_print(s);
    printf("; %" PRIu64 " answers damaged, %" PRIu64
           " sectors to the end; without law: %" PRIu64 " seeds, %" PRIu64
           " reads failed\n",
           s->bad_sums, s->mended, s->lawless, s->failed_reads);
    printf("sim: %" PRIu64 " hand-overs, %" PRIu64 " refused\n", s->hand_overs,
           s->hand_overs_refused);
    printf("sim: %" PRIu64 " epochs, %" PRIu64 " vgens, %" PRIu64
           " attaches, %" PRIu64 " fenced, %" PRIu64 " replays, %" PRIu64
           " resends, %" PRIu64 " duplicates, %" PRIu64 " gaps, %" PRIu64
           " resumes, %" PRIu64 " EQ records, %" PRIu64 " resyncs, %" PRIu64
           " extents copied, %" PRIu64 " skips, %" PRIu64 " cuts, %" PRIu64
           " flushes passed back, %" PRIu64 " slow reports, %" PRIu64
           " resyncs by log, %" PRIu64 " records\n",
           s->epochs, s->vgens, s->attaches, s->fences, s->replays, s->resends,
           s->dups, s->gaps, s->resumes, s->eq_records, s->resyncs, s->extents,
           s->skips, s->cuts, s->relays, s->slow, s->suffixes, s->log_records);
    kinds_print(s);
}

static bool run_one(const struct options *o, uint64_t seed)
{
    if (!run_seed(o, seed, NULL))
        return false;
    if (!o->again)
        return true;
    uint64_t first = last_hash;
    if (!run_seed(o, seed, NULL))
        return false;
    if (first != last_hash)
        fprintf(stderr, "FAILED seed %" PRIu64 ": two runs differ\n", seed);
    return first == last_hash;
}

/* Until a run has no such commit any more. */
static void run_sweep(struct options *o)
{
    uint64_t places = 0;
    for (uint64_t k = 0; k < o->count; k++) {
        last_commits = UINT64_MAX;
        for (o->die_at = 1; o->die_at <= last_commits; o->die_at++) {
            for (unsigned after = 0; after < 2; after++) {
                o->die_after = after;
                if (run_seed(o, o->from + k, "hub-rows"))
                    continue;
                me->bad++;
                fprintf(stderr,
                        "FAILED: the hub died right %s commit %" PRIu64 "\n",
                        after ? "after" : "before", o->die_at);
                if (!o->keep_going)
                    return;
            }
        }
        places += o->die_at - 1;
    }
    printf("sim: the hub died before and after each of %" PRIu64 " commits\n",
           places);
}

static void usage(void)
{
    fprintf(stderr,
            "usage: sim --seed N [--trace] [--steps N] | "
            "--seeds FROM COUNT | --again FROM COUNT | --file FILE\n"
            "       --direct NAME|all|list [--seeds FROM COUNT]\n"
            "       [--mutant NAME[,NAME]] [--reach] [--keep-going] "
            "[--quiet] [--seconds N] | --rules\n"
            "       --sweep\n       [--long] [--plain] [--jobs N] [--campaign] "
            "[--without KIND[,KIND]|all]\n");
    exit(2);
}

static void run_file(struct options *o)
{
    FILE *f = fopen(o->file, "r");
    uint64_t seed;
    char line[200];
    if (!f) {
        perror(o->file);
        exit(2);
    }
    while (fgets(line, sizeof(line), f)) {
        const char *word = strtok(line, " \n");
        bool plain = false;
        o->kinds = SIM_KINDS_ALL;
        o->brief = true;
        for (; word; word = strtok(NULL, " \n")) {
            if (!strcmp(word, "long")) {
                o->brief = false;
            } else if (!strcmp(word, "plain")) {
                plain = true;
                o->kinds = 0;
            } else if (!strcmp(word, "only")) {
                plain = true;
                word = strtok(NULL, " ");
                o->kinds = word ? kinds_parse(word) : 0;
                if (!o->kinds)
                    usage();
            } else {
                break;
            }
        }
        disk_plain(plain);
        if (word && sscanf(word, "%" SCNu64, &seed) == 1)
            me->bad += !run_one(o, seed);
    }
    fclose(f);
}

/* Every jobs-th seed of the range. */
static void run_range(void *arg, struct job *job, unsigned index)
{
    const struct options *o = arg;
    time_t begun = time(NULL);
    me = job;
    for (uint64_t i = index; i < o->count && !jobs_stopped(); i += o->jobs) {
        if (o->seconds && (uint64_t)(time(NULL) - begun) >= o->seconds)
            break;
        if (run_one(o, o->from + i))
            continue;
        me->bad++;
        if (!o->keep_going)
            jobs_stop();
    }
}

/* One schedule or all, with `count` seeds each. */
static void run_direct(const struct options *o)
{
    const char *name;
    if (!strcmp(o->direct, "list")) {
        direct_run(NULL, NULL);
        exit(0);
    }
    bool all = !strcmp(o->direct, "all");
    if (!all && !direct_params(o->direct)) {
        fprintf(stderr, "sim: there is no schedule %s; see --direct list\n",
                o->direct);
        exit(2);
    }
    for (unsigned i = 0; (name = direct_name(i)) != NULL; i++) {
        if (!all && strcmp(name, o->direct))
            continue;
        for (uint64_t k = 0; k < o->count; k++) {
            if (run_seed(o, o->from + k, name))
                continue;
            me->bad++;
            fprintf(stderr, "FAILED schedule %s\n", name);
            if (!o->keep_going)
                return;
        }
    }
}

static uint64_t number(int argc, char **argv, int i)
{
    char *end = NULL;
    if (i >= argc)
        usage();
    uint64_t n = strtoull(argv[i], &end, 10);
    if (*end || end == argv[i])
        usage();
    return n;
}

static void parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (!strcmp(a, "--seed")) {
            o->from = number(argc, argv, ++i);
        } else if (!strcmp(a, "--seeds") || !strcmp(a, "--again")) {
            o->again = !strcmp(a, "--again");
            o->from = number(argc, argv, ++i);
            o->count = number(argc, argv, ++i);
        } else if (!strcmp(a, "--file")) {
            o->file = ++i < argc ? argv[i] : "";
        } else if (!strcmp(a, "--steps")) {
            o->steps = number(argc, argv, ++i);
        } else if (!strcmp(a, "--seconds")) {
            o->seconds = number(argc, argv, ++i);
        } else if (!strcmp(a, "--direct")) {
            o->direct = ++i < argc ? argv[i] : "";
        } else if (!strcmp(a, "--mutant")) {
            rules_off(++i < argc ? argv[i] : "");
        } else if (!strcmp(a, "--without")) {
            uint32_t off = kinds_parse(++i < argc ? argv[i] : "");
            if (!off)
                usage();
            o->kinds &= ~off;
        } else if (!strcmp(a, "--sweep")) {
            o->sweep = true;
        } else if (!strcmp(a, "--rules")) {
            rules_print();
            exit(0);
        } else if (!strcmp(a, "--reach")) {
            o->reach = true;
        } else if (!strcmp(a, "--trace")) {
            o->trace = true;
        } else if (!strcmp(a, "--long")) {
            o->brief = false;
        } else if (!strcmp(a, "--plain")) {
            disk_plain(true);
            o->kinds = 0;
        } else if (!strcmp(a, "--jobs")) {
            o->jobs = (unsigned)number(argc, argv, ++i);
        } else if (!strcmp(a, "--campaign")) {
            o->campaign = true;
        } else if (!strcmp(a, "--keep-going")) {
            o->keep_going = true;
        } else if (!strcmp(a, "--quiet")) {
            o->quiet = true;
        } else {
            usage();
        }
    }
}

int main(int argc, char **argv)
{
    struct options o = {.from = 1,
                        .count = 1,
                        .jobs = 1,
                        .brief = true,
                        .kinds = SIM_KINDS_ALL};
    struct timespec a, b;
    parse(argc, argv, &o);
    if (o.jobs < 1 || o.jobs > JOBS_MAX)
        usage();
    /* An engine takes megabytes and touches little of them: fresh pages cost
     * less than clearing old ones. */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    signal(SIGABRT, on_abort);
    clock_gettime(CLOCK_MONOTONIC, &a);
    me = jobs_open();
    if (o.sweep)
        run_sweep(&o);
    else if (o.direct)
        run_direct(&o);
    else if (o.file)
        run_file(&o);
    else
        jobs_run(o.jobs, run_range, &o);
    me = jobs_sum();
    clock_gettime(CLOCK_MONOTONIC, &b);
    if (o.count == 1 && !o.file && !o.direct && !o.sweep && !me->bad)
        printf("sim: seed %" PRIu64 " ran to hash %016" PRIx64 "\n", o.from,
               last_hash);
    print_stats((double)(b.tv_sec - a.tv_sec) +
                (double)(b.tv_nsec - a.tv_nsec) / 1e9);
    if (o.reach)
        reach_print();
    if (o.campaign)
        me->bad += !campaign_print(me, o.from);
    return me->bad ? 1 : 0;
}
