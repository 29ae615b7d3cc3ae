# SPDX-License-Identifier: BSD-3-Clause
# The command line for people and scripts.
#
# When main.c is there, take the # from the lines below and add the other
# sources to the list.

#bin_PROGRAMS += kenter
#kenter_SOURCES = %D%/main.c
#kenter_LDADD = $(KT_LIBS) $(JANSSON_LIBS) $(XXHASH_LIBS) -lpthread
