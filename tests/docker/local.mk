# SPDX-License-Identifier: BSD-3-Clause
# The Docker volume driver over its socket, with a real hub and replicators.

check_PROGRAMS += %D%/fill
%C%_fill_SOURCES = %D%/fill.c
%C%_fill_LDADD = $(KT_VOLPLUGIN_LIBS)

e2e_tests += \
	%D%/test-docker-abuse.sh \
	%D%/test-docker-api.sh \
	%D%/test-docker-doctor.sh \
	%D%/test-docker-fuse.sh \
	%D%/test-docker-postgres.sh \
	%D%/test-docker-restart.sh \
	%D%/test-docker-units.sh
