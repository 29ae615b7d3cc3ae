# SPDX-License-Identifier: BSD-3-Clause
# Frames over sockets: transport between processes.
#
# Only framer is pure (tests/style/test-pure.sh).

noinst_LTLIBRARIES += %D%/libktlink.la
%C%_libktlink_la_SOURCES = \
	%D%/framer.c

unit_tests += tests/unit/test_framer
tests_unit_test_framer_SOURCES = tests/unit/test_framer.c tests/unit/gen_msg.c
