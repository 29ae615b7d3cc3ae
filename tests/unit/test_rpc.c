/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/link/conn.h"
#include "lib/link/rpc.h"
#include "tests/unit/gen_msg.h"

/* A daemon on a thread of its own. It echoes messages, answers a PING by
 * nothing and a LEAVE by hanging up. */
static struct {
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct kt_self self;
    struct kt_net *net;
    atomic_int up_answer;
} srv;

static char dir[] = "/tmp/kt-rpc-XXXXXX";
static struct kt_addr at;
static struct kt_rpc rpc;
static char why[400];

static int on_up(void *arg, struct kt_conn *c, const struct kt_msg *peer)
{
    (void)arg;
    (void)c;
    (void)peer;
    return srv.up_answer;
}

static void on_msg(void *arg, struct kt_conn *c, struct kt_msg *m, int err)
{
    (void)arg;
    if (err < 0 || m->type == KT_MSG_PING)
        return;
    if (m->type == KT_MSG_LEAVE) {
        kt_conn_close(c);
        return;
    }
    if (m->type == KT_MSG_ADMIN)
        m->type = KT_MSG_ADMIN_OK;
    kt_conn_send(c, m);
}

static void on_down(void *arg, struct kt_conn *c, int err, const char *text)
{
    (void)arg;
    (void)c;
    (void)err;
    (void)text;
}

static const struct kt_net_ops ops = {on_up, on_msg, on_down};

static void on_stop(uv_async_t *h)
{
    kt_net_close(srv.net, NULL);
    uv_close((uv_handle_t *)h, NULL);
}

static void *serve(void *arg)
{
    (void)arg;
    uv_run(&srv.loop, UV_RUN_DEFAULT);
    return NULL;
}

static int setup(void **state)
{
    struct kt_addr a = {.kind = KT_ADDR_UNIX};

    (void)state;
    memset(&srv, 0, sizeof(srv));
    assert_int_equal(uv_loop_init(&srv.loop), 0);
    assert_int_equal(uv_async_init(&srv.loop, &srv.stop, on_stop), 0);
    srv.self.role = KT_ROLE_HUB;
    kt_id_random(&srv.self.id);
    kt_id_random(&srv.self.cluster);
    srv.net = kt_net_new(&srv.loop, &srv.self, &ops, NULL);
    snprintf(a.host, sizeof(a.host), "%s/hub", dir);
    assert_int_equal(kt_net_listen(srv.net, &a, false, &at), 0);
    assert_int_equal(pthread_create(&srv.thread, NULL, serve, NULL), 0);
    memset(&rpc, 0, sizeof(rpc));
    why[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    uv_async_send(&srv.stop);
    assert_int_equal(pthread_join(srv.thread, NULL), 0);
    assert_int_equal(uv_loop_close(&srv.loop), 0);
    return 0;
}

static struct kt_msg hello(void)
{
    struct kt_msg m = {.type = KT_MSG_HELLO};
    m.u.hello.role = KT_ROLE_CLI;
    m.u.hello.cls = KT_CLASS_CONTROL;
    return m;
}

static void open_it(void)
{
    struct kt_msg h = hello();
    int r = kt_rpc_open(&rpc, &at, &h, 5000, why, sizeof(why));
    if (r < 0)
        print_error("%s\n", why);
    assert_int_equal(r, 0);
}

static void every_message_is_answered(void **state)
{
    (void)state;
    struct gen g = {1};
    static struct kt_msg_room room;
    open_it();
    assert_int_equal(rpc.peer.u.hello.role, KT_ROLE_HUB);
    assert_true(kt_id_eq(&rpc.peer.u.hello.cluster, &srv.self.cluster));
    for (unsigned type = KT_MSG_WRITE; type < KT_MSG_ADMIN; type++) {
        if (!gen_knows(type) || type == KT_MSG_LEAVE)
            continue;
        for (int i = 0; i < 5; i++) {
            struct kt_msg m, back;
            size_t len, back_len;
            gen_msg(&g, (uint8_t)type, &room, &m);
            assert_int_equal(kt_rpc_send(&rpc, &m), 0);
            assert_int_equal(kt_rpc_recv(&rpc, 5000, &back), 0);
            uint8_t *b = gen_frame(&m, &len);
            uint8_t *c = gen_frame(&back, &back_len);
            assert_int_equal(len, back_len);
            assert_memory_equal(b, c, len);
            free(b);
            free(c);
            kt_buf_unref(m.buf);
        }
    }
    kt_rpc_close(&rpc);
    kt_rpc_close(&rpc);
}

static void admin_json_comes_back(void **state)
{
    (void)state;
    char *long_text = malloc(700001);
    struct kt_msg m = {.type = KT_MSG_ADMIN, .req = 8}, back;
    memset(long_text, 'j', 700000);
    long_text[700000] = '\0';
    m.json = json_pack("{s:s}", "text", long_text);
    open_it();
    assert_int_equal(kt_rpc_send(&rpc, &m), 0);
    assert_int_equal(kt_rpc_recv(&rpc, 5000, &back), 0);
    assert_int_equal(back.type, KT_MSG_ADMIN_OK);
    assert_int_equal(back.req, 8);
    assert_true(json_equal(m.json, back.json));
    json_decref(back.json);
    json_decref(m.json);
    free(long_text);
    kt_rpc_close(&rpc);
}

static void silence_times_out_and_the_connection_lives(void **state)
{
    (void)state;
    struct kt_msg m = {.type = KT_MSG_PING}, back;
    open_it();
    assert_int_equal(kt_rpc_send(&rpc, &m), 0);
    assert_int_equal(kt_rpc_recv(&rpc, 30, &back), -ETIMEDOUT);
    assert_int_equal(kt_rpc_recv(&rpc, 0, &back), -ETIMEDOUT);
    m.type = KT_MSG_PONG;
    assert_int_equal(kt_rpc_send(&rpc, &m), 0);
    assert_int_equal(kt_rpc_recv(&rpc, 5000, &back), 0);
    kt_rpc_close(&rpc);
}

static void a_peer_that_hangs_up_is_told(void **state)
{
    (void)state;
    struct kt_msg m = {.type = KT_MSG_LEAVE}, back;
    open_it();
    assert_int_equal(kt_rpc_send(&rpc, &m), 0);
    assert_int_equal(kt_rpc_recv(&rpc, 5000, &back), -ECONNRESET);
    kt_rpc_close(&rpc);
}

static void refusals_are_told_in_a_sentence(void **state)
{
    (void)state;
    struct kt_msg h = hello();
    kt_id_random(&h.u.hello.cluster);
    assert_int_equal(kt_rpc_open(&rpc, &at, &h, 5000, why, sizeof(why)),
                     KT_E_REFUSED);
    assert_non_null(strstr(why, "another cluster"));
    assert_non_null(strstr(why, at.host));
    srv.up_answer = KT_E_LIMIT;
    h = hello();
    assert_int_equal(kt_rpc_open(&rpc, &at, &h, 5000, why, sizeof(why)),
                     KT_E_REFUSED);
    assert_non_null(strstr(why, kt_strerror(KT_E_LIMIT)));
}

static void a_listener_that_says_nothing_times_out(void **state)
{
    (void)state;
    struct kt_addr mute = {.kind = KT_ADDR_TCP, .host = "127.0.0.1"};
    struct kt_msg h = hello();
    int fd = kt_listen(&mute, &mute);
    assert_true(fd >= 0);
    assert_int_equal(kt_rpc_open(&rpc, &mute, &h, 50, why, sizeof(why)),
                     -ETIMEDOUT);
    assert_non_null(strstr(why, "does not answer"));
    close(fd);
}

static void hubs_are_tried_in_turn(void **state)
{
    (void)state;
    struct kt_context ctx = {.path = "/some/context.json", .n_hubs = 3};
    struct kt_msg h = hello();
    ctx.hubs[0].kind = KT_ADDR_UNIX;
    snprintf(ctx.hubs[0].host, sizeof(ctx.hubs[0].host), "%s/none", dir);
    ctx.hubs[1] = (struct kt_addr){.kind = KT_ADDR_TCP, .host = "127.0.0.1"};
    int fd = kt_listen(&ctx.hubs[1], &ctx.hubs[1]); /* mute */
    ctx.hubs[2] = at;
    assert_int_equal(kt_rpc_open_hub(&rpc, &ctx, &h, 1000, why, sizeof(why)),
                     0);
    kt_rpc_close(&rpc);
    close(fd);
    ctx.n_hubs = 2;
    assert_true(kt_rpc_open_hub(&rpc, &ctx, &h, 1000, why, sizeof(why)) < 0);
    assert_non_null(strstr(why, "/some/context.json"));
    assert_non_null(strstr(why, "kenter-hub"));
    ctx.n_hubs = 0;
    assert_true(kt_rpc_open_hub(&rpc, &ctx, &h, 1000, why, sizeof(why)) < 0);
}

static void write_context(const char *text, char ret_path[128])
{
    snprintf(ret_path, 128, "%s/context.json", dir);
    assert_int_equal(kt_write_file(ret_path, text, 0600), 0);
}

static void a_context_file_is_read(void **state)
{
    (void)state;
    struct kt_context ctx;
    char path[128];
    write_context("{\"version\":1,\"cluster\":"
                  "\"000102030405060708090a0b0c0d0e0f\",\"node\":\"n1\","
                  "\"hub\":[\"unix:/run/h\",\"tcp:127.0.0.1:9720\"]}",
                  path);
    assert_int_equal(kt_context_load(path, &ctx, why, sizeof(why)), 0);
    assert_string_equal(ctx.path, path);
    assert_string_equal(ctx.node, "n1");
    assert_int_equal(ctx.cluster.b[15], 15);
    assert_int_equal(ctx.n_hubs, 2);
    assert_int_equal(ctx.hubs[0].kind, KT_ADDR_UNIX);
    assert_int_equal(ctx.hubs[1].port, 9720);
    setenv("KENTER_CONTEXT", path, 1);
    assert_int_equal(kt_context_load(NULL, &ctx, why, sizeof(why)), 0);
    assert_string_equal(ctx.path, path);
    unsetenv("KENTER_CONTEXT");
    unlink(path);
    assert_int_equal(kt_context_load(path, &ctx, why, sizeof(why)), -ENOENT);
    assert_non_null(strstr(why, path));
}

static void the_users_context_comes_before_the_systems(void **state)
{
    (void)state;
    struct kt_context ctx;
    char path[128], conf[128], sub[128];
    snprintf(conf, sizeof(conf), "%s/.config", dir);
    snprintf(sub, sizeof(sub), "%s/.config/kenter", dir);
    snprintf(path, sizeof(path), "%s/.config/kenter/context.json", dir);
    assert_int_equal(mkdir(conf, 0700) + mkdir(sub, 0700), 0);
    assert_int_equal(
        kt_write_file(path, "{\"version\":1,\"hub\":[\"unix:/h\"]}", 0600), 0);
    unsetenv("KENTER_CONTEXT");
    setenv("HOME", dir, 1);
    assert_int_equal(kt_context_load(NULL, &ctx, why, sizeof(why)), 0);
    assert_string_equal(ctx.path, path);
    assert_string_equal(ctx.node, "");
    unlink(path);
    rmdir(sub);
    rmdir(conf);
}

static void damaged_context_files_are_explained(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"version\":2,\"hub\":[\"unix:/h\"]}",
        "{\"hub\":[\"unix:/h\"]}",
        "{\"version\":1}",
        "{\"version\":1,\"hub\":[]}",
        "{\"version\":1,\"hub\":\"unix:/h\"}",
        "{\"version\":1,\"hub\":[\"localhost\"]}",
        "{\"version\":1,\"hub\":[7]}",
        "{\"version\":1,\"hub\":[\"unix:/h\"],\"cluster\":\"x\"}",
        "{\"version\":1,\"hub\":[\"unix:/h\"],\"cluster\":7}",
        "{\"version\":1,\"hub\":[\"unix:/h\"],\"node\":\"a/b\"}",
        "{\"version\":1,\"hub\":[\"unix:/1\",\"unix:/2\",\"unix:/3\","
        "\"unix:/4\",\"unix:/5\",\"unix:/6\",\"unix:/7\",\"unix:/8\","
        "\"unix:/9\"]}",
    };
    (void)state;
    struct kt_context ctx;
    char path[128];
    for (size_t i = 0; i < KT_ARRAY_LEN(texts); i++) {
        write_context(texts[i], path);
        assert_int_equal(kt_context_load(path, &ctx, why, sizeof(why)),
                         KT_E_INVALID);
        assert_non_null(strstr(why, path));
    }
    unlink(path);
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

#define SERVED(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SERVED(every_message_is_answered),
        SERVED(admin_json_comes_back),
        SERVED(silence_times_out_and_the_connection_lives),
        SERVED(a_peer_that_hangs_up_is_told),
        SERVED(refusals_are_told_in_a_sentence),
        SERVED(hubs_are_tried_in_turn),
        cmocka_unit_test(a_listener_that_says_nothing_times_out),
        cmocka_unit_test(a_context_file_is_read),
        cmocka_unit_test(the_users_context_comes_before_the_systems),
        cmocka_unit_test(damaged_context_files_are_explained),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
