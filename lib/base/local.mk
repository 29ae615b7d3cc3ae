# SPDX-License-Identifier: BSD-3-Clause
# Errors, identities, text, checksums, system calls, log.
#
# addr, apart, errtext, idnew, log, net, os and run call the system: the pure
# cores may use only the others (tests/style/test-pure.sh).

noinst_LTLIBRARIES += %D%/libktbase.la
%C%_libktbase_la_SOURCES = \
	%D%/addr.c \
	%D%/apart.c \
	%D%/err.c \
	%D%/errtext.c \
	%D%/id.c \
	%D%/idnew.c \
	%D%/log.c \
	%D%/net.c \
	%D%/os.c \
	%D%/run.c \
	%D%/sum.c \
	%D%/text.c
%C%_libktbase_la_CPPFLAGS = $(AM_CPPFLAGS) -DKENTER_PLUGINDIR='"$(plugindir)"'

unit_tests += tests/unit/test_base_cursor tests/unit/test_base_err \
	tests/unit/test_base_id tests/unit/test_base_log \
	tests/unit/test_base_net tests/unit/test_base_os \
	tests/unit/test_base_sum tests/unit/test_base_text
tests_unit_test_base_cursor_SOURCES = tests/unit/test_base_cursor.c
tests_unit_test_base_err_SOURCES = tests/unit/test_base_err.c
tests_unit_test_base_id_SOURCES = tests/unit/test_base_id.c
tests_unit_test_base_log_SOURCES = tests/unit/test_base_log.c
tests_unit_test_base_net_SOURCES = tests/unit/test_base_net.c
tests_unit_test_base_os_SOURCES = tests/unit/test_base_os.c
tests_unit_test_base_sum_SOURCES = tests/unit/test_base_sum.c
tests_unit_test_base_text_SOURCES = tests/unit/test_base_text.c
