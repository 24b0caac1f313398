/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fake-daemon.c - a process that answers the command line as a faultlined would, or worse.
 *
 * One thread, a few connections, blocking: it exists to be talked to by one command at a time.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/align.h"
#include "common/sock.h"
#include "common/wire.h"
#include "tests/functional/fake-daemon.h"

#define CONNECTIONS 8

struct fake {
	const char *mode;
	int fd;				/* of the connection that is being answered */
	uint32_t cookie;
};

static bool is(const struct fake *f, const char *mode)
{
	return !strcmp(f->mode, mode);
}

static void say(const struct fake *f, enum flp_type type, const void *body)
{
	static union wire_buffer m;
	size_t n = wire_build(&m, type, f->cookie, body);

	if (sock_send(f->fd, &m, n, NULL, 0) < 0)
		_exit(4);
}

static void say_log(struct fake *f, uint32_t level, const char *text)
{
	uint32_t cookie = f->cookie;
	struct flp_log l = { .level = level };

	snprintf(l.text, sizeof(l.text), "%s", text);
	f->cookie = 0;
	say(f, FLP_LOG, &l);
	f->cookie = cookie;
}

static void say_error(const struct fake *f, int error, const char *text)
{
	static union wire_buffer m;
	size_t n = wire_build_error(&m, f->cookie, error, text);

	if (sock_send(f->fd, &m, n, NULL, 0) < 0)
		_exit(4);
}

/* False: the connection is to be closed. */
static bool hello(struct fake *f)
{
	struct flp_welcome w = { .version = FLP_VERSION, .generation = 1, .pid = (uint32_t)getpid() };
	static union wire_buffer m;
	size_t n;

	if (is(f, "close"))
		return false;
	if (is(f, "garbage"))
		return sock_send(f->fd, "HTTP/1.0 400 Bad Request\r\n\r\n", 28, NULL, 0) == 0;
	if (is(f, "old")) {
		say_error(f, -EPROTONOSUPPORT, "this is version 99");
		return true;
	}
	if (is(f, "type")) {
		say(f, FLP_OK, NULL);
		return true;
	}
	if (is(f, "cookie"))
		f->cookie += 7;
	if (is(f, "body"))
		w.version = 99;
	n = wire_build(&m, FLP_WELCOME, f->cookie, &w);
	if (is(f, "header"))
		m.h.version = 99;
	return sock_send(f->fd, &m, n, NULL, 0) == 0;
}

static bool job_create(struct fake *f, const struct sock_fds *fds)
{
	struct flp_job_created c = { .token = { 0xab, 0xcd }, .job = 3 };

	if (is(f, "refuse")) {
		say_error(f, -EDQUOT, "uid 0 has too many jobs");
		return true;
	}
	if (is(f, "swap") && (fds->n != 1 || write(fds->fd[0], "taken", 5) != 5))
		_exit(5);
	if (is(f, "log"))
		say_log(f, 3, "\033[31mbefore");
	say(f, FLP_JOB_CREATED, &c);
	if (is(f, "log")) {
		say_log(f, 4, "a warning");
		say_log(f, 6, "for the curious");
	}
	return !is(f, "drop");
}

static void say_job(const struct fake *f, uint64_t number)
{
	struct flp_status_job j = {
		.job = number, .uid = 1000, .state = FLP_JOB_ACTIVE, .budget = 512 << 20,
		.pool_max = 128 << 20, .swap_max = UINT64_MAX, .prefetch = 32,
		.n_sessions = number == 3, .name = "evil\033[2J\"",
		.c = { .resident = 100 << 20, .resident_peak = 512 << 20, .pool_pages = 30 << 20,
		       .pool_used = 10 << 20, .fault_p99_ns = 27000 },
	};

	j.c.faults[FLP_FAULT_POOL] = 1234;
	if (number == 3 && is(f, "degraded")) {
		j.state = FLP_JOB_DEGRADED;
		snprintf(j.reason, sizeof(j.reason), "swap file is full");
	}
	say(f, FLP_STATUS_JOB, &j);
}

static void status(const struct fake *f, const struct flp_status *request)
{
	struct flp_status_daemon d = {
		.pid = (uint32_t)getpid(), .uptime_us = 90061 * 1000000ull, .n_jobs = 2, .n_sessions = 1,
		.version = "0.1.0", .engine = "threads", .mode = "service",
	};
	struct flp_status_session s = { .session = 11, .job = 3, .pid = 1, .name = "child" };

	say(f, FLP_STATUS_DAEMON, &d);
	if (!is(f, "alone") && !is(f, "swap") && (!request->job || request->job == 3))
		say(f, FLP_STATUS_SESSION, &s);
	for (uint64_t job = 4; job >= 3; job--)
		if (!request->job || request->job == job)
			say_job(f, job);
	say(f, FLP_OK, NULL);
}

static bool answer(struct fake *f)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	static union wire_buffer m;
	ssize_t n = sock_recv(f->fd, &m, sizeof(m), &fds);
	struct flp_status request;
	bool stay = false;

	if (n > 0 && wire_check(&m, (size_t)n, fds.n, WIRE_TO_DAEMON) == 0) {
		f->cookie = m.h.cookie;
		if (m.h.type == FLP_HELLO) {
			stay = hello(f);
		} else if (m.h.type == FLP_JOB_CREATE) {
			stay = job_create(f, &fds);
		} else if (m.h.type == FLP_STATUS) {
			memcpy(&request, wire_body(&m), sizeof(request));
			status(f, &request);
			stay = true;
		}
	} else if (n > 0) {
		_exit(3);		/* the command line said something wrong */
	}
	sock_fds_close(&fds);
	return stay;
}

int fake_daemon_serve(int listen_fd, const char *mode, bool linger)
{
	struct pollfd p[1 + CONNECTIONS] = { { .fd = listen_fd, .events = POLLIN } };
	unsigned int n = 0, had = 0;

	if (!strcmp(mode, "exit"))
		return 6;
	while (linger || !had || n) {
		if (poll(p, 1 + n, -1) < 0)
			return 2;
		for (unsigned int i = n; i >= 1; i--) {
			struct fake f = { .mode = mode, .fd = p[i].fd };

			if (!p[i].revents || answer(&f))
				continue;
			close(p[i].fd);
			p[i] = p[n--];
		}
		if (p[0].revents && n < CONNECTIONS) {
			p[++n] = (struct pollfd){ .fd = sock_accept(listen_fd, 0),
						  .events = POLLIN };
			had++;
		}
	}
	return 0;
}
