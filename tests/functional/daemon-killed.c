/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * daemon-killed.c - SIGKILL for the daemon: its clients block where they touch what is out, and none of
 * them ever reads a zero.
 */
#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/functional/in-job.h"
#include "tests/harness.h"

#define MIB	(UINT64_C(1) << 20)
#define CLIENTS	3

/* How many threads of it sleep there in the kernel. */
static int threads_in(pid_t pid, const char *function)
{
	char path[300], text[64];
	struct dirent *e;
	int n = 0, fd;
	ssize_t r;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	t_assert(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.200s/wchan", (int)pid, e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		r = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		if (fd >= 0)
			close(fd);
		text[r > 0 ? r : 0] = '\0';
		n += strstr(text, function) != NULL;
	}
	closedir(dir);
	return n;
}

/* So many wait for a page, and go on waiting when the agent has noticed that the daemon is gone: from then
 * on it does nothing but sleep. */
static void expect_blocked(pid_t pid, int threads)
{
	t_until(threads_in(pid, "handle_userfault") == threads);
	t_until(threads_in(pid, "nanosleep") == 1);
	t_eq(threads_in(pid, "handle_userfault"), threads);
}

static bool says_something(const struct in_job *p)
{
	struct pollfd fd = { .fd = p->out, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

/* Programs that hold what they have written, and look at it when the daemon is dead. */
static void who_looks_at_what_is_out_blocks(void)
{
	static const char *const argv[] = { "holder", "24", NULL };
	struct flp_job_create job = daemon_job(24 * MIB);
	struct in_job p[CLIENTS];
	struct test_daemon d;
	char line[64];

	daemon_start(&d, &job);
	for (int i = 0; i < CLIENTS; i++)
		in_job_start(&p[i], &d, argv);
	for (int i = 0; i < CLIENTS; i++) {
		struct flp_status_session s;

		in_job_line(&p[i], line, sizeof(line));
		t_streq(line, "ready");
		t_until(daemon_session(&d, p[i].pid, &s) && s.c.stored > MIB);
	}
	daemon_kill(&d);
	for (int i = 0; i < CLIENTS; i++)
		t_eq(write(p[i].in, "x", 1), 1);
	for (int i = 0; i < CLIENTS; i++) {
		expect_blocked(p[i].pid, 1);
		t_assert(!says_something(&p[i]));
		in_job_kill(&p[i]);
	}
}

/* Killed in the middle of it all. */
static void who_is_at_work_blocks(void)
{
	static const char *const argv[] = { "client-hammer", "64", "4", "4000000000", "1", NULL };
	struct flp_job_create job = daemon_job(16 * MIB);

	for (int i = 0; i < 5; i++) {
		struct test_daemon d;
		struct in_job p;

		daemon_start(&d, &job);
		in_job_start(&p, &d, argv);
		t_until_s(daemon_status(&d).c.refaults > 1000 + t_random_below(10000), 30);
		daemon_kill(&d);
		expect_blocked(p.pid, 4);
		t_assert(!says_something(&p));
		in_job_kill(&p);
	}
}

static const struct t_test tests[] = {
	T_TIMEOUT(who_looks_at_what_is_out_blocks, 60),
	T_TIMEOUT(who_is_at_work_blocks, 120),
	{0}
};

static const struct t_suite suites[] = { { "daemon-killed", tests }, {0} };

HARNESS_MAIN(suites)
