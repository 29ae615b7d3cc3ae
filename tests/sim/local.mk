# SPDX-License-Identifier: BSD-3-Clause
# The deterministic simulator. `make sim SEED=n` runs one seed.

unit_tests += tests/unit/test_checker
tests_unit_test_checker_SOURCES = tests/unit/test_checker.c \
	%D%/checker.c %D%/checker.h

#check_PROGRAMS += %D%/sim
#%C%_sim_SOURCES = %D%/sim.c
#sim_tests += %D%/test-sim-seeds.sh

PHONY_TARGETS += sim
sim: $(check_PROGRAMS)
	$(top_builddir)/%D%/sim $(if $(SEED),--seed $(SEED))
