/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-sock.c - messages with descriptors. That nothing is left open after a bad one is checked
 * by the harness, which counts descriptors after every test.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/sock.h"
#include "tests/harness.h"

static int pair[2];

static void begin(void)
{
	t_ok(sock_pair(pair, SOCK_NONBLOCKING));
}

static void end(void)
{
	close(pair[0]);
	close(pair[1]);
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	t_sys(fstat(a, &x));
	t_sys(fstat(b, &y));
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Past sock_send(), which would refuse. */
static void send_raw(const void *msg, size_t len, const int *fds, unsigned int n)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 16)];
		struct cmsghdr align;
	} control = { .bytes = "" };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = len };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = CMSG_SPACE(sizeof(int) * n),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	t_eq(t_sys(sendmsg(pair[0], &m, 0)), len);
}

static void message_arrives_whole_with_its_descriptors(void)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	char buf[64];
	int p[2], taken;

	begin();
	t_sys(pipe2(p, O_CLOEXEC));
	t_ok(sock_send(pair[0], "hello", 6, p, 2));
	t_ok(sock_send(pair[0], "again", 6, NULL, 0));
	t_eq(sock_recv(pair[1], buf, sizeof(buf), &fds), 6);
	t_streq(buf, "hello");
	t_eq(fds.n, 2);
	t_assert(same_file(fds.fd[0], p[0]) && same_file(fds.fd[1], p[1]));
	t_eq(fcntl(fds.fd[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);

	taken = sock_fds_take(&fds, 1);
	t_assert(same_file(taken, p[1]));
	t_eq(sock_fds_take(&fds, 1), -1);
	t_eq(sock_fds_take(&fds, 2), -1);
	sock_fds_close(&fds);
	t_eq(fds.n, 0);
	t_sys(fcntl(taken, F_GETFD));

	t_eq(sock_recv(pair[1], buf, sizeof(buf), &fds), 6);
	t_streq(buf, "again");
	t_eq(fds.n, 0);
	close(taken);
	close(p[0]);
	close(p[1]);
	end();
}

static void nonblocking_socket_says_eagain(void)
{
	char buf[FLP_MAX_MESSAGE] = "";
	int r;

	begin();
	t_fails(sock_recv(pair[1], buf, sizeof(buf), NULL), EAGAIN);
	do
		r = sock_send(pair[0], buf, sizeof(buf), NULL, 0);
	while (!r);
	t_eq(r, -EAGAIN);
	end();
}

static void closed_peer_is_zero_to_read_and_no_sigpipe_to_write(void)
{
	char buf[8];

	signal(SIGPIPE, SIG_DFL);
	begin();
	t_ok(sock_send(pair[0], "x", 1, NULL, 0));
	close(pair[0]);
	t_eq(sock_recv(pair[1], buf, sizeof(buf), NULL), 1);
	t_eq(sock_recv(pair[1], buf, sizeof(buf), NULL), 0);
	t_fails(sock_send(pair[1], "x", 1, NULL, 0), EPIPE);
	close(pair[1]);
}

static void too_long_message_is_an_error_and_the_next_one_is_read(void)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	char buf[4];

	begin();
	t_ok(sock_send(pair[0], "too long", 9, &pair[0], 1));
	t_ok(sock_send(pair[0], "ok", 3, NULL, 0));
	t_fails(sock_recv(pair[1], buf, sizeof(buf), &fds), EMSGSIZE);
	t_eq(fds.n, 0);
	t_eq(sock_recv(pair[1], buf, sizeof(buf), &fds), 3);
	end();
}

static void too_many_descriptors_are_all_closed(void)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	int many[16];
	char buf[8];

	begin();
	for (unsigned int i = 0; i < 16; i++)
		many[i] = pair[0];
	for (unsigned int n = FLP_MAX_FDS + 1; n <= 16; n++) {
		send_raw("x", 1, many, n);
		t_fails(sock_recv(pair[1], buf, sizeof(buf), &fds), EBADMSG);
		t_eq(fds.n, 0);
	}
	t_fails(sock_send(pair[0], "x", 1, many, FLP_MAX_FDS + 1), EINVAL);
	end();
}

static void descriptors_that_nobody_asked_for_are_closed(void)
{
	char buf[8];

	begin();
	t_ok(sock_send(pair[0], "x", 1, pair, 2));
	t_fails(sock_recv(pair[1], buf, sizeof(buf), NULL), EBADMSG);
	end();
}

static void empty_message_with_a_descriptor_is_no_end_of_file(void)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	char buf[8];

	begin();
	send_raw("", 0, pair, 1);
	t_fails(sock_recv(pair[1], buf, sizeof(buf), &fds), EBADMSG);
	t_fails(sock_send(pair[0], "", 0, NULL, 0), EINVAL);
	end();
}

/* The kernel gives us those for which there is room in the table, and drops the rest. */
static void running_out_of_descriptors_loses_the_message_and_nothing_else(void)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	struct rlimit before, low;
	char buf[8];

	begin();
	t_ok(sock_send(pair[0], "x", 1, pair, 2));
	t_sys(getrlimit(RLIMIT_NOFILE, &before));
	low = before;
	low.rlim_cur = (rlim_t)(dup(0));	/* the lowest free number ... */
	close((int)low.rlim_cur);
	low.rlim_cur++;				/* ... is the only one */
	t_sys(setrlimit(RLIMIT_NOFILE, &low));
	t_fails(sock_recv(pair[1], buf, sizeof(buf), &fds), EBADMSG);
	t_eq(fds.n, 0);
	t_sys(setrlimit(RLIMIT_NOFILE, &before));
	end();
}

static void connect_and_accept(const char *path)
{
	_cleanup_close_ int listener = t_ok(sock_listen(path, 0666, 0));
	_cleanup_close_ int client = t_ok(sock_connect(path, 0));
	_cleanup_close_ int server = t_ok(sock_accept(listener, SOCK_NONBLOCKING));
	struct sock_peer peer;
	char buf[8];

	t_fails(sock_recv(server, buf, sizeof(buf), NULL), EAGAIN);
	t_ok(sock_send(client, "hi", 3, NULL, 0));
	t_eq(sock_recv(server, buf, sizeof(buf), NULL), 3);
	t_ok(sock_peer(server, &peer));
	t_eq(peer.pid, getpid());
	t_eq(peer.uid, getuid());
	t_eq(peer.gid, getgid());
}

static void listens_at_a_path_with_the_mode_that_was_asked_for(void)
{
	char path[100];
	struct stat st;

	snprintf(path, sizeof(path), "%s/socket", t_tmpdir());
	connect_and_accept(path);
	t_sys(stat(path, &st));
	t_eq(st.st_mode & 0777, 0666);
}

static void listens_in_the_abstract_namespace(void)
{
	char path[64];

	snprintf(path, sizeof(path), "@faultline-test-%d", (int)getpid());
	connect_and_accept(path);
}

static void stale_socket_is_replaced_a_live_one_is_not(void)
{
	char path[100];
	int a, b;

	snprintf(path, sizeof(path), "%s/socket", t_tmpdir());
	t_fails(sock_connect(path, 0), ENOENT);
	a = t_ok(sock_listen(path, 0600, 0));
	t_fails(sock_listen(path, 0600, 0), EADDRINUSE);
	close(a);
	t_fails(sock_connect(path, 0), ECONNREFUSED);
	b = t_ok(sock_listen(path, 0600, 0));
	close(b);
}

static void file_that_is_no_socket_is_left_alone(void)
{
	char path[100];
	struct stat st;

	snprintf(path, sizeof(path), "%s/file", t_tmpdir());
	close(t_sys(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	t_fails(sock_listen(path, 0600, 0), EADDRINUSE);
	t_sys(stat(path, &st));
}

static void bad_addresses_are_refused(void)
{
	char path[200];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	t_fails(sock_connect(path, 0), ENAMETOOLONG);
	t_fails(sock_connect("", 0), EINVAL);
	t_fails(sock_listen("", 0600, 0), EINVAL);
}

static void peer_pidfd_is_of_the_peer(void)
{
	struct pollfd p;

	begin();
	p = (struct pollfd){ .fd = t_ok(sock_peer_pidfd(pair[0])), .events = POLLIN };
	t_eq(poll(&p, 1, 0), 0);		/* readable would mean that we have ended */
	t_eq(fcntl(p.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(p.fd);
	end();
}

static const struct t_test tests[] = {
	T(message_arrives_whole_with_its_descriptors),
	T(nonblocking_socket_says_eagain),
	T(closed_peer_is_zero_to_read_and_no_sigpipe_to_write),
	T(too_long_message_is_an_error_and_the_next_one_is_read),
	T(too_many_descriptors_are_all_closed),
	T(descriptors_that_nobody_asked_for_are_closed),
	T(empty_message_with_a_descriptor_is_no_end_of_file),
	T(running_out_of_descriptors_loses_the_message_and_nothing_else),
	T(listens_at_a_path_with_the_mode_that_was_asked_for),
	T(listens_in_the_abstract_namespace),
	T(stale_socket_is_replaced_a_live_one_is_not),
	T(file_that_is_no_socket_is_left_alone),
	T(bad_addresses_are_refused),
	T(peer_pidfd_is_of_the_peer),
	{0}
};

static const struct t_suite suites[] = { { "sock", tests }, {0} };

HARNESS_MAIN(suites)
