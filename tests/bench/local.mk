# SPDX-License-Identifier: BSD-3-Clause
# Figures, not verdicts: printed, never asserted.

check_PROGRAMS += %D%/store_bench
%C%_store_bench_SOURCES = %D%/store_bench.c

PHONY_TARGETS += bench bench-failover bench-restart bench-store
bench bench-failover bench-restart: all
bench-store: %D%/store_bench
bench bench-failover bench-restart bench-store:
	@top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	    bash $(top_srcdir)/%D%/$@.sh
