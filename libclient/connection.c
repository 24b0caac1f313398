/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connection.c - a context's connection to the daemon: requests and answers of many threads.
 *
 * A request takes a slot of the context, with a cookie that its answer carries back, and its thread
 * sleeps until the slot is done. There is no thread that reads the socket, neither a hidden one nor one
 * of the sleepers that the others depend on: all of them poll it, whoever wakes up takes what is there,
 * hands each answer to its slot, and rings the eventfd of the thread that sleeps for it. So a thread
 * that is stopped where it sleeps, in a signal handler that touches a page which another has reserved,
 * keeps nobody from anything, least of all the other from unreserving it.
 *
 * The lock is held to send (the socket never blocks), to take what is there, and to look: never to sleep.
 * The price is a wake-up of every sleeper for each answer; CALLS_MAX bounds it.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/align.h"
#include "common/sock.h"
#include "common/wire.h"
#include "libclient/internal.h"

#define RETRY_MS	10		/* the queue of the listener was full */
#define NO_DEADLINE	INT64_MAX

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* For poll(2): -1 is for ever. */
static int ms_left(int64_t deadline)
{
	int64_t left;

	if (deadline == NO_DEADLINE)
		return -1;
	left = deadline - now_ms();
	return left > 0 ? (int)left : 0;
}

static bool is_over(int64_t deadline)
{
	return deadline != NO_DEADLINE && now_ms() >= deadline;
}

/* ---- slots; lock held ---- */

static struct call *find_call(struct faultline *ctx, uint32_t cookie)
{
	for (unsigned int i = 0; cookie && i < CALLS_MAX; i++)
		if (ctx->call[i].cookie == cookie)
			return &ctx->call[i];
	return NULL;
}

/* Not 0, and no call's that still waits: one may do so while the counter goes all the way round. */
static uint32_t new_cookie(struct faultline *ctx)
{
	do
		ctx->cookie++;
	while (!ctx->cookie || find_call(ctx, ctx->cookie));
	return ctx->cookie;
}

static int take_slot(struct faultline *ctx, struct call **ret)
{
	struct call *call = NULL;

	for (unsigned int i = 0; !call && i < CALLS_MAX; i++)
		if (!ctx->call[i].cookie)
			call = &ctx->call[i];
	if (!call)
		return -EAGAIN;
	if (call->wake < 0)
		call->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (call->wake < 0)
		return -errno;
	*call = (struct call){ .cookie = new_cookie(ctx), .wake = call->wake };
	*ret = call;
	return 0;
}

static void drop_slot(struct call *call)
{
	uint64_t count;

	/* Before the slot is anybody else's, so that nobody else is woken by it. */
	if (call->woken && read(call->wake, &count, sizeof(count)) != sizeof(count))
		close_fd(&call->wake);
	call->cookie = 0;
}

/* self: the call of the thread that runs this, which is awake. */
static void finish(struct call *call, int result, const struct call *self)
{
	const uint64_t one = 1;

	call->result = result;
	call->done = true;
	if (call != self)
		call->woken = write(call->wake, &one, sizeof(one)) == sizeof(one);
}

/* ---- what the daemon says; lock held ---- */

/* Nothing can be asked any more. Said once; from then on it is what every call is told. */
static void lose(struct faultline *ctx, const char *why, const struct call *self)
{
	if (ctx->state == CONTEXT_LOST)
		return;
	ctx->state = CONTEXT_LOST;
	for (unsigned int i = 0; i < CALLS_MAX; i++) {
		struct call *call = &ctx->call[i];

		if (!call->cookie || call->done)
			continue;
		snprintf(call->record.error.text, sizeof(call->record.error.text), "%s", why);
		finish(call, -ENOTCONN, self);
	}
}

static void take_error(struct faultline *ctx, struct call *call, const union wire_buffer *m,
		       const struct call *self)
{
	struct flp_error e;

	memcpy(&e, wire_body(m), sizeof(e));
	if (call) {
		call->record.error = e;
		finish(call, e.error, self);
	} else {
		lose(ctx, e.text, self);	/* of no request: it closes the connection */
	}
}

static void dispatch(struct faultline *ctx, const union wire_buffer *m, const struct call *self)
{
	struct call *call = find_call(ctx, m->h.cookie);

	if (m->h.type == FLP_ERROR) {
		take_error(ctx, call, m, self);
		return;
	}
	if (!call || call->done) {
		lose(ctx, "the daemon answered what nobody asked", self);
		return;
	}
	if (call->want && m->h.type == call->want) {
		memcpy(&call->record, wire_body(m), wire_body_size(call->want));
		call->has_record = true;
	}
	if (m->h.type == call->last)
		finish(call, call->want && !call->has_record ? -ENOENT : 0, self);
	else if (call->last == call->want)
		lose(ctx, "the daemon gave an answer of another kind", self);
}

/* All that is there now. */
static void receive(struct faultline *ctx, const struct call *self)
{
	union wire_buffer m;
	const char *why;
	ssize_t n;

	while (ctx->state != CONTEXT_LOST) {
		n = sock_recv(ctx->fd, &m, sizeof(m), NULL);
		if (n == -EAGAIN)
			return;
		if (n == -EBADMSG || n == -EMSGSIZE)
			lose(ctx, "the daemon sent what is no message", self);
		else if (n <= 0)
			lose(ctx, "the daemon closed the connection", self);
		else if (wire_check_why(&m, (size_t)n, 0, WIRE_TO_CLIENT, &why))
			lose(ctx, why, self);
		else
			dispatch(ctx, &m, self);
	}
}

/* ---- a call ---- */

/* Lock held, and dropped to sleep. 0, -ETIMEDOUT; or the connection was lost, and the slot is done. */
static int send_request(struct faultline *ctx, struct call *call, const union wire_buffer *m, size_t len,
			sigset_t *mask, int64_t deadline)
{
	while (!call->done) {
		struct pollfd p = { .fd = ctx->fd, .events = POLLOUT };
		int r = sock_send(ctx->fd, m, len, NULL, 0);

		if (!r)
			return 0;
		if (r != -EAGAIN) {
			lose(ctx, "the daemon closed the connection", call);
			return 0;
		}
		context_unlock(ctx, mask);
		poll(&p, 1, ms_left(deadline));
		context_lock(ctx, mask);
		if (!call->done && is_over(deadline))
			return -ETIMEDOUT;
	}
	return 0;
}

/* Lock held, and dropped to sleep: this is the only place where an answer is waited for. */
static int await(struct faultline *ctx, struct call *call, sigset_t *mask, int64_t deadline)
{
	receive(ctx, call);
	while (!call->done) {
		struct pollfd p[2] = {
			{ .fd = ctx->fd, .events = POLLIN },
			{ .fd = call->wake, .events = POLLIN },
		};

		context_unlock(ctx, mask);
		poll(p, ARRAY_SIZE(p), ms_left(deadline));
		context_lock(ctx, mask);
		if (!call->done)
			receive(ctx, call);
		if (!call->done && is_over(deadline))
			return -ETIMEDOUT;
	}
	return 0;
}

/* From a slot that is done to the caller's own memory: by way of the stack. */
struct answer {
	int result;
	char text[FLP_TEXT_SIZE];
	union {
		struct flp_welcome welcome;
		struct flp_range_status range;
		struct flp_status_job job;
	} record;
};

static void take_answer(const struct call *call, struct answer *ret)
{
	ret->result = call->result;
	if (call->result)
		memcpy(ret->text, call->record.error.text, sizeof(ret->text));
	else
		memcpy(&ret->record, &call->record, sizeof(ret->record));
}

/* One request. Lock held, and dropped to sleep. The answer's result, or why there is none. */
static int ask(struct faultline *ctx, enum flp_type type, const void *body, struct call *call,
	       sigset_t *mask, int64_t deadline)
{
	union wire_buffer m;
	size_t len = wire_build(&m, type, call->cookie, body);
	int r = send_request(ctx, call, &m, len, mask, deadline);

	return r ? r : await(ctx, call, mask, deadline);
}

/* state: the one that the context has to be in for this. */
static int call_until(struct faultline *ctx, enum context_state state, enum flp_type type,
		      const void *body, enum flp_type want, int64_t deadline, struct answer *ret)
{
	struct call *call = NULL;
	sigset_t mask;
	int r;

	context_lock(ctx, &mask);
	r = ctx->state == state ? take_slot(ctx, &call) : -ENOTCONN;
	if (!r) {
		call->want = want;
		call->last = want && type != FLP_STATUS ? want : FLP_OK;
		r = ask(ctx, type, body, call, &mask, deadline);
		if (!r)
			take_answer(call, ret);
		drop_slot(call);
	}
	context_unlock(ctx, &mask);
	return r;
}

static const char *describe(int error, const char *text)
{
	if (text[0])
		return text;
	switch (error) {
	case -ENOTCONN:
		return "there is no connection to a daemon";
	case -EAGAIN:
		return "too many threads wait for answers on this context";
	default:
		return strerrordesc_np(-error);
	}
}

static int call_and_copy(struct faultline *ctx, enum flp_type type, const void *body, enum flp_type want,
			 void *ret_record, size_t size, struct answer *a)
{
	_uncancelled_;
	int r;

	*a = (struct answer){ .result = 0 };
	r = call_until(ctx, CONTEXT_CONNECTED, type, body, want, NO_DEADLINE, a);
	if (!r)
		r = a->result;
	if (!r && ret_record)
		memcpy(ret_record, &a->record, size);
	return r;
}

int connection_call(struct faultline *ctx, const char *what, enum flp_type type, const void *body,
		    enum flp_type want, void *ret_record, size_t size)
{
	struct answer a;
	int r = call_and_copy(ctx, type, body, want, ret_record, size, &a);

	return r ? context_fail(ctx, r, "%s: %s", what, describe(r, a.text)) : 0;
}

int connection_knows(struct faultline *ctx, uint64_t addr)
{
	const struct flp_range m = { .addr = addr, .len = FL_PAGE_SIZE };
	struct answer a;

	return call_and_copy(ctx, FLP_RANGE_STAT, &m, FLP_RANGE_STATUS, NULL, 0, &a);
}

/* ---- connecting ---- */

/* poll(2) cannot wait for room in a listener's queue. */
static int connect_until(const char *path, int64_t deadline)
{
	for (;;) {
		int fd = sock_connect(path, SOCK_NONBLOCKING);

		if (fd != -EAGAIN)
			return fd;
		if (is_over(deadline))
			return -ETIMEDOUT;
		poll(NULL, 0, RETRY_MS);
	}
}

static int greet(struct faultline *ctx, int64_t deadline)
{
	struct flp_hello hello = { .version = FLP_VERSION, .role = FLP_ROLE_LIBRARY };
	struct answer a = { .result = 0 };
	int r;

	memcpy(hello.job, ctx->job, sizeof(hello.job));
	snprintf(hello.name, sizeof(hello.name), "%s", program_invocation_short_name);
	r = call_until(ctx, CONTEXT_CONNECTING, FLP_HELLO, &hello, FLP_WELCOME, deadline, &a);
	if (!r)
		r = a.result;
	if (!r && a.record.welcome.version != FLP_VERSION)
		r = -EPROTONOSUPPORT;
	if (r == -ETIMEDOUT)
		return context_fail(ctx, r, "connect: the daemon on %s does not answer", ctx->socket);
	return r ? context_fail(ctx, r, "connect: %s: %s", ctx->socket, describe(r, a.text)) : 0;
}

int connection_open(struct faultline *ctx)
{
	int64_t deadline = now_ms() + CONNECT_MS;
	int fd = connect_until(ctx->socket, deadline);

	if (fd < 0)
		return context_fail(ctx, fd, "connect: no daemon answers on %s: %s", ctx->socket,
				    strerrordesc_np(-fd));
	ctx->fd = fd;		/* nobody else uses it before the context is CONNECTED */
	return greet(ctx, deadline);
}

/* A child that was forked has the socket, too: without shutdown() the daemon would not see its end. */
void connection_close(struct faultline *ctx)
{
	if (ctx->fd >= 0 && ctx->pid == getpid())
		shutdown(ctx->fd, SHUT_RDWR);
	close_fd(&ctx->fd);
	for (unsigned int i = 0; i < CALLS_MAX; i++)
		close_fd(&ctx->call[i].wake);
}
