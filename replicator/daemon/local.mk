# SPDX-License-Identifier: BSD-3-Clause
# The replicator's shell: event loop, sockets, threads.
#
# When main.c is there, take the # from the lines below and add the other
# sources to the list.

#sbin_PROGRAMS += kenter-replicator
#kenter_replicator_SOURCES = %D%/main.c
#kenter_replicator_LDADD = $(KT_REPLICATOR_LIBS) $(KT_LIBS) \
#	$(UV_LIBS) $(LMDB_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS) -lpthread

unit_tests += tests/unit/test_repl_options
tests_unit_test_repl_options_SOURCES = tests/unit/test_repl_options.c \
	%D%/options.c
