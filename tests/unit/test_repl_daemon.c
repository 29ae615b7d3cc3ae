/* SPDX-License-Identifier: BSD-3-Clause */
/* The real kenter-replicator against a hub and clients made of scripts: one
 * node, one chain with one member. Conversations with several members are
 * the simulator's and the e2e tests'. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "lib/link/rpc.h"

#define WAIT_MS 20000u
#define CHAIN 7u

struct world {
    char dir[64], store[96], addr_file[96];
    struct kt_addr hub, unix_, tcp;
    struct kt_id cluster, client;
    int listener;
    pid_t pid;
    struct kt_rpc ctl; /* the replicator's control connection, hub side */
    struct kt_node node;
    struct kt_id store_id;
    uint64_t incarnation, cont_base;
    struct kt_cfg cfg;
};

/* ---- processes ---- */

static const char *program(void)
{
    static char path[512];
    const char *build = getenv("top_builddir");
    snprintf(path, sizeof(path), "%s/kenter-replicator", build ? build : ".");
    return path;
}

static pid_t spawn(const char *const *argv, const char *err_file)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    int fd = open(err_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0)
        dup2(fd, 2);
    execv(program(), (char *const *)(uintptr_t)argv);
    _exit(127);
}

static int exit_of(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_with(struct world *w, const char *const *argv)
{
    char err[128];
    snprintf(err, sizeof(err), "%s/err", w->dir);
    return exit_of(spawn(argv, err));
}

static void start(struct world *w)
{
    char hub[KT_ADDR_TEXT_BYTES], sock[KT_ADDR_TEXT_BYTES], err[128];
    kt_addr_format(&w->hub, hub);
    kt_addr_format(&w->unix_, sock);
    snprintf(err, sizeof(err), "%s/log", w->dir);
    const char *argv[] = {"kenter-replicator",
                          "--store",
                          w->store,
                          "--create",
                          "--hub",
                          hub,
                          "--listen",
                          "tcp:127.0.0.1:0",
                          "--listen",
                          sock,
                          "--node",
                          "n1",
                          "--capacity",
                          "64M",
                          "--address-file",
                          w->addr_file,
                          NULL};
    w->pid = spawn(argv, err);
}

/* ---- talking ---- */

static struct kt_msg expect(struct kt_rpc *r, uint8_t type)
{
    struct kt_msg m;
    do {
        int e = kt_rpc_recv(r, WAIT_MS, &m);
        if (e < 0)
            print_message("waiting for %s: %s\n", kt_msg_name(type),
                          kt_strerror(e));
        assert_int_equal(e, 0);
    } while (m.type != type && (m.type == KT_MSG_HB || m.type == KT_MSG_PING));
    if (m.type != type)
        print_message("got %s, not %s\n", kt_msg_name(m.type),
                      kt_msg_name(type));
    assert_int_equal(m.type, type);
    return m;
}

static void say(struct kt_rpc *r, const struct kt_msg *m)
{
    assert_int_equal(kt_rpc_send(r, m), 0);
}

/* Takes the control connection and answers HELLO as the hub of `cluster`. */
static void hub_accept(struct world *w, const struct kt_id *cluster)
{
    struct pollfd p = {.fd = w->listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, (int)WAIT_MS), 1);
    memset(&w->ctl, 0, sizeof(w->ctl));
    w->ctl.fd = accept(w->listener, NULL, NULL);
    assert_true(w->ctl.fd >= 0);
    kt_framer_init(&w->ctl.framer);
    struct kt_msg hello = expect(&w->ctl, KT_MSG_HELLO);
    assert_int_equal(hello.u.hello.role, KT_ROLE_REPLICATOR);
    assert_int_equal(hello.u.hello.cls, KT_CLASS_CONTROL);
    struct kt_msg ok = {.type = KT_MSG_HELLO_OK};
    ok.u.hello.role = KT_ROLE_HUB;
    ok.u.hello.cls = KT_CLASS_CONTROL;
    ok.u.hello.cluster = *cluster;
    kt_id_random(&ok.u.hello.id);
    memcpy(ok.u.hello.name, "hub", 4);
    say(&w->ctl, &ok);
    w->ctl.framer.hello_done = true;
}

/* Up to REGISTER_OK; *ret_r is the report of our chain, if any. */
static void hub_register(struct world *w, struct kt_chain_report *ret_r)
{
    hub_accept(w, &w->cluster);
    struct kt_msg m = expect(&w->ctl, KT_MSG_REGISTER);
    assert_true(m.u.reg.first && m.u.reg.last);
    w->node = m.u.reg.node;
    w->store_id = m.u.reg.store;
    w->incarnation = m.u.reg.incarnation;
    w->cont_base = m.u.reg.cont_base;
    assert_string_equal(w->node.name, "n1");
    assert_int_equal(w->node.tcp.kind, KT_ADDR_TCP);
    assert_int_not_equal(w->node.tcp.port, 0);
    assert_int_equal(w->node.unix_.kind, KT_ADDR_UNIX);
    if (ret_r) {
        assert_int_equal(m.u.reg.n_chains, 1);
        *ret_r = m.u.reg.chains[0];
    }
    struct kt_msg ok = {.type = KT_MSG_REGISTER_OK, .req = m.req};
    ok.u.reg_ok.cluster = w->cluster;
    ok.u.reg_ok.hub_term = 1;
    say(&w->ctl, &ok);
}

/* SEAL and ACTIVATE, this member alone serving. */
static struct kt_rid activate(struct world *w, uint64_t epoch)
{
    struct kt_msg seal = {
        .type = KT_MSG_SEAL, .req = 1, .chain = CHAIN, .epoch = epoch};
    say(&w->ctl, &seal);
    struct kt_msg ok = expect(&w->ctl, KT_MSG_SEAL_OK);
    assert_int_equal(ok.epoch, epoch);
    assert_int_equal(ok.u.seal_ok.incarnation, w->incarnation);
    struct kt_rid applied = ok.u.seal_ok.applied;

    struct kt_cfg *c = &w->cfg;
    c->chain = CHAIN;
    c->n_extents = 16;
    c->epoch = c->last_epoch = epoch;
    c->phase = KT_PHASE_ACTIVE;
    c->vgen = 1;
    c->client = w->client;
    c->token = 1;
    c->want_r = c->min_write = 1;
    c->n_members = c->n_last = 1;
    c->members[0].store = c->last[0].store = w->store_id;
    c->members[0].incarnation = c->last[0].incarnation = w->incarnation;
    c->members[0].state = KT_M_SERVING;
    c->members[0].node = w->node;
    assert_null(kt_cfg_invalid(c));
    struct kt_msg act = {.type = KT_MSG_ACTIVATE,
                         .req = 2,
                         .chain = CHAIN,
                         .epoch = epoch,
                         .cfg = c};
    say(&w->ctl, &act);
    assert_int_equal(expect(&w->ctl, KT_MSG_ACT_OK).epoch, epoch);
    return applied;
}

static void client_open(struct world *w, struct kt_rpc *r, uint8_t role,
                        const struct kt_addr *a)
{
    char why[256] = "";
    struct kt_msg hello = {.type = KT_MSG_HELLO};
    hello.u.hello.role = role;
    hello.u.hello.cls = KT_CLASS_DATA;
    hello.u.hello.id = w->client;
    hello.u.hello.cluster = w->cluster;
    memcpy(hello.u.hello.name, "test", 5);
    int e = kt_rpc_open(r, a, &hello, WAIT_MS, why, sizeof(why));
    if (e < 0)
        print_message("%s\n", why);
    assert_int_equal(e, 0);
}

static struct kt_buf *pattern(uint32_t sectors, uint8_t seed)
{
    uint32_t len = sectors * KT_SECTOR_BYTES;
    struct kt_buf *b = kt_buf_new(len, sectors);
    assert_non_null(b);
    for (uint32_t i = 0; i < len; i++)
        b->data[i] = (uint8_t)(seed + i % 251 + i / KT_SECTOR_BYTES);
    b->data_len = len;
    kt_sum_sectors(b->data, len, b->sums);
    return b;
}

static struct kt_msg a_write(struct world *w, uint64_t wseq, uint32_t extent,
                             struct kt_buf *b)
{
    struct kt_msg m = {.type = KT_MSG_WRITE,
                       .req = 100 + wseq,
                       .chain = CHAIN,
                       .epoch = w->cfg.epoch,
                       .buf = b};
    m.u.write.token = w->cfg.token;
    m.u.write.wseq = wseq;
    m.u.write.wstable = wseq - 1;
    m.u.write.op = KT_OP_WRITE;
    m.u.write.extent = extent;
    m.u.write.len = b->data_len;
    return m;
}

/* Writes; a member that has no slot ready yet asks to come again. */
static void write_sectors(struct world *w, struct kt_rpc *r, uint64_t wseq,
                          uint32_t extent, struct kt_buf *b)
{
    struct kt_msg m = a_write(w, wseq, extent, b), a;
    uint64_t end = kt_now_ms() + WAIT_MS;
    do {
        say(r, &m);
        assert_int_equal(kt_rpc_recv(r, WAIT_MS, &a), 0);
        assert_int_equal(a.req, m.req);
    } while (a.type == KT_MSG_NAK && a.u.nak.err == KT_E_BUSY &&
             kt_now_ms() < end);
    assert_int_equal(a.type, KT_MSG_ACK);
    assert_int_equal(a.u.ack.wseq, wseq);
}

static void read_back(struct world *w, struct kt_rpc *r, uint32_t extent,
                      const struct kt_buf *want)
{
    struct kt_msg m = {
        .type = KT_MSG_READ, .req = 9, .chain = CHAIN, .epoch = w->cfg.epoch};
    m.u.read.extent = extent;
    m.u.read.len = want->data_len;
    say(r, &m);
    struct kt_msg d = expect(r, KT_MSG_DATA);
    assert_int_equal(d.req, 9);
    assert_int_equal(d.u.data.len, want->data_len);
    assert_non_null(d.buf);
    assert_int_equal(d.buf->data_len, want->data_len);
    assert_memory_equal(d.buf->data, want->data, want->data_len);
}

static void flush(struct world *w, struct kt_rpc *r, uint64_t upto)
{
    struct kt_msg m = {
        .type = KT_MSG_FLUSH, .req = 5, .chain = CHAIN, .epoch = w->cfg.epoch};
    m.u.flush.upto = upto;
    say(r, &m);
    struct kt_msg ok = expect(r, KT_MSG_FLUSH_OK);
    assert_true(ok.u.flush.durable >= upto);
}

static int nak_of(struct kt_rpc *r, const struct kt_msg *m)
{
    say(r, m);
    return expect(r, KT_MSG_NAK).u.nak.err;
}

/* ---- setting up ---- */

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "/tmp/kenter-repl-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->store, sizeof(w->store), "%s/store", w->dir);
    snprintf(w->addr_file, sizeof(w->addr_file), "%s/addresses", w->dir);
    w->hub.kind = w->unix_.kind = KT_ADDR_UNIX;
    snprintf(w->hub.host, sizeof(w->hub.host), "%s/hub.sock", w->dir);
    snprintf(w->unix_.host, sizeof(w->unix_.host), "%s/r.sock", w->dir);
    kt_id_random(&w->cluster);
    kt_id_random(&w->client);
    kt_id_random(&w->cfg.volume);
    kt_id_random(&w->cfg.history);
    w->listener = kt_listen(&w->hub, NULL);
    assert_true(w->listener >= 0);
    w->ctl.fd = -1;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    char cmd[128];
    if (w->pid > 0) {
        kill(w->pid, SIGKILL);
        (void)waitpid(w->pid, NULL, 0);
    }
    close(w->listener);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", w->dir);
    int r = system(cmd);
    free(w);
    return r;
}

static void stop(struct world *w)
{
    assert_int_equal(kill(w->pid, SIGTERM), 0);
    struct kt_msg ok = {.type = KT_MSG_LEAVE_OK};
    ok.req = expect(&w->ctl, KT_MSG_LEAVE).req;
    say(&w->ctl, &ok);
    assert_int_equal(exit_of(w->pid), 0);
    w->pid = 0;
    kt_rpc_close(&w->ctl);
}

/* ---- the cases ---- */

static void a_chain_of_one_takes_writes_and_gives_them_back(void **state)
{
    struct world *w = *state;
    struct kt_rpc c;
    start(w);
    hub_register(w, NULL);
    struct kt_rid at = activate(w, 1);
    assert_int_equal(at.seq, 0);
    client_open(w, &c, KT_ROLE_CLIENT, &w->node.unix_);
    struct kt_buf *b = pattern(3, 1);
    write_sectors(w, &c, 1, 2, b);
    read_back(w, &c, 2, b);
    flush(w, &c, 1);

    struct kt_msg stat = {
        .type = KT_MSG_STAT, .req = 6, .chain = CHAIN, .epoch = 1};
    stat.u.stat.extent = 1;
    stat.u.stat.sectors = 3 * KT_EXTENT_SECTORS;
    say(&c, &stat);
    struct kt_msg s = expect(&c, KT_MSG_STAT_OK);
    const uint32_t rows[] = {KT_EXTENT_SECTORS << 2, 3u << 2 | 1,
                             (KT_EXTENT_SECTORS - 3) << 2 | 2,
                             KT_EXTENT_SECTORS << 2};
    assert_int_equal(s.u.stat_ok.rows, 4);
    assert_memory_equal(s.buf->data, rows, sizeof(rows));

    struct kt_msg get = {.type = KT_MSG_CFG_GET, .req = 8, .chain = CHAIN};
    say(&c, &get);
    assert_int_equal(expect(&c, KT_MSG_CFG).cfg->epoch, 1);
    kt_buf_unref(b);
    kt_rpc_close(&c);
    stop(w);
}

static void what_was_acknowledged_survives_sigkill(void **state)
{
    struct world *w = *state;
    struct kt_rpc c;
    start(w);
    hub_register(w, NULL);
    (void)activate(w, 1);
    client_open(w, &c, KT_ROLE_CLIENT, &w->node.tcp);
    struct kt_buf *b = pattern(256, 7);
    write_sectors(w, &c, 1, 0, b);
    kt_rpc_close(&c);
    kill(w->pid, SIGKILL);
    assert_int_equal(exit_of(w->pid), 128 + SIGKILL);
    kt_rpc_close(&w->ctl);

    uint64_t was = w->incarnation, base = w->cont_base;
    struct kt_chain_report r;
    start(w);
    hub_register(w, &r);
    assert_int_equal(r.chain, CHAIN);
    assert_int_equal(r.applied.seq, 1);
    /* The configuration itself is saved beside the data path. */
    assert_true(r.cfg_epoch <= 1);
    assert_true(w->incarnation > was);
    assert_int_equal(w->cont_base, base);
    assert_int_equal(activate(w, 2).seq, 1);
    client_open(w, &c, KT_ROLE_CLIENT, &w->node.tcp);
    read_back(w, &c, 0, b);
    struct kt_msg again = a_write(w, 1, 0, b); /* executed before (I19) */
    say(&c, &again);
    assert_int_equal(expect(&c, KT_MSG_ACK).u.ack.id.seq, 1);
    kt_buf_unref(b);
    kt_rpc_close(&c);
    stop(w);
}

static void what_may_not_be_said_is_refused(void **state)
{
    struct world *w = *state;
    struct kt_rpc c;
    struct kt_msg m = {.type = KT_MSG_READ, .req = 3, .chain = 99, .epoch = 1};
    m.u.read.len = 4096;
    start(w);
    hub_register(w, NULL);
    (void)activate(w, 5);
    client_open(w, &c, KT_ROLE_CLIENT, &w->node.tcp);
    assert_int_equal(nak_of(&c, &m), KT_E_UNKNOWN_CHAIN);
    m.chain = CHAIN;
    m.epoch = 4;
    assert_int_equal(nak_of(&c, &m), KT_E_OLD_EPOCH);
    m.epoch = 6;
    assert_int_equal(nak_of(&c, &m), KT_E_NEW_EPOCH);
    struct kt_buf *b = pattern(1, 1);
    m = a_write(w, 1, 0, b);
    m.u.write.token = 2;
    assert_int_equal(nak_of(&c, &m), KT_E_FENCED);
    b->sums[0] ^= 1;
    m = a_write(w, 1, 0, b);
    assert_int_equal(nak_of(&c, &m), KT_E_BADSUM);
    kt_buf_unref(b);

    /* Only the hub we connected to may seal. */
    struct kt_msg seal = {.type = KT_MSG_SEAL, .chain = CHAIN, .epoch = 9};
    assert_int_equal(nak_of(&c, &seal), KT_E_PROTO);
    assert_true(kt_rpc_recv(&c, WAIT_MS, &m) < 0);
    kt_rpc_close(&c);
    client_open(w, &c, KT_ROLE_HUB, &w->node.tcp);
    assert_int_equal(nak_of(&c, &seal), KT_E_PROTO);
    assert_true(kt_rpc_recv(&c, WAIT_MS, &m) < 0);
    kt_rpc_close(&c);

    /* And only after all that is the promise still 5. */
    seal.epoch = 4;
    say(&w->ctl, &seal);
    seal.epoch = 6;
    say(&w->ctl, &seal);
    assert_int_equal(expect(&w->ctl, KT_MSG_SEAL_OK).epoch, 6);
    stop(w);
}

static void a_released_chain_is_gone(void **state)
{
    struct world *w = *state;
    start(w);
    hub_register(w, NULL);
    (void)activate(w, 1);
    struct kt_msg m = {.type = KT_MSG_RELEASE, .req = 11, .chain = CHAIN};
    kt_id_random(&m.u.release.volume);
    say(&w->ctl, &m);
    assert_int_equal(expect(&w->ctl, KT_MSG_ERROR).u.error.err, KT_E_INVALID);
    m.u.release.volume = w->cfg.volume;
    say(&w->ctl, &m);
    assert_int_equal(expect(&w->ctl, KT_MSG_RELEASE_OK).req, 11);
    say(&w->ctl, &m);
    assert_int_equal(expect(&w->ctl, KT_MSG_RELEASE_OK).req, 11);
    struct kt_msg eq = {.type = KT_MSG_EQ, .chain = CHAIN, .epoch = 2};
    eq.u.eq.incarnation = w->incarnation;
    say(&w->ctl, &eq);
    assert_int_equal(expect(&w->ctl, KT_MSG_ERROR).u.error.err,
                     KT_E_UNKNOWN_CHAIN);
    stop(w);
}

static void another_cluster_is_refused(void **state)
{
    struct world *w = *state;
    struct kt_id other;
    struct kt_msg m;
    kt_id_random(&other);
    start(w);
    hub_register(w, NULL);
    (void)expect(&w->ctl, KT_MSG_HB);
    kt_rpc_close(&w->ctl);
    hub_accept(w, &other);
    assert_true(kt_rpc_recv(&w->ctl, WAIT_MS, &m) < 0);
    kt_rpc_close(&w->ctl);
    hub_register(w, NULL);
    stop(w);
}

static void a_node_that_is_not_there_is_told_so(void **state)
{
    struct world *w = *state;
    start(w);
    hub_register(w, NULL);
    struct kt_msg m = {.type = KT_MSG_PROBE, .req = 21};
    m.u.report.node = w->node;
    say(&w->ctl, &m);
    assert_int_equal(expect(&w->ctl, KT_MSG_PROBE_OK).u.report.err, 0);
    kt_id_random(&m.u.report.node.id);
    kt_id_random(&m.u.report.node.boot); /* so that TCP is taken */
    struct kt_addr dead = {.kind = KT_ADDR_TCP, .host = "127.0.0.1"};
    int fd = kt_listen(&dead, &m.u.report.node.tcp);
    close(fd);
    say(&w->ctl, &m);
    struct kt_msg a = expect(&w->ctl, KT_MSG_PROBE_OK);
    assert_int_equal(a.req, 21);
    assert_int_equal(a.u.report.err, -ECONNREFUSED);
    stop(w);
}

static void a_start_that_cannot_be_says_why(void **state)
{
    struct world *w = *state;
    char file[128], *text = NULL;
    snprintf(file, sizeof(file), "%s/err", w->dir);
    const char *no_store[] = {"kenter-replicator", "--store", w->store, "--hub",
                              "unix:/h",           "--node",  "n1",     NULL};
    assert_int_equal(run_with(w, no_store), 1);
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
    assert_int_equal(run_with(w, open), 1);
    const char *bad[] = {"kenter-replicator", "--stor3", NULL};
    assert_int_equal(run_with(w, bad), 2);
    assert_int_equal(kt_read_file(file, 65536, &text), 0);
    assert_non_null(strstr(text, w->store));
    assert_non_null(strstr(text, "--insecure-links"));
    assert_non_null(strstr(text, "--stor3 is not an option"));
    free(text);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_chain_of_one_takes_writes_and_gives_them_back),
        CASE(what_was_acknowledged_survives_sigkill),
        CASE(what_may_not_be_said_is_refused),
        CASE(a_released_chain_is_gone),
        CASE(another_cluster_is_refused),
        CASE(a_node_that_is_not_there_is_told_so),
        CASE(a_start_that_cannot_be_says_why),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
