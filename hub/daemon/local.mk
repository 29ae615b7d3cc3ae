# SPDX-License-Identifier: BSD-3-Clause
# The hub's shell: event loop, sockets, database.

sbin_PROGRAMS += kenter-hub
kenter_hub_SOURCES = \
	%D%/admin.c \
	%D%/main.c \
	%D%/note.c \
	%D%/options.c \
	%D%/order.c \
	%D%/pump.c \
	%D%/rows.c \
	%D%/show.c \
	%D%/show_chain.c \
	%D%/show_names.c \
	%D%/show_recover.c \
	%D%/show_status.c \
	%D%/store_lmdb.c
kenter_hub_LDADD = $(KT_HUB_LIBS) $(KT_LIBS) \
	$(UV_LIBS) $(LMDB_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS) -lpthread

unit_tests += tests/unit/test_hub_daemon tests/unit/test_hub_rows
tests_unit_test_hub_daemon_SOURCES = tests/unit/test_hub_daemon.c
tests_unit_test_hub_rows_SOURCES = tests/unit/test_hub_rows.c %D%/rows.c
