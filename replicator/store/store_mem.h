/* SPDX-License-Identifier: BSD-3-Clause */
/* The in-memory twin of the store, for tests and the simulator. The same
 * functions as store.h, over a "disk" that outlives the store. No threads, no
 * clock, no randomness but the disk's seed: the same calls give the same
 * results.
 *
 * Operations wait until the test completes them one by one; their callbacks
 * run in the next store_poll, in the order in which they were completed. */
#ifndef KT_STORE_STORE_MEM_H
#define KT_STORE_STORE_MEM_H

#include "replicator/store/store.h"

struct store_mem_disk;

/* A blank disk. All its choices after crashes, and the identities of the
 * store made on it, come from seed. NULL when memory is out. */
struct store_mem_disk *store_mem_disk_new(uint64_t seed, uint64_t slots);
/* No store may be open on it. */
void store_mem_disk_free(struct store_mem_disk *d);
/* The disk of the next store_open, which ignores its dir. */
void store_mem_set_disk(struct store_mem_disk *d);
/* How many records of each chain store_log_read finds after they are durable
 * (default 4096). */
void store_mem_set_retain(struct store_mem_disk *d, uint32_t records);
/* Damage at rest. It is the bytes of what is durable that change, for those are
 * what slots are made of; their sums, kept elsewhere, stay. Reads of them
 * answer KT_E_CORRUPT until they are written again or mended. An open store
 * that holds something newer hands that out, as from its overlay. All: false
 * when nothing durable is there, or it is damaged already. */
bool store_mem_rot(struct store_mem_disk *d, uint64_t chain, uint32_t extent,
                   uint32_t sector);
/* A write that was to go to `sector` of `extent` went to `to_sector` of `to`:
 * both places hold what does not belong there. False and nothing done unless
 * both are durable and differ. */
bool store_mem_misdirect(struct store_mem_disk *d, uint64_t chain,
                         const uint32_t from[2], const uint32_t to[2]);
bool store_mem_is_damaged(const struct store_mem_disk *d, uint64_t chain,
                          uint32_t extent, uint32_t sector);
/* What is still damaged gets its bytes back. How many sectors that were. */
unsigned store_mem_mend(struct store_mem_disk *d);

/* The whole directory, copied while the store is open or not: another disk with
 * the same identities, as after a kill at this moment. NULL when memory is out.
 */
struct store_mem_disk *store_mem_disk_copy(const struct store_mem_disk *d);

/* With auto_complete, store_poll completes everything, in order. Off at
 * first. */
void store_mem_set_auto(struct store *s, bool auto_complete);

/* How many operations could complete next: reads and syncs at any time,
 * appends and saves of one chain in order. */
unsigned store_mem_pending(const struct store *s);
/* The k-th of them, oldest first; its `kind` is one of ops.h. */
const struct store_op *store_mem_pending_op(const struct store *s, unsigned k);
/* Completes the k-th: its effects are there, its callback is due. */
void store_mem_complete(struct store *s, unsigned k);
/* Completes all, oldest first. */
void store_mem_complete_all(struct store *s);
/* True when store_poll has callbacks to run. */
bool store_mem_due(const struct store *s);

/* What a crash leaves is a prefix of whole records, of all chains together in
 * the order of the log. A disk is less orderly: of what was not synced any 512
 * bytes may be there or not, in any order. But nobody above the store can see
 * that. Its replay ends the log at the first record that is not whole and in
 * its place (sum, lsn, uuid), whatever lies behind; and slots get only what is
 * durable in the log, which is applied once more. So each of those states opens
 * as one of the prefixes that are drawn here, with at least what was synced.
 * That the store on disk keeps this word is shown by its own tests of crash
 * states. */
enum store_mem_crash {
    STORE_MEM_KILL,  /* SIGKILL: every completed append survives, and any
                        prefix of the others */
    STORE_MEM_POWER, /* power loss: what was synced survives, and any prefix
                        of the rest */
};
/* Frees the store without running callbacks; the operations are the caller's
 * again. Then store_open it anew: with the same opts.boot after a kill, with
 * another one after a power loss. */
void store_mem_crash(struct store *s, enum store_mem_crash kind);

enum store_mem_fault {
    STORE_MEM_FAIL_APPEND = 1,
    STORE_MEM_FAIL_SYNC = 2,
    STORE_MEM_FAIL_SAVE = 4,
    STORE_MEM_BAD_READ = 8,  /* of sectors */
    STORE_MEM_BAD_META = 16, /* of sums, digests, or records of the log */
};
/* The next operation of that kind to complete fails. A read that does, with
 * EIO or another sum than it should have, and does so again when it is
 * repeated, answers KT_E_CORRUPT and the store goes on; any other makes it
 * faulty. */
void store_mem_fail_next(struct store *s, enum store_mem_fault what);

#endif
