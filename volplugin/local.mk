# SPDX-License-Identifier: BSD-3-Clause
# kenter-volplugin: the Docker volume driver, around volplugin/core.

noinst_LTLIBRARIES += %D%/libktvolplugin.la
%C%_libktvolplugin_la_SOURCES = \
	%D%/attach_fuse.c \
	%D%/attach_nbd.c \
	%D%/attach_real.c \
	%D%/attach_stub.c \
	%D%/catalog.c \
	%D%/catalog_json.c \
	%D%/driver.c \
	%D%/fs.c \
	%D%/http.c \
	%D%/hub.c \
	%D%/options.c \
	%D%/plugin.c \
	%D%/sync.c \
	%D%/work.c

KT_VOLPLUGIN_LIBS = %D%/libktvolplugin.la %D%/core/libktvolcore.la \
	attach/libktattach.la lib/link/libktlink.la lib/wire/libktwire.la \
	lib/base/libktbase.la $(MICROHTTPD_LIBS) $(LMDB_LIBS) $(JANSSON_LIBS) \
	$(XXHASH_LIBS) $(NBD_LIBS) -lpthread

sbin_PROGRAMS += kenter-volplugin
kenter_volplugin_SOURCES = %D%/main.c
kenter_volplugin_LDADD = $(KT_VOLPLUGIN_LIBS)

unit_tests += tests/unit/test_catalog
tests_unit_test_catalog_SOURCES = tests/unit/test_catalog.c
tests_unit_test_catalog_LDADD = $(KT_VOLPLUGIN_LIBS) $(CMOCKA_LIBS)
