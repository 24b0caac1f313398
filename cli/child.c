/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * child.c - the command that faultline run runs.
 *
 * It stays in our process group and in the foreground, so the terminal treats both alike: what the
 * terminal sends (^C, ^\, ^Z, a change of its size) reaches the command by itself and is not passed
 * on a second time. What somebody sends to us alone is meant for the command.
 *
 * A shell knows the job by us: when the command stops, so do we, in the same way; when we are
 * continued, so is the command.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "cli/child.h"
#include "cli/cli.h"

/* Raised by this process's own instructions: they cannot be put off, and are nobody's message. */
static const int synchronous[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT };
static const int giving_up[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int of_terminal[] = { SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH };

static bool among(const int *list, size_t n, int sig)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == sig)
			return true;
	return false;
}

/* ---- our own signals ---- */

/* nohup(1): what was ignored before us does not end us either. */
static void set_cancel(sigset_t *ret)
{
	sigemptyset(ret);
	for (size_t i = 0; i < ARRAY_SIZE(giving_up); i++) {
		struct sigaction a;

		if (sigaction(giving_up[i], NULL, &a) == 0 && a.sa_handler != SIG_IGN)
			sigaddset(ret, giving_up[i]);
	}
}

int signals_take(struct signals *ret)
{
	struct signals s = SIGNALS_NULL;
	struct sigaction chld = { .sa_handler = SIG_DFL };
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < ARRAY_SIZE(synchronous); i++)
		sigdelset(&all, synchronous[i]);
	set_cancel(&s.cancel);
	s.fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s.fd < 0)
		return -errno;
	s.cancel_fd = signalfd(-1, &s.cancel, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s.cancel_fd < 0) {
		int r = -errno;

		close_fd(&s.fd);
		return r;
	}
	/* A caller that ignores SIGCHLD would have our children reaped unseen. */
	sigaction(SIGCHLD, &chld, &s.old_chld);
	sigprocmask(SIG_BLOCK, &all, &s.old_mask);
	*ret = s;
	return 0;
}

void signals_restore(const struct signals *s)
{
	sigaction(SIGCHLD, &s->old_chld, NULL);
	sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
}

void signals_done(struct signals *s)
{
	close_fd(&s->fd);
	close_fd(&s->cancel_fd);
}

int signals_cancelled(const struct signals *s)
{
	sigset_t pending;

	sigpending(&pending);
	for (size_t i = 0; i < ARRAY_SIZE(giving_up); i++)
		if (sigismember(&pending, giving_up[i]) == 1 &&
		    sigismember(&s->cancel, giving_up[i]) == 1)
			return giving_up[i];
	return 0;
}

/* ---- starting ---- */

static void __attribute__((noreturn)) run_child(char *const argv[], const struct signals *s,
						 int status_fd, int (*prepare)(void *ctx), void *ctx)
{
	int r = prepare(ctx);

	if (r == 0) {
		signals_restore(s);
		execvp(argv[0], argv);
		r = -errno;
	}
	while (write(status_fd, &r, sizeof(r)) < 0 && errno == EINTR)
		;
	_exit(exec_exit_status(r));
}

/* 0: the exec has closed the pipe. */
static int read_failure(int fd)
{
	int error = 0;
	ssize_t n;

	do
		n = read(fd, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	return n == sizeof(error) ? error : 0;
}

int child_start(struct child *ret, char *const argv[], const struct signals *s,
		int (*prepare)(void *ctx), void *ctx)
{
	_cleanup_close_ int rd = -1, wr = -1;
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	rd = fds[0];
	wr = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_child(argv, s, wr, prepare, ctx);
	close_fd(&wr);
	r = read_failure(rd);
	if (r < 0) {
		waitpid(pid, NULL, 0);
		return r;
	}
	*ret = (struct child){ .pid = pid };
	return 0;
}

/* ---- following ---- */

/*
 * Stop as the command did. Whether we were stopped shows in the SIGCONT that ended it, which is
 * blocked and so still there: in an orphaned process group SIGTSTP stops nobody, and a command that
 * was stopped some other way must not be continued by that.
 */
static bool stop_ourselves(int sig)
{
	sigset_t set;

	if (sig != SIGTSTP && sig != SIGTTIN && sig != SIGTTOU)
		sig = SIGSTOP;
	kill(getpid(), sig);
	if (sig != SIGSTOP) {
		sigemptyset(&set);
		sigaddset(&set, sig);
		sigprocmask(SIG_UNBLOCK, &set, NULL);	/* it takes effect here */
		sigprocmask(SIG_BLOCK, &set, NULL);
	}
	sigpending(&set);
	return sigismember(&set, SIGCONT) == 1;
}

static void follow_stop(struct child *c, int sig)
{
	c->stopped = true;
	if (stop_ourselves(sig)) {
		c->stopped = false;
		kill(c->pid, SIGCONT);
	}
}

static void reap(struct child *c, void (*other)(pid_t pid, int status, void *ctx), void *ctx)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		if (pid != c->pid) {
			if (WIFEXITED(status) || WIFSIGNALED(status))
				other(pid, status, ctx);
		} else if (WIFSTOPPED(status)) {
			follow_stop(c, WSTOPSIG(status));
		} else if (WIFCONTINUED(status)) {
			c->stopped = false;
		} else {
			c->ended = true;
			c->status = status;
		}
	}
}

/* The kernel's own are the terminal's, or of timers that exec handed down to us alone. */
static bool is_for_command(const struct signalfd_siginfo *i)
{
	if (i->ssi_signo == SIGPIPE)
		return false;		/* of our own writing */
	return i->ssi_code <= 0 || !among(of_terminal, ARRAY_SIZE(of_terminal), (int)i->ssi_signo);
}

bool child_handle_signal(struct child *c, struct signals *s,
			 void (*other)(pid_t pid, int status, void *ctx), void *ctx)
{
	struct signalfd_siginfo info;

	if (read(s->fd, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo == SIGCHLD) {
		reap(c, other, ctx);
	} else if (info.ssi_signo == SIGCONT) {
		if (c->stopped)
			kill(c->pid, SIGCONT);
	} else if (is_for_command(&info) && !c->ended) {
		kill(c->pid, (int)info.ssi_signo);
	}
	return true;
}

int child_exit_status(int status)
{
	if (WIFSIGNALED(status))
		return RUN_SIGNAL + WTERMSIG(status);
	return WEXITSTATUS(status);
}

int exec_exit_status(int error)
{
	return error == -ENOENT ? RUN_NOT_FOUND : RUN_NO_EXEC;
}
