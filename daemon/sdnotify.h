/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sdnotify.h - what is said to the service manager, and what it hands over. See sdnotify.c.
 *
 * Without a service manager ($NOTIFY_SOCKET is not set) every call of it does nothing, with
 * success.
 */
#ifndef FAULTLINE_DAEMON_SDNOTIFY_H
#define FAULTLINE_DAEMON_SDNOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SDNOTIFY_NAME_MAX 64		/* of a stored descriptor: bytes, without the NUL */

bool sdnotify_wanted(void);		/* is there a manager? */

/* These do not wait. What could not be said is not said; -errno. */
int sdnotify_ready(void);
int sdnotify_reloading(void);		/* then ready again */
int sdnotify_stopping(uint64_t extend_us);	/* 0: TimeoutStopSec= is enough */
int sdnotify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
int sdnotify_watchdog(void);
/* How often sdnotify_watchdog() is expected at the least; 0: not at all. Call it twice as often. */
uint64_t sdnotify_watchdog_us(void);

/*
 * The descriptor store. name: letters, digits and other printable ASCII but no colon. These may
 * wait for the manager, a few seconds at most (-EAGAIN). That a descriptor was sent does not mean
 * that it is stored: that is so when a barrier after it has returned 0.
 */
int sdnotify_store(const char *name, int fd);
int sdnotify_remove(const char *name);	/* all of that name */
int sdnotify_barrier(int timeout_ms);	/* -ETIMEDOUT */

/* What the manager left in us: listening sockets, and what the last daemon had stored. */
struct listen_fds {
	unsigned int n;
	int *fd;			/* close-on-exec; owned; -1 where one was taken */
	const char **name;		/* "unknown" where it has none */
	char *names;
};
#define LISTEN_FDS_NULL { .n = 0 }

/*
 * 0, perhaps with n 0 (none, or meant for another process); -EINVAL: the environment makes no sense;
 * -EBADF: one of them is not open. The variables are taken out of the environment, once for all.
 * Before there are threads.
 */
int  listen_fds(struct listen_fds *ret);
void listen_fds_fini(struct listen_fds *l);	/* closes those that are left */
int  listen_fds_take(struct listen_fds *l, const char *name);	/* the first of that name, or -1 */

#endif
