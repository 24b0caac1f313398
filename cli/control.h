/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.h - a command's connection to a daemon: requests, answers, and the log lines between.
 *
 * One thread, one request at a time. A daemon that does not answer in time, closes or says
 * something that is no message ends the connection: the caller gets one line that names the socket
 * and says what to do, and destroys the structure.
 */
#ifndef FAULTLINE_CLI_CONTROL_H
#define FAULTLINE_CLI_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"
#include "cli/report.h"
#include "include/faultline-protocol.h"

#define CONTROL_TIMEOUT_MS	10000

struct control {
	int fd;				/* non-blocking; -1: not connected */
	int cancel_fd;			/* readable: give up with -ECANCELED; -1: never; borrowed */
	int timeout_ms;			/* for one answer */
	uint32_t cookie;		/* of the last request */
	const char *path;		/* of the socket, for messages; borrowed */
	struct flp_welcome welcome;
	void (*log)(const struct flp_log *line, void *ctx);	/* NULL: lines are dropped */
	void *log_ctx;
};

#define CONTROL_NULL { .fd = -1, .cancel_fd = -1, .timeout_ms = CONTROL_TIMEOUT_MS }

/*
 * Connect and say HELLO; everything but fd, path and welcome is the caller's to have set.
 * 0. -ENOENT, -ECONNREFUSED, -EACCES, ... of connect(2): nobody can be talked to there.
 * -EPROTO: somebody, but not a faultlined of this version. -ETIMEDOUT, -ECONNRESET, -ECANCELED.
 * Everything but 0 and -ECANCELED comes with a line in ret_error (CLI_ERROR_SIZE bytes).
 */
int control_open(struct control *c, const char *path, char *ret_error);

/* No daemon is there, as opposed to one that cannot be talked to. */
bool control_nobody(int error);

/*
 * One request, with a descriptor where fd >= 0, and its answer, which is of type want. Errors as
 * above; what the daemon refused with FLP_ERROR is its error, with its own text in ret_error.
 */
int control_request(struct control *c, enum flp_type type, const void *body, int fd,
		    enum flp_type want, union wire_buffer *ret_answer, char *ret_error);

/* All records about a job (0: all jobs), sorted. */
int control_status(struct control *c, uint64_t job, struct report *ret, char *ret_error);

/* Take over what was sent unasked, without waiting. 0; -ECONNRESET: the daemon is gone; -EPROTO. */
int control_drain(struct control *c);

void control_close(struct control *c);

#endif
