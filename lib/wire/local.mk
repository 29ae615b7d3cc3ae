# SPDX-License-Identifier: BSD-3-Clause
# What travels: headers, messages, configurations.
#
# Add a source: one more line below. Add a unit test of this room:
#   unit_tests += tests/unit/test_NAME
#   tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c
# (it links every library of the tree and cmocka by itself).

noinst_LTLIBRARIES += %D%/libktwire.la
%C%_libktwire_la_SOURCES =
