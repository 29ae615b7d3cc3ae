/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/store/disk.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/os.h"

#define FILE_MAX (72ull << 20)
#define SECTORS (FILE_MAX / DISK_UNIT)
#define PAGE 4096u
#define PAGE_WORDS (FILE_MAX / PAGE / 64 + 1)

/* ---- files ---- */

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(p != MAP_FAILED);
    return p;
}

static struct dfile *file_new(void)
{
    struct dfile *f = calloc(1, sizeof(*f));
    assert(f);
    f->pages = calloc(PAGE_WORDS, sizeof(f->pages[0]));
    assert(f->pages);
    f->base = map(FILE_MAX);
    f->at = map(SECTORS * sizeof(f->at[0]));
    return f;
}

static void vers_free(struct dver *v)
{
    while (v) {
        struct dver *older = v->older;
        free(v);
        v = older;
    }
}

static void file_free(struct dfile *f)
{
    for (uint32_t i = 0; i < f->n_secs; i++)
        vers_free(f->secs[i].newest);
    free(f->secs);
    free(f->sizes);
    free(f->pages);
    munmap(f->base, FILE_MAX);
    munmap(f->at, SECTORS * sizeof(f->at[0]));
    free(f);
}

void disk_free(struct disk *d)
{
    for (uint32_t i = 0; i < DISK_FILES_MAX; i++)
        if (d->files[i])
            file_free(d->files[i]);
    free(d->names);
    free(d->name_ops);
    memset(d, 0, sizeof(*d));
}

static struct dsec *sec_of(struct dfile *f, uint32_t no)
{
    if (f->at[no])
        return &f->secs[f->at[no] - 1];
    if (f->n_secs == f->cap_secs) {
        f->cap_secs = f->cap_secs ? 2 * f->cap_secs : 64;
        f->secs = realloc(f->secs, f->cap_secs * sizeof(f->secs[0]));
        assert(f->secs);
    }
    f->secs[f->n_secs] = (struct dsec){.no = no};
    f->at[no] = ++f->n_secs;
    return &f->secs[f->n_secs - 1];
}

static void sec_drop(struct dfile *f, uint32_t i)
{
    f->at[f->secs[i].no] = 0;
    f->secs[i] = f->secs[--f->n_secs];
    if (i < f->n_secs)
        f->at[f->secs[i].no] = i + 1;
}

static void base_put(struct dfile *f, uint32_t no, const uint8_t *b)
{
    uint64_t off = (uint64_t)no * DISK_UNIT;
    memcpy(f->base + off, b, DISK_UNIT);
    f->pages[off / PAGE / 64] |= 1ull << (off / PAGE % 64);
    if (off + DISK_UNIT > f->top)
        f->top = off + DISK_UNIT;
}

/* Nothing changes: whether such a write arrives, nobody can say. */
static bool is_same(const struct dfile *f, uint32_t no, uint64_t at,
                    const uint8_t *data, uint32_t len)
{
    const uint8_t *b = f->at[no] ? f->secs[f->at[no] - 1].newest->b
                                 : f->base + (uint64_t)no * DISK_UNIT;
    return data ? !memcmp(b + at, data, len)
                : b[at] == 0 && !memcmp(b + at, b + at + 1, len - 1);
}

/* A new version of one sector, with len bytes at `in` changed. */
static void sec_write(struct dfile *f, uint32_t op, uint64_t off,
                      const uint8_t *data, uint32_t len)
{
    uint32_t no = (uint32_t)(off / DISK_UNIT);
    if (is_same(f, no, off % DISK_UNIT, data, len))
        return;
    struct dsec *s = sec_of(f, no);
    struct dver *v = malloc(sizeof(*v));
    assert(v);
    memcpy(v->b, s->newest ? s->newest->b : f->base + (uint64_t)no * DISK_UNIT,
           DISK_UNIT);
    if (data)
        memcpy(v->b + off % DISK_UNIT, data, len);
    else
        memset(v->b + off % DISK_UNIT, 0, len);
    v->op = op;
    v->older = s->newest;
    s->newest = v;
}

static void range_write(struct dfile *f, uint32_t op, uint64_t off,
                        const uint8_t *data, uint64_t len)
{
    assert(off + len <= FILE_MAX);
    while (len) {
        uint32_t n = (uint32_t)(DISK_UNIT - off % DISK_UNIT);
        n = n < len ? n : (uint32_t)len;
        sec_write(f, op, off, data, n);
        off += n;
        len -= n;
        data = data ? data + n : NULL;
    }
}

static uint64_t size_now(const struct dfile *f)
{
    return f->n_sizes ? f->sizes[f->n_sizes - 1].size : f->size;
}

static void set_size(struct dfile *f, uint32_t op, uint64_t size)
{
    uint64_t had = size_now(f);
    if (size == had)
        return;
    if (size < had) /* what is cut off does not come back */
        range_write(f, op, size, NULL, had - size);
    f->sizes = realloc(f->sizes, (f->n_sizes + 1) * sizeof(f->sizes[0]));
    assert(f->sizes);
    f->sizes[f->n_sizes++] = (struct dsize){op, size};
}

/* What ops before `begin` wrote to sectors [first, end) is durable. */
static void file_sync(struct dfile *f, uint32_t begin, uint64_t first,
                      uint64_t end)
{
    for (uint32_t i = f->n_secs; i-- > 0;) {
        struct dsec *s = &f->secs[i];
        struct dver **at = &s->newest;
        if (s->no < first || s->no >= end)
            continue;
        while (*at && (*at)->op > begin)
            at = &(*at)->older;
        if (*at)
            base_put(f, s->no, (*at)->b);
        vers_free(*at);
        *at = NULL;
        if (!s->newest)
            sec_drop(f, i);
    }
    uint32_t n = 0;
    while (n < f->n_sizes && f->sizes[n].op <= begin)
        f->size = f->sizes[n++].size;
    f->n_sizes -= n;
    if (n)
        memmove(f->sizes, f->sizes + n, f->n_sizes * sizeof(f->sizes[0]));
}

/* ---- names ---- */

static struct dname *name_find(struct disk *d, const char *name)
{
    for (uint32_t i = 0; i < d->n_names; i++)
        if (!strcmp(d->names[i].name, name))
            return &d->names[i];
    return NULL;
}

static void name_drop(struct disk *d, const char *name)
{
    struct dname *n = name_find(d, name);
    if (n)
        *n = d->names[--d->n_names];
}

static void name_put(struct disk *d, const char *name, uint32_t file)
{
    name_drop(d, name);
    d->names = realloc(d->names, (d->n_names + 1) * sizeof(d->names[0]));
    assert(d->names);
    struct dname *n = &d->names[d->n_names++];
    memset(n, 0, sizeof(*n));
    memcpy(n->name, name, strlen(name));
    n->file = file;
}

static void name_do(struct disk *d, const struct shim_op *op)
{
    if (op->kind == SHIM_CREATE) {
        name_put(d, op->name, op->file);
    } else {
        name_drop(d, op->name);
        if (op->kind == SHIM_RENAME)
            name_put(d, op->to, op->file);
    }
}

/* The first n changes of names are durable. */
static void names_sync(struct disk *d, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        name_do(d, &d->name_ops[i]);
    d->n_name_ops -= n;
    memmove(d->name_ops, d->name_ops + n,
            d->n_name_ops * sizeof(d->name_ops[0]));
}

/* The name a file has now, or had last. */
static const char *name_now(const struct disk *d, uint32_t file)
{
    for (uint32_t i = d->n_name_ops; i-- > 0;)
        if (d->name_ops[i].file == file)
            return d->name_ops[i].kind == SHIM_RENAME ? d->name_ops[i].to
                                                      : d->name_ops[i].name;
    for (uint32_t i = 0; i < d->n_names; i++)
        if (d->names[i].file == file)
            return d->names[i].name;
    return "";
}

static bool lies(const struct disk *d, const char *name)
{
    return d->lying && !strncmp(name, d->lying, strlen(d->lying));
}

/* ---- the log ---- */

static void do_name(struct disk *d, const struct shim_op *op)
{
    d->name_ops =
        realloc(d->name_ops, (d->n_name_ops + 1) * sizeof(d->name_ops[0]));
    assert(d->name_ops);
    d->name_ops[d->n_name_ops] = *op;
    d->name_ops[d->n_name_ops++].begin = d->op;
    if (op->kind == SHIM_CREATE) {
        assert(op->file < DISK_FILES_MAX && !d->files[op->file]);
        d->files[op->file] = file_new();
        if (op->file >= d->next_file)
            d->next_file = op->file + 1;
    }
}

static void do_syncdir(struct disk *d, const struct shim_op *op)
{
    uint32_t n = 0;
    while (n < d->n_name_ops && d->name_ops[n].begin <= op->begin)
        n++;
    if (!lies(d, "."))
        names_sync(d, n);
}

void disk_do(struct disk *d, const struct shim_op *op)
{
    struct dfile *f = op->file < DISK_FILES_MAX ? d->files[op->file] : NULL;
    d->op++;
    switch (op->kind) {
    case SHIM_WRITE:
        assert(f);
        range_write(f, d->op, op->off, op->data, op->len);
        if (op->off + op->len > size_now(f))
            set_size(f, d->op, op->off + op->len);
        break;
    case SHIM_SIZE:
        assert(f);
        set_size(f, d->op, op->off);
        break;
    case SHIM_SYNC:
        assert(f);
        if (lies(d, name_now(d, op->file)))
            break;
        file_sync(f, op->begin, op->len ? op->off / DISK_UNIT : 0,
                  op->len ? (op->off + op->len - 1) / DISK_UNIT + 1 : SECTORS);
        break;
    case SHIM_SYNCDIR:
        do_syncdir(d, op);
        break;
    case SHIM_CREATE:
    case SHIM_RENAME:
    case SHIM_UNLINK:
        do_name(d, op);
        break;
    default:
        break;
    }
}

/* ---- choosing ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + b * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct choice {
    enum disk_how how;
    uint64_t seed;
    uint32_t op;     /* the one the choice turns on */
    uint64_t chance; /* in 256 */
};

static bool chosen(const struct choice *c, uint32_t op, uint32_t file,
                   uint64_t sector)
{
    switch (c->how) {
    case DISK_ALL:
        return true;
    case DISK_PREFIX:
        return op < c->op ||
               (op == c->op && mix(c->seed ^ op, sector) % 256 < c->chance);
    case DISK_WRITES:
        return mix(c->seed, op) % 256 < c->chance;
    case DISK_SECTORS:
        return mix(mix(c->seed, op), sector) % 256 < c->chance;
    case DISK_FILES:
        return mix(c->seed, file) % 2;
    case DISK_ALL_BUT:
        return op != c->op;
    case DISK_ONLY:
        return op == c->op;
    default:
        return false;
    }
}

/* Some op whose effect is not durable. */
static uint32_t any_pending(const struct disk *d, uint64_t seed)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < d->next_file; i++)
        n += d->files[i] ? d->files[i]->n_secs : 0;
    uint64_t at = n ? mix(seed, 7) % n : 0;
    for (uint32_t i = 0; i < d->next_file && n; i++) {
        const struct dfile *f = d->files[i];
        if (f && at < f->n_secs)
            return f->secs[at].newest->op;
        at -= f ? f->n_secs : 0;
    }
    return d->op;
}

static void choose_file(struct dfile *f, const struct choice *c, uint32_t no)
{
    for (uint32_t i = 0; i < f->n_secs; i++) {
        struct dsec *s = &f->secs[i];
        s->pick = s->newest;
        while (s->pick && !chosen(c, s->pick->op, no, s->no))
            s->pick = s->pick->older;
    }
    f->pick_size = f->size;
    for (uint32_t i = 0; i < f->n_sizes; i++)
        if (chosen(c, f->sizes[i].op, no, SECTORS))
            f->pick_size = f->sizes[i].size;
}

void disk_choose(struct disk *d, enum disk_how how, uint64_t seed)
{
    static const uint8_t chances[] = {16, 128, 240};
    struct choice c = {.how = how,
                       .seed = mix(seed, 1),
                       .op = any_pending(d, seed),
                       .chance = chances[mix(seed, 2) % 3]};
    for (uint32_t i = 0; i < d->next_file; i++)
        if (d->files[i])
            choose_file(d->files[i], &c, i);
    d->pick_names = (uint32_t)(mix(seed, 3) % (d->n_name_ops + 1));
    if (how == DISK_ALL)
        d->pick_names = d->n_name_ops;
    if (how == DISK_NONE)
        d->pick_names = 0;
}

/* ---- the chosen state ---- */

/* Its names, durable ones and chosen changes. */
static struct disk names_chosen(const struct disk *d)
{
    struct disk n = {.n_names = 0};
    for (uint32_t i = 0; i < d->n_names; i++)
        name_put(&n, d->names[i].name, d->names[i].file);
    for (uint32_t i = 0; i < d->pick_names; i++)
        name_do(&n, &d->name_ops[i]);
    return n;
}

uint32_t disk_names(const struct disk *d, struct shim_file *ret, uint32_t max)
{
    struct disk n = names_chosen(d);
    assert(n.n_names <= max);
    for (uint32_t i = 0; i < n.n_names; i++) {
        memcpy(ret[i].name, n.names[i].name, sizeof(ret[i].name));
        ret[i].file = n.names[i].file;
    }
    uint32_t count = n.n_names;
    disk_free(&n);
    return count;
}

static void put(int fd, const uint8_t *b, uint64_t len, uint64_t off)
{
    int err = kt_pwrite_all(fd, b, len, off);
    assert(!err);
    (void)err;
}

static bool is_zero(const uint8_t *b, size_t len)
{
    return b[0] == 0 && !memcmp(b, b + 1, len - 1);
}

static bool has_page(const struct dfile *f, uint64_t off)
{
    uint64_t w = f->pages[off / PAGE / 64] >> (off / PAGE % 64);
    return (w & 1) && !is_zero(f->base + off, PAGE);
}

/* Holes stay holes. */
static void write_base(const struct dfile *f, int fd)
{
    uint64_t end = f->top < f->pick_size ? f->top : f->pick_size, from = 0;
    for (uint64_t off = 0; off < end + PAGE; off += PAGE) {
        if (off < end && has_page(f, off))
            continue;
        uint64_t upto = off < end ? off : end;
        if (upto > from)
            put(fd, f->base + from, upto - from, from);
        from = off + PAGE;
    }
}

static void write_file(const struct dfile *f, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0);
    int r = ftruncate(fd, (off_t)f->pick_size);
    assert(r == 0);
    (void)r;
    write_base(f, fd);
    for (uint32_t i = 0; i < f->n_secs; i++) {
        const struct dsec *s = &f->secs[i];
        uint64_t off = (uint64_t)s->no * DISK_UNIT;
        if (!s->pick || off >= f->pick_size)
            continue;
        uint64_t n = f->pick_size - off;
        put(fd, s->pick->b, n < DISK_UNIT ? n : DISK_UNIT, off);
    }
    close(fd);
}

static void empty(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    assert(d);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

void disk_write(const struct disk *d, const char *dir)
{
    char path[256];
    struct disk n = names_chosen(d);
    empty(dir);
    for (uint32_t i = 0; i < n.n_names; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, n.names[i].name);
        write_file(d->files[n.names[i].file], path);
    }
    disk_free(&n);
}

static void settle_file(struct dfile *f)
{
    for (uint32_t i = 0; i < f->n_secs; i++) {
        struct dsec *s = &f->secs[i];
        if (s->pick)
            base_put(f, s->no, s->pick->b);
        vers_free(s->newest);
        f->at[s->no] = 0;
    }
    f->n_secs = f->n_sizes = 0;
    f->size = f->pick_size;
    if (f->top > f->size) { /* what lies behind the end is gone */
        memset(f->base + f->size, 0, f->top - f->size);
        f->top = f->size;
    }
}

void disk_settle(struct disk *d)
{
    names_sync(d, d->pick_names);
    d->n_name_ops = d->pick_names = 0;
    for (uint32_t i = 0; i < d->next_file; i++) {
        bool named = false;
        for (uint32_t k = 0; k < d->n_names; k++)
            named = named || d->names[k].file == i;
        if (d->files[i] && !named) {
            file_free(d->files[i]);
            d->files[i] = NULL;
        } else if (d->files[i]) {
            settle_file(d->files[i]);
        }
    }
    d->op = 0;
}

/* ---- comparing ---- */

static bool differ(const char *name, uint64_t at, const char *what)
{
    fprintf(stderr, "%s: %s at byte %llu\n", name, what,
            (unsigned long long)at);
    return false;
}

static bool same_file(const struct dfile *f, const char *path)
{
    static uint8_t b[1u << 20];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return differ(path, 0, "the real file is missing");
    bool same = true;
    if ((uint64_t)st.st_size != f->pick_size)
        same = differ(path, (uint64_t)st.st_size, "the real file ends");
    for (uint64_t off = 0; same && off < f->pick_size; off += sizeof(b)) {
        uint64_t n = f->pick_size - off;
        n = n < sizeof(b) ? n : sizeof(b);
        if (kt_pread_all(fd, b, n, off))
            same = differ(path, off, "the real file cannot be read");
        for (uint64_t i = 0; same && i < n; i += DISK_UNIT) {
            uint32_t no = (uint32_t)((off + i) / DISK_UNIT);
            const struct dver *v =
                f->at[no] ? f->secs[f->at[no] - 1].pick : NULL;
            if (memcmp(b + i, v ? v->b : f->base + off + i,
                       n - i < DISK_UNIT ? n - i : DISK_UNIT) != 0)
                same = differ(path, off + i, "the replay differs");
        }
    }
    close(fd);
    return same;
}

bool disk_same_as(const struct disk *d, const char *dir)
{
    char path[256];
    struct disk n = names_chosen(d);
    bool same = true;
    uint32_t real = 0;
    DIR *l = opendir(dir);
    struct dirent *e;
    assert(l);
    while ((e = readdir(l)))
        real += e->d_name[0] != '.';
    closedir(l);
    if (real != n.n_names)
        same = differ(dir, real, "other files");
    for (uint32_t i = 0; same && i < n.n_names; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, n.names[i].name);
        same = same_file(d->files[n.names[i].file], path);
    }
    disk_free(&n);
    return same;
}
