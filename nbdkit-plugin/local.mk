# SPDX-License-Identifier: BSD-3-Clause
# nbdkit-kenter-plugin.so. Symbols come from the nbdkit server, so nothing
# like -no-undefined here; only plugin_init and debug flags are exported.

plugin_LTLIBRARIES += nbdkit-kenter-plugin.la
nbdkit_kenter_plugin_la_SOURCES = \
	%D%/handover.c \
	%D%/hub.c \
	%D%/io.c \
	%D%/link.c \
	%D%/link.h \
	%D%/plugin.c \
	%D%/state.c \
	%D%/volume.c \
	%D%/volume.h
nbdkit_kenter_plugin_la_CPPFLAGS = $(AM_CPPFLAGS) $(NBDKIT_CFLAGS) \
	-DKENTER_VERSION='"$(PACKAGE_VERSION)"'
# clang sees inside nbdkit's macro a plugin_init without a prototype.
nbdkit_kenter_plugin_la_CFLAGS = $(KT_CFLAGS) -Wno-missing-prototypes
nbdkit_kenter_plugin_la_LDFLAGS = $(KT_LDFLAGS) -module -avoid-version \
	-shared -Wl,--version-script=$(top_srcdir)/%D%/plugin.syms
nbdkit_kenter_plugin_la_LIBADD = lib/client/libktclient.la \
	lib/link/libktlink.la lib/wire/libktwire.la lib/base/libktbase.la \
	$(JANSSON_LIBS) $(XXHASH_LIBS) -lpthread

# libtool's own description of a plugin serves nobody.
install-exec-hook:
	rm -f $(DESTDIR)$(plugindir)/nbdkit-kenter-plugin.la

uninstall-hook:
	rm -f $(DESTDIR)$(plugindir)/nbdkit-kenter-plugin.so
