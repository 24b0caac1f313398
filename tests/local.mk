# SPDX-License-Identifier: LGPL-2.1-or-later

TESTS += $(unit_tests) $(functional_tests) $(check_scripts)
check_PROGRAMS += $(unit_tests) $(functional_tests)
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_COMPILER = ./run
