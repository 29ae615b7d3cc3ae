# SPDX-License-Identifier: BSD-3-Clause
# Whole machines: User-Mode Linux with the kernel's nbd driver. Needs root.
# `make check` leaves them out; `make check-lab` and `./check lab` run them,
# one at a time. %D%/lab is for a lab by hand.

check_PROGRAMS += %D%/flushed
%C%_flushed_SOURCES = %D%/flushed.c

lab_tests += \
	%D%/test-lab-attach-kill.sh \
	%D%/test-lab-attach-life.sh \
	%D%/test-lab-dockerd.sh \
	%D%/test-lab-power-cut.sh \
	%D%/test-lab-power-nodes.sh \
	%D%/test-lab-takeover.sh \
	%D%/test-lab-volume.sh

PHONY_TARGETS += check-lab
check-lab: all %D%/flushed
	$(MAKE) $(AM_MAKEFLAGS) -j1 check-TESTS TESTS='$(lab_tests)'

PHONY_TARGETS += power-cuts
power-cuts: all %D%/flushed
	@top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	    COUNT='$(COUNT)' bash $(top_srcdir)/%D%/campaign.sh
