/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sdnotify.c - what is said to the service manager, and what it hands over.
 *
 * The protocol is sd_notify(3)'s: one datagram of "NAME=value" lines to the AF_UNIX socket that
 * $NOTIFY_SOCKET names, descriptors alongside. A socket is made for each message: there are few,
 * and the manager may have been re-executed in between. `faultlined --supervise` speaks the
 * other end of it.
 *
 * Any thread; the environment must not be changed while there are several.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <bsd/stdlib.h>

#include "common/cleanup.h"
#include "daemon/sdnotify.h"

#define FIRST_FD	3
#define MAX_LISTEN_FDS	(1 << 20)
#define STORE_TIMEOUT_S	5

bool sdnotify_wanted(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && *path;
}

/* ---- messages ---- */

static int address(struct sockaddr_un *sun, socklen_t *len)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = strlen(path);

	if (path[0] != '/' && path[0] != '@')
		return -EAFNOSUPPORT;
	if (n >= sizeof(sun->sun_path))
		return -ENAMETOOLONG;
	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(sun->sun_path, path, n);
	if (path[0] == '@')
		sun->sun_path[0] = '\0';	/* abstract, and the length says where it ends */
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] == '/'));
	return 0;
}

static void attach_fd(struct msghdr *m, void *control, size_t size, int fd)
{
	struct cmsghdr *c;

	memset(control, 0, size);
	m->msg_control = control;
	m->msg_controllen = size;
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
}

/* fd: -1 for none. Waiting is for what may not get lost. */
static int notify(const char *state, int fd, bool wait)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct sockaddr_un sun;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)state, .iov_len = strlen(state) };
	struct msghdr m = { .msg_name = &sun, .msg_iov = &iov, .msg_iovlen = 1 };
	struct timeval limit = { .tv_sec = STORE_TIMEOUT_S };
	_cleanup_close_ int s = -1;
	ssize_t n;
	int r;

	if (!sdnotify_wanted())
		return 0;
	r = address(&sun, &m.msg_namelen);
	if (r)
		return r;
	s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return -errno;
	if (wait)
		setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (fd >= 0)
		attach_fd(&m, &control, sizeof(control), fd);

	do
		n = sendmsg(s, &m, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int sdnotify_ready(void)
{
	return notify("READY=1", -1, false);
}

int sdnotify_reloading(void)
{
	char state[64];
	struct timespec t;

	/* The time, by which the manager knows this READY=1 from the one before. */
	clock_gettime(CLOCK_MONOTONIC, &t);
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
	return notify(state, -1, false);
}

int sdnotify_stopping(uint64_t extend_us)
{
	char state[80] = "STOPPING=1";

	if (extend_us)
		snprintf(state, sizeof(state), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64, extend_us);
	return notify(state, -1, false);
}

int sdnotify_status(const char *format, ...)
{
	static const char head[] = "STATUS=";
	char state[256];
	va_list ap;

	memcpy(state, head, sizeof(head));
	va_start(ap, format);
	vsnprintf(state + sizeof(head) - 1, sizeof(state) - sizeof(head) + 1, format, ap);
	va_end(ap);
	for (char *p = state; *p; p++)		/* one assignment */
		if (*p == '\n')
			*p = ' ';
	return notify(state, -1, false);
}

int sdnotify_watchdog(void)
{
	return notify("WATCHDOG=1", -1, false);
}

/* A number in the environment that is in [low, high], or false. */
static bool env_number(const char *name, long long low, long long high, long long *ret)
{
	const char *text = getenv(name), *error;
	long long n;

	if (!text)
		return false;
	n = strtonum(text, low, high, &error);
	if (error)
		return false;
	*ret = n;
	return true;
}

static bool env_is_for_us(const char *name)
{
	long long pid;

	return env_number(name, 1, INT32_MAX, &pid) && pid == getpid();
}

uint64_t sdnotify_watchdog_us(void)
{
	long long us;

	if (getenv("WATCHDOG_PID") && !env_is_for_us("WATCHDOG_PID"))
		return 0;
	return env_number("WATCHDOG_USEC", 1, INT64_MAX, &us) ? (uint64_t)us : 0;
}

/* ---- the descriptor store ---- */

static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':')
			return false;
	return n && n <= SDNOTIFY_NAME_MAX;
}

int sdnotify_store(const char *name, int fd)
{
	char state[SDNOTIFY_NAME_MAX + 32];

	if (!name_ok(name) || fd < 0)
		return -EINVAL;
	snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s", name);
	return notify(state, fd, true);
}

int sdnotify_remove(const char *name)
{
	char state[SDNOTIFY_NAME_MAX + 32];

	if (!name_ok(name))
		return -EINVAL;
	snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return notify(state, -1, true);
}

/* Until the other end of the pipe, which only the manager has any more, is closed. */
static int wait_for_hangup(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd };
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

int sdnotify_barrier(int timeout_ms)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int fds[2], r;

	if (!sdnotify_wanted())
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	ours = fds[0];
	theirs = fds[1];
	r = notify("BARRIER=1", theirs, true);
	if (r)
		return r;
	close_fd(&theirs);
	return wait_for_hangup(ours, timeout_ms);
}

/* ---- what we were given ---- */

static void forget_environment(void)
{
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

/* Cut names, "a:b:c", into the table. False: they are not as many as there are descriptors. */
static bool split_names(struct listen_fds *l)
{
	char *rest = l->names;

	for (unsigned int i = 0; i < l->n; i++)
		l->name[i] = "unknown";
	if (!rest)
		return true;
	for (unsigned int i = 0; i < l->n; i++) {
		const char *name = strsep(&rest, ":");

		if (!name)
			return false;
		if (*name)
			l->name[i] = name;
	}
	return !rest;
}

static int adopt(struct listen_fds *l, unsigned int n)
{
	const char *names = getenv("LISTEN_FDNAMES");

	l->fd = reallocarray(NULL, n, sizeof(*l->fd));
	l->name = reallocarray(NULL, n, sizeof(*l->name));
	l->names = names ? strdup(names) : NULL;
	if (!l->fd || !l->name || (names && !l->names))
		return -ENOMEM;
	for (; l->n < n; l->n++) {
		int fd = FIRST_FD + (int)l->n;

		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
		l->fd[l->n] = fd;
	}
	return split_names(l) ? 0 : -EINVAL;
}

int listen_fds(struct listen_fds *ret)
{
	_cleanup_(listen_fds_fini) struct listen_fds l = LISTEN_FDS_NULL;
	long long n = 0;
	int r = 0;

	if (env_is_for_us("LISTEN_PID"))
		r = env_number("LISTEN_FDS", 0, MAX_LISTEN_FDS, &n) ? 0 : -EINVAL;
	if (!r && n)
		r = adopt(&l, (unsigned int)n);
	forget_environment();
	if (r)
		return r;
	*ret = l;
	l = (struct listen_fds)LISTEN_FDS_NULL;
	return 0;
}

void listen_fds_fini(struct listen_fds *l)
{
	for (unsigned int i = 0; i < l->n; i++)
		close_fd(&l->fd[i]);
	free(l->fd);
	free(l->name);
	free(l->names);
	*l = (struct listen_fds)LISTEN_FDS_NULL;
}

int listen_fds_take(struct listen_fds *l, const char *name)
{
	for (unsigned int i = 0; i < l->n; i++)
		if (l->fd[i] >= 0 && !strcmp(l->name[i], name))
			return steal_fd(&l->fd[i]);
	return -1;
}
