/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * watch-cost.c - run a command, and write down what it and its descendants took at most.
 *
 *	watch-cost [-o FILE] [-e FILE] [-i MILLISECONDS] [-t TITLE] COMMAND [ARGUMENT...]
 *
 * The file of -o (standard error without it) gets lines "name value", sizes in bytes: wall_ms,
 * status, anon, pool, total, swap, daemon, samples; see cost.h. The file of -e gets the standard
 * error of the command. With -t, and where our own is a terminal, it shows the present state
 * each second. Exits as the command does: 128 and the signal's number where one killed it, 127
 * where there is none.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/cost.h"

static const char *title;
static uint64_t started_ms, shown_ms;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void show(const struct cost *now)
{
	uint64_t t = now_ms();

	if (t - shown_ms < 1000)
		return;
	shown_ms = t;
	fprintf(stderr, "\r%s: %" PRIu64 " s, resident %" PRIu64 " MiB, pool %" PRIu64
		" MiB, swap file %" PRIu64 " MiB\033[K", title, (t - started_ms) / 1000,
		now->anon >> 20, now->pool >> 20, now->swap >> 20);
}

static int exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int write_down(const char *path, const struct cost *c, uint64_t wall_ms, int status)
{
	FILE *f = path ? fopen(path, "we") : stderr;
	bool failed;

	if (!f)
		return -errno;
	fprintf(f, "wall_ms %" PRIu64 "\nstatus %d\nanon %" PRIu64 "\npool %" PRIu64 "\ntotal %"
		PRIu64 "\nswap %" PRIu64 "\ndaemon %" PRIu64 "\nsamples %" PRIu64 "\n", wall_ms,
		exit_code(status), c->anon, c->pool, c->total, c->swap, c->daemon, c->samples);
	failed = ferror(f);
	if (path && fclose(f) != 0)
		failed = true;
	return failed ? -EIO : 0;
}

static pid_t start(char **argv, const char *err_path)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (err_path && !freopen(err_path, "w", stderr))
		_exit(127);
	execvp(argv[0], argv);
	fprintf(stderr, "watch-cost: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void usage(void)
{
	fprintf(stderr, "usage: watch-cost [-o FILE] [-e FILE] [-i MS] [-t TITLE] COMMAND...\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const char *path = NULL, *err_path = NULL;
	int c, r, status, interval_ms = 10;
	struct cost peak;
	pid_t pid;

	while ((c = getopt(argc, argv, "+o:e:i:t:")) != -1) {
		if (c == 'o')
			path = optarg;
		else if (c == 'e')
			err_path = optarg;
		else if (c == 'i')
			interval_ms = atoi(optarg);
		else if (c == 't')
			title = optarg;
		else
			usage();
	}
	if (optind >= argc || interval_ms < 1)
		usage();

	/* A daemon that loses its parent stays in our tree. The keyboard's signals are for the
	 * command: we end with it. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	started_ms = shown_ms = now_ms();
	pid = start(argv + optind, err_path);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	r = pid < 0 ? -errno :
	    cost_watch(pid, interval_ms, title && isatty(STDERR_FILENO) ? show : NULL, &peak, &status);
	if (title && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	if (r == 0)
		r = write_down(path, &peak, now_ms() - started_ms, status);
	if (r < 0) {
		fprintf(stderr, "watch-cost: %s\n", strerror(-r));
		return 1;
	}
	return exit_code(status);
}
