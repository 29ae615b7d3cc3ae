# SPDX-License-Identifier: BSD-3-Clause
# Real daemons in network namespaces of their own, broken on purpose. Needs
# root. `make chaos CHAOS_SECONDS=3600 SEED=7 NODES=3` runs for as long as one
# likes; the tests here are the short form.

check_PROGRAMS += %D%/verify %D%/proxy
%C%_verify_SOURCES = %D%/verify.c %D%/hist.c %D%/hist.h \
	%D%/stall.c %D%/stall.h tests/sim/checker.c tests/sim/checker.h
%C%_verify_LDADD = $(NBD_LIBS) -lpthread
%C%_proxy_SOURCES = %D%/proxy.c

# A disk that lies, for the verifier's own test. -rpath makes it a shared one.
check_LTLIBRARIES += %D%/nbdkit-lie-plugin.la
%C%_nbdkit_lie_plugin_la_SOURCES = %D%/lie.c
%C%_nbdkit_lie_plugin_la_CPPFLAGS = $(AM_CPPFLAGS) $(NBDKIT_CFLAGS)
%C%_nbdkit_lie_plugin_la_CFLAGS = $(KT_CFLAGS) -Wno-missing-prototypes
%C%_nbdkit_lie_plugin_la_LDFLAGS = $(KT_LDFLAGS) -module -avoid-version \
	-shared -rpath /nowhere

chaos_tests += \
	%D%/test-chaos-light.sh \
	%D%/test-f12-tail-cut.sh \
	%D%/test-f13-client-cut.sh \
	%D%/test-f13-head-cut.sh \
	%D%/test-f17-resets.sh \
	%D%/test-f20-wiped-store.sh \
	%D%/test-f25-clock.sh \
	%D%/test-f30-removed-while-away.sh \
	%D%/test-f32-copied-store.sh \
	%D%/test-f36-older-store.sh \
	%D%/test-resync-resets.sh \
	%D%/test-verify-lies.sh

PHONY_TARGETS += chaos chaos-clean
chaos: all $(check_PROGRAMS) $(check_LTLIBRARIES)
	top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	    bash $(top_srcdir)/%D%/chaos run
chaos-clean:
	bash $(top_srcdir)/%D%/chaos clean
