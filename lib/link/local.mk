# SPDX-License-Identifier: BSD-3-Clause
# Frames over sockets: transport between processes.
#
# Only framer is pure (tests/style/test-pure.sh). What needs libuv is a
# library of its own: nothing that nbdkit loads uses libuv (A6).

noinst_LTLIBRARIES += %D%/libktconn.la %D%/libktlink.la
%C%_libktconn_la_SOURCES = \
	%D%/conn.c \
	%D%/conn_io.c \
	%D%/conn_listen.c
%C%_libktlink_la_SOURCES = \
	%D%/context.c \
	%D%/framer.c \
	%D%/rpc.c

unit_tests += tests/unit/test_conn tests/unit/test_framer \
	tests/unit/test_rpc
tests_unit_test_conn_SOURCES = tests/unit/test_conn.c tests/unit/gen_msg.c
tests_unit_test_framer_SOURCES = tests/unit/test_framer.c tests/unit/gen_msg.c
tests_unit_test_rpc_SOURCES = tests/unit/test_rpc.c tests/unit/gen_msg.c
