# SPDX-License-Identifier: BSD-3-Clause
# What travels: headers, messages, configurations.
#
# buf allocates and msg_control, msg_json speak JSON: the pure cores may use
# only the others (tests/style/test-pure.sh).

noinst_LTLIBRARIES += %D%/libktwire.la
%C%_libktwire_la_SOURCES = \
	%D%/buf.c \
	%D%/cfg.c \
	%D%/dedup.c \
	%D%/msg.c \
	%D%/msg_control.c \
	%D%/msg_data.c \
	%D%/msg_json.c \
	%D%/record.c

unit_tests += tests/unit/test_record tests/unit/test_cfg tests/unit/test_msg
tests_unit_test_record_SOURCES = tests/unit/test_record.c
tests_unit_test_cfg_SOURCES = tests/unit/test_cfg.c tests/unit/gen_msg.c
tests_unit_test_msg_SOURCES = tests/unit/test_msg.c tests/unit/gen_msg.c
