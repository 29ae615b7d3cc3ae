/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "tests/unit/repl_world.h"

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

int world_exit_of(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int world_run_with(struct world *w, const char *const *argv)
{
    char err[128];
    snprintf(err, sizeof(err), "%s/err", w->dir);
    return world_exit_of(spawn(argv, err));
}

void world_start(struct world *w)
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

struct kt_msg world_expect(struct kt_rpc *r, uint8_t type)
{
    struct kt_msg m;
    do {
        int e = kt_rpc_recv(r, WAIT_MS, &m);
        if (e < 0)
            print_message("waiting for %s: %s\n", kt_msg_name(type),
                          kt_strerror(e));
        assert_int_equal(e, 0);
        if (m.type == KT_MSG_ADMIN && type != KT_MSG_ADMIN)
            json_decref(m.json); /* it asks what volumes are called */
    } while (m.type != type && (m.type == KT_MSG_HB || m.type == KT_MSG_PING ||
                                m.type == KT_MSG_ADMIN));
    if (m.type != type)
        print_message("got %s, not %s\n", kt_msg_name(m.type),
                      kt_msg_name(type));
    assert_int_equal(m.type, type);
    return m;
}

void world_say(struct kt_rpc *r, const struct kt_msg *m)
{
    assert_int_equal(kt_rpc_send(r, m), 0);
}

/* Takes the control connection and answers HELLO as the hub of `cluster`. */
void world_hub_accept(struct world *w, const struct kt_id *cluster)
{
    struct pollfd p = {.fd = w->listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, (int)WAIT_MS), 1);
    memset(&w->ctl, 0, sizeof(w->ctl));
    w->ctl.fd = accept(w->listener, NULL, NULL);
    assert_true(w->ctl.fd >= 0);
    kt_framer_init(&w->ctl.framer);
    struct kt_msg hello = world_expect(&w->ctl, KT_MSG_HELLO);
    assert_int_equal(hello.u.hello.role, KT_ROLE_REPLICATOR);
    assert_int_equal(hello.u.hello.cls, KT_CLASS_CONTROL);
    struct kt_msg ok = {.type = KT_MSG_HELLO_OK};
    ok.u.hello.role = KT_ROLE_HUB;
    ok.u.hello.cls = KT_CLASS_CONTROL;
    ok.u.hello.cluster = *cluster;
    kt_id_random(&ok.u.hello.id);
    memcpy(ok.u.hello.name, "hub", 4);
    world_say(&w->ctl, &ok);
    w->ctl.framer.hello_done = true;
}

/* Up to REGISTER_OK; *ret_r is the report of our chain, if any. */
void world_hub_register(struct world *w, struct kt_chain_report *ret_r)
{
    world_hub_accept(w, &w->cluster);
    struct kt_msg m = world_expect(&w->ctl, KT_MSG_REGISTER);
    assert_true(m.u.reg.first && m.u.reg.last);
    w->node = m.u.reg.node;
    w->store_id = m.u.reg.store;
    w->incarnation = m.u.reg.incarnation;
    w->cont_base = m.u.reg.cont_base;
    w->told_term = m.u.reg.hub_term;
    w->told_mark = m.u.reg.hub_mark;
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
    ok.u.reg_ok.hub_term = w->hub_term;
    ok.u.reg_ok.hub_mark = w->hub_mark;
    world_say(&w->ctl, &ok);
}

/* SEAL and ACTIVATE, this member alone serving. */
struct kt_rid world_activate(struct world *w, uint64_t epoch)
{
    struct kt_msg seal = {
        .type = KT_MSG_SEAL, .req = 1, .chain = CHAIN, .epoch = epoch};
    world_say(&w->ctl, &seal);
    struct kt_msg ok = world_expect(&w->ctl, KT_MSG_SEAL_OK);
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
    world_say(&w->ctl, &act);
    assert_int_equal(world_expect(&w->ctl, KT_MSG_ACT_OK).epoch, epoch);
    return applied;
}

void world_client_open(struct world *w, struct kt_rpc *r, uint8_t role,
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

struct kt_buf *world_pattern(uint32_t sectors, uint8_t seed)
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

struct kt_msg world_a_write(struct world *w, uint64_t wseq, uint32_t extent,
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
void world_write_sectors(struct world *w, struct kt_rpc *r, uint64_t wseq,
                         uint32_t extent, struct kt_buf *b)
{
    struct kt_msg m = world_a_write(w, wseq, extent, b), a;
    uint64_t end = kt_now_ms() + WAIT_MS;
    do {
        world_say(r, &m);
        assert_int_equal(kt_rpc_recv(r, WAIT_MS, &a), 0);
        assert_int_equal(a.req, m.req);
    } while (a.type == KT_MSG_NAK && a.u.nak.err == KT_E_BUSY &&
             kt_now_ms() < end);
    assert_int_equal(a.type, KT_MSG_ACK);
    assert_int_equal(a.u.ack.wseq, wseq);
}

void world_read_back(struct world *w, struct kt_rpc *r, uint32_t extent,
                     const struct kt_buf *want)
{
    struct kt_msg m = {
        .type = KT_MSG_READ, .req = 9, .chain = CHAIN, .epoch = w->cfg.epoch};
    m.u.read.extent = extent;
    m.u.read.len = want->data_len;
    world_say(r, &m);
    struct kt_msg d = world_expect(r, KT_MSG_DATA);
    assert_int_equal(d.req, 9);
    assert_int_equal(d.u.data.len, want->data_len);
    assert_non_null(d.buf);
    assert_int_equal(d.buf->data_len, want->data_len);
    assert_memory_equal(d.buf->data, want->data, want->data_len);
}

void world_flush(struct world *w, struct kt_rpc *r, uint64_t upto)
{
    struct kt_msg m = {
        .type = KT_MSG_FLUSH, .req = 5, .chain = CHAIN, .epoch = w->cfg.epoch};
    m.u.flush.upto = upto;
    world_say(r, &m);
    struct kt_msg ok = world_expect(r, KT_MSG_FLUSH_OK);
    assert_true(ok.u.flush.durable >= upto);
}

int world_nak_of(struct kt_rpc *r, const struct kt_msg *m)
{
    world_say(r, m);
    return world_expect(r, KT_MSG_NAK).u.nak.err;
}

/* ---- setting up ---- */

int world_set_up(void **state)
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
    kt_id_random(&w->hub_mark);
    w->hub_term = 1;
    kt_id_random(&w->client);
    kt_id_random(&w->cfg.volume);
    kt_id_random(&w->cfg.history);
    w->listener = kt_listen(&w->hub, NULL);
    assert_true(w->listener >= 0);
    w->ctl.fd = -1;
    *state = w;
    return 0;
}

int world_tear_down(void **state)
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

void world_stop(struct world *w)
{
    assert_int_equal(kill(w->pid, SIGTERM), 0);
    struct kt_msg ok = {.type = KT_MSG_LEAVE_OK};
    ok.req = world_expect(&w->ctl, KT_MSG_LEAVE).req;
    world_say(&w->ctl, &ok);
    assert_int_equal(world_exit_of(w->pid), 0);
    w->pid = 0;
    kt_rpc_close(&w->ctl);
}

/* SIGSTOP; on return not an instruction of it runs any more. A signal that is
 * only sent leaves it time to take one of two things said after. */
void world_freeze(struct world *w)
{
    int status = 0;
    assert_int_equal(kill(w->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(w->pid, &status, WUNTRACED), w->pid);
    assert_true(WIFSTOPPED(status));
}

/* The most memory the process ever had. */
unsigned long world_peak_kib(pid_t pid)
{
    char path[64], line[256];
    unsigned long kib = 0;
    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "VmHWM: %lu kB", &kib) == 1)
            break;
    fclose(f);
    assert_true(kib > 0);
    return kib;
}
