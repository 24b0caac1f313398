# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The daemon: libdaemon is all of it but main.c, so that tests link its parts.

noinst_LTLIBRARIES += %D%/libdaemon.la
%C%_libdaemon_la_SOURCES = \
	%D%/bo.c \
	%D%/bo.h \
	%D%/config.c \
	%D%/config.h \
	%D%/conn.c \
	%D%/conn.h \
	%D%/ctl.c \
	%D%/ctl.h \
	%D%/fault.c \
	%D%/fault.h \
	%D%/fill.c \
	%D%/fill.h \
	%D%/job.c \
	%D%/job.h \
	%D%/log.c \
	%D%/log.h \
	%D%/loop-engine.h \
	%D%/loop-threads.c \
	%D%/loop.c \
	%D%/loop.h \
	%D%/page.c \
	%D%/page.h \
	%D%/pagetable.c \
	%D%/pagetable.h \
	%D%/reclaim.c \
	%D%/reclaim.h \
	%D%/reclaimer.c \
	%D%/reclaimer.h \
	%D%/region.c \
	%D%/region.h \
	%D%/request.c \
	%D%/request.h \
	%D%/resv.c \
	%D%/resv.h \
	%D%/sdnotify.c \
	%D%/sdnotify.h \
	%D%/server.c \
	%D%/server.h \
	%D%/session.c \
	%D%/session.h \
	%D%/spill.c \
	%D%/spill.h \
	%D%/state.c \
	%D%/state.h \
	%D%/store-compressed.c \
	%D%/store-internal.h \
	%D%/store-holes.c \
	%D%/store-holes.h \
	%D%/store-swap.c \
	%D%/store-unit.c \
	%D%/store.h \
	%D%/stream.c \
	%D%/stream.h \
	%D%/swapin.c \
	%D%/swapin.h \
	%D%/uffd.c \
	%D%/uffd.h \
	%D%/worker.c \
	%D%/worker.h \
	$(NULL)
DAEMON_CPPFLAGS = $(AM_CPPFLAGS) $(BSD_CFLAGS) $(URING_CFLAGS) $(LZ4_CFLAGS) $(INIH_CFLAGS)
DAEMON_CFLAGS = $(AM_CFLAGS) $(STACK_CFLAGS) -pthread
DAEMON_LIBS = $(BSD_LIBS) $(URING_LIBS) $(LZ4_LIBS) $(INIH_LIBS) -lpthread
%C%_libdaemon_la_CPPFLAGS = $(DAEMON_CPPFLAGS)
%C%_libdaemon_la_CFLAGS = $(DAEMON_CFLAGS)

sbin_PROGRAMS += %D%/faultlined
%C%_faultlined_SOURCES = %D%/main.c
%C%_faultlined_CPPFLAGS = $(DAEMON_CPPFLAGS)
%C%_faultlined_CFLAGS = $(DAEMON_CFLAGS)
%C%_faultlined_LDFLAGS = $(AM_LDFLAGS) $(PIE_FLAGS)
%C%_faultlined_LDADD = %D%/libdaemon.la common/libcommon.la $(DAEMON_LIBS)
