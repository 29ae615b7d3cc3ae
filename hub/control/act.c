/* SPDX-License-Identifier: BSD-3-Clause */
/* Actions and the few texts of the core; no formatted printing here. */
#include "hub/control/internal.h"

uint32_t hub_room(const struct hub *h)
{
    return h->out->max - h->out->n;
}

struct hub_action *hub_act(struct hub *h, unsigned type)
{
    assert(h->out && h->out->n < h->out->max);
    struct hub_action *a = &h->out->act[h->out->n++];

    memset(a, 0, sizeof(*a));
    a->type = (uint8_t)type;
    a->node = HUB_NONE;
    a->volume = HUB_NONE;
    return a;
}

struct kt_msg *hub_send(struct hub *h, uint64_t conn, unsigned type)
{
    assert(conn != 0);
    struct hub_action *a = hub_act(h, HUB_ACT_SEND);

    a->conn = conn;
    a->msg.type = (uint8_t)type;
    return &a->msg;
}

void hub_release(struct hub *h, uint64_t conn, uint64_t chain,
                 const struct kt_id *volume)
{
    const struct hub_chain *c = hub_chain_of(h, chain);
    bool gone = hub_tombed(h, volume) || (c && h->volumes[c->volume].dropping);
    bool discarded = c && c->order.on && c->order.kind == HUB_ORDER_DISCARD;
    struct kt_msg *m = hub_send(h, conn, KT_MSG_RELEASE);

    KT_HOLDS(I22, gone || discarded);
    m->chain = chain;
    m->u.release.volume = *volume;
}

void hub_close(struct hub *h, uint64_t conn)
{
    hub_act(h, HUB_ACT_CLOSE)->conn = conn;
}

struct hub_action *hub_store(struct hub *h, enum hub_owner owner,
                             uint32_t index)
{
    assert(index < 1u << 17);
    struct hub_action *a = hub_act(h, HUB_ACT_STORE);

    a->txn = h->next_txn++ << 20 | (uint64_t)owner << 17 | index;
    return a;
}

struct hub_row *hub_row_add(struct hub_action *a, unsigned kind)
{
    assert(a->type == HUB_ACT_STORE && a->n_rows < HUB_ROWS_MAX);
    struct hub_row *r = &a->rows[a->n_rows++];

    r->kind = (uint8_t)kind;
    return r;
}

struct hub_action *hub_note(struct hub *h, unsigned note)
{
    struct hub_action *a = hub_act(h, HUB_ACT_NOTE);

    a->note = (uint8_t)note;
    return a;
}

struct hub_action *hub_admin_done(struct hub *h, uint64_t conn, uint64_t req,
                                  int err, enum hub_detail detail)
{
    struct hub_action *a = hub_act(h, HUB_ACT_ADMIN_DONE);

    a->conn = conn;
    a->req = req;
    a->err = err;
    a->detail = (uint8_t)detail;
    return a;
}

struct hub_text hub_text(char *buf, size_t size)
{
    assert(size > 0);
    buf[0] = '\0';
    return (struct hub_text){.p = buf, .left = size};
}

void hub_text_add(struct hub_text *t, const char *s)
{
    while (*s && t->left > 1) {
        *t->p++ = *s++;
        t->left--;
    }
    *t->p = '\0';
}

static void text_padded(struct hub_text *t, uint64_t n, unsigned width)
{
    char digits[24];
    unsigned i = sizeof(digits);

    digits[--i] = '\0';
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n || sizeof(digits) - 1 - i < width);
    hub_text_add(t, &digits[i]);
}

void hub_text_num(struct hub_text *t, uint64_t n)
{
    text_padded(t, n, 1);
}

/* UTC, as 2026-11-22 15:08:48. Days to a date: H. Hinnant's civil_from_days. */
void hub_text_time(struct hub_text *t, uint64_t epoch_s)
{
    uint64_t z = epoch_s / 86400 + 719468, s = epoch_s % 86400;
    uint64_t era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    uint64_t month = mp < 10 ? mp + 3 : mp - 9;

    text_padded(t, yoe + era * 400 + (month <= 2), 4);
    hub_text_add(t, "-");
    text_padded(t, month, 2);
    hub_text_add(t, "-");
    text_padded(t, doy - (153 * mp + 2) / 5 + 1, 2);
    hub_text_add(t, " ");
    text_padded(t, s / 3600, 2);
    hub_text_add(t, ":");
    text_padded(t, s / 60 % 60, 2);
    hub_text_add(t, ":");
    text_padded(t, s % 60, 2);
    hub_text_add(t, " UTC");
}

struct hub_text hub_error(struct hub *h, uint64_t conn, uint64_t req, int err)
{
    struct kt_msg *m = hub_send(h, conn, KT_MSG_ERROR);

    m->req = req;
    m->u.error.err = err;
    return hub_text(m->u.error.text, sizeof(m->u.error.text));
}
