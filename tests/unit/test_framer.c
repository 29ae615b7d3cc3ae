/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/link/framer.h"
#include "tests/unit/gen_msg.h"

static struct kt_msg_room room_a, room_b;

static uint8_t gen_type(struct gen *g)
{
    uint32_t type;
    do
        type = gen_below(g, KT_MSG_TYPE_END);
    while (!gen_knows(type));
    return (uint8_t)type;
}

/* A stream of n random frames. */
static uint8_t *gen_stream(struct gen *g, int n, size_t *ret_len)
{
    uint8_t *all = NULL;
    size_t len = 0, one_len;

    for (int i = 0; i < n; i++) {
        struct kt_msg m;
        gen_msg(g, gen_type(g), &room_a, &m);
        uint8_t *one = gen_frame(&m, &one_len);
        all = realloc(all, len + one_len);
        memcpy(all + len, one, one_len);
        len += one_len;
        free(one);
        kt_buf_unref(m.buf);
    }
    *ret_len = len;
    return all;
}

/* Takes the ready frame and expects it to be the bytes at want. */
static size_t take_and_compare(struct kt_framer *f, const uint8_t *want)
{
    struct kt_msg m;
    struct kt_buf *buf;
    size_t len;

    assert_int_equal(kt_framer_take(f, &room_b, &m, &buf), 0);
    uint8_t *b = gen_frame(&m, &len);
    assert_memory_equal(b, want, len);
    free(b);
    kt_buf_unref(buf);
    return len;
}

/* Feeds the stream in steps of at most step bytes; returns frames seen. */
static int feed_all(const uint8_t *b, size_t len, uint32_t step, struct gen *g)
{
    struct kt_framer *f = malloc(sizeof(*f));
    size_t at = 0, start = 0;
    int frames = 0;

    kt_framer_init(f);
    f->hello_done = true;
    while (at < len) {
        size_t n = g ? 1 + gen_below(g, step) : step;
        size_t used;
        if (n > len - at)
            n = len - at;
        int r = kt_framer_feed(f, b + at, n, &used);
        assert_true(r >= 0 && used <= n && (r == 1 || used == n));
        at += used;
        if (r == 1) {
            start += take_and_compare(f, b + start);
            assert_int_equal(start, at);
            frames++;
        }
    }
    assert_int_equal(start, len);
    kt_framer_release(f);
    free(f);
    return frames;
}

static void frames_fed_byte_by_byte_come_out_whole(void **state)
{
    (void)state;
    struct gen g = {1};
    size_t len;
    uint8_t *b = gen_stream(&g, 60, &len);
    assert_int_equal(feed_all(b, len, 1, NULL), 60);
    free(b);
}

static void frames_fed_in_random_pieces_come_out_whole(void **state)
{
    (void)state;
    struct gen g = {2};
    for (uint32_t step = 2; step < 1000000; step *= 5) {
        size_t len;
        uint8_t *b = gen_stream(&g, 100, &len);
        assert_int_equal(feed_all(b, len, step, &g), 100);
        free(b);
    }
}

static void bytes_may_be_put_where_the_framer_wants_them(void **state)
{
    (void)state;
    struct gen g = {3};
    struct kt_framer f;
    size_t len, at = 0, start = 0, room;
    uint8_t *b = gen_stream(&g, 50, &len);
    kt_framer_init(&f);
    f.hello_done = true;
    while (at < len) {
        uint8_t *to = kt_framer_want(&f, &room);
        assert_true(room > 0);
        size_t n = 1 + gen_below(&g, (uint32_t)room);
        memcpy(to, b + at, n);
        at += n;
        if (kt_framer_got(&f, n) == 1)
            start += take_and_compare(&f, b + start);
    }
    assert_int_equal(start, len);
    kt_framer_release(&f);
    free(b);
}

static void no_prefix_is_a_frame(void **state)
{
    (void)state;
    struct gen g = {4};
    for (int i = 0; i < 40; i++) {
        size_t len, used;
        struct kt_framer f;
        uint8_t *b = gen_stream(&g, 1, &len);
        kt_framer_init(&f);
        f.hello_done = true;
        assert_int_equal(kt_framer_feed(&f, b, len - 1, &used), 0);
        assert_int_equal(used, len - 1);
        assert_int_equal(kt_framer_feed(&f, b + used, 1, &used), 1);
        struct kt_msg m;
        struct kt_buf *buf;
        assert_int_equal(kt_framer_take(&f, &room_b, &m, &buf), 0);
        kt_buf_unref(buf);
        /* Half of the next one is left behind. */
        assert_int_equal(kt_framer_feed(&f, b, len / 2, &used), 0);
        kt_framer_release(&f);
        free(b);
    }
}

static void before_the_handshake_frames_are_small(void **state)
{
    (void)state;
    struct kt_framer f;
    struct kt_frame head = {.type = KT_MSG_HB, .hlen = 8, .plen = 4088};
    uint8_t b[KT_FRAME_BYTES] = {'K', 'N', 'T', '1', 1, KT_MSG_HB};
    size_t used;
    memcpy(b + 8, &head.hlen, 4);
    memcpy(b + 12, &head.plen, 4);
    kt_framer_init(&f);
    assert_int_equal(kt_framer_feed(&f, b, sizeof(b), &used), 0);
    kt_framer_release(&f);
    head.plen++;
    memcpy(b + 12, &head.plen, 4);
    kt_framer_init(&f);
    assert_int_equal(kt_framer_feed(&f, b, sizeof(b), &used), KT_E_PROTO);
    assert_null(f.buf);
    kt_framer_init(&f);
    f.hello_done = true;
    assert_int_equal(kt_framer_feed(&f, b, sizeof(b), &used), 0);
    kt_framer_release(&f);
}

static void a_broken_stream_stays_broken(void **state)
{
    (void)state;
    struct kt_framer f;
    struct gen g = {5};
    struct kt_msg m;
    struct kt_buf *buf;
    uint8_t junk[64] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    size_t used, len, room;
    kt_framer_init(&f);
    assert_int_equal(kt_framer_feed(&f, junk, sizeof(junk), &used), KT_E_PROTO);
    assert_int_equal(used, KT_FRAME_BYTES);
    assert_null(kt_framer_want(&f, &room));
    assert_int_equal(room, 0);
    assert_int_equal(kt_framer_feed(&f, junk, sizeof(junk), &used), KT_E_PROTO);
    assert_int_equal(used, 0);
    kt_framer_release(&f);

    gen_msg(&g, KT_MSG_PING, &room_a, &m);
    uint8_t *b = gen_frame(&m, &len);
    b[len - 1] ^= 1;
    kt_framer_init(&f);
    assert_int_equal(kt_framer_feed(&f, b, len, &used), 1);
    assert_int_equal(kt_framer_take(&f, &room_b, &m, &buf), KT_E_CORRUPT);
    kt_buf_unref(buf);
    assert_int_equal(kt_framer_feed(&f, b, len, &used), KT_E_CORRUPT);
    kt_framer_release(&f);
    free(b);
}

static void after_a_damaged_payload_the_stream_goes_on(void **state)
{
    (void)state;
    struct kt_framer f;
    struct gen g = {6};
    struct kt_msg m = {.type = KT_MSG_DATA, .req = 77}, back;
    struct kt_buf *buf;
    size_t used, len;
    m.u.data.len = 8192;
    m.buf = gen_sectors(&g, 2, true);
    uint8_t *b = gen_frame(&m, &len);
    kt_framer_init(&f);
    f.hello_done = true;
    b[len - 1] ^= 1;
    assert_int_equal(kt_framer_feed(&f, b, len, &used), 1);
    assert_int_equal(kt_framer_take(&f, &room_b, &back, &buf), KT_E_BADSUM);
    assert_int_equal(back.req, 77);
    kt_buf_unref(buf);
    b[len - 1] ^= 1;
    assert_int_equal(kt_framer_feed(&f, b, len, &used), 1);
    assert_int_equal(kt_framer_take(&f, &room_b, &back, &buf), 0);
    assert_ptr_equal(back.buf, buf);
    assert_memory_equal(buf->data, m.buf->data, 8192);
    kt_buf_unref(buf);
    kt_buf_unref(m.buf);
    kt_framer_release(&f);
    free(b);
}

static void data_of_absent_sectors_comes_with_its_sums(void **state)
{
    (void)state;
    struct kt_framer f;
    struct kt_msg m = {.type = KT_MSG_DATA}, back;
    struct kt_buf *buf;
    size_t used, len;
    m.u.data.len = 4096;
    /* No buffer at all: everything is absent. */
    uint8_t *b = gen_frame(&m, &len);
    kt_framer_init(&f);
    f.hello_done = true;
    assert_int_equal(kt_framer_feed(&f, b, len, &used), 1);
    assert_int_equal(kt_framer_take(&f, &room_b, &back, &buf), 0);
    assert_non_null(back.buf);
    assert_int_equal(back.buf->n_sums, 1);
    assert_int_equal(back.buf->sums[0], 0);
    assert_int_equal(back.buf->data_len, 0);
    kt_buf_unref(buf);
    kt_framer_release(&f);
    free(b);
}

static void random_bytes_never_make_a_message(void **state)
{
    (void)state;
    struct gen g = {7};
    size_t used;
    uint8_t b[512];
    for (int i = 0; i < 20000; i++) {
        struct kt_framer f;
        kt_framer_init(&f);
        f.hello_done = true;
        for (size_t k = 0; k < sizeof(b); k++)
            b[k] = (uint8_t)gen_u64(&g);
        if (i % 2) {
            static const uint8_t start[] = {'K', 'N', 'T', '1', 1};
            memcpy(b, start, sizeof(start));
            memset(b + 9, 0, 3); /* a header that ends in these bytes */
            memset(b + 12, 0, 4);
        }
        if (kt_framer_feed(&f, b, sizeof(b), &used) == 1) {
            struct kt_msg m;
            struct kt_buf *buf;
            assert_true(kt_framer_take(&f, &room_b, &m, &buf) < 0);
            kt_buf_unref(buf);
        }
        kt_framer_release(&f);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_fed_byte_by_byte_come_out_whole),
        cmocka_unit_test(frames_fed_in_random_pieces_come_out_whole),
        cmocka_unit_test(bytes_may_be_put_where_the_framer_wants_them),
        cmocka_unit_test(no_prefix_is_a_frame),
        cmocka_unit_test(before_the_handshake_frames_are_small),
        cmocka_unit_test(a_broken_stream_stays_broken),
        cmocka_unit_test(after_a_damaged_payload_the_stream_goes_on),
        cmocka_unit_test(data_of_absent_sectors_comes_with_its_sums),
        cmocka_unit_test(random_bytes_never_make_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
