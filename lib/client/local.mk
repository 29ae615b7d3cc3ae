# SPDX-License-Identifier: BSD-3-Clause
# The client's I/O engine, without I/O.

noinst_LTLIBRARIES += %D%/libktclient.la
%C%_libktclient_la_SOURCES = \
	%D%/answer.c \
	%D%/chain.c \
	%D%/engine.c \
	%D%/flush.c \
	%D%/gen.c \
	%D%/links.c \
	%D%/part.c \
	%D%/req.c \
	%D%/retain.c \
	%D%/tick.c
