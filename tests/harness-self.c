/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * harness-self.c - proves that the harness sees what it is there to see.
 *
 * The program is two: with HARNESS_SELF in its environment it has a suite of tests that are
 * meant to go wrong; without, tests that run that suite and read what it printed.
 */
#include <config.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

/* ---------------------------------------------------------------- tests that go wrong */

static void passes(void)
{
	t_assert(t_tmpdir()[0] != '\0');
}

static void assert_fails(void)
{
	t_assert(1 == 2);
}

static void comparison_fails(void)
{
	t_eq(40 + 2, 43);
}

static void error_is_returned(void)
{
	t_ok(-ENOSPC);
}

static void another_error_is_returned(void)
{
	t_fails(-ENOSPC, EINVAL);
}

static void bytes_differ(void)
{
	t_memeq("abcd", "abxx", 4);
}

static void cunit_assert_fails(void)
{
	CU_ASSERT(3 == 4);
	CU_ASSERT_EQUAL(5, 6);
}

static void cunit_fatal_assert_fails(void)
{
	CU_ASSERT_FATAL(3 == 4);
	t_note("never reached");
}

static void crashes(void)
{
	abort();
}

static void calls_exit(void)
{
	exit(0);
}

static void hangs(void)
{
	for (;;)
		pause();
}

static void leaks_a_descriptor(void)
{
	t_sys(open("/dev/zero", O_RDONLY | O_CLOEXEC));
}

static void closes_what_is_not_its_own(void)
{
	close(STDIN_FILENO);
}

static pid_t start_sleeper(void)
{
	pid_t pid = (pid_t)t_sys(fork());

	if (pid)
		return pid;
	for (;;)
		pause();
}

static void leaks_a_child(void)
{
	start_sleeper();
}

/* The orphan has left the test's process group as well. */
static void leaks_an_orphan(void)
{
	pid_t pid = (pid_t)t_sys(fork());

	if (!pid) {
		setsid();
		t_note("orphan %d", (int)start_sleeper());
		_exit(0);
	}
	t_sys(waitpid(pid, NULL, 0));
}

static void dies_with_orphans(void)
{
	leaks_an_orphan();
	raise(SIGKILL);
}

static void *fail_in_thread(void *arg)
{
	t_assert(!"in a thread");
	return arg;
}

static void fails_in_a_thread(void)
{
	pthread_t thread;

	t_ok(-pthread_create(&thread, NULL, fail_in_thread, NULL));
	pthread_join(thread, NULL);
}

static void say_cleaned(const char *arg)
{
	t_note("cleaned %s", arg);
}

static void fails_with_clean_ups(void)
{
	t_cleanup(say_cleaned, "first");
	t_cleanup(say_cleaned, "second");
	t_assert(0);
}

static void dies_with_clean_ups(void)
{
	t_cleanup(say_cleaned, "after death");
	t_note("directory %s", t_tmpdir());
	raise(SIGKILL);
}

static void skips(void)
{
	t_skip("no %s here", "flying pig");
}

static void prints_its_seed(void)
{
	t_note("random %ju", (uintmax_t)t_random());
}

static const struct t_test bad_tests[] = {
	T(passes),
	T(assert_fails),
	T(comparison_fails),
	T(error_is_returned),
	T(another_error_is_returned),
	T(bytes_differ),
	T(cunit_assert_fails),
	T(cunit_fatal_assert_fails),
	T(crashes),
	T_TIMEOUT(hangs, 1),
	T(calls_exit),
	T(leaks_a_descriptor),
	T(closes_what_is_not_its_own),
	T(leaks_a_child),
	T(leaks_an_orphan),
	T(dies_with_orphans),
	T(fails_in_a_thread),
	T(fails_with_clean_ups),
	T(dies_with_clean_ups),
	T(skips),
	T(prints_its_seed),
	{0}
};

static const struct t_suite bad_suites[] = { { "bad", bad_tests }, {0} };

/* ---------------------------------------------------------------- and what the harness says */

static struct {
	char text[16384];
	int status;
} output;

/* Run this program's other half on the tests that match; keep all that it says. */
static void run_bad(const char *pattern, const char *option)
{
	size_t used = 0;
	ssize_t n;
	int fds[2];
	pid_t pid;

	t_sys(pipe2(fds, O_CLOEXEC));
	pid = (pid_t)t_sys(fork());
	if (!pid) {
		setenv("HARNESS_SELF", "bad", 1);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execl("/proc/self/exe", "harness-self", option ? option : pattern,
		      option ? pattern : NULL, NULL);
		_exit(126);
	}
	close(fds[1]);
	while ((n = read(fds[0], output.text + used, sizeof(output.text) - 1 - used)) > 0)
		used += (size_t)n;
	output.text[used] = '\0';
	close(fds[0]);
	t_sys(waitpid(pid, &output.status, 0));
	if (getenv("HARNESS_SELF_SHOW"))
		t_note("%s", output.text);
}

static void says(const char *text)
{
	if (!strstr(output.text, text))
		t_fail("\"%s\" is not in what was said:\n%s", text, output.text);
}

static void says_nothing_of(const char *text)
{
	if (strstr(output.text, text))
		t_fail("\"%s\" is in what was said:\n%s", text, output.text);
}

static void fails(const char *name)
{
	char line[128];

	snprintf(line, sizeof(line), "not ok 1 - bad/%s\n", name);
	run_bad(name, NULL);
	says(line);
	t_assert(WIFEXITED(output.status) && WEXITSTATUS(output.status) == 1);
}

static int gone(const char *said_before)
{
	const char *p = strstr(output.text, said_before);

	t_assert(p);
	return kill((pid_t)atoi(p + strlen(said_before)), 0) < 0 && errno == ESRCH;
}

static void a_plan_and_a_pass_are_tap(void)
{
	run_bad("passes", NULL);
	t_streq(output.text, "1..1\nok 1 - bad/passes\n");
	t_eq(output.status, 0);
}

static void a_failing_assertion_says_what_and_where(void)
{
	fails("assert_fails");
	says("harness-self.c:");
	says(": 1 == 2\n");
	fails("comparison_fails");
	says("40 + 2 == 43: 42 (0x2a) and 43 (0x2b)");
	fails("error_is_returned");
	says("-ENOSPC: No space left on device");
	fails("another_error_is_returned");
	says("-28 (ENOSPC), not -22 (EINVAL)");
	fails("bytes_differ");
	says("2 of 4 bytes differ, the first at 2: 0x63 and 0x78");
}

static void a_failing_cunit_assertion_is_a_failure(void)
{
	fails("cunit_assert_fails");
	says("3 == 4");
	says("CU_ASSERT_EQUAL(5,6)");
	fails("cunit_fatal_assert_fails");
	says("3 == 4");
	says_nothing_of("never reached");
}

static void a_crash_names_the_signal(void)
{
	fails("crashes");
	says("killed by SIGABRT");
}

static void a_test_that_exits_has_not_passed(void)
{
	fails("calls_exit");
	says("the test called exit(0)");
}

static void a_hang_is_ended_and_shown(void)
{
	fails("hangs");
	says("not done after");
	says("system call");
}

static void a_leaked_descriptor_is_named(void)
{
	fails("leaks_a_descriptor");
	says("is left open: /dev/zero");
	fails("closes_what_is_not_its_own");
	says("descriptor 0 was closed");
}

static void a_leaked_process_is_named_and_killed(void)
{
	fails("leaks_a_child");
	says(" is left behind");
	fails("leaks_an_orphan");
	says("is left behind");
	t_assert(gone("# orphan "));
}

static void the_orphans_of_a_dead_test_are_killed(void)
{
	fails("dies_with_orphans");
	t_assert(gone("# orphan "));
}

static void a_failure_in_a_thread_ends_the_test(void)
{
	fails("fails_in_a_thread");
	says("in a thread");
}

static void clean_ups_are_done_last_first(void)
{
	fails("fails_with_clean_ups");
	says("# cleaned second\n# cleaned first\n");
}

static void clean_ups_are_done_for_the_dead(void)
{
	char path[256] = "";
	struct stat st;

	fails("dies_with_clean_ups");
	says("# cleaned after death");
	t_eq(sscanf(strstr(output.text, "# directory "), "# directory %255s", path), 1);
	t_eq(stat(path, &st), -1);
}

static void a_skip_is_loud(void)
{
	run_bad("skips", NULL);
	says("ok 1 - bad/skips # SKIP no flying pig here\n");
	t_eq(output.status, 0);
}

static void a_seed_is_printed_and_replays(void)
{
	char *random, first[64];

	setenv("FAULTLINE_TEST_SEED", "12345", 1);
	run_bad("prints_its_seed", NULL);
	says("# FAULTLINE_TEST_SEED=12345 replays prints_its_seed");
	random = strstr(output.text, "# random");
	t_assert(random);
	snprintf(first, sizeof(first), "%.40s", random);
	run_bad("prints_its_seed", NULL);
	says(first);
}

static void list_runs_nothing(void)
{
	run_bad("crashes", "--list");
	t_streq(output.text, "bad/crashes\n");
}

static void without_fork_a_test_runs_in_the_runner(void)
{
	run_bad("bad/passes", "--no-fork");
	says("ok 1 - bad/passes\n");
	run_bad("assert_fails", "--no-fork");
	says("not ok 1 - bad/assert_fails\n");
	run_bad("skips", "--no-fork");
	says("ok 1 - bad/skips # SKIP");
}

static void a_pattern_without_a_test_is_an_error(void)
{
	run_bad("no_such_test", NULL);
	says("no test matches");
	t_assert(WEXITSTATUS(output.status) == 1);
}

/* The runner is told to stop in the middle: nothing of the test may survive it. */
static void a_stopped_runner_leaves_nothing(void)
{
	static const char end[] = "Bail out! SIGTERM\n";
	size_t used = 0;
	ssize_t n;
	int fds[2], status;
	pid_t pid;

	t_sys(pipe2(fds, O_CLOEXEC));
	pid = (pid_t)t_sys(fork());
	if (!pid) {
		setenv("HARNESS_SELF", "bad", 1);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execl("/proc/self/exe", "harness-self", "hangs", "calls_exit", NULL);
		_exit(126);
	}
	close(fds[1]);
	/* The plan is out: its signals are blocked, and waiting is what it does next. */
	while (!strstr(output.text, "1..2\n") &&
	       (n = read(fds[0], output.text + used, sizeof(output.text) - 1 - used)) > 0)
		used += (size_t)n;
	t_sys(kill(pid, SIGTERM));
	while ((n = read(fds[0], output.text + used, sizeof(output.text) - 1 - used)) > 0)
		used += (size_t)n;
	close(fds[0]);
	t_sys(waitpid(pid, &status, 0));
	says(end);
	says_nothing_of("called exit");
	t_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static const struct t_test tests[] = {
	T(a_plan_and_a_pass_are_tap),
	T(a_failing_assertion_says_what_and_where),
	T(a_failing_cunit_assertion_is_a_failure),
	T(a_crash_names_the_signal),
	T(a_test_that_exits_has_not_passed),
	T(a_hang_is_ended_and_shown),
	T(a_leaked_descriptor_is_named),
	T(a_leaked_process_is_named_and_killed),
	T(the_orphans_of_a_dead_test_are_killed),
	T(a_failure_in_a_thread_ends_the_test),
	T(clean_ups_are_done_last_first),
	T(clean_ups_are_done_for_the_dead),
	T(a_skip_is_loud),
	T(a_seed_is_printed_and_replays),
	T(list_runs_nothing),
	T(without_fork_a_test_runs_in_the_runner),
	T(a_pattern_without_a_test_is_an_error),
	T(a_stopped_runner_leaves_nothing),
	{0}
};

static const struct t_suite suites[] = { { "harness", tests }, {0} };

HARNESS_MAIN(getenv("HARNESS_SELF") ? bad_suites : suites)
