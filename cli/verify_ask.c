/* SPDX-License-Identifier: BSD-3-Clause */
/* Asking the members of a chain for the digests of their extents. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/reach.h"
#include "cli/verify.h"

#define MEMBER_MS 20000u

static int connect_one(struct verify_member *m, const json_t *addresses,
                       const struct kt_id *cluster, char *ret_why, size_t size)
{
    char why[300];
    struct kt_msg hello;

    cli_hello(&hello, cluster);
    hello.u.hello.cls = KT_CLASS_DATA;
    int err = cli_reach(addresses, &m->store, &hello, CLI_CONNECT_MS, &m->rpc,
                        why, sizeof(why));
    if (err == -EAGAIN)
        snprintf(ret_why, size,
                 "the replica on %s cannot be asked (%s): \"kenter status\" "
                 "tells whether the node is up.",
                 m->node, why);
    return err;
}

int verify_connect(struct verify_chain *vc, const json_t *ch,
                   const struct kt_id *cluster, char *ret_why, size_t size)
{
    const json_t *v;
    size_t i;
    int r = 0;

    memset(vc, 0, sizeof(*vc));
    vc->chain = cli_js_uint(ch, "id");
    vc->epoch = cli_js_uint(ch, "epoch");
    vc->first_extent = cli_js_uint(ch, "first_extent");
    vc->extents = (uint32_t)cli_js_uint(ch, "extents");
    if (vc->extents > KT_SEGMENT_EXTENTS_MAX) {
        snprintf(ret_why, size,
                 "the hub's answer makes no sense: chain %llu "
                 "has %u extents.",
                 (unsigned long long)vc->chain, vc->extents);
        return KT_E_PROTO;
    }
    json_array_foreach(json_object_get(ch, "members"), i, v)
    {
        if (strcmp(cli_js_text(v, "state"), "serving") != 0 ||
            vc->n == KT_MEMBERS_MAX)
            continue;
        struct verify_member *m = &vc->m[vc->n++];
        snprintf(m->node, sizeof(m->node), "%s", cli_js_text(v, "node"));
        if (kt_id_parse(cli_js_text(v, "store"), &m->store) < 0)
            memset(&m->store, 0, sizeof(m->store));
        r = connect_one(m, json_object_get(v, "addresses"), cluster, ret_why,
                        size);
        if (r < 0)
            return r;
    }
    return 0;
}

void verify_disconnect(struct verify_chain *vc)
{
    for (unsigned i = 0; i < vc->n; i++) {
        if (vc->m[i].rpc)
            kt_rpc_close(vc->m[i].rpc);
        free(vc->m[i].rpc);
        vc->m[i].rpc = NULL;
    }
    vc->n = 0;
}

static int send_get(const struct verify_chain *vc, struct verify_member *m,
                    uint32_t first, uint32_t count)
{
    struct kt_msg get = {.type = KT_MSG_DIGEST_GET,
                         .req = first + 1ull,
                         .chain = vc->chain,
                         .epoch = vc->epoch};

    get.u.digest.first = first;
    get.u.digest.count = count;
    return kt_rpc_send(m->rpc, &get);
}

/* Puts the rows of one page in their places. *ret_next is where to go on. */
static int take_page(const struct kt_msg *page, uint32_t lo, uint32_t hi,
                     struct kt_digest_row *rows, uint32_t *ret_next)
{
    uint32_t bytes = page->buf ? page->buf->data_len : 0;
    struct kt_digest_row row;

    for (uint32_t at = 0; at + KT_DIGEST_ROW_BYTES <= bytes;
         at += KT_DIGEST_ROW_BYTES) {
        kt_digest_row_decode(&row, page->buf->data + at);
        if (row.extent >= lo && row.extent < hi)
            rows[row.extent - lo] = row;
    }
    if (page->u.digest.first <= *ret_next)
        return KT_E_PROTO; /* it would ask the same for ever */
    *ret_next = page->u.digest.first;
    return 0;
}

/* Collects the answers of one member, asking on while pages are missing. */
static int collect(const struct verify_chain *vc, struct verify_member *m,
                   uint32_t lo, uint32_t hi, struct kt_digest_row *rows)
{
    uint32_t next = lo;
    struct kt_msg page;

    for (;;) {
        int r = kt_rpc_recv(m->rpc, MEMBER_MS, &page);
        if (r < 0)
            return r;
        if (page.req != next + 1ull)
            continue;
        if (page.type == KT_MSG_NAK)
            return page.u.nak.err < 0 ? page.u.nak.err : KT_E_PROTO;
        if (page.type != KT_MSG_DIGEST)
            continue;
        r = take_page(&page, lo, hi, rows, &next);
        if (r < 0 || next >= hi)
            return r;
        r = send_get(vc, m, next, hi - next);
        if (r < 0)
            return r;
    }
}

int verify_ask(struct verify_chain *vc, uint32_t lo, uint32_t n,
               struct kt_digest_row *ret_rows, char *ret_why, size_t size)
{
    int r = 0;
    unsigned i;

    assert(n > 0 && n <= VERIFY_WINDOW);
    memset(ret_rows, 0, sizeof(*ret_rows) * vc->n * VERIFY_WINDOW);
    /* All are asked before the first is heard: the closer the moments, the
     * fewer extents look busy. */
    for (i = 0; i < vc->n && r == 0; i++)
        r = send_get(vc, &vc->m[i], lo, n);
    if (r < 0)
        i--;
    for (unsigned k = 0; k < vc->n && r == 0; k++) {
        i = k;
        r = collect(vc, &vc->m[k], lo, lo + n, &ret_rows[k * VERIFY_WINDOW]);
    }
    if (r == 0)
        return 0;
    snprintf(ret_why, size, "the replica on %s did not answer: %s.",
             vc->m[i].node, kt_strerror(r));
    /* A chain that is being reconfigured, a node that just went. */
    if (kt_err_class(r) == KT_MOVED || kt_err_class(r) == KT_RETRY ||
        r == -ECONNRESET || r == -EPIPE)
        return -EAGAIN;
    return r;
}
