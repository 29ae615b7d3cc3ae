# SPDX-License-Identifier: BSD-3-Clause
# Where a replicator keeps records and sectors.
#
# libktstore is the store on disk; libktstoremem its in-memory twin. Both have
# the functions of store.h: a program that wants the twin names it first:
#   tests_unit_test_NAME_LDADD = replicator/store/libktstoremem.la $(LDADD)
#
# Add a source: one more line below. Add a unit test of this room:
#   unit_tests += tests/unit/test_NAME
#   tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c
# (it links every library of the tree and cmocka by itself).

noinst_LTLIBRARIES += %D%/libktstore.la %D%/libktstoremem.la
%C%_libktstore_la_SOURCES = \
	%D%/append.c \
	%D%/apply.c \
	%D%/chains.c \
	%D%/check.c \
	%D%/commit.c \
	%D%/create.c \
	%D%/digest.c \
	%D%/dir.c \
	%D%/fold.c \
	%D%/index.c \
	%D%/logfmt.c \
	%D%/logio.c \
	%D%/logread.c \
	%D%/look.c \
	%D%/look_log.c \
	%D%/mark.c \
	%D%/mend.c \
	%D%/overlay.c \
	%D%/pages.c \
	%D%/read.c \
	%D%/replay.c \
	%D%/scan.c \
	%D%/scrub.c \
	%D%/seg.c \
	%D%/slots.c \
	%D%/store.c \
	%D%/super.c \
	%D%/threads.c
%C%_libktstoremem_la_SOURCES = \
	%D%/fold.c \
	%D%/mem_damage.c \
	%D%/mem_disk.c \
	%D%/mem_ops.c \
	%D%/store_mem.c

# The same cases for both.
kt_store_cases = tests/unit/test_store_promises.c tests/unit/store_cases.c \
	tests/unit/store_model.c tests/unit/store_model.h
unit_tests += tests/unit/test_store_disk tests/unit/test_store_mem
tests_unit_test_store_disk_SOURCES = $(kt_store_cases) \
	tests/unit/store_rig_disk.c
tests_unit_test_store_mem_SOURCES = $(kt_store_cases) \
	tests/unit/store_rig_mem.c
tests_unit_test_store_mem_LDADD = %D%/libktstoremem.la $(LDADD)

# Only for the one on disk.
unit_tests += tests/unit/test_store_crash tests/unit/test_store_limits
kt_store_disk_rig = tests/unit/store_model.c tests/unit/store_model.h \
	tests/unit/store_rig_disk.c
tests_unit_test_store_crash_SOURCES = tests/unit/test_store_crash.c \
	$(kt_store_disk_rig)
tests_unit_test_store_limits_SOURCES = tests/unit/test_store_limits.c \
	$(kt_store_disk_rig)
unit_tests += tests/unit/test_store_older
tests_unit_test_store_older_SOURCES = tests/unit/test_store_older.c \
	$(kt_store_disk_rig)
unit_tests += tests/unit/test_store_mend
tests_unit_test_store_mend_SOURCES = tests/unit/test_store_mend.c \
	$(kt_store_disk_rig)
unit_tests += tests/unit/test_store_look
tests_unit_test_store_look_SOURCES = tests/unit/test_store_look.c \
	$(kt_store_disk_rig)
unit_tests += tests/unit/test_store_scrub
tests_unit_test_store_scrub_SOURCES = tests/unit/test_store_scrub.c \
	$(kt_store_disk_rig)
unit_tests += tests/unit/test_store_disk_errors
tests_unit_test_store_disk_errors_SOURCES = \
	tests/unit/test_store_disk_errors.c $(kt_store_disk_rig)
tests_unit_test_store_disk_errors_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=pread -Wl,--wrap=preadv2 -Wl,--wrap=pwrite
unit_tests += tests/unit/test_store_format
tests_unit_test_store_format_SOURCES = tests/unit/test_store_format.c

# Only for the twin.
unit_tests += tests/unit/test_store_twin
tests_unit_test_store_twin_SOURCES = tests/unit/test_store_twin.c \
	tests/unit/store_model.c tests/unit/store_model.h \
	tests/unit/store_rig_mem.c
tests_unit_test_store_twin_LDADD = %D%/libktstoremem.la $(LDADD)
