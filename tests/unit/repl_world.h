/* SPDX-License-Identifier: BSD-3-Clause */
/* A kenter-replicator process, its hub and its clients, played by a test. */
#ifndef KT_TESTS_UNIT_REPL_WORLD_H
#define KT_TESTS_UNIT_REPL_WORLD_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/base/text.h"
#include "lib/link/rpc.h"

#define WAIT_MS 20000u
#define CHAIN 7u

struct world {
    char dir[64], store[96], addr_file[96];
    struct kt_addr hub, unix_, tcp;
    struct kt_id cluster, client;
    int listener;
    pid_t pid;
    struct kt_rpc ctl; /* the replicator's control connection, hub side */
    struct kt_node node;
    struct kt_id store_id;
    uint64_t incarnation, cont_base;
    struct kt_cfg cfg;
    uint64_t hub_term, told_term; /* in REGISTER_OK; in REGISTER */
    struct kt_id hub_mark, told_mark;
};

/* 128 + the signal when one ended it. */
int world_exit_of(pid_t pid);
/* Starts the program with argv; its exit status. */
int world_run_with(struct world *w, const char *const *argv);
void world_start(struct world *w);
/* The next message but heartbeats; the test fails unless it is of type. */
struct kt_msg world_expect(struct kt_rpc *r, uint8_t type);
void world_say(struct kt_rpc *r, const struct kt_msg *m);
void world_hub_accept(struct world *w, const struct kt_id *cluster);
void world_hub_register(struct world *w, struct kt_chain_report *ret_r);
struct kt_rid world_activate(struct world *w, uint64_t epoch);
void world_client_open(struct world *w, struct kt_rpc *r, uint8_t role,
                       const struct kt_addr *a);
struct kt_buf *world_pattern(uint32_t sectors, uint8_t seed);
struct kt_msg world_a_write(struct world *w, uint64_t wseq, uint32_t extent,
                            struct kt_buf *b);
void world_write_sectors(struct world *w, struct kt_rpc *r, uint64_t wseq,
                         uint32_t extent, struct kt_buf *b);
void world_read_back(struct world *w, struct kt_rpc *r, uint32_t extent,
                     const struct kt_buf *want);
void world_flush(struct world *w, struct kt_rpc *r, uint64_t upto);
int world_nak_of(struct kt_rpc *r, const struct kt_msg *m);
int world_set_up(void **state);
int world_tear_down(void **state);
/* Stops it until SIGCONT; on return it runs no more. */
void world_freeze(struct world *w);
void world_stop(struct world *w);
unsigned long world_peak_kib(pid_t pid);

#endif
