/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * in-job.c - see in-job.h.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/functional/in-job.h"
#include "tests/harness.h"

static const char *need(const char *variable)
{
	const char *value = getenv(variable);

	if (!value)
		t_fail("%s is not set: start this through ./run", variable);
	return value;
}

static _Noreturn void become(const struct test_daemon *d, const char *const argv[], int in, int out)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/functional/%s", need("FAULTLINE_BUILDDIR"), argv[0]);
	setenv("FAULTLINE_SOCKET", d->socket, 1);
	setenv("FAULTLINE_JOB", d->token, 1);
	setenv("LD_PRELOAD", need("FAULTLINE_PRELOAD"), 1);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0)
		_exit(98);
	execv(path, (char *const *)(uintptr_t)argv);
	_exit(99);
}

void in_job_start(struct in_job *p, const struct test_daemon *d, const char *const argv[])
{
	int in[2], out[2];

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	t_skip("a preload library with a sanitizer in it cannot be loaded into strangers");
#endif
	t_sys(pipe2(in, O_CLOEXEC));
	t_sys(pipe2(out, O_CLOEXEC));
	p->pid = t_sys(fork());
	if (!p->pid)
		become(d, argv, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	p->in = in[1];
	p->out = out[0];
}

void in_job_read(struct in_job *p, char *text, size_t size)
{
	size_t n = 0;
	ssize_t r;

	while (n < size - 1 && (r = read(p->out, text + n, size - 1 - n)) > 0)
		n += (size_t)r;
	text[n] = '\0';
}

void in_job_line(struct in_job *p, char *line, size_t size)
{
	size_t n = 0;

	while (n < size - 1 && read(p->out, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
}

static int reap(struct in_job *p)
{
	int status;

	t_eq(waitpid(p->pid, &status, 0), p->pid);
	p->pid = 0;
	close_fd(&p->in);
	close_fd(&p->out);
	return status;
}

int in_job_wait(struct in_job *p, unsigned int seconds)
{
	int pidfd = t_sys((int)syscall(SYS_pidfd_open, p->pid, 0)), n;
	struct pollfd poll_it = { .fd = pidfd, .events = POLLIN };

	n = poll(&poll_it, 1, (int)(seconds * 1000 * t_time_scale()));
	close(pidfd);
	if (n != 1)
		t_fail("the program has not ended within %u seconds", seconds);
	return reap(p);
}

void in_job_kill(struct in_job *p)
{
	t_sys(kill(p->pid, SIGKILL));
	reap(p);
}
