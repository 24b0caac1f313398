/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-sdnotify.c - what is said to the service manager: the test is the manager. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/sdnotify.h"
#include "tests/harness.h"

static int manager = -1;

static void listen_at(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t n = strlen(path);

	memcpy(sun.sun_path, path, n);
	if (path[0] == '@')
		sun.sun_path[0] = '\0';
	manager = t_sys(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	t_sys(bind(manager, (struct sockaddr *)&sun,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] == '/'))));
	setenv("NOTIFY_SOCKET", path, 1);
}

static void begin(void)
{
	char path[100];

	/* Absolute, as the manager's is, and short. */
	snprintf(path, sizeof(path), "%s%s/notify", t_tmpdir()[0] == '/' ? "" : "/proc/self/cwd/",
		 t_tmpdir());
	listen_at(path);
}

static void end(void)
{
	close_fd(&manager);
}

/* The next message, and the descriptor that came with it or -1. */
static const char *next(int *ret_fd)
{
	static char text[512];
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = t_sys(recvmsg(manager, &m, MSG_CMSG_CLOEXEC));
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd = -1;

	text[n] = '\0';
	if (c)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (ret_fd)
		*ret_fd = fd;
	else
		t_eq(fd, -1);
	return text;
}

static void without_a_manager_everything_succeeds(void)
{
	unsetenv("NOTIFY_SOCKET");
	t_assert(!sdnotify_wanted());
	t_ok(sdnotify_ready());
	t_ok(sdnotify_store("x", 0));
	t_ok(sdnotify_barrier(0));
}

static void states_are_told(void)
{
	unsigned long long us;

	begin();
	t_assert(sdnotify_wanted());
	t_ok(sdnotify_ready());
	t_streq(next(NULL), "READY=1");
	t_ok(sdnotify_reloading());
	t_eq(sscanf(next(NULL), "RELOADING=1\nMONOTONIC_USEC=%llu", &us), 1);
	t_gt(us, 0);
	t_ok(sdnotify_stopping(0));
	t_streq(next(NULL), "STOPPING=1");
	t_ok(sdnotify_stopping(5000000));
	t_streq(next(NULL), "STOPPING=1\nEXTEND_TIMEOUT_USEC=5000000");
	t_ok(sdnotify_watchdog());
	t_streq(next(NULL), "WATCHDOG=1");
	end();
}

static void status_is_one_assignment(void)
{
	char text[600];

	begin();
	t_ok(sdnotify_status("%d jobs\nREADY=1", 3));
	t_streq(next(NULL), "STATUS=3 jobs READY=1");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	t_ok(sdnotify_status("%s", text));
	t_lt(strlen(next(NULL)), 256);
	end();
}

static void abstract_socket_is_reached(void)
{
	char path[64];

	snprintf(path, sizeof(path), "@faultline-notify-%d", (int)getpid());
	listen_at(path);
	t_ok(sdnotify_ready());
	t_streq(next(NULL), "READY=1");
	end();
}

static void bad_sockets_are_errors(void)
{
	char path[300] = "/";

	setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
	t_fails(sdnotify_ready(), EAFNOSUPPORT);
	setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
	t_fails(sdnotify_ready(), ENOENT);
	memset(path, '/', sizeof(path) - 1);
	setenv("NOTIFY_SOCKET", path, 1);
	t_fails(sdnotify_ready(), ENAMETOOLONG);
}

/* The queue is full and nobody reads: the control loop must go on. */
static void plain_states_do_not_wait(void)
{
	int r;

	begin();
	do
		r = sdnotify_watchdog();
	while (!r);
	t_eq(r, -EAGAIN);
	end();
}

static void descriptor_is_stored_with_its_name(void)
{
	struct stat a, b;
	int null, fd;

	begin();
	null = t_sys(open("/dev/null", O_RDONLY | O_CLOEXEC));
	t_ok(sdnotify_store("u1f", null));
	t_streq(next(&fd), "FDSTORE=1\nFDNAME=u1f");
	t_sys(fstat(null, &a));
	t_sys(fstat(fd, &b));
	t_assert(a.st_rdev == b.st_rdev);
	t_ok(sdnotify_remove("u1f"));
	t_streq(next(NULL), "FDSTOREREMOVE=1\nFDNAME=u1f");
	close(fd);
	close(null);
	end();
}

static void names_that_cannot_be_are_refused(void)
{
	static const char *const bad[] = { "", "a:b", "a\nREADY=1", "a b", "\177" };
	char name[SDNOTIFY_NAME_MAX + 2];

	begin();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		t_fails(sdnotify_store(bad[i], 0), EINVAL);
		t_fails(sdnotify_remove(bad[i]), EINVAL);
	}
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	t_fails(sdnotify_store(name, 0), EINVAL);
	name[SDNOTIFY_NAME_MAX] = '\0';
	t_ok(sdnotify_store(name, 0));
	t_fails(sdnotify_store("x", -1), EINVAL);
	end();
}

static void *close_what_comes(void *arg)
{
	struct pollfd p = { .fd = manager, .events = POLLIN };
	int fd;

	t_eq(t_sys(poll(&p, 1, 10000)), 1);
	t_streq(next(&fd), "BARRIER=1");
	close(fd);
	return NULL;
}

static void barrier_waits_until_the_manager_got_there(void)
{
	pthread_t t;

	begin();
	t_eq(pthread_create(&t, NULL, close_what_comes, NULL), 0);
	t_ok(sdnotify_barrier(10000));
	pthread_join(t, NULL);
	end();
}

static void barrier_that_nobody_answers_times_out(void)
{
	begin();
	t_fails(sdnotify_barrier(10), ETIMEDOUT);
	end();
}

static void watchdog_is_for_us_only(void)
{
	char pid[32];

	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
	t_eq(sdnotify_watchdog_us(), 0);
	setenv("WATCHDOG_USEC", "10000000", 1);
	t_eq(sdnotify_watchdog_us(), 10000000);
	setenv("WATCHDOG_PID", "1", 1);
	t_eq(sdnotify_watchdog_us(), 0);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	t_eq(sdnotify_watchdog_us(), 10000000);
	setenv("WATCHDOG_USEC", "-4", 1);
	t_eq(sdnotify_watchdog_us(), 0);
}

/* ---- listen_fds ---- */

static void environment(const char *n, const char *names)
{
	char pid[32];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", n, 1);
	if (names)
		setenv("LISTEN_FDNAMES", names, 1);
	else
		unsetenv("LISTEN_FDNAMES");
}

/* Descriptors from 3 on are the harness's: what is handed over lives in a child. */
static void in_child(int (*fn)(void))
{
	int status;
	pid_t pid = t_sys(fork());

	if (!pid) {
		for (int fd = 3; fd < 6; fd++)
			if (dup2(STDIN_FILENO, fd) < 0)
				_exit(99);
		closefrom(6);
		_exit(fn());
	}
	t_eq(t_sys(waitpid(pid, &status, 0)), pid);
	t_assert(WIFEXITED(status));
	t_eq(WEXITSTATUS(status), 0);
}

#define EXPECT(x) do { if (!(x)) return __LINE__ % 90 + 1; } while (0)

static int take_three(void)
{
	struct listen_fds l = LISTEN_FDS_NULL;

	environment("3", "socket::u1");
	EXPECT(listen_fds(&l) == 0);
	EXPECT(l.n == 3);
	EXPECT(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
	EXPECT(!strcmp(l.name[1], "unknown"));
	EXPECT(fcntl(3, F_GETFD) == FD_CLOEXEC);
	EXPECT(listen_fds_take(&l, "u1") == 5);
	EXPECT(listen_fds_take(&l, "u1") == -1);
	EXPECT(listen_fds_take(&l, "socket") == 3);
	listen_fds_fini(&l);
	EXPECT(fcntl(4, F_GETFD) == -1);		/* was left */
	EXPECT(fcntl(3, F_GETFD) >= 0 && fcntl(5, F_GETFD) >= 0);
	listen_fds_fini(&l);				/* again is fine */
	EXPECT(listen_fds(&l) == 0 && l.n == 0);	/* once for all */
	return 0;
}

static int take_without_names(void)
{
	struct listen_fds l = LISTEN_FDS_NULL;

	environment("2", NULL);
	EXPECT(listen_fds(&l) == 0);
	EXPECT(l.n == 2);
	EXPECT(listen_fds_take(&l, "unknown") == 3);
	listen_fds_fini(&l);
	return 0;
}

static int take_nonsense(void)
{
	struct listen_fds l = LISTEN_FDS_NULL;

	environment("junk", NULL);
	EXPECT(listen_fds(&l) == -EINVAL);
	environment("-1", NULL);
	EXPECT(listen_fds(&l) == -EINVAL);
	environment("2", "one");
	EXPECT(listen_fds(&l) == -EINVAL);
	environment("100", NULL);
	EXPECT(listen_fds(&l) == -EBADF);
	EXPECT(l.n == 0);
	return 0;
}

static int take_of_another(void)
{
	struct listen_fds l = LISTEN_FDS_NULL;

	environment("3", "a:b:c");
	setenv("LISTEN_PID", "1", 1);
	EXPECT(listen_fds(&l) == 0);
	EXPECT(l.n == 0);
	EXPECT(fcntl(3, F_GETFD) == 0);			/* not touched */
	return 0;
}

static void descriptors_are_taken_by_name(void)		{ in_child(take_three); }
static void descriptors_may_have_no_names(void)		{ in_child(take_without_names); }
static void nonsense_in_the_environment_is_an_error(void) { in_child(take_nonsense); }
static void descriptors_of_another_process_are_left(void) { in_child(take_of_another); }

static const struct t_test tests[] = {
	T(without_a_manager_everything_succeeds),
	T(states_are_told),
	T(status_is_one_assignment),
	T(abstract_socket_is_reached),
	T(bad_sockets_are_errors),
	T(plain_states_do_not_wait),
	T(descriptor_is_stored_with_its_name),
	T(names_that_cannot_be_are_refused),
	T(barrier_waits_until_the_manager_got_there),
	T(barrier_that_nobody_answers_times_out),
	T(watchdog_is_for_us_only),
	T(descriptors_are_taken_by_name),
	T(descriptors_may_have_no_names),
	T(nonsense_in_the_environment_is_an_error),
	T(descriptors_of_another_process_are_left),
	{0}
};

static const struct t_suite suites[] = { { "sdnotify", tests }, {0} };

HARNESS_MAIN(suites)
