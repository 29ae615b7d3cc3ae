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
	%D%/fold.c
%C%_libktstoremem_la_SOURCES = \
	%D%/fold.c \
	%D%/mem_disk.c \
	%D%/mem_ops.c \
	%D%/store_mem.c
