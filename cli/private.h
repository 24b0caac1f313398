/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * private.h - a faultlined of one job's own, that faultline run starts when no service answers.
 */
#ifndef FAULTLINE_CLI_PRIVATE_H
#define FAULTLINE_CLI_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PRIVATE_PATH	104		/* what fits into a socket's address, and its NUL */

struct private_daemon {
	pid_t pid;			/* our child; 0: not started, or reaped */
	char dir[PRIVATE_PATH];		/* empty: not there (any more) */
	char socket[PRIVATE_PATH];	/* in it */
};

#define PRIVATE_NULL { .pid = 0 }

/*
 * Make the directory and the listening socket, and start the daemon on it. device: open
 * /dev/userfaultfd, or -1. The socket can be connected to at once. 0, or -errno with a line in
 * ret_error (CLI_ERROR_SIZE bytes); *ret is to be given to private_done() all the same.
 */
int private_start(struct private_daemon *ret, int device, char *ret_error);

/* Wait for it to end, if it does within wait_ms: as private_ended(). */
bool private_wait(struct private_daemon *d, int wait_ms, char *ret_how);

/* A child that was reaped: was it this daemon? Then says how it ended (CLI_ERROR_SIZE bytes). */
bool private_ended(struct private_daemon *d, pid_t pid, int status, char *ret_how);

/*
 * The connection to it is closed. It ends by itself once no session is left; wait_ms: how long to
 * wait for that. Then what it left behind is removed, and this is true; if it does not end, that is
 * its own duty.
 */
bool private_done(struct private_daemon *d, int wait_ms);

/* Sockets of this user's private daemons that have a listener: how many were found, and up to n of
 * their paths. */
size_t private_find(char (*ret_paths)[PRIVATE_PATH], size_t n);

#endif
