# SPDX-License-Identifier: BSD-3-Clause
# The command line for people and scripts. All but main() is a library, so
# that tests can call it.

noinst_LTLIBRARIES += %D%/libktcli.la
%C%_libktcli_la_SOURCES = \
	%D%/attach.c \
	%D%/chain.c \
	%D%/doctor.c \
	%D%/doctor_disk.c \
	%D%/doctor_docker.c \
	%D%/doctor_http.c \
	%D%/doctor_node.c \
	%D%/help.c \
	%D%/hub.c \
	%D%/hub_recover.c \
	%D%/node.c \
	%D%/opts.c \
	%D%/progress.c \
	%D%/reach.c \
	%D%/recover.c \
	%D%/run.c \
	%D%/salvage.c \
	%D%/salvage_chain.c \
	%D%/salvage_image.c \
	%D%/salvage_sector.c \
	%D%/sandbox.c \
	%D%/sandbox_dir.c \
	%D%/sandbox_proc.c \
	%D%/sandbox_run.c \
	%D%/say.c \
	%D%/scrub.c \
	%D%/status.c \
	%D%/table.c \
	%D%/verify.c \
	%D%/verify_ask.c \
	%D%/volume.c

KT_CLI_LIBS = %D%/libktcli.la attach/libktattach.la \
	volplugin/core/libktvolcore.la

bin_PROGRAMS += kenter
kenter_SOURCES = %D%/main.c
kenter_LDADD = $(KT_CLI_LIBS) replicator/store/libktstore.la $(KT_LIBS) \
	$(JANSSON_LIBS) $(LMDB_LIBS) $(XXHASH_LIBS) $(NBD_LIBS) -lpthread

unit_tests += tests/unit/test_cli_hub tests/unit/test_cli_opts \
	tests/unit/test_cli_sandbox tests/unit/test_cli_verify
KT_CLI_FAKE = tests/unit/cli_fake.c tests/unit/cli_fake.h
tests_unit_test_cli_hub_SOURCES = tests/unit/test_cli_hub.c $(KT_CLI_FAKE)
tests_unit_test_cli_hub_LDADD = $(KT_CLI_LIBS) $(LDADD)
tests_unit_test_cli_opts_SOURCES = tests/unit/test_cli_opts.c $(KT_CLI_FAKE)
tests_unit_test_cli_opts_LDADD = $(KT_CLI_LIBS) $(LDADD)
tests_unit_test_cli_sandbox_SOURCES = tests/unit/test_cli_sandbox.c \
	$(KT_CLI_FAKE)
tests_unit_test_cli_sandbox_LDADD = $(KT_CLI_LIBS) $(LDADD)
tests_unit_test_cli_verify_SOURCES = tests/unit/test_cli_verify.c $(KT_CLI_FAKE)
tests_unit_test_cli_verify_LDADD = $(KT_CLI_LIBS) $(LDADD)
