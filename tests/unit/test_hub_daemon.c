/* SPDX-License-Identifier: BSD-3-Clause */
/* The real kenter-hub with a node and clients made of scripts. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/link/rpc.h"

#define WAIT_MS 20000u

struct world {
    char dir[64], db[96], addr_file[96], log[96];
    struct kt_addr at;
    pid_t pid;
    bool small; /* files may not grow */
    struct kt_rpc node, cli;
    struct kt_id node_id, store, boot;
    uint64_t incarnation, promised, last_epoch;
    struct kt_id history;
    uint64_t hub_term; /* of the last REGISTER_OK */
    struct kt_id hub_mark;
    struct kt_cfg cfg;
};

/* ---- the process ---- */

static int exit_of(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static pid_t spawn(const struct world *w, const char *const *argv)
{
    char path[512];
    const char *build = getenv("top_builddir");
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    int fd = open(w->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
        dup2(fd, 1);
        dup2(fd, 2);
    }
    if (w->small) {
        struct rlimit r = {40 << 10, 40 << 10};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &r);
    }
    snprintf(path, sizeof(path), "%s/kenter-hub", build ? build : ".");
    execv(path, (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void start(struct world *w)
{
    const char *argv[] = {"kenter-hub", "--dir",    w->db,
                          "--init",     "--listen", "tcp:127.0.0.1:0",
                          "--segment",  "64M",      "--address-file",
                          w->addr_file, NULL};
    char *text = NULL;

    unlink(w->addr_file);
    w->pid = spawn(w, argv);
    for (uint64_t end = kt_now_ms() + WAIT_MS;
         kt_read_file(w->addr_file, 256, &text) < 0; usleep(5000)) {
        if (kt_now_ms() > end)
            fail_msg("the hub does not listen");
    }
    text[strcspn(text, "\n")] = '\0';
    assert_int_equal(kt_addr_parse(text, &w->at), 0);
    free(text);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    char tmp[] = "/tmp/kt-hub.XXXXXX";

    assert_non_null(w);
    assert_non_null(mkdtemp(tmp));
    snprintf(w->dir, sizeof(w->dir), "%s", tmp);
    snprintf(w->db, sizeof(w->db), "%s/db", tmp);
    snprintf(w->addr_file, sizeof(w->addr_file), "%s/addr", tmp);
    snprintf(w->log, sizeof(w->log), "%s/log", tmp);
    w->node.fd = w->cli.fd = -1;
    kt_id_random(&w->node_id);
    kt_id_random(&w->store);
    kt_id_random(&w->boot);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char cmd[160];

    if (w->pid > 0) {
        kill(w->pid, SIGKILL);
        waitpid(w->pid, NULL, 0);
    }
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", w->dir);
    int r = system(cmd);
    free(w);
    return r;
}

/* ---- talking ---- */

static void open_as(struct world *w, struct kt_rpc *r, uint8_t role)
{
    struct kt_msg hello = {.type = KT_MSG_HELLO};
    char why[256] = "";

    memset(r, 0, sizeof(*r));
    hello.u.hello.role = role;
    hello.u.hello.cls = KT_CLASS_CONTROL;
    hello.u.hello.id = w->node_id;
    hello.u.hello.boot = w->boot;
    hello.u.hello.store = w->store;
    hello.u.hello.incarnation = w->incarnation;
    memcpy(hello.u.hello.name, "n1", 3);
    int e = kt_rpc_open(r, &w->at, &hello, WAIT_MS, why, sizeof(why));
    if (e < 0)
        print_message("%s\n", why);
    assert_int_equal(e, 0);
}

static struct kt_msg expect(struct kt_rpc *r, uint8_t type)
{
    struct kt_msg m;

    do {
        assert_int_equal(kt_rpc_recv(r, WAIT_MS, &m), 0);
    } while (m.type != type && m.type == KT_MSG_PING);
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

static struct kt_msg node_register(struct world *w)
{
    struct kt_msg m = {.type = KT_MSG_REGISTER, .req = 1};

    open_as(w, &w->node, KT_ROLE_REPLICATOR);
    m.u.reg.node.id = w->node_id;
    m.u.reg.node.boot = w->boot;
    memcpy(m.u.reg.node.name, "n1", 3);
    m.u.reg.node.tcp.kind = KT_ADDR_TCP;
    m.u.reg.node.tcp.port = 1; /* nobody is there: probes are refused */
    memcpy(m.u.reg.node.tcp.host, "127.0.0.1", 10);
    m.u.reg.store = w->store;
    m.u.reg.incarnation = ++w->incarnation;
    m.u.reg.cont_base = 1;
    m.u.reg.size = 1ull << 40;
    m.u.reg.first = m.u.reg.last = 1;
    struct kt_chain_report held = {.chain = w->cfg.chain,
                                   .volume = w->cfg.volume,
                                   .promised = w->last_epoch,
                                   .cfg_epoch = w->last_epoch};
    m.u.reg.chains = &held;
    m.u.reg.n_chains = w->last_epoch > 0;
    m.u.reg.hub_term = w->hub_term;
    m.u.reg.hub_mark = w->hub_mark;
    say(&w->node, &m);
    m = expect(&w->node, KT_MSG_REGISTER_OK);
    w->hub_term = m.u.reg_ok.hub_term;
    w->hub_mark = m.u.reg_ok.hub_mark;
    return m;
}

/* Answers one SEAL, EQ and ACTIVATE of the one chain. */
static void node_follows(struct world *w)
{
    struct kt_msg m = expect(&w->node, KT_MSG_SEAL);
    struct kt_msg r = {
        .type = KT_MSG_SEAL_OK, .chain = m.chain, .epoch = m.epoch};

    r.u.seal_ok.store = w->store;
    r.u.seal_ok.incarnation = w->incarnation;
    r.u.seal_ok.cont_base = 1;
    r.u.seal_ok.promised = m.epoch;
    r.u.seal_ok.last_epoch = w->last_epoch;
    r.u.seal_ok.history = w->history;
    say(&w->node, &r);
    m = expect(&w->node, KT_MSG_EQ);
    r = (struct kt_msg){
        .type = KT_MSG_EQ_OK, .chain = m.chain, .epoch = m.epoch};
    r.u.eq_ok.store = w->store;
    r.u.eq_ok.incarnation = w->incarnation;
    say(&w->node, &r);
    m = expect(&w->node, KT_MSG_ACTIVATE);
    w->cfg = *m.cfg;
    w->last_epoch = m.cfg->epoch;
    w->history = m.cfg->history;
    r = (struct kt_msg){
        .type = KT_MSG_ACT_OK, .chain = m.cfg->chain, .epoch = m.cfg->epoch};
    say(&w->node, &r);
}

/* < 0 when the hub is gone. */
static int try_ask(struct world *w, json_t *q)
{
    struct kt_msg m = {.type = KT_MSG_ADMIN, .req = 9, .json = q};

    if (w->cli.fd < 0)
        open_as(w, &w->cli, KT_ROLE_CLI);
    int r = kt_rpc_send(&w->cli, &m);
    json_decref(q);
    return r;
}

static void ask(struct world *w, json_t *q)
{
    assert_int_equal(try_ask(w, q), 0);
}

static json_t *answer(struct world *w)
{
    struct kt_msg m = expect(&w->cli, KT_MSG_ADMIN_OK);

    assert_int_equal(m.req, 9);
    return m.json;
}

static void refused(struct world *w, json_t *q, const char *err)
{
    ask(w, q);
    json_t *a = answer(w);
    assert_true(json_is_false(json_object_get(a, "ok")));
    assert_string_equal(json_string_value(json_object_get(a, "err")), err);
    assert_true(strlen(json_string_value(json_object_get(a, "message"))) > 20);
    json_decref(a);
}

static const char *text_of(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static void create_v(struct world *w)
{
    ask(w, json_pack("{s:s, s:s, s:i, s:i}", "op", "volume-create", "name", "v",
                     "size", 1 << 20, "replicas", 1));
    node_follows(w);
    json_t *a = answer(w), *v = json_object_get(a, "volume");
    assert_true(json_is_true(json_object_get(a, "ok")));
    assert_string_equal(text_of(v, "name"), "v");
    assert_string_equal(text_of(v, "state"), "healthy");
    json_t *c = json_array_get(json_object_get(v, "chains"), 0);
    assert_string_equal(text_of(c, "phase"), "active");
    json_t *m = json_array_get(json_object_get(c, "members"), 0);
    assert_string_equal(text_of(m, "node"), "n1");
    assert_string_equal(text_of(m, "state"), "serving");
    assert_string_equal(text_of(m, "role"), "single");
    json_decref(a);
}

/* ---- conversations ---- */

static void a_volume_outlives_the_hub(void **state)
{
    struct world *w = *state;

    start(w);
    struct kt_msg ok = node_register(w);
    uint64_t term = ok.u.reg_ok.hub_term;
    struct kt_id cluster = ok.u.reg_ok.cluster;
    assert_true(kt_id_eq(&cluster, &w->node.peer.u.hello.cluster));
    create_v(w);
    refused(w,
            json_pack("{s:s, s:s, s:i}", "op", "volume-create", "name", "v",
                      "size", 4096),
            "EXISTS");
    refused(w,
            json_pack("{s:s, s:s, s:i}", "op", "volume-create", "name", "w",
                      "size", 4096),
            "NO_NODES");
    refused(w,
            json_pack("{s:s, s:s, s:i}", "op", "volume-create", "name", "a/b",
                      "size", 4096),
            "INVALID");
    refused(w, json_pack("{s:s, s:s}", "op", "volume-rm", "name", "x"),
            "NO_VOLUME");
    refused(w, json_pack("{s:s, s:s}", "op", "node-inspect", "name", "x"),
            "NO_NODE");
    refused(w, json_pack("{s:s}", "op", "what"), "INVALID");
    refused(w, json_pack("{}"), "INVALID");

    kill(w->pid, SIGKILL);
    exit_of(w->pid);
    kt_rpc_close(&w->node);
    kt_rpc_close(&w->cli);
    w->cli.fd = -1;
    start(w);
    ok = node_register(w);
    assert_true(kt_id_eq(&cluster, &ok.u.reg_ok.cluster));
    assert_int_equal(ok.u.reg_ok.hub_term, term + 1);
    node_follows(w); /* its incarnation is new */
    assert_int_equal(w->cfg.members[0].incarnation, 2);
    assert_int_equal(w->cfg.vgen, 1);
    ask(w, json_pack("{s:s}", "op", "volume-ls"));
    json_t *a = answer(w);
    assert_int_equal(json_array_size(json_object_get(a, "volumes")), 1);
    json_decref(a);
    ask(w, json_pack("{s:s}", "op", "node-ls"));
    a = answer(w);
    assert_string_equal(
        text_of(json_array_get(json_object_get(a, "nodes"), 0), "state"), "up");
    json_decref(a);

    ask(w, json_pack("{s:s, s:s}", "op", "volume-rm", "name", "v"));
    a = answer(w);
    assert_true(json_is_true(json_object_get(a, "ok")));
    json_decref(a);
    assert_int_equal(expect(&w->node, KT_MSG_RELEASE).chain, 1);
    kt_rpc_close(&w->node);
    kt_rpc_close(&w->cli);
    kill(w->pid, SIGTERM);
    assert_int_equal(exit_of(w->pid), 0);
    w->pid = 0;
    assert_int_equal(access(w->addr_file, F_OK), -1);
}

static void attach_and_status_over_the_wire(void **state)
{
    struct world *w = *state;
    struct kt_rpc c;
    struct kt_msg m = {.type = KT_MSG_ATTACH, .req = 3};

    start(w);
    node_register(w);
    create_v(w);
    open_as(w, &c, KT_ROLE_CLIENT);
    memcpy(m.u.attach.volume, "v", 2);
    m.u.attach.client = w->node_id;
    memcpy(m.u.attach.node, "n1", 3);
    m.u.attach.pid = 77;
    say(&c, &m);
    node_follows(w);
    struct kt_msg ok = expect(&c, KT_MSG_ATTACH_OK);
    assert_int_equal(ok.u.attach_ok.n_chains, 1);
    assert_int_equal(ok.u.attach_ok.token, 1);
    assert_int_equal(ok.u.attach_ok.segment_bytes, 64 << 20);
    assert_int_equal(expect(&c, KT_MSG_ACTIVATE).cfg->token, 1);

    ask(w, json_pack("{s:s}", "op", "status"));
    json_t *a = answer(w);
    assert_string_equal(text_of(a, "health"), "healthy");
    assert_true(json_is_false(json_object_get(a, "insecure_links")));
    json_decref(a);
    refused(w, json_pack("{s:s, s:s}", "op", "volume-rm", "name", "v"),
            "IN_USE");
    /* The node's process ends: probed, refused, dead. */
    kt_rpc_close(&w->node);
    for (unsigned i = 0; i < 200; i++) {
        ask(w, json_pack("{s:s}", "op", "status"));
        a = answer(w);
        bool down = strcmp(text_of(a, "health"), "unavailable") == 0;
        size_t why = json_array_size(json_object_get(a, "why"));
        json_decref(a);
        if (down) {
            assert_true(why > 0);
            break;
        }
        usleep(20000);
        assert_true(i < 199);
    }
    kt_rpc_close(&c);
    kt_rpc_close(&w->cli);
}

/* 40 KiB is enough to begin, and not for ever. */
static void a_failed_commit_ends_the_hub(void **state)
{
    struct world *w = *state;
    struct kt_msg m;

    start(w);
    kill(w->pid, SIGKILL);
    exit_of(w->pid);
    w->small = true;
    start(w);
    node_register(w);
    int gone = 0;
    for (unsigned i = 0; gone == 0 && i < 200; i++) {
        char name[16];
        snprintf(name, sizeof(name), "v%u", i);
        gone =
            try_ask(w, json_pack("{s:s, s:s, s:i, s:i}", "op", "volume-create",
                                 "name", name, "size", 1 << 20, "replicas", 1));
    }
    assert_int_equal(exit_of(w->pid), 1);
    w->pid = 0;
    /* It acknowledged none of them. */
    while (kt_rpc_recv(&w->cli, WAIT_MS, &m) == 0)
        assert_int_not_equal(m.type, KT_MSG_ADMIN_OK);
    kt_rpc_close(&w->cli);
    kt_rpc_close(&w->node);
}

static void wrong_use_says_why(void **state)
{
    struct world *w = *state;
    char sub[128];
    const char *bad[] = {"kenter-hub", "--nonsense", NULL};
    const char *no_dir[] = {"kenter-hub", NULL};
    const char *seg[] = {"kenter-hub", "--dir", w->db, "--segment", "5M", NULL};
    const char *empty[] = {"kenter-hub", "--dir", w->dir, NULL};
    const char *open_net[] = {"kenter-hub", "--dir",         w->db, "--init",
                              "--listen",   "tcp:0.0.0.0:0", NULL};
    const char *help[] = {"kenter-hub", "--help", NULL};
    const char *foreign[] = {"kenter-hub", "--dir", sub, "--init", NULL};
    const char *again[] = {"kenter-hub", "--dir", w->db, NULL};

    assert_int_equal(exit_of(spawn(w, bad)), 2);
    assert_int_equal(exit_of(spawn(w, no_dir)), 2);
    assert_int_equal(exit_of(spawn(w, seg)), 2);
    assert_int_equal(exit_of(spawn(w, help)), 0);
    assert_int_equal(exit_of(spawn(w, empty)), 1);
    assert_int_equal(exit_of(spawn(w, open_net)), 1);
    snprintf(sub, sizeof(sub), "%s", w->dir); /* holds the log and the db */
    assert_int_equal(exit_of(spawn(w, foreign)), 1);
    start(w);
    assert_int_equal(exit_of(spawn(w, again)), 1);
    char *text = NULL;
    assert_int_equal(kt_read_file(w->log, 1 << 20, &text), 0);
    assert_non_null(strstr(text, "--nonsense is not an option"));
    assert_non_null(strstr(text, "--insecure-links"));
    assert_non_null(strstr(text, "in use by another kenter-hub"));
    assert_non_null(strstr(text, "it holds other things"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_volume_outlives_the_hub, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(attach_and_status_over_the_wire, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_commit_ends_the_hub, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(wrong_use_says_why, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
