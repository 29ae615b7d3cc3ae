# SPDX-License-Identifier: BSD-3-Clause
# The client's I/O engine, without I/O.

noinst_LTLIBRARIES += %D%/libktclient.la
%C%_libktclient_la_SOURCES = \
	%D%/answer.c \
	%D%/chain.c \
	%D%/check.c \
	%D%/engine.c \
	%D%/flush.c \
	%D%/gen.c \
	%D%/links.c \
	%D%/part.c \
	%D%/req.c \
	%D%/retain.c \
	%D%/table.c \
	%D%/tick.c

unit_tests += tests/unit/test_engine_flush tests/unit/test_engine_handover \
	tests/unit/test_engine_limits \
	tests/unit/test_engine_read tests/unit/test_engine_replay \
	tests/unit/test_engine_write
engine_rig = tests/unit/engine_rig.c tests/unit/engine_rig.h
tests_unit_test_engine_flush_SOURCES = tests/unit/test_engine_flush.c \
	$(engine_rig)
tests_unit_test_engine_handover_SOURCES = tests/unit/test_engine_handover.c \
	$(engine_rig)
tests_unit_test_engine_limits_SOURCES = tests/unit/test_engine_limits.c \
	$(engine_rig)
tests_unit_test_engine_read_SOURCES = tests/unit/test_engine_read.c \
	$(engine_rig)
tests_unit_test_engine_replay_SOURCES = tests/unit/test_engine_replay.c \
	$(engine_rig)
tests_unit_test_engine_write_SOURCES = tests/unit/test_engine_write.c \
	$(engine_rig)
