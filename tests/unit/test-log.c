/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-log.c - what the daemon has to say, where to, and that nobody waits for it. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "tests/harness.h"

static int stderr_pipe[2], old_stderr;

/* From here on stderr is a pipe that we read. */
static void catch_stderr(void)
{
	t_sys(pipe2(stderr_pipe, O_CLOEXEC));
	old_stderr = t_sys(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
	t_sys(dup2(stderr_pipe[1], STDERR_FILENO));
	close(stderr_pipe[1]);
}

static void release_stderr(void)
{
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	close(stderr_pipe[0]);
}

/* What has been written since, as long as there is any. */
static const char *written(void)
{
	static char text[1 << 16];
	struct pollfd p = { .fd = stderr_pipe[0], .events = POLLIN };
	size_t n = 0;

	while (n < sizeof(text) - 1 && poll(&p, 1, 0) == 1) {
		ssize_t r = read(stderr_pipe[0], text + n, sizeof(text) - 1 - n);

		if (r <= 0)
			break;
		n += (size_t)r;
	}
	text[n] = '\0';
	return text;
}

static void line_is_plain_where_stderr_is_not_the_journal(void)
{
	char expected[256];

	catch_stderr();
	unsetenv("JOURNAL_STREAM");
	log_init();
	log_info("session %d: hello", 12);
	errno = ENOENT;
	log_warn("swap");
	snprintf(expected, sizeof(expected), "%s: session 12: hello\n%s: swap: No such file or directory\n",
		 program_invocation_short_name, program_invocation_short_name);
	t_streq(written(), expected);
	release_stderr();
}

static void line_has_a_level_where_stderr_is_the_journal(void)
{
	struct stat st;
	char stream[64];

	catch_stderr();
	t_sys(fstat(STDERR_FILENO, &st));
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init();
	log_warnx("one");
	log_notice("two");
	t_streq(written(), "<4>one\n<5>two\n");

	/* Redirected since: the variable is inherited, the stream is another. */
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_init();
	log_warnx("three");
	t_assert(written()[0] != '<');
	release_stderr();
}

static void level_decides_what_is_said(void)
{
	catch_stderr();
	log_init();
	log_debug("quiet %d", 1);
	t_streq(written(), "");
	t_assert(!log_enabled(LOG_LEVEL_DEBUG));
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("loud");
	t_assert(strstr(written(), "loud"));
	log_set_level(LOG_LEVEL_WARN);
	log_info("quiet");
	t_streq(written(), "");
	release_stderr();
}

static void errno_is_kept(void)
{
	catch_stderr();
	log_init();
	errno = EXDEV;
	log_warn("a");
	t_eq(errno, EXDEV);
	log_info("b");
	t_eq(errno, EXDEV);
	release_stderr();
}

static void line_is_one_line_whatever_is_in_it(void)
{
	char text[2000];
	const char *w;

	catch_stderr();
	log_init();
	log_info("a\nfaultlined: forged\033[2J");
	w = written();
	t_assert(strchr(w, '\n') == w + strlen(w) - 1);
	t_assert(!strchr(w, '\033'));

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	w = written();
	t_lt(strlen(w), LOG_LINE_SIZE + 64);
	t_eq(w[strlen(w) - 1], '\n');
	release_stderr();
}

/* ---- the writer ---- */

static void writer_writes_all_in_order_and_stop_waits_for_it(void)
{
	char expected[64];
	const char *w;

	catch_stderr();
	log_init();
	t_ok(log_start());
	for (int i = 0; i < 100; i++)
		log_info("line %d.", i);
	log_stop();
	w = written();
	for (int i = 0; i < 100; i++) {
		snprintf(expected, sizeof(expected), "line %d.", i);
		w = strstr(w, expected);
		t_assert(w);
	}
	log_info("after");			/* at once again */
	t_assert(strstr(written(), "after"));
	release_stderr();
}

/* Nobody reads: the writer is stuck in write(2), and everybody else goes on. */
static void stderr_that_is_stuck_holds_nobody_and_losses_are_told(void)
{
	static char seen[1 << 17];
	char text[400];
	size_t n = 0;

	catch_stderr();
	t_sys(fcntl(stderr_pipe[0], F_SETPIPE_SZ, 4096));
	log_init();
	log_set_level(LOG_LEVEL_DEBUG);			/* without a limit */
	t_ok(log_start());
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 2000; i++)
		log_debug("%s", text);

	while (!strstr(seen, "lines lost")) {
		ssize_t r = t_sys(read(stderr_pipe[0], seen + n, sizeof(seen) - 1 - n));

		n += (size_t)r;
		t_lt(n, sizeof(seen) - 1);
	}
	log_stop();
	release_stderr();
}

static void stop_gives_up_on_a_writer_that_is_stuck(void)
{
	char text[400];
	pid_t pid;
	int status;

	catch_stderr();
	t_sys(fcntl(stderr_pipe[0], F_SETPIPE_SZ, 4096));
	pid = t_sys(fork());
	if (!pid) {
		log_init();
		log_start();
		memset(text, 'x', sizeof(text));
		text[sizeof(text) - 1] = '\0';
		for (int i = 0; i < 100; i++)
			log_info("%s", text);
		log_stop();
		_exit(0);
	}
	t_eq(t_sys(waitpid(pid, &status, 0)), pid);
	t_assert(WIFEXITED(status));
	release_stderr();
}

/* ---- the sink ---- */

static int n_lines;
static enum log_level last_level;
static char last_line[LOG_LINE_SIZE];

static void sink(void *ctx, enum log_level level, const char *line)
{
	t_assert(ctx == &n_lines);
	n_lines++;
	last_level = level;
	strcpy(last_line, line);
	log_warnx("from the sink");		/* not allowed, and must not hang */
}

static void sink_gets_the_lines_and_stderr_none(void)
{
	catch_stderr();
	log_init();
	log_set_sink(sink, &n_lines);
	log_warnx("to %s", "you");
	t_eq(n_lines, 1);
	t_eq(last_level, LOG_LEVEL_WARN);
	t_streq(last_line, "to you");
	t_streq(written(), "");
	log_set_sink(NULL, NULL);
	log_warnx("here");
	t_eq(n_lines, 1);
	t_assert(strstr(written(), "here"));
	release_stderr();
}

static void *log_many(void *arg)
{
	for (int i = 0; i < 100; i++)
		log_info("thread %s line %d", (const char *)arg, i);
	return NULL;
}

static void lines_of_several_threads_stay_whole(void)
{
	pthread_t a, b;
	char *save, *line;
	static char text[1 << 16];
	int n = 0;

	catch_stderr();
	log_init();
	t_ok(log_start());
	t_eq(pthread_create(&a, NULL, log_many, (void *)(uintptr_t)"a"), 0);
	t_eq(pthread_create(&b, NULL, log_many, (void *)(uintptr_t)"b"), 0);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	log_stop();
	strcpy(text, written());
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char who;
		int i, end = 0;

		t_eq(sscanf(strstr(line, ": "), ": thread %c line %d%n", &who, &i, &end), 2);
		t_eq(strstr(line, ": ")[end], '\0');
		n++;
	}
	t_eq(n, 200);
	release_stderr();
}

/* ---- limits ---- */

static void limit_lets_a_burst_through_and_counts_the_rest(void)
{
	struct log_limit l = { .burst = 3 };
	uint32_t suppressed;
	int n = 0;

	for (int i = 0; i < 10; i++) {
		if (!log_limit(&l, &suppressed))
			continue;
		t_eq(suppressed, 0);
		n++;
	}
	t_eq(n, 3);
	l.window_ns = 1;			/* long ago */
	t_assert(log_limit(&l, &suppressed));
	t_eq(suppressed, 7);
	t_assert(log_limit(&l, &suppressed));
	t_eq(suppressed, 0);
}

static int n_sunk;

static void count(void *ctx, enum log_level level, const char *line)
{
	n_sunk++;
}

static void flood_of_lines_is_limited(void)
{
	log_init();
	log_set_sink(count, NULL);
	for (int i = 0; i < 5000; i++)
		log_info("flood");
	log_set_sink(NULL, NULL);
	t_ge(n_sunk, 100);
	t_le(n_sunk, 1300);		/* of one minute, or of two if it just ended */
}

/* ---- the end ---- */

static int run_fatal(bool with_writer)
{
	int status;
	pid_t pid = t_sys(fork());

	if (!pid) {
		log_init();
		if (with_writer)
			log_start();
		errno = EIO;
		fatal("state: cannot be read");
	}
	t_eq(t_sys(waitpid(pid, &status, 0)), pid);
	t_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void fatal_says_why_and_ends_the_process(void)
{
	catch_stderr();
	t_eq(run_fatal(false), 1);
	t_assert(strstr(written(), "state: cannot be read: Input/output error\n"));
	t_eq(run_fatal(true), 1);
	t_assert(strstr(written(), "state: cannot be read: Input/output error\n"));
	release_stderr();
}

static void names_of_clients_are_encoded(void)
{
	char text[LOG_VIS_SIZE(32)], small[6];
	const char raw[4] = { 'a', 'b', 'c', 'd' };

	t_streq(log_vis(text, sizeof(text), "plain name", 32), "plain name");
	t_streq(log_vis(text, sizeof(text), "a\nb\tc\\", 32), "a\\nb\\tc\\\\");
	log_vis(text, sizeof(text), "\033[2J\377", 32);
	for (const char *p = text; *p; p++)
		t_assert(*p >= ' ' && *p < 0x7f);
	t_streq(log_vis(text, sizeof(text), raw, sizeof(raw)), "abcd");
	t_streq(log_vis(small, sizeof(small), "abc\n\n", 32), "abc\\n");	/* whole sequences */
	t_streq(log_vis(small, 0, "abc", 3), "");
}

static const struct t_test tests[] = {
	T(line_is_plain_where_stderr_is_not_the_journal),
	T(line_has_a_level_where_stderr_is_the_journal),
	T(level_decides_what_is_said),
	T(errno_is_kept),
	T(line_is_one_line_whatever_is_in_it),
	T(writer_writes_all_in_order_and_stop_waits_for_it),
	T(stderr_that_is_stuck_holds_nobody_and_losses_are_told),
	T(stop_gives_up_on_a_writer_that_is_stuck),
	T(sink_gets_the_lines_and_stderr_none),
	T(lines_of_several_threads_stay_whole),
	T(limit_lets_a_burst_through_and_counts_the_rest),
	T(flood_of_lines_is_limited),
	T(fatal_says_why_and_ends_the_process),
	T(names_of_clients_are_encoded),
	{0}
};

static const struct t_suite suites[] = { { "log", tests }, {0} };

HARNESS_MAIN(suites)
