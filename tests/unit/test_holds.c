/* SPDX-License-Identifier: BSD-3-Clause */
/* The cores' assertions are able to fail: somebody breaks the state by hand,
 * and the one that cites the number says so. For those that a rule switched
 * off leads to, tests/sim/test-asserts.sh. */
#include "tests/unit/chain_talk.h"
#include "tests/unit/engine_rig.h"
#include "tests/unit/hub_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/client/engine_int.h"

static struct talk t;

typedef void breaks(void);

static void child_dies(breaks *how, int to)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL);
    dup2(to, STDERR_FILENO);
    how();
    _exit(0);
}

/* Runs it in a child, which has to end by an assertion of that number. */
static void must_cite(const char *number, breaks *how)
{
    char said[4096], want[16];
    size_t n = 0;
    ssize_t got;
    int p[2], status;

    assert_int_equal(pipe(p), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child_dies(how, p[1]);
    close(p[1]);
    while ((got = read(p[0], said + n, sizeof(said) - 1 - n)) > 0)
        n += (size_t)got;
    said[n] = '\0';
    close(p[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    snprintf(want, sizeof(want), "&& \"%s\"", number);
    if (!WIFSIGNALED(status) || !strstr(said, want))
        fail_msg("%s is broken, and this is said: %s", number, said);
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- a member: the head of two, with a write under way ---- */

static void head_at_work(void)
{
    talk_new(&t, 'A');
    talk_serve(&t, 2, "AB");
    say_write(&t, 1, 0, 1);
    chain_check_all(&t.c);
}

static void a_record_is_not_the_next(void)
{
    head_at_work();
    t.c.ring[t.c.received.seq % CHAIN_RING].rec.id.seq++;
    chain_check(&t.c);
}

static void a_record_is_without_its_bytes(void)
{
    head_at_work();
    t.c.ring[t.c.received.seq % CHAIN_RING].buf = NULL;
    chain_check_all(&t.c);
}

static void it_is_another_start_of_the_store(void)
{
    head_at_work();
    t.c.incarnation++;
    chain_check(&t.c);
}

static void what_is_acknowledged_is_not_in_the_log(void)
{
    head_at_work();
    t.c.acked = t.c.applied.seq + 1;
    tick(&t, 1);
}

static void a_promise_is_below_what_it_is_sealed_for(void)
{
    talk_new(&t, 'A');
    say_seal(&t, 2);
    t.c.promised = 1;
    chain_check(&t.c);
}

static void members_see_their_own_breaches(void **state)
{
    (void)state;
    must_cite("I7", a_record_is_not_the_next);
    must_cite("I10", a_record_is_without_its_bytes);
    must_cite("I11", it_is_another_start_of_the_store);
    must_cite("I23", what_is_acknowledged_is_not_in_the_log);
    must_cite("I3", a_promise_is_below_what_it_is_sealed_for);
}

/* ---- the hub ---- */

static void a_volume_lives_and_has_a_tombstone(void)
{
    struct world *w = w_new(3);
    w_volume(w, 3);
    hub_check(&w->h);
    w->h.tombs[0].volume = hub_volume_named(&w->h, "v")->row.id;
    w->h.n_tombs = 1;
    hub_check(&w->h);
}

static void a_prepare_is_older_than_what_is_active(void)
{
    struct world *w = w_new(3);
    struct hub_chain *c = hub_chain_of(&w->h, w_volume(w, 3)->chain);
    c->row.prepare = c->row.cfg.epoch;
    hub_check(&w->h);
}

static void a_donor_did_not_serve(void)
{
    struct world *w = w_new(3);
    struct hub_chain *c = hub_chain_of(&w->h, w_volume(w, 3)->chain);
    c->row.prepare = c->op.epoch = c->row.cfg.epoch + 1;
    c->op.phase = HUB_OP_EQ;
    c->op.donor = 0;
    c->op.m[0].ok = true;
    hub_check(&w->h);
    memset(&c->row.cfg.last[0].store, 0xff, sizeof(struct kt_id));
    hub_check(&w->h);
}

static void the_hub_sees_its_own_breaches(void **state)
{
    (void)state;
    must_cite("I22", a_volume_lives_and_has_a_tombstone);
    must_cite("I1", a_prepare_is_older_than_what_is_active);
    must_cite("I6", a_donor_did_not_serve);
}

/* ---- the client ---- */

static void it_reads_from_who_does_not_serve(void)
{
    struct rig *r = rig_ready();
    engine_check(r->e);
    r->e->chains[0].n_serving++;
    engine_check(r->e);
}

static void its_wseq_was_used(void)
{
    struct rig *r = rig_ready();
    rig_submit(r, ENGINE_WRITE, 0, KT_SECTOR_BYTES, 1);
    engine_check(r->e);
    r->e->chains[0].next_wseq = 1;
    engine_check(r->e);
}

static void clients_see_their_own_breaches(void **state)
{
    (void)state;
    must_cite("I20", it_reads_from_who_does_not_serve);
    must_cite("I19", its_wseq_was_used);
}

static void nothing_is_cited(void)
{
    head_at_work();
    _exit(0);
}

/* Else must_cite could not fail. */
static void what_is_well_is_not_complained_about(void **state)
{
    (void)state;
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0)
        nothing_is_cited();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_well_is_not_complained_about),
        cmocka_unit_test(members_see_their_own_breaches),
        cmocka_unit_test(the_hub_sees_its_own_breaches),
        cmocka_unit_test(clients_see_their_own_breaches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
