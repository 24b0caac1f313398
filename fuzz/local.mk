# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A target is one line in fuzz_targets and its _SOURCES; its inputs are in corpus/NAME. With
# --enable-fuzz it is a fuzzer:	fuzz/fuzz-wire -max_len=4096 corpus-of-mine $(srcdir)/fuzz/corpus/wire
# Without, it runs once over its corpus, as a test.

fuzz_targets = \
	%D%/fuzz-config \
	%D%/fuzz-size \
	%D%/fuzz-wire \
	$(NULL)

if FUZZ
noinst_PROGRAMS += $(fuzz_targets)
FUZZ_MAIN =
else
check_PROGRAMS += $(fuzz_targets)
TESTS += $(fuzz_targets)
FUZZ_MAIN = %D%/replay.c
endif

FUZZ_LDADD_ALL = daemon/libdaemon.la common/libcommon.la $(DAEMON_LIBS)

%C%_fuzz_config_SOURCES = %D%/fuzz-config.c %D%/fuzz.h $(FUZZ_MAIN)
%C%_fuzz_config_CPPFLAGS = $(DAEMON_CPPFLAGS)
%C%_fuzz_config_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_config_LDADD = $(FUZZ_LDADD_ALL)

%C%_fuzz_size_SOURCES = %D%/fuzz-size.c %D%/fuzz.h $(FUZZ_MAIN)
%C%_fuzz_size_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_size_LDADD = $(FUZZ_LDADD_ALL)

%C%_fuzz_wire_SOURCES = %D%/fuzz-wire.c %D%/fuzz.h $(FUZZ_MAIN)
%C%_fuzz_wire_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_wire_LDADD = $(FUZZ_LDADD_ALL)

EXTRA_DIST += \
	%D%/corpus \
	%D%/replay.c \
	$(NULL)
