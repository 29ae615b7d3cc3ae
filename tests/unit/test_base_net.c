/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static char dir[] = "/tmp/kt-test-net-XXXXXX";

static struct kt_addr addr_of(const char *text)
{
    struct kt_addr a;
    assert_int_equal(kt_addr_parse(text, &a), 0);
    return a;
}

static struct kt_addr unix_addr(const char *name)
{
    struct kt_addr a = {.kind = KT_ADDR_UNIX};
    snprintf(a.host, sizeof(a.host), "%s/%s", dir, name);
    return a;
}

static int accept_one(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void bytes_go_both_ways(int a, int b)
{
    char c = 0;
    assert_int_equal(write(a, "x", 1), 1);
    assert_int_equal(read(b, &c, 1), 1);
    assert_int_equal(c, 'x');
    assert_int_equal(write(b, "y", 1), 1);
    assert_int_equal(read(a, &c, 1), 1);
    assert_int_equal(c, 'y');
}

static void a_client_reaches_a_listener(const struct kt_addr *a)
{
    struct kt_addr bound;
    int l = kt_listen(a, &bound);
    assert_true(l >= 0);
    assert_true(fcntl(l, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(l, F_GETFD) & FD_CLOEXEC);
    int c = kt_connect_wait(&bound, 5000);
    assert_true(c >= 0);
    assert_false(fcntl(c, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(c, F_GETFD) & FD_CLOEXEC);
    int s = accept_one(l);
    bytes_go_both_ways(c, s);
    close(c);
    close(s);
    close(l);
}

static void the_kernel_chooses_a_port_and_tells_it(void **state)
{
    struct kt_addr a = addr_of("tcp:127.0.0.1:0"), bound;
    (void)state;
    int l = kt_listen(&a, &bound);
    assert_true(l >= 0);
    assert_int_equal(bound.kind, KT_ADDR_TCP);
    assert_string_equal(bound.host, "127.0.0.1");
    assert_true(bound.port != 0);
    assert_int_equal(kt_listen(&bound, NULL), -EADDRINUSE);
    close(l);
    a_client_reaches_a_listener(&a);
}

static void tcp_sockets_send_at_once_and_notice_a_dead_peer(void **state)
{
    struct kt_addr a = addr_of("tcp:127.0.0.1:0"), bound;
    (void)state;
    int l = kt_listen(&a, &bound);
    int c = kt_connect_wait(&bound, 5000);
    int s = accept_one(l);
    int fds[2] = {c, s};
    for (int i = 0; i < 2; i++) {
        int v = 0;
        socklen_t len = sizeof(v);
        assert_int_equal(getsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &v, &len),
                         0);
        assert_true(v);
        assert_int_equal(
            getsockopt(fds[i], IPPROTO_TCP, TCP_USER_TIMEOUT, &v, &len), 0);
        assert_int_equal(v, 10000);
    }
    close(s);
    close(c);
    close(l);
}

static void unix_sockets_work_the_same(void **state)
{
    struct kt_addr a = unix_addr("s");
    (void)state;
    a_client_reaches_a_listener(&a);
}

static void a_dead_socket_file_is_replaced_but_a_live_one_is_not(void **state)
{
    struct kt_addr a = unix_addr("dead");
    (void)state;
    int l = kt_listen(&a, NULL);
    assert_true(l >= 0);
    assert_int_equal(kt_listen(&a, NULL), -EADDRINUSE);
    close(l); /* the file stays, as after a SIGKILL */
    assert_int_equal(kt_connect_wait(&a, 5000), -ECONNREFUSED);
    l = kt_listen(&a, NULL);
    assert_true(l >= 0);
    close(l);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct kt_addr a = unix_addr("file");
    char *text = NULL;
    (void)state;
    assert_int_equal(kt_write_file(a.host, "precious", 0600), 0);
    assert_int_equal(kt_listen(&a, NULL), -EADDRINUSE);
    assert_int_equal(kt_read_file(a.host, 100, &text), 0);
    assert_string_equal(text, "precious");
    free(text);
}

static void a_port_nobody_listens_on_refuses(void **state)
{
    struct kt_addr a = addr_of("tcp:127.0.0.1:0"), bound;
    (void)state;
    int l = kt_listen(&a, &bound);
    close(l);
    assert_int_equal(kt_connect_wait(&bound, 5000), -ECONNREFUSED);
    /* Started without waiting, the answer comes with the socket's error. */
    int fd = kt_connect_start(&bound);
    assert_true(fd >= 0 || fd == -ECONNREFUSED);
    if (fd >= 0)
        close(fd);
    assert_int_equal(
        kt_connect_wait(
            &(struct kt_addr){.kind = KT_ADDR_UNIX, .host = "/no/such"}, 100),
        -ENOENT);
}

static void what_is_no_address_is_an_error(void **state)
{
    struct kt_addr none = {.kind = KT_ADDR_NONE};
    struct kt_addr name = {.kind = KT_ADDR_TCP, .host = "localhost"};
    struct kt_addr empty = {.kind = KT_ADDR_UNIX};
    (void)state;
    assert_int_equal(kt_listen(&none, NULL), -EINVAL);
    assert_int_equal(kt_connect_start(&name), -EINVAL);
    assert_int_equal(kt_connect_wait(&empty, 10), -EINVAL);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const left[] = {"s", "dead", "file"};
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(left); i++)
        unlink(unix_addr(left[i]).host);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernel_chooses_a_port_and_tells_it),
        cmocka_unit_test(tcp_sockets_send_at_once_and_notice_a_dead_peer),
        cmocka_unit_test(unix_sockets_work_the_same),
        cmocka_unit_test(a_dead_socket_file_is_replaced_but_a_live_one_is_not),
        cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
        cmocka_unit_test(a_port_nobody_listens_on_refuses),
        cmocka_unit_test(what_is_no_address_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
