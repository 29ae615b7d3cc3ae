# SPDX-License-Identifier: BSD-3-Clause
# The store under bad disks: every legal state after a crash, failing calls,
# flipped bits. `make crash-states` and `make flips` do many more.

kt_store_bench = %D%/shim.c %D%/shim.h %D%/disk.c %D%/disk.h \
	%D%/life.c %D%/life.h \
	tests/unit/store_model.c tests/unit/store_model.h \
	tests/unit/store_rig_disk.c

unit_tests += %D%/test_crash_states
%C%_test_crash_states_SOURCES = %D%/test_crash_states.c $(kt_store_bench)

unit_tests += %D%/test_fail_nth
%C%_test_fail_nth_SOURCES = %D%/test_fail_nth.c %D%/memory.c $(kt_store_bench)
%C%_test_fail_nth_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc \
	-Wl,--wrap=calloc -Wl,--wrap=realloc

unit_tests += %D%/test_flips
%C%_test_flips_SOURCES = %D%/test_flips.c $(kt_store_bench)

PHONY_TARGETS += crash-states flips
crash-states flips: $(check_PROGRAMS)
	@top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	    COUNT='$(COUNT)' SEED='$(SEED)' \
	    bash $(top_srcdir)/%D%/campaign.sh $@
