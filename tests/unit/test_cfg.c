/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/sum.h"
#include "lib/wire/cfg.h"
#include "tests/unit/gen_msg.h"

/* Small, with every kind of field. */
static void example(struct kt_cfg *c)
{
    memset(c, 0, sizeof(*c));
    c->chain = 7;
    memset(c->volume.b, 0x11, 16);
    c->seg = 2;
    c->first_extent = 8192;
    c->n_extents = 4096;
    c->epoch = 0x0102;
    c->phase = KT_PHASE_ACTIVE;
    memset(c->history.b, 0x22, 16);
    c->vgen = 3;
    memset(c->client.b, 0x33, 16);
    c->token = 5;
    c->next_token = 0x0a09;
    c->want_r = 3;
    c->min_write = 2;
    c->n_members = 1;
    memset(c->members[0].store.b, 0x44, 16);
    c->members[0].incarnation = 6;
    c->members[0].state = KT_M_SERVING;
    memset(c->members[0].node.id.b, 0x55, 16);
    memset(c->members[0].node.boot.b, 0x66, 16);
    strncpy(c->members[0].node.name, "n1", 3);
    c->members[0].node.tcp.kind = KT_ADDR_TCP;
    c->members[0].node.tcp.port = 9721;
    strncpy(c->members[0].node.tcp.host, "::1", 4);
    c->last_epoch = 0x0101;
    c->base_seq = 0x0908;
    c->n_last = 1;
    memset(c->last[0].store.b, 0x44, 16);
    c->last[0].incarnation = 6;
}

/* As version 1 had it: without next_token. */
static const char pinned_1[] =
    "4b43463101020302000001010700000000000000111111111111111111111111"
    "1111111102000000001000000020000000000000020100000000000022222222"
    "2222222222222222222222220300000000000000333333333333333333333333"
    "3333333305000000000000000000000001010000000000000809000000000000"
    "4444444444444444444444444444444406000000000000000355555555555555"
    "55555555555555555566666666666666666666666666666666026e3101f92503"
    "3a3a3100000000444444444444444444444444444444440600000000000000e2"
    "36177ffe29f400";

static const char pinned[] =
    "4b43463102020302000001010700000000000000111111111111111111111111"
    "1111111102000000001000000020000000000000020100000000000022222222"
    "2222222222222222222222220300000000000000333333333333333333333333"
    "3333333305000000000000000000000001010000000000000809000000000000"
    "090a000000000000444444444444444444444444444444440600000000000000"
    "0355555555555555555555555555555555666666666666666666666666666666"
    "66026e3101f925033a3a31000000004444444444444444444444444444444406"
    "000000000000002c84ae56c47f58a5";

static void hex_of(const uint8_t *b, size_t n, char *ret)
{
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = "0123456789abcdef"[b[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[b[i] & 15];
    }
    ret[2 * n] = '\0';
}

static void the_bytes_are_pinned(void **state)
{
    (void)state;
    struct kt_cfg c;
    uint8_t b[KT_CFG_BYTES_MAX];
    char hex[2 * KT_CFG_BYTES_MAX + 1];
    example(&c);
    size_t n = kt_cfg_encode(&c, b);
    hex_of(b, n, hex);
    assert_string_equal(hex, pinned);
}

static void version_1_is_read_too(void **state)
{
    (void)state;
    struct kt_cfg c, d;
    uint8_t b[KT_CFG_BYTES_MAX];
    size_t n = (sizeof(pinned_1) - 1) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned x;
        assert_int_equal(sscanf(pinned_1 + 2 * i, "%2x", &x), 1);
        b[i] = (uint8_t)x;
    }
    memset(&d, 0, sizeof(d));
    assert_int_equal(kt_cfg_decode(b, n, &d), 0);
    example(&c);
    c.next_token = 0;
    assert_memory_equal(&c, &d, sizeof(c));
    b[4] = 3;
    assert_int_equal(kt_cfg_decode(b, n, &d), KT_E_CORRUPT);
}

static void random_configurations_survive_the_codec(void **state)
{
    (void)state;
    struct gen g = {1};
    static struct kt_cfg c, d;
    uint8_t b[KT_CFG_BYTES_MAX];
    for (int i = 0; i < 10000; i++) {
        gen_cfg(&g, &c);
        size_t n = kt_cfg_encode(&c, b);
        memset(&d, 0, sizeof(d));
        assert_int_equal(kt_cfg_decode(b, n, &d), 0);
        assert_memory_equal(&c, &d, sizeof(c));
    }
}

static void the_largest_configuration_fits(void **state)
{
    (void)state;
    struct gen g = {2};
    static struct kt_cfg c, d;
    uint8_t b[KT_CFG_BYTES_MAX];
    do
        gen_cfg(&g, &c);
    while (c.n_members < KT_MEMBERS_MAX || c.n_last < KT_MEMBERS_MAX);
    for (int i = 0; i < KT_MEMBERS_MAX; i++) {
        struct kt_node *n = &c.members[i].node;
        memset(n->name, 'n', KT_NAME_MAX);
        n->name[KT_NAME_MAX] = '\0';
        n->tcp.kind = KT_ADDR_TCP;
        memset(n->tcp.host, '1', sizeof(n->tcp.host) - 1);
        n->unix_.kind = KT_ADDR_UNIX;
        memset(n->unix_.host, '/', sizeof(n->unix_.host) - 1);
    }
    size_t n = kt_cfg_encode(&c, b);
    assert_true(n < 3000);
    assert_int_equal(kt_cfg_decode(b, n, &d), 0);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    static struct kt_cfg c, d, before;
    uint8_t b[KT_CFG_BYTES_MAX];
    example(&c);
    size_t n = kt_cfg_encode(&c, b);
    memset(&d, 0xa5, sizeof(d));
    before = d;
    for (size_t bit = 0; bit < 8 * n; bit++) {
        b[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_true(kt_cfg_decode(b, n, &d) < 0);
        b[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    assert_memory_equal(&d, &before, sizeof(d));
}

/* With the sum mended, what is accepted must still be valid. */
static void every_byte_changed_under_a_good_sum_is_judged(void **state)
{
    (void)state;
    static struct kt_cfg c, d;
    uint8_t b[KT_CFG_BYTES_MAX], again[KT_CFG_BYTES_MAX];
    struct gen g = {3};
    for (int round = 0; round < 20; round++) {
        gen_cfg(&g, &c);
        size_t n = kt_cfg_encode(&c, b);
        for (size_t i = 0; i < n - 8; i++) {
            uint8_t old = b[i];
            b[i] = (uint8_t)gen_u64(&g);
            uint64_t sum = kt_sum64(b, n - 8);
            memcpy(b + n - 8, &sum, 8);
            if (kt_cfg_decode(b, n, &d) == 0) {
                assert_null(kt_cfg_invalid(&d));
                kt_cfg_encode(&d, again);
            }
            b[i] = old;
        }
    }
}

static void every_prefix_and_a_longer_text_are_refused(void **state)
{
    (void)state;
    static struct kt_cfg c, d;
    uint8_t b[KT_CFG_BYTES_MAX] = {0};
    example(&c);
    size_t n = kt_cfg_encode(&c, b);
    for (size_t i = 0; i < n; i++) {
        uint8_t *exact = malloc(i ? i : 1);
        memcpy(exact, b, i);
        assert_true(kt_cfg_decode(exact, i, &d) < 0);
        free(exact);
    }
    uint64_t sum = kt_sum64(b, n);
    memcpy(b + n, &sum, 8);
    assert_int_equal(kt_cfg_decode(b, n + 8, &d), KT_E_PROTO);
}

static void refuse(void (*spoil)(struct kt_cfg *c))
{
    static struct kt_cfg c;
    struct gen g = {4};
    do
        gen_cfg(&g, &c);
    while (c.n_members != 3 || kt_cfg_serving(&c) != 2 || c.n_last < 2 ||
           c.phase != KT_PHASE_ACTIVE || kt_id_is_zero(&c.client));
    assert_null(kt_cfg_invalid(&c));
    spoil(&c);
    assert_non_null(kt_cfg_invalid(&c));
}

#define SPOIL(name, what)                                                      \
    static void name(struct kt_cfg *c)                                         \
    {                                                                          \
        what;                                                                  \
    }
SPOIL(no_chain, c->chain = 0)
SPOIL(no_volume, memset(&c->volume, 0, 16))
SPOIL(no_epoch, c->epoch = 0)
SPOIL(no_extents, c->n_extents = 0)
SPOIL(many_extents, c->n_extents = KT_SEGMENT_EXTENTS_MAX + 1)
SPOIL(far_extent, c->first_extent = UINT64_MAX - 1)
SPOIL(bad_phase, c->phase = 3)
SPOIL(no_want, c->want_r = 0)
SPOIL(much_min_write, c->min_write = (uint8_t)(c->want_r + 1))
SPOIL(no_min_write, c->min_write = 0)
SPOIL(bad_durability, c->durability = 2)
SPOIL(bad_mode, c->mode = 2)
SPOIL(no_members, c->n_members = 0)
SPOIL(many_members, c->n_members = KT_MEMBERS_MAX + 1)
SPOIL(bad_state, c->members[2].state = 9)
SPOIL(serving_late, c->members[0].state = KT_M_OFFLINE)
SPOIL(syncing_early, c->members[0].state = KT_M_SYNCING)
SPOIL(two_syncing, c->members[1].state = c->members[2].state = KT_M_SYNCING)
SPOIL(none_serving, c->members[0].state = c->members[1].state = KT_M_OFFLINE)
SPOIL(store_twice, c->members[2].store = c->members[0].store)
SPOIL(no_store, memset(&c->members[1].store, 0, 16))
SPOIL(bad_name, memcpy(c->members[1].node.name, "a/b", 4))
SPOIL(bad_kind, c->members[1].node.tcp.kind = KT_ADDR_UNIX)
SPOIL(last_newer, c->last_epoch = c->epoch + 1)
SPOIL(last_twice, c->last[1].store = c->last[0].store)
SPOIL(many_last, c->n_last = KT_MEMBERS_MAX + 1)
SPOIL(no_token, c->token = 0)

static void impossible_configurations_are_refused_with_a_reason(void **state)
{
    static void (*const spoils[])(struct kt_cfg *) = {
        no_chain,       no_volume,    no_epoch,       no_extents,
        many_extents,   far_extent,   bad_phase,      no_want,
        much_min_write, no_min_write, bad_durability, bad_mode,
        no_members,     many_members, bad_state,      serving_late,
        syncing_early,  two_syncing,  none_serving,   store_twice,
        no_store,       bad_name,     bad_kind,       last_newer,
        last_twice,     many_last,    no_token,
    };
    (void)state;
    for (size_t i = 0; i < KT_ARRAY_LEN(spoils); i++)
        refuse(spoils[i]);
}

static void members_are_found(void **state)
{
    (void)state;
    static struct kt_cfg c;
    struct kt_id other;
    struct gen g = {5};
    do
        gen_cfg(&g, &c);
    while (kt_cfg_syncing(&c) != 2);
    assert_int_equal(kt_cfg_serving(&c), 2);
    assert_int_equal(kt_cfg_find(&c, &c.members[2].store), 2);
    gen_id(&g, &other);
    assert_int_equal(kt_cfg_find(&c, &other), -1);
    assert_string_equal(kt_member_state_name(KT_M_SERVING), "serving");
    assert_string_equal(kt_member_state_name(KT_M_RELEASED), "released");
    assert_string_equal(kt_member_state_name(0), "?");
    assert_string_equal(kt_member_state_name(9), "?");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_pinned),
        cmocka_unit_test(version_1_is_read_too),
        cmocka_unit_test(random_configurations_survive_the_codec),
        cmocka_unit_test(the_largest_configuration_fits),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_byte_changed_under_a_good_sum_is_judged),
        cmocka_unit_test(every_prefix_and_a_longer_text_are_refused),
        cmocka_unit_test(impossible_configurations_are_refused_with_a_reason),
        cmocka_unit_test(members_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
