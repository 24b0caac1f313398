/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * child.h - the command that faultline run runs: started, followed, signals passed on.
 *
 * All signals of this process are blocked from signals_take() on and read from a descriptor: none
 * can get between a step and its undoing. The command gets the mask and the SIGCHLD disposition
 * back that this process was started with, and all others are never touched.
 */
#ifndef FAULTLINE_CLI_CHILD_H
#define FAULTLINE_CLI_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct signals {
	int fd;				/* signalfd: every signal */
	int cancel_fd;			/* signalfd: those that mean "give up"; for poll(2) only */
	sigset_t cancel;		/* those: what was ignored before us is none of them */
	sigset_t old_mask;
	struct sigaction old_chld;
};

#define SIGNALS_NULL { .fd = -1, .cancel_fd = -1 }

int signals_take(struct signals *ret);		/* 0, -errno */
void signals_done(struct signals *s);		/* closes; they stay blocked: the process ends */
void signals_restore(const struct signals *s);	/* as before signals_take(), in front of exec */
int signals_cancelled(const struct signals *s);	/* one that means "give up" and is pending, or 0 */

struct child {
	pid_t pid;
	bool stopped;			/* as we were last told */
	bool ended;
	int status;			/* of waitpid(2), once ended */
};

/*
 * Start a command; prepare is called in the new process in front of exec (0 or -errno). 0, or what
 * went wrong: -errno of fork, prepare or exec.
 */
int child_start(struct child *ret, char *const argv[], const struct signals *s,
		int (*prepare)(void *ctx), void *ctx);

/* Take one signal from s->fd and do what it asks for. other: called for each child that ended and is
 * not the command. False: there was none. */
bool child_handle_signal(struct child *c, struct signals *s,
			 void (*other)(pid_t pid, int status, void *ctx), void *ctx);

/* What to exit with: the command's own code, or 128 + the signal. */
int child_exit_status(int status);

/* What exec's error means as an exit status: 126 or 127. */
int exec_exit_status(int error);

#endif
