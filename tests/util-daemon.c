/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * util-daemon.c - a real faultlined for a test, as faultline run starts one. See util-daemon.h.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/sock.h"
#include "common/uffd-abi.h"
#include "common/wire.h"
#include "tests/harness.h"
#include "tests/util-daemon.h"

#define STOP_MS	20000

enum { SOCKET_FD = 3, DEVICE_FD = 4, FIRST_FREE_FD = 5 };

/* ---- the process ---- */

static int open_device(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	if (device < 0)
		t_skip("/dev/userfaultfd cannot be opened");
	fd = t_sys(ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
	t_sys(ioctl(fd, UFFDIO_API, &api));
	close(fd);
	if (!(api.features & UFFD_FEATURE_MOVE)) {
		close(device);
		t_skip("this kernel's userfaultfd cannot move pages");
	}
	return device;
}

/* In the child. */
static void become_daemon(const char *program, int listener, int device)
{
	sigset_t none;
	int null;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* All three up first, so that none is overwritten before it is moved. */
	null = fcntl(open("/dev/null", O_RDWR), F_DUPFD, FIRST_FREE_FD);
	listener = fcntl(listener, F_DUPFD, FIRST_FREE_FD);
	device = fcntl(device, F_DUPFD, FIRST_FREE_FD);
	dup2(null, 0);
	dup2(null, 1);
	if (dup2(listener, SOCKET_FD) < 0 || dup2(device, DEVICE_FD) < 0 ||
	    close_range(FIRST_FREE_FD, ~0u, 0) < 0 || chdir("/") < 0)
		_exit(98);
	execl(program, program, "--private", "--socket-fd", "3", "--uffd-fd", "4", (char *)NULL);
	_exit(99);
}

static void spawn(struct test_daemon *d, const char *variable)
{
	const char *program = getenv(variable);
	int device, listener;

	if (!program)
		t_fail("%s is not set: start this through ./run", variable);
	device = open_device();
	listener = t_ok(sock_listen(d->socket, 0600, 0));
	d->pid = t_sys(fork());
	if (!d->pid)
		become_daemon(program, listener, device);
	close(listener);
	close(device);
}

/* ---- talking to it ---- */

static void say(struct test_daemon *d, enum flp_type type, const void *body)
{
	union wire_buffer m;
	size_t len = wire_build(&m, type, ++d->cookie, body);

	t_ok(sock_send(d->control, &m, len, NULL, 0));
}

static void note_log(const union wire_buffer *m)
{
	struct flp_log l;

	memcpy(&l, wire_body(m), sizeof(l));
	t_note("faultlined: %s", l.text);
}

/* The next message that is an answer. */
static void hear(struct test_daemon *d, union wire_buffer *ret)
{
	do {
		ssize_t n = sock_recv(d->control, ret, sizeof(*ret), NULL);

		if (n <= 0)
			t_fail("faultlined does not answer: %s", n ? strerror((int)-n) :
			       "it has closed the connection");
		t_ok(wire_check(ret, (size_t)n, 0, WIRE_TO_CLIENT));
		if (ret->h.type == FLP_LOG)
			note_log(ret);
	} while (ret->h.type == FLP_LOG);
	t_eq(ret->h.cookie, d->cookie);
	if (ret->h.type == FLP_ERROR) {
		struct flp_error e;

		memcpy(&e, wire_body(ret), sizeof(e));
		t_fail("faultlined refused: %s", e.text);
	}
}

static void hear_type(struct test_daemon *d, union wire_buffer *ret, enum flp_type type)
{
	hear(d, ret);
	t_eq(ret->h.type, type);
}

/* What it has logged since. */
static void drain_log(struct test_daemon *d)
{
	struct pollfd p = { .fd = d->control, .events = POLLIN };
	union wire_buffer m;
	ssize_t n;

	while (d->control >= 0 && poll(&p, 1, 0) > 0) {
		n = sock_recv(d->control, &m, sizeof(m), NULL);
		if (n <= 0)
			return;
		if (!wire_check(&m, (size_t)n, 0, WIRE_TO_CLIENT) && m.h.type == FLP_LOG)
			note_log(&m);
	}
}

/* ---- starting ---- */

static void make_job(struct test_daemon *d, const struct flp_job_create *job)
{
	struct flp_job_created created;
	union wire_buffer m;

	say(d, FLP_JOB_CREATE, job);
	hear_type(d, &m, FLP_JOB_CREATED);
	memcpy(&created, wire_body(&m), sizeof(created));
	d->job = created.job;
	for (unsigned int i = 0; i < FLP_TOKEN_SIZE; i++)
		snprintf(d->token + 2 * (size_t)i, 3, "%02x", created.token[i]);
}

struct flp_job_create daemon_job(uint64_t budget)
{
	return (struct flp_job_create){
		.budget = budget, .pool_max = UINT64_MAX, .swap_max = UINT64_MAX,
		.prefetch = UINT32_MAX, .name = "test",
	};
}

void daemon_start_as(struct test_daemon *d, const char *variable, const struct flp_job_create *job)
{
	struct flp_hello hello = {
		.version = FLP_VERSION, .role = FLP_ROLE_CONTROL, .name = "test",
	};
	static unsigned int n;		/* of the test's process: each has a socket of its own */
	union wire_buffer m;

	*d = (struct test_daemon){ .control = -1 };
	t_lt(snprintf(d->socket, sizeof(d->socket), "%s/daemon-%u", t_tmpdir(), ++n), sizeof(d->socket));
	spawn(d, variable);
	d->control = t_ok(sock_connect(d->socket, 0));
	say(d, FLP_HELLO, &hello);
	hear_type(d, &m, FLP_WELCOME);
	make_job(d, job);
}

void daemon_start(struct test_daemon *d, const struct flp_job_create *job)
{
	daemon_start_as(d, "FAULTLINED", job);
}

/* ---- looking ---- */

/* All records about the job; of the sessions the one of pid. */
static bool status(struct test_daemon *d, struct flp_status_job *ret_job, pid_t pid,
		   struct flp_status_session *ret_session)
{
	const struct flp_status body = { .job = d->job };
	bool found = false;
	union wire_buffer m;

	say(d, FLP_STATUS, &body);
	for (hear(d, &m); m.h.type != FLP_OK; hear(d, &m)) {
		struct flp_status_session s;

		if (m.h.type == FLP_STATUS_JOB && ret_job)
			memcpy(ret_job, wire_body(&m), sizeof(*ret_job));
		if (m.h.type != FLP_STATUS_SESSION)
			continue;
		memcpy(&s, wire_body(&m), sizeof(s));
		if (s.pid != (uint32_t)pid)
			continue;
		*ret_session = s;
		found = true;
	}
	return found;
}

struct flp_status_job daemon_status(struct test_daemon *d)
{
	struct flp_status_session nobody;
	struct flp_status_job j = { .job = 0 };

	status(d, &j, -1, &nobody);
	t_eq(j.job, d->job);
	return j;
}

bool daemon_session(struct test_daemon *d, pid_t pid, struct flp_status_session *ret)
{
	return status(d, NULL, pid, ret);
}

/* ---- its end ---- */

static int reap(struct test_daemon *d)
{
	int status;

	t_eq(waitpid(d->pid, &status, 0), d->pid);
	d->pid = 0;
	close_fd(&d->control);
	unlink(d->socket);
	return status;
}

void daemon_stop(struct test_daemon *d)
{
	int pidfd = t_sys((int)syscall(SYS_pidfd_open, d->pid, 0));
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int n, how;

	t_sys(kill(d->pid, SIGTERM));
	n = poll(&p, 1, (int)(STOP_MS * t_time_scale()));
	close(pidfd);
	drain_log(d);
	if (n != 1)
		t_fail("faultlined has not stopped within %d seconds", STOP_MS / 1000);
	how = reap(d);
	if (WIFSIGNALED(how))
		t_fail("faultlined was ended by signal %d", WTERMSIG(how));
	t_eq(WEXITSTATUS(how), 0);
}

void daemon_kill(struct test_daemon *d)
{
	t_sys(kill(d->pid, SIGKILL));
	drain_log(d);
	reap(d);
}
