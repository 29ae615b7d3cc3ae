# SPDX-License-Identifier: BSD-3-Clause
# A volume as a device of this machine's kernel.

noinst_LTLIBRARIES += %D%/libktattach.la
%C%_libktattach_la_SOURCES = \
	%D%/nbdnl.c \
	%D%/nbdnl_msg.c

unit_tests += tests/unit/test_nbdnl
tests_unit_test_nbdnl_SOURCES = tests/unit/test_nbdnl.c
tests_unit_test_nbdnl_LDADD = %D%/libktattach.la $(LDADD)
