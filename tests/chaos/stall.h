/* SPDX-License-Identifier: BSD-3-Clause */
/* How long the client stood still, and which fault was at it. */
#ifndef KT_TESTS_CHAOS_STALL_H
#define KT_TESTS_CHAOS_STALL_H

#include <stdint.h>

#define FAULTS_MAX 8192u
#define KIND_BYTES 24u

/* Number n begins now; it keeps its kind for the report. */
void stall_fault(uint32_t n, const char *kind);
void stall_healed(uint32_t n);

/* Nothing was answered to the closed-loop writer from from_ns to to_ns. */
void stall_gap(uint64_t from_ns, uint64_t to_ns);

/* A line for each kind of fault, one for the stalls that no fault explains. */
void stall_report(void);

#endif
