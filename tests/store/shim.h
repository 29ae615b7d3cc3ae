/* SPDX-License-Identifier: BSD-3-Clause */
/* Stands between a program and the files of one directory, the store's.
 *
 * The functions of libc by which anything changes or syncs a file are defined
 * by shim.c, so that the store's calls and LMDB's land here alike; what does
 * not concern the directory passes. What is done is done for real too, and a
 * replay of the log must give the real files (disk_same_as), which shows that
 * no call goes another way. */
#ifndef KT_TESTS_STORE_SHIM_H
#define KT_TESTS_STORE_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHIM_NAME_BYTES 32u

enum shim_kind {
    SHIM_WRITE,   /* data at off of file */
    SHIM_SIZE,    /* file is off bytes long now */
    SHIM_SYNC,    /* ops of file before `begin` are durable; len: only there */
    SHIM_CREATE,  /* name is file, empty */
    SHIM_RENAME,  /* name is called `to` */
    SHIM_UNLINK,  /* name is gone */
    SHIM_SYNCDIR, /* what was done to names before `begin` is durable */
    SHIM_EVENT,   /* the test's own mark */
};

struct shim_event {
    uint32_t kind, chain;
    uint64_t a, b;
};

struct shim_op {
    uint8_t kind;
    uint32_t file;
    uint32_t begin;
    uint64_t off, len;
    uint8_t *data;
    char name[SHIM_NAME_BYTES], to[SHIM_NAME_BYTES];
    struct shim_event event;
};

struct shim_log {
    struct shim_op *ops;
    uint32_t n, cap;
};
void shim_log_free(struct shim_log *l);

/* A file that is there when recording begins. */
struct shim_file {
    char name[SHIM_NAME_BYTES];
    uint32_t file;
};

/* From here on what happens to dir goes to log; new files are numbered from
 * next_file on. The directory must not be open yet. */
void shim_record(const char *dir, struct shim_log *log,
                 const struct shim_file *files, uint32_t n_files,
                 uint32_t next_file);
void shim_mark(struct shim_event e);
/* Nothing is recorded, nothing synced, and files grow by holes: for opening
 * many states quickly. */
void shim_quick(void);
void shim_off(void);

/* What may be made to fail. */
enum shim_class {
    SHIM_F_WRITE = 1, /* writes of data */
    SHIM_F_SYNC = 2,  /* syncs of files and of the directory */
    SHIM_F_NAME = 4,  /* opening to make, renaming, removing */
    SHIM_F_SPACE = 8, /* making room */
    SHIM_F_MEMORY = 16,
};
/* While recording: the nth call (from 1) of a class in mask fails with err,
 * and with `stays` each later one. nth 0: none. Counts begin anew. */
void shim_fail(unsigned mask, uint64_t nth, bool stays, int err);
/* Calls of these classes since shim_fail, and whether one failed. */
uint64_t shim_calls(void);
bool shim_failed(void);
/* Syncs of a file after a sync of it had failed. */
unsigned shim_retries(void);
/* Counts one allocation; true: it is to fail. Any thread. */
bool shim_memory_fails(void);
/* Allocations of this thread are the test's own from here (true) on. */
void shim_exempt(bool on);

#endif
