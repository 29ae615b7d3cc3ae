# SPDX-License-Identifier: BSD-3-Clause
# Whole machines: User-Mode Linux with the kernel's nbd driver. Needs root.
# `make check` leaves them out; `make check-lab` and `./check lab` run them,
# one at a time. %D%/lab is for a lab by hand.

lab_tests += \
	%D%/test-lab-attach-kill.sh \
	%D%/test-lab-attach-life.sh \
	%D%/test-lab-power-cut.sh \
	%D%/test-lab-volume.sh

PHONY_TARGETS += check-lab
check-lab: all
	$(MAKE) $(AM_MAKEFLAGS) -j1 check-TESTS TESTS='$(lab_tests)'
