# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The command line: libcli is all of it but the dispatcher, so that tests link its parts.

CLI_CPPFLAGS = $(AM_CPPFLAGS) $(BSD_CFLAGS) $(SMARTCOLS_CFLAGS)

noinst_LTLIBRARIES += %D%/libcli.la
%C%_libcli_la_SOURCES = \
	%D%/child.c \
	%D%/child.h \
	%D%/cli.c \
	%D%/cli.h \
	%D%/columns.c \
	%D%/columns.h \
	%D%/control.c \
	%D%/control.h \
	%D%/environment.c \
	%D%/environment.h \
	%D%/json.c \
	%D%/json.h \
	%D%/machine.c \
	%D%/machine.h \
	%D%/private.c \
	%D%/private.h \
	%D%/program.c \
	%D%/program.h \
	%D%/report.c \
	%D%/report.h \
	%D%/run-options.c \
	%D%/run-options.h \
	%D%/run.c \
	%D%/status.c \
	%D%/summary.c \
	%D%/summary.h \
	$(NULL)
%C%_libcli_la_CPPFLAGS = $(CLI_CPPFLAGS)
%C%_libcli_la_LIBADD = common/libcommon.la $(BSD_LIBS) $(SMARTCOLS_LIBS)

bin_PROGRAMS += %D%/faultline
%C%_faultline_SOURCES = %D%/faultline.c
%C%_faultline_CPPFLAGS = $(CLI_CPPFLAGS)
%C%_faultline_LDFLAGS = $(AM_LDFLAGS) $(PIE_FLAGS)
%C%_faultline_LDADD = %D%/libcli.la
