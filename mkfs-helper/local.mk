# SPDX-License-Identifier: BSD-3-Clause
# kenter-mkfs: the only program that formats. All but main() is a library, so
# that tests can call it.

noinst_LTLIBRARIES += %D%/libktmkfs.la
%C%_libktmkfs_la_SOURCES = \
	%D%/blank.c \
	%D%/check.c \
	%D%/extents.c \
	%D%/format.c \
	%D%/opts.c \
	%D%/probe.c

sbin_PROGRAMS += kenter-mkfs
kenter_mkfs_SOURCES = %D%/main.c
kenter_mkfs_LDADD = %D%/libktmkfs.la lib/base/libktbase.la $(BLKID_LIBS) \
	$(NBD_LIBS) $(XXHASH_LIBS)

unit_tests += tests/unit/test_mkfs
tests_unit_test_mkfs_SOURCES = tests/unit/test_mkfs.c
tests_unit_test_mkfs_LDADD = %D%/libktmkfs.la $(LDADD) $(BLKID_LIBS)
