# SPDX-License-Identifier: LGPL-2.1-or-later
#
# `make bench`: Faultline against zram swap. Needs root, zram and a quiet machine; README.md says
# how to read what it prints. QUICK=1 is smaller, PATTERNS="random zipf" and SIDES="zram" do a
# part, BENCH_FLAGS are options for run-bench.

bench_programs += \
	%D%/faultbench \
	%D%/membench \
	$(NULL)
EXTRA_PROGRAMS += $(bench_programs)

%C%_faultbench_SOURCES = %D%/bench.h %D%/faultbench.c
%C%_faultbench_CPPFLAGS = $(AM_CPPFLAGS) $(LZ4_CFLAGS)
%C%_faultbench_LDADD = $(LZ4_LIBS)

%C%_membench_SOURCES = %D%/bench.h %D%/membench.c
%C%_membench_LDADD = -lm

EXTRA_DIST += \
	%D%/README.md \
	%D%/report.awk \
	%D%/run-bench \
	$(NULL)
CLEANFILES += $(bench_programs)

bench: all $(bench_programs)
	$(srcdir)/bench/run-bench --programs bench --faultline '$(abs_builddir)/run faultline' \
		$(if $(QUICK),--quick) $(if $(PATTERNS),--patterns '$(PATTERNS)') \
		$(if $(SIDES),--sides '$(SIDES)') $(BENCH_FLAGS)

.PHONY: bench
