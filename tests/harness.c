/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * harness.c - runs a test program's tests, each in a process of its own, and says what they did.
 *
 * Three processes matter:
 *
 *	runner		holds the CUnit registry, prints TAP, and waits for one test at a time
 *	test		forked from it for each test, in a process group of its own
 *	whatever	the test starts
 *
 * Runner and test are subreapers. An orphan of a living test becomes the test's own child, so
 * that the test finds it when it looks for processes left behind; when a test has died, all it
 * left become the runner's, who kills them until it has no child. Nobody needs a list of pids.
 *
 * The two share one page-aligned struct `shared`: why a test was skipped, its seed, and the
 * clean-ups registered and not yet done. A clean-up is done by the test when it ends, by a helper
 * process of the runner when the test could not.
 *
 * The runner has one thread and blocks SIGINT, SIGTERM and SIGHUP: they arrive through a
 * descriptor, end the test under way with its clean-ups, and then end the runner.
 */
#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <bsd/string.h>

#include "tests/harness.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BUILD_TIME_SCALE	4.0
#else
#define BUILD_TIME_SCALE	1.0
#endif

#define DEFAULT_TIMEOUT_S	30
#define GRACE_S			2	/* for processes that are ending by themselves */
#define CLEANUP_TIMEOUT_S	20
#define MAX_CLEANUPS		64
#define MAX_FDS			4096

enum test_exit {
	TEST_PASSED = 0,
	TEST_FAILED = 1,
	TEST_SKIPPED = 77,
};

struct cleanup {
	void (*fn)(const char *arg);
	char arg[T_CLEANUP_ARG];
};

static struct shared {
	bool ended;			/* the test came to its end, and not just to exit() */
	char skip_reason[512];
	unsigned int n_cleanups;	/* registered and not yet done */
	struct cleanup cleanups[MAX_CLEANUPS];
	bool seed_known;
	uint64_t seed, random_state;
} *shared;

static struct {
	const struct t_suite *suites;
	char **patterns;		/* NULL-terminated; none: every test */
	bool no_fork, traced;
	double time_scale;		/* 0: no time-outs */
	int signal_fd;
	int stop_signal;		/* the runner was asked to end */
	sigset_t original_mask;
	const struct t_test *current;
	unsigned int n_done;
	bool current_skipped;
} run = { .signal_fd = -1 };

static struct {
	pid_t pid;			/* only this process's and */
	pthread_t thread;		/* this thread's stack has the frame to jump to */
	jmp_buf end;			/* where an assertion that failed goes */
	char tmpdir[T_CLEANUP_ARG];
} test;

/* ---------------------------------------------------------------- saying things */

static void say(const char *fmt, va_list ap)
{
	char line[2048];

	vsnprintf(line, sizeof(line), fmt, ap);
	for (char *p = line, *next; p; p = next) {
		next = strchr(p, '\n');
		if (next)
			*next++ = '\0';
		dprintf(STDERR_FILENO, "# %s\n", p);
	}
}

void t_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

/* ---------------------------------------------------------------- time */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

double t_time_scale(void)
{
	return run.time_scale > 0 ? run.time_scale : 1.0;
}

uint64_t t_deadline_(double seconds)
{
	return now_ns() + (uint64_t)(seconds * t_time_scale() * 1e9);
}

bool t_pause_(uint64_t deadline)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	if (now_ns() >= deadline)
		return false;
	nanosleep(&ms, NULL);
	return true;
}

/* ---------------------------------------------------------------- ending a test */

static _Noreturn void end_test(enum test_exit how)
{
	fflush(NULL);
	if (getpid() != test.pid || !pthread_equal(pthread_self(), test.thread))
		_exit(how);
	longjmp(test.end, (int)how);
}

static _Noreturn void fail_at(const char *file, int line, const char *what)
{
	t_note("%s:%d: %s", file, line, what);
	end_test(TEST_FAILED);
}

void t_fail_(const char *file, int line, const char *fmt, ...)
{
	char what[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	fail_at(file, line, what);
}

void t_fail_compare_(const char *file, int line, const char *what, intmax_t a, intmax_t b)
{
	t_fail_(file, line, "%s: %jd (0x%jx) and %jd (0x%jx)", what, a, (uintmax_t)a, b, (uintmax_t)b);
}

void t_fail_error_(const char *file, int line, const char *what, intmax_t error)
{
	t_fail_(file, line, "%s: %s (%jd)", what, strerror((int)error), error);
}

static const char *result_name(intmax_t result)
{
	const char *name = result < 0 && result > -4096 ? strerrorname_np((int)-result) : NULL;

	return name ? name : "no error";
}

void t_fail_expected_(const char *file, int line, const char *what,
		      intmax_t result, intmax_t expected)
{
	t_fail_(file, line, "%s: %jd (%s), not %jd (%s)", what,
		result, result_name(result), expected, result_name(expected));
}

void t_streq_(const char *file, int line, const char *a_what, const char *b_what,
	      const char *a, const char *b)
{
	if (a && b ? !strcmp(a, b) : a == b)
		return;
	t_fail_(file, line, "%s and %s: \"%s\" and \"%s\"", a_what, b_what,
		a ? a : "(null)", b ? b : "(null)");
}

void t_memeq_(const char *file, int line, const char *a_what, const char *b_what,
	      const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;
	size_t first = 0, n_differ = 0;

	for (size_t i = len; i-- > 0;) {
		if (x[i] == y[i])
			continue;
		first = i;
		n_differ++;
	}
	if (n_differ)
		t_fail_(file, line, "%s and %s: %zu of %zu bytes differ, the first at %zu: "
			"0x%02x and 0x%02x", a_what, b_what, n_differ, len, first,
			x[first], y[first]);
}

void t_skip_(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(shared->skip_reason, sizeof(shared->skip_reason), fmt, ap);
	va_end(ap);
	end_test(TEST_SKIPPED);
}

/* ---------------------------------------------------------------- seeds */

uint64_t t_seed(void)
{
	const char *given = getenv("FAULTLINE_TEST_SEED");

	if (shared->seed_known)
		return shared->seed;
	if (given)
		shared->seed = strtoull(given, NULL, 0);
	else if (getrandom(&shared->seed, sizeof(shared->seed), 0) != sizeof(shared->seed))
		shared->seed = now_ns();
	shared->seed_known = true;
	shared->random_state = shared->seed;
	t_note("FAULTLINE_TEST_SEED=%ju replays %s", (uintmax_t)shared->seed, run.current->name);
	return shared->seed;
}

/* splitmix64: every seed is as good as any other, 0 too. */
uint64_t t_random(void)
{
	uint64_t z;

	t_seed();
	z = __atomic_add_fetch(&shared->random_state, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t t_random_below(uint64_t bound)
{
	return bound ? t_random() % bound : 0;
}

/* ---------------------------------------------------------------- clean-ups */

void t_cleanup(void (*fn)(const char *arg), const char *arg)
{
	struct cleanup *c;

	if (shared->n_cleanups == MAX_CLEANUPS)
		t_fail("more than %d clean-ups", MAX_CLEANUPS);
	c = &shared->cleanups[shared->n_cleanups];
	c->fn = fn;
	if (strlcpy(c->arg, arg ? arg : "", sizeof(c->arg)) >= sizeof(c->arg))
		t_fail("a clean-up's argument is longer than %zu bytes", sizeof(c->arg) - 1);
	shared->n_cleanups++;
}

/* A clean-up that dies is not tried again: it is off the list before it is called. */
static void do_cleanups(void)
{
	while (shared->n_cleanups) {
		struct cleanup c = shared->cleanups[--shared->n_cleanups];

		c.fn(c.arg);
	}
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	if (remove(path) < 0 && errno != ENOENT)
		t_note("cannot remove %s: %s", path, strerror(errno));
	return 0;
}

static void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Everything that tests write is below the build directory's tmp. */
static void tmp_root(char *path, size_t size)
{
	const char *builddir = getenv("FAULTLINE_BUILDDIR");

	snprintf(path, size, "%s/tmp", builddir ? builddir : ".");
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		t_note("cannot make %s: %s", path, strerror(errno));
}

const char *t_tmpdir(void)
{
	char root[T_CLEANUP_ARG - 8];

	if (test.tmpdir[0])
		return test.tmpdir;
	tmp_root(root, sizeof(root));
	snprintf(test.tmpdir, sizeof(test.tmpdir), "%s/XXXXXX", root);
	if (!mkdtemp(test.tmpdir))
		t_fail("cannot make a directory in %s: %s", root, strerror(errno));
	t_cleanup(remove_tree, test.tmpdir);
	return test.tmpdir;
}

/* ---------------------------------------------------------------- descriptors */

struct fd_census {
	bool open[MAX_FDS];
};

static void fd_census_take(struct fd_census *c)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	memset(c, 0, sizeof(*c));
	if (!d)
		return;
	while ((e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd < MAX_FDS && fd != dirfd(d))
			c->open[fd] = true;
	}
	closedir(d);
}

static bool descriptors_leaked(const struct fd_census *before)
{
	static struct fd_census after;
	bool leaked = false;

	fd_census_take(&after);
	for (int fd = 0; fd < MAX_FDS; fd++) {
		char link[64], target[256] = "?";

		if (before->open[fd] == after.open[fd])
			continue;
		leaked = true;
		if (!after.open[fd]) {
			t_note("descriptor %d was closed, and is not the test's", fd);
			continue;
		}
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		target[0] = '?';
		if (readlink(link, target, sizeof(target) - 1) < 0)
			strlcpy(target, "?", sizeof(target));
		t_note("descriptor %d is left open: %s", fd, target);
	}
	return leaked;
}

/* ---------------------------------------------------------------- processes */

/* What /proc/PID/stat says: the name, the state, and whose child it is. */
struct process {
	pid_t pid, parent, group;
	char state;
	char name[64];
};

static bool process_read(pid_t pid, struct process *ret)
{
	char path[64], line[512];
	char *open, *close;
	struct process p = { .pid = pid };
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	line[0] = '\0';
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);

	open = strchr(line, '(');
	close = strrchr(line, ')');
	if (!open || !close || sscanf(close + 1, " %c %d %d", &p.state, &p.parent, &p.group) != 3)
		return false;
	*close = '\0';
	strlcpy(p.name, open + 1, sizeof(p.name));
	*ret = p;
	return true;
}

/* Call fn for each process whose parent is this one; how many there were. */
static unsigned int for_each_child(void (*fn)(const struct process *p))
{
	DIR *d = opendir("/proc");
	unsigned int n = 0;
	struct dirent *e;
	struct process p;

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		if (!process_read((pid_t)atoi(e->d_name), &p) || p.parent != getpid())
			continue;
		n++;
		fn(&p);
	}
	closedir(d);
	return n;
}

static void kill_process(const struct process *p)
{
	kill(p->pid, SIGKILL);
}

static void report_left_behind(const struct process *p)
{
	if (p->state != 'Z')
		t_note("process %d (%s) is left behind", (int)p->pid, p->name);
}

/* Take the status of every child that has ended. True when no child is left at all. */
static bool reap_ended(void)
{
	pid_t pid;

	do
		pid = waitpid(-1, NULL, WNOHANG | __WALL);
	while (pid > 0);
	return pid < 0 && errno == ECHILD;
}

/* Kill all children, and their orphans as they become ours, until none is left. */
static bool kill_all_children(void)
{
	uint64_t deadline = t_deadline_(10);

	while (!reap_ended()) {
		for_each_child(kill_process);
		if (!t_pause_(deadline))
			return false;
	}
	return true;
}

/* In the test: has it left a process that does not end by itself? It is ended then. */
static bool processes_leaked(void)
{
	uint64_t deadline = t_deadline_(GRACE_S);

	while (!reap_ended())
		if (!t_pause_(deadline)) {
			for_each_child(report_left_behind);
			kill_all_children();
			return true;
		}
	return false;
}

/* The first line of a file of a thread's; empty where there is none. */
static void read_thread_file(pid_t pid, int tid, const char *name, char *line, int size)
{
	char path[96];
	FILE *f;

	line[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, tid, name);
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(line, size, f))
		line[0] = '\0';
	fclose(f);
	line[strcspn(line, "\n")] = '\0';
}

/* One line for each thread: what it waits in says most about a hang. */
static void report_thread(pid_t pid, int tid)
{
	char wchan[64], call[128];

	read_thread_file(pid, tid, "wchan", wchan, sizeof(wchan));
	read_thread_file(pid, tid, "syscall", call, sizeof(call));
	t_note("  thread %d: in %s, system call %s", tid, wchan, call);
}

/* The test and its group, as they were when time was up. */
static void report_hang(pid_t group)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	struct process p;

	if (!d)
		return;
	while ((e = readdir(d))) {
		char path[64];
		struct dirent *t;
		DIR *tasks;

		if (e->d_name[0] < '1' || e->d_name[0] > '9' ||
		    !process_read((pid_t)atoi(e->d_name), &p) ||
		    (p.group != group && p.parent != group))
			continue;
		t_note("process %d (%s), state %c", (int)p.pid, p.name, p.state);
		snprintf(path, sizeof(path), "/proc/%d/task", (int)p.pid);
		tasks = opendir(path);
		while (tasks && (t = readdir(tasks)))
			if (t->d_name[0] != '.')
				report_thread(p.pid, atoi(t->d_name));
		if (tasks)
			closedir(tasks);
	}
	closedir(d);
}

/* ---------------------------------------------------------------- a test's process */

/* CUnit's own assertions do not end a test; they are in its list, and are said here. */
static bool cunit_failures(void)
{
	CU_pFailureRecord r = CU_get_failure_list();
	bool failed = false;

	for (; r; r = r->pNext) {
		if (r->pTest != CU_get_current_test())
			continue;
		t_note("%s:%u: %s", r->strFileName ? r->strFileName : "?", r->uiLineNumber,
		       r->strCondition ? r->strCondition : "?");
		failed = true;
	}
	return failed;
}

/*
 * Call the test's function. It comes back by returning, by end_test(), or by a fatal assertion of
 * CUnit's, which jumps to where the test's pJumpBuf says.
 */
static enum test_exit call_test(const struct t_test *t)
{
	CU_pTest registered = CU_get_current_test();
	jmp_buf *outer = registered->pJumpBuf;
	volatile enum test_exit how = TEST_PASSED;
	int jumped;

	test.pid = getpid();
	test.thread = pthread_self();
	registered->pJumpBuf = &test.end;
	jumped = setjmp(test.end);
	if (!jumped)
		t->fn();
	else
		how = jumped == TEST_SKIPPED ? TEST_SKIPPED : TEST_FAILED;
	registered->pJumpBuf = outer;
	return how;
}

static enum test_exit test_outcome(const struct t_test *t)
{
	static struct fd_census before;
	enum test_exit how;

	fd_census_take(&before);
	how = call_test(t);
	do_cleanups();
	if (!run.no_fork && cunit_failures())
		how = TEST_FAILED;
	if (how == TEST_FAILED)
		return how;
	if (processes_leaked() || descriptors_leaked(&before))
		return TEST_FAILED;
	return how;
}

static _Noreturn void test_process(const struct t_test *t, pid_t runner)
{
	enum test_exit how;

	setpgid(0, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != runner)
		_exit(TEST_FAILED);
	/* What make and its test driver left open is nothing that a test should see. */
	close_range(STDERR_FILENO + 1, ~0u, 0);
	/* The runner's standard output is TAP and nothing else. */
	dup2(STDERR_FILENO, STDOUT_FILENO);
	sigprocmask(SIG_SETMASK, &run.original_mask, NULL);

	how = test_outcome(t);
	shared->ended = true;
	fflush(NULL);
	if (how == TEST_PASSED)
		exit(how);	/* atexit: a leak sanitizer has its say, coverage is written */
	_exit(how);
}

/* ---------------------------------------------------------------- the runner */

/* Wait for the test. False when its time is up, or the runner is to end. */
static bool wait_for_test(pid_t pid, double timeout_s)
{
	struct pollfd fds[2] = {
		{ .fd = pidfd_open(pid, 0), .events = POLLIN },
		{ .fd = run.signal_fd, .events = POLLIN },
	};
	uint64_t deadline = now_ns() + (uint64_t)(timeout_s * 1e9), now;
	struct signalfd_siginfo info;
	bool ended = false, stopped = false;

	while (!ended && !stopped) {
		now = now_ns();
		if (timeout_s > 0 && now >= deadline)
			break;
		poll(fds, 2, timeout_s > 0 ? (int)((deadline - now) / 1000000 + 1) : -1);
		if (fds[0].revents)
			ended = true;
		else if (fds[1].revents && read(run.signal_fd, &info, sizeof(info)) == sizeof(info)) {
			run.stop_signal = (int)info.ssi_signo;
			stopped = true;
		}
	}
	close(fds[0].fd);
	return ended;
}

/* The test could not do them, or not all. They get a process, and some time, of their own. */
static void finish_cleanups(void)
{
	pid_t pid;

	if (!shared->n_cleanups)
		return;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		do_cleanups();
		_exit(0);
	}
	if (pid > 0 && !wait_for_test(pid, CLEANUP_TIMEOUT_S * t_time_scale()))
		t_note("cleaning up takes too long");
	kill_all_children();
	shared->n_cleanups = 0;
}

static bool explain_status(int status)
{
	if (WIFSIGNALED(status))
		t_note("killed by SIG%s (%s)", sigabbrev_np(WTERMSIG(status)),
		       sigdescr_np(WTERMSIG(status)));
	else if (!shared->ended && WEXITSTATUS(status) != TEST_FAILED)
		t_note("the test called exit(%d)", WEXITSTATUS(status));
	else if (WEXITSTATUS(status) == TEST_SKIPPED)
		return true;
	else if (WEXITSTATUS(status) > TEST_FAILED)
		t_note("exited with %d", WEXITSTATUS(status));
	return shared->ended && WIFEXITED(status) && WEXITSTATUS(status) == TEST_PASSED;
}

/* Run one test to its end and beyond: afterwards nothing of it is left. */
static bool run_forked(const struct t_test *t)
{
	unsigned int timeout_s = t->timeout_s ? t->timeout_s : DEFAULT_TIMEOUT_S;
	double limit = run.traced ? 0 : timeout_s * run.time_scale;
	pid_t runner = getpid(), pid;
	bool in_time, passed;
	int status = 0;

	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		t_note("fork: %s", strerror(errno));
		return false;
	}
	if (pid == 0)
		test_process(t, runner);
	setpgid(pid, pid);

	in_time = wait_for_test(pid, limit);
	if (!in_time) {
		if (run.stop_signal)
			t_note("stopped by SIG%s", sigabbrev_np(run.stop_signal));
		else
			t_note("not done after %g seconds", limit);
		report_hang(pid);
		kill(pid, SIGKILL);
	}
	/* Its group first, while the pid is still taken: no orphan starts another process. */
	kill(-pid, SIGKILL);
	if (!in_time)
		wait_for_test(pid, 10 * t_time_scale());
	passed = waitpid(pid, &status, in_time ? 0 : WNOHANG) == pid && in_time && explain_status(status);
	if (!kill_all_children()) {
		t_note("some processes of the test cannot be killed");
		passed = false;
	}
	finish_cleanups();
	run.current_skipped = passed && WEXITSTATUS(status) == TEST_SKIPPED;
	return passed;
}

static bool run_in_place(const struct t_test *t)
{
	enum test_exit how = test_outcome(t);

	run.current_skipped = how == TEST_SKIPPED;
	return how != TEST_FAILED;
}

/* What CUnit calls for each test. */
static void run_current(void)
{
	const struct t_test *t = run.current;

	if (run.stop_signal)
		return;
	memset(shared, 0, sizeof(*shared));
	memset(&test.tmpdir, 0, sizeof(test.tmpdir));
	run.current_skipped = false;
	if (!(run.no_fork ? run_in_place(t) : run_forked(t)))
		CU_FAIL("the test failed");
}

static bool selected(const struct t_suite *s, const struct t_test *t)
{
	char name[256], pattern[256];

	if (!run.patterns[0])
		return true;
	snprintf(name, sizeof(name), "%s/%s", s->name, t->name);
	for (char **p = run.patterns; *p; p++) {
		snprintf(pattern, sizeof(pattern), "*%s*", *p);
		if (!fnmatch(pattern, name, 0))
			return true;
	}
	return false;
}

/* CUnit hands over no argument: the test is found again by the names that it was added with. */
static void on_test_start(const CU_pTest test_started, const CU_pSuite suite)
{
	run.current = NULL;
	for (const struct t_suite *s = run.suites; s->name; s++)
		for (const struct t_test *t = s->tests; t->name; t++)
			if (!strcmp(s->name, suite->pName) && !strcmp(t->name, test_started->pName))
				run.current = t;
}

static void on_test_complete(const CU_pTest t, const CU_pSuite suite, const CU_pFailureRecord failure)
{
	run.n_done++;
	printf("%s %u - %s/%s", failure || run.stop_signal ? "not ok" : "ok", run.n_done,
	       suite->pName, t->pName);
	if (!failure && run.current_skipped)
		printf(" # SKIP %s", shared->skip_reason);
	printf("\n");
	fflush(stdout);
}

static unsigned int register_tests(void)
{
	unsigned int n = 0;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 0;
	for (const struct t_suite *s = run.suites; s->name; s++) {
		CU_pSuite suite = CU_add_suite(s->name, NULL, NULL);

		for (const struct t_test *t = s->tests; suite && t->name; t++) {
			if (!selected(s, t))
				continue;
			if (!CU_add_test(suite, t->name, run_current) || CU_get_error() != CUE_SUCCESS) {
				fprintf(stderr, "%s/%s is there twice\n", s->name, t->name);
				return 0;
			}
			n++;
		}
	}
	return n;
}

static void list_tests(void)
{
	for (const struct t_suite *s = run.suites; s->name; s++)
		for (const struct t_test *t = s->tests; t->name; t++)
			if (selected(s, t))
				printf("%s/%s\n", s->name, t->name);
}

static bool being_traced(void)
{
	char line[128];
	bool traced = false;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "TracerPid:", 10))
			traced = atoi(line + 10) != 0;
	if (f)
		fclose(f);
	return traced;
}

/* Functional tests load both CPUs and look at time: one at a time. Held until the runner ends. */
static void wait_for_turn(const char *program)
{
	char path[512], root[480];
	int fd;

	if (!strstr(program, "functional/"))
		return;
	tmp_root(root, sizeof(root));
	snprintf(path, sizeof(path), "%s/functional.lock", root);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	/* A lock of this kind is the process's: tests that inherit the descriptor do not hold it. */
	if (fd < 0 || fcntl(fd, F_SETLKW, &(struct flock){ .l_type = F_WRLCK }) < 0)
		t_note("%s: %s; other functional tests may run at the same time", path, strerror(errno));
}

static void prepare_runner(void)
{
	const char *scale = getenv("FAULTLINE_TEST_TIMEOUT");
	sigset_t set;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		exit(EXIT_FAILURE);
	}
	run.time_scale = BUILD_TIME_SCALE * (scale ? atof(scale) : 1.0);
	run.traced = being_traced();
	if (run.no_fork)
		return;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &run.original_mask);
	run.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
}

static int usage(const char *program)
{
	fprintf(stderr, "usage: %s [--list] [--no-fork] [PATTERN...]\n", program);
	return 2;
}

static int finish(unsigned int n_planned)
{
	unsigned int n_failed = CU_get_number_of_tests_failed();
	bool all_ran = run.n_done == n_planned;

	CU_cleanup_registry();
	if (run.stop_signal) {
		printf("Bail out! SIG%s\n", sigabbrev_np(run.stop_signal));
		fflush(stdout);
		sigprocmask(SIG_SETMASK, &run.original_mask, NULL);
		raise(run.stop_signal);
	}
	return n_failed || !all_ran ? EXIT_FAILURE : EXIT_SUCCESS;
}

int harness_main(int argc, char **argv, const struct t_suite *suites)
{
	bool list = false;
	unsigned int n;

	run.suites = suites;
	for (run.patterns = argv + 1; *run.patterns; run.patterns++) {
		if (!strcmp(*run.patterns, "--list"))
			list = true;
		else if (!strcmp(*run.patterns, "--no-fork"))
			run.no_fork = true;
		else if (**run.patterns == '-')
			return usage(argv[0]);
		else
			break;
	}
	if (list) {
		list_tests();
		return EXIT_SUCCESS;
	}

	prepare_runner();
	n = register_tests();
	if (!n) {
		fprintf(stderr, "%s: no test matches\n", argv[0]);
		return EXIT_FAILURE;
	}
	wait_for_turn(argv[0]);
	printf("1..%u\n", n);
	CU_set_error_action(CUEA_IGNORE);
	CU_set_test_start_handler(on_test_start);
	CU_set_test_complete_handler(on_test_complete);
	CU_run_all_tests();
	return finish(n);
}
