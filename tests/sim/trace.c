/* SPDX-License-Identifier: BSD-3-Clause */
/* The last events, for people; the hash of all of them, for the test that
 * the same seed is the same run; and how a run fails. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

static const char *ep_name(unsigned ep)
{
    static const char *const names[SIM_EPS] = {"hub", "n1", "n2", "n3", "n4",
                                               "n5",  "cA", "cB", "cC", "cD"};
    return ep < SIM_EPS ? names[ep] : "-";
}

static void print_entry(const struct trace_entry *e, FILE *f)
{
    fprintf(f,
            "%7" PRIu64 " %9.3f ms %-3s %-22s %" PRIu64 " %" PRIu64 " %" PRIu64
            "\n",
            e->step, (double)e->t / 1000, ep_name(e->ep), e->what, e->a, e->b,
            e->c);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

void trace(struct world *w, unsigned ep, const char *what, uint64_t a,
           uint64_t b, uint64_t c)
{
    struct trace_entry *e = &w->last[w->step++ % TRACE_LAST];
    *e = (struct trace_entry){w->step, w->now, ep, what, a, b, c};
    uint64_t h = mix(w->hash, w->now ^ (uint64_t)ep << 56);
    for (const char *p = what; *p; p++)
        h = h * 31 + (uint8_t)*p;
    w->hash = mix(mix(mix(h, a), b), c);
    if (w->trace)
        print_entry(e, stdout);
}

void trace_print_last(const struct world *w)
{
    uint64_t n = w->step < TRACE_LAST ? w->step : TRACE_LAST;
    for (uint64_t i = w->step - n; i < w->step; i++)
        print_entry(&w->last[i % TRACE_LAST], stderr);
}

void sim_end(struct world *w)
{
    longjmp(*w->fail, SIM_ENDED);
}

void sim_fail(struct world *w, const char *fmt, ...)
{
    static char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    w->reason = text;
    longjmp(*w->fail, 1);
}
