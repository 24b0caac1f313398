# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Small things that several parts use.
#   libcommon         for the daemon, the command line and tests: may use libbsd
#   libcommon-client  for what is loaded into strangers: its own list, nothing but libc, hidden

noinst_LTLIBRARIES += %D%/libcommon.la
%C%_libcommon_la_SOURCES = \
	%D%/align.h \
	%D%/cleanup.h \
	%D%/gate.c \
	%D%/gate.h \
	%D%/hist.c \
	%D%/hist.h \
	%D%/memfd.c \
	%D%/memfd.h \
	%D%/procmap-abi.h \
	%D%/size.c \
	%D%/size.h \
	%D%/sock.c \
	%D%/slice.h \
	%D%/sock.h \
	%D%/uffd-abi.h \
	%D%/wire.c \
	%D%/wire.h \
	$(NULL)
%C%_libcommon_la_CPPFLAGS = $(AM_CPPFLAGS) $(BSD_CFLAGS)
%C%_libcommon_la_CFLAGS = $(AM_CFLAGS) $(STACK_CFLAGS)
%C%_libcommon_la_LIBADD = $(BSD_LIBS)

noinst_LTLIBRARIES += %D%/libcommon-client.la
%C%_libcommon_client_la_SOURCES = \
	%D%/gate.c \
	%D%/gate.h \
	%D%/size.c \
	%D%/size.h \
	%D%/sock.c \
	%D%/slice.h \
	%D%/sock.h \
	%D%/wire.c \
	%D%/wire.h \
	$(NULL)
%C%_libcommon_client_la_CFLAGS = $(AM_CFLAGS) $(STACK_CFLAGS) -fvisibility=hidden
