/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-connection.c - many threads on one connection of libfaultline: each gets its own answer, in
 * whatever order they come, and all of them an end.
 *
 * The test plays the daemon, on the other end of a socket pair; context and connection are linked with
 * it, so that there is no agent.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/align.h"
#include "common/sock.h"
#include "common/wire.h"
#include "libclient/internal.h"
#include "tests/harness.h"

static struct faultline *ctx;
static int daemon_fd;

static void connect_pair(void)
{
	int fds[2];

	t_ok(faultline_new(&ctx));
	t_ok(sock_pair(fds, SOCK_NONBLOCKING));
	ctx->fd = fds[0];
	ctx->state = CONTEXT_CONNECTED;
	daemon_fd = fds[1];
}

static void clear_stage(void)
{
	faultline_free(ctx);
	close(daemon_fd);
}

/* ---- the daemon ---- */

static uint32_t hear(enum flp_type type)
{
	struct pollfd p = { .fd = daemon_fd, .events = POLLIN };
	union wire_buffer m;
	ssize_t n;

	t_eq(poll(&p, 1, -1), 1);
	n = t_ok(sock_recv(daemon_fd, &m, sizeof(m), NULL));
	t_ok(wire_check(&m, (size_t)n, 0, WIRE_TO_DAEMON));
	t_eq(m.h.type, type);
	t_ne(m.h.cookie, 0);
	return m.h.cookie;
}

static void say(uint32_t cookie, enum flp_type type, const void *body)
{
	union wire_buffer m;
	size_t len = wire_build(&m, type, cookie, body);

	t_ok(sock_send(daemon_fd, &m, len, NULL, 0));
}

static void say_error(uint32_t cookie, int error, const char *text)
{
	union wire_buffer m;
	size_t len = wire_build_error(&m, cookie, error, text);

	t_ok(sock_send(daemon_fd, &m, len, NULL, 0));
}

/* ---- callers ---- */

struct caller {
	pthread_t thread;
	struct flp_range_status st;
	uint32_t cookie;
	int result;
};

static const struct flp_range range = { .addr = 4096, .len = 4096 };

static void *call_main(void *arg)
{
	struct caller *c = arg;

	c->result = connection_call(ctx, "test", FLP_RANGE_STAT, &range, FLP_RANGE_STATUS, &c->st,
				    sizeof(c->st));
	return NULL;
}

static void start(struct caller *c)
{
	*c = (struct caller){ .result = 1 };
	t_eq(pthread_create(&c->thread, NULL, call_main, c), 0);
	c->cookie = hear(FLP_RANGE_STAT);
}

static void answer(const struct caller *c)
{
	struct flp_range_status st = { .pages = c->cookie };

	say(c->cookie, FLP_RANGE_STATUS, &st);
}

static void finish(struct caller *c, int result)
{
	pthread_join(c->thread, NULL);
	t_eq(c->result, result);
	if (!result)
		t_eq(c->st.pages, c->cookie);
	else
		t_eq(c->st.pages, 0);
}

static bool any_call(void)
{
	for (unsigned int i = 0; i < CALLS_MAX; i++)
		if (ctx->call[i].cookie)
			return true;
	return false;
}

/* ---- tests ---- */

static void answers_in_any_order_reach_who_asked(void)
{
	struct caller c[6];

	connect_pair();
	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(c); i++)
			start(&c[i]);
		for (size_t i = 0; i < ARRAY_SIZE(c); i++)
			answer(&c[(i * 5 + (size_t)round) % ARRAY_SIZE(c)]);
		for (size_t i = 0; i < ARRAY_SIZE(c); i++)
			finish(&c[i], 0);
		t_assert(!any_call());
	}
	clear_stage();
}

static void one_answer_does_not_wait_for_another(void)
{
	struct caller first, second;

	connect_pair();
	start(&first);
	for (int i = 0; i < 100; i++) {
		start(&second);
		answer(&second);
		finish(&second, 0);
	}
	answer(&first);
	finish(&first, 0);
	clear_stage();
}

static void a_refusal_is_its_callers_only(void)
{
	struct caller c[2];

	connect_pair();
	start(&c[0]);
	start(&c[1]);
	say_error(c[1].cookie, -EBUSY, "it is taken");
	finish(&c[1], -EBUSY);
	t_streq(faultline_error(ctx), "test: it is taken");
	answer(&c[0]);
	finish(&c[0], 0);
	clear_stage();
}

static void when_the_daemon_closes_all_are_told(void)
{
	struct caller c[4];

	connect_pair();
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		start(&c[i]);
	shutdown(daemon_fd, SHUT_RDWR);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		finish(&c[i], -ENOTCONN);
	t_streq(faultline_error(ctx), "test: the daemon closed the connection");
	t_fails(connection_call(ctx, "test", FLP_ADVISE, NULL, 0, NULL, 0), ENOTCONN);
	t_streq(faultline_error(ctx), "test: there is no connection to a daemon");
	t_assert(!any_call());
	clear_stage();
}

static void what_is_no_answer_ends_the_connection(void)
{
	static const enum flp_type wrong[] = { FLP_OK, FLP_WELCOME, FLP_STATUS_JOB };

	for (size_t i = 0; i < ARRAY_SIZE(wrong) + 3; i++) {
		struct caller c;

		connect_pair();
		start(&c);
		if (i < ARRAY_SIZE(wrong))
			say(c.cookie, wrong[i], NULL);
		else if (i == ARRAY_SIZE(wrong))
			say(c.cookie + 1, FLP_OK, NULL);
		else if (i == ARRAY_SIZE(wrong) + 1)
			t_ok(sock_send(daemon_fd, "garbage", 7, NULL, 0));
		else
			t_ok(sock_send(daemon_fd, &c.cookie, 4, &daemon_fd, 1));
		finish(&c, -ENOTCONN);
		t_eq(ctx->state, CONTEXT_LOST);
		clear_stage();
	}
}

static void an_error_of_no_request_is_why_the_daemon_closes(void)
{
	struct caller c;

	connect_pair();
	start(&c);
	say_error(0, -EUSERS, "the daemon is full");
	finish(&c, -ENOTCONN);
	t_streq(faultline_error(ctx), "test: the daemon is full");
	clear_stage();
}

static void more_callers_than_slots_are_told_to_come_again(void)
{
	static struct caller c[CALLS_MAX];
	struct flp_range_status st = { .pages = 4711 };

	connect_pair();
	for (size_t i = 0; i < CALLS_MAX; i++)
		start(&c[i]);
	t_fails(connection_call(ctx, "test", FLP_RANGE_STAT, &range, FLP_RANGE_STATUS, &st, sizeof(st)),
		EAGAIN);
	t_eq(st.pages, 4711);
	answer(&c[77]);
	finish(&c[77], 0);
	start(&c[77]);
	for (size_t i = 0; i < CALLS_MAX; i++)
		answer(&c[i]);
	for (size_t i = 0; i < CALLS_MAX; i++)
		finish(&c[i], 0);
	clear_stage();
}

static void a_cookie_is_not_given_to_two(void)
{
	struct caller c[2];

	connect_pair();
	ctx->cookie = UINT32_MAX - 1;
	start(&c[0]);
	t_eq(c[0].cookie, UINT32_MAX);
	ctx->cookie = UINT32_MAX - 1;		/* once around */
	start(&c[1]);
	t_eq(c[1].cookie, 1);
	answer(&c[0]);
	finish(&c[0], 0);
	answer(&c[1]);
	finish(&c[1], 0);
	clear_stage();
}

/* A job's status is several records: the one that is wanted is kept, and the last ends it. */
static void a_status_ends_with_ok(void)
{
	struct flp_status_job j = { .job = 7 }, got = { 0 };
	struct flp_status_daemon dm = { .pid = 1 };

	connect_pair();
	say(1, FLP_STATUS_DAEMON, &dm);
	say(1, FLP_STATUS_JOB, &j);
	say(1, FLP_OK, NULL);
	t_ok(connection_call(ctx, "stat", FLP_STATUS, NULL, FLP_STATUS_JOB, &got, sizeof(got)));
	t_eq(got.job, 7);
	hear(FLP_STATUS);
	say(2, FLP_STATUS_DAEMON, &dm);
	say(2, FLP_OK, NULL);
	t_fails(connection_call(ctx, "stat", FLP_STATUS, NULL, FLP_STATUS_JOB, &got, sizeof(got)), ENOENT);
	clear_stage();
}

/* The socket is full of requests that the daemon has not read: nobody spins, nobody is lost. */
static void a_daemon_that_does_not_read_is_waited_for(void)
{
	static struct caller c[CALLS_MAX];
	int small = 1;

	connect_pair();
	t_sys(setsockopt(ctx->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	for (size_t i = 0; i < CALLS_MAX; i++) {
		c[i] = (struct caller){ .result = 1 };
		t_eq(pthread_create(&c[i].thread, NULL, call_main, &c[i]), 0);
	}
	for (size_t i = 0; i < CALLS_MAX; i++) {
		struct flp_range_status st = { .pages = 5 };

		say(hear(FLP_RANGE_STAT), FLP_RANGE_STATUS, &st);
	}
	for (size_t i = 0; i < CALLS_MAX; i++) {
		pthread_join(c[i].thread, NULL);
		t_eq(c[i].result, 0);
		t_eq(c[i].st.pages, 5);
	}
	clear_stage();
}

static const struct t_test tests[] = {
	T(answers_in_any_order_reach_who_asked),
	T(one_answer_does_not_wait_for_another),
	T(a_refusal_is_its_callers_only),
	T(when_the_daemon_closes_all_are_told),
	T(what_is_no_answer_ends_the_connection),
	T(an_error_of_no_request_is_why_the_daemon_closes),
	T(more_callers_than_slots_are_told_to_come_again),
	T(a_cookie_is_not_given_to_two),
	T(a_status_ends_with_ok),
	T(a_daemon_that_does_not_read_is_waited_for),
	{0}
};

static const struct t_suite suites[] = { { "connection", tests }, {0} };

HARNESS_MAIN(suites)
