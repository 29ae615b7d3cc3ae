# SPDX-License-Identifier: BSD-3-Clause
# What the volume plugin decides: options, counts, states. Pure.

noinst_LTLIBRARIES += %D%/libktvolcore.la
%C%_libktvolcore_la_SOURCES = \
	%D%/mounts.c \
	%D%/near.c \
	%D%/say.c \
	%D%/spec.c

unit_tests += tests/unit/test_vol_mounts tests/unit/test_vol_spec
tests_unit_test_vol_mounts_SOURCES = tests/unit/test_vol_mounts.c
tests_unit_test_vol_mounts_LDADD = %D%/libktvolcore.la $(LDADD)
tests_unit_test_vol_spec_SOURCES = tests/unit/test_vol_spec.c
tests_unit_test_vol_spec_LDADD = %D%/libktvolcore.la $(LDADD)
