# SPDX-License-Identifier: BSD-3-Clause
# Unit tests that belong to no single room. A room's own tests are named in
# the room's local.mk:
#   unit_tests += tests/unit/test_NAME
#   tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c
