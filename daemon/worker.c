/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * worker.c - see worker.h.
 *
 * A visit to a session is always the same: its agent's reports, its events and faults, its victims, what
 * of it waits. Visits are made when a userfaultfd or a kick descriptor is readable, when somebody kicked,
 * and when a retry is due.
 *
 * A session's home is the CPU that most of its faults come from: on the faulting thread's own CPU an
 * answer costs a third of what it costs from another. Every few hundred faults the thread that faults is
 * looked up; when it was seen elsewhere twice in a row, the session moves there, at the end of a visit,
 * with none of its reads under way. The agent works on a CPU that is left.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/slice.h"
#include "daemon/ctl.h"
#include "daemon/fault.h"
#include "daemon/fill.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/reclaim.h"
#include "daemon/session.h"
#include "daemon/worker.h"

#define VOTE_EVERY	255
#define EVENTS		32
#define TAG_WAKE	1u
#define TAG_LOOP	2u
#define TAG_UFFD	1u		/* or'ed to a session's address */
#define TAG_KICK	2u
#define TAGS		3u

static __thread struct worker *self;

uint64_t worker_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void wake(struct worker *w)
{
	uint64_t one = 1;

	if (w != self && write(w->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);	/* it is awake as can be */
}

void worker_kick(struct session *s)
{
	struct worker *w;

	if (atomic_exchange(&s->kicked, true))
		return;
	w = __atomic_load_n(&s->home, __ATOMIC_ACQUIRE);
	pthread_mutex_lock(&w->lock);
	TAILQ_INSERT_TAIL(&w->kicks, s, kick_link);
	pthread_mutex_unlock(&w->lock);
	wake(w);
}

void worker_retry_at(struct worker *w, uint64_t ns)
{
	if (!w->retry_ns || ns < w->retry_ns)
		w->retry_ns = ns;
}

/* ---- homes ---- */

static int epoll_session(struct worker *w, struct session *s, int op)
{
	/* Told once: while the agent has the lock, events stay unread, and its kick says when to go on. */
	struct epoll_event uffd = {
		.events = EPOLLIN | EPOLLET, .data.u64 = (uintptr_t)s | TAG_UFFD,
	};
	struct epoll_event kick = { .events = EPOLLIN, .data.u64 = (uintptr_t)s | TAG_KICK };

	if (epoll_ctl(w->epfd, op, s->uffd, &uffd) < 0)
		return -errno;
	return epoll_ctl(w->epfd, op, s->kick_fd, &kick) < 0 ? -errno : 0;
}

/* The agent's work goes where the session's faults are not answered; with more CPUs than two, the
 * scheduler knows better. */
static void place_agent(struct session *s)
{
	struct workers *ws = s->workers;
	int cpu = -1;

	if (ws->n == 2)
		cpu = ws->w[s->home->index ^ 1].cpu;
	__atomic_store_n(&s->mem->agent_cpu, cpu, __ATOMIC_RELAXED);
}

int worker_add(struct worker *w, struct session *s)
{
	int r;

	s->home = w;
	__atomic_fetch_add(&w->n_sessions, 1, __ATOMIC_RELAXED);
	r = epoll_session(w, s, EPOLL_CTL_ADD);
	if (r) {
		__atomic_fetch_sub(&w->n_sessions, 1, __ATOMIC_RELAXED);
		return r;
	}
	place_agent(s);
	worker_kick(s);			/* its first visit puts it on the worker's own list */
	return 0;
}

static void leave(struct worker *w, struct session *s)
{
	epoll_session(w, s, EPOLL_CTL_DEL);
	if (s->listed)
		LIST_REMOVE(s, worker_link);
	s->listed = false;
	__atomic_fetch_sub(&w->n_sessions, 1, __ATOMIC_RELAXED);
}

void worker_remove(struct worker *w, struct session *s)
{
	leave(w, s);
	pthread_mutex_lock(&w->lock);
	if (atomic_exchange(&s->kicked, true))	/* from now on nobody can kick it */
		TAILQ_REMOVE(&w->kicks, s, kick_link);
	pthread_mutex_unlock(&w->lock);
}

static void move_home(struct worker *w, struct session *s)
{
	struct worker *to = s->move_to;

	s->move_to = NULL;
	if (!to || to == w || s->faults.n_reads)
		return;
	leave(w, s);
	__atomic_store_n(&s->home, to, __ATOMIC_RELEASE);
	__atomic_fetch_add(&to->n_sessions, 1, __ATOMIC_RELAXED);
	place_agent(s);
	if (epoll_session(to, s, EPOLL_CTL_ADD))
		log_warnx("session %llu: cannot watch its faults", (unsigned long long)s->id);
	worker_kick(s);
}

/* The CPU that a thread was last seen on, or -1. */
static int cpu_of(pid_t pid, uint32_t tid)
{
	char path[64], text[1024], *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%u/stat", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	p = strrchr(text, ')');
	for (int field = 2; p && field < 39; field++)
		p = strchr(p + 1, ' ');
	return p ? atoi(p) : -1;
}

void worker_vote(struct session *s, uint32_t tid)
{
	struct workers *ws = s->workers;
	int cpu;

	s->faults.cpu_votes = VOTE_EVERY;
	if (ws->n == 1)
		return;
	cpu = cpu_of(s->pid, tid);
	if (cpu < 0 || cpu == s->home->cpu) {
		s->cpu_seen = -1;
		return;
	}
	if (s->cpu_seen != cpu) {
		s->cpu_seen = cpu;
		return;
	}
	for (unsigned int i = 0; i < ws->n; i++)
		if (ws->w[i].cpu == cpu)
			s->move_to = &ws->w[i];
}

/* ---- visits ---- */

static void visit(struct worker *w, struct session *s)
{
	uint64_t count;

	if (s->home != w) {		/* it moved since it was kicked */
		worker_kick(s);
		return;
	}
	pthread_mutex_lock(&s->lock);
	if (s->state == SESSION_CLOSING) {
		bool done = session_finish(w, s);

		pthread_mutex_unlock(&s->lock);
		if (done)
			session_gone(s);
		return;
	}
	if (!s->listed) {
		LIST_INSERT_HEAD(&w->sessions, s, worker_link);
		s->listed = true;
	}
	if (s->kick_ready && read(s->kick_fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN);
	s->kick_ready = false;
	reclaim_reports(s);
	fault_serve(w, s);
	reclaim_continue(w, s);
	fault_run_ready(w, s);
	reclaim_pick(s);
	pthread_mutex_unlock(&s->lock);
	if (s->move_to)
		move_home(w, s);
}

static struct session *next_kick(struct worker *w)
{
	struct session *s;

	pthread_mutex_lock(&w->lock);
	s = TAILQ_FIRST(&w->kicks);
	if (s)
		TAILQ_REMOVE(&w->kicks, s, kick_link);
	pthread_mutex_unlock(&w->lock);
	if (s)
		atomic_store(&s->kicked, false);
	return s;
}

static bool has_kicks(struct worker *w)
{
	bool any;

	pthread_mutex_lock(&w->lock);
	any = !TAILQ_EMPTY(&w->kicks);
	pthread_mutex_unlock(&w->lock);
	return any;
}

/* Each session that was kicked before this round, once: a visit may kick again. */
static void visit_kicked(struct worker *w)
{
	struct session *s;
	unsigned int n = 0;

	pthread_mutex_lock(&w->lock);
	TAILQ_FOREACH(s, &w->kicks, kick_link)
		n++;
	pthread_mutex_unlock(&w->lock);
	while (n-- && (s = next_kick(w)))
		visit(w, s);
}

static void visit_due(struct worker *w)
{
	struct session *s, *next;

	if (!w->retry_ns || worker_now() < w->retry_ns)
		return;
	w->retry_ns = 0;
	for (s = LIST_FIRST(&w->sessions); s; s = next) {
		next = LIST_NEXT(s, worker_link);
		visit(w, s);
	}
}

static void dispatch(struct worker *w, const struct epoll_event *ev)
{
	struct session *s = (struct session *)(uintptr_t)(ev->data.u64 & ~(uint64_t)TAGS);
	uint64_t count;

	if (ev->data.u64 == TAG_WAKE) {
		if (read(w->wake_fd, &count, sizeof(count)) < 0)
			assert(errno == EAGAIN);
		return;
	}
	if (ev->data.u64 == TAG_LOOP) {
		if (loop_round(w->loop, 0))
			log_warnx("worker %u: its loop is broken", w->index);
		return;
	}
	if (ev->data.u64 & TAG_KICK)
		s->kick_ready = true;
	/* Through the list of kicks: a session with both descriptors ready is visited once, and one that
	 * is freed by a visit is not met again. */
	worker_kick(s);
}

static int wait_events(struct worker *w, struct epoll_event *ev)
{
	struct timespec ts = { 0, 0 }, *timeout = NULL;
	uint64_t now;

	if (has_kicks(w)) {
		timeout = &ts;
	} else if (w->retry_ns) {
		now = worker_now();
		if (w->retry_ns > now) {
			ts.tv_sec = (time_t)((w->retry_ns - now) / UINT64_C(1000000000));
			ts.tv_nsec = (long)((w->retry_ns - now) % UINT64_C(1000000000));
		}
		timeout = &ts;
	}
	return epoll_pwait2(w->epfd, ev, EVENTS, timeout, NULL);
}

/* The nice value of the process stays. */
void worker_short_slice(void)
{
	struct slice_attr attr = SLICE_ATTR;

	attr.nice = getpriority(PRIO_PROCESS, 0);
	syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct epoll_event ev[EVENTS];
	cpu_set_t set;

	self = w;
	prctl(PR_SET_TIMERSLACK, 1);	/* a retry is due in microseconds */
	CPU_ZERO(&set);
	CPU_SET(w->cpu, &set);
	worker_short_slice();
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		log_warn("worker %u: cannot run on CPU %d", w->index, w->cpu);
	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		int n = wait_events(w, ev);

		for (int i = 0; i < n; i++)
			dispatch(w, &ev[i]);
		visit_kicked(w);
		visit_due(w);
	}
	return NULL;
}

/* ---- start and end ---- */

static void worker_fini(struct worker *w)
{
	assert(TAILQ_EMPTY(&w->kicks) && LIST_EMPTY(&w->sessions));
	w->fill = fill_free(w->fill);
	w->loop = loop_free(w->loop);
	if (w->epfd >= 0)
		close(w->epfd);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	pthread_mutex_destroy(&w->lock);
}

static int worker_init(struct workers *ws, struct worker *w, unsigned int index, int cpu)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int r;

	*w = (struct worker){ .all = ws, .index = index, .cpu = cpu, .epfd = -1, .wake_fd = -1 };
	TAILQ_INIT(&w->kicks);
	LIST_INIT(&w->sessions);
	pthread_mutex_init(&w->lock, NULL);
	r = fill_new(&w->fill);
	if (!r)
		r = loop_new(&w->loop, 64);
	if (r)
		return r;
	w->epfd = epoll_create1(EPOLL_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epfd < 0 || w->wake_fd < 0)
		return -errno;
	ev.data.u64 = TAG_WAKE;
	if (epoll_ctl(w->epfd, EPOLL_CTL_ADD, w->wake_fd, &ev) < 0)
		return -errno;
	ev.data.u64 = TAG_LOOP;
	if (epoll_ctl(w->epfd, EPOLL_CTL_ADD, loop_fd(w->loop), &ev) < 0)
		return -errno;
	r = -pthread_create(&w->thread, NULL, worker_main, w);
	w->started = !r;
	return r;
}

int workers_start(struct workers *ws, unsigned int n)
{
	cpu_set_t set;
	int cpu = -1, r = 0;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -errno;
	if (!n || n > (unsigned int)CPU_COUNT(&set))
		n = (unsigned int)CPU_COUNT(&set);
	*ws = (struct workers){ .w = calloc(n, sizeof(*ws->w)) };
	if (!ws->w)
		return -ENOMEM;
	for (unsigned int i = 0; i < n && !r; i++) {
		do
			cpu++;
		while (!CPU_ISSET(cpu, &set));
		ws->n++;
		r = worker_init(ws, &ws->w[i], i, cpu);
	}
	if (r)
		workers_stop(ws);
	return r;
}

void workers_stop(struct workers *ws)
{
	for (unsigned int i = 0; i < ws->n; i++) {
		struct worker *w = &ws->w[i];

		__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
		if (w->started) {
			wake(w);
			pthread_join(w->thread, NULL);
		}
		worker_fini(w);
	}
	free(ws->w);
	*ws = (struct workers){ 0 };
}

struct worker *workers_pick(struct workers *ws)
{
	struct worker *best = &ws->w[0];

	for (unsigned int i = 1; i < ws->n; i++)
		if (__atomic_load_n(&ws->w[i].n_sessions, __ATOMIC_RELAXED) <
		    __atomic_load_n(&best->n_sessions, __ATOMIC_RELAXED))
			best = &ws->w[i];
	return best;
}
