/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * request.c - what is done about the messages of a connection.
 *
 * The only glue between the wire and the objects. A message goes through three steps: it is checked
 * (wire.c, then the table below: may this role say that now), acted on by the handler that the table
 * names, and answered: by the handler when it returned 0, with FLP_ERROR when it returned -errno. A
 * message that breaks the protocol, or a HELLO or ATTACH that fails, costs the connection; anything
 * else only the request.
 *
 * Nothing here waits for a client or a disk. The locks that are taken are held for microseconds by
 * whoever else has them.
 *
 * Who may touch a session. Its connection's `session` is good from HELLO until the connection ends,
 * because only session_close() makes it go away. A library's connection has none of its own: it finds
 * the agent of its process each time, and what it leaves behind in a session (a call in a queue, a
 * reservation) is taken out of there before either of the two is gone.
 *
 * A call is a reservation that has to wait. It is answered by a worker, with the session's lock held,
 * so its answer only goes on a list; the control loop sends it. A call is freed by the control loop
 * when it is in no queue, on no list, and its timer is not running.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/size.h"
#include "common/wire.h"
#include "daemon/config.h"
#include "daemon/conn.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/request.h"
#include "daemon/server.h"
#include "daemon/session.h"
#include "daemon/store.h"

#define BUDGET_MIN		(UINT64_C(8) << 20)
#define CALLS_MAX		128		/* of one connection, at a time */
#define JOBS_OF_UID_MAX		64

struct request {
	struct conn *c;
	struct server *server;
	uint32_t cookie;
	const void *body;
	struct sock_fds *fds;
	char why[FLP_TEXT_SIZE];	/* for a person; "": the error says it all */
};

DEFINE_CLEANUP(struct swap *, swap_free);
DEFINE_CLEANUP(struct ticket *, server_ticket_drop);

static int refuse(struct request *rq, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct request *rq, int error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(rq->why, sizeof(rq->why), format, ap);
	va_end(ap);
	return error;
}

static void ok(struct request *rq)
{
	conn_send(rq->c, FLP_OK, rq->cookie, NULL);
}

/* ---- jobs: limits and swap ---- */

static int check_budget(struct request *rq, const struct flp_job_create *m)
{
	char budget[SIZE_TEXT], limit[SIZE_TEXT];
	uint64_t most = rq->server->ram;

	size_human(budget, m->budget);
	if (m->budget < BUDGET_MIN)
		return refuse(rq, -EINVAL, "a budget of %s is too small: the least is %s", budget,
			      size_human(limit, BUDGET_MIN));
	if (m->budget > most)
		return refuse(rq, -EINVAL, "a budget of %s is more than the machine's RAM, %s", budget,
			      size_human(limit, most));
	if (rq->server->private || !rq->server->config->max_budget)
		return 0;
	most = rq->server->config->max_budget;
	if (m->budget > most)
		return refuse(rq, -EDQUOT, "a budget of %s is more than this service gives to a job, %s",
			      budget, size_human(limit, most));
	return 0;
}

static int check_limits(struct request *rq, const struct flp_job_create *m)
{
	int r = check_budget(rq, m);

	if (r)
		return r;
	if (m->pool_max != UINT64_MAX && m->pool_max > m->budget)
		return refuse(rq, -EINVAL, "the pool is part of the budget and cannot be larger");
	return 0;
}

/*
 * Is the file on a file system that is mounted here, and that nobody in user space serves, who could
 * keep us waiting? Found out without asking that file system.
 */
static bool is_kernels_own(uint64_t mnt_id)
{
	bool good = false;
	char *line = NULL;
	size_t room = 0;
	FILE *f;

	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return false;
	while (getline(&line, &room, f) > 0) {
		const char *type = strstr(line, " - ");

		if (type && strtoull(line, NULL, 10) == mnt_id)
			good = strncmp(type + 3, "fuse", 4) != 0;
	}
	free(line);
	fclose(f);
	return good;
}

/* A file of the caller's. It is written all over, and what is read back is checked: only its kind
 * matters. */
static int check_swap_file(struct request *rq, int fd)
{
	struct statx st;
	int flags;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID,
			       &st) < 0)
		return -errno;
	if (!S_ISREG(st.stx_mode))
		return refuse(rq, -EINVAL, "the swap file is not a regular file");
	if (flags & O_PATH || (flags & O_ACCMODE) != O_RDWR)
		return refuse(rq, -EINVAL, "the swap file is not open for reading and writing");
	if (flags & O_APPEND)
		return refuse(rq, -EINVAL, "the swap file is open for appending");
	if (!rq->server->private && !is_kernels_own(st.stx_mnt_id))
		return refuse(rq, -EINVAL, "the swap file is not on a file system of this service's");
	return 0;
}

static int open_swap(struct request *rq, const char *dir)
{
	int fd = swap_open_unnamed(dir);

	if (fd < 0)
		return refuse(rq, fd, "cannot make a swap file in %s: %s", dir,
			      strerrordesc_np(-fd));
	return fd;
}

static int make_swap(struct request *rq, const struct flp_job_create *m, struct swap **ret)
{
	const struct config *config = rq->server->config;
	_cleanup_close_ int fd = -1;
	int r;

	if (m->flags & FLP_JOB_NO_SWAP || !m->swap_max)
		return 0;
	if (m->flags & FLP_JOB_OWN_SWAP) {
		fd = sock_fds_take(rq->fds, 0);
		r = check_swap_file(rq, fd);
		if (r)
			return r;
	} else {
		if (!config->swap_enable)
			return 0;
		fd = open_swap(rq, config->swap_dir);
		if (fd < 0)
			return fd;
	}
	r = swap_new(ret, steal_fd(&fd), m->swap_max);
	return r ? refuse(rq, r, "the swap file cannot be used: %s", strerrordesc_np(-r)) : 0;
}

/* What was not asked for is as the configuration says. What is the service's has its limits too. */
static struct flp_job_create fill_in(const struct config *config, const struct flp_job_create *m)
{
	struct flp_job_create all = *m;

	/* Without a swap file the pool is all there is: only what it takes to work in is kept from it. */
	if (all.pool_max == UINT64_MAX)
		all.pool_max = all.flags & FLP_JOB_NO_SWAP ? all.budget - all.budget / 8 :
			       config_pool_max(config, all.budget);
	if (all.prefetch == UINT32_MAX)
		all.prefetch = config->prefetch;
	if (!(all.flags & FLP_JOB_OWN_SWAP))
		all.swap_max = min(all.swap_max, config->swap_max);
	return all;
}

static int make_job(struct request *rq, const struct flp_job_create *m, struct job **ret)
{
	_cleanup_(swap_freep) struct swap *swap = NULL;
	uid_t uid = rq->c->peer.uid;
	struct flp_job_create all;
	int r;

	if (jobs_of_uid(rq->server->jobs, uid) >= JOBS_OF_UID_MAX)
		return refuse(rq, -EDQUOT, "user %u has %d jobs already", (unsigned int)uid,
			      JOBS_OF_UID_MAX);
	r = check_limits(rq, m);
	if (r)
		return r;
	all = fill_in(rq->server->config, m);
	r = make_swap(rq, &all, &swap);
	if (r)
		return r;
	return job_new(ret, rq->server->jobs, uid, &all, steal_ptr(&swap));
}

static void tell_job(const struct conn *c, const struct job *j)
{
	char name[LOG_VIS_SIZE(sizeof(j->name))], budget[SIZE_TEXT];

	log_info("job %" PRIu64 " uid %u (%s): budget %s, swap %s", j->id, (unsigned int)j->uid,
		 log_vis(name, sizeof(name), j->name, sizeof(j->name)),
		 size_human(budget, j->budget), j->swap ? "yes" : "no");
}

static int on_job_create(struct request *rq)
{
	struct flp_job_created created = { 0 };
	struct conn *c = rq->c;
	int r;

	if (rq->server->stopping)
		return refuse(rq, -ESHUTDOWN, "the daemon is stopping");
	if (!server_admits(rq->server, c))
		return refuse(rq, -EACCES, "user %u may not use this daemon",
			      (unsigned int)c->peer.uid);
	if (c->job)
		return refuse(rq, -EALREADY, "this connection has made a job already");
	if (rq->server->private && rq->server->had_job)
		return refuse(rq, -EEXIST, "a private daemon has one job");
	r = make_job(rq, rq->body, &c->job);
	if (r)
		return r;
	tell_job(c, c->job);
	memcpy(created.token, c->job->token, sizeof(created.token));
	created.job = c->job->id;
	conn_send(c, FLP_JOB_CREATED, rq->cookie, &created);
	server_made_job(c);
	return 0;
}

/* ---- HELLO ---- */

static bool is_zero(const uint8_t token[FLP_TOKEN_SIZE])
{
	uint8_t any = 0;

	for (size_t i = 0; i < FLP_TOKEN_SIZE; i++)
		any |= token[i];
	return !any;
}

/* The job that a uid has in the service without asking for one. */
static int default_job(struct request *rq, struct job **ret)
{
	const struct config *config = rq->server->config;
	struct flp_job_create m = {
		.budget = config->default_budget,
		.pool_max = UINT64_MAX,
		.swap_max = UINT64_MAX,
		.prefetch = UINT32_MAX,
		.name = "default",
	};
	int r;

	*ret = job_by_uid(rq->server->jobs, rq->c->peer.uid);
	if (*ret)
		return 0;
	if (!config->default_budget)
		return refuse(rq, -ENOENT, "this service has no default job: use faultline run");
	r = make_job(rq, &m, ret);
	if (r)
		return r;
	(*ret)->by_uid = true;		/* before anybody else has seen it */
	tell_job(rq->c, *ret);
	return 0;
}

/* With a reference. */
static int find_job(struct request *rq, const struct flp_hello *m, struct job **ret)
{
	if (is_zero(m->job)) {
		if (rq->server->private)
			return refuse(rq, -ENOENT, "a private daemon serves its own job only");
		return default_job(rq, ret);
	}
	*ret = job_by_token(rq->server->jobs, m->job, rq->c->peer.uid);
	return *ret ? 0 : refuse(rq, -ENOENT, "no such job, or not one of user %u",
				 (unsigned int)rq->c->peer.uid);
}

static int check_agent(struct request *rq)
{
	struct conn *c = rq->c;

	if (rq->server->stopping)
		return refuse(rq, -ESHUTDOWN, "the daemon is stopping");
	if (!server_admits(rq->server, c))
		return refuse(rq, -EACCES, "user %u may not use this daemon",
			      (unsigned int)c->peer.uid);
	if (c->peer.pid <= 0)
		return refuse(rq, -ESRCH, "your process is not in a pid namespace that this daemon sees");
	return 0;
}

static int new_session(struct request *rq, const struct flp_hello *m, struct job *job)
{
	_cleanup_(server_ticket_dropp) struct ticket *ticket = NULL;
	_cleanup_close_ int pidfd = -1;
	struct server *server = rq->server;
	struct conn *c = rq->c;
	struct ucred peer = { .pid = c->peer.pid, .uid = c->peer.uid, .gid = c->peer.gid };
	int r;

	r = server_ticket(server, c, &ticket);
	if (r)
		return refuse(rq, r, "too many processes of user %u", (unsigned int)c->peer.uid);
	pidfd = sock_peer_pidfd(c->fd);
	if (pidfd < 0)
		return pidfd;
	r = session_new(&c->session, job, server->jobs, server->workers, server->generation, &peer,
			pidfd, m);
	if (r)
		return r;
	steal_fd(&pidfd);
	c->session->gone = server_session_gone;
	c->session->gone_ctx = steal_ptr(&ticket);
	return 0;
}

static int hello_agent(struct request *rq, const struct flp_hello *m, struct flp_welcome *ret)
{
	struct job *job;
	int r;

	r = check_agent(rq);
	if (r)
		return r;
	r = find_job(rq, m, &job);
	if (r)
		return r;
	r = new_session(rq, m, job);
	if (!r) {
		ret->session = rq->c->session->id;
		ret->budget = job->budget;
	}
	job_unref(rq->server->jobs, job);	/* the session has its own */
	return r;
}

/* The connection of the agent of the same process, once it is attached: the library's own, where the
 * preload library has one there as well. */
static struct conn *find_agent(const struct conn *c)
{
	struct conn *x, *other = NULL;

	TAILQ_FOREACH(x, &c->server->conns, link) {
		if (!x->attached || x->state != CONN_READY || x->peer.pid != c->peer.pid ||
		    x->peer.uid != c->peer.uid)
			continue;
		if (x->session->library)
			return x;
		other = x;
	}
	return other;
}

static int hello_library(struct request *rq, struct flp_welcome *ret)
{
	struct conn *agent;
	int r = check_agent(rq);

	if (r)
		return r;
	agent = find_agent(rq->c);
	ret->budget = agent ? agent->session->job->budget : 0;
	return 0;
}

static int on_hello(struct request *rq)
{
	const struct flp_hello *m = rq->body;
	struct server *server = rq->server;
	struct conn *c = rq->c;
	struct flp_welcome w = {
		.version = FLP_VERSION,
		.generation = server->generation,
		.uffd_features = server->uffd_features,
		.pid = (uint32_t)getpid(),
	};
	int r = 0;

	switch ((enum flp_role)m->role) {
	case FLP_ROLE_AGENT:
		r = hello_agent(rq, m, &w);
		break;
	case FLP_ROLE_LIBRARY:
		r = hello_library(rq, &w);
		break;
	case FLP_ROLE_CONTROL:
		break;
	}
	if (r)
		return r;
	conn_ready(c, m->role);
	if (m->role == FLP_ROLE_AGENT)
		conn_send_fds(c, FLP_WELCOME, rq->cookie, &w, &server->uffd_fd, 1);
	else
		conn_send(c, FLP_WELCOME, rq->cookie, &w);
	return 0;
}

/* ---- agents ---- */

static int on_attach(struct request *rq)
{
	struct conn *c = rq->c;
	struct flp_attached attached = { 0 };
	int fds[3], r, a, b;

	if (c->attached)
		return refuse(rq, -EALREADY, "attached already");
	if (rq->server->stopping)
		return refuse(rq, -ESHUTDOWN, "the daemon is stopping");
	a = sock_fds_take(rq->fds, 0);
	b = sock_fds_take(rq->fds, 1);
	r = session_attach(c->session, a, b, rq->body, &attached, fds);
	if (r)
		return refuse(rq, r, "these userfaultfds cannot be served: %s", strerrordesc_np(-r));
	c->attached = true;
	conn_send_fds(c, FLP_ATTACHED, rq->cookie, &attached, fds, ARRAY_SIZE(fds));
	return 0;
}

/* ---- status ---- */

static bool may_see(const struct conn *c, const struct job *j)
{
	return c->peer.uid == 0 || c->peer.uid == j->uid;
}

static uint64_t uptime_us(const struct server *s)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec - s->start_ns) / 1000;
}

static void send_daemon(struct conn *c)
{
	struct server *s = c->server;
	struct flp_status_daemon m = {
		.pid = (uint32_t)getpid(),
		.generation = s->generation,
		.uptime_us = uptime_us(s),
		.n_jobs = jobs_of_uid(s->jobs, c->peer.uid ? c->peer.uid : JOBS_ALL),
		.n_sessions = c->peer.uid ? c->account->n_sessions : s->n_sessions,
		.uffd_features = s->uffd_features,
	};

	strlcpy(m.version, PACKAGE_VERSION, sizeof(m.version));
	strlcpy(m.engine, loop_engine(s->loop), sizeof(m.engine));
	strlcpy(m.mode, s->private ? "private" : "service", sizeof(m.mode));
	conn_send(c, FLP_STATUS_DAEMON, c->status.cookie, &m);
}

/* The next session of the job that was sent last, by number. */
static struct session *next_session(const struct conn *c)
{
	struct session *best = NULL;
	struct conn *x;

	TAILQ_FOREACH(x, &c->server->conns, link)
		if (x->attached && x->state == CONN_READY && x->session->job->id == c->status.job &&
		    x->session->id > c->status.session && (!best || x->session->id < best->id))
			best = x->session;
	return best;
}

static bool send_session(struct conn *c)
{
	struct session *s = c->status.job && c->role == FLP_ROLE_CONTROL ? next_session(c) : NULL;
	struct flp_status_session m;

	if (!s)
		return false;
	c->status.session = s->id;
	session_status(s, &m);
	conn_send(c, FLP_STATUS_SESSION, c->status.cookie, &m);
	return true;
}

/* The next job that the caller asked for and may see, with a reference. */
static struct job *next_job(const struct conn *c)
{
	struct jobs *all = c->server->jobs;
	struct job *j = job_next(all, c->status.job);

	while (j && (!may_see(c, j) || (c->status.only && c->status.only != j->id))) {
		uint64_t id = j->id;

		job_unref(all, j);
		j = job_next(all, id);
	}
	return j;
}

static bool send_job(struct conn *c)
{
	struct job *j = next_job(c);
	struct flp_status_job m;

	if (!j)
		return false;
	c->status.job = j->id;
	c->status.session = 0;
	job_status(j, &m);
	job_unref(c->server->jobs, j);
	conn_send(c, FLP_STATUS_JOB, c->status.cookie, &m);
	return true;
}

/* Records, until all have been sent or the peer has to read some first. */
static void produce_status(struct conn *c)
{
	if (!c->status.begun)
		send_daemon(c);
	c->status.begun = true;
	while (conn_has_room(c)) {
		if (send_session(c) || send_job(c))
			continue;
		c->produce = NULL;
		if (c->status.only && !c->status.job)
			conn_send_error(c, c->status.cookie, -ENOENT,
					"no such job, or not one of yours");
		else
			conn_send(c, FLP_OK, c->status.cookie, NULL);
		break;
	}
}

/* A library is told about the job that it is in, and of no other. */
static int own_job(struct request *rq, uint64_t *ret)
{
	struct conn *agent = find_agent(rq->c);

	if (!agent)
		return refuse(rq, -ENOTCONN, "this process has no agent that is attached");
	*ret = agent->session->job->id;
	return 0;
}

static int on_status(struct request *rq)
{
	const struct flp_status *m = rq->body;
	uint64_t job = m->job;
	int r = rq->c->role == FLP_ROLE_LIBRARY ? own_job(rq, &job) : 0;

	if (r)
		return r;
	rq->c->status = (struct conn_status){ .cookie = rq->cookie, .only = job };
	rq->c->produce = produce_status;
	produce_status(rq->c);
	return 0;
}

/* ---- calls: reservations that wait ---- */

void calls_init(struct calls *cs, struct loop *loop)
{
	*cs = (struct calls){ .loop = loop };
	pthread_mutex_init(&cs->lock, NULL);
	STAILQ_INIT(&cs->reported);
}

void calls_fini(struct calls *cs)
{
	assert(!cs->n);
	pthread_mutex_destroy(&cs->lock);
}

/* Any thread, with the session's lock held. */
static void call_done(struct resv_request *req, int result)
{
	struct call *call = container_of(req, struct call, req);
	struct calls *cs = call->calls;

	pthread_mutex_lock(&cs->lock);
	call->result = result;
	call->reported = true;
	STAILQ_INSERT_TAIL(&cs->reported, call, reported_link);
	pthread_mutex_unlock(&cs->lock);
	loop_wake(cs->loop);
}

static void call_free(struct call *call)
{
	assert(!call->timer.loop);
	call->calls->n--;
	free(call);
}

/* Answer it, or not: it is in no queue and on no list. Freed now, or when its timer comes back. */
static void call_end(struct call *call)
{
	call->answered = true;
	if (call->conn) {
		TAILQ_REMOVE(&call->conn->calls, call, link);
		call->conn->n_calls--;
		call->conn = NULL;
	}
	if (call->timer.loop)
		loop_cancel(call->timer.loop, &call->timer);
	else
		call_free(call);
}

static void call_answer(struct call *call)
{
	int result = call->result;

	if (!call->conn || call->conn->state == CONN_CLOSING)
		return;
	if (result == -ETIMEDOUT && call->try)
		result = -EBUSY;
	if (result)
		conn_send_error(call->conn, call->cookie, result, NULL);
	else
		conn_send(call->conn, FLP_OK, call->cookie, NULL);
}

void calls_deliver(struct calls *cs)
{
	STAILQ_HEAD(, call) now = STAILQ_HEAD_INITIALIZER(now);
	struct call *call;

	pthread_mutex_lock(&cs->lock);
	STAILQ_CONCAT(&now, &cs->reported);
	pthread_mutex_unlock(&cs->lock);
	while ((call = STAILQ_FIRST(&now))) {
		STAILQ_REMOVE_HEAD(&now, reported_link);
		call_answer(call);
		call_end(call);
	}
}

/* Take it out of the queue that it stands in, if it still does. The answer comes by call_done(). */
static void call_cancel(struct call *call, int result)
{
	bool reported;

	pthread_mutex_lock(&call->calls->lock);
	reported = call->reported;
	pthread_mutex_unlock(&call->calls->lock);
	if (reported)
		return;		/* and its session may be gone */
	pthread_mutex_lock(&call->session->lock);
	resv_cancel(&call->req, result);
	pthread_mutex_unlock(&call->session->lock);
}

static void call_timed_out(struct loop_op *op, int result, bool more)
{
	struct call *call = container_of(op, struct call, timer);

	if (call->answered)
		call_free(call);
	else if (result >= 0)
		call_cancel(call, -ETIMEDOUT);
}

static struct call *call_new(struct request *rq, struct session *s, const struct flp_reserve *m)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->req = (struct resv_request){ .done = call_done, .holder = rq->c, .tid = m->tid };
	call->calls = &rq->server->calls;
	call->conn = rq->c;
	call->session = s;
	call->cookie = rq->cookie;
	call->try = m->timeout_ns == 0;
	call->timer = (struct loop_op){ .done = call_timed_out, .name = "call.timer" };
	call->calls->n++;
	TAILQ_INSERT_TAIL(&rq->c->calls, call, link);
	rq->c->n_calls++;
	return call;
}

static void call_start_timer(struct call *call, int64_t timeout_ns)
{
	/* Without memory for a timer it has timed out at once. */
	if (timeout_ns >= 0 && loop_timer(call->calls->loop, &call->timer, (uint64_t)timeout_ns))
		call_cancel(call, -ETIMEDOUT);
}

/* ---- the library ---- */

static int find_session(struct request *rq, struct session **ret)
{
	struct conn *agent = find_agent(rq->c);

	if (!agent) {
		refuse(rq, -ENOTCONN, "this process has no agent that is attached");
		return -ENOTCONN;
	}
	*ret = agent->session;
	return 0;
}

typedef int (*reserve_fn)(struct session *s, const struct flp_reserve *m, struct resv_request *req);

static int do_reserve(struct request *rq, reserve_fn fn)
{
	const struct flp_reserve *m = rq->body;
	struct session *s;
	struct call *call;
	int r;

	r = find_session(rq, &s);
	if (r)
		return r;
	if (rq->c->n_calls >= CALLS_MAX)
		return refuse(rq, -EAGAIN, "%d calls of this connection wait already", CALLS_MAX);
	call = call_new(rq, s, m);
	if (!call)
		return -ENOMEM;
	r = fn(s, m, &call->req);
	if (r == RESV_WAITS) {
		call_start_timer(call, m->timeout_ns);
		return 0;
	}
	call_end(call);
	if (!r)
		ok(rq);
	return r;
}

static int on_reserve(struct request *rq)
{
	return do_reserve(rq, session_reserve);
}

static int on_wait_unreserved(struct request *rq)
{
	return do_reserve(rq, session_wait_unreserved);
}

static int on_unreserve(struct request *rq)
{
	struct session *s;
	int r = find_session(rq, &s);

	if (!r)
		r = session_unreserve(s, rq->body, rq->c);
	if (!r)
		ok(rq);
	return r;
}

static int on_advise(struct request *rq)
{
	struct session *s;
	int r = find_session(rq, &s);

	if (!r)
		r = session_advise(s, rq->body);
	if (!r)
		ok(rq);
	return r;
}

static int on_range_stat(struct request *rq)
{
	struct flp_range_status st = { 0 };
	struct session *s;
	int r = find_session(rq, &s);

	if (!r)
		r = session_range_status(s, rq->body, &st);
	if (!r)
		conn_send(rq->c, FLP_RANGE_STATUS, rq->cookie, &st);
	return r;
}

/* ---- the table ---- */

#define NOBODY_YET	(1u << 0)
#define AGENT		(1u << FLP_ROLE_AGENT)
#define LIBRARY		(1u << FLP_ROLE_LIBRARY)
#define CONTROL		(1u << FLP_ROLE_CONTROL)

static const struct {
	unsigned int roles;
	bool vital;		/* a connection where this failed is of no use */
	int (*fn)(struct request *rq);
} handlers[] = {
	[FLP_HELLO]		= { NOBODY_YET, true, on_hello },
	[FLP_ATTACH]		= { AGENT, true, on_attach },
	[FLP_JOB_CREATE]	= { CONTROL, false, on_job_create },
	[FLP_STATUS]		= { CONTROL | LIBRARY, false, on_status },
	[FLP_RESERVE]		= { LIBRARY, false, on_reserve },
	[FLP_UNRESERVE]		= { LIBRARY, false, on_unreserve },
	[FLP_WAIT_UNRESERVED]	= { LIBRARY, false, on_wait_unreserved },
	[FLP_ADVISE]		= { LIBRARY, false, on_advise },
	[FLP_RANGE_STAT]	= { LIBRARY, false, on_range_stat },
};

bool request_takes_fds(const struct conn *c)
{
	if (c->state != CONN_READY)
		return false;
	return (c->role == FLP_ROLE_AGENT && !c->attached) || (c->role == FLP_ROLE_CONTROL && !c->job);
}

void request_garbage(struct conn *c, uint32_t cookie, int error, const char *why)
{
	uint32_t more;

	if (log_limit(&c->server->garbage_limit, &more))
		log_warnx("client %" PRIu64 " pid %d uid %u dropped: it sent %s (%u more like it)",
			  c->id, (int)c->peer.pid, (unsigned int)c->peer.uid, why, more);
	conn_send_error(c, cookie, error, why);
	conn_close(c, "it broke the protocol");
}

/* The version that a peer speaks stands in each header, and in its HELLO. */
static void version_mismatch(struct conn *c, const void *msg, size_t len)
{
	const struct flp_header *h = msg;
	const struct flp_hello *hello = wire_body(msg);
	unsigned int theirs = h->version;
	char why[FLP_TEXT_SIZE];

	if (theirs == FLP_VERSION && len >= sizeof(*h) + sizeof(*hello))
		theirs = hello->version;
	snprintf(why, sizeof(why), "version %u of the protocol, but faultlined %s speaks version %d: "
		 "install both from one release", theirs, PACKAGE_VERSION, FLP_VERSION);
	request_garbage(c, h->cookie, -EPROTONOSUPPORT, why);
}

/* May it say that now? NULL, or why not. */
static const char *out_of_turn(const struct conn *c, unsigned int type)
{
	unsigned int role = c->state == CONN_HELLO ? NOBODY_YET : 1u << c->role;

	if (type >= ARRAY_SIZE(handlers) || !handlers[type].fn)
		return "a type that has no answer";
	if (handlers[type].roles & role)
		return NULL;
	if (c->state == CONN_HELLO)
		return "something before its HELLO";
	return type == FLP_HELLO ? "a second HELLO" : "a request that is not for its role";
}

static void act(struct conn *c, const struct flp_header *h, struct sock_fds *fds)
{
	struct request rq = {
		.c = c,
		.server = c->server,
		.cookie = h->cookie,
		.body = wire_body(h),
		.fds = fds,
	};
	int r = handlers[h->type].fn(&rq);

	if (!r)
		return;
	conn_send_error(c, h->cookie, r, rq.why);
	log_debug("client %" PRIu64 ": %s: %s", c->id, wire_name(h->type),
		  rq.why[0] ? rq.why : strerrordesc_np(-r));
	if (handlers[h->type].vital)
		conn_close(c, "it was refused");
}

void request_handle(struct conn *c, const void *msg, size_t len, struct sock_fds *fds)
{
	const struct flp_header *h = msg;
	uint32_t cookie = len >= sizeof(*h) ? h->cookie : 0;
	const char *why;
	int r;

	r = wire_check_why(msg, len, fds->n, WIRE_TO_DAEMON, &why);
	if (r == -EPROTONOSUPPORT) {
		version_mismatch(c, msg, len);
		return;
	}
	if (!r)
		why = out_of_turn(c, h->type);
	if (r || why)
		request_garbage(c, cookie, -EBADMSG, why);
	else
		act(c, h, fds);
}

/* ---- the end of a connection ---- */

/* Those of a library's connection that wait in this session, or all. */
static void cancel_calls(struct conn *c, const struct session *s)
{
	struct call *call;

	/* Answers come by way of the list of reports: nothing is removed from this one here. */
	TAILQ_FOREACH(call, &c->calls, link)
		if (call->session == s)
			call_cancel(call, -ESTALE);
}

static void end_agent(struct conn *c)
{
	struct conn *x;

	TAILQ_FOREACH(x, &c->server->conns, link)
		cancel_calls(x, c->session);
	session_close(c->session);
	c->session = NULL;
}

/* Nobody waits for the answers; those that have come already are freed when they are delivered. */
static void forget_calls(struct conn *c)
{
	struct call *call, *next;
	bool reported;

	TAILQ_FOREACH_SAFE(call, &c->calls, link, next) {
		pthread_mutex_lock(&call->calls->lock);
		reported = call->reported;
		pthread_mutex_unlock(&call->calls->lock);
		if (!reported) {
			call_end(call);
			continue;
		}
		TAILQ_REMOVE(&c->calls, call, link);
		c->n_calls--;
		call->conn = NULL;
	}
}

/* Out of the queues, and what it holds is let go: from here on no answer can come that has not come
 * yet. Looks at agents in any state: one whose end is near still has our calls in its session. */
static void end_library(struct conn *c)
{
	struct conn *x;

	TAILQ_FOREACH(x, &c->server->conns, link)
		if (x->attached && x->session && x->peer.pid == c->peer.pid)
			session_drop_holder(x->session, c);
	forget_calls(c);
}

void request_conn_ended(struct conn *c)
{
	c->produce = NULL;
	if (c->session)
		end_agent(c);
	if (c->role == FLP_ROLE_LIBRARY)
		end_library(c);
	c->job = job_unref(c->server->jobs, c->job);
}
