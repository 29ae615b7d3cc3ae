# SPDX-License-Identifier: BSD-3-Clause
# Unit tests that belong to no single room. A room's own tests are named in
# the room's local.mk:
#   unit_tests += tests/unit/test_NAME
#   tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c

# The assertions of all three cores (lib/base/rule.h: KT_HOLDS).
unit_tests += %D%/test_holds
tests_unit_test_holds_SOURCES = %D%/test_holds.c \
	%D%/chain_talk.c %D%/chain_talk.h $(hub_world) $(engine_rig)
