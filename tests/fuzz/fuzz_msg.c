/* SPDX-License-Identifier: BSD-3-Clause */
/* libFuzzer target: one frame, as a peer might send it.
 *
 * Checksums would stop almost every mutation at the door, so they are mended
 * first; the lowest bit of the first byte says whether. Whatever the decoder
 * lets through must be encoded to the same meaning again.
 *
 * `make fuzz` builds and runs it. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/sum.h"
#include "lib/link/framer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kt_msg_room room, room_again;

static void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Sets the sums of a frame that is whole. */
static void mend(uint8_t *b, const struct kt_frame *f)
{
    uint8_t *payload = b + KT_FRAME_BYTES + f->hlen;
    uint8_t *sum = payload - 8;

    if (f->type >= KT_MSG_CONTROL) {
        uint8_t *joined = malloc(KT_FRAME_BYTES + f->plen);
        memcpy(joined, b, KT_FRAME_BYTES);
        memcpy(joined + KT_FRAME_BYTES, payload, f->plen);
        put_u64(sum, kt_sum64(joined, KT_FRAME_BYTES + f->plen));
        free(joined);
        return;
    }
    if (kt_msg_has_sums(f->type)) {
        /* The last sums of the header, for as many sectors as came. */
        uint32_t n = f->plen / KT_SECTOR_BYTES;
        for (uint32_t i = 0; i < n && 8 * (n - i) + 24 < f->hlen; i++)
            put_u64(sum - 8 * (size_t)(n - i),
                    kt_sum64(payload + i * KT_SECTOR_BYTES, KT_SECTOR_BYTES));
    } else if (f->plen > 0 && f->hlen >= 32) {
        put_u64(sum - 8, kt_sum64(payload, f->plen));
    }
    put_u64(sum, kt_sum64(b, KT_FRAME_BYTES + f->hlen - 8));
}

/* A message that was let through can be said and understood again. */
static void again(const struct kt_msg *m)
{
    static uint8_t b[KT_CONTROL_BYTES_MAX], c[KT_CONTROL_BYTES_MAX];
    struct kt_msg back;
    struct kt_frame f;
    struct kt_buf *p = NULL;

    int n = kt_msg_encode(m, b, sizeof(b));
    /* Free JSON may grow: "1e5" comes back as 100000.0. */
    if (n < 0 && m->json)
        return;
    assert(n > 0);
    int r = kt_frame_decode(b, &f);
    assert(r == 0);
    if (f.plen > 0 || kt_msg_has_sums(f.type)) {
        p = kt_buf_new(f.plen, KT_EXTENT_SECTORS);
        assert(p);
        p->data_len = f.plen;
        if (f.plen > 0)
            memcpy(p->data,
                   f.type >= KT_MSG_CONTROL ? b + KT_FRAME_BYTES + f.hlen
                                            : m->buf->data,
                   f.plen);
    }
    r = kt_msg_decode(b, &f, p, &room_again, &back);
    assert(r == 0 || m->json);
    if (r == 0) {
        int k = kt_msg_encode(&back, c, sizeof(c));
        assert(k == n && memcmp(b, c, (size_t)n) == 0);
        json_decref(back.json);
    }
    kt_buf_unref(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kt_framer framer;
    struct kt_frame f;
    struct kt_msg m;
    struct kt_buf *buf = NULL;
    size_t used = 0, at = 0;
    int r = 0;

    if (size < 1 + KT_FRAME_BYTES)
        return 0;
    size_t len = size - 1;
    uint8_t *b = malloc(len);
    memcpy(b, data + 1, len);
    if ((data[0] & 1) && kt_frame_decode(b, &f) == 0 &&
        len >= (size_t)KT_FRAME_BYTES + f.hlen + f.plen)
        mend(b, &f);

    kt_framer_init(&framer);
    framer.hello_done = !(data[0] & 2);
    /* In two pieces, so that the seams move. */
    size_t first = data[0] < len ? data[0] : len;
    while (r == 0 && at < len) {
        size_t n = at < first ? first - at : len - at;
        r = kt_framer_feed(&framer, b + at, n, &used);
        at += used;
    }
    if (r == 1) {
        r = kt_framer_take(&framer, &room, &m, &buf);
        if (r == 0)
            again(&m);
        if (r == 0)
            json_decref(m.json);
        kt_buf_unref(buf);
    }
    kt_framer_release(&framer);
    free(b);
    return 0;
}
