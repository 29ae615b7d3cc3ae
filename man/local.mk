# SPDX-License-Identifier: BSD-3-Clause
# Manual pages, written in POD. Add a page: one line in man1_pods or
# man8_pods.

man1_pods =
man8_pods =

man1_MANS = $(man1_pods:.pod=.1)
man8_MANS = $(man8_pods:.pod=.8)
CLEANFILES += $(man1_MANS) $(man8_MANS)

POD_TO_MAN = $(MKDIR_P) %D% && $(POD2MAN) --utf8 --errors=die \
	--center="Kenter" --release="kenter-$(PACKAGE_VERSION)"

.pod.1:
	$(AM_V_GEN)$(POD_TO_MAN) --section=1 \
	    --name="$$(basename $< .pod | tr a-z A-Z)" $< $@

.pod.8:
	$(AM_V_GEN)$(POD_TO_MAN) --section=8 \
	    --name="$$(basename $< .pod | tr a-z A-Z)" $< $@
