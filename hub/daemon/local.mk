# SPDX-License-Identifier: BSD-3-Clause
# The hub's shell: event loop, sockets, database.
#
# When main.c is there, take the # from the lines below and add the other
# sources to the list.

#sbin_PROGRAMS += kenter-hub
#kenter_hub_SOURCES = %D%/main.c
#kenter_hub_LDADD = $(KT_HUB_LIBS) $(KT_LIBS) \
#	$(UV_LIBS) $(LMDB_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS) -lpthread
