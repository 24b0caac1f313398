# SPDX-License-Identifier: LGPL-2.1-or-later
#
# How to add a test is in tests/README.md; in short, one line in one of these lists. A program
# tests/unit/test-x is built from tests/unit/test-x.c and linked with LDADD below.

unit_tests += \
	%D%/harness-self \
	%D%/unit/test-align \
	%D%/unit/test-bo \
	%D%/unit/test-cli-columns \
	%D%/unit/test-cli-environment \
	%D%/unit/test-cli-json \
	%D%/unit/test-cli-machine \
	%D%/unit/test-cli-options \
	%D%/unit/test-cli-program \
	%D%/unit/test-cli-report \
	%D%/unit/test-config \
	%D%/unit/test-connection \
	%D%/unit/test-gate \
	%D%/unit/test-hist \
	%D%/unit/test-job \
	%D%/unit/test-kernel-abi \
	%D%/unit/test-libfaultline \
	%D%/unit/test-log \
	%D%/unit/test-loop \
	%D%/unit/test-page \
	%D%/unit/test-pagetable \
	%D%/unit/test-region \
	%D%/unit/test-request \
	%D%/unit/test-resv \
	%D%/unit/test-sdnotify \
	%D%/unit/test-size \
	%D%/unit/test-sock \
	%D%/unit/test-state \
	%D%/unit/test-store-compressed \
	%D%/unit/test-store-swap \
	%D%/unit/test-store-unit \
	%D%/unit/test-uffd \
	%D%/unit/test-wire \
	$(NULL)

functional_tests += \
	%D%/functional/cli-errors \
	%D%/functional/cli-private \
	%D%/functional/control \
	%D%/functional/library \
	%D%/functional/real-programs \
	$(NULL)
%C%_functional_real_programs_SOURCES = \
	%D%/functional/real-programs.c \
	%D%/cost.c \
	%D%/cost.h \
	$(NULL)

# A program that tests/functional/control runs.
check_PROGRAMS += %D%/functional/holder
%C%_functional_holder_LDADD =

# What speaks to the daemon as an application does. util-daemon starts a real one.
%C%_unit_test_libfaultline_LDADD = $(LDADD) libclient/libfaultline.la
%C%_functional_library_SOURCES = \
	%D%/functional/library.c \
	%D%/util-daemon.c \
	%D%/util-daemon.h \
	$(NULL)
%C%_functional_library_LDADD = $(LDADD) libclient/libfaultline.la
check_PROGRAMS += %D%/functional/beside
%C%_functional_beside_LDADD = libclient/libfaultline.la
# With the library's own files, to look inside.
%C%_unit_test_connection_SOURCES = %D%/unit/test-connection.c $(LIBFAULTLINE_FILES)
%C%_unit_test_connection_LDADD = $(LIBFAULTLINE_LIBS) %D%/libharness.la $(CUNIT_LIBS) $(BSD_LIBS)

# Linked instead of session.c.
%C%_unit_test_request_SOURCES = \
	%D%/unit/paper-session.c \
	%D%/unit/paper-session.h \
	%D%/unit/test-request.c \
	$(NULL)

# A session with nothing behind it; and one allocation of a program that can be made to fail.
FAKE_SESSION = \
	%D%/unit/fake-session.c \
	%D%/unit/fake-session.h \
	$(NULL)
FAIL_ALLOC = \
	%D%/unit/fail-alloc.c \
	%D%/unit/fail-alloc.h \
	$(NULL)
WRAP_ALLOC = \
	$(AM_LDFLAGS) \
	-Wl,--wrap=malloc \
	-Wl,--wrap=calloc \
	-Wl,--wrap=realloc \
	-Wl,--wrap=fallocate \
	$(NULL)
%C%_unit_test_bo_SOURCES = %D%/unit/test-bo.c $(FAKE_SESSION) $(FAIL_ALLOC)
%C%_unit_test_bo_LDFLAGS = $(WRAP_ALLOC)
%C%_unit_test_loop_SOURCES = %D%/unit/test-loop.c $(FAIL_ALLOC)
%C%_unit_test_loop_LDFLAGS = $(WRAP_ALLOC)
%C%_unit_test_pagetable_SOURCES = %D%/unit/test-pagetable.c $(FAIL_ALLOC)
%C%_unit_test_pagetable_LDFLAGS = $(WRAP_ALLOC)
%C%_unit_test_region_SOURCES = %D%/unit/test-region.c $(FAKE_SESSION) $(FAIL_ALLOC)
%C%_unit_test_region_LDFLAGS = $(WRAP_ALLOC)
%C%_unit_test_state_SOURCES = %D%/unit/test-state.c $(FAIL_ALLOC)
%C%_unit_test_state_LDFLAGS = $(WRAP_ALLOC)
%C%_unit_test_store_compressed_SOURCES = %D%/unit/test-store-compressed.c $(FAIL_ALLOC)
%C%_unit_test_store_compressed_LDFLAGS = $(WRAP_ALLOC)
%C%_unit_test_store_swap_SOURCES = %D%/unit/test-store-swap.c $(FAIL_ALLOC)
%C%_unit_test_store_swap_LDFLAGS = $(WRAP_ALLOC)

# What scripts/demo measures with.
noinst_PROGRAMS += %D%/watch-cost
%C%_watch_cost_SOURCES = \
	%D%/cost.c \
	%D%/cost.h \
	%D%/watch-cost.c \
	$(NULL)
%C%_watch_cost_LDADD =

# What has threads, for check-tsan. (asan_tests: functional tests, without preloading, for check-asan.)
tsan_tests += \
	%D%/harness-self \
	%D%/unit/test-connection \
	%D%/unit/test-loop \
	%D%/unit/test-store-swap \
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

# The command line is a library of its own.
CLI_LDADD = cli/libcli.la $(LDADD)
%C%_unit_test_cli_columns_LDADD = $(CLI_LDADD)
%C%_unit_test_cli_environment_LDADD = $(CLI_LDADD)
%C%_unit_test_cli_json_LDADD = $(CLI_LDADD)
%C%_unit_test_cli_machine_LDADD = $(CLI_LDADD)
%C%_unit_test_cli_options_LDADD = $(CLI_LDADD)
%C%_unit_test_cli_program_LDADD = $(CLI_LDADD)
%C%_unit_test_cli_report_LDADD = $(CLI_LDADD)

# Daemons that are none, for the tests of the command line.
FAKE_DAEMON = \
	%D%/functional/fake-daemon.c \
	%D%/functional/fake-daemon.h \
	$(NULL)
check_PROGRAMS += %D%/functional/fake-faultlined
%C%_functional_fake_faultlined_SOURCES = %D%/functional/fake-faultlined.c $(FAKE_DAEMON)
%C%_functional_fake_faultlined_LDADD = common/libcommon.la
%C%_functional_cli_errors_SOURCES = %D%/functional/cli-errors.c $(FAKE_DAEMON)
%C%_functional_cli_errors_LDADD = $(CLI_LDADD) -lutil
%C%_functional_cli_private_LDADD = $(CLI_LDADD)

# The daemon and the preload library once more, with gates that tests hold and rules that they
# switch off (common/gate.h). Never installed; ./run has their paths in FAULTLINED_HOOKED and
# FAULTLINE_PRELOAD_HOOKED.
check_PROGRAMS += %D%/faultlined-hooked
%C%_faultlined_hooked_SOURCES = \
	$(daemon_faultlined_SOURCES) \
	$(daemon_libdaemon_la_SOURCES) \
	$(common_libcommon_la_SOURCES) \
	$(NULL)
%C%_faultlined_hooked_CPPFLAGS = $(DAEMON_CPPFLAGS) -DFL_TEST_HOOKS
%C%_faultlined_hooked_CFLAGS = $(DAEMON_CFLAGS)
%C%_faultlined_hooked_LDADD = $(DAEMON_LIBS)

if PRELOAD
check_LTLIBRARIES += %D%/libagent-hooked.la %D%/faultline-preload-hooked.la
endif
%C%_libagent_hooked_la_SOURCES = $(AGENT_FILES)
%C%_libagent_hooked_la_CPPFLAGS = $(AGENT_CPPFLAGS) -DFL_TEST_HOOKS
%C%_libagent_hooked_la_CFLAGS = $(AGENT_CFLAGS)
%C%_faultline_preload_hooked_la_SOURCES = \
	$(PRELOAD_FILES) \
	$(common_libcommon_client_la_SOURCES) \
	$(NULL)
%C%_faultline_preload_hooked_la_CPPFLAGS = $(PRELOAD_CPPFLAGS) -DFL_TEST_HOOKS
%C%_faultline_preload_hooked_la_CFLAGS = $(PRELOAD_CFLAGS)
# A module that is not installed: without a path to be installed at, libtool would make it static.
%C%_faultline_preload_hooked_la_LDFLAGS = $(PRELOAD_LINK) -rpath $(abs_builddir)/%D%
%C%_faultline_preload_hooked_la_LIBADD = %D%/libagent-hooked.la $(LZ4_STATIC_LIBS)

# A daemon, an agent and a client under gates: what a proof of the protocol is written with. And
# programs under the preload library.
if PRELOAD
functional_tests += \
	%D%/functional/chaos \
	%D%/functional/daemon-killed \
	%D%/functional/hammer \
	%D%/functional/kernel-access \
	%D%/functional/output-locks \
	%D%/functional/protocol-adopt \
	%D%/functional/protocol-edges \
	%D%/functional/protocol-events \
	%D%/functional/protocol-evict \
	%D%/functional/protocol-rate \
	$(NULL)
SOAK_TESTS += %D%/functional/chaos
check_PROGRAMS += \
	%D%/functional/client-chaos \
	%D%/functional/client-hammer \
	%D%/functional/client-kernel \
	%D%/functional/client-output \
	$(NULL)
check_LTLIBRARIES += %D%/libgated.la
endif
%C%_libgated_la_SOURCES = \
	%D%/functional/gated.c \
	%D%/functional/gated.h \
	%D%/util-daemon.c \
	%D%/util-daemon.h \
	common/gate.c \
	$(NULL)
%C%_libgated_la_CPPFLAGS = $(AM_CPPFLAGS) $(CUNIT_CFLAGS) $(BSD_CFLAGS) -DFL_TEST_HOOKS
GATED_LDADD = %D%/libgated.la %D%/libagent-hooked.la %D%/libharness.la common/libcommon.la \
	$(CUNIT_LIBS) $(LZ4_STATIC_LIBS) $(BSD_LIBS)
%C%_functional_protocol_adopt_LDADD = $(GATED_LDADD)
%C%_functional_protocol_edges_LDADD = $(GATED_LDADD)
%C%_functional_protocol_events_LDADD = $(GATED_LDADD)
%C%_functional_protocol_evict_LDADD = $(GATED_LDADD)
%C%_functional_protocol_rate_LDADD = $(GATED_LDADD)

IN_JOB = \
	%D%/functional/in-job.c \
	%D%/functional/in-job.h \
	%D%/util-daemon.c \
	%D%/util-daemon.h \
	$(NULL)
%C%_functional_chaos_SOURCES = %D%/functional/chaos.c $(IN_JOB)
%C%_functional_daemon_killed_SOURCES = %D%/functional/daemon-killed.c $(IN_JOB)
%C%_functional_hammer_SOURCES = %D%/functional/hammer.c $(IN_JOB)
%C%_functional_kernel_access_SOURCES = %D%/functional/kernel-access.c $(IN_JOB)
%C%_functional_output_locks_LDADD = $(LDADD) -lutil
%C%_functional_client_chaos_LDADD = -lpthread
%C%_functional_client_hammer_LDADD = -lpthread
%C%_functional_client_kernel_LDADD = $(URING_LIBS)
%C%_functional_client_output_LDADD = -lpthread

EXTRA_DIST += \
	%D%/README.md \
	%D%/expected-skips \
	$(NULL)

TESTS += $(unit_tests) $(functional_tests) $(check_scripts)
check_PROGRAMS += $(unit_tests) $(functional_tests)
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_COMPILER = ./run
AM_TESTS_ENVIRONMENT = \
	MALLOC_PERTURB_=$${MALLOC_PERTURB_:-165}; export MALLOC_PERTURB_;
