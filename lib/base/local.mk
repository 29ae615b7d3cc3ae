# SPDX-License-Identifier: BSD-3-Clause
# Errors, identities, text, checksums, system calls, log.
#
# Add a source: one more line below. Add a unit test of this room:
#   unit_tests += tests/unit/test_NAME
#   tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c
# (it links every library of the tree and cmocka by itself).

noinst_LTLIBRARIES += %D%/libktbase.la
%C%_libktbase_la_SOURCES =
