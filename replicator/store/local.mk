# SPDX-License-Identifier: BSD-3-Clause
# Where a replicator keeps records and sectors.
#
# Add a source: one more line below. Add a unit test of this room:
#   unit_tests += tests/unit/test_NAME
#   tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c
# (it links every library of the tree and cmocka by itself).

noinst_LTLIBRARIES += %D%/libktstore.la
%C%_libktstore_la_SOURCES =
