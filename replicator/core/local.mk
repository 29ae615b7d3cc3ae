# SPDX-License-Identifier: BSD-3-Clause
# The chain, pure.
#
# Add a source: one more line below. Add a unit test of this room:
#   unit_tests += tests/unit/test_NAME
#   tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c
# (it links every library of the tree and cmocka by itself).

noinst_LTLIBRARIES += %D%/libktreplcore.la
%C%_libktreplcore_la_SOURCES = \
	%D%/chain.c \
	%D%/chain.h \
	%D%/chain_check.c \
	%D%/chain_data.c \
	%D%/chain_dst.c \
	%D%/chain_epoch.c \
	%D%/chain_hop.c \
	%D%/chain_int.h \
	%D%/chain_log.c \
	%D%/chain_pace.c \
	%D%/chain_relay.c \
	%D%/chain_src.c \
	%D%/chain_table.c

unit_tests += tests/unit/test_chain_write tests/unit/test_chain_hop \
	tests/unit/test_chain_epoch tests/unit/test_chain_sync \
	tests/unit/test_chain_relay tests/unit/test_chain_suffix \
	tests/unit/test_chain_target tests/unit/test_chain_pace
tests_unit_test_chain_pace_SOURCES = tests/unit/test_chain_pace.c \
	tests/unit/chain_talk.c tests/unit/chain_talk.h
tests_unit_test_chain_suffix_SOURCES = tests/unit/test_chain_suffix.c \
	tests/unit/chain_talk.c tests/unit/chain_talk.h
tests_unit_test_chain_target_SOURCES = tests/unit/test_chain_target.c \
	tests/unit/chain_talk.c tests/unit/chain_talk.h
tests_unit_test_chain_relay_SOURCES = tests/unit/test_chain_relay.c \
	tests/unit/chain_talk.c tests/unit/chain_talk.h
tests_unit_test_chain_write_SOURCES = tests/unit/test_chain_write.c \
	tests/unit/chain_talk.c tests/unit/chain_talk.h
tests_unit_test_chain_hop_SOURCES = tests/unit/test_chain_hop.c \
	tests/unit/chain_talk.c tests/unit/chain_talk.h
tests_unit_test_chain_epoch_SOURCES = tests/unit/test_chain_epoch.c \
	tests/unit/chain_talk.c tests/unit/chain_talk.h
tests_unit_test_chain_sync_SOURCES = tests/unit/test_chain_sync.c \
	tests/unit/chain_talk.c tests/unit/chain_talk.h
