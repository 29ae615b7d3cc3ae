/* SPDX-License-Identifier: BSD-3-Clause */
/* Payload buffers and the small stock of freed ones.
 *
 * Sizes are rounded up to a few classes, so that a freed buffer fits the next
 * frame. Counting is the owner's, but owners live on several threads (the
 * nbdkit plugin's workers), so the stock has a lock. */
#include "lib/wire/buf.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/sum.h"

#if defined(__SANITIZE_ADDRESS__)
#define STOCK_BYTES_MAX 0u /* let the sanitizer see every free */
#else
#define STOCK_BYTES_MAX (32u << 20)
#endif

static const uint32_t data_classes[] = {0,         4096,       16u << 10,
                                        64u << 10, 256u << 10, 1u << 20};
static const uint32_t sum_classes[] = {0, 16, 256, KT_EXTENT_SECTORS};

#define N_DATA KT_ARRAY_LEN(data_classes)
#define N_SUMS KT_ARRAY_LEN(sum_classes)

struct full_buf {
    struct kt_buf buf;
    struct full_buf *next; /* in the stock */
    uint8_t data_class, sum_class;
    uint64_t sums[];
};

static struct {
    pthread_mutex_t lock;
    uint32_t bytes;
    struct full_buf *first[N_DATA][N_SUMS];
} stock = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The smallest class that holds want; n when none does. */
static uint8_t class_of(const uint32_t *classes, size_t n, uint32_t want)
{
    uint8_t i = 0;
    while (i < n && classes[i] < want)
        i++;
    return i;
}

static uint32_t class_bytes(uint8_t data_class, uint8_t sum_class)
{
    return data_classes[data_class] + 8 * sum_classes[sum_class] +
           (uint32_t)sizeof(struct full_buf);
}

static struct full_buf *stock_take(uint8_t data_class, uint8_t sum_class)
{
    pthread_mutex_lock(&stock.lock);
    struct full_buf *b = stock.first[data_class][sum_class];
    if (b) {
        stock.first[data_class][sum_class] = b->next;
        stock.bytes -= class_bytes(data_class, sum_class);
    }
    pthread_mutex_unlock(&stock.lock);
    return b;
}

static bool stock_put(struct full_buf *b)
{
    if (b->data_class >= N_DATA)
        return false;
    uint32_t bytes = class_bytes(b->data_class, b->sum_class);
    pthread_mutex_lock(&stock.lock);
    bool fits = stock.bytes + bytes <= STOCK_BYTES_MAX;
    if (fits) {
        b->next = stock.first[b->data_class][b->sum_class];
        stock.first[b->data_class][b->sum_class] = b;
        stock.bytes += bytes;
    }
    pthread_mutex_unlock(&stock.lock);
    return fits;
}

/* At exit, or when a plugin that links this is unloaded: nothing would point
 * at the stock any more. */
__attribute__((destructor)) static void stock_empty(void)
{
    for (size_t i = 0; i < N_DATA * N_SUMS; i++) {
        struct full_buf **first = &stock.first[i / N_SUMS][i % N_SUMS];
        while (*first) {
            struct full_buf *b = *first;
            *first = b->next;
            free(b->buf.data);
            free(b);
        }
    }
    stock.bytes = 0;
}

static struct full_buf *fresh(uint8_t data_class, uint8_t sum_class,
                              uint32_t data_bytes)
{
    struct full_buf *b =
        malloc(sizeof(*b) + sizeof(uint64_t) * sum_classes[sum_class]);
    if (!b)
        return NULL;
    void *data = NULL;
    if (data_bytes > 0 &&
        posix_memalign(&data, KT_SECTOR_BYTES, data_bytes) != 0) {
        free(b);
        return NULL;
    }
    b->buf.data = data;
    b->data_class = data_class;
    b->sum_class = sum_class;
    return b;
}

struct kt_buf *kt_buf_new(uint32_t data_cap, uint32_t n_sums)
{
    assert(n_sums <= KT_EXTENT_SECTORS);
    uint8_t data_class = class_of(data_classes, N_DATA, data_cap);
    uint8_t sum_class = class_of(sum_classes, N_SUMS, n_sums);
    struct full_buf *b = NULL;

    if (data_class < N_DATA)
        b = stock_take(data_class, sum_class);
    if (!b)
        b = fresh(data_class, sum_class,
                  data_class < N_DATA ? data_classes[data_class] : data_cap);
    if (!b)
        return NULL;
    b->next = NULL;
    b->buf.refs = 1;
    b->buf.data_len = 0;
    b->buf.data_cap = data_cap;
    b->buf.n_sums = n_sums;
    b->buf.sums = b->sums;
    memset(b->sums, 0, sizeof(uint64_t) * n_sums);
    return &b->buf;
}

struct kt_buf *kt_buf_ref(struct kt_buf *b)
{
    if (b) {
        assert(b->refs > 0 && b->refs < UINT32_MAX);
        b->refs++;
    }
    return b;
}

void kt_buf_unref(struct kt_buf *b)
{
    if (!b)
        return;
    assert(b->refs > 0);
    if (--b->refs > 0)
        return;
    struct full_buf *f = kt_container_of(b, struct full_buf, buf);
    if (stock_put(f))
        return;
    free(f->buf.data);
    free(f);
}

bool kt_buf_check(const struct kt_buf *b)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < b->n_sums; i++) {
        if (b->sums[i] == 0)
            continue;
        if (b->data_len - at < KT_SECTOR_BYTES)
            return false;
        if (kt_sum64(b->data + at, KT_SECTOR_BYTES) != b->sums[i])
            return false;
        at += KT_SECTOR_BYTES;
    }
    return at == b->data_len;
}
