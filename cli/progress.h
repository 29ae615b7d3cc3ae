/* SPDX-License-Identifier: BSD-3-Clause */
/* "1.5 GiB of 10.0 GiB, 210.0 MiB/s, 41 s left", on a terminal. */
#ifndef KT_CLI_PROGRESS_H
#define KT_CLI_PROGRESS_H

#include "cli/cli.h"

struct cli_progress {
    bool on, shown;
    uint64_t start_ms, next_ms;
};

/* Shows nothing where stderr is no terminal, nor with --json. */
void cli_progress_init(struct cli_progress *p, const struct cli *c);
/* arg: struct cli_progress. Bytes; at most a few times a second. */
void cli_progress_show(void *arg, uint64_t done, uint64_t total);
void cli_progress_end(struct cli_progress *p); /* wipes the line */

#endif
