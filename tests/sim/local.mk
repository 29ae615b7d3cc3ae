# SPDX-License-Identifier: BSD-3-Clause
# The deterministic simulator. `make sim SEED=n` runs one seed.

unit_tests += tests/unit/test_checker
tests_unit_test_checker_SOURCES = tests/unit/test_checker.c \
	%D%/checker.c %D%/checker.h

check_PROGRAMS += %D%/sim %D%/sim-mutants
%C%_sim_SOURCES = \
	%D%/atlas.c \
	%D%/checker.c \
	%D%/checker.h \
	%D%/clientnode.c \
	%D%/direct.c \
	%D%/direct.h \
	%D%/direct_disk.c \
	%D%/direct_hub.c \
	%D%/direct_old.c \
	%D%/direct_reach.c \
	%D%/direct_rows.c \
	%D%/direct_rules.c \
	%D%/direct_sync.c \
	%D%/disk.c \
	%D%/disk.h \
	%D%/enough.c \
	%D%/faults.c \
	%D%/ghost.c \
	%D%/hubnode.c \
	%D%/hubapi.h \
	%D%/hubnode.h \
	%D%/hubsee.c \
	%D%/jobs.c \
	%D%/jobs.h \
	%D%/kinds.c \
	%D%/kinds.h \
	%D%/mutant.c \
	%D%/net.c \
	%D%/netbits.c \
	%D%/node.c \
	%D%/nodeend.c \
	%D%/nodelink.c \
	%D%/nodeops.c \
	%D%/rules.c \
	%D%/sim.c \
	%D%/sim.h \
	%D%/trace.c \
	%D%/verify.c \
	%D%/workload.c \
	%D%/world.c
sim_tests += %D%/test-mutants.sh %D%/test-sim-seeds.sh
rule_tests += %D%/test-asserts.sh %D%/test-reach.sh
%C%_sim_LDADD = replicator/store/libktstoremem.la $(LDADD)

# The same with switches for its rules (lib/base/rule.h), in objects of its
# own: no library has them.
%C%_sim_mutants_CPPFLAGS = $(AM_CPPFLAGS) -DKT_MUTANTS
%C%_sim_mutants_SOURCES = $(%C%_sim_SOURCES) \
	$(replicator_core_libktreplcore_la_SOURCES) \
	$(replicator_store_libktstoremem_la_SOURCES) \
	$(hub_control_libkthubcontrol_la_SOURCES) \
	$(lib_client_libktclient_la_SOURCES)
%C%_sim_mutants_LDADD = lib/link/libktlink.la lib/wire/libktwire.la \
	lib/base/libktbase.la $(XXHASH_LIBS) $(JANSSON_LIBS)

# Each rule off, and how many seeds it takes to notice.
PHONY_TARGETS += mutants
mutants: $(check_PROGRAMS)
	top_builddir='$(abs_top_builddir)' \
	    bash $(top_srcdir)/%D%/mutants.sh

PHONY_TARGETS += sim
sim: $(check_PROGRAMS)
	$(top_builddir)/%D%/sim $(if $(SEED),--seed $(SEED))

PHONY_TARGETS += sim-campaign
sim-campaign: $(check_PROGRAMS)
	@top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	    SEEDS='$(SEEDS)' FROM='$(FROM)' JOBS='$(JOBS)' \
	    LIMIT_S='$(LIMIT_S)' bash $(top_srcdir)/%D%/campaign.sh
