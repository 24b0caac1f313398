# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   libfaultline.la        the public library: only what libfaultline.sym names can be seen
#   libagent.la            the thread that lives in a stranger's process; see AGENT_CFLAGS
#   faultline-preload.la   what LD_PRELOAD loads: never linked with, so no version
#
# Nothing here may use libbsd, and lz4 is linked in: what is loaded into a stranger brings no library
# with it.

lib_LTLIBRARIES += %D%/libfaultline.la
pkgconfig_DATA += %D%/libfaultline.pc
LIBFAULTLINE_FILES = \
	%D%/connection.c \
	%D%/context.c \
	%D%/internal.h \
	%D%/process.c \
	%D%/region.c \
	$(NULL)
LIBFAULTLINE_LIBS = %D%/libagent.la common/libcommon-client.la $(LZ4_STATIC_LIBS)
%C%_libfaultline_la_SOURCES = $(LIBFAULTLINE_FILES)
%C%_libfaultline_la_CFLAGS = $(AM_CFLAGS) $(STACK_CFLAGS) -fvisibility=hidden -pthread
# The agent's thread never ends: the library is never unloaded.
%C%_libfaultline_la_LDFLAGS = $(AM_LDFLAGS) $(NO_UNDEFINED) -version-info $(LIB_VERSION_INFO) \
	-Wl,--version-script=$(top_srcdir)/%D%/libfaultline.sym -Wl,-z,nodelete -Wl,--exclude-libs,ALL
%C%_libfaultline_la_LIBADD = $(LIBFAULTLINE_LIBS)
EXTRA_%C%_libfaultline_la_DEPENDENCIES = %D%/libfaultline.sym

# The agent runs without a thread control block of its own: no canary (it is read from there), no
# checks that report through stdio. Its stack is small.
AGENT_CPPFLAGS = $(AM_CPPFLAGS) -U_FORTIFY_SOURCE
AGENT_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden -fno-stack-protector -fno-sanitize=all \
	-Wframe-larger-than=4096
AGENT_FILES = \
	%D%/agent-adopt.c \
	%D%/agent-evict.c \
	%D%/agent-internal.h \
	%D%/agent-sys.h \
	%D%/agent.c \
	%D%/agent.h \
	$(NULL)
PRELOAD_FILES = \
	%D%/preload.c \
	$(NULL)
PRELOAD_CPPFLAGS = $(AM_CPPFLAGS)
PRELOAD_CFLAGS = $(AM_CFLAGS) $(STACK_CFLAGS) -fvisibility=hidden
PRELOAD_LINK = $(AM_LDFLAGS) $(NO_UNDEFINED) -module -avoid-version -shared \
	-Wl,-z,now -Wl,--exclude-libs,ALL
PRELOAD_LIBS = common/libcommon-client.la $(LZ4_STATIC_LIBS) -ldl

noinst_LTLIBRARIES += %D%/libagent.la
if PRELOAD
pkglib_LTLIBRARIES += %D%/faultline-preload.la
endif
%C%_libagent_la_SOURCES = $(AGENT_FILES)
%C%_libagent_la_CPPFLAGS = $(AGENT_CPPFLAGS)
%C%_libagent_la_CFLAGS = $(AGENT_CFLAGS)
%C%_faultline_preload_la_SOURCES = $(PRELOAD_FILES)
%C%_faultline_preload_la_CPPFLAGS = $(PRELOAD_CPPFLAGS)
%C%_faultline_preload_la_CFLAGS = $(PRELOAD_CFLAGS)
%C%_faultline_preload_la_LDFLAGS = $(PRELOAD_LINK)
%C%_faultline_preload_la_LIBADD = %D%/libagent.la $(PRELOAD_LIBS)

EXTRA_DIST += \
	%D%/libfaultline.sym \
	$(NULL)
