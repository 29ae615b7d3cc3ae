# SPDX-License-Identifier: BSD-3-Clause
# The hub's decisions, pure.

noinst_LTLIBRARIES += %D%/libkthubcontrol.la
%C%_libkthubcontrol_la_SOURCES = \
	%D%/act.c \
	%D%/attach.c \
	%D%/chain.c \
	%D%/commit.c \
	%D%/find.c \
	%D%/hub.c \
	%D%/live.c \
	%D%/node.c \
	%D%/op.c \
	%D%/place.c \
	%D%/seal.c \
	%D%/volume.c
