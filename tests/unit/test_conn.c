/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "lib/link/conn.h"
#include "lib/link/framer.h"
#include "tests/unit/gen_msg.h"

/* One net and what happened to it. */
struct side {
    struct kt_self self;
    struct kt_net *net;
    struct kt_conn *conn; /* the last one that came up */
    int up_answer;
    bool close_in_up;
    int ups, msgs, downs, bad;
    int down_err;
    char down_text[200];
    bool closed;
    void (*on_msg)(struct side *s, struct kt_conn *c, struct kt_msg *m);
    struct gen expect;
    uint32_t got_types[KT_MSG_TYPE_END];
};

static uv_loop_t loop;
static struct side server, client;
static struct kt_addr at;
static char dir[] = "/tmp/kt-conn-XXXXXX";
static bool late;
static struct kt_msg_room room_a;

static int on_up(void *arg, struct kt_conn *c, const struct kt_msg *peer)
{
    struct side *s = arg;
    s->ups++;
    s->conn = c;
    assert_true(kt_conn_is_up(c));
    assert_ptr_equal(kt_conn_peer(c), peer);
    if (s->close_in_up)
        kt_conn_close(c);
    return s->up_answer;
}

static void on_msg(void *arg, struct kt_conn *c, struct kt_msg *m, int err)
{
    struct side *s = arg;
    s->msgs++;
    s->bad += err != 0;
    s->got_types[m->type]++;
    if (s->on_msg)
        s->on_msg(s, c, m);
}

static void on_down(void *arg, struct kt_conn *c, int err, const char *text)
{
    struct side *s = arg;
    (void)c;
    s->downs++;
    s->down_err = err;
    s->conn = NULL;
    snprintf(s->down_text, sizeof(s->down_text), "%s", text);
}

static const struct kt_net_ops ops = {on_up, on_msg, on_down};

static void side_init(struct side *s, uint8_t role, const char *name)
{
    memset(s, 0, sizeof(*s));
    s->self.role = role;
    kt_id_random(&s->self.id);
    snprintf(s->self.name, sizeof(s->self.name), "%s", name);
    s->net = kt_net_new(&loop, &s->self, &ops, s);
    assert_non_null(s->net);
}

static int setup(enum kt_addr_kind kind)
{
    struct kt_addr a = {.kind = kind, .host = "127.0.0.1"};
    assert_int_equal(uv_loop_init(&loop), 0);
    side_init(&server, KT_ROLE_REPLICATOR, "n1");
    side_init(&client, KT_ROLE_CLIENT, "c1");
    if (kind == KT_ADDR_UNIX)
        snprintf(a.host, sizeof(a.host), "%s/s", dir);
    assert_int_equal(kt_net_listen(server.net, &a, false, &at), 0);
    return 0;
}

static int setup_tcp(void **state)
{
    (void)state;
    return setup(KT_ADDR_TCP);
}

static int setup_unix(void **state)
{
    (void)state;
    return setup(KT_ADDR_UNIX);
}

static void on_net_closed(void *arg)
{
    ((struct side *)arg)->closed = true;
}

static void on_late(uv_timer_t *t)
{
    (void)t;
    late = true;
}

/* Runs the loop until the condition holds; a hang fails after 20 s. */
#define RUN_UNTIL(cond)                                                        \
    do {                                                                       \
        uv_timer_t guard;                                                      \
        late = false;                                                          \
        uv_timer_init(&loop, &guard);                                          \
        uv_timer_start(&guard, on_late, 20000, 0);                             \
        while (!(cond) && !late)                                               \
            uv_run(&loop, UV_RUN_ONCE);                                        \
        uv_close((uv_handle_t *)&guard, NULL);                                 \
        uv_run(&loop, UV_RUN_NOWAIT);                                          \
        assert_false(late);                                                    \
    } while (0)

static int teardown(void **state)
{
    (void)state;
    kt_net_close(client.net, on_net_closed);
    kt_net_close(server.net, on_net_closed);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_true(client.closed && server.closed);
    assert_int_equal(uv_loop_close(&loop), 0);
    if (at.kind == KT_ADDR_UNIX)
        assert_int_equal(access(at.host, F_OK), -1);
    return 0;
}

static struct kt_conn *connect_both(void)
{
    struct kt_conn *c = kt_conn_open(client.net, &at, KT_CLASS_DATA, &client);
    assert_non_null(c);
    assert_null(client.conn); /* not before it returns */
    RUN_UNTIL(client.conn && server.conn);
    assert_ptr_equal(client.conn, c);
    return c;
}

static void peers_learn_each_other(void **state)
{
    (void)state;
    struct kt_conn *c = connect_both();
    const struct kt_msg *p = kt_conn_peer(server.conn);
    assert_int_equal(p->u.hello.role, KT_ROLE_CLIENT);
    assert_string_equal(p->u.hello.name, "c1");
    assert_true(kt_id_eq(&p->u.hello.id, &client.self.id));
    assert_int_equal(kt_conn_class(server.conn), KT_CLASS_DATA);
    assert_true(kt_conn_is_accepted(server.conn));
    assert_null(kt_conn_data(server.conn));
    assert_string_equal(kt_conn_peer(c)->u.hello.name, "n1");
    assert_false(kt_conn_is_accepted(c));
    assert_ptr_equal(kt_conn_data(c), &client);
    kt_conn_close(c);
    kt_conn_close(c);
    assert_int_equal(client.downs, 0);
    RUN_UNTIL(client.downs && server.downs);
    assert_int_equal(client.down_err, 0);
    assert_int_equal(server.down_err, -ECONNRESET);
}

static uint8_t gen_type(struct gen *g)
{
    uint32_t type;
    do
        type = KT_MSG_PING + gen_below(g, KT_MSG_ADMIN - KT_MSG_PING);
    while (!gen_knows(type));
    return (uint8_t)type;
}

/* The same seed on both ends tells what must arrive. */
static void compare_msg(struct side *s, struct kt_conn *c, struct kt_msg *m)
{
    struct kt_msg want;
    size_t len, want_len;

    (void)c;
    gen_msg(&s->expect, gen_type(&s->expect), &room_a, &want);
    uint8_t *b = gen_frame(m, &len), *w = gen_frame(&want, &want_len);
    assert_int_equal(len, want_len);
    assert_memory_equal(b, w, len);
    free(b);
    free(w);
    kt_buf_unref(want.buf);
}

static void many_messages_arrive_in_order_both_ways(void **state)
{
    (void)state;
    struct gen g1 = {1}, g2 = {2};
    enum { N = 3000 };
    int sent = 0;
    server.on_msg = client.on_msg = compare_msg;
    server.expect = g1;
    client.expect = g2;
    connect_both();
    while (sent < N) {
        for (int i = 0; i < 100; i++, sent++) {
            struct kt_msg m;
            gen_msg(&g1, gen_type(&g1), &room_a, &m);
            kt_conn_send(client.conn, &m);
            kt_buf_unref(m.buf);
            gen_msg(&g2, gen_type(&g2), &room_a, &m);
            kt_conn_send(server.conn, &m);
            kt_buf_unref(m.buf);
        }
        RUN_UNTIL(kt_conn_queued(client.conn) < 1000000);
    }
    RUN_UNTIL(server.msgs == N && client.msgs == N);
    assert_int_equal(server.bad + client.bad, 0);
    assert_int_equal(kt_conn_queued(client.conn), 0);
}

static void large_payloads_arrive_whole(void **state)
{
    (void)state;
    struct gen g = {3};
    struct kt_msg m = {.type = KT_MSG_DATA};
    m.u.data.len = 1 << 20;
    m.buf = gen_sectors(&g, 256, true);
    connect_both();
    for (int i = 0; i < 64; i++)
        kt_conn_send(client.conn, &m);
    assert_true(kt_conn_queued(client.conn) > 64u << 20);
    assert_true(m.buf->refs == 65);
    RUN_UNTIL(server.msgs == 64);
    assert_int_equal(server.bad, 0);
    assert_int_equal(m.buf->refs, 1);
    kt_buf_unref(m.buf);
}

static void echo(struct side *s, struct kt_conn *c, struct kt_msg *m)
{
    (void)s;
    m->type = KT_MSG_PONG;
    kt_conn_send(c, m);
}

static void an_answer_sent_from_a_callback_leaves_at_once(void **state)
{
    (void)state;
    struct kt_msg m = {.type = KT_MSG_PING};
    server.on_msg = echo;
    connect_both();
    uint64_t start_ms = kt_now_ms();
    for (int i = 1; i <= 200; i++) {
        kt_conn_send(client.conn, &m);
        RUN_UNTIL(client.msgs == i);
    }
    /* A turn each, not a timer's tick each. */
    assert_true(kt_now_ms() - start_ms < 5000);
    assert_int_equal(client.got_types[KT_MSG_PONG], 200);
}

static void a_refusal_tells_its_reason(void **state)
{
    (void)state;
    server.up_answer = KT_E_HELD;
    kt_conn_open(client.net, &at, KT_CLASS_DATA, NULL);
    RUN_UNTIL(client.downs);
    assert_int_equal(client.down_err, KT_E_REFUSED);
    assert_string_equal(client.down_text, kt_strerror(KT_E_HELD));
    assert_int_equal(client.ups, 0);
    assert_int_equal(server.downs, 0);
}

static void another_cluster_is_refused(void **state)
{
    (void)state;
    kt_id_random(&server.self.cluster);
    connect_both(); /* of no cluster yet */
    kt_conn_close(client.conn);
    RUN_UNTIL(client.downs && server.downs);
    kt_id_random(&client.self.cluster);
    kt_conn_open(client.net, &at, KT_CLASS_DATA, NULL);
    RUN_UNTIL(client.downs == 2);
    assert_int_equal(client.down_err, KT_E_REFUSED);
    assert_non_null(strstr(client.down_text, "another cluster"));
    assert_int_equal(server.ups, 1);
    client.self.cluster = server.self.cluster;
    connect_both();
}

static void closing_inside_up_is_an_ordinary_end(void **state)
{
    (void)state;
    server.close_in_up = true;
    kt_conn_open(client.net, &at, KT_CLASS_DATA, NULL);
    RUN_UNTIL(client.downs && server.downs);
    assert_int_equal(server.down_err, 0);
}

static void nobody_there_is_told_as_such(void **state)
{
    (void)state;
    struct kt_addr none = {.kind = KT_ADDR_UNIX};
    snprintf(none.host, sizeof(none.host), "%s/none", dir);
    kt_conn_open(client.net, &none, KT_CLASS_DATA, NULL);
    assert_int_equal(client.downs, 0);
    RUN_UNTIL(client.downs == 1);
    assert_int_equal(client.down_err, -ENOENT);
    /* A port that was ours a moment ago. */
    struct kt_addr tcp = {.kind = KT_ADDR_TCP, .host = "127.0.0.1"};
    int fd = kt_listen(&tcp, &tcp);
    assert_true(fd >= 0);
    close(fd);
    kt_conn_open(client.net, &tcp, KT_CLASS_DATA, NULL);
    RUN_UNTIL(client.downs == 2);
    assert_int_equal(client.down_err, -ECONNREFUSED);
    struct kt_addr bad = {.kind = KT_ADDR_TCP, .host = "not-an-address"};
    kt_conn_open(client.net, &bad, KT_CLASS_DATA, NULL);
    assert_int_equal(client.downs, 2);
    RUN_UNTIL(client.downs == 3);
    assert_int_equal(client.down_err, -EINVAL);
}

static void only_local_addresses_are_listened_at(void **state)
{
    (void)state;
    struct kt_addr any = {.kind = KT_ADDR_TCP, .host = "0.0.0.0"}, bound;
    assert_int_equal(kt_net_listen(server.net, &any, false, &bound), -EPERM);
    assert_int_equal(kt_net_listen(server.net, &any, true, &bound), 0);
    assert_true(bound.port > 0);
    assert_int_equal(kt_net_listen(server.net, &bound, true, NULL),
                     -EADDRINUSE);
}

/* Throws bytes at the server and waits for the end of the connection. */
static void throw_bytes(const void *b, size_t len)
{
    char back[4096];
    int fd = kt_connect_wait(&at, 5000);
    assert_true(fd >= 0);
    assert_true(send(fd, b, len, MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
    uint64_t start_ms = kt_now_ms();
    ssize_t n = -1;
    while (kt_now_ms() - start_ms < 4000) {
        uv_run(&loop, UV_RUN_NOWAIT);
        n = recv(fd, back, sizeof(back), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
    }
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(fd);
}

static void garbage_ends_its_connection_and_nothing_else(void **state)
{
    (void)state;
    struct gen g = {4};
    uint8_t b[20000];
    connect_both();
    for (int i = 0; i < 30; i++) {
        for (size_t k = 0; k < sizeof(b); k++)
            b[k] = (uint8_t)gen_u64(&g);
        throw_bytes(b, sizeof(b));
    }
    throw_bytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35);
    /* A head that claims 4 GiB, one before its time, another version. */
    uint8_t head[24] = {'K', 'N', 'T', '1', 1, KT_MSG_HB};
    memset(head + 8, 0xff, 8);
    throw_bytes(head, sizeof(head));
    struct kt_msg m = {.type = KT_MSG_PING};
    size_t len;
    uint8_t *frame = gen_frame(&m, &len);
    throw_bytes(frame, len);
    frame[4] = 9;
    throw_bytes(frame, len);
    free(frame);
    kt_conn_send(client.conn, &m);
    RUN_UNTIL(server.msgs == 1);
    assert_int_equal(server.ups, 1);
    assert_int_equal(server.downs, 0);
}

static void garbage_after_the_handshake_brings_it_down(void **state)
{
    (void)state;
    struct kt_msg m = {.type = KT_MSG_HELLO};
    size_t len;
    m.u.hello.role = KT_ROLE_CLI;
    uint8_t *b = gen_frame(&m, &len);
    b = realloc(b, len + 24);
    memset(b + len, 'x', 24);
    throw_bytes(b, len + 24);
    free(b);
    RUN_UNTIL(server.downs == 1);
    assert_int_equal(server.down_err, KT_E_PROTO);
    assert_int_equal(server.msgs, 0);
}

static void a_damaged_payload_is_delivered_as_such(void **state)
{
    (void)state;
    struct gen g = {5};
    struct kt_msg m = {.type = KT_MSG_DATA, .req = 5};
    m.u.data.len = 64 << 10;
    m.buf = gen_sectors(&g, 16, true);
    connect_both();
    m.buf->data[50000] ^= 1; /* the sums are those of before */
    kt_conn_send(client.conn, &m);
    m.type = KT_MSG_PING;
    kt_conn_send(client.conn, &m);
    RUN_UNTIL(server.msgs == 2);
    assert_int_equal(server.bad, 1);
    kt_buf_unref(m.buf);
}

static void a_paused_connection_is_not_read(void **state)
{
    (void)state;
    struct gen g = {6};
    struct kt_msg m = {.type = KT_MSG_DATA};
    m.u.data.len = 1 << 20;
    m.buf = gen_sectors(&g, 256, true);
    connect_both();
    kt_conn_pause(server.conn, true);
    kt_conn_pause(server.conn, true);
    for (int i = 0; i < 32; i++)
        kt_conn_send(client.conn, &m);
    for (int i = 0; i < 1000; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(server.msgs, 0);
    assert_true(kt_conn_queued(client.conn) > 16u << 20);
    kt_conn_pause(server.conn, false);
    RUN_UNTIL(server.msgs == 32);
    kt_buf_unref(m.buf);
}

static void a_peer_that_never_reads_costs_256_mib_at_most(void **state)
{
    (void)state;
    struct gen g = {7};
    struct kt_msg m = {.type = KT_MSG_DATA};
    m.u.data.len = 1 << 20;
    m.buf = gen_sectors(&g, 256, true);
    connect_both();
    kt_conn_pause(server.conn, true);
    for (int i = 0; i < 300; i++)
        kt_conn_send(client.conn, &m);
    assert_false(kt_conn_is_up(client.conn));
    RUN_UNTIL(client.downs == 1);
    assert_int_equal(client.down_err, -ENOBUFS);
    assert_int_equal(m.buf->refs, 1);
    kt_buf_unref(m.buf);
}

static void handshakes_are_counted(void **state)
{
    (void)state;
    int fds[80], open_fds = 0;
    for (int i = 0; i < 80; i++) {
        fds[i] = kt_connect_wait(&at, 5000);
        assert_true(fds[i] >= 0);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 80; i++) {
        char ch;
        open_fds += recv(fds[i], &ch, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
        close(fds[i]);
    }
    assert_int_equal(open_fds, 64);
    connect_both();
}

static void an_answer_too_large_becomes_an_error(void **state)
{
    (void)state;
    char *text = malloc((1 << 20) + 1);
    memset(text, 'x', 1 << 20);
    text[1 << 20] = '\0';
    struct kt_msg m = {.type = KT_MSG_ADMIN_OK, .req = 3};
    connect_both();
    text[900000] = '\0';
    m.json = json_pack("[s]", text);
    kt_conn_send(server.conn, &m);
    RUN_UNTIL(client.got_types[KT_MSG_ADMIN_OK] == 1);
    json_decref(m.json);
    text[900000] = 'x';
    m.json = json_pack("[s]", text);
    kt_conn_send(server.conn, &m);
    RUN_UNTIL(client.got_types[KT_MSG_ERROR] == 1);
    json_decref(m.json);
    free(text);
}

static void close_in_msg(struct side *s, struct kt_conn *c, struct kt_msg *m)
{
    (void)s;
    (void)m;
    kt_conn_close(c);
}

static void nothing_is_delivered_after_a_close(void **state)
{
    (void)state;
    struct kt_msg m = {.type = KT_MSG_PING};
    server.on_msg = close_in_msg;
    connect_both();
    for (int i = 0; i < 50; i++)
        kt_conn_send(client.conn, &m);
    RUN_UNTIL(server.downs && client.downs);
    assert_int_equal(server.msgs, 1);
}

static void a_net_closes_with_frames_in_flight(void **state)
{
    (void)state;
    struct gen g = {8};
    struct kt_msg m = {.type = KT_MSG_DATA};
    m.u.data.len = 1 << 20;
    m.buf = gen_sectors(&g, 256, true);
    connect_both();
    kt_conn_open(client.net, &at, KT_CLASS_SYNC, NULL);
    for (int i = 0; i < 32; i++)
        kt_conn_send(client.conn, &m);
    uv_run(&loop, UV_RUN_NOWAIT);
    kt_conn_send(client.conn, &m);
    kt_buf_unref(m.buf); /* teardown closes both nets now */
}

static int group_setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}

#define TCP(f) cmocka_unit_test_setup_teardown(f, setup_tcp, teardown)
#define UNIX(f)                                                                \
    {                                                                          \
#f "_unix", f, setup_unix, teardown, NULL                              \
    }

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TCP(peers_learn_each_other),
        UNIX(peers_learn_each_other),
        TCP(many_messages_arrive_in_order_both_ways),
        UNIX(many_messages_arrive_in_order_both_ways),
        TCP(large_payloads_arrive_whole),
        UNIX(large_payloads_arrive_whole),
        TCP(an_answer_sent_from_a_callback_leaves_at_once),
        TCP(a_refusal_tells_its_reason),
        UNIX(a_refusal_tells_its_reason),
        TCP(another_cluster_is_refused),
        TCP(closing_inside_up_is_an_ordinary_end),
        TCP(nobody_there_is_told_as_such),
        TCP(only_local_addresses_are_listened_at),
        TCP(garbage_ends_its_connection_and_nothing_else),
        UNIX(garbage_ends_its_connection_and_nothing_else),
        TCP(garbage_after_the_handshake_brings_it_down),
        TCP(a_damaged_payload_is_delivered_as_such),
        TCP(a_paused_connection_is_not_read),
        TCP(a_peer_that_never_reads_costs_256_mib_at_most),
        UNIX(handshakes_are_counted),
        TCP(an_answer_too_large_becomes_an_error),
        TCP(nothing_is_delivered_after_a_close),
        TCP(a_net_closes_with_frames_in_flight),
        UNIX(a_net_closes_with_frames_in_flight),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
