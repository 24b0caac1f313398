/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * in-job.h - a program of tests/functional/ under the preload library, in the job of a test's daemon.
 */
#ifndef FAULTLINE_TESTS_IN_JOB_H
#define FAULTLINE_TESTS_IN_JOB_H

#include <stddef.h>
#include <sys/types.h>

#include "tests/util-daemon.h"

struct in_job {
	pid_t pid;			/* 0: reaped */
	int in, out;			/* its standard input and output: our ends of pipes */
};

/* argv[0] is the program's name in tests/functional/; what it says on standard error is the test's. */
void in_job_start(struct in_job *ret, const struct test_daemon *d, const char *const argv[]);
/* All that it says until it closes its output, as a string of at most size - 1 bytes. */
void in_job_read(struct in_job *p, char *text, size_t size);
/* One line of it, without its end. */
void in_job_line(struct in_job *p, char *line, size_t size);
/* Its wait status; it fails the test if that takes longer. */
int in_job_wait(struct in_job *p, unsigned int seconds);
void in_job_kill(struct in_job *p);

#endif
