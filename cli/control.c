/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.c - a command's connection to a daemon: requests, answers, and the log lines between.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include <bsd/string.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/sock.h"
#include "cli/cli.h"
#include "cli/control.h"

#define RETRY_MS	10	/* connect(2) found the queue of the listener full */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool control_nobody(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED || error == -ENOTDIR || error == -EACCES ||
	       error == -EPROTOTYPE || error == -ENOTSOCK;
}

/* ---- what to say ---- */

static int fail_connect(const char *path, int error, char *ret_error)
{
	const char *safe = cli_safe(path, strlen(path));

	if (error == -EACCES)
		cli_error(ret_error, "you may not connect to faultlined on %s: join the group that "
			  "its socket belongs to", safe);
	else if (error == -ENAMETOOLONG)
		cli_error(ret_error, "%s is too long for the name of a socket", safe);
	else
		cli_error(ret_error, "no faultlined answers on %s: %s (start it, or name another "
			  "socket with --socket)", safe, strerror(-error));
	return error;
}

static int fail_version(const struct control *c, unsigned int version, char *ret_error)
{
	cli_error(ret_error, "faultlined on %s speaks version %u of the protocol, this program "
		  "version %u: install both from one release", cli_safe(c->path, strlen(c->path)),
		  version, FLP_VERSION);
	return -EPROTO;
}

static int fail_garbage(const struct control *c, const char *why, char *ret_error)
{
	cli_error(ret_error, "what answers on %s is not a faultlined of this release: it sent %s",
		  cli_safe(c->path, strlen(c->path)), why);
	return -EPROTO;
}

static int fail_gone(const struct control *c, int error, char *ret_error)
{
	if (error == -ETIMEDOUT)
		cli_error(ret_error, "faultlined on %s does not answer (waited %d s)",
			  cli_safe(c->path, strlen(c->path)), c->timeout_ms / 1000);
	else if (error == -ECONNRESET || error == -EPIPE)
		cli_error(ret_error, "faultlined on %s closed the connection",
			  cli_safe(c->path, strlen(c->path)));
	else if (error != -ECANCELED)
		cli_error(ret_error, "cannot talk to faultlined on %s: %s",
			  cli_safe(c->path, strlen(c->path)), strerror(-error));
	return error == -EPIPE ? -ECONNRESET : error;
}

/* ---- one message ---- */

/* Until the socket is ready. 0, -ETIMEDOUT, -ECANCELED. */
static int wait_ready(const struct control *c, short events, int64_t deadline)
{
	struct pollfd p[2] = {
		{ .fd = c->fd, .events = events },
		{ .fd = c->cancel_fd, .events = POLLIN },
	};

	for (;;) {
		int64_t left = deadline - now_ms();
		int n = poll(p, ARRAY_SIZE(p), left > 0 ? (int)left : 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[1].revents)
			return -ECANCELED;
		if (n > 0 && p[0].revents)
			return 0;
		if (left <= 0)
			return -ETIMEDOUT;
	}
}

static int send_message(struct control *c, const union wire_buffer *m, size_t len, int fd,
			int64_t deadline)
{
	for (;;) {
		int r = sock_send(c->fd, m, len, &fd, fd >= 0 ? 1 : 0);

		if (r != -EAGAIN)
			return r;
		r = wait_ready(c, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
}

/* One packet, whatever it is: a positive length; -ECONNRESET when the peer has closed. */
static ssize_t receive(struct control *c, union wire_buffer *ret, unsigned int *ret_n_fds)
{
	struct sock_fds fds = SOCK_FDS_NULL;
	ssize_t n = sock_recv(c->fd, ret, sizeof(*ret), &fds);

	if (n < 0)
		return n;
	*ret_n_fds = fds.n;
	sock_fds_close(&fds);		/* nothing that is for us brings any */
	return n ? n : -ECONNRESET;
}

/* The version of the peer, where that is what is wrong with its message; else 0. */
static unsigned int other_version(const union wire_buffer *m, ssize_t n)
{
	struct flp_welcome w;

	if (n < (ssize_t)sizeof(m->h) || m->h.magic != FLP_MAGIC || m->h.len != n)
		return 0;
	if (m->h.version != FLP_VERSION)
		return m->h.version;
	if (m->h.type != FLP_WELCOME || n < (ssize_t)(sizeof(m->h) + sizeof(w)))
		return 0;
	memcpy(&w, wire_body(m), sizeof(w));
	return w.version != FLP_VERSION ? w.version : 0;
}

static int check_message(const struct control *c, const union wire_buffer *m, ssize_t n,
			 unsigned int n_fds, char *ret_error)
{
	const char *why;

	if (wire_check_why(m, (size_t)n, n_fds, WIRE_TO_CLIENT, &why) == 0)
		return 0;
	if (other_version(m, n))
		return fail_version(c, other_version(m, n), ret_error);
	return fail_garbage(c, why, ret_error);
}

static void take_log(struct control *c, const union wire_buffer *m)
{
	struct flp_log line;

	memcpy(&line, wire_body(m), sizeof(line));
	if (c->log)
		c->log(&line, c->log_ctx);
}

/* The next message that answers the last request; log lines in front of it are taken. */
static int receive_answer(struct control *c, union wire_buffer *ret, int64_t deadline,
			  char *ret_error)
{
	for (;;) {
		unsigned int n_fds = 0;
		ssize_t n = receive(c, ret, &n_fds);
		int r;

		if (n == -EAGAIN) {
			r = wait_ready(c, POLLIN, deadline);
			if (r < 0)
				return fail_gone(c, r, ret_error);
			continue;
		}
		if (n == -EBADMSG || n == -EMSGSIZE)
			return fail_garbage(c, "a packet that is no message", ret_error);
		if (n < 0)
			return fail_gone(c, (int)n, ret_error);
		r = check_message(c, ret, n, n_fds, ret_error);
		if (r < 0)
			return r;
		if (ret->h.type == FLP_LOG)
			take_log(c, ret);
		else if (ret->h.cookie != c->cookie)
			return fail_garbage(c, "an answer to nothing", ret_error);
		else
			return 0;
	}
}

/* ---- requests ---- */

static int refused(const struct control *c, const union wire_buffer *m, char *ret_error)
{
	struct flp_error e;

	memcpy(&e, wire_body(m), sizeof(e));
	cli_error(ret_error, "faultlined on %s: %s", cli_safe(c->path, strlen(c->path)),
		  e.text[0] ? cli_safe(e.text, sizeof(e.text)) : strerror(-e.error));
	return e.error == -EPROTONOSUPPORT ? -EPROTO : e.error;
}

static int ask(struct control *c, enum flp_type type, const void *body, int fd, int64_t deadline,
	       char *ret_error)
{
	union wire_buffer m;
	size_t len = wire_build(&m, type, ++c->cookie, body);
	int r = send_message(c, &m, len, fd, deadline);

	return r < 0 ? fail_gone(c, r, ret_error) : 0;
}

int control_request(struct control *c, enum flp_type type, const void *body, int fd,
		    enum flp_type want, union wire_buffer *ret_answer, char *ret_error)
{
	int64_t deadline = now_ms() + c->timeout_ms;
	int r = ask(c, type, body, fd, deadline, ret_error);

	if (r == 0)
		r = receive_answer(c, ret_answer, deadline, ret_error);
	if (r < 0)
		return r;
	if (ret_answer->h.type == FLP_ERROR)
		return refused(c, ret_answer, ret_error);
	if (ret_answer->h.type != want)
		return fail_garbage(c, "an answer of another kind", ret_error);
	return 0;
}

/* Records until FLP_OK. Each has its own time: a big answer from a slow daemon is still one. */
static int take_records(struct control *c, struct report *report, char *ret_error)
{
	for (;;) {
		union wire_buffer m;
		int r = receive_answer(c, &m, now_ms() + c->timeout_ms, ret_error);

		if (r < 0)
			return r;
		if (m.h.type == FLP_OK)
			return 0;
		if (m.h.type == FLP_ERROR)
			return refused(c, &m, ret_error);
		r = report_add(report, m.h.type, wire_body(&m), m.h.len - sizeof(m.h));
		if (r == -EBADMSG)
			return fail_garbage(c, "an answer of another kind", ret_error);
		if (r < 0) {
			cli_error(ret_error, "the answer of faultlined is too long: %s", strerror(-r));
			return r;
		}
	}
}

int control_status(struct control *c, uint64_t job, struct report *ret, char *ret_error)
{
	_cleanup_(report_done) struct report report = { 0 };
	struct flp_status body = { .job = job };
	int r = ask(c, FLP_STATUS, &body, -1, now_ms() + c->timeout_ms, ret_error);

	if (r == 0)
		r = take_records(c, &report, ret_error);
	if (r < 0)
		return r;
	report_sort(&report);
	*ret = report;
	report = (struct report){ 0 };
	return 0;
}

int control_drain(struct control *c)
{
	for (;;) {
		char ignored[CLI_ERROR_SIZE];
		union wire_buffer m;
		unsigned int n_fds = 0;
		ssize_t n = receive(c, &m, &n_fds);

		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return n == -EBADMSG || n == -EMSGSIZE ? -EPROTO : -ECONNRESET;
		if (check_message(c, &m, n, n_fds, ignored) < 0 || m.h.type != FLP_LOG)
			return -EPROTO;
		take_log(c, &m);
	}
}

/* ---- connecting ---- */

/* A listener whose queue is full answers EAGAIN, and poll(2) cannot wait for that. */
static int connect_until(const struct control *c, const char *path, int64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = c->cancel_fd, .events = POLLIN };
		int fd = sock_connect(path, SOCK_NONBLOCKING);

		if (fd != -EAGAIN)
			return fd;
		if (now_ms() >= deadline)
			return -ETIMEDOUT;
		if (poll(&p, 1, RETRY_MS) > 0)
			return -ECANCELED;
	}
}

static int greet(struct control *c, char *ret_error)
{
	struct flp_hello hello = { .version = FLP_VERSION, .role = FLP_ROLE_CONTROL };
	union wire_buffer answer;
	int r;

	strlcpy(hello.name, cli_name(), sizeof(hello.name));
	r = control_request(c, FLP_HELLO, &hello, -1, FLP_WELCOME, &answer, ret_error);
	if (r < 0)
		return r;
	memcpy(&c->welcome, wire_body(&answer), sizeof(c->welcome));
	return 0;
}

int control_open(struct control *c, const char *path, char *ret_error)
{
	int r = connect_until(c, path, now_ms() + c->timeout_ms);

	if (r == -ECANCELED)
		return r;
	c->path = path;
	if (r == -ETIMEDOUT)
		return fail_gone(c, r, ret_error);
	if (r < 0)
		return fail_connect(path, r, ret_error);
	c->fd = r;
	r = greet(c, ret_error);
	if (r < 0)
		control_close(c);
	return r;
}

void control_close(struct control *c)
{
	close_fd(&c->fd);
}
