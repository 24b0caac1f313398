/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * server.c - the daemon's socket: who may connect, how many, and when the daemon may go.
 *
 * Owns the listening socket, the connections, and the account of each uid. A connection is charged
 * to its uid from accept() until it is freed, a session from HELLO until its home worker has told
 * that it is gone, so that connecting and leaving in a loop makes no unpaid work.
 *
 * Other threads hand over, under lock, and wake the loop: sessions that are gone, and, in a private
 * daemon, lines for the log. (Answers to requests have a list of their own, in request.c.) lock is
 * a leaf: nothing is logged and nobody waited for while it is held.
 *
 * When it may go. A client whose pages are out cannot live without the daemon, and neither can one
 * that has a range registered: whoever touches it first waits for ever. So stopping means that
 * every session is asked to bring everything back and to let go, however long that takes; only
 * then is its connection closed. The service is done when it was asked to stop and no session is
 * left; a private daemon also when its job is over: no session, and nobody who could start one.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/size.h"
#include "common/sock.h"
#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/sdnotify.h"
#include "daemon/server.h"
#include "daemon/session.h"

#define ACCEPTS_A_ROUND		32
#define ACCEPT_PAUSE_NS		UINT64_C(100000000)
#define TICK_NS			UINT64_C(100000000)	/* while stopping */
#define TELL_NS			UINT64_C(5000000000)
#define FIRST_JOB_NS		UINT64_C(10000000000)	/* a private daemon that nobody needs */
#define STOP_EXTEND_US		UINT64_C(30000000)

/* A session holds its socket and pidfd, two userfaultfds, four memory files and eventfds, and one in
 * reserve; the daemon's own are few. */
#define FDS_A_CLIENT		10u
#define FDS_OF_OURS		128u
#define CONNS_MAX		4096u

static void check_done(struct server *s);

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- accounts ---- */

static struct account *account_get(struct server *s, uid_t uid)
{
	struct account *a;

	LIST_FOREACH(a, &s->accounts, link)
		if (a->uid == uid)
			return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->uid = uid;
	LIST_INSERT_HEAD(&s->accounts, a, link);
	return a;
}

static void account_put(struct account *a)
{
	if (a->n_conns || a->n_sessions)
		return;
	LIST_REMOVE(a, link);
	free(a);
}

int server_ticket(struct server *s, struct conn *c, struct ticket **ret)
{
	struct ticket *t;

	if (s->n_sessions >= s->max_conns || c->account->n_sessions >= s->max_conns_uid)
		return -EDQUOT;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->server = s;
	t->account = c->account;
	t->account->n_sessions++;
	s->n_sessions++;
	*ret = t;
	return 0;
}

struct ticket *server_ticket_drop(struct ticket *t)
{
	if (!t)
		return NULL;
	t->server->n_sessions--;
	t->account->n_sessions--;
	account_put(t->account);
	free(t);
	return NULL;
}

void server_session_gone(struct session *session, void *ticket)
{
	struct ticket *t = ticket;
	struct server *s = t->server;

	pthread_mutex_lock(&s->lock);
	STAILQ_INSERT_TAIL(&s->gone, t, link);
	pthread_mutex_unlock(&s->lock);
	loop_wake(s->loop);
}

static void collect_gone(struct server *s)
{
	STAILQ_HEAD(, ticket) gone = STAILQ_HEAD_INITIALIZER(gone);

	pthread_mutex_lock(&s->lock);
	STAILQ_CONCAT(&gone, &s->gone);
	pthread_mutex_unlock(&s->lock);
	while (!STAILQ_EMPTY(&gone)) {
		struct ticket *t = STAILQ_FIRST(&gone);

		STAILQ_REMOVE_HEAD(&gone, link);
		server_ticket_drop(t);
	}
}

/* ---- the log of a private daemon ---- */

/* Any thread, under the log's lock. */
static void log_sink(void *ctx, enum log_level level, const char *line)
{
	struct server *s = ctx;

	pthread_mutex_lock(&s->lock);
	if (s->log_tail - s->log_head == SERVER_LOG_LINES) {
		s->log_lost++;
	} else {
		s->log[s->log_tail % SERVER_LOG_LINES].level = level;
		strlcpy(s->log[s->log_tail % SERVER_LOG_LINES].text, line, FLP_TEXT_SIZE);
		s->log_tail++;
	}
	pthread_mutex_unlock(&s->lock);
	loop_wake(s->loop);
}

/* The line that is next, which stays the next one. */
static bool peek_log(struct server *s, struct flp_log *ret)
{
	bool any;

	pthread_mutex_lock(&s->lock);
	any = s->log_head != s->log_tail;
	if (any) {
		*ret = (struct flp_log){ .level = s->log[s->log_head % SERVER_LOG_LINES].level };
		strlcpy(ret->text, s->log[s->log_head % SERVER_LOG_LINES].text, sizeof(ret->text));
	} else if (s->log_lost) {
		*ret = (struct flp_log){ .level = LOG_LEVEL_WARN };
		snprintf(ret->text, sizeof(ret->text), "log: %u lines lost, nobody read them",
			 s->log_lost);
		s->log_lost = 0;
		any = true;
	}
	pthread_mutex_unlock(&s->lock);
	return any;
}

static void pop_log(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->log_head != s->log_tail)
		s->log_head++;
	pthread_mutex_unlock(&s->lock);
}

/* Whoever reads the log may be stopped with its terminal: what does not fit into its socket stays
 * here until there is something new to say, and is never a reason to drop it. */
static void send_logs(struct server *s)
{
	struct flp_log m;

	while (s->job_conn && peek_log(s, &m)) {
		if (m.level < LOG_LEVEL_ERROR)
			m.level = LOG_LEVEL_ERROR;
		if (!conn_send_now(s->job_conn, FLP_LOG, &m))
			break;
		pop_log(s);
	}
}

/* ---- connections ---- */

static void reject(struct server *s, int fd, int error, const char *why, const struct sock_peer *peer)
{
	union wire_buffer buf;
	size_t len = wire_build_error(&buf, 0, error, why);
	uint32_t more;

	/* Best effort: it may not even have said HELLO. */
	sock_send(fd, &buf, len, NULL, 0);
	s->n_rejected++;
	if (log_limit(&s->reject_limit, &more))
		log_warnx("pid %d uid %u refused: %s (%u more like it, %" PRIu64 " in all)",
			  (int)peer->pid, (unsigned int)peer->uid, why, more, s->n_rejected);
}

static int admit(struct server *s, struct conn *c)
{
	if (s->n_conns >= s->max_conns) {
		reject(s, c->fd, -EUSERS, "too many clients: the daemon is full", &c->peer);
		return -EUSERS;
	}
	c->account = account_get(s, c->peer.uid);
	if (!c->account)
		return -ENOMEM;
	if (c->account->n_conns >= s->max_conns_uid) {
		reject(s, c->fd, -EDQUOT, "too many clients of this user", &c->peer);
		return -EDQUOT;
	}
	return 0;
}

DEFINE_CLEANUP(struct conn *, conn_free);

int server_add(struct server *s, int fd)
{
	_cleanup_(conn_freep) struct conn *c = NULL;
	int r;

	r = conn_new(&c, s, s->loop, fd, s->next_conn++);
	if (r)
		return r;
	r = admit(s, c);
	if (r) {
		if (c->account)
			account_put(c->account);
		return r;
	}
	c->account->n_conns++;
	s->n_conns++;
	TAILQ_INSERT_TAIL(&s->conns, c, link);
	conn_start(steal_ptr(&c));
	return 0;
}

void server_conn_ended(struct conn *c)
{
	struct server *s = c->server;

	TAILQ_REMOVE(&s->conns, c, link);
	c->account->n_conns--;
	account_put(c->account);
	if (s->job_conn == c)
		s->job_conn = NULL;
	check_done(s);
}

void server_conn_freed(struct server *s)
{
	s->n_conns--;
}

void server_made_job(struct conn *c)
{
	struct server *s = c->server;

	s->had_job = true;
	if (s->private) {
		s->job_conn = c;
		send_logs(s);
	}
}

static bool in_group(const struct conn *c, gid_t gid)
{
	_cleanup_free_ gid_t *groups = NULL;
	socklen_t len = 0;

	if (c->peer.gid == gid)
		return true;
	if (!getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) || errno != ERANGE)
		return false;
	groups = malloc(len);
	if (!groups || getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

bool server_admits(struct server *s, const struct conn *c)
{
	if (c->peer.uid == 0 || c->peer.uid == geteuid())
		return true;
	if (s->private)
		return false;
	return !s->config->has_allow_group || in_group(c, s->config->allow_gid);
}

/* ---- accepting ---- */

static int open_reserve(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void arm_accept(struct server *s)
{
	if (s->accepting_ended || s->accept.loop || s->accept_pause.loop)
		return;
	if (loop_poll(s->loop, &s->accept, s->listen_fd, POLLIN, false))
		log_errx("cannot listen any more: no memory for a poll");
}

static void pause_accept(struct server *s)
{
	if (!s->accept_pause.loop)
		loop_timer(s->loop, &s->accept_pause, ACCEPT_PAUSE_NS);
}

static void on_accept_pause(struct loop_op *op, int result, bool more)
{
	arm_accept(container_of(op, struct server, accept_pause));
}

/*
 * Out of descriptors. A client in the backlog would be polled for ever and never get an answer: one
 * descriptor is kept to take it and send it away.
 */
static void refuse_one(struct server *s)
{
	struct sock_peer nobody = { 0 };
	int fd;

	close_fd(&s->reserve_fd);
	fd = sock_accept(s->listen_fd, SOCK_NONBLOCKING);
	if (fd >= 0) {
		sock_peer(fd, &nobody);
		reject(s, fd, -EMFILE, "the daemon is out of descriptors", &nobody);
		close(fd);
	}
	s->reserve_fd = open_reserve();
	pause_accept(s);
}

/* False: no more now. */
static bool accept_one(struct server *s)
{
	int fd = sock_accept(s->listen_fd, SOCK_NONBLOCKING);

	switch (fd) {
	case -EAGAIN:
		return false;
	case -EMFILE:
	case -ENFILE:
		refuse_one(s);
		return false;
	case -ENOMEM:
	case -ENOBUFS:
		pause_accept(s);
		return false;
	default:
		if (fd >= 0)
			server_add(s, fd);
		return true;	/* other errors are of the one that was to be accepted */
	}
}

static void on_accept(struct loop_op *op, int result, bool more)
{
	struct server *s = container_of(op, struct server, accept);

	if (result < 0)
		return;
	for (int i = 0; i < ACCEPTS_A_ROUND; i++)
		if (!accept_one(s))
			break;
	arm_accept(s);
}

/* ---- the end ---- */

static void check_done(struct server *s)
{
	if (s->n_sessions)
		return;
	if (s->stopping || (s->private && s->had_job && !s->job_conn))
		s->done = true;
}

static void tell_waiting(const struct conn *c)
{
	char name[LOG_VIS_SIZE(32)], size[SIZE_TEXT];
	struct flp_counters n;

	session_counters(c->session, &n);
	log_notice("stopping: waits for session %" PRIu64 " pid %d (%s): %s to bring back",
		   c->session->id, (int)c->session->pid,
		   log_vis(name, sizeof(name), c->session->name, sizeof(c->session->name)),
		   size_human(size, n.stored + n.staging));
}

/* Ask all, let go of those that are whole again, and say from time to time who is not. */
static void drain(struct server *s)
{
	bool tell = now_ns() - s->stop_told_ns >= TELL_NS;
	struct conn *c;

	TAILQ_FOREACH(c, &s->conns, link) {
		if (!c->session || c->state == CONN_CLOSING)
			continue;
		if (!c->attached) {
			conn_close(c, "the daemon is stopping");
			continue;
		}
		if (session_drain(c->session))
			conn_close(c, "the daemon is stopping");
		else if (tell)
			tell_waiting(c);
	}
	if (tell) {
		s->stop_told_ns = now_ns();
		sdnotify_stopping(STOP_EXTEND_US);
	}
	check_done(s);
}

static void on_tick(struct loop_op *op, int result, bool more)
{
	struct server *s = container_of(op, struct server, tick);

	if (s->done)
		return;
	if (s->stopping) {
		drain(s);
		loop_timer(s->loop, &s->tick, TICK_NS);
	} else if (s->private && !s->had_job) {
		log_notice("nobody made a job: leaving");
		s->done = true;
	}
}

void server_stop(struct server *s)
{
	if (s->stopping) {
		log_notice("stopping already: everything has to be brought back first");
		s->stop_told_ns = 0;
		return;
	}
	log_notice("stopping: %u sessions", s->n_sessions);
	s->stopping = true;
	sdnotify_stopping(STOP_EXTEND_US);
	drain(s);
	if (s->tick.loop)
		loop_cancel(s->loop, &s->tick);		/* the wait for a first job */
	else
		loop_timer(s->loop, &s->tick, TICK_NS);
}

/* ---- the server ---- */

static void on_wake(void *ctx)
{
	struct server *s = ctx;

	calls_deliver(&s->calls);
	collect_gone(s);
	send_logs(s);
	check_done(s);
}

void server_set_config(struct server *s, const struct config *config)
{
	s->config = config;
}

static void set_limits(struct server *s)
{
	struct rlimit fds = { .rlim_cur = 1024 };
	rlim_t n;

	getrlimit(RLIMIT_NOFILE, &fds);
	n = fds.rlim_cur > FDS_OF_OURS ? (fds.rlim_cur - FDS_OF_OURS) / FDS_A_CLIENT : 1;
	s->max_conns = (unsigned int)min(n, (rlim_t)CONNS_MAX);
	s->max_conns_uid = s->private ? s->max_conns : max(s->max_conns / 2, 1u);
	s->ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Not 0, and of as many bits as the word has room for that the daemon and an agent share. */
static int make_generation(uint32_t *ret)
{
	uint32_t g = 0;

	do {
		if (getrandom(&g, sizeof(g), 0) != sizeof(g))
			return errno ? -errno : -EIO;
		g &= 0xffffff;
	} while (!g);
	*ret = g;
	return 0;
}

static int start(struct server *s)
{
	int r;

	r = make_generation(&s->generation);
	if (r)
		return r;
	s->reserve_fd = open_reserve();
	if (s->reserve_fd < 0)
		return -errno;
	if (s->listen_fd >= 0) {
		r = loop_poll(s->loop, &s->accept, s->listen_fd, POLLIN, false);
		if (r)
			return r;
	}
	return s->private ? loop_timer(s->loop, &s->tick, FIRST_JOB_NS) : 0;
}

DEFINE_CLEANUP(struct server *, server_free);

int server_new(struct server **ret, const struct server_setup *setup)
{
	_cleanup_close_ int listen_fd = setup->listen_fd;
	_cleanup_close_ int uffd_fd = setup->uffd_fd;
	_cleanup_(server_freep) struct server *s = NULL;
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->loop = setup->loop;
	s->jobs = setup->jobs;
	s->workers = setup->workers;
	s->config = setup->config;
	s->private = setup->private;
	s->listen_fd = steal_fd(&listen_fd);
	s->accepting_ended = s->listen_fd < 0;
	s->uffd_fd = steal_fd(&uffd_fd);
	s->uffd_features = setup->uffd_features;
	s->reserve_fd = -1;
	s->start_ns = now_ns();
	s->next_conn = 1;
	s->accept = (struct loop_op){ .done = on_accept, .name = "server.accept" };
	s->accept_pause = (struct loop_op){ .done = on_accept_pause, .name = "server.pause" };
	s->tick = (struct loop_op){ .done = on_tick, .name = "server.tick" };
	s->reject_limit.burst = s->garbage_limit.burst = 5;
	TAILQ_INIT(&s->conns);
	LIST_INIT(&s->accounts);
	STAILQ_INIT(&s->gone);
	pthread_mutex_init(&s->lock, NULL);
	calls_init(&s->calls, s->loop);
	set_limits(s);

	loop_on_wake(s->loop, on_wake, s);
	if (s->private)
		log_set_sink(log_sink, s);
	r = start(s);
	if (r)
		return r;
	*ret = steal_ptr(&s);
	return 0;
}

static bool is_busy(const struct server *s)
{
	return s->n_conns || s->n_sessions || s->calls.n || s->accept.loop || s->accept_pause.loop ||
	       s->tick.loop;
}

static void cancel(struct server *s, struct loop_op *op)
{
	if (op->loop)
		loop_cancel(s->loop, op);
}

struct server *server_free(struct server *s)
{
	struct conn *c;

	if (!s)
		return NULL;
	s->done = s->accepting_ended = true;
	send_logs(s);
	if (s->private)
		log_set_sink(NULL, NULL);
	TAILQ_FOREACH(c, &s->conns, link)
		conn_close(c, NULL);
	cancel(s, &s->accept);
	cancel(s, &s->accept_pause);
	cancel(s, &s->tick);
	while (is_busy(s))
		if (loop_round(s->loop, -1))
			fatalx("the event loop is broken");

	loop_on_wake(s->loop, NULL, NULL);
	assert(LIST_EMPTY(&s->accounts));
	calls_fini(&s->calls);
	close_fd(&s->reserve_fd);
	close_fd(&s->listen_fd);
	close_fd(&s->uffd_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
