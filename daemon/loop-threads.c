/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loop-threads.c - the loop's engine for where there is no io_uring: epoll, and two threads for
 * the reads and writes of files, which epoll cannot wait for.
 *
 * epoll knows a descriptor once, an engine may have several polls of it: each descriptor has a
 * watch, a list of its polls, and is registered for what they want together. A poll that is
 * ready leaves the list, and a multishot one comes back before the next wait; so registrations
 * are brought up to date only then, and mostly turn out to be right already. The exception is
 * a poll that ends: its descriptor may be closed next, and its number mean another file.
 *
 * Threads. The watches belong to the loop's thread. todo and done belong to the lock; a worker
 * that adds to an empty done list pokes the loop. Workers are started with the first file
 * operation; if that fails it is done on the spot.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/gate.h"
#include "daemon/loop-engine.h"

#define N_WORKERS	2
#define MAX_EVENTS	64
#define NS_PER_S	INT64_C(1000000000)

struct watch {
	struct loop_op_list polls;
	unsigned int registered;	/* events that epoll knows; 0: nothing */
	int fd;
	bool dirty;			/* on threads.dirty */
	TAILQ_ENTRY(watch) link;
};
TAILQ_HEAD(watch_list, watch);

struct threads {
	struct loop *loop;
	int epoll_fd;
	struct watch **watch;		/* by descriptor */
	size_t n_watch;
	struct watch_list dirty;

	pthread_t worker[N_WORKERS];
	unsigned int n_workers;
	pthread_mutex_t lock;
	pthread_cond_t more;
	/* under lock */
	struct loop_op_list todo, done;
	bool stopping;
};

/* ---- watches ---- */

static void mark_dirty(struct threads *t, struct watch *w)
{
	if (!w->dirty)
		TAILQ_INSERT_TAIL(&t->dirty, w, link);
	w->dirty = true;
}

static struct watch *find_watch(struct threads *t, int fd)
{
	return fd >= 0 && (size_t)fd < t->n_watch ? t->watch[fd] : NULL;
}

static int grow(struct threads *t, int fd)
{
	size_t n = max((size_t)fd + 1, 2 * t->n_watch);
	struct watch **p;

	if ((size_t)fd < t->n_watch)
		return 0;
	p = reallocarray(t->watch, n, sizeof(*p));
	if (!p)
		return -ENOMEM;
	memset(p + t->n_watch, 0, (n - t->n_watch) * sizeof(*p));
	t->watch = p;
	t->n_watch = n;
	return 0;
}

static int get_watch(struct threads *t, int fd, struct watch **ret)
{
	struct watch *w = find_watch(t, fd);
	int r;

	if (fd < 0)
		return -EBADF;
	if (!w) {
		r = grow(t, fd);
		if (r)
			return r;
		w = calloc(1, sizeof(*w));
		if (!w)
			return -ENOMEM;
		w->fd = fd;
		TAILQ_INIT(&w->polls);
		t->watch[fd] = w;
	}
	*ret = w;
	return 0;
}

static void drop_watch(struct threads *t, struct watch *w)
{
	if (w->registered)
		epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);	/* fails if fd is closed */
	if (w->dirty)
		TAILQ_REMOVE(&t->dirty, w, link);
	t->watch[w->fd] = NULL;
	free(w);
}

/* All polls of the watch end with result. */
static void fail_polls(struct watch *w, int result)
{
	struct loop_op *op, *next;

	TAILQ_FOREACH_SAFE(op, &w->polls, link, next) {
		TAILQ_REMOVE(&w->polls, op, link);
		/* A file is always ready, says poll(2); epoll refuses to say even that. */
		if (result == -EPERM && op->kind != LOOP_POLL_MULTI)
			loop_ready(op, (int)op->events);
		else
			loop_ready(op, result);
	}
}

/* False: epoll refused, and the polls have been told. */
static bool sync_watch(struct threads *t, struct watch *w)
{
	struct epoll_event e = { .data.fd = w->fd };
	const struct loop_op *op;
	int r;

	TAILQ_FOREACH(op, &w->polls, link)
		e.events |= op->events;
	if (TAILQ_EMPTY(&w->polls)) {
		drop_watch(t, w);
		return true;
	}
	if (e.events == w->registered)
		return true;
	r = epoll_ctl(t->epoll_fd, w->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &e);
	if (!r) {
		w->registered = e.events;
		return true;
	}
	r = -errno;
	fail_polls(w, r);
	drop_watch(t, w);
	return false;
}

static bool sync_watches(struct threads *t)
{
	struct watch *w;
	bool all = true;

	while ((w = TAILQ_FIRST(&t->dirty))) {
		TAILQ_REMOVE(&t->dirty, w, link);
		w->dirty = false;
		if (!sync_watch(t, w))
			all = false;
	}
	return all;
}

static int start_poll(struct threads *t, struct loop_op *op)
{
	struct watch *w;
	int r;

	r = get_watch(t, op->fd, &w);
	if (r) {
		loop_ready(op, r);
		return 0;
	}
	op->state = LOOP_FLYING;
	TAILQ_INSERT_TAIL(&w->polls, op, link);
	mark_dirty(t, w);
	return 0;
}

static void threads_forget(void *engine, int fd)
{
	struct threads *t = engine;
	struct watch *w = find_watch(t, fd);

	if (w && TAILQ_EMPTY(&w->polls))
		drop_watch(t, w);
}

static void watch_ready(struct threads *t, const struct epoll_event *e)
{
	struct watch *w = find_watch(t, e->data.fd);
	struct loop_op *op, *next;

	if (!w)
		return;
	TAILQ_FOREACH_SAFE(op, &w->polls, link, next) {
		unsigned int events = e->events & (op->events | EPOLLERR | EPOLLHUP);

		if (!events)
			continue;
		TAILQ_REMOVE(&w->polls, op, link);
		mark_dirty(t, w);
		loop_ready(op, (int)events);
	}
}

/* ---- files ---- */

static int file_io(const struct loop_op *op)
{
	ssize_t n;

	do {
		if (op->kind == LOOP_READ)
			n = pread(op->fd, op->buf, op->len, (off_t)op->offset);
		else
			n = pwrite(op->fd, op->buf, op->len, (off_t)op->offset);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

static void *worker_main(void *arg)
{
	struct threads *t = arg;
	struct loop_op *op;
	bool first;

	pthread_setname_np(pthread_self(), "file-io");
	pthread_mutex_lock(&t->lock);
	for (;;) {
		while (!(op = TAILQ_FIRST(&t->todo)) && !t->stopping)
			pthread_cond_wait(&t->more, &t->lock);
		if (!op)
			break;
		TAILQ_REMOVE(&t->todo, op, link);
		pthread_mutex_unlock(&t->lock);
		if (op->kind == LOOP_READ)
			GATE(GATE_DAEMON_FILE_READ);
		op->result = file_io(op);
		pthread_mutex_lock(&t->lock);
		first = TAILQ_EMPTY(&t->done);
		TAILQ_INSERT_TAIL(&t->done, op, link);
		if (first)
			loop_poke(t->loop);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static bool have_workers(struct threads *t)
{
	sigset_t all, before;

	if (t->n_workers)
		return true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (t->n_workers < N_WORKERS &&
	       !pthread_create(&t->worker[t->n_workers], NULL, worker_main, t))
		t->n_workers++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return t->n_workers > 0;
}

static int start_file(struct threads *t, struct loop_op *op)
{
	if (!have_workers(t)) {
		loop_ready(op, file_io(op));
		return 0;
	}
	pthread_mutex_lock(&t->lock);
	op->state = LOOP_FLYING;
	TAILQ_INSERT_TAIL(&t->todo, op, link);
	pthread_cond_signal(&t->more);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

/*
 * True: there were some. The loop drains the eventfd that we poke after it has collected, and with
 * it the poke of what was done in between: so we look once more before each wait.
 */
static bool collect_done(struct threads *t)
{
	struct loop_op_list done = TAILQ_HEAD_INITIALIZER(done);
	struct loop_op *op;
	bool any;

	pthread_mutex_lock(&t->lock);
	TAILQ_CONCAT(&done, &t->done, link);
	pthread_mutex_unlock(&t->lock);
	any = !TAILQ_EMPTY(&done);
	while ((op = TAILQ_FIRST(&done))) {
		TAILQ_REMOVE(&done, op, link);
		loop_ready(op, op->result);
	}
	return any;
}

/* One that a worker has begun comes to its own end. */
static void cancel_file(struct threads *t, struct loop_op *op)
{
	struct loop_op *waiting;

	pthread_mutex_lock(&t->lock);
	TAILQ_FOREACH(waiting, &t->todo, link) {
		if (waiting == op)
			break;
	}
	if (waiting)
		TAILQ_REMOVE(&t->todo, op, link);
	pthread_mutex_unlock(&t->lock);
	if (waiting)
		loop_ready(op, -ECANCELED);
}

/* ---- the engine ---- */

static int threads_start(void *engine, struct loop_op *op)
{
	return loop_kind_polls(op->kind) ? start_poll(engine, op) : start_file(engine, op);
}

static void threads_cancel(void *engine, struct loop_op *op)
{
	struct threads *t = engine;
	struct watch *w;

	if (!loop_kind_polls(op->kind)) {
		cancel_file(t, op);
		return;
	}
	w = find_watch(t, op->fd);
	TAILQ_REMOVE(&w->polls, op, link);
	mark_dirty(t, w);
	loop_ready(op, -ECANCELED);
}

static int threads_submit(void *engine)
{
	sync_watches(engine);
	collect_done(engine);
	return 0;
}

static int wait_events(int epoll_fd, struct epoll_event *events, int64_t timeout_ns)
{
	struct timespec t = { .tv_sec = timeout_ns / NS_PER_S, .tv_nsec = timeout_ns % NS_PER_S };
	int64_t ms;
	int n;

	n = epoll_pwait2(epoll_fd, events, MAX_EVENTS, timeout_ns < 0 ? NULL : &t, NULL);
	if (n >= 0 || (errno != ENOSYS && errno != EPERM))
		return n;
	/* Before Linux 5.11, or under a filter that has not heard of it: milliseconds, rounded up. */
	ms = timeout_ns < 0 ? -1 : min(timeout_ns / 1000000 + !!(timeout_ns % 1000000),
				       (int64_t)INT32_MAX);
	return epoll_wait(epoll_fd, events, MAX_EVENTS, (int)ms);
}

static int threads_wait(void *engine, int64_t timeout_ns)
{
	struct threads *t = engine;
	struct epoll_event events[MAX_EVENTS];
	int n;

	if (!sync_watches(t))
		timeout_ns = 0;
	if (collect_done(t))
		timeout_ns = 0;
	n = wait_events(t->epoll_fd, events, timeout_ns);
	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < n; i++)
		watch_ready(t, &events[i]);
	collect_done(t);
	return 0;
}

static int threads_fd(void *engine)
{
	struct threads *t = engine;

	return t->epoll_fd;
}

static void threads_free(void *engine)
{
	struct threads *t = engine;

	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_broadcast(&t->more);
	pthread_mutex_unlock(&t->lock);
	while (t->n_workers)
		pthread_join(t->worker[--t->n_workers], NULL);

	for (size_t i = 0; i < t->n_watch; i++)
		free(t->watch[i]);
	free(t->watch);
	close_fd(&t->epoll_fd);
	pthread_cond_destroy(&t->more);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static const struct loop_engine threads_engine = {
	.name = "threads",
	.start = threads_start,
	.cancel = threads_cancel,
	.forget = threads_forget,
	.submit = threads_submit,
	.wait = threads_wait,
	.fd = threads_fd,
	.free = threads_free,
};

int loop_threads_new(struct loop *l, const struct loop_engine **ret, void **ret_engine)
{
	struct threads *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->loop = l;
	TAILQ_INIT(&t->dirty);
	TAILQ_INIT(&t->todo);
	TAILQ_INIT(&t->done);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->more, NULL);
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (t->epoll_fd < 0) {
		r = -errno;
		threads_free(t);
		return r;
	}
	*ret = &threads_engine;
	*ret_engine = t;
	return 0;
}
