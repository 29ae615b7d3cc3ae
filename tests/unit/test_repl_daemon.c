/* SPDX-License-Identifier: BSD-3-Clause */
/* The real kenter-replicator against a hub and clients made of scripts: one
 * node, one chain with one member. Conversations with several members are
 * the simulator's and the e2e tests'. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "tests/unit/repl_world.h"

static void a_chain_of_one_takes_writes_and_gives_them_back(void **state)
{
    struct world *w = *state;
    struct kt_rpc c;
    world_start(w);
    world_hub_register(w, NULL);
    struct kt_rid at = world_activate(w, 1);
    assert_int_equal(at.seq, 0);
    world_client_open(w, &c, KT_ROLE_CLIENT, &w->node.unix_);
    struct kt_buf *b = world_pattern(3, 1);
    world_write_sectors(w, &c, 1, 2, b);
    world_read_back(w, &c, 2, b);
    world_flush(w, &c, 1);

    struct kt_msg stat = {
        .type = KT_MSG_STAT, .req = 6, .chain = CHAIN, .epoch = 1};
    stat.u.stat.extent = 1;
    stat.u.stat.sectors = 3 * KT_EXTENT_SECTORS;
    world_say(&c, &stat);
    struct kt_msg s = world_expect(&c, KT_MSG_STAT_OK);
    const uint32_t rows[] = {KT_EXTENT_SECTORS << 2, 3u << 2 | 1,
                             (KT_EXTENT_SECTORS - 3) << 2 | 2,
                             KT_EXTENT_SECTORS << 2};
    assert_int_equal(s.u.stat_ok.rows, 4);
    assert_memory_equal(s.buf->data, rows, sizeof(rows));

    struct kt_msg get = {.type = KT_MSG_CFG_GET, .req = 8, .chain = CHAIN};
    world_say(&c, &get);
    assert_int_equal(world_expect(&c, KT_MSG_CFG).cfg->epoch, 1);
    kt_buf_unref(b);
    kt_rpc_close(&c);
    world_stop(w);
}

static void what_was_acknowledged_survives_sigkill(void **state)
{
    struct world *w = *state;
    struct kt_rpc c;
    world_start(w);
    world_hub_register(w, NULL);
    (void)world_activate(w, 1);
    world_client_open(w, &c, KT_ROLE_CLIENT, &w->node.tcp);
    struct kt_buf *b = world_pattern(256, 7);
    world_write_sectors(w, &c, 1, 0, b);
    kt_rpc_close(&c);
    kill(w->pid, SIGKILL);
    assert_int_equal(world_exit_of(w->pid), 128 + SIGKILL);
    kt_rpc_close(&w->ctl);

    uint64_t was = w->incarnation, base = w->cont_base;
    struct kt_chain_report r;
    world_start(w);
    world_hub_register(w, &r);
    assert_int_equal(r.chain, CHAIN);
    assert_int_equal(r.applied.seq, 1);
    /* The configuration itself is saved beside the data path. */
    assert_true(r.cfg_epoch <= 1);
    assert_true(w->incarnation > was);
    assert_int_equal(w->cont_base, base);
    assert_int_equal(world_activate(w, 2).seq, 1);
    world_client_open(w, &c, KT_ROLE_CLIENT, &w->node.tcp);
    world_read_back(w, &c, 0, b);
    struct kt_msg again = world_a_write(w, 1, 0, b); /* executed before (I19) */
    world_say(&c, &again);
    assert_int_equal(world_expect(&c, KT_MSG_ACK).u.ack.id.seq, 1);
    kt_buf_unref(b);
    kt_rpc_close(&c);
    world_stop(w);
}

static void what_may_not_be_said_is_refused(void **state)
{
    struct world *w = *state;
    struct kt_rpc c;
    struct kt_msg m = {.type = KT_MSG_READ, .req = 3, .chain = 99, .epoch = 1};
    m.u.read.len = 4096;
    world_start(w);
    world_hub_register(w, NULL);
    (void)world_activate(w, 5);
    world_client_open(w, &c, KT_ROLE_CLIENT, &w->node.tcp);
    assert_int_equal(world_nak_of(&c, &m), KT_E_UNKNOWN_CHAIN);
    m.chain = CHAIN;
    m.epoch = 4;
    assert_int_equal(world_nak_of(&c, &m), KT_E_OLD_EPOCH);
    m.epoch = 6;
    assert_int_equal(world_nak_of(&c, &m), KT_E_NEW_EPOCH);
    struct kt_buf *b = world_pattern(1, 1);
    m = world_a_write(w, 1, 0, b);
    m.u.write.token = 2;
    assert_int_equal(world_nak_of(&c, &m), KT_E_FENCED);
    b->sums[0] ^= 1;
    m = world_a_write(w, 1, 0, b);
    assert_int_equal(world_nak_of(&c, &m), KT_E_BADSUM);
    kt_buf_unref(b);

    /* Only the hub we connected to may seal. */
    struct kt_msg seal = {.type = KT_MSG_SEAL, .chain = CHAIN, .epoch = 9};
    assert_int_equal(world_nak_of(&c, &seal), KT_E_PROTO);
    assert_true(kt_rpc_recv(&c, WAIT_MS, &m) < 0);
    kt_rpc_close(&c);
    world_client_open(w, &c, KT_ROLE_HUB, &w->node.tcp);
    assert_int_equal(world_nak_of(&c, &seal), KT_E_PROTO);
    assert_true(kt_rpc_recv(&c, WAIT_MS, &m) < 0);
    kt_rpc_close(&c);

    /* And only after all that is the promise still 5. */
    seal.epoch = 4;
    world_say(&w->ctl, &seal);
    seal.epoch = 6;
    world_say(&w->ctl, &seal);
    assert_int_equal(world_expect(&w->ctl, KT_MSG_SEAL_OK).epoch, 6);
    world_stop(w);
}

static void a_client_that_reads_no_answers_is_held_back(void **state)
{
    struct world *w = *state;
    struct kt_rpc c, other;
    uint8_t bytes[900 * 128];
    size_t len = 0;
    unsigned data = 0, busy = 0;
    world_start(w);
    world_hub_register(w, NULL);
    (void)world_activate(w, 1);
    world_client_open(w, &c, KT_ROLE_CLIENT, &w->node.unix_);
    struct kt_buf *b = world_pattern(256, 1);
    world_write_sectors(w, &c, 1, 0, b);
    struct kt_msg m = {
        .type = KT_MSG_READ, .req = 3, .chain = CHAIN, .epoch = 1};
    m.u.read.len = b->data_len;
    for (unsigned i = 0; i < 900; i++) {
        int r = kt_msg_encode(&m, bytes + len, 128);
        assert_true(r > 0);
        len += (size_t)r;
    }
    assert_int_equal(send(c.fd, bytes, len, 0), (ssize_t)len);
    world_client_open(w, &other, KT_ROLE_CLIENT, &w->node.unix_);
    world_read_back(w, &other, 0, b); /* nobody else waits for it */
    kt_rpc_close(&other);
    while (data + busy < 900) {
        assert_int_equal(kt_rpc_recv(&c, WAIT_MS, &m), 0);
        if (m.type == KT_MSG_DATA)
            data++;
        else if (m.type == KT_MSG_NAK && m.u.nak.err == KT_E_BUSY)
            busy++;
        else
            fail_msg("got %s", kt_msg_name(m.type));
    }
    assert_true(data > 0);
    assert_true(world_peak_kib(w->pid) < 700ul << 10);
    kt_buf_unref(b);
    kt_rpc_close(&c);
    world_stop(w);
}

static void a_released_chain_is_gone(void **state)
{
    struct world *w = *state;
    world_start(w);
    world_hub_register(w, NULL);
    (void)world_activate(w, 1);
    struct kt_msg m = {.type = KT_MSG_RELEASE, .req = 11, .chain = CHAIN};
    kt_id_random(&m.u.release.volume);
    world_say(&w->ctl, &m);
    assert_int_equal(world_expect(&w->ctl, KT_MSG_ERROR).u.error.err,
                     KT_E_INVALID);
    m.u.release.volume = w->cfg.volume;
    world_say(&w->ctl, &m);
    assert_int_equal(world_expect(&w->ctl, KT_MSG_RELEASE_OK).req, 11);
    world_say(&w->ctl, &m);
    assert_int_equal(world_expect(&w->ctl, KT_MSG_RELEASE_OK).req, 11);
    struct kt_msg eq = {.type = KT_MSG_EQ, .chain = CHAIN, .epoch = 2};
    eq.u.eq.incarnation = w->incarnation;
    world_say(&w->ctl, &eq);
    assert_int_equal(world_expect(&w->ctl, KT_MSG_ERROR).u.error.err,
                     KT_E_UNKNOWN_CHAIN);
    world_stop(w);
}

static void another_cluster_is_refused(void **state)
{
    struct world *w = *state;
    struct kt_id other;
    struct kt_msg m;
    kt_id_random(&other);
    world_start(w);
    world_hub_register(w, NULL);
    (void)world_expect(&w->ctl, KT_MSG_HB);
    kt_rpc_close(&w->ctl);
    world_hub_accept(w, &other);
    assert_true(kt_rpc_recv(&w->ctl, WAIT_MS, &m) < 0);
    kt_rpc_close(&w->ctl);
    world_hub_register(w, NULL);
    world_stop(w);
}

/* B15. What a node knows of hubs is in its store. */
static void an_older_hub_is_told_of_the_newer_one_and_not_obeyed(void **state)
{
    struct world *w = *state;
    struct kt_msg m, seal = {.type = KT_MSG_SEAL, .chain = CHAIN, .epoch = 9};
    struct kt_id newest = w->hub_mark, copy;
    kt_id_random(&copy);
    w->hub_term = 5;
    world_start(w);
    world_hub_register(w, NULL);
    assert_int_equal(w->told_term, 0);
    (void)world_expect(&w->ctl, KT_MSG_HB);
    kill(w->pid, SIGKILL);
    assert_int_equal(world_exit_of(w->pid), 128 + SIGKILL);
    kt_rpc_close(&w->ctl);

    world_start(w);
    static const uint64_t terms[] = {4, 5};
    for (unsigned i = 0; i < 2; i++) { /* older; and another one as old */
        w->hub_term = terms[i];
        w->hub_mark = copy;
        world_hub_register(w, NULL);
        assert_int_equal(w->told_term, 5);
        assert_true(kt_id_eq(&w->told_mark, &newest));
        int r = kt_rpc_send(&w->ctl, &seal);
        if (r == 0)
            r = kt_rpc_recv(&w->ctl, WAIT_MS, &m);
        assert_true(r < 0); /* it hangs up */
        kt_rpc_close(&w->ctl);
    }
    w->hub_term = 0; /* it recovers: obeyed, and nothing is forgotten */
    world_hub_register(w, NULL);
    world_say(&w->ctl, &seal);
    assert_int_equal(world_expect(&w->ctl, KT_MSG_SEAL_OK).epoch, 9);
    w->hub_term = 6;
    m = (struct kt_msg){.type = KT_MSG_REGISTER_OK};
    m.u.reg_ok.cluster = w->cluster;
    m.u.reg_ok.hub_term = 6;
    m.u.reg_ok.hub_mark = copy;
    world_say(&w->ctl, &m); /* and has recovered */
    world_stop(w);
    world_start(w);
    world_hub_register(w, NULL);
    assert_int_equal(w->told_term, 6);
    assert_true(kt_id_eq(&w->told_mark, &copy));
    world_stop(w);
}

/* READs and a SEAL wait together for a process that is stopped. True when one
 * read was done after the end of its epoch, and refused. */
static bool read_across_a_seal(struct world *w, uint64_t epoch)
{
    enum { N = 8 };
    struct kt_rpc c;
    bool refused = false;
    world_start(w);
    world_hub_register(w, NULL);
    (void)world_activate(w, epoch);
    world_client_open(w, &c, KT_ROLE_CLIENT, &w->node.tcp);
    struct kt_msg m, r = {.type = KT_MSG_READ, .chain = CHAIN, .epoch = epoch};
    r.u.read.len = 256 * KT_SECTOR_BYTES;
    world_freeze(w);
    for (r.req = 1; r.req <= N; r.req++)
        world_say(&c, &r);
    struct kt_msg seal = {
        .type = KT_MSG_SEAL, .chain = CHAIN, .epoch = epoch + 1};
    world_say(&w->ctl, &seal);
    kill(w->pid, SIGCONT);
    for (unsigned i = 0; i < N;) {
        assert_int_equal(kt_rpc_recv(&c, WAIT_MS, &m), 0);
        if (m.type == KT_MSG_NAK) {
            assert_int_equal(m.u.nak.err, KT_E_SEALED);
            refused = true;
        } else if (m.type != KT_MSG_DATA) {
            continue;
        }
        i++;
    }
    assert_int_equal(world_expect(&w->ctl, KT_MSG_SEAL_OK).epoch, epoch + 1);
    kt_rpc_close(&c);
    world_stop(w);
    return refused;
}

/* A read that was begun in one epoch and is done after its end: this copy may
 * be an old one by then. The bytes are in a slot, which another thread reads;
 * when it was quicker than the loop, they are tried again. */
static void a_read_is_answered_only_if_its_epoch_still_stands(void **state)
{
    struct world *w = *state;
    struct kt_rpc c;
    struct kt_buf *b = world_pattern(256, 3);
    uint64_t epoch = 2;
    world_start(w);
    world_hub_register(w, NULL);
    (void)world_activate(w, 1);
    world_client_open(w, &c, KT_ROLE_CLIENT, &w->node.tcp);
    world_write_sectors(w, &c, 1, 0, b);
    kt_rpc_close(&c);
    world_stop(w);
    kt_buf_unref(b);
    while (!read_across_a_seal(w, epoch)) {
        epoch += 2;
        assert_true(epoch < 18);
    }
}

static void a_node_that_is_not_there_is_told_so(void **state)
{
    struct world *w = *state;
    world_start(w);
    world_hub_register(w, NULL);
    struct kt_msg m = {.type = KT_MSG_PROBE, .req = 21};
    m.u.report.node = w->node;
    world_say(&w->ctl, &m);
    assert_int_equal(world_expect(&w->ctl, KT_MSG_PROBE_OK).u.report.err, 0);
    kt_id_random(&m.u.report.node.id);
    kt_id_random(&m.u.report.node.boot); /* so that TCP is taken */
    struct kt_addr dead = {.kind = KT_ADDR_TCP, .host = "127.0.0.1"};
    int fd = kt_listen(&dead, &m.u.report.node.tcp);
    close(fd);
    world_say(&w->ctl, &m);
    struct kt_msg a = world_expect(&w->ctl, KT_MSG_PROBE_OK);
    assert_int_equal(a.req, 21);
    assert_int_equal(a.u.report.err, -ECONNREFUSED);
    world_stop(w);
}

static void a_start_that_cannot_be_says_why(void **state)
{
    struct world *w = *state;
    char file[128], *text = NULL;
    snprintf(file, sizeof(file), "%s/err", w->dir);
    const char *no_store[] = {"kenter-replicator", "--store", w->store, "--hub",
                              "unix:/h",           "--node",  "n1",     NULL};
    assert_int_equal(world_run_with(w, no_store), 1);
    const char *open[] = {"kenter-replicator",
                          "--store",
                          w->store,
                          "--create",
                          "--hub",
                          "unix:/h",
                          "--listen",
                          "tcp:192.0.2.1:0",
                          "--node",
                          "n1",
                          NULL};
    assert_int_equal(world_run_with(w, open), 1);
    const char *bad[] = {"kenter-replicator", "--stor3", NULL};
    assert_int_equal(world_run_with(w, bad), 2);
    assert_int_equal(kt_read_file(file, 65536, &text), 0);
    assert_non_null(strstr(text, w->store));
    assert_non_null(strstr(text, "--insecure-links"));
    assert_non_null(strstr(text, "--stor3 is not an option"));
    free(text);
}

int main(void)
{
#define CASE(f)                                                                \
    cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_chain_of_one_takes_writes_and_gives_them_back),
        CASE(what_was_acknowledged_survives_sigkill),
        CASE(what_may_not_be_said_is_refused),
        CASE(a_client_that_reads_no_answers_is_held_back),
        CASE(a_released_chain_is_gone),
        CASE(another_cluster_is_refused),
        CASE(an_older_hub_is_told_of_the_newer_one_and_not_obeyed),
        CASE(a_read_is_answered_only_if_its_epoch_still_stands),
        CASE(a_node_that_is_not_there_is_told_so),
        CASE(a_start_that_cannot_be_says_why),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
