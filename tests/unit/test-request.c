/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-request.c - the control plane in one process: a server without a listening socket, clients at
 * the other ends of socket pairs, sessions of paper (paper-session.h).
 *
 * A test runs the server's loop itself, round by round, until what it waits for is there.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/sock.h"
#include "common/wire.h"
#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/server.h"
#include "paper-session.h"
#include "tests/harness.h"

#define MIB	(UINT64_C(1) << 20)
#define ADDR	UINT64_C(0x10000)

static struct loop *loop;
static struct jobs jobs;
static struct config *config;
static struct server *server;

static void start(bool private)
{
	struct server_setup setup = { .jobs = &jobs, .private = private, .listen_fd = -1,
				      .uffd_features = 1234 };

	log_init();
	log_set_level(LOG_LEVEL_ERROR);
	t_ok(loop_new(&loop, 64));
	t_ok(config_new(&config));
	config->default_budget = 64 * MIB;
	config->swap_enable = false;
	jobs_init(&jobs);
	setup.loop = loop;
	setup.config = config;
	setup.uffd_fd = t_sys(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	t_ok(server_new(&server, &setup));
}

static void stop(void)
{
	server = server_free(server);
	t_eq(paper_alive, 0);
	jobs_fini(&jobs);
	loop = loop_free(loop);
	config = config_free(config);
}

/* ---- clients ---- */

struct answer {
	int type;		/* 0: the daemon has closed */
	int error;
	union wire_buffer m;
	struct sock_fds fds;
};

static int client(void)
{
	int fds[2];

	t_ok(sock_pair(fds, SOCK_NONBLOCKING));
	t_ok(server_add(server, fds[1]));
	return fds[0];
}

static void say(int fd, enum flp_type type, uint32_t cookie, const void *body, int with)
{
	union wire_buffer buf;
	size_t len = wire_build(&buf, type, cookie, body);

	t_ok(sock_send(fd, &buf, len, &with, with >= 0));
}

static ssize_t try_hear(int fd, struct answer *a)
{
	loop_round(loop, 1000000);
	a->fds = (struct sock_fds)SOCK_FDS_NULL;
	return sock_recv(fd, &a->m, sizeof(a->m), &a->fds);
}

static void hear(int fd, struct answer *a)
{
	ssize_t n = -EAGAIN;

	t_until((n = try_hear(fd, a)) != -EAGAIN);
	a->type = a->error = 0;
	if (n <= 0)
		return;
	t_ok(wire_check(&a->m, (size_t)n, a->fds.n, WIRE_TO_CLIENT));
	a->type = a->m.h.type;
	if (a->type == FLP_ERROR)
		a->error = ((const struct flp_error *)wire_body(&a->m))->error;
}

static const void *expect(int fd, struct answer *a, int type)
{
	hear(fd, a);
	if (a->type == FLP_ERROR && type != FLP_ERROR)
		t_fail("%s", ((const struct flp_error *)wire_body(&a->m))->text);
	t_eq(a->type, type);
	return wire_body(&a->m);
}

static void expect_error(int fd, int error)
{
	struct answer a;

	expect(fd, &a, FLP_ERROR);
	t_eq(a.error, error);
}

static void expect_end(int fd)
{
	struct answer a;

	expect(fd, &a, 0);
}

static struct flp_hello hello(enum flp_role role)
{
	return (struct flp_hello){ .version = FLP_VERSION, .role = role, .name = "test" };
}

static int enter(enum flp_role role, const uint8_t *token)
{
	struct flp_hello m = hello(role);
	struct answer a;
	int fd = client();

	if (token)
		memcpy(m.job, token, sizeof(m.job));
	say(fd, FLP_HELLO, 1, &m, -1);
	expect(fd, &a, FLP_WELCOME);
	t_eq(a.fds.n, role == FLP_ROLE_AGENT ? 1 : 0);
	sock_fds_close(&a.fds);
	return fd;
}

static struct flp_job_create job_create(void)
{
	return (struct flp_job_create){
		.budget = 32 * MIB, .pool_max = UINT64_MAX, .swap_max = 0, .prefetch = UINT32_MAX,
		.flags = FLP_JOB_NO_SWAP, .name = "job",
	};
}

static struct flp_job_created make_job(int fd)
{
	struct flp_job_create m = job_create();
	struct answer a;

	say(fd, FLP_JOB_CREATE, 2, &m, -1);
	return *(const struct flp_job_created *)expect(fd, &a, FLP_JOB_CREATED);
}

static void attach_as(int fd, uint64_t flags)
{
	struct flp_attach m = { .s1 = 0x100000000, .s2 = 0x200000000, .flags = flags };
	union wire_buffer buf;
	size_t len = wire_build(&buf, FLP_ATTACH, 3, &m);
	int fds[2] = { t_sys(eventfd(0, EFD_CLOEXEC)), t_sys(eventfd(0, EFD_CLOEXEC)) };
	struct answer a;

	t_ok(sock_send(fd, &buf, len, fds, 2));
	close(fds[0]);
	close(fds[1]);
	expect(fd, &a, FLP_ATTACHED);
	t_eq(a.fds.n, 3);
	sock_fds_close(&a.fds);
}

static void attach(int fd)
{
	attach_as(fd, 0);
}

static int agent(const uint8_t *token)
{
	int fd = enter(FLP_ROLE_AGENT, token);

	attach(fd);
	return fd;
}

static void leave(int fd)
{
	unsigned int n = server->n_conns;

	close(fd);
	t_until((loop_round(loop, 1000000), server->n_conns < n));
}

/* ---- HELLO ---- */

static void an_agent_is_given_the_device_and_its_number(void)
{
	struct flp_hello m = hello(FLP_ROLE_AGENT);
	const struct flp_welcome *w;
	struct answer a;
	int fd;

	start(false);
	fd = client();
	say(fd, FLP_HELLO, 77, &m, -1);
	w = expect(fd, &a, FLP_WELCOME);
	t_eq(a.m.h.cookie, 77);
	t_eq(w->version, FLP_VERSION);
	t_eq(w->uffd_features, 1234);
	t_eq(w->pid, getpid());
	t_ne(w->session, 0);
	t_eq(w->budget, 64 * MIB);
	t_ne(w->generation, 0);
	t_eq(w->generation >> 24, 0);
	t_eq(a.fds.n, 1);
	sock_fds_close(&a.fds);
	leave(fd);
	stop();
}

static void a_control_connection_is_given_no_descriptor(void)
{
	start(false);
	leave(enter(FLP_ROLE_CONTROL, NULL));
	stop();
}

static void a_wrong_token_is_refused(void)
{
	struct flp_hello m = hello(FLP_ROLE_AGENT);
	struct flp_job_created made;
	int control, fd;

	start(true);
	control = enter(FLP_ROLE_CONTROL, NULL);
	made = make_job(control);
	memcpy(m.job, made.token, sizeof(m.job));
	m.job[15] ^= 1;
	fd = client();
	say(fd, FLP_HELLO, 1, &m, -1);
	expect_error(fd, -ENOENT);
	expect_end(fd);
	close(fd);
	t_eq(server->n_sessions, 0);
	leave(control);
	stop();
}

static void a_private_daemon_has_no_default_job(void)
{
	struct flp_hello m = hello(FLP_ROLE_AGENT);
	int fd;

	start(true);
	fd = client();
	say(fd, FLP_HELLO, 1, &m, -1);
	expect_error(fd, -ENOENT);
	expect_end(fd);
	close(fd);
	stop();
}

static void the_default_job_is_one_for_a_user_and_ends_with_its_sessions(void)
{
	int a, b;

	start(false);
	a = agent(NULL);
	b = agent(NULL);
	t_eq(jobs.n, 1);
	leave(a);
	t_eq(jobs.n, 1);
	leave(b);
	t_until((loop_round(loop, 1000000), !jobs.n));
	stop();
}

static void a_service_without_a_default_budget_has_no_default_job(void)
{
	struct flp_hello m = hello(FLP_ROLE_AGENT);
	int fd;

	start(false);
	config->default_budget = 0;
	fd = client();
	say(fd, FLP_HELLO, 1, &m, -1);
	expect_error(fd, -ENOENT);
	close(fd);
	stop();
}

static void another_version_is_told_both(void)
{
	union wire_buffer buf;
	struct flp_hello m = hello(FLP_ROLE_CONTROL);
	const struct flp_error *e;
	struct answer a;

	start(false);
	for (int i = 0; i < 2; i++) {
		int fd = client();
		size_t len;

		m.version = i ? 97 : FLP_VERSION;
		len = wire_build(&buf, FLP_HELLO, 5, &m);
		if (!i)
			buf.h.version = 97;
		t_ok(sock_send(fd, &buf, len, NULL, 0));
		e = expect(fd, &a, FLP_ERROR);
		t_eq(e->error, -EPROTONOSUPPORT);
		t_eq(a.m.h.cookie, 5);
		t_assert(strstr(e->text, "97"));
		t_assert(strstr(e->text, "version 1"));
		expect_end(fd);
		close(fd);
	}
	stop();
}

/* ---- who may say what ---- */

static void what_is_out_of_turn_costs_the_connection(void)
{
	static const struct {
		int role, type;
	} turns[] = {
		{ 0, FLP_STATUS }, { 0, FLP_JOB_CREATE }, { 0, FLP_RESERVE },
		{ FLP_ROLE_CONTROL, FLP_HELLO }, { FLP_ROLE_CONTROL, FLP_RESERVE },
		{ FLP_ROLE_CONTROL, FLP_ADVISE }, { FLP_ROLE_LIBRARY, FLP_JOB_CREATE },
		{ FLP_ROLE_AGENT, FLP_STATUS }, { FLP_ROLE_AGENT, FLP_UNRESERVE },
	};

	start(false);
	for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
		struct flp_job_create create = job_create();
		struct flp_hello m = hello(FLP_ROLE_CONTROL);
		struct flp_reserve range = { .addr = ADDR, .len = 4096 };
		const void *body = &range;
		int fd = turns[i].role ? enter(turns[i].role, NULL) : client();

		if (turns[i].type == FLP_HELLO)
			body = &m;
		if (turns[i].type == FLP_JOB_CREATE)
			body = &create;
		if (turns[i].type == FLP_ADVISE)
			range.timeout_ns = 0;
		say(fd, turns[i].type, 1, body, -1);
		expect_error(fd, -EBADMSG);
		expect_end(fd);
		close(fd);
	}
	stop();
}

static void answers_are_not_requests(void)
{
	static const int types[] = { FLP_WELCOME, FLP_ERROR, FLP_OK, FLP_ATTACHED, FLP_STATUS_JOB,
				     FLP_LOG, 0, 9, 46, 65535 };

	start(false);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		union wire_buffer buf;
		size_t len = wire_build(&buf, FLP_OK, 1, NULL);
		int fd = client();

		buf.h.type = (uint16_t)types[i];
		t_ok(sock_send(fd, &buf, len, NULL, 0));
		t_ok(sock_send(fd, &buf, len, NULL, 0));	/* unread, it must not hide the answer */
		t_until((loop_round(loop, 1000000), !server->n_conns));
		expect_error(fd, -EBADMSG);
		expect_end(fd);
		close(fd);
	}
	stop();
}

/* ---- jobs ---- */

static void a_job_lives_for_its_maker_and_its_sessions(void)
{
	struct flp_job_created made;
	int control, a;

	start(false);
	control = enter(FLP_ROLE_CONTROL, NULL);
	made = make_job(control);
	a = agent(made.token);
	t_eq(jobs.n, 1);
	leave(control);
	t_eq(jobs.n, 1);
	leave(a);
	t_until((loop_round(loop, 1000000), !jobs.n));
	stop();
}

static void a_budget_that_cannot_be_is_refused(void)
{
	static const uint64_t budgets[] = { 1, 8 * MIB - 1, UINT64_MAX, UINT64_C(1) << 50, 129 * MIB };
	int fd;

	start(false);
	config->max_budget = 128 * MIB;
	fd = enter(FLP_ROLE_CONTROL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(budgets); i++) {
		struct flp_job_create m = job_create();

		m.budget = budgets[i];
		say(fd, FLP_JOB_CREATE, 1, &m, -1);
		expect_error(fd, budgets[i] == 129 * MIB ? -EDQUOT : -EINVAL);
	}
	make_job(fd);		/* the connection is none the worse */
	leave(fd);
	stop();
}

static void a_pool_larger_than_the_budget_is_refused(void)
{
	struct flp_job_create m = job_create();
	int fd;

	start(false);
	fd = enter(FLP_ROLE_CONTROL, NULL);
	m.pool_max = m.budget + 1;
	say(fd, FLP_JOB_CREATE, 1, &m, -1);
	expect_error(fd, -EINVAL);
	leave(fd);
	stop();
}

static void a_connection_makes_one_job(void)
{
	struct flp_job_create m = job_create();
	int fd, other;

	start(true);
	fd = enter(FLP_ROLE_CONTROL, NULL);
	make_job(fd);
	say(fd, FLP_JOB_CREATE, 1, &m, -1);
	expect_error(fd, -EALREADY);
	other = enter(FLP_ROLE_CONTROL, NULL);
	say(other, FLP_JOB_CREATE, 1, &m, -1);
	expect_error(other, -EEXIST);
	leave(other);
	leave(fd);
	stop();
}

static void a_swap_file_must_be_one(void)
{
	struct flp_job_create m = job_create();
	char path[4096];
	int fd, bad[4], good;

	start(true);
	m.flags = FLP_JOB_OWN_SWAP;
	m.swap_max = UINT64_MAX;
	snprintf(path, sizeof(path), "%s/swap", t_tmpdir());
	good = t_sys(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	bad[0] = t_sys(open(path, O_RDONLY | O_CLOEXEC));
	bad[1] = t_sys(open(path, O_RDWR | O_APPEND | O_CLOEXEC));
	bad[2] = t_sys(eventfd(0, EFD_CLOEXEC));
	bad[3] = t_sys(open("/dev/null", O_RDWR | O_CLOEXEC));
	fd = enter(FLP_ROLE_CONTROL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		say(fd, FLP_JOB_CREATE, 1, &m, bad[i]);
		expect_error(fd, -EINVAL);
		close(bad[i]);
	}
	t_eq(jobs.n, 0);
	say(fd, FLP_JOB_CREATE, 1, &m, good);
	t_assert(expect(fd, &(struct answer){ 0 }, FLP_JOB_CREATED));
	close(good);
	leave(fd);
	stop();
}

static void a_user_has_so_many_jobs_at_most(void)
{
	struct flp_job_create m = job_create();
	int fd[64], last;

	start(false);
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = enter(FLP_ROLE_CONTROL, NULL);
		make_job(fd[i]);
	}
	last = enter(FLP_ROLE_CONTROL, NULL);
	say(last, FLP_JOB_CREATE, 1, &m, -1);
	expect_error(last, -EDQUOT);
	leave(fd[0]);
	make_job(last);
	leave(last);
	for (size_t i = 1; i < ARRAY_SIZE(fd); i++)
		leave(fd[i]);
	stop();
}

/* ---- status ---- */

static void status_tells_the_daemon_its_jobs_and_their_sessions(void)
{
	const struct flp_status_session *s;
	const struct flp_status_daemon *d;
	const struct flp_status_job *j;
	struct flp_status m = { 0 };
	struct flp_job_created made;
	struct answer a;
	int fd, x, y;

	start(false);
	paper_counters.resident = 4096;
	fd = enter(FLP_ROLE_CONTROL, NULL);
	made = make_job(fd);
	x = agent(made.token);
	y = agent(made.token);
	say(fd, FLP_STATUS, 9, &m, -1);
	d = expect(fd, &a, FLP_STATUS_DAEMON);
	t_eq(d->n_jobs, 1);
	t_eq(d->n_sessions, 2);
	t_streq(d->mode, "service");
	t_streq(d->version, PACKAGE_VERSION);
	j = expect(fd, &a, FLP_STATUS_JOB);
	t_eq(j->job, made.job);
	t_eq(j->n_sessions, 2);
	t_eq(j->c.resident, 8192);
	for (int i = 0; i < 2; i++) {
		s = expect(fd, &a, FLP_STATUS_SESSION);
		t_eq(s->job, made.job);
		t_eq(s->pid, getpid());
	}
	expect(fd, &a, FLP_OK);
	t_eq(a.m.h.cookie, 9);
	leave(x);
	leave(y);
	leave(fd);
	stop();
}

/* Two agents in one process: the preload library's, and the library's own, in another job. */
static void a_library_is_told_of_the_job_of_its_own_agent(void)
{
	struct flp_job_created job[2];
	struct flp_status m = { 0 };
	struct answer a;
	int control[2], agents[2], fd;

	start(false);
	for (int i = 0; i < 2; i++) {
		control[i] = enter(FLP_ROLE_CONTROL, NULL);
		job[i] = make_job(control[i]);
		agents[i] = enter(FLP_ROLE_AGENT, job[i].token);
	}
	fd = enter(FLP_ROLE_LIBRARY, NULL);
	say(fd, FLP_STATUS, 8, &m, -1);
	expect_error(fd, -ENOTCONN);
	attach(agents[0]);
	attach_as(agents[1], FLP_ATTACH_LIBRARY);
	m.job = job[0].job;			/* of no other, whatever is asked for */
	say(fd, FLP_STATUS, 9, &m, -1);
	expect(fd, &a, FLP_STATUS_DAEMON);
	t_eq(((const struct flp_status_job *)expect(fd, &a, FLP_STATUS_JOB))->job, job[1].job);
	expect(fd, &a, FLP_OK);
	leave(fd);
	for (int i = 0; i < 2; i++) {
		leave(agents[i]);
		leave(control[i]);
	}
	stop();
}

static void status_of_a_job_that_is_not_there_is_an_error(void)
{
	struct flp_status m = { .job = 4711 };
	struct answer a;
	int fd;

	start(false);
	fd = enter(FLP_ROLE_CONTROL, NULL);
	say(fd, FLP_STATUS, 9, &m, -1);
	expect(fd, &a, FLP_STATUS_DAEMON);
	expect_error(fd, -ENOENT);
	leave(fd);
	stop();
}

#define MANY 200

/* More than fits anywhere at once: nothing is lost, nothing is said twice. */
static void a_long_status_waits_for_its_reader(void)
{
	struct flp_job_create c = job_create();
	struct flp_status m = { 0 };
	struct job *job[MANY];
	struct answer a;
	uint64_t last = 0;
	int fds[2], n = 0, small = 1;

	start(false);
	for (int i = 0; i < MANY; i++)
		t_ok(job_new(&job[i], &jobs, 0, &c, NULL));
	t_ok(sock_pair(fds, SOCK_NONBLOCKING));
	t_sys(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	t_ok(server_add(server, fds[1]));
	say(fds[0], FLP_HELLO, 1, &(struct flp_hello){ .version = FLP_VERSION,
						       .role = FLP_ROLE_CONTROL }, -1);
	expect(fds[0], &a, FLP_WELCOME);
	say(fds[0], FLP_STATUS, 9, &m, -1);
	for (int i = 0; i < 20; i++)
		loop_round(loop, 0);
	t_le(TAILQ_FIRST(&server->conns)->out_bytes, CONN_OUTBOX);
	t_gt(TAILQ_FIRST(&server->conns)->out_bytes, 0);

	expect(fds[0], &a, FLP_STATUS_DAEMON);
	for (hear(fds[0], &a); a.type == FLP_STATUS_JOB; hear(fds[0], &a), n++) {
		const struct flp_status_job *j = wire_body(&a.m);

		t_gt(j->job, last);
		last = j->job;
	}
	t_eq(a.type, FLP_OK);
	t_eq(n, MANY);
	for (int i = 0; i < MANY; i++)
		job_unref(&jobs, job[i]);
	leave(fds[0]);
	stop();
}

static void who_asks_and_does_not_read_is_not_heard(void)
{
	struct flp_status m = { 0 };
	union wire_buffer buf;
	size_t len;
	int deaf, other, sent = 0, stuck = 0;
	struct answer a;

	start(false);
	deaf = enter(FLP_ROLE_CONTROL, NULL);
	other = enter(FLP_ROLE_CONTROL, NULL);
	len = wire_build(&buf, FLP_STATUS, 1, &m);
	while (stuck < 50) {
		int r = sock_send(deaf, &buf, len, NULL, 0);

		t_assert(!r || r == -EAGAIN);
		sent += !r;
		stuck = r ? stuck + 1 : 0;
		loop_round(loop, 0);
		t_le(TAILQ_FIRST(&server->conns)->out_bytes, CONN_OUTBOX);
		t_lt(sent, 100000);
	}
	say(other, FLP_STATUS, 2, &m, -1);
	expect(other, &a, FLP_STATUS_DAEMON);
	expect(other, &a, FLP_OK);
	leave(other);
	leave(deaf);
	stop();
}

/* ---- reservations ---- */

static void ask(int fd, enum flp_type type, uint32_t cookie, int64_t timeout_ns, uint32_t tid)
{
	struct flp_reserve m = { .addr = ADDR, .len = 4096, .timeout_ns = timeout_ns, .tid = tid };

	say(fd, type, cookie, &m, -1);
}

static void unreserve(int fd)
{
	struct flp_range m = { .addr = ADDR, .len = 4096 };

	say(fd, FLP_UNRESERVE, 50, &m, -1);
}

static void expect_ok(int fd, uint32_t cookie)
{
	struct answer a;

	expect(fd, &a, FLP_OK);
	t_eq(a.m.h.cookie, cookie);
}

static void settle(void)
{
	for (int i = 0; i < 20; i++)
		loop_round(loop, 0);
}

static void expect_nothing(int fd)
{
	struct answer a;

	settle();
	t_eq(try_hear(fd, &a), -EAGAIN);
}

static void a_library_needs_an_agent(void)
{
	int fd;

	start(false);
	fd = enter(FLP_ROLE_LIBRARY, NULL);
	ask(fd, FLP_RESERVE, 1, -1, 1);
	expect_error(fd, -ENOTCONN);
	leave(fd);
	stop();
}

static void a_reservation_is_handed_on(void)
{
	int a, x, y;

	start(false);
	a = agent(NULL);
	x = enter(FLP_ROLE_LIBRARY, NULL);
	y = enter(FLP_ROLE_LIBRARY, NULL);
	ask(x, FLP_RESERVE, 1, -1, 1);
	expect_ok(x, 1);
	ask(y, FLP_RESERVE, 2, -1, 2);
	expect_nothing(y);
	ask(y, FLP_RESERVE, 3, 0, 3);
	expect_error(y, -EBUSY);
	unreserve(y);
	expect_error(y, -EPERM);
	ask(x, FLP_RESERVE, 4, -1, 1);
	expect_error(x, -EDEADLK);
	unreserve(x);
	expect_ok(x, 50);
	expect_ok(y, 2);
	unreserve(y);
	expect_ok(y, 50);
	leave(x);
	leave(y);
	leave(a);
	stop();
}

static void a_wait_ends_when_its_time_is_up(void)
{
	int a, x, y;

	start(false);
	a = agent(NULL);
	x = enter(FLP_ROLE_LIBRARY, NULL);
	y = enter(FLP_ROLE_LIBRARY, NULL);
	ask(x, FLP_RESERVE, 1, -1, 1);
	expect_ok(x, 1);
	ask(y, FLP_RESERVE, 2, 5000000, 2);
	expect_error(y, -ETIMEDOUT);
	ask(y, FLP_WAIT_UNRESERVED, 3, 5000000, 2);
	expect_error(y, -ETIMEDOUT);
	ask(y, FLP_WAIT_UNRESERVED, 4, 0, 2);
	expect_error(y, -EBUSY);
	ask(y, FLP_WAIT_UNRESERVED, 5, INT64_C(60000000000), 2);
	expect_nothing(y);
	unreserve(x);
	expect_ok(x, 50);
	expect_ok(y, 5);
	t_until((loop_round(loop, 1000000), !server->calls.n));
	leave(x);
	leave(y);
	leave(a);
	stop();
}

static void a_connection_that_ends_lets_go(void)
{
	int a, x, y, z;

	start(false);
	a = agent(NULL);
	x = enter(FLP_ROLE_LIBRARY, NULL);
	y = enter(FLP_ROLE_LIBRARY, NULL);
	z = enter(FLP_ROLE_LIBRARY, NULL);
	ask(x, FLP_RESERVE, 1, -1, 1);
	expect_ok(x, 1);
	ask(y, FLP_RESERVE, 2, INT64_C(60000000000), 2);
	ask(z, FLP_RESERVE, 3, -1, 3);
	settle();
	leave(y);		/* it only waited: with its timer */
	expect_nothing(z);
	leave(x);		/* it held it */
	expect_ok(z, 3);
	leave(z);
	t_until((loop_round(loop, 1000000), !server->calls.n));
	leave(a);
	stop();
}

static void an_agent_that_ends_answers_those_that_wait(void)
{
	int a, x, y;

	start(false);
	a = agent(NULL);
	x = enter(FLP_ROLE_LIBRARY, NULL);
	y = enter(FLP_ROLE_LIBRARY, NULL);
	ask(x, FLP_RESERVE, 1, -1, 1);
	expect_ok(x, 1);
	ask(y, FLP_RESERVE, 2, -1, 2);
	ask(y, FLP_WAIT_UNRESERVED, 3, INT64_C(60000000000), 2);
	settle();
	leave(a);
	expect_error(y, -ESTALE);
	expect_error(y, -ESTALE);
	ask(y, FLP_RESERVE, 2, -1, 2);
	expect_error(y, -ENOTCONN);
	leave(y);
	leave(x);
	stop();
}

/* Both in one round: the library's calls are in the queues of a session that is about to go. */
static void an_agent_and_its_library_end_together(void)
{
	start(false);
	for (int i = 0; i < 2; i++) {
		int a = agent(NULL);
		int x = enter(FLP_ROLE_LIBRARY, NULL);
		int y = enter(FLP_ROLE_LIBRARY, NULL);

		ask(x, FLP_RESERVE, 1, -1, 1);
		expect_ok(x, 1);
		ask(y, FLP_RESERVE, 2, INT64_C(60000000000), 2);
		settle();
		close(i ? a : y);
		close(i ? y : a);
		close(x);
		t_until((loop_round(loop, 1000000), !server->n_conns && !server->n_sessions));
	}
	stop();
}

static void waiting_calls_are_bounded(void)
{
	int a, x, y;

	start(false);
	a = agent(NULL);
	x = enter(FLP_ROLE_LIBRARY, NULL);
	y = enter(FLP_ROLE_LIBRARY, NULL);
	ask(x, FLP_RESERVE, 1, -1, 1);
	expect_ok(x, 1);
	for (uint32_t i = 0; i < 128; i++) {
		ask(y, FLP_RESERVE, i, -1, 100 + i);
		settle();
	}
	ask(y, FLP_RESERVE, 999, -1, 999);
	expect_error(y, -EAGAIN);
	leave(y);
	t_eq(server->calls.n, 0);
	leave(x);
	leave(a);
	stop();
}

static void advice_and_a_look_at_a_range_are_answered(void)
{
	struct flp_advise advise = { .addr = ADDR, .len = 4096, .advice = FLP_ADVICE_COLD };
	struct flp_range range = { .addr = ADDR, .len = 8192 };
	const struct flp_range_status *st;
	struct answer an;
	int a, x;

	start(false);
	a = agent(NULL);
	x = enter(FLP_ROLE_LIBRARY, NULL);
	say(x, FLP_ADVISE, 1, &advise, -1);
	expect_ok(x, 1);
	advise.advice = FLP_ADVICE_EVICT;
	say(x, FLP_ADVISE, 2, &advise, -1);
	expect_error(x, -EINVAL);
	say(x, FLP_RANGE_STAT, 3, &range, -1);
	st = expect(x, &an, FLP_RANGE_STATUS);
	t_eq(st->pages, 2);
	leave(x);
	leave(a);
	stop();
}

/* ---- the end ---- */

static void stopping_waits_until_nothing_is_out(void)
{
	struct flp_hello m = hello(FLP_ROLE_AGENT);
	struct flp_status st = { 0 };
	struct answer an;
	int a, control, late;

	start(false);
	paper_drained = false;
	a = agent(NULL);
	control = enter(FLP_ROLE_CONTROL, NULL);
	server_stop(server);
	settle();
	t_gt(paper_drains, 0);
	t_assert(!server_is_done(server));
	late = client();
	say(late, FLP_HELLO, 1, &m, -1);
	expect_error(late, -ESHUTDOWN);
	expect_end(late);
	close(late);
	say(control, FLP_STATUS, 1, &st, -1);		/* what does it wait for? */
	expect(control, &an, FLP_STATUS_DAEMON);
	expect(control, &an, FLP_STATUS_JOB);
	expect(control, &an, FLP_STATUS_SESSION);
	expect(control, &an, FLP_OK);
	server_stop(server);				/* more often is not harder */
	settle();
	t_assert(!server_is_done(server));

	paper_drained = true;
	t_until((loop_round(loop, 1000000), server_is_done(server)));
	expect_end(a);
	close(a);
	close(control);
	stop();
}

static void a_daemon_without_sessions_stops_at_once(void)
{
	start(false);
	server_stop(server);
	t_assert(server_is_done(server));
	stop();
}

static void a_private_daemon_is_done_when_its_job_is_over(void)
{
	struct flp_job_created made;
	int control, a;

	start(true);
	control = enter(FLP_ROLE_CONTROL, NULL);
	made = make_job(control);
	a = agent(made.token);
	leave(control);
	settle();
	t_assert(!server_is_done(server));
	leave(a);
	t_until((loop_round(loop, 1000000), server_is_done(server)));
	stop();
}

static void a_private_daemon_logs_to_the_maker_of_its_job(void)
{
	const struct flp_log *l;
	struct answer a;
	int fd;

	start(true);
	fd = enter(FLP_ROLE_CONTROL, NULL);
	log_errx("said before there was anybody");
	settle();
	make_job(fd);
	l = expect(fd, &a, FLP_LOG);
	t_streq(l->text, "said before there was anybody");
	t_eq(l->level, LOG_LEVEL_ERROR);
	log_errx("said later");
	l = expect(fd, &a, FLP_LOG);
	t_streq(l->text, "said later");
	leave(fd);
	stop();
}

/* It is stopped together with its terminal: it stays, the daemon works on, lines are dropped. */
static void nobody_waits_for_the_reader_of_the_log(void)
{
	struct flp_status m = { 0 };
	struct answer a;
	int fd, other;

	start(true);
	fd = enter(FLP_ROLE_CONTROL, NULL);
	make_job(fd);
	other = enter(FLP_ROLE_CONTROL, NULL);
	for (int i = 0; i < 5000; i++) {
		log_errx("line %d", i);
		if (i % 50 == 0)
			loop_round(loop, 0);
	}
	say(other, FLP_STATUS, 2, &m, -1);
	expect(other, &a, FLP_STATUS_DAEMON);
	t_assert(server->job_conn);
	leave(other);
	leave(fd);
	stop();
}

static void hangups_at_any_moment_leave_nothing_behind(void)
{
	start(false);
	for (int i = 0; i < 200; i++) {
		struct flp_hello m = hello((enum flp_role)(1 + t_random_below(3)));
		struct flp_status st = { 0 };
		int fd = client();

		if (t_random_below(4))
			say(fd, FLP_HELLO, 1, &m, -1);
		if (t_random_below(2))
			loop_round(loop, 0);
		if (t_random_below(2) && m.role == FLP_ROLE_CONTROL)
			sock_send(fd, &st, sizeof(st), NULL, 0);
		if (t_random_below(2))
			loop_round(loop, 0);
		close(fd);
	}
	t_until((loop_round(loop, 1000000), !server->n_conns && !server->n_sessions));
	stop();
}

static const struct t_test tests[] = {
	T(an_agent_is_given_the_device_and_its_number),
	T(a_control_connection_is_given_no_descriptor),
	T(a_wrong_token_is_refused),
	T(a_private_daemon_has_no_default_job),
	T(the_default_job_is_one_for_a_user_and_ends_with_its_sessions),
	T(a_service_without_a_default_budget_has_no_default_job),
	T(another_version_is_told_both),
	T(what_is_out_of_turn_costs_the_connection),
	T(answers_are_not_requests),
	T(a_job_lives_for_its_maker_and_its_sessions),
	T(a_budget_that_cannot_be_is_refused),
	T(a_pool_larger_than_the_budget_is_refused),
	T(a_connection_makes_one_job),
	T(a_swap_file_must_be_one),
	T(a_user_has_so_many_jobs_at_most),
	T(status_tells_the_daemon_its_jobs_and_their_sessions),
	T(a_library_is_told_of_the_job_of_its_own_agent),
	T(status_of_a_job_that_is_not_there_is_an_error),
	T(a_long_status_waits_for_its_reader),
	T(who_asks_and_does_not_read_is_not_heard),
	T(a_library_needs_an_agent),
	T(a_reservation_is_handed_on),
	T(a_wait_ends_when_its_time_is_up),
	T(a_connection_that_ends_lets_go),
	T(an_agent_that_ends_answers_those_that_wait),
	T(an_agent_and_its_library_end_together),
	T(waiting_calls_are_bounded),
	T(advice_and_a_look_at_a_range_are_answered),
	T(stopping_waits_until_nothing_is_out),
	T(a_daemon_without_sessions_stops_at_once),
	T(a_private_daemon_is_done_when_its_job_is_over),
	T(a_private_daemon_logs_to_the_maker_of_its_job),
	T(nobody_waits_for_the_reader_of_the_log),
	T(hangups_at_any_moment_leave_nothing_behind),
	{0}
};

static const struct t_suite suites[] = { { "request", tests }, {0} };

HARNESS_MAIN(suites)
