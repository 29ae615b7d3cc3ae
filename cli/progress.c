/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "lib/base/os.h"
#include "lib/base/text.h"

#define SHOW_MS 200u

void cli_progress_init(struct cli_progress *p, const struct cli *c)
{
    *p = (struct cli_progress){.start_ms = kt_now_ms()};
    p->on = isatty(STDERR_FILENO) == 1 && !cli_value(c, "json");
    p->next_ms = p->start_ms + SHOW_MS;
}

void cli_progress_show(void *arg, uint64_t done, uint64_t total)
{
    struct cli_progress *p = arg;
    char a[KT_SIZE_TEXT_BYTES], b[KT_SIZE_TEXT_BYTES], r[KT_SIZE_TEXT_BYTES];
    uint64_t now = kt_now_ms();
    if (!p->on || now < p->next_ms)
        return;
    uint64_t ms = now - p->start_ms;
    uint64_t rate = (uint64_t)((double)done * 1000 / (double)(ms ? ms : 1));
    p->next_ms = now + SHOW_MS;
    p->shown = true;
    fprintf(stderr, "\r%s of %s, %s/s, %llu s left   ", kt_size_format(done, a),
            kt_size_format(total, b), kt_size_format(rate, r),
            (unsigned long long)(rate ? (total - done) / rate : 0));
}

void cli_progress_end(struct cli_progress *p)
{
    if (p->shown)
        fprintf(stderr, "\r%70s\r", "");
    p->shown = false;
}
