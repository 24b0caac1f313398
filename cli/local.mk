# SPDX-License-Identifier: LGPL-2.1-or-later

if HAVE_CLI
bin_PROGRAMS += %D%/faultline
endif
%C%_faultline_SOURCES = \
	%D%/faultline.c \
	%D%/run.c \
	%D%/status.c \
	$(NULL)
%C%_faultline_CPPFLAGS = $(AM_CPPFLAGS) $(BSD_CFLAGS) $(SMARTCOLS_CFLAGS)
%C%_faultline_LDFLAGS = $(AM_LDFLAGS) $(PIE_FLAGS)
%C%_faultline_LDADD = common/libcommon.la $(BSD_LIBS) $(SMARTCOLS_LIBS)
