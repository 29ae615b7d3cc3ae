# SPDX-License-Identifier: BSD-3-Clause
# The deterministic simulator. `make sim SEED=n` runs one seed.

unit_tests += tests/unit/test_checker
tests_unit_test_checker_SOURCES = tests/unit/test_checker.c \
	%D%/checker.c %D%/checker.h

check_PROGRAMS += %D%/sim
%C%_sim_SOURCES = \
	%D%/checker.c \
	%D%/checker.h \
	%D%/clientnode.c \
	%D%/faults.c \
	%D%/ghost.c \
	%D%/hubnode.c \
	%D%/mutant.c \
	%D%/net.c \
	%D%/node.c \
	%D%/nodelink.c \
	%D%/nodeops.c \
	%D%/sim.c \
	%D%/sim.h \
	%D%/trace.c \
	%D%/verify.c \
	%D%/workload.c \
	%D%/world.c
sim_tests += %D%/test-sim-seeds.sh
%C%_sim_LDADD = replicator/store/libktstoremem.la $(LDADD)

PHONY_TARGETS += sim
sim: $(check_PROGRAMS)
	$(top_builddir)/%D%/sim $(if $(SEED),--seed $(SEED))
