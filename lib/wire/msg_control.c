/* SPDX-License-Identifier: BSD-3-Clause */
/* Control messages: a JSON object behind the frame head and one sum.
 *
 * Every object has "chain" and "epoch"; the other members are named as the
 * fields of struct kt_msg. ADMIN and ADMIN_OK are free JSON. The header's 8
 * bytes are the XXH3-64 of frame head and payload. */
#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/wire/msg_json.h"
#include "lib/wire/msg_priv.h"

#define HEAD_BYTES (KT_FRAME_BYTES + 8u)

/* As kt_sum64() of the two joined. */
static uint64_t joined_sum(const uint8_t head[KT_FRAME_BYTES],
                           const void *payload, size_t len)
{
    XXH3_state_t s;

    XXH3_64bits_reset(&s);
    XXH3_64bits_update(&s, head, KT_FRAME_BYTES);
    if (len > 0)
        XXH3_64bits_update(&s, payload, len);
    uint64_t h = XXH3_64bits_digest(&s);
    return h ? h : 1;
}

static void f_chains(struct kt_js *js, struct kt_msg *m,
                     struct kt_chain_report *room)
{
    json_t *a = kt_js_array(js, "chains", KT_REGISTER_CHAINS_MAX);
    if (!a)
        return;
    if (!js->w) {
        m->u.reg.n_chains = (uint32_t)json_array_size(a);
        m->u.reg.chains = room;
    }
    assert(m->u.reg.n_chains <= KT_REGISTER_CHAINS_MAX);
    for (uint32_t i = 0; i < m->u.reg.n_chains && !js->bad; i++) {
        struct kt_js in = kt_js_element(js, a, i);
        struct kt_chain_report r = {0};
        if (js->w)
            r = m->u.reg.chains[i];
        kt_js_u64(&in, "chain", &r.chain);
        kt_js_u64(&in, "promised", &r.promised);
        kt_js_u64(&in, "cfg_epoch", &r.cfg_epoch);
        kt_js_id(&in, "volume", &r.volume);
        kt_js_rid(&in, "applied", &r.applied);
        if (!js->w)
            room[i] = r;
        js->bad = js->bad || in.bad;
    }
}

static void f_register(struct kt_js *js, struct kt_msg *m,
                       struct kt_msg_room *room)
{
    kt_js_node(js, "node", &m->u.reg.node);
    kt_js_id(js, "store", &m->u.reg.store);
    kt_js_u64(js, "incarnation", &m->u.reg.incarnation);
    kt_js_u64(js, "cont_base", &m->u.reg.cont_base);
    kt_js_u64(js, "size", &m->u.reg.size);
    kt_js_u64(js, "used", &m->u.reg.used);
    kt_js_i32(js, "store_err", &m->u.reg.store_err);
    kt_js_u8(js, "insecure_links", &m->u.reg.insecure_links);
    kt_js_u8(js, "first", &m->u.reg.first);
    kt_js_u8(js, "last", &m->u.reg.last);
    kt_js_u64(js, "hub_term", &m->u.reg.hub_term);
    kt_js_id(js, "hub_mark", &m->u.reg.hub_mark);
    f_chains(js, m, room ? room->chains : NULL);
}

static void f_hb(struct kt_js *js, struct kt_msg *m)
{
    kt_js_u64(js, "size", &m->u.hb.size);
    kt_js_u64(js, "used", &m->u.hb.used);
    kt_js_i32(js, "store_err", &m->u.hb.store_err);
    kt_js_u64(js, "disk_stall_ms", &m->u.hb.disk_stall_ms);
}

static void f_seal_ok(struct kt_js *js, struct kt_msg *m)
{
    kt_js_id(js, "store", &m->u.seal_ok.store);
    kt_js_u64(js, "incarnation", &m->u.seal_ok.incarnation);
    kt_js_u64(js, "cont_base", &m->u.seal_ok.cont_base);
    kt_js_u64(js, "promised", &m->u.seal_ok.promised);
    kt_js_u64(js, "last_epoch", &m->u.seal_ok.last_epoch);
    kt_js_rid(js, "applied", &m->u.seal_ok.applied);
    kt_js_u64(js, "acked", &m->u.seal_ok.acked);
    kt_js_u64(js, "durable", &m->u.seal_ok.durable);
    kt_js_id(js, "history", &m->u.seal_ok.history);
}

static void f_eq(struct kt_js *js, struct kt_msg *m, struct kt_msg_room *room)
{
    kt_js_u64(js, "incarnation", &m->u.eq.incarnation);
    kt_js_rid(js, "applied", &m->u.eq.applied);
    json_t *a = kt_js_array(js, "targets", KT_MEMBERS_MAX);
    if (!a)
        return;
    if (!js->w) {
        m->u.eq.n = (uint8_t)json_array_size(a);
        m->u.eq.targets = room->targets;
    }
    assert(m->u.eq.n <= KT_MEMBERS_MAX);
    for (unsigned i = 0; i < m->u.eq.n && !js->bad; i++) {
        struct kt_js in = kt_js_element(js, a, i);
        struct kt_eq_target t;
        memset(&t, 0, sizeof(t));
        if (js->w)
            t = m->u.eq.targets[i];
        kt_js_id(&in, "store", &t.store);
        kt_js_u64(&in, "incarnation", &t.incarnation);
        kt_js_rid(&in, "applied", &t.applied);
        kt_js_node(&in, "node", &t.node);
        if (!js->w)
            room->targets[i] = t;
        js->bad = js->bad || in.bad;
    }
}

static void f_eq_ok(struct kt_js *js, struct kt_msg *m)
{
    kt_js_id(js, "store", &m->u.eq_ok.store);
    kt_js_u64(js, "incarnation", &m->u.eq_ok.incarnation);
    kt_js_rid(js, "applied", &m->u.eq_ok.applied);
    kt_js_i32(js, "err", &m->u.eq_ok.err);
}

static void f_sync_fin(struct kt_js *js, struct kt_msg *m)
{
    kt_js_id(js, "store", &m->u.sync_fin.store);
    kt_js_u64(js, "incarnation", &m->u.sync_fin.incarnation);
    kt_js_rid(js, "applied", &m->u.sync_fin.applied);
    kt_js_i32(js, "err", &m->u.sync_fin.err);
}

static void f_activate(struct kt_js *js, struct kt_msg *m,
                       struct kt_msg_room *room)
{
    if (js->w) {
        assert(m->cfg);
        kt_js_put_cfg(js, "cfg", m->cfg);
        return;
    }
    kt_js_get_cfg(js, "cfg", &room->cfg);
    m->cfg = &room->cfg;
}

static void f_cut(struct kt_js *js, struct kt_msg *m)
{
    json_t *a = kt_js_array(js, "cut", KT_CUT_MAX);
    if (!a)
        return;
    if (!js->w)
        m->u.attach.n_cut = (uint8_t)json_array_size(a);
    assert(m->u.attach.n_cut <= KT_CUT_MAX);
    for (unsigned i = 0; i < m->u.attach.n_cut && !js->bad; i++) {
        struct kt_js in = kt_js_element(js, a, i);
        kt_js_id(&in, "node", &m->u.attach.cut[i]);
        js->bad = js->bad || in.bad;
    }
}

static void f_attach(struct kt_js *js, struct kt_msg *m)
{
    kt_js_str(js, "volume", m->u.attach.volume, sizeof(m->u.attach.volume));
    kt_js_id(js, "volume_id", &m->u.attach.volume_id);
    kt_js_id(js, "client", &m->u.attach.client);
    kt_js_str(js, "node", m->u.attach.node, sizeof(m->u.attach.node));
    kt_js_u32(js, "pid", &m->u.attach.pid);
    kt_js_u64(js, "token", &m->u.attach.token);
    kt_js_u8(js, "steal", &m->u.attach.steal);
    f_cut(js, m);
}

static void f_attach_ok(struct kt_js *js, struct kt_msg *m)
{
    kt_js_id(js, "volume_id", &m->u.attach_ok.volume_id);
    kt_js_u64(js, "size", &m->u.attach_ok.size);
    kt_js_u64(js, "token", &m->u.attach_ok.token);
    kt_js_u64(js, "segment_bytes", &m->u.attach_ok.segment_bytes);
    kt_js_u32(js, "lease_ms", &m->u.attach_ok.lease_ms);
    kt_js_u32(js, "n_chains", &m->u.attach_ok.n_chains);
}

/* room is NULL when writing. */
static void fields(struct kt_js *js, struct kt_msg *m, struct kt_msg_room *room)
{
    kt_js_u64(js, "chain", &m->chain);
    kt_js_u64(js, "epoch", &m->epoch);
    switch (m->type) {
    case KT_MSG_REGISTER:
        f_register(js, m, room);
        break;
    case KT_MSG_REGISTER_OK:
        kt_js_id(js, "cluster", &m->u.reg_ok.cluster);
        kt_js_u64(js, "hub_term", &m->u.reg_ok.hub_term);
        kt_js_id(js, "hub_mark", &m->u.reg_ok.hub_mark);
        break;
    case KT_MSG_HB:
        f_hb(js, m);
        break;
    case KT_MSG_REPORT:
    case KT_MSG_PROBE:
    case KT_MSG_PROBE_OK:
        kt_js_node(js, "node", &m->u.report.node);
        kt_js_i32(js, "err", &m->u.report.err);
        kt_js_u64(js, "slow_ms", &m->u.report.slow_ms);
        break;
    case KT_MSG_SEAL_OK:
    case KT_MSG_SEAL_REFUSED:
        f_seal_ok(js, m);
        break;
    case KT_MSG_EQ:
        f_eq(js, m, room);
        break;
    case KT_MSG_EQ_OK:
        f_eq_ok(js, m);
        break;
    case KT_MSG_ACTIVATE:
        f_activate(js, m, room);
        break;
    case KT_MSG_SYNC_FIN:
        f_sync_fin(js, m);
        break;
    case KT_MSG_RELEASE:
        kt_js_id(js, "volume", &m->u.release.volume);
        break;
    case KT_MSG_ATTACH:
    case KT_MSG_RENEW:
    case KT_MSG_DETACH:
        f_attach(js, m);
        break;
    case KT_MSG_ATTACH_OK:
        f_attach_ok(js, m);
        break;
    case KT_MSG_ERROR:
        kt_js_i32(js, "err", &m->u.error.err);
        kt_js_str(js, "text", m->u.error.text, sizeof(m->u.error.text));
        break;
    default: /* no fields of its own */
        break;
    }
}

/* The document's text at ret; its length, or -EMSGSIZE. */
static int dump(const json_t *doc, uint8_t *ret, size_t cap)
{
    size_t len = json_dumpb(doc, (char *)ret, cap, JSON_COMPACT);
    if (len == 0 || len > cap || len > KT_PAYLOAD_BYTES_MAX)
        return -EMSGSIZE;
    return (int)len;
}

int kt_control_encode(const struct kt_msg *m, uint8_t *ret, size_t cap)
{
    bool free_form = m->type == KT_MSG_ADMIN || m->type == KT_MSG_ADMIN_OK;
    struct kt_js js = {.w = true};
    int len = -EMSGSIZE;

    if (cap < HEAD_BYTES)
        return -EMSGSIZE;
    if (free_form) {
        assert(m->json);
        len = dump(m->json, ret + HEAD_BYTES, cap - HEAD_BYTES);
    } else {
        js.o = json_object();
        js.bad = !js.o;
        /* Writing does not change what it reads from. */
        if (!js.bad)
            fields(&js, (struct kt_msg *)(uintptr_t)m, NULL);
        if (!js.bad)
            len = dump(js.o, ret + HEAD_BYTES, cap - HEAD_BYTES);
        json_decref(js.o);
    }
    if (len < 0)
        return len;
    struct kt_frame f = {
        .type = m->type,
        .flags = m->flags,
        .hlen = 8,
        .plen = (uint32_t)len,
        .req = m->req,
    };
    kt_frame_encode(&f, ret);
    struct kt_cur c = kt_cur_w(ret + KT_FRAME_BYTES, 8);
    kt_put_u64(&c, joined_sum(ret, ret + HEAD_BYTES, (size_t)len));
    return (int)HEAD_BYTES + len;
}

int kt_control_decode(const uint8_t *head, const struct kt_frame *f,
                      const struct kt_buf *payload, struct kt_msg_room *room,
                      struct kt_msg *ret_m)
{
    const uint8_t *text = f->plen > 0 ? payload->data : NULL;
    struct kt_cur end = kt_cur_r(head + KT_FRAME_BYTES, 8);

    if (kt_get_u64(&end) != joined_sum(head, text, f->plen))
        return KT_E_CORRUPT;
    if (!text)
        return KT_E_PROTO;
    json_t *doc = kt_js_parse((const char *)text, f->plen);
    if (!doc)
        return KT_E_PROTO;
    if (f->type == KT_MSG_ADMIN || f->type == KT_MSG_ADMIN_OK) {
        ret_m->json = doc;
        return 0;
    }
    struct kt_js js = {.o = doc, .bad = !json_is_object(doc)};
    if (!js.bad)
        fields(&js, ret_m, room);
    json_decref(doc);
    return js.bad ? KT_E_PROTO : 0;
}
