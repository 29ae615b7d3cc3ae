# SPDX-License-Identifier: BSD-3-Clause
# The replicator's shell: event loop, sockets, threads.

sbin_PROGRAMS += kenter-replicator
kenter_replicator_SOURCES = \
	%D%/acts.c \
	%D%/admin.c \
	%D%/chains.c \
	%D%/check.c \
	%D%/conns.c \
	%D%/hub.c \
	%D%/known.c \
	%D%/links.c \
	%D%/main.c \
	%D%/mend.c \
	%D%/names.c \
	%D%/ops.c \
	%D%/options.c \
	%D%/probe.c \
	%D%/push.c \
	%D%/scrub.c \
	%D%/serve.c
kenter_replicator_LDADD = $(KT_REPLICATOR_LIBS) $(KT_LIBS) \
	$(UV_LIBS) $(LMDB_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS) -lpthread

unit_tests += tests/unit/test_repl_daemon tests/unit/test_repl_options
tests_unit_test_repl_daemon_SOURCES = tests/unit/test_repl_daemon.c \
	tests/unit/repl_world.c tests/unit/repl_world.h
tests_unit_test_repl_options_SOURCES = tests/unit/test_repl_options.c \
	%D%/options.c

unit_tests += tests/unit/test_store_check
tests_unit_test_store_check_SOURCES = tests/unit/test_store_check.c \
	%D%/check.c $(kt_store_disk_rig)
