# SPDX-License-Identifier: LGPL-2.1-or-later
#
# How to add a test is in tests/README.md; in short, one line in one of these lists. A program
# tests/unit/test-x is built from tests/unit/test-x.c and linked with LDADD below.

unit_tests += \
	%D%/harness-self \
	$(NULL)

functional_tests += \
	$(NULL)

check_LTLIBRARIES += %D%/libharness.la
%C%_libharness_la_SOURCES = \
	%D%/harness.c \
	%D%/harness.h \
	$(NULL)
%C%_libharness_la_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS) $(BSD_CFLAGS)

# What every test program is linked with. One that speaks to the daemon as an application does adds
# the library:	tests_functional_x_LDADD = $(LDADD) libclient/libfaultline.la
LDADD = \
	%D%/libharness.la \
	daemon/libdaemon.la \
	common/libcommon.la \
	$(CUNIT_LIBS) \
	$(DAEMON_LIBS) \
	$(NULL)

TESTS += $(unit_tests) $(functional_tests) $(check_scripts)
check_PROGRAMS += $(unit_tests) $(functional_tests)
TEST_EXTENSIONS =
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_COMPILER = ./run
AM_TESTS_ENVIRONMENT = \
	MALLOC_PERTURB_=$${MALLOC_PERTURB_:-165}; export MALLOC_PERTURB_;
