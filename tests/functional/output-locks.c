/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * output-locks.c - a job whose standard output and standard error are one pipe, one file, one terminal.
 *
 * write(2) from a page that is out holds the lock of what it writes to until the page is back: were the
 * daemon, or faultline run while somebody waits for it, to write there, all would wait for ever. So the
 * job writes from pages that are out, with -v for log lines in between, and every byte arrives.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/harness.h"

#define MIB		(UINT64_C(1) << 20)
#define BYTES		(12 * MIB)
#define ROUNDS		4
#define QUIET_MS	30000		/* nothing for so long: it hangs */

static pid_t start(int out)
{
	const char *build = getenv("FAULTLINE_BUILDDIR");
	char program[4096];
	pid_t pid;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	t_skip("a preload library with a sanitizer in it cannot be loaded into strangers");
#endif
	if (access("/dev/userfaultfd", R_OK | W_OK))
		t_skip("/dev/userfaultfd cannot be opened");
	t_assert(build);
	snprintf(program, sizeof(program), "%s/tests/functional/client-output", build);
	pid = t_sys(fork());
	if (pid)
		return pid;
	if (dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(98);
	execlp("faultline", "faultline", "run", "-v", "--budget", "8M", "--", program, "12", "4",
	       (char *)NULL);
	_exit(99);
}

/* The client's bytes are above 127; what is below was said by somebody else. */
static uint64_t seen;
static char said[16384];

static void take(const uint8_t *p, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		uint64_t i = seen % BYTES;

		if (p[k] < 0x80) {
			size_t len = strlen(said);

			if (len < sizeof(said) - 1)
				said[len] = (char)p[k];
			continue;
		}
		if (p[k] != (0x80 | ((i * 7 + i / 4096) & 0x7f)))
			t_fail("byte %llu is not what was written", (unsigned long long)seen);
		seen++;
	}
}

/* Until all who could write have ended. A terminal says so with EIO. */
static void take_all(int fd)
{
	static uint8_t buf[1 << 16];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	for (;;) {
		if (poll(&p, 1, (int)(QUIET_MS * t_time_scale())) != 1)
			t_fail("nothing comes any more, after %llu bytes", (unsigned long long)seen);
		n = read(fd, buf, sizeof(buf));
		if (n == 0 || (n < 0 && errno == EIO))
			return;
		t_sys(n);
		take(buf, (size_t)n);
	}
}

static void expect_all(pid_t pid)
{
	const char *evicted = strstr(said, "evicted ");
	int status;

	t_eq(waitpid(pid, &status, 0), pid);
	t_note("%llu bytes; %s", (unsigned long long)seen, said);
	t_eq(status, 0);
	t_eq(seen, ROUNDS * BYTES);
	t_assert(evicted);
	t_gt(strtoull(evicted + 8, NULL, 10), 5000);
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };

	t_sys(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT));
	return info.si_pid == pid;
}

static void one_pipe(void)
{
	int fds[2];
	pid_t pid;

	t_sys(pipe2(fds, O_CLOEXEC));
	pid = start(fds[1]);
	close(fds[1]);
	take_all(fds[0]);
	close(fds[0]);
	expect_all(pid);
}

static void one_file(void)
{
	_cleanup_close_ int fd = -1;
	char path[512];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/out", t_tmpdir());
	fd = t_sys(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	pid = start(fd);
	t_until_s(has_ended(pid), 60);
	t_sys(lseek(fd, 0, SEEK_SET));
	take_all(fd);
	expect_all(pid);
}

static void one_terminal(void)
{
	struct termios raw;
	int master, slave;
	pid_t pid;

	t_sys(openpty(&master, &slave, NULL, NULL, NULL));
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	t_sys(tcgetattr(slave, &raw));
	cfmakeraw(&raw);
	t_sys(tcsetattr(slave, TCSANOW, &raw));
	pid = start(slave);
	close(slave);
	take_all(master);
	close(master);
	expect_all(pid);
}

static const struct t_test tests[] = {
	T_TIMEOUT(one_pipe, 120),
	T_TIMEOUT(one_file, 120),
	T_TIMEOUT(one_terminal, 180),
	{0}
};

static const struct t_suite suites[] = { { "output-locks", tests }, {0} };

HARNESS_MAIN(suites)
