/* SPDX-License-Identifier: BSD-3-Clause */
/* What may be on a disk after power is lost, from a log of the shim.
 *
 * A sector of 512 bytes is written whole or not at all. Of those written since
 * the last sync of their file the disk has any version: the durable one or
 * that after any later write, each sector by itself, each file's length too.
 * Changes of names reach the disk in order, as on every file system with a
 * journal; they are durable with a sync of the directory, and only with that.
 * A sync covers what was complete when it was called. */
#ifndef KT_TESTS_STORE_DISK_H
#define KT_TESTS_STORE_DISK_H

#include "tests/store/shim.h"

#define DISK_FILES_MAX 160u
#define DISK_UNIT 512u

struct dver {
    struct dver *older;
    uint32_t op; /* of the log: index + 1 */
    uint8_t b[DISK_UNIT];
};

struct dsec {
    uint32_t no;
    struct dver *newest, *pick; /* pick NULL: as in base */
};

struct dsize {
    uint32_t op;
    uint64_t size;
};

struct dfile {
    uint8_t *base; /* durable bytes; mapped, mostly never touched */
    uint64_t size, pick_size, top; /* durable; chosen; base is zero from top */
    uint64_t *pages; /* bits: of base, by 4096, all that are not zero */
    uint32_t *at;    /* per sector: index + 1 in secs */
    struct dsec *secs;
    uint32_t n_secs, cap_secs;
    struct dsize *sizes; /* not durable, ascending */
    uint32_t n_sizes;
};

struct dname {
    char name[SHIM_NAME_BYTES];
    uint32_t file;
};

/* All zero: an empty directory. */
struct disk {
    struct dfile *files[DISK_FILES_MAX]; /* by number, from 1 */
    uint32_t next_file;
    struct dname *names; /* durable */
    uint32_t n_names;
    struct shim_op *name_ops; /* not durable; no data */
    uint32_t n_name_ops, pick_names;
    uint32_t op; /* of the log that were done */
    /* Files whose syncs do nothing: names that begin so. NULL: none. */
    const char *lying;
};

void disk_free(struct disk *d);
/* Does op, which is number d->op of its log. */
void disk_do(struct disk *d, const struct shim_op *op);

/* How a state is chosen among the legal ones. */
enum disk_how {
    DISK_ALL,     /* everything; also what a kill leaves */
    DISK_NONE,    /* what is durable only */
    DISK_PREFIX,  /* in the order of the writes, the last one torn */
    DISK_WRITES,  /* each write or not */
    DISK_SECTORS, /* each sector or not */
    DISK_FILES,   /* some files all, others nothing */
    DISK_ALL_BUT, /* one write is missing */
    DISK_ONLY,    /* one write is there */
    DISK_HOWS
};
/* Sets the picks; the same seed, the same choice. */
void disk_choose(struct disk *d, enum disk_how how, uint64_t seed);
/* Makes the chosen state in a directory, whose other files are removed. */
void disk_write(const struct disk *d, const char *dir);
/* The chosen state is the durable one from now on. d->op begins anew. */
void disk_settle(struct disk *d);
/* Whether the chosen state is what stands in dir, byte by byte; says where not
 * on stderr. */
bool disk_same_as(const struct disk *d, const char *dir);
/* The names of the chosen state; at most max of them. */
uint32_t disk_names(const struct disk *d, struct shim_file *ret, uint32_t max);

#endif
