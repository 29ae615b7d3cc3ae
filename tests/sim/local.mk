# SPDX-License-Identifier: BSD-3-Clause
# The deterministic simulator. `make sim SEED=n` runs one seed.
#
# When sim.c is there, take the # from the lines below.

#check_PROGRAMS += %D%/sim
#%C%_sim_SOURCES = %D%/sim.c
#sim_tests += %D%/test-sim-seeds.sh

PHONY_TARGETS += sim
sim: $(check_PROGRAMS)
	$(top_builddir)/%D%/sim $(if $(SEED),--seed $(SEED))
