/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/sum.h"
#include "tests/unit/gen_msg.h"

static struct kt_msg_room room_a, room_b;

/* Decodes a whole frame that lies in memory, as the framer would. */
static int decode(const uint8_t *b, size_t len, struct kt_msg *ret_m,
                  struct kt_buf **ret_buf)
{
    struct kt_frame f;

    *ret_buf = NULL;
    if (len < KT_FRAME_BYTES)
        return KT_E_PROTO;
    int r = kt_frame_decode(b, &f);
    if (r < 0)
        return r;
    if (len != (size_t)KT_FRAME_BYTES + f.hlen + f.plen)
        return KT_E_PROTO;
    /* Exact sizes, so that the sanitizer sees a step too far. */
    uint8_t *head = malloc(KT_FRAME_BYTES + f.hlen);
    memcpy(head, b, KT_FRAME_BYTES + f.hlen);
    if (f.plen > 0 || f.hlen > 512) {
        *ret_buf = kt_buf_new(f.plen, KT_EXTENT_SECTORS);
        (*ret_buf)->data_len = f.plen;
        if (f.plen > 0)
            memcpy((*ret_buf)->data, b + KT_FRAME_BYTES + f.hlen, f.plen);
    }
    r = kt_msg_decode(head, &f, *ret_buf, &room_b, ret_m);
    free(head);
    return r;
}

/* The fields alone; what they point to is compared by encoding again. */
static void without_pointers(struct kt_msg *m)
{
    m->buf = NULL;
    m->cfg = NULL;
    if (m->type == KT_MSG_REGISTER)
        m->u.reg.chains = NULL;
    if (m->type == KT_MSG_EQ)
        m->u.eq.targets = NULL;
}

static void there_and_back(struct gen *g, uint8_t type)
{
    struct kt_msg m, back;
    struct kt_buf *buf;
    size_t len, again_len;

    gen_msg(g, type, &room_a, &m);
    uint8_t *b = gen_frame(&m, &len);
    assert_int_equal(decode(b, len, &back, &buf), 0);
    /* All sectors absent and a short header: no buffer is needed. */
    bool none = !back.buf && m.buf && m.buf->data_len == 0;
    assert_true((back.buf != NULL) == (m.buf != NULL) || none);
    assert_int_equal(back.cfg != NULL, m.cfg != NULL);

    uint8_t *again = gen_frame(&back, &again_len);
    assert_int_equal(again_len, len);
    assert_memory_equal(b, again, len);
    struct kt_buf *sent = m.buf;
    without_pointers(&m);
    without_pointers(&back);
    assert_memory_equal(&m, &back, sizeof(m));
    free(b);
    free(again);
    kt_buf_unref(buf);
    kt_buf_unref(sent);
}

static void every_message_survives_the_wire(void **state)
{
    (void)state;
    struct gen g = {42};
#ifdef __SANITIZE_ADDRESS__
    int rounds = 300;
#else
    int rounds = getenv("KT_VALGRIND") ? 20 : 10000;
#endif
    for (unsigned type = 0; type < KT_MSG_TYPE_END; type++) {
        if (!gen_knows(type))
            continue;
        for (int i = 0; i < rounds; i++)
            there_and_back(&g, (uint8_t)type);
    }
}

static void hex_of(const uint8_t *b, size_t n, char *ret)
{
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = "0123456789abcdef"[b[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[b[i] & 15];
    }
    ret[2 * n] = '\0';
}

static void the_bytes_of_a_frame_head_are_pinned(void **state)
{
    (void)state;
    struct kt_msg m = {.type = KT_MSG_PING,
                       .req = 0x0102030405060708,
                       .chain = 0x11,
                       .epoch = 0x22};
    uint8_t b[64];
    char hex[129];
    int n = kt_msg_encode(&m, b, sizeof(b));
    assert_int_equal(n, 24 + 24);
    hex_of(b, (size_t)n, hex);
    assert_string_equal(
        hex, "4b4e5431010400001800000000000000080706050403020111000000"
             "0000000022000000000000002b8b27773d5d5895");
}

/* A FWD of one sector of zeros. */
static void fwd_example(struct kt_msg *m)
{
    memset(m, 0, sizeof(*m));
    m->type = KT_MSG_FWD;
    m->req = 9;
    m->chain = 0x0a0b;
    m->epoch = 0x0c;
    m->u.rec = (struct kt_record){.chain = 0x0a0b,
                                  .id = {0x0c, 0x21},
                                  .prev = {0x0b, 0x20},
                                  .token = 0x31,
                                  .wseq = 0x32,
                                  .wstable = 0x30,
                                  .op = KT_OP_WRITE,
                                  .flags = KT_RF_FUA,
                                  .extent = 5,
                                  .off = 8192,
                                  .len = 4096};
    m->buf = kt_buf_new(4096, 1);
    memset(m->buf->data, 0, 4096);
    m->buf->data_len = 4096;
    kt_sum_sectors(m->buf->data, 4096, m->buf->sums);
}

static void the_bytes_of_a_fwd_are_pinned(void **state)
{
    (void)state;
    struct kt_msg m;
    uint8_t b[256];
    char hex[513];
    fwd_example(&m);
    int n = kt_msg_encode(&m, b, sizeof(b));
    assert_true(n > 0);
    hex_of(b, (size_t)n, hex);
    assert_string_equal(
        hex, "4b4e5431011100006c0000000010000009000000000000000b0a0000"
             "000000000c000000000000000c000000000000002100000000000000"
             "0b000000000000002000000000000000310000000000000032000000"
             "00000000300000000000000001010500000000000000002000000010"
             "00000100ba89c648e16fd7932d38e5bcce717666");
    kt_buf_unref(m.buf);
}

static void no_bit_of_a_frame_can_flip_unseen(void **state)
{
    static const uint8_t some[] = {KT_MSG_WRITE, KT_MSG_NAK, KT_MSG_ATTACH,
                                   KT_MSG_SYNC_START, KT_MSG_DIGEST};
    (void)state;
    struct gen g = {7};
    for (size_t i = 0; i < sizeof(some); i++) {
        struct kt_msg m, back;
        struct kt_buf *buf;
        size_t len;
        do {
            memset(&m, 0, sizeof(m));
            gen_msg(&g, some[i], &room_a, &m);
            if (m.buf && m.buf->n_sums > 1) {
                kt_buf_unref(m.buf);
                m.buf = NULL;
            }
        } while (some[i] == KT_MSG_NAK ? !m.cfg
                                       : !m.buf && some[i] != KT_MSG_ATTACH);
        uint8_t *b = gen_frame(&m, &len);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            b[bit / 8] ^= (uint8_t)(1 << (bit % 8));
            assert_true(decode(b, len, &back, &buf) < 0);
            kt_buf_unref(buf);
            b[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        }
        assert_int_equal(decode(b, len, &back, &buf), 0);
        kt_buf_unref(buf);
        kt_buf_unref(m.buf);
        free(b);
    }
}

static void a_damaged_payload_still_names_its_message(void **state)
{
    (void)state;
    struct gen g = {8};
    struct kt_msg m = {0}, back;
    struct kt_buf *buf;
    size_t len;
    do {
        kt_buf_unref(m.buf);
        gen_msg(&g, KT_MSG_WRITE, &room_a, &m);
    } while (!m.buf);
    uint8_t *b = gen_frame(&m, &len);
    b[len - 1] ^= 1;
    assert_int_equal(decode(b, len, &back, &buf), KT_E_BADSUM);
    assert_int_equal(back.req, m.req);
    assert_memory_equal(&back.u.write, &m.u.write, sizeof(m.u.write));
    free(b);
    kt_buf_unref(buf);
    kt_buf_unref(m.buf);
}

/* Mends the sum of a data header whose fields a test has spoiled. */
static void mend(uint8_t *b)
{
    uint32_t hlen;
    memcpy(&hlen, b + 8, 4);
    uint64_t sum = kt_sum64(b, KT_FRAME_BYTES + hlen - 8);
    memcpy(b + KT_FRAME_BYTES + hlen - 8, &sum, 8);
}

static void spoiled_headers_under_a_good_sum_are_judged(void **state)
{
    (void)state;
    struct gen g = {9};
    for (unsigned type = 1; type < KT_MSG_CONTROL; type++) {
        if (!gen_knows(type))
            continue;
        for (int round = 0; round < 300; round++) {
            struct kt_msg m, back;
            struct kt_buf *buf;
            size_t len, again_len;
            gen_msg(&g, (uint8_t)type, &room_a, &m);
            uint8_t *b = gen_frame(&m, &len);
            uint32_t hlen;
            memcpy(&hlen, b + 8, 4);
            uint32_t at = gen_below(&g, hlen - 8 < 160 ? hlen - 8 : 160);
            b[KT_FRAME_BYTES + at] = (uint8_t)gen_u64(&g);
            mend(b);
            int r = decode(b, len, &back, &buf);
            /* What is let through can be said again, to the byte. */
            if (r == 0) {
                uint8_t *again = gen_frame(&back, &again_len);
                assert_int_equal(again_len, len);
                assert_memory_equal(again, b, len);
                free(again);
            }
            free(b);
            kt_buf_unref(buf);
            kt_buf_unref(m.buf);
        }
    }
}

static void write_of_two_sectors(uint8_t **ret_b, size_t *ret_len)
{
    struct gen g = {10};
    struct kt_msg m = {.type = KT_MSG_WRITE, .chain = 1, .epoch = 1};
    m.u.write.op = KT_OP_WRITE;
    m.u.write.len = 8192;
    m.buf = gen_sectors(&g, 2, true);
    *ret_b = gen_frame(&m, ret_len);
    kt_buf_unref(m.buf);
}

enum { AT_OP = 24 + 40, AT_LEN = 24 + 50, AT_N = 24 + 54, AT_SUMS = 24 + 56 };

static void sums_and_lengths_must_agree(void **state)
{
    (void)state;
    struct kt_msg back;
    struct kt_buf *buf;
    uint8_t *b;
    size_t len;

    write_of_two_sectors(&b, &len);
    b[AT_LEN + 1] = 0x10; /* len 4096, two sums */
    mend(b);
    assert_int_equal(decode(b, len, &back, &buf), KT_E_PROTO);
    kt_buf_unref(buf);
    free(b);

    write_of_two_sectors(&b, &len);
    b[AT_N] = 1; /* one sum, sixteen bytes of sums */
    mend(b);
    assert_int_equal(decode(b, len, &back, &buf), KT_E_PROTO);
    kt_buf_unref(buf);
    free(b);

    write_of_two_sectors(&b, &len);
    memset(b + AT_SUMS, 0, 8); /* absent, but two sectors of payload */
    mend(b);
    assert_int_equal(decode(b, len, &back, &buf), KT_E_PROTO);
    kt_buf_unref(buf);
    free(b);

    write_of_two_sectors(&b, &len);
    b[AT_OP] = KT_OP_TRIM; /* with a payload */
    mend(b);
    assert_int_equal(decode(b, len, &back, &buf), KT_E_PROTO);
    kt_buf_unref(buf);
    free(b);

    write_of_two_sectors(&b, &len);
    b[AT_SUMS] ^= 1;
    mend(b);
    assert_int_equal(decode(b, len, &back, &buf), KT_E_BADSUM);
    kt_buf_unref(buf);
    free(b);
}

static void frame_heads_beyond_their_bounds_are_refused(void **state)
{
    (void)state;
    uint8_t b[KT_FRAME_BYTES] = {'K', 'N', 'T', '1', 1, KT_MSG_FWD};
    struct kt_frame f;
    static const struct {
        uint8_t type;
        uint32_t hlen, plen;
        bool good;
    } heads[] = {
        {KT_MSG_FWD, 24, 0, true},
        {KT_MSG_FWD, 23, 0, false},
        {KT_MSG_FWD, 16384, 1 << 20, true},
        {KT_MSG_FWD, 16385, 0, false},
        {KT_MSG_FWD, UINT32_MAX, 0, false},
        {KT_MSG_FWD, 24, (1 << 20) + 4096, false},
        {KT_MSG_FWD, 24, 4095, false},
        {KT_MSG_FWD, 24, UINT32_MAX, false},
        {KT_MSG_READ, 24, 4096, false},
        {KT_MSG_COPY_START, 24, 4096, false},
        {KT_MSG_EXT_SUMS, 24, 4096, false},
        {KT_MSG_HB, 8, 1 << 20, true},
        {KT_MSG_HB, 8, (1 << 20) + 1, false},
        {KT_MSG_HB, 9, 10, false},
        {KT_MSG_HB, 0, 10, false},
        {0, 24, 0, false},
        {63, 24, 0, false},
        {KT_MSG_TYPE_END, 8, 0, false},
        {255, 24, 0, false},
    };
    for (size_t i = 0; i < KT_ARRAY_LEN(heads); i++) {
        b[5] = heads[i].type;
        memcpy(b + 8, &heads[i].hlen, 4);
        memcpy(b + 12, &heads[i].plen, 4);
        assert_int_equal(kt_frame_decode(b, &f),
                         heads[i].good ? 0 : KT_E_PROTO);
    }
}

static void a_message_that_does_not_fit_is_not_written(void **state)
{
    (void)state;
    struct gen g = {11};
    static uint8_t b[KT_CONTROL_BYTES_MAX];
    for (unsigned type = 1; type < KT_MSG_TYPE_END; type++) {
        struct kt_msg m;
        if (!gen_knows(type))
            continue;
        gen_msg(&g, (uint8_t)type, &room_a, &m);
        int n = kt_msg_encode(&m, b, sizeof(b));
        assert_true(n > 0);
        for (int cap = 0; cap < n; cap += 1 + n / 50) {
            uint8_t *exact = malloc((size_t)cap + 1);
            exact[cap] = 0x5a;
            assert_int_equal(kt_msg_encode(&m, exact, (size_t)cap), -EMSGSIZE);
            assert_int_equal(exact[cap], 0x5a);
            free(exact);
        }
        kt_buf_unref(m.buf);
    }
}

/* Sends text as the JSON of a control message. */
static int decode_json(uint8_t type, const char *text, struct kt_msg *ret_m)
{
    json_t *any = json_object();
    struct kt_msg m = {.type = KT_MSG_ADMIN, .json = any};
    size_t n = strlen(text), len;
    struct kt_buf *buf;

    /* An ADMIN of a string of the same length makes the frame. */
    json_object_set_new(any, "x", json_string(""));
    uint8_t *b = gen_frame(&m, &len);
    json_decref(any);
    uint8_t *c = malloc(KT_FRAME_BYTES + 8 + n);
    memcpy(c, b, KT_FRAME_BYTES);
    free(b);
    c[5] = type;
    uint32_t plen = (uint32_t)n;
    memcpy(c + 12, &plen, 4);
    uint8_t *joined = malloc(KT_FRAME_BYTES + n);
    memcpy(joined, c, KT_FRAME_BYTES);
    memcpy(joined + KT_FRAME_BYTES, text, n);
    uint64_t sum = kt_sum64(joined, KT_FRAME_BYTES + n);
    memcpy(c + KT_FRAME_BYTES, &sum, 8);
    memcpy(c + KT_FRAME_BYTES + 8, text, n);
    int r = decode(c, KT_FRAME_BYTES + 8 + n, ret_m, &buf);
    kt_buf_unref(buf);
    free(joined);
    free(c);
    return r;
}

static void control_fields_are_checked_one_by_one(void **state)
{
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        {"{\"chain\":1,\"epoch\":2,\"err\":-3,\"text\":\"x\"}", 0},
        {"{\"chain\":1,\"epoch\":2,\"err\":-3,\"text\":\"x\",\"new\":[]}", 0},
        {"{\"chain\":1,\"epoch\":2,\"err\":-3}", KT_E_PROTO},
        {"{\"chain\":-1,\"epoch\":2,\"err\":-3,\"text\":\"x\"}", KT_E_PROTO},
        {"{\"chain\":1.5,\"epoch\":2,\"err\":-3,\"text\":\"x\"}", KT_E_PROTO},
        {"{\"chain\":\"1\",\"epoch\":2,\"err\":-3,\"text\":\"x\"}", KT_E_PROTO},
        {"{\"chain\":1,\"epoch\":9223372036854775808,\"err\":-3,"
         "\"text\":\"x\"}",
         KT_E_PROTO},
        {"{\"chain\":1,\"epoch\":2,\"err\":-3000000000,\"text\":\"x\"}",
         KT_E_PROTO},
        {"{\"chain\":1,\"epoch\":2,\"err\":-3,\"text\":null}", KT_E_PROTO},
        {"{\"chain\":1,\"chain\":1,\"epoch\":2,\"err\":-3,\"text\":\"x\"}",
         KT_E_PROTO},
        {"{\"chain\":1,\"epoch\":2,\"err\":-3,\"text\":\"a\\u0000b\"}",
         KT_E_PROTO},
        {"[]", KT_E_PROTO},
        {"{", KT_E_PROTO},
        {"{} x", KT_E_PROTO},
        {"\xff\xfe", KT_E_PROTO},
    };
    (void)state;
    struct kt_msg m;
    for (size_t i = 0; i < KT_ARRAY_LEN(cases); i++)
        assert_int_equal(decode_json(KT_MSG_ERROR, cases[i].text, &m),
                         cases[i].want);
}

static void deep_json_is_refused(void **state)
{
    (void)state;
    struct kt_msg m;
    assert_int_equal(decode_json(KT_MSG_ADMIN, "[[[[[[[[]]]]]]]]", &m), 0);
    json_decref(m.json);
    assert_int_equal(decode_json(KT_MSG_ADMIN, "[[[[[[[[[]]]]]]]]]", &m),
                     KT_E_PROTO);
    assert_int_equal(
        decode_json(KT_MSG_ADMIN, "[\"[[[[[[[[[[[[[[\\\"[[[\"]", &m), 0);
    json_decref(m.json);
    char *deep = malloc(1000001);
    memset(deep, '[', 1000000);
    deep[1000000] = '\0';
    assert_int_equal(decode_json(KT_MSG_ADMIN, deep, &m), KT_E_PROTO);
    free(deep);
}

static void admin_json_travels_whole(void **state)
{
    (void)state;
    json_t *doc = json_pack("{s:s, s:[i,i], s:{s:b}}", "op", "volume ls", "a",
                            1, 2, "deep", "yes", 1);
    struct kt_msg m = {.type = KT_MSG_ADMIN_OK, .req = 4, .json = doc};
    struct kt_msg back;
    struct kt_buf *buf;
    size_t len;
    uint8_t *b = gen_frame(&m, &len);
    assert_int_equal(decode(b, len, &back, &buf), 0);
    assert_true(json_equal(doc, back.json));
    json_decref(back.json);
    json_decref(doc);
    kt_buf_unref(buf);
    free(b);
}

static void an_answer_over_one_mib_is_refused(void **state)
{
    (void)state;
    static uint8_t b[2 * KT_CONTROL_BYTES_MAX];
    char *text = malloc(KT_PAYLOAD_BYTES_MAX + 1);
    memset(text, 'x', KT_PAYLOAD_BYTES_MAX);
    text[KT_PAYLOAD_BYTES_MAX] = '\0';
    json_t *doc = json_pack("[s]", text);
    struct kt_msg m = {.type = KT_MSG_ADMIN_OK, .json = doc};
    assert_int_equal(kt_msg_encode(&m, b, sizeof(b)), -EMSGSIZE);
    json_decref(doc);
    free(text);
}

static void a_number_beyond_63_bits_is_not_sent(void **state)
{
    (void)state;
    uint8_t b[1024];
    struct kt_msg m = {.type = KT_MSG_SEAL, .chain = 1, .epoch = 1ull << 63};
    assert_int_equal(kt_msg_encode(&m, b, sizeof(b)), -EMSGSIZE);
}

static void text_that_is_not_utf8_is_sent_as_ascii(void **state)
{
    (void)state;
    struct kt_msg m = {.type = KT_MSG_ERROR}, back;
    struct kt_buf *buf;
    size_t len;
    memcpy(m.u.error.text, "bad \xff\xfe.", 8);
    uint8_t *b = gen_frame(&m, &len);
    assert_int_equal(decode(b, len, &back, &buf), 0);
    assert_string_equal(back.u.error.text, "bad ??.");
    kt_buf_unref(buf);
    free(b);
}

static void digest_rows_survive_their_bytes(void **state)
{
    (void)state;
    struct gen g = {12};
    struct kt_digest_row a, b;
    uint8_t bytes[KT_DIGEST_ROW_BYTES];
    memset(&a, 0, sizeof(a));
    a.extent = 77;
    a.state = KT_DIGEST_F_ALLOC;
    a.id = (struct kt_rid){5, 6};
    gen_id(&g, &a.sum);
    kt_digest_row_encode(&a, bytes);
    assert_int_equal(bytes[0], 77);
    assert_int_equal(bytes[8], 5);
    assert_int_equal(bytes[16], 6);
    assert_int_equal(bytes[55], 0);
    memset(&b, 0, sizeof(b));
    kt_digest_row_decode(&b, bytes);
    assert_memory_equal(&a, &b, sizeof(a));
}

static void buffers_are_reused_and_checked(void **state)
{
    (void)state;
    struct gen g = {13};
    struct kt_buf *b = gen_sectors(&g, 8, false);
    assert_true(kt_buf_check(b));
    assert_int_equal((uintptr_t)b->data % 4096, 0);
    b->data[b->data_len - 1] ^= 1;
    assert_false(kt_buf_check(b));
    b->data[b->data_len - 1] ^= 1;
    b->data_len -= 4096;
    assert_false(kt_buf_check(b));
    b->data_len += 4096;
    assert_ptr_equal(kt_buf_ref(b), b);
    kt_buf_unref(b);
    assert_true(kt_buf_check(b));
    kt_buf_unref(b);
    kt_buf_unref(NULL);
    assert_null(kt_buf_ref(NULL));
    struct kt_buf *big = kt_buf_new(3u << 20, KT_EXTENT_SECTORS);
    assert_int_equal(big->data_cap, 3u << 20);
    for (int i = 0; i < 1024; i++)
        assert_int_equal(big->sums[i], 0);
    kt_buf_unref(big);
    struct kt_buf *none = kt_buf_new(0, 4);
    assert_null(none->data);
    kt_buf_unref(none);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_survives_the_wire),
        cmocka_unit_test(the_bytes_of_a_frame_head_are_pinned),
        cmocka_unit_test(the_bytes_of_a_fwd_are_pinned),
        cmocka_unit_test(no_bit_of_a_frame_can_flip_unseen),
        cmocka_unit_test(a_damaged_payload_still_names_its_message),
        cmocka_unit_test(spoiled_headers_under_a_good_sum_are_judged),
        cmocka_unit_test(sums_and_lengths_must_agree),
        cmocka_unit_test(frame_heads_beyond_their_bounds_are_refused),
        cmocka_unit_test(a_message_that_does_not_fit_is_not_written),
        cmocka_unit_test(control_fields_are_checked_one_by_one),
        cmocka_unit_test(deep_json_is_refused),
        cmocka_unit_test(admin_json_travels_whole),
        cmocka_unit_test(an_answer_over_one_mib_is_refused),
        cmocka_unit_test(a_number_beyond_63_bits_is_not_sent),
        cmocka_unit_test(text_that_is_not_utf8_is_sent_as_ascii),
        cmocka_unit_test(digest_rows_survive_their_bytes),
        cmocka_unit_test(buffers_are_reused_and_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
