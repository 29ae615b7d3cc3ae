/* SPDX-License-Identifier: BSD-3-Clause */
/* A whole cluster in one directory (C6):
 *
 *   DIR/sandbox.json   how it was made; marks DIR as ours
 *       context.json   for every other command
 *       hub/  n1/ ..   each: store/ log pid ident address, and the unix socket
 *
 * The daemons are the real ones, each in a session of its own, and outlive
 * this program. A process is known by pid, start time and boot (ident), so a
 * recycled pid is never taken for it; pid alone is for people and scripts. */
#ifndef KT_CLI_SANDBOX_H
#define KT_CLI_SANDBOX_H

#include <sys/types.h>

#include "cli/cli.h"
#include "lib/base/text.h"

#define SANDBOX_NODES_MAX 32u
#define SANDBOX_DIR_MAX 512
#define SANDBOX_PATH_MAX 768
#define SANDBOX_NAME_MAX 16

struct sandbox {
    char dir[SANDBOX_DIR_MAX]; /* absolute */
    unsigned nodes, replicas;
    uint64_t segment, capacity; /* bytes; 0: the daemons' defaults */
    int lock_fd;
};

/* ---- sandbox_dir.c: the directory ---- */

/* From --dir, $KENTER_SANDBOX or ~/.local/share/kenter/sandbox: fills dir
 * only. */
int sandbox_find(const struct cli *c, struct sandbox *ret_s) KT_MUST_CHECK;
/* Finds and reads what an earlier `up` made. */
int sandbox_load(const struct cli *c, struct sandbox *ret_s) KT_MUST_CHECK;
/* Reads sandbox.json of s->dir: 0, -ENOENT, or another -errno. */
int sandbox_read(struct sandbox *s) KT_MUST_CHECK;
int sandbox_save(const struct sandbox *s) KT_MUST_CHECK;
/* One of up, down, start at a time. Released by the end of the process. */
int sandbox_lock(struct sandbox *s) KT_MUST_CHECK;
/* Removes what is ours in dir, and dir when nothing else is in it. */
int sandbox_wipe(const struct sandbox *s) KT_MUST_CHECK;

/* "hub" for 0, "n1".. ; ret has SANDBOX_NAME_MAX bytes. */
const char *sandbox_name(unsigned which, char *ret);
/* The number of a name, or -1. */
int sandbox_which(const struct sandbox *s, const char *name);
/* DIR/NAME/file; file NULL: DIR/NAME. ret has SANDBOX_PATH_MAX bytes. */
const char *sandbox_path(const struct sandbox *s, unsigned which,
                         const char *file, char *ret);
/* DIR/file */
const char *sandbox_file(const struct sandbox *s, const char *file, char *ret);
/* The unix socket; false when its path is too long for one. */
bool sandbox_socket(const struct sandbox *s, unsigned which,
                    struct kt_addr *ret_addr);

#define SANDBOX_ADDRS_MAX 4
/* What a daemon wrote with --address-file; 0 when there is none. */
unsigned sandbox_addresses(const struct sandbox *s, unsigned which,
                           const char *file,
                           struct kt_addr ret[SANDBOX_ADDRS_MAX]);

/* context.json, for the cluster the hub says it is. */
int sandbox_write_context(const struct sandbox *s,
                          const struct kt_id *cluster) KT_MUST_CHECK;

/* ---- sandbox_proc.c: processes ---- */

struct sandbox_proc {
    pid_t pid;
    int fd;     /* pidfd, or -1 where the kernel has none */
    char state; /* as in /proc/PID/stat: R S D T ... */
};

/* True when it runs; then ret_p is to be closed with sandbox_proc_close. */
bool sandbox_proc_find(const struct sandbox *s, unsigned which,
                       struct sandbox_proc *ret_p);
void sandbox_proc_close(struct sandbox_proc *p);
int sandbox_proc_signal(const struct sandbox_proc *p, int sig) KT_MUST_CHECK;
/* True when it is gone within that time. */
bool sandbox_proc_wait(const struct sandbox *s, unsigned which,
                       unsigned timeout_ms);
/* Runs argv detached, output appended to its log. 0 or -errno. */
int sandbox_spawn(const struct sandbox *s, unsigned which, const char *program,
                  char *const *argv, pid_t *ret_pid) KT_MUST_CHECK;
/* The end of its log, one line, for a sentence. */
const char *sandbox_last_words(const struct sandbox *s, unsigned which,
                               char *ret, size_t size);
/* The program beside this one, in KENTER_BINDIR, or just its name, for PATH. */
const char *sandbox_program(const char *name, char *ret, size_t size);

/* ---- sandbox_run.c: starting and waiting ---- */

/* Starts hub (0) or a node unless it runs; returns when it listens. *ret_was
 * tells that it ran already. */
int sandbox_start(const struct sandbox *s, unsigned which,
                  bool *ret_was) KT_MUST_CHECK;
/* Connects to the hub and writes context.json. */
int sandbox_meet_hub(const struct sandbox *s) KT_MUST_CHECK;
/* Until the hub sees every node up, at most 15 s. */
int sandbox_wait_nodes(const struct sandbox *s) KT_MUST_CHECK;

#endif
