/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sock.h - messages with descriptors over an AF_UNIX SOCK_SEQPACKET socket. See sock.c.
 *
 * Everything answers -errno on failure; -EAGAIN from a non-blocking socket that is not ready.
 * No call raises SIGPIPE: a peer that went away is -EPIPE or -ECONNRESET.
 */
#ifndef FAULTLINE_COMMON_SOCK_H
#define FAULTLINE_COMMON_SOCK_H

#include <stddef.h>
#include <sys/types.h>

#include "include/faultline-protocol.h"

#define SOCK_NONBLOCKING	1u

/* Descriptors that came with, or go with, a message. Owned by whoever holds the structure. */
struct sock_fds {
	unsigned int n;
	int fd[FLP_MAX_FDS];		/* -1 from n on, or where one was taken out */
};
#define SOCK_FDS_NULL { .n = 0, .fd = { -1, -1, -1, -1 } }

void sock_fds_close(struct sock_fds *f);	/* those that are left; it is empty afterwards */
int  sock_fds_take(struct sock_fds *f, unsigned int i);	/* the descriptor, now yours; -1: none */

/* A path; one that starts with '@' is a name in the abstract namespace. The descriptor or -errno;
 * flags: SOCK_NONBLOCKING. */
int sock_connect(const char *path, unsigned int flags);
/* Replaces a socket file on which nobody listens any more; -EADDRINUSE if somebody does. */
int sock_listen(const char *path, mode_t mode, unsigned int flags);
int sock_accept(int fd, unsigned int flags);
int sock_pair(int ret_fds[2], unsigned int flags);

/* One message and n_fds descriptors, which stay the caller's. 0. */
int sock_send(int fd, const void *msg, size_t len, const int *fds, unsigned int n_fds);

/*
 * One message. Its length, or 0: the peer has closed (or sent an empty message, which means the
 * same). fds is overwritten with what came along; NULL: none is expected. Errors after which the
 * message is lost, with its descriptors closed: -EMSGSIZE: longer than cap; -EBADMSG: empty but with
 * descriptors, more of them than FLP_MAX_FDS (or than none), or more than this process could take.
 */
ssize_t sock_recv(int fd, void *msg, size_t cap, struct sock_fds *fds);

struct sock_peer {
	pid_t pid;			/* 0: not in our pid namespace */
	uid_t uid;
	gid_t gid;
};
/* As they were when the peer called connect(), listen() or socketpair(). */
int sock_peer(int fd, struct sock_peer *ret);
/* A pidfd of the peer. Before Linux 6.5 it is made from the pid, which may by then be another's. */
int sock_peer_pidfd(int fd);

#endif
