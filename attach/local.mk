# SPDX-License-Identifier: BSD-3-Clause
# A volume as a device of this machine's kernel: a library for whoever wants
# one, and the program that keeps it.

noinst_LTLIBRARIES += %D%/libktattach.la
%C%_libktattach_la_SOURCES = \
	%D%/device.c \
	%D%/info.c \
	%D%/keep.c \
	%D%/kernel.c \
	%D%/nbdnl.c \
	%D%/nbdnl_msg.c \
	%D%/server.c \
	%D%/server_link.c \
	%D%/up.c
%C%_libktattach_la_CPPFLAGS = $(AM_CPPFLAGS) $(NBD_CFLAGS) \
	-DKENTER_SBINDIR='"$(sbindir)"'

sbin_PROGRAMS += kenter-attachd
kenter_attachd_SOURCES = \
	%D%/begin.c \
	%D%/daemon.c \
	%D%/daemon.h \
	%D%/main.c \
	%D%/order.c \
	%D%/relink.c
kenter_attachd_LDADD = %D%/libktattach.la lib/base/libktbase.la \
	$(JANSSON_LIBS) $(XXHASH_LIBS) $(NBD_LIBS)

unit_tests += tests/unit/test_nbdnl
tests_unit_test_nbdnl_SOURCES = tests/unit/test_nbdnl.c
tests_unit_test_nbdnl_LDADD = %D%/libktattach.la $(LDADD)
