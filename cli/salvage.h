/* SPDX-License-Identifier: BSD-3-Clause */
/* A volume out of raw stores, for `kenter recover`:
 *
 *   salvage.c         opens the stores and finds the volumes in them
 *   salvage_chain.c   one segment: which copies are of use, and how new
 *   salvage_sector.c  one sector: whose bytes are right
 *   salvage_image.c   the image, and what is missing in it
 *   recover.c         the verb and its report */
#ifndef KT_CLI_SALVAGE_H
#define KT_CLI_SALVAGE_H

#include "lib/base/text.h"
#include "replicator/store/look.h"

#define SALVAGE_STORES_MAX 64u

struct salvage_store {
    const char *dir;
    struct look *look;
    const struct look_rec *recs;
    uint32_t n_recs;
};

/* A record, and who has it. */
struct salvage_ref {
    const struct look_rec *r;
    unsigned store;
};

struct salvage_volume {
    struct kt_id id;
    char name[KT_NAME_MAX + 1]; /* "": nobody wrote it down */
    uint64_t size;              /* bytes; 0: nobody wrote it down */
    uint64_t extents;           /* the end of its last segment that is here */
    uint64_t stores;            /* bit i: store i has some of it */
};

struct salvage {
    unsigned n;
    struct salvage_store stores[SALVAGE_STORES_MAX];
    struct salvage_volume *volumes;
    uint32_t n_volumes;
    struct salvage_ref *refs; /* by chain, seq, epoch; whole ones first */
    uint32_t n_refs;
};

/* 0, or < 0 with a sentence in ret_why; salvage_close then, too. */
int salvage_open(struct salvage *s, const char *const *dirs, unsigned n,
                 char *ret_why, size_t size) KT_MUST_CHECK;
void salvage_close(struct salvage *s);
/* By id or name; NULL with the sentence. */
const struct salvage_volume *salvage_find(const struct salvage *s,
                                          const char *what, char *ret_why,
                                          size_t size);

/* One store's copy of a segment. */
struct salvage_copy {
    unsigned store;
    struct look_chain c;
    uint64_t epoch; /* the newest it took part in */
    bool exact;     /* with the records of `path` it is what was there last */
};

struct salvage_chain {
    struct salvage *s;
    uint64_t chain;
    uint64_t first_extent;
    uint32_t n_extents;
    unsigned n; /* of copies, the newest first */
    struct salvage_copy copies[SALVAGE_STORES_MAX];
    bool whole;  /* the first copy is exact */
    bool unsure; /* ... or may have been, of which nothing is left */
    bool cut;    /* there were newer records than those of the path */
    struct kt_rid tip;
    /* The last records of the history up to tip, in order; and their numbers
     * sorted by extent. */
    struct salvage_ref *path;
    uint32_t *by_extent, n_path;
    /* of the extent looked at last */
    uint32_t extent;
    bool have_extent, blank;
    uint32_t writer[KT_EXTENT_SECTORS]; /* 1 + number in path; 0: none */
};

/* The segments of a volume, ascending. Ownership: the caller's, each with
 * salvage_chain_release, and the list. 0 or -errno. */
int salvage_chains(struct salvage *s, const struct salvage_volume *v,
                   struct salvage_chain **ret_c, uint32_t *ret_n) KT_MUST_CHECK;
/* Decides which copies are of use. 0 or -errno. */
int salvage_chain_judge(struct salvage_chain *c) KT_MUST_CHECK;
void salvage_chain_release(struct salvage_chain *c);
/* Record number 0.. of the path that wrote the sector after copy i was made;
 * or NULL. Of the extent last given to salvage_extent. */
const struct salvage_ref *salvage_writer(const struct salvage_chain *c,
                                         unsigned i, uint32_t sector);

enum salvage_verdict {
    SALVAGE_RIGHT,
    SALVAGE_OLDER, /* what a copy had before; newer bytes are lost */
    SALVAGE_LOST,  /* zeros */
};
/* To be called before sectors of that extent are asked for. False: it was
 * never written, all of it is zeros. */
bool salvage_extent(struct salvage_chain *c, uint32_t extent);
/* LOOK_SECTORS_MAX sectors from `first` on. */
void salvage_sectors(struct salvage_chain *c, uint32_t first,
                     enum salvage_verdict *ret_v, uint8_t *ret_data);

/* A run of the image that is not what the volume held last. */
enum salvage_loss {
    SALVAGE_L_OLDER,    /* older bytes */
    SALVAGE_L_ZEROS,    /* zeros, for bytes that nobody has any more */
    SALVAGE_L_HOLE,     /* zeros: no store has that segment */
    SALVAGE_L_EARLIER,  /* the segment as it was a moment before */
    SALVAGE_L_UNSURE,   /* perhaps so */
    SALVAGE_L_DOUBTFUL, /* from copies that were being made */
};
struct salvage_run {
    enum salvage_loss loss;
    uint64_t off, len; /* bytes */
};
struct salvage_image {
    /* asked */
    int fd; /* -1: nothing is written */
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* or NULL */
    void *arg;
    /* found */
    uint64_t size, written; /* bytes; written: that are not zero */
    uint32_t segments;
    struct salvage_run *runs;
    uint32_t n_runs;
};
/* Reads all of it, and writes what is not zero. 0 or -errno, of memory or of
 * fd. Ownership: free(runs), also after an error. */
int salvage_image(struct salvage *s, const struct salvage_volume *v,
                  struct salvage_image *m) KT_MUST_CHECK;

#endif
