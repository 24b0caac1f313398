/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * private.c - a faultlined of one job's own.
 *
 * It must outlive nobody's wishes: it is in a session of its own, so that the terminal's signals
 * go past it; it has /dev/null on 0, 1 and 2, because the program's memory may be evicted while
 * the program holds the lock of a pipe, a file or a terminal that they share; and it has no other
 * descriptor than its socket and the userfaultfd device, so that no reader of a pipe waits for an
 * end of file that never comes.
 *
 * The socket listens before the daemon runs: whoever connects waits in its queue, and is thrown
 * out of it when the daemon dies, since nobody else has the socket open.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/sock.h"
#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/private.h"

#define DAEMON_DEFAULT	SBINDIR "/faultlined"
#define SOCKET_NAME	"socket"

/* Descriptors of the daemon. */
enum { SOCKET_FD = 3, DEVICE_FD = 4, FIRST_FREE_FD = 5 };

/* ---- the directory ---- */

/* $XDG_RUNTIME_DIR, if it is really this user's: su(1) leaves the caller's behind. */
static const char *runtime_dir(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (!dir || dir[0] != '/' || stat(dir, &st) < 0 || !S_ISDIR(st.st_mode) ||
	    st.st_uid != geteuid())
		return NULL;
	return dir;
}

static bool print_path(char *ret, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool print_path(char *ret, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(ret, PRIVATE_PATH, format, ap);
	va_end(ap);
	return n > 0 && n < PRIVATE_PATH;
}

static const char *temporary_dir(void)
{
	const char *dir = getenv("TMPDIR");

	/* With room left for "/faultline-UID.XXXXXX/socket". */
	return dir && dir[0] == '/' && strlen(dir) < PRIVATE_PATH - 48 ? dir : "/tmp";
}

/* A template for mkdtemp(3) that leaves room for the socket's name. */
static bool template_in(const char *runtime, char *ret)
{
	char parent[PRIVATE_PATH];

	if (!print_path(parent, "%s/faultline", runtime) ||
	    !print_path(ret, "%s/XXXXXX", parent) ||
	    strlen(ret) + sizeof("/" SOCKET_NAME) > PRIVATE_PATH)
		return false;
	return mkdir(parent, 0700) == 0 || errno == EEXIST;
}

static int make_dir(struct private_daemon *d, char *ret_error)
{
	const char *runtime = runtime_dir();
	char dir[PRIVATE_PATH];

	if (!runtime || !template_in(runtime, dir) || !mkdtemp(dir)) {
		print_path(dir, "%s/faultline-%u.XXXXXX", temporary_dir(), (unsigned int)geteuid());
		if (!mkdtemp(dir)) {
			int r = -errno;

			cli_error(ret_error, "cannot make a directory %s for the private faultlined: "
				  "%s", cli_safe(dir, sizeof(dir)), strerror(-r));
			return r;
		}
	}
	strlcpy(d->dir, dir, sizeof(d->dir));
	print_path(d->socket, "%s/" SOCKET_NAME, dir);
	return 0;
}

static void remove_dir(struct private_daemon *d)
{
	if (!d->dir[0])
		return;
	unlink(d->socket);
	rmdir(d->dir);
	d->dir[0] = '\0';
}

/* ---- the process ---- */

/* Each to its place, above all of them first, so that none is overwritten before it is moved. */
static int place_descriptors(int null_fd, int socket_fd, int device)
{
	int fds[] = { null_fd, null_fd, null_fd, socket_fd, device };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] < 0)
			continue;
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
		if (fds[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0 && dup2(fds[i], (int)i) < 0)
			return -errno;
	if (device < 0)
		close(DEVICE_FD);
	return 0;
}

/* The status pipe is the one descriptor above that must live until exec: its number changes. */
static int keep_status_pipe(int status_fd)
{
	int fd = fcntl(status_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

	if (fd < 0)
		return -errno;
	if (fd > FIRST_FREE_FD && close_range(FIRST_FREE_FD, (unsigned int)fd - 1, 0) < 0)
		return -errno;
	if (close_range((unsigned int)fd + 1, UINT_MAX, 0) < 0)
		return -errno;
	return fd;
}

static void default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child. Only returns on failure: -errno. */
static int become_daemon(const char *program, const struct private_daemon *d, int null_fd,
			 int socket_fd, int device, int *status_fd)
{
	char socket_arg[16], device_arg[16];
	const char *argv[] = {
		program, "--private", "--socket-fd", socket_arg, "--private-dir", d->dir,
		device >= 0 ? "--uffd-fd" : NULL, device_arg, NULL,
	};
	int r;

	snprintf(socket_arg, sizeof(socket_arg), "%d", SOCKET_FD);
	snprintf(device_arg, sizeof(device_arg), "%d", DEVICE_FD);
	setsid();
	umask(077);
	default_signals();
	environment_for_daemon();

	/* Free to be overwritten: the pipe may lie on one of the places. */
	r = fcntl(*status_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
	if (r < 0)
		return -errno;
	*status_fd = r;
	r = place_descriptors(null_fd, socket_fd, device);
	if (r < 0)
		return r;
	r = keep_status_pipe(*status_fd);
	if (r < 0)
		return r;
	*status_fd = r;
	if (chdir("/") < 0)
		return -errno;
	execv(program, (char *const *)(uintptr_t)argv);
	return -errno;
}

/* What the child wrote before it failed; nothing: the exec closed the pipe. */
static int read_status(int fd)
{
	int error = 0;
	ssize_t n;

	do
		n = read(fd, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	return n == sizeof(error) ? error : 0;
}

static int spawn(struct private_daemon *d, const char *program, int socket_fd, int device,
		 char *ret_error)
{
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int rd = -1, wr = -1;
	int pipe_fds[2], r;

	if (null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0) {
		r = -errno;
		cli_error(ret_error, "cannot start %s: %s", program, strerror(-r));
		return r;
	}
	rd = pipe_fds[0];
	wr = pipe_fds[1];
	d->pid = fork();
	if (d->pid == 0) {
		int status_fd = wr;

		r = become_daemon(program, d, null_fd, socket_fd, device, &status_fd);
		if (write(status_fd, &r, sizeof(r)) < 0)
			_exit(RUN_FAILED);
		_exit(RUN_FAILED);
	}
	if (d->pid < 0) {
		r = -errno;
		d->pid = 0;
		cli_error(ret_error, "cannot start %s: %s", program, strerror(-r));
		return r;
	}
	close_fd(&wr);
	r = read_status(rd);
	if (r == 0)
		return 0;
	waitpid(d->pid, NULL, 0);
	d->pid = 0;
	cli_error(ret_error, "cannot start %s: %s (the environment variable FAULTLINED can name "
		  "another)", program, strerror(-r));
	return r;
}

int private_start(struct private_daemon *ret, int device, char *ret_error)
{
	_cleanup_close_ int socket_fd = -1;
	const char *program = getenv("FAULTLINED");
	int r;

	*ret = (struct private_daemon)PRIVATE_NULL;
	r = make_dir(ret, ret_error);
	if (r < 0)
		return r;
	socket_fd = sock_listen(ret->socket, 0600, 0);
	if (socket_fd < 0) {
		cli_error(ret_error, "cannot listen on %s: %s", ret->socket, strerror(-socket_fd));
		return socket_fd;
	}
	return spawn(ret, program && program[0] ? program : DAEMON_DEFAULT, socket_fd, device,
		     ret_error);
}

/* ---- its end ---- */

bool private_ended(struct private_daemon *d, pid_t pid, int status, char *ret_how)
{
	if (!d->pid || pid != d->pid)
		return false;
	d->pid = 0;
	if (WIFSIGNALED(status))
		cli_error(ret_how, "faultlined was ended by signal %d (%s)", WTERMSIG(status),
			  strsignal(WTERMSIG(status)));
	else
		cli_error(ret_how, "faultlined ended with status %d", WEXITSTATUS(status));
	return true;
}

bool private_wait(struct private_daemon *d, int wait_ms, char *ret_how)
{
	_cleanup_close_ int fd = -1;
	struct pollfd p = { .events = POLLIN };
	int status;

	if (!d->pid)
		return false;
	fd = (int)syscall(SYS_pidfd_open, d->pid, 0);
	p.fd = fd;
	if (fd < 0 || poll(&p, 1, wait_ms) <= 0 || waitpid(d->pid, &status, WNOHANG) != d->pid)
		return false;
	return private_ended(d, d->pid, status, ret_how);
}

bool private_done(struct private_daemon *d, int wait_ms)
{
	char how[CLI_ERROR_SIZE];

	if (d->pid && !private_wait(d, wait_ms, how))
		return false;
	remove_dir(d);
	return true;
}

/* ---- others of this user ---- */

static bool listens(const char *path)
{
	_cleanup_close_ int fd = sock_connect(path, SOCK_NONBLOCKING);

	return fd >= 0;
}

/* Ours: nobody else may put a socket there for us to talk to. */
static bool own_directory_of(const char *path)
{
	char dir[PRIVATE_PATH];
	struct stat st;

	strlcpy(dir, path, sizeof(dir));
	*strrchr(dir, '/') = '\0';
	return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

static size_t find_pattern(const char *pattern, char (*paths)[PRIVATE_PATH], size_t n, size_t found)
{
	glob_t g = { 0 };

	if (glob(pattern, GLOB_NOSORT, NULL, &g) == 0)
		for (size_t i = 0; i < g.gl_pathc; i++) {
			if (strlen(g.gl_pathv[i]) >= PRIVATE_PATH ||
			    !own_directory_of(g.gl_pathv[i]) || !listens(g.gl_pathv[i]))
				continue;
			if (found < n)
				strlcpy(paths[found], g.gl_pathv[i], PRIVATE_PATH);
			found++;
		}
	globfree(&g);
	return found;
}

/* A directory whose name means something to glob(3) is not worth the trouble. */
static bool is_plain(const char *dir)
{
	return strlen(dir) < PRIVATE_PATH && !strpbrk(dir, "*?[\\");
}

size_t private_find(char (*ret_paths)[PRIVATE_PATH], size_t n)
{
	const char *runtime = runtime_dir(), *tmp = temporary_dir();
	char pattern[PRIVATE_PATH + 48];
	size_t found = 0;

	if (runtime && is_plain(runtime)) {
		snprintf(pattern, sizeof(pattern), "%s/faultline/*/" SOCKET_NAME, runtime);
		found = find_pattern(pattern, ret_paths, n, found);
	}
	if (is_plain(tmp)) {
		snprintf(pattern, sizeof(pattern), "%s/faultline-%u.*/" SOCKET_NAME, tmp,
			 (unsigned int)geteuid());
		found = find_pattern(pattern, ret_paths, n, found);
	}
	return found;
}
