# SPDX-License-Identifier: BSD-3-Clause
# The hub's decisions, pure.

noinst_LTLIBRARIES += %D%/libkthubcontrol.la
%C%_libkthubcontrol_la_SOURCES = \
	%D%/act.c \
	%D%/attach.c \
	%D%/chain.c \
	%D%/check.c \
	%D%/commit.c \
	%D%/find.c \
	%D%/hub.c \
	%D%/live.c \
	%D%/node.c \
	%D%/op.c \
	%D%/order.c \
	%D%/place.c \
	%D%/recover.c \
	%D%/regain.c \
	%D%/seal.c \
	%D%/syncs.c \
	%D%/table.c \
	%D%/volume.c

hub_world = tests/unit/hub_world.c tests/unit/hub_world.h \
	tests/unit/hub_peer.c
unit_tests += tests/unit/test_hub_attach tests/unit/test_hub_backoff \
	tests/unit/test_hub_chain \
	tests/unit/test_hub_order tests/unit/test_hub_random \
	tests/unit/test_hub_recover tests/unit/test_hub_tokens \
	tests/unit/test_hub_volume
tests_unit_test_hub_attach_SOURCES = tests/unit/test_hub_attach.c $(hub_world)
tests_unit_test_hub_backoff_SOURCES = tests/unit/test_hub_backoff.c $(hub_world)
tests_unit_test_hub_chain_SOURCES = tests/unit/test_hub_chain.c $(hub_world)
tests_unit_test_hub_volume_SOURCES = tests/unit/test_hub_volume.c $(hub_world)
tests_unit_test_hub_order_SOURCES = tests/unit/test_hub_order.c $(hub_world)
tests_unit_test_hub_recover_SOURCES = tests/unit/test_hub_recover.c $(hub_world)
tests_unit_test_hub_tokens_SOURCES = tests/unit/test_hub_tokens.c $(hub_world)
tests_unit_test_hub_random_SOURCES = tests/unit/test_hub_random.c $(hub_world)
