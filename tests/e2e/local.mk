# SPDX-License-Identifier: BSD-3-Clause
# Tests with real processes: test-<feature>-<case>.sh. Each finds the tree in
# $top_srcdir and the build in $top_builddir, and exits 0, 1 or, with the
# reason as its last line, 77. Add a test: one line here.

check_PROGRAMS += %D%/pacer %D%/noise
%C%_pacer_SOURCES = %D%/pacer.c
%C%_noise_SOURCES = %D%/noise.c

e2e_tests += \
	%D%/test-tools-one-chain.sh \
	%D%/test-tools-many-chains.sh \
	%D%/test-failover-kill.sh \
	%D%/test-failover-all.sh \
	%D%/test-failover-freeze.sh \
	%D%/test-mkfs-refuses.sh \
	%D%/test-mkfs-volume.sh \
	%D%/test-hub-down.sh \
	%D%/test-hub-recover.sh \
	%D%/test-attach-exclusive.sh \
	%D%/test-chain-force-promote.sh \
	%D%/test-bad-input.sh \
	%D%/test-bad-bytes.sh \
	%D%/test-flips-online.sh \
	%D%/test-full-capacity.sh \
	%D%/test-full-disk.sh \
	%D%/test-full-load.sh \
	%D%/test-handover-kill.sh \
	%D%/test-happy-path.sh \
	%D%/test-planned-stop.sh \
	%D%/test-read-repair.sh \
	%D%/test-recover-stores.sh \
	%D%/test-resync-wide.sh \
	%D%/test-return-suffix.sh \
	%D%/test-sandbox-life.sh \
	%D%/test-scrub.sh \
	%D%/test-cli-contract.sh
