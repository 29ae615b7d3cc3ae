/* SPDX-License-Identifier: BSD-3-Clause */
/* libFuzzer target: a whole store that was killed ($KT_FUZZ_STORE, made by
 * seed_store), with bytes changed anywhere, looked through by the offline check
 * and opened by `kenter recover`. Both only read, so the change is taken back
 * afterwards. What is called good matches the sum that is written down.
 *
 * Input: flags (bit 0: superblocks' sums are mended), then changes of six
 * bytes: file, offset in it (3 bytes, scaled to its size), xor, repeat. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/base/sum.h"
#include "replicator/store/check.h"
#include "replicator/store/look.h"
#include "replicator/store/super.h"

#define FILES_MAX 32
#define CHANGES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    int fd;
    uint64_t bytes;
    bool super;
} files[FILES_MAX];
static unsigned n_files;
static const char *dir;

static void must(bool holds)
{
    if (!holds)
        abort();
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void open_all(void)
{
    struct dirent **list;
    dir = getenv("KT_FUZZ_STORE");
    must(dir != NULL);
    int n = scandir(dir, &list, NULL, by_name);
    must(n > 0);
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || !st.st_size ||
            n_files == FILES_MAX) {
            if (fd >= 0)
                close(fd);
        } else {
            files[n_files].fd = fd;
            files[n_files].bytes = (uint64_t)st.st_size;
            files[n_files++].super = !strncmp(list[i]->d_name, "super", 5);
        }
        free(list[i]);
    }
    free(list);
}

struct change {
    int fd;
    uint64_t at;
    uint8_t len, was[32];
};

static void mend_super(int fd)
{
    uint8_t b[SUPER_BYTES];
    must(kt_pread_all(fd, b, sizeof(b), 0) == 0);
    struct kt_id sum = kt_sum128(b, SUPER_BYTES - 16);
    must(kt_pwrite_all(fd, sum.b, sizeof(sum.b), SUPER_BYTES - 16) == 0);
}

static void change(struct change *c, const uint8_t *in, bool mend)
{
    unsigned f = in[0] % n_files;
    uint64_t where =
        (uint64_t)in[1] | (uint64_t)in[2] << 8 | (uint64_t)in[3] << 16;
    uint8_t b[32];
    c->fd = files[f].fd;
    c->at = where * files[f].bytes >> 24;
    c->len = (uint8_t)kt_min_u64(in[5] % sizeof(b) + 1, files[f].bytes - c->at);
    must(kt_pread_all(c->fd, c->was, c->len, c->at) == 0);
    for (unsigned i = 0; i < c->len; i++)
        b[i] = c->was[i] ^ in[4];
    must(kt_pwrite_all(c->fd, b, c->len, c->at) == 0);
    if (mend && files[f].super)
        mend_super(c->fd);
}

/* ---- looking ---- */

static void look_at(struct look *l, const struct look_chain *c)
{
    static uint8_t data[LOOK_SECTORS_MAX * KT_SECTOR_BYTES];
    struct look_sector s[LOOK_SECTORS_MAX];
    for (uint32_t e = 0; e < c->n_extents && e < 16; e++) {
        look_sectors(l, c->chain, e, 0, LOOK_SECTORS_MAX, s, data);
        for (uint32_t i = 0; i < LOOK_SECTORS_MAX; i++) {
            const uint8_t *b = data + (size_t)i * KT_SECTOR_BYTES;
            if (s[i].state == LOOK_GOOD)
                must(kt_sum64(b, KT_SECTOR_BYTES) == s[i].want);
        }
    }
}

static void look_through(void)
{
    char why[512];
    struct look *l;
    const struct look_rec *r;
    uint32_t n;
    uint8_t b[KT_SECTOR_BYTES];
    if (look_open(dir, &l, why, sizeof(why)))
        return;
    for (uint32_t i = 0; i < look_chains(l); i++) {
        struct look_chain c;
        look_chain(l, i, &c);
        look_at(l, &c);
    }
    if (look_records(l, &r, &n) == 0)
        for (uint32_t i = 0; i < n; i++)
            (void)look_payload(l, &r[i], r[i].off / KT_SECTOR_BYTES, b);
    look_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct change c[CHANGES_MAX];
    uint8_t supers[FILES_MAX][SUPER_BYTES];
    struct store_check check = {.problem = NULL};
    char why[512];
    unsigned n = 0;
    if (!n_files)
        open_all();
    for (unsigned f = 0; f < n_files; f++)
        if (files[f].super)
            must(kt_pread_all(files[f].fd, supers[f], SUPER_BYTES, 0) == 0);
    for (size_t at = 1; at + 6 <= size && n < CHANGES_MAX; at += 6)
        change(&c[n++], data + at, data[0] & 1);
    (void)!store_check(dir, &check, why, sizeof(why));
    look_through();
    while (n--)
        must(kt_pwrite_all(c[n].fd, c[n].was, c[n].len, c[n].at) == 0);
    for (unsigned f = 0; f < n_files; f++)
        if (files[f].super)
            must(kt_pwrite_all(files[f].fd, supers[f], SUPER_BYTES, 0) == 0);
    return 0;
}
