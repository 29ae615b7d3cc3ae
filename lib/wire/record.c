/* SPDX-License-Identifier: BSD-3-Clause */
/* What may stand in a record. Pure. */
#include "lib/wire/record.h"

static const char *flags_invalid(const struct kt_record *r)
{
    bool history = r->op < KT_OP_COPY_START;

    if (r->flags & ~(KT_RF_FUA | KT_RF_SKIP | KT_RF_NO_HOLE | KT_RF_ALLOC))
        return "the record has unknown flags";
    if ((r->flags & KT_RF_SKIP) && !history)
        return "SKIP is only for steps of the history";
    if ((r->flags & KT_RF_NO_HOLE) && r->op != KT_OP_ZERO)
        return "NO_HOLE is only for ZERO";
    if ((r->flags & KT_RF_ALLOC) && r->op != KT_OP_BASE_END)
        return "ALLOC is only for BASE_END";
    return NULL;
}

/* The bits of keep beyond the record's own sectors must be clear. */
static const char *keep_invalid(const struct kt_record *r)
{
    uint32_t sectors = r->len / KT_SECTOR_BYTES;

    for (uint32_t i = 0; i < KT_ARRAY_LEN(r->keep); i++) {
        uint32_t here = sectors > 64 * i ? sectors - 64 * i : 0;
        if (here < 64 && (r->keep[i] >> here) != 0)
            return "keep names sectors outside the record";
    }
    return NULL;
}

const char *kt_record_invalid(const struct kt_record *r, uint32_t n_extents)
{
    bool bulk = false; /* has, or had, a payload */
    bool empty = false;

    switch (r->op) {
    case KT_OP_WRITE:
    case KT_OP_BASE:
        bulk = true;
        break;
    case KT_OP_ZERO:
    case KT_OP_TRIM:
        break;
    case KT_OP_COPY_START:
    case KT_OP_BASE_END:
    case KT_OP_RESET:
        empty = true;
        break;
    default:
        return "the record's operation is unknown";
    }
    const char *why = flags_invalid(r);
    if (why)
        return why;
    if (r->extent >= n_extents && r->op != KT_OP_RESET)
        return "the extent is outside the chain";
    if (r->off % KT_SECTOR_BYTES || r->len % KT_SECTOR_BYTES)
        return "offset or length is not whole sectors";
    if (r->off > KT_EXTENT_BYTES || r->len > KT_EXTENT_BYTES - r->off)
        return "the range leaves its extent";
    if (r->len == 0 && !empty)
        return "the range is empty";
    if (bulk && r->len > KT_RECORD_BYTES_MAX)
        return "the payload is larger than 1 MiB";
    return r->op == KT_OP_BASE ? keep_invalid(r) : NULL;
}
