/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages for the kernel's nbd driver, byte by byte. The bytes are those of
 * a little-endian machine; on another one the pinned cases are left out. */
#include <errno.h>
#include <string.h>

#include "attach/nbdnl_msg.h"
#include "lib/base/kt.h"
#include "tests/unit/unit.h"

#define FAMILY 0x1c

static const struct nbdnl_device device = {
    .index = NBDNL_NO_INDEX,
    .size_bytes = 0x8000000,
    .block_bytes = 4096,
    .dead_timeout_s = 3600,
    .server_flags = 0x16d,
    .backend = "abc",
    .n_sockets = 1,
    .sockets = {7},
};

static void is_bytes(const struct nbdnl_out *out, const uint8_t *want,
                     size_t len)
{
    const uint16_t one = 1;
    uint8_t low;
    memcpy(&low, &one, 1);
    if (!low)
        skip();
    assert_int_equal(out->len, len);
    assert_memory_equal(out->bytes, want, len);
}

static void connect_is_these_bytes(void **state)
{
    static const uint8_t want[] = {
        116, 0, 0,  0,    FAMILY, 0,    5,   0,    9, 0, 0, 0,
        0,   0, 0,  0,                                         /* header */
        1,   1, 0,  0,                                         /* CONNECT */
        12,  0, 2,  0,    0,      0,    0,   8,    0, 0, 0, 0, /* size */
        12,  0, 3,  0,    0,      16,   0,   0,    0, 0, 0, 0, /* block */
        12,  0, 5,  0,    0x6d,   1,    0,   0,    0, 0, 0, 0, /* server */
        12,  0, 6,  0,    0,      0,    0,   0,    0, 0, 0, 0, /* client */
        12,  0, 4,  0,    0,      0,    0,   0,    0, 0, 0, 0, /* timeout */
        12,  0, 8,  0,    0x10,   0x0e, 0,   0,    0, 0, 0, 0, /* dead */
        8,   0, 10, 0,    'a',    'b',  'c', 0,                /* backend */
        16,  0, 7,  0x80, 12,     0,    1,   0x80, 8, 0, 1, 0,
        7,   0, 0,  0};
    struct nbdnl_out out;
    (void)state;
    nbdnl_put_connect(&out, FAMILY, 9, &device);
    is_bytes(&out, want, sizeof(want));
}

static void reconfigure_has_sockets_and_no_size_or_timeout(void **state)
{
    static const uint8_t want[] =
        {76, 0, 0,  0,    FAMILY, 0,    5,   0,    10, 0, 0, 0, 0, 0,
         0,  0,                                                 /* header */
         3,  1, 0,  0,    8,      0,    1,   0,    2,  0, 0, 0, /* nbd2 */
         12, 0, 8,  0,    0x10,   0x0e, 0,   0,    0,  0, 0, 0, /* dead */
         8,  0, 10, 0,    'a',    'b',  'c', 0,                 /* backend */
         28, 0, 7,  0x80, 12,     0,    1,   0x80, 8,  0, 1, 0, 7, 0,
         0,  0, 12, 0,    1,      0x80, 8,   0,    1,  0, 8, 0, 0, 0};
    struct nbdnl_device d = device;
    struct nbdnl_out out;
    (void)state;
    d.index = 2;
    d.n_sockets = 2;
    d.sockets[1] = 8;
    nbdnl_put_reconfigure(&out, FAMILY, 10, &d);
    is_bytes(&out, want, sizeof(want));
}

static void disconnect_and_status_name_the_device(void **state)
{
    static const uint8_t want[] = {28, 0, 0, 0, FAMILY, 0, 5, 0, 1, 0,
                                   0,  0, 0, 0, 0,      0, 2, 1, 0, 0,
                                   8,  0, 1, 0, 5,      0, 0, 0};
    struct nbdnl_out out;
    (void)state;
    nbdnl_put_disconnect(&out, FAMILY, 1, 5);
    is_bytes(&out, want, sizeof(want));
}

static void the_largest_message_fits(void **state)
{
    char backend[NBDNL_BACKEND_BYTES];
    struct nbdnl_device d = device;
    struct nbdnl_out out;
    (void)state;
    memset(backend, 'x', sizeof(backend));
    backend[sizeof(backend) - 1] = 0;
    d.backend = backend;
    d.index = 1;
    d.n_sockets = NBDNL_SOCKETS_MAX;
    nbdnl_put_connect(&out, FAMILY, 1, &d);
    assert_true(out.len <= NBDNL_MSG_BYTES);
}

/* What a kernel of the 6.1 series said, shortened to one group. */
static const uint8_t family_reply[] = {
    72,  0,   0,   0,   16,     0,   0,   0,   1,   0,   0,   0,
    1,   2,   0,   0,                                            /* header */
    1,   2,   0,   0,   8,      0,   2,   0,   'n', 'b', 'd', 0, /* name */
    6,   0,   1,   0,   FAMILY, 0,   0,   0,                     /* id */
    36,  0,   7,   0,   32,     0,   1,   0,   8,   0,   2,   0,
    11,  0,   0,   0,   17,     0,   1,   0,   'n', 'b', 'd', '_',
    'm', 'c', '_', 'g', 'r',    'o', 'u', 'p', 0,   0,   0,   0};

static void the_family_and_its_group_are_found(void **state)
{
    struct nbdnl_in in;
    (void)state;
    assert_int_equal(nbdnl_take(family_reply, sizeof(family_reply), 0, &in),
                     sizeof(family_reply));
    assert_int_equal(in.kind, NBDNL_FAMILY);
    assert_int_equal(in.family, FAMILY);
    assert_int_equal(in.group, 11);
    assert_int_equal(in.seq, 1);
}

static void another_family_is_not_taken_for_it(void **state)
{
    uint8_t bytes[sizeof(family_reply)];
    struct nbdnl_in in;
    (void)state;
    memcpy(bytes, family_reply, sizeof(bytes));
    bytes[24] = 'm';
    assert_true(nbdnl_take(bytes, sizeof(bytes), 0, &in) > 0);
    assert_int_equal(in.kind, NBDNL_OTHER);
}

static void answers_and_events_tell_the_device(void **state)
{
    uint8_t bytes[] = {28, 0, 0, 0, FAMILY, 0, 0, 0, 3, 0, 0, 0, 0, 0,
                       0,  0, 1, 1, 0,      0, 8, 0, 1, 0, 4, 0, 0, 0};
    struct nbdnl_in in;
    (void)state;
    assert_int_equal(nbdnl_take(bytes, sizeof(bytes), FAMILY, &in), 28);
    assert_int_equal(in.kind, NBDNL_CONNECTED);
    assert_int_equal(in.index, 4);
    assert_int_equal(in.seq, 3);
    bytes[16] = 4;
    assert_int_equal(nbdnl_take(bytes, sizeof(bytes), FAMILY, &in), 28);
    assert_int_equal(in.kind, NBDNL_LINK_DEAD);
    /* A message of a family that is not ours. */
    assert_int_equal(nbdnl_take(bytes, sizeof(bytes), FAMILY + 1, &in), 28);
    assert_int_equal(in.kind, NBDNL_OTHER);
    /* Without a device it is of no use. */
    bytes[22] = 9;
    assert_int_equal(nbdnl_take(bytes, sizeof(bytes), FAMILY, &in), 28);
    assert_int_equal(in.kind, NBDNL_OTHER);
}

static void an_acknowledgement_carries_the_error(void **state)
{
    uint8_t bytes[] = {20, 0, 0, 0, 2, 0, 0,    0,    9,    0,
                       0,  0, 0, 0, 0, 0, 0xf0, 0xff, 0xff, 0xff};
    struct nbdnl_in in;
    (void)state;
    assert_int_equal(nbdnl_take(bytes, sizeof(bytes), FAMILY, &in), 20);
    assert_int_equal(in.kind, NBDNL_ACK);
    assert_int_equal(in.error, -EBUSY);
    memset(bytes + 16, 0, 4);
    assert_int_equal(nbdnl_take(bytes, sizeof(bytes), FAMILY, &in), 20);
    assert_int_equal(in.error, 0);
    bytes[16] = 1; /* no errno */
    assert_int_equal(nbdnl_take(bytes, sizeof(bytes), FAMILY, &in), -EBADMSG);
}

/* Under valgrind and the sanitizers a step beyond the end is seen. */
static void what_is_cut_short_or_flipped_does_no_harm(void **state)
{
    struct nbdnl_in in;
    (void)state;
    for (size_t n = 0; n < sizeof(family_reply); n++) {
        uint8_t *cut = test_malloc(n + 1);
        memcpy(cut, family_reply, n);
        assert_int_equal(nbdnl_take(cut, n, 0, &in), -EBADMSG);
        /* The header is content with less; the attributes are not there. */
        if (n >= 20) {
            cut[0] = (uint8_t)n;
            assert_true(nbdnl_take(cut, n, 0, &in) > 0);
        }
        test_free(cut);
    }
    for (size_t bit = 0; bit < sizeof(family_reply) * 8; bit++) {
        uint8_t *bad = test_malloc(sizeof(family_reply));
        memcpy(bad, family_reply, sizeof(family_reply));
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ssize_t r = nbdnl_take(bad, sizeof(family_reply), 0, &in);
        assert_true(r == -EBADMSG || r > 0);
        test_free(bad);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_is_these_bytes),
        cmocka_unit_test(reconfigure_has_sockets_and_no_size_or_timeout),
        cmocka_unit_test(disconnect_and_status_name_the_device),
        cmocka_unit_test(the_largest_message_fits),
        cmocka_unit_test(the_family_and_its_group_are_found),
        cmocka_unit_test(another_family_is_not_taken_for_it),
        cmocka_unit_test(answers_and_events_tell_the_device),
        cmocka_unit_test(an_acknowledgement_carries_the_error),
        cmocka_unit_test(what_is_cut_short_or_flipped_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
