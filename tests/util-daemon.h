/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * util-daemon.h - a real faultlined for a test: private, on a socket in t_tmpdir(), with one job.
 *
 *	struct test_daemon d;
 *	struct flp_job_create job = daemon_job(16 * MIB);
 *
 *	daemon_start(&d, &job);
 *	setenv("FAULTLINE_SOCKET", d.socket, 1);
 *	setenv("FAULTLINE_JOB", d.token, 1);
 *	...
 *	daemon_stop(&d);
 *
 * What goes wrong fails the test. A test that dies leaves nothing: the harness kills the daemon. What it
 * logs comes out as notes, whenever one of these is called.
 */
#ifndef FAULTLINE_TESTS_UTIL_DAEMON_H
#define FAULTLINE_TESTS_UTIL_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/faultline-protocol.h"

struct test_daemon {
	pid_t pid;			/* 0: none, or reaped */
	int control;			/* the connection that made the job; -1 */
	uint32_t cookie;
	uint64_t job;			/* its number */
	char socket[108];
	char token[2 * FLP_TOKEN_SIZE + 1];	/* of the job, in hexadecimal */
};

/* Budget, and for the rest the daemon's defaults; a swap file without a name in the usual place. */
struct flp_job_create daemon_job(uint64_t budget);

/* Start one that serves this job. Skips the test where userfaultfd cannot be used. */
void daemon_start(struct test_daemon *ret, const struct flp_job_create *job);
/* The same, of the program that this variable of ./run names: "FAULTLINED", "FAULTLINED_HOOKED". */
void daemon_start_as(struct test_daemon *ret, const char *variable, const struct flp_job_create *job);

/* The counters of its job, as of now. */
struct flp_status_job daemon_status(struct test_daemon *d);
/* Of one session of it: of the process pid. False: there is none. */
bool daemon_session(struct test_daemon *d, pid_t pid, struct flp_status_session *ret);

/* Ask it to stop: it lets go of all clients first, and ends with status 0. */
void daemon_stop(struct test_daemon *d);
/* SIGKILL. */
void daemon_kill(struct test_daemon *d);

#endif
