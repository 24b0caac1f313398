/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sock.c - messages with descriptors over an AF_UNIX SOCK_SEQPACKET socket.
 *
 * Both sides use it, so it must not drag anything into a preloaded program: no libbsd, no
 * memory allocation, no state.
 *
 * Descriptors are the delicate part. The kernel puts them into the receiver's table before
 * anybody has looked at them, so whatever is wrong with a message, each that arrived is
 * either handed out or closed here; and they are close-on-exec from birth. When there was
 * no room for all (MSG_CTRUNC), or the process ran out of descriptors, some are already
 * gone and the message means nothing any more. Where none is expected there is no room at
 * all: the kernel then drops them without our closing them, which for a file of a FUSE server
 * could take as long as that server likes.
 */
#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/sock.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77			/* Linux 6.5 */
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define BACKLOG 128

/* Room for more than is allowed, so that too many are seen, and closed, as what they are. */
#define CONTROL_FDS	(2 * FLP_MAX_FDS)

union control {
	char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
	struct cmsghdr align;
};

void sock_fds_close(struct sock_fds *f)
{
	for (unsigned int i = 0; i < f->n; i++)
		close_fd(&f->fd[i]);
	f->n = 0;
}

int sock_fds_take(struct sock_fds *f, unsigned int i)
{
	return i < f->n ? steal_fd(&f->fd[i]) : -1;
}

/* ---- making sockets ---- */

static int address(const char *path, struct sockaddr_un *sun, socklen_t *len)
{
	size_t n = strlen(path);

	if (!n || n >= sizeof(sun->sun_path))
		return n ? -ENAMETOOLONG : -EINVAL;

	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(sun->sun_path, path, n);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (path[0] == '@')
		sun->sun_path[0] = '\0';	/* abstract: the length says where it ends */
	else
		(*len)++;
	return 0;
}

static int type_flags(unsigned int flags)
{
	return SOCK_SEQPACKET | SOCK_CLOEXEC | (flags & SOCK_NONBLOCKING ? SOCK_NONBLOCK : 0);
}

static int new_socket(unsigned int flags)
{
	int fd = socket(AF_UNIX, type_flags(flags), 0);

	return fd < 0 ? -errno : fd;
}

int sock_connect(const char *path, unsigned int flags)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sun;
	socklen_t len;
	int r;

	r = address(path, &sun, &len);
	if (r)
		return r;
	fd = new_socket(flags);
	if (fd < 0)
		return fd;
	do
		r = connect(fd, (struct sockaddr *)&sun, len);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Is this the socket file of a server that is gone? Nothing but such a file is ever removed. */
static bool is_stale(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = sock_connect(path, SOCK_NONBLOCKING);
	if (fd >= 0)
		close(fd);
	return fd == -ECONNREFUSED;
}

static int bind_path(int fd, const char *path, const struct sockaddr_un *sun, socklen_t len)
{
	if (!bind(fd, (const struct sockaddr *)sun, len))
		return 0;
	if (errno != EADDRINUSE || path[0] == '@' || !is_stale(path))
		return -errno;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return bind(fd, (const struct sockaddr *)sun, len) < 0 ? -errno : 0;
}

int sock_listen(const char *path, mode_t mode, unsigned int flags)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sun;
	socklen_t len;
	int r;

	r = address(path, &sun, &len);
	if (r)
		return r;
	fd = new_socket(flags);
	if (fd < 0)
		return fd;
	r = bind_path(fd, path, &sun, len);
	if (r)
		return r;

	/* Nobody can connect before listen(): until then the mode that umask left does no harm. */
	if (path[0] != '@' && chmod(path, mode) < 0)
		r = -errno;
	if (!r && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r) {
		if (path[0] != '@')
			unlink(path);
		return r;
	}
	return steal_fd(&fd);
}

int sock_accept(int fd, unsigned int flags)
{
	int r;

	do
		r = accept4(fd, NULL, NULL, type_flags(flags) & ~SOCK_SEQPACKET);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int sock_pair(int ret_fds[2], unsigned int flags)
{
	int fds[2];

	if (socketpair(AF_UNIX, type_flags(flags), 0, fds) < 0)
		return -errno;
	memcpy(ret_fds, fds, sizeof(fds));
	return 0;
}

/* ---- messages ---- */

int sock_send(int fd, const void *msg, size_t len, const int *fds, unsigned int n_fds)
{
	union control control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds > FLP_MAX_FDS || !len)
		return -EINVAL;
	if (n_fds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}

	do
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EMSGSIZE;
}

/* Move what arrived to fds. True when all of it found a place; the rest is closed. */
static bool collect_fds(struct msghdr *m, struct sock_fds *fds)
{
	bool fits = true;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (fds->n < FLP_MAX_FDS) {
				fds->fd[fds->n++] = fd;
			} else {
				close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

ssize_t sock_recv(int fd, void *msg, size_t cap, struct sock_fds *fds)
{
	struct sock_fds got = SOCK_FDS_NULL;
	union control control;
	struct iovec iov = { .iov_base = msg, .iov_len = cap };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = fds ? &control : NULL,
		.msg_controllen = fds ? sizeof(control) : 0,
	};
	bool fits;
	ssize_t n;

	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;

	fits = collect_fds(&m, &got) && !(m.msg_flags & MSG_CTRUNC);
	if (fits && !(m.msg_flags & MSG_TRUNC) && (n || !got.n)) {
		if (fds)
			*fds = got;
		return n;
	}
	sock_fds_close(&got);
	return m.msg_flags & MSG_TRUNC ? -EMSGSIZE : -EBADMSG;
}

/* ---- the peer ---- */

int sock_peer(int fd, struct sock_peer *ret)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) < 0)
		return -errno;
	*ret = (struct sock_peer){ .pid = c.pid, .uid = c.uid, .gid = c.gid };
	return 0;
}

int sock_peer_pidfd(int fd)
{
	struct sock_peer peer;
	socklen_t len = sizeof(int);
	int pidfd, r;

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len))
		return pidfd;
	if (errno != ENOPROTOOPT)
		return -errno;

	r = sock_peer(fd, &peer);
	if (r)
		return r;
	if (peer.pid <= 0)
		return -ESRCH;
	pidfd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}
