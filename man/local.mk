# SPDX-License-Identifier: BSD-3-Clause
# Manual pages, written in POD. Add a page: one line in man1_pods or
# man8_pods. A page begins with
#   =for comment SPDX-License-Identifier: BSD-3-Clause
# and an empty line; one that is not ASCII then needs "=encoding UTF-8". Each
# option has an =item: tests/style/test-options.sh compares with --help.

man1_pods = %D%/kenter.pod %D%/nbdkit-kenter-plugin.pod
man8_pods = %D%/kenter-attachd.pod %D%/kenter-hub.pod \
	%D%/kenter-mkfs.pod %D%/kenter-replicator.pod \
	%D%/kenter-volplugin.pod

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
