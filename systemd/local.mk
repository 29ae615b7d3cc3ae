# SPDX-License-Identifier: BSD-3-Clause
# Units of systemd, with the directories of this build in them. Installed
# where --with-systemdsystemunitdir says; =no: not at all.

unit_sources = %D%/kenter-attachd.service.in %D%/kenter-hub.service.in \
	%D%/kenter-replicator.service.in %D%/kenter-volplugin.service.in \
	%D%/kenter-volplugin.socket.in

if KT_SYSTEMD
systemdunitdir = $(SYSTEMD_UNITDIR)
nodist_systemdunit_DATA = $(unit_sources:.in=)
endif
CLEANFILES += $(unit_sources:.in=)
SUFFIXES = .service.in .service .socket.in .socket

UNIT_FROM = $(AM_V_GEN)$(MKDIR_P) %D% && $(SED) -e 's|@sbindir@|$(sbindir)|g' \
	-e 's|@sysconfdir@|$(sysconfdir)|g'

.service.in.service:
	$(UNIT_FROM) $< >$@

.socket.in.socket:
	$(UNIT_FROM) $< >$@
