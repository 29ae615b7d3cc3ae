/* SPDX-License-Identifier: BSD-3-Clause */
/* The hub's database: one LMDB file, one writer, everything synced. */
#ifndef KT_HUB_STORE_LMDB_H
#define KT_HUB_STORE_LMDB_H

#include <uv.h>

#include "hub/control/control.h"

struct hub_db;
struct row_any;

struct hub_db_ops {
    /* On the loop's thread, in the order of the commits. After an error
     * nothing more is written, or answered. */
    void (*stored)(void *arg, uint64_t txn, int err);
};

struct hub_db_how {
    bool init;    /* a missing or empty directory gets a database */
    bool recover; /* which waits to be filled from the nodes, and has none */
};

/* Opens DIR, locked against a second hub. On failure ret_why tells people. */
int hub_db_open(const char *dir, const struct hub_db_how *how,
                struct hub_db **ret_db, char *ret_why,
                size_t size) KT_MUST_CHECK;
/* Every row, the cluster's first, chains in the order of their numbers.
 * Stops at the first error of each(). */
int hub_db_read(struct hub_db *db,
                int (*each)(void *arg, const struct row_any *row), void *arg,
                char *ret_why, size_t size) KT_MUST_CHECK;
/* Commits at once, on this thread: before the loop runs. */
int hub_db_put_now(struct hub_db *db, const struct hub_row *r) KT_MUST_CHECK;

void hub_db_run(struct hub_db *db, uv_loop_t *loop,
                const struct hub_db_ops *ops, void *arg);
/* Queues a HUB_ACT_STORE; its rows are copied. */
void hub_db_store(struct hub_db *db, const struct hub_action *a);
/* Something is queued or being written. */
bool hub_db_busy(const struct hub_db *db);
/* Not while busy. NULL is fine. */
void hub_db_free(struct hub_db *db);

#endif
