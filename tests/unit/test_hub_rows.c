/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub's rows survive their bytes; damaged bytes do not pass. */
#include <string.h>

#include "hub/daemon/rows.h"
#include "tests/unit/unit.h"

static struct kt_id id(uint8_t n)
{
    return (struct kt_id){{n, 1, 2, 3}};
}

static struct hub_chain_row chain_row(void)
{
    struct hub_chain_row r;

    memset(&r, 0, sizeof(r));
    r.prepare = 12;
    r.given_term = 3;
    r.cfg.chain = 0x1234;
    r.cfg.volume = id(5);
    r.cfg.n_extents = 4;
    r.cfg.epoch = 11;
    r.cfg.phase = KT_PHASE_ACTIVE;
    r.cfg.vgen = 1;
    r.cfg.want_r = 3;
    r.cfg.min_write = 2;
    r.cfg.n_members = 1;
    r.cfg.members[0].store = id(9);
    r.cfg.members[0].state = KT_M_SERVING;
    r.cfg.members[0].incarnation = 3;
    return r;
}

static struct row_any round_trip(const struct hub_row *r)
{
    static struct row_bytes b;
    static struct row_any any, junk;

    row_encode(r, &b);
    assert_int_equal(row_decode(b.key, b.key_len, b.value, b.len, &any), 0);
    assert_int_equal(any.kind, r->kind);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.value[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(
            row_decode(b.key, b.key_len, b.value, b.len, &junk), 0);
        b.value[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < b.len; len++)
        assert_int_not_equal(row_decode(b.key, b.key_len, b.value, len, &junk),
                             0);
    b.key[b.key_len - 1] ^= 1; /* the value of another key */
    assert_int_not_equal(row_decode(b.key, b.key_len, b.value, b.len, &junk),
                         0);
    return any;
}

static void every_row_comes_back(void **state)
{
    (void)state;
    struct hub_cluster c = {.id = id(1),
                            .term = 2,
                            .next_chain = 3,
                            .segment_bytes = 4 << 20,
                            .mark = id(9),
                            .recovered = 8,
                            .recover = HUB_RECOVER_OLD,
                            .n_old = 2,
                            .old = {{id(10), 11}, {id(12), 13}}};
    struct row_any a =
        round_trip(&(struct hub_row){.kind = HUB_ROW_CLUSTER, .u.cluster = &c});
    assert_memory_equal(&a.cluster, &c, sizeof(c));

    struct hub_node_row n = {.store = id(3), .incarnation = 77};
    n.node.id = id(2);
    n.node.boot = id(4);
    memcpy(n.node.name, "n1", 3);
    assert_int_equal(kt_addr_parse("tcp:127.0.0.1:9721", &n.node.tcp), 0);
    a = round_trip(&(struct hub_row){.kind = HUB_ROW_NODE, .u.node = &n});
    assert_true(kt_id_eq(&a.node.node.id, &n.node.id));
    assert_string_equal(a.node.node.tcp.host, "127.0.0.1");
    assert_int_equal(a.node.node.tcp.port, 9721);
    assert_int_equal(a.node.node.unix_.kind, KT_ADDR_NONE);
    assert_int_equal(a.node.incarnation, 77);

    struct hub_volume_row v = {.id = id(6), .size = 1 << 20, .next_token = 8};
    memcpy(v.name, "vol", 4);
    v.att.token = 7;
    v.att.pid = 99;
    memcpy(v.att.node, "n2", 3);
    a = round_trip(&(struct hub_row){.kind = HUB_ROW_VOLUME, .u.volume = &v});
    assert_string_equal(a.volume.name, "vol");
    assert_int_equal(a.volume.att.token, 7);
    assert_string_equal(a.volume.att.node, "n2");

    struct hub_chain_row h = chain_row();
    a = round_trip(&(struct hub_row){.kind = HUB_ROW_CHAIN, .u.chain = &h});
    assert_int_equal(a.chain.prepare, 12);
    assert_int_equal(a.chain.given_term, 3);
    assert_int_equal(a.chain.cfg.chain, 0x1234);

    struct hub_tomb_row t = {.volume = id(6), .removed_s = 5};
    memcpy(t.name, "vol", 4);
    a = round_trip(&(struct hub_row){.kind = HUB_ROW_TOMB, .u.tomb = &t});
    assert_string_equal(a.tomb.name, "vol");
    assert_int_equal(a.tomb.removed_s, 5);
}

static void chain_keys_sort_by_number(void **state)
{
    (void)state;
    static struct row_bytes a, b;
    struct hub_chain_row r = chain_row();
    struct hub_row row = {.kind = HUB_ROW_CHAIN, .u.chain = &r};

    r.cfg.chain = 255;
    row_encode(&row, &a);
    r.cfg.chain = 256;
    row_encode(&row, &b);
    assert_true(memcmp(a.key, b.key, a.key_len) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_comes_back),
        cmocka_unit_test(chain_keys_sort_by_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
