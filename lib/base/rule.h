/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules that can be switched off, to see that somebody notices: a test that
 * cannot fail proves nothing. The code asks KT_RULE(name) at the guard itself.
 *
 * In an ordinary build that is the constant true and nothing is left of it.
 * With -DKT_MUTANTS, which only tests/sim/sim-mutants is compiled with, it is
 * a switch of tests/sim/rules.c, set from the command line. KT_REACH(name) is
 * nothing, or there counts that a rare path was taken.
 *
 * from: I and B are of DESIGN.md; bug-n are the seeded bugs of its section on
 * proofs; other words are mutations of the model the protocol began as. */
#ifndef KT_BASE_RULE_H
#define KT_BASE_RULE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

/* clang-format off */
#define KT_RULES(X)                                                            \
    /* replicator/core: acknowledging */                                       \
    X(ack_logged, "acknowledged when it is in the own log",                    \
      "bug-1 I12")                                                             \
    X(ack_succ, "acknowledged when the successor did",                         \
      "bug-1 I12")                                                             \
    X(flush_synced, "FLUSH_OK after fdatasync",                                \
      "bug-2 I13")                                                             \
    X(eio, "an error of the store is final",                                   \
      "bug-11 I17")                                                            \
    X(in_flight, "the head admits so many records and no more",                \
      "bug-17")                                                                \
    X(min_write, "below min_write nothing is acknowledged",                    \
      "B12")                                                                   \
    X(credit_succ, "a new slot only against the successor's credit",           \
      "B7")                                                                    \
    X(cut_through, "an ack counts though the own log is behind",               \
      "B5")                                                                    \
    /* replicator/core: epochs and tokens */                                   \
    X(fwd_epoch, "records of another epoch are not taken",                     \
      "bug-3 I2 noepoch")                                                      \
    X(old_epoch, "a client of an older epoch is refused",                      \
      "bug-4 I2 noepoch")                                                      \
    X(fence, "only the holder of the token writes",                            \
      "bug-15 I18 nofence")                                                    \
    X(nak_cfg, "a refusal shows the whole newer configuration",                \
      "B14")                                                                   \
    X(cfg_told, "a member tells its client the new configuration",             \
      "B14")                                                                   \
    X(sealed_quiet, "a sealed member takes nothing",                           \
      "I3")                                                                    \
    X(seal_late, "a late SEAL seals nothing",                                  \
      "B1 lateseal")                                                           \
    X(promise, "older configurations than promised are refused",               \
      "I3")                                                                    \
    X(promise_saved, "SEAL_OK after the promise is durable",                   \
      "bug-16 I3")                                                             \
    X(act_sealed, "serves only what it was sealed for",                        \
      "I4 I11")                                                                \
    X(act_same, "serves only as the incarnation that was sealed",              \
      "bug-12 I4 I11")                                                         \
    X(prev, "a record follows the one before it",                              \
      "I8 noprev")                                                             \
    X(resume_first, "nothing is sent before RESUME_OK",                        \
      "I8")                                                                    \
    X(dedup, "a write is executed once",                                       \
      "bug-5 I19 nodedup")                                                     \
    X(wstable, "what is settled is never executed again",                      \
      "I19")                                                                   \
    /* replicator/core: equalize */                                            \
    X(eq_append, "EQDATA only appends",                                        \
      "B1 trunc")                                                              \
    X(eq_donor_same, "the donor is as it was sealed",                          \
      "B2 staledonor")                                                         \
    X(eq_durable, "EQ_OK after fdatasync",                                     \
      "I14 B3 B10 noeqsync")                                                   \
    /* replicator/core: resync */                                              \
    X(touched, "a copy leaves alone what records wrote meanwhile",             \
      "bug-7 B8")                                                              \
    X(trim_touched, "and what they trimmed",                                   \
      "bug-14 B8")                                                             \
    X(feed_copying, "records go whole while their extent is copied",           \
      "bug-6 B8")                                                              \
    X(copy_from, "a base is read when the log holds all before it",            \
      "bug-7 B8")                                                              \
    X(copy_logged, "and compared when the target's log does, too",             \
      "bug-7 B8")                                                              \
    X(row_partial, "a partial extent equals nothing",                          \
      "I21")                                                                   \
    X(row_id, "extents are compared by version",                               \
      "I21 B8")                                                                \
    X(row_sum, "and by digest",                                                \
      "I21 B8")                                                                \
    X(skip_partial, "missing bytes do not advance the version",                \
      "I21")                                                                   \
    X(dedup_travels, "the duplicate filter comes with a resync",               \
      "B6")                                                                    \
    X(whole, "what is copied to is no prefix any more, and says so",           \
      "I7 I21")                                                                \
    X(suffix_id, "a log goes on only from the very same record",               \
      "I7 I8")                                                                 \
    X(sync_durable, "SYNC_ACK after fdatasync",                                \
      "I14")                                                                   \
    /* replicator/store (the twin in memory) */                                \
    X(fua_synced, "FUA is durable when the append ends",                       \
      "bug-2 I12")                                                             \
    X(sum_checked, "sums are checked on every read",                           \
      "bug-10")                                                                \
    /* lib/client */                                                           \
    X(lock, "overlapping operations wait for each other",                      \
      "bug-9 A2")                                                              \
    X(ack_adopts, "a newer epoch is adopted before it completes things",       \
      "I20 noadopt")                                                           \
    X(ack_vgen, "an ack of another vgen acknowledges nothing",                 \
      "I16")                                                                   \
    X(cfg_get, "a client that is stuck asks for the configuration",            \
      "B14")                                                                   \
    X(window_parts, "so many writes of a chain are in flight and no more",     \
      "bug-17")                                                                \
    X(window_wseq, "no wseq is used far ahead of what is settled",             \
      "bug-17")                                                                \
    X(token_dies, "another token's configuration fences",                      \
      "I18 nofence")                                                           \
    X(history_fence, "another history fences, it is not replayed into",        \
      "B16")                                                                   \
    X(replay, "a new vgen has the kept writes sent again",                     \
      "I16 noreplay")                                                          \
    X(replay_base, "what survived is not sent again",                          \
      "I16")                                                                   \
    X(replay_quiet, "nothing else is sent before it is over",                  \
      "B11")                                                                   \
    X(fresh_wseq, "unacknowledged writes get fresh wseqs after it",            \
      "I16 norepend")                                                          \
    X(keep_zero, "ZERO and TRIM are kept, too",                                \
      "B11")                                                                   \
    X(keep_durable, "what is durable is kept while older things are",          \
      "I16")                                                                   \
    X(flush_all, "a flush needs every member",                                 \
      "I13")                                                                   \
    X(flush_epoch, "of one epoch and vgen",                                    \
      "I13")                                                                   \
    X(flush_upto, "what is kept goes by seq, not by time",                     \
      "I16 covertime")                                                         \
    X(flush_join, "a round under way covers only what it asked for",           \
      "bug-13 I16 covertime")                                                  \
    X(flush_covers, "a flush asks for all that is acknowledged",               \
      "bug-13 I16")                                                            \
    X(hand_over, "a successor serves nothing when unflushed writes are gone",  \
      "B10")                                                                   \
    X(bad_hope, "no error of a read while a whole copy may come back",         \
      "A4")                                                                    \
    X(settle_late, "a new vgen is settled when the replay is complete",        \
      "B10")                                                                   \
    /* hub/control */                                                          \
    X(held_since, "a successor learns that another held the volume",           \
      "B10")                                                                   \
    X(prepare_first, "an epoch is stored before members promise it",           \
      "I1 B4")                                                                 \
    X(prepare_kept, "a PREPARE that is found is carried on",                   \
      "B4")                                                                    \
    X(commit_first, "a configuration is stored before it is told",             \
      "bug-16 I5")                                                             \
    X(in_last, "only the last set has a history to give",                      \
      "bug-8 I4 I6")                                                           \
    X(vgen, "nobody with continuity: a new vgen",                              \
      "I15 novgen")                                                            \
    X(cont_acked, "who lacks what others saw acknowledged has none",           \
      "I15")                                                                   \
    X(base_kept, "who lacks what the last epoch began with gives nothing",     \
      "F36 B3")                                                                \
    X(promise_kept, "who forgot its promise is seen when it registers",        \
      "F36 I3")                                                                \
    X(newest_conn, "a registration on a connection given up is not heard",     \
      "F36")                                                                   \
    X(donor_cont, "members with continuity give before others",                \
      "B16")                                                                   \
    X(donor_long, "the longest history is given",                              \
      "bug-8 mindonor")                                                        \
    X(eq_all, "who did not answer EQ does not serve",                          \
      "I9 noeq")                                                               \
    X(eq_ok_same, "EQ_OK counts from the sealed incarnation and position",     \
      "B2")                                                                    \
    X(eq_broken, "a restart among those that take part starts over",           \
      "B2")                                                                    \
    X(restart_seals, "a restart asks for a new epoch",                         \
      "bug-12 I11")                                                            \
    X(synced, "who was not told to be in sync does not serve",                 \
      "bug-6 B17")                                                             \
    X(attach_wait, "attached when every chain has the token",                  \
      "bug-15 B9")                                                             \
    X(disk_stall, "a stuck disk counts as silence",                            \
      "bug-20")                                                                \
    X(head_cut, "what the holder cannot reach is not the head",                \
      "B13")                                                                   \
    X(slow, "who holds up the others is evicted",                              \
      "F23")                                                                   \
    X(cut, "neighbours that cannot reach each other are parted",               \
      "B13")                                                                   \
    X(hub_stale, "a row older than what members saw decides nothing",          \
      "B15")                                                                   \
    X(token_shown, "a recovery counts the tokens that clients show",           \
      "B15")                                                                   \
    X(sync_cut, "a target that its source cannot reach is given up",           \
      "B13")                                                                   \
    X(blame_another, "an operation that fails again does without another",     \
      "A5 B13")                                                                \
    X(hub_twice, "no two starts of the hub give out the same epoch",           \
      "I1 B15")                                                                \
    /* all: the code's own assertions between steps. Off with any other, for   \
     * it is those outside that are to notice. */                              \
    X(self_check, "the cores look at their own invariants",                    \
      "-")

/* Paths that few runs take. */
#define KT_REACHES(X)                                                          \
    X(dup_across_epochs, "a resend is answered in a later epoch")              \
    X(dup_in_flight, "a resend while the first is on its way")                 \
    X(dup_stale, "a write that is settled comes once more")                    \
    X(gap, "a record that does not follow")                                    \
    X(resume_held, "RESUME before the own ACTIVATE")                           \
    X(eq_append, "EQDATA with records")                                        \
    X(eq_refused, "a donor that is not as it was sealed")                      \
    X(eq_gap, "a log too short to equalize from")                              \
    X(seal_refused, "a SEAL below the promise")                                \
    X(act_refused, "an ACTIVATE below the promise")                            \
    X(min_write, "a write refused below min_write")                            \
    X(nospc, "a write refused for want of a slot")                             \
    X(append_refused, "a record of a resync refused for want of a slot")       \
    X(sync_again, "a resync starts over in its epoch")                         \
    X(suffix_other, "a target that is no prefix of the source")                \
    X(suffix_gap, "the log does not reach back to the target")                 \
    X(suffix_again, "a target that fell behind is fed from the log again")     \
    X(brake, "acks held back for a target that comes no closer")               \
    X(feed_skip, "a record of a queued extent goes as SKIP")                   \
    X(feed_again, "an extent queued again while it is copied")                 \
    X(copy_free, "a copy of an extent that only the target has")               \
    X(touched, "a copied sector that a record wrote meanwhile")                \
    X(trim_touched, "or trimmed")                                              \
    X(read_single, "a read sector by sector: no member has them all whole")    \
    X(replay_again, "another loss of power during a replay")                   \
    X(replay_zero, "a ZERO or TRIM sent again")                                \
    X(ack_old_epoch, "an ack of an older epoch than the client's")             \
    X(fenced_by_cfg, "a client fenced by a configuration")                     \
    X(fenced_by_nak, "or by a refusal")                                        \
    X(op_again, "an operation starts over at a higher epoch")                  \
    X(op_cold, "nobody of the last set was in service")                        \
    X(op_found, "a PREPARE of an earlier hub is carried on")                   \
    X(left_out, "a member is left out of an operation")                        \
    X(forgive, "those left out are asked once more")                           \
    X(blame_another, "the donor, or another, is left out instead")             \
    X(synced, "a member comes into service after its resync")                  \
    X(sync_kept, "a resync goes on in the next epoch")                         \
    X(old_register, "a registration on a connection that was given up")        \
    X(recount_again, "the slots of a store that refused, read once more")      \
    X(sync_waits, "a resync waits for another one to end")                     \
    X(vgen, "a new vgen")                                                      \
    X(quarantined, "a member with another history")                            \
    X(last_one, "one member serves alone")                                     \
    X(evict_silent, "a member evicted whose death nobody confirmed")           \
    X(cut, "a pair of neighbours parted")                                      \
    X(head_cut, "a head that the holder could not reach")
/* clang-format on */

#define KT_RULE_ENUM(name, what, from) KT_M_##name,
#define KT_REACH_ENUM(name, what) KT_P_##name,
enum kt_rule { KT_RULES(KT_RULE_ENUM) KT_RULE_END };
enum kt_reach { KT_REACHES(KT_REACH_ENUM) KT_REACH_END };
#undef KT_RULE_ENUM
#undef KT_REACH_ENUM

#ifdef KT_MUTANTS
extern bool kt_rule_off[KT_RULE_END];
extern uint64_t kt_reached[KT_REACH_END];
#define KT_RULE(name) (!kt_rule_off[KT_M_##name])
#define KT_REACH(name) ((void)kt_reached[KT_P_##name]++)
#else
#define KT_RULE(name) true
#define KT_REACH(name) ((void)0)
#endif

/* An assertion that cites what it stands for: an invariant (I) or a decision
 * (B) of DESIGN.md, which has a table of them. Like any assertion it is for
 * our own bugs: nothing that comes from a network or a disk may break it. */
#define KT_HOLDS(number, cond)                                                 \
    assert((!KT_RULE(self_check) || (cond)) && #number)

#endif
