/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loop.c - one thread's event loop: the round, timers, signals, and the io_uring engine.
 *
 * Everything but loop_wake() and loop_poke() happens on the loop's thread.
 *
 * Phases of a round, each working on what was there when it began, so that what a callback
 * starts or cancels waits for the next round and nobody is starved:
 *   1. queued operations go to the engine, and we wait
 *   2. completions, in order
 *   3. timers that are due, in order of their deadlines
 *   4. the wake callback
 *   5. what was deferred
 *
 * Timers are a binary heap, and one timerfd for the earliest of them: a descriptor, so that it
 * also ends the wait of an epoll set in which the loop is nested.
 *
 * io_uring. Operations are queued in a list of ours and turned into SQEs when the round submits
 * them, so a full submission queue is no error; cancellations likewise. Completions that did
 * not fit in the completion queue are kept by the kernel (IORING_FEAT_NODROP is required) and
 * fetched by the next look. The address of the operation is the user data.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <liburing.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/log.h"
#include "daemon/loop-engine.h"
#include "daemon/loop.h"

#define NS_PER_S INT64_C(1000000000)

STAILQ_HEAD(deferred_list, loop_deferred);

struct loop {
	const struct loop_engine *engine;
	void *impl;
	struct loop_op_list queued, ready;
	struct deferred_list deferred;
	unsigned int n_ops;		/* not IDLE, our own two left out */
	int broken;			/* -errno: of wake_op or timer_op */
	bool in_round;
	bool nested;			/* loop_fd() was called: nothing may wait for a round */

	struct loop_op wake_op, timer_op;
	int wake_fd, timer_fd;
	uint64_t armed_ns;		/* what timer_fd is set to; 0: nothing */
	struct loop_op **heap;		/* by deadline_ns; op->offset is its index */
	size_t n_heap, heap_room;

	void (*on_wake)(void *ctx);
	void *on_wake_ctx;
	bool woken;			/* atomic */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- lists ---- */

void loop_poke(struct loop *l)
{
	const uint64_t one = 1;

	while (write(l->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;		/* EAGAIN: it has been poked often enough */
}

/* Somebody outside of a round left something for the next one. */
static void poke_if_asleep(struct loop *l)
{
	if (l->nested && !l->in_round)
		loop_poke(l);
}

void loop_ready(struct loop_op *op, int result)
{
	op->result = result;
	op->state = LOOP_READY;
	TAILQ_INSERT_TAIL(&op->loop->ready, op, link);
}

/* Hand over what is queued. False: some of it has to wait for completions. */
static bool flush_queued(struct loop *l)
{
	struct loop_op *op;

	while ((op = TAILQ_FIRST(&l->queued))) {
		TAILQ_REMOVE(&l->queued, op, link);
		if (l->engine->start(l->impl, op) == -EBUSY) {
			TAILQ_INSERT_HEAD(&l->queued, op, link);
			return false;
		}
	}
	return true;
}

static void submit_now(struct loop *l)
{
	int r;

	flush_queued(l);
	r = l->engine->submit(l->impl);
	if (r)
		l->broken = r;
	if (!TAILQ_EMPTY(&l->ready) || !TAILQ_EMPTY(&l->queued) || !STAILQ_EMPTY(&l->deferred) ||
	    l->broken)
		loop_poke(l);
}

static void enqueue(struct loop *l, struct loop_op *op)
{
	op->state = LOOP_QUEUED;
	TAILQ_INSERT_TAIL(&l->queued, op, link);
}

static void begin(struct loop *l, struct loop_op *op, enum loop_kind kind, int fd)
{
	assert(!op->loop && op->done);
	op->loop = l;
	op->kind = kind;
	op->fd = fd;
	op->cancelled = false;
	op->events = 0;
	l->n_ops++;
}

static void begin_queued(struct loop *l, struct loop_op *op, enum loop_kind kind, int fd,
			 unsigned int events)
{
	begin(l, op, kind, fd);
	op->events = events;
	enqueue(l, op);
	if (l->nested && !l->in_round)
		submit_now(l);
}

/* ---- timers ---- */

static void heap_put(struct loop *l, size_t i, struct loop_op *op)
{
	l->heap[i] = op;
	op->offset = i;
}

static void heap_up(struct loop *l, size_t i, struct loop_op *op)
{
	for (; i; i = (i - 1) / 2) {
		struct loop_op *parent = l->heap[(i - 1) / 2];

		if (parent->deadline_ns <= op->deadline_ns)
			break;
		heap_put(l, i, parent);
	}
	heap_put(l, i, op);
}

static void heap_down(struct loop *l, size_t i, struct loop_op *op)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < l->n_heap &&
		    l->heap[child + 1]->deadline_ns < l->heap[child]->deadline_ns)
			child++;
		if (child >= l->n_heap || l->heap[child]->deadline_ns >= op->deadline_ns)
			break;
		heap_put(l, i, l->heap[child]);
		i = child;
	}
	heap_put(l, i, op);
}

static void heap_remove(struct loop *l, size_t i)
{
	struct loop_op *last = l->heap[--l->n_heap];

	if (i == l->n_heap)
		return;
	if (i && l->heap[(i - 1) / 2]->deadline_ns > last->deadline_ns)
		heap_up(l, i, last);
	else
		heap_down(l, i, last);
}

static int heap_make_room(struct loop *l)
{
	size_t room = l->heap_room ? 2 * l->heap_room : 16;
	struct loop_op **p;

	if (l->n_heap < l->heap_room)
		return 0;
	p = reallocarray(l->heap, room, sizeof(*p));
	if (!p)
		return -ENOMEM;
	l->heap = p;
	l->heap_room = room;
	return 0;
}

/* An alarm that comes too early does no harm, so only an earlier one sets the clock. */
static void arm(struct loop *l)
{
	struct itimerspec t = { 0 };
	uint64_t first;

	if (!l->n_heap)
		return;
	first = max(l->heap[0]->deadline_ns, UINT64_C(1));
	if (l->armed_ns && l->armed_ns <= first)
		return;
	t.it_value.tv_sec = (time_t)(first / NS_PER_S);
	t.it_value.tv_nsec = (long)(first % NS_PER_S);
	if (!timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &t, NULL))
		l->armed_ns = first;
	else
		l->broken = -errno;
}

static void timer_fd_ready(struct loop_op *op, int result, bool more)
{
	struct loop *l = container_of(op, struct loop, timer_op);
	uint64_t n;

	if (!more)
		l->broken = result;
	else if (read(l->timer_fd, &n, sizeof(n)) > 0)
		l->armed_ns = 0;
}

static void wake_fd_ready(struct loop_op *op, int result, bool more)
{
	struct loop *l = container_of(op, struct loop, wake_op);
	uint64_t n;

	if (!more)
		l->broken = result;
	else if (read(l->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		l->broken = -errno;
}

/* ---- the end of operations ---- */

static void finish(struct loop *l, struct loop_op *op, int result)
{
	if (loop_kind_polls(op->kind) && l->engine->forget)
		l->engine->forget(l->impl, op->fd);
	if (op->kind == LOOP_SIGNALS)
		close_fd(&op->fd);
	op->state = LOOP_IDLE;
	op->loop = NULL;
	if (op != &l->wake_op && op != &l->timer_op)
		l->n_ops--;
	op->done(op, result, false);
}

/* It was ready a moment ago; somebody else may have been faster. */
static int stream_io(struct loop_op *op)
{
	ssize_t n;

	do {
		if (op->kind == LOOP_STREAM_READ)
			n = read(op->fd, op->buf, op->len);
		else
			n = write(op->fd, op->buf, op->len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

static void tell_signals(struct loop_op *op)
{
	struct signalfd_siginfo info;

	while (!op->cancelled && read(op->fd, &info, sizeof(info)) == sizeof(info))
		op->done(op, (int)info.ssi_signo, true);
}

static void tell_more(struct loop *l, struct loop_op *op, int result)
{
	op->state = LOOP_RUNNING;
	if (op->kind == LOOP_SIGNALS)
		tell_signals(op);
	else
		op->done(op, result, true);

	if (op->cancelled)
		loop_ready(op, -ECANCELED);
	else
		enqueue(l, op);
}

static void deliver(struct loop *l, struct loop_op *op)
{
	int result = op->result;

	/* What a read or write has done cannot be undone; anything else can still be called off. */
	if (op->cancelled && op->kind != LOOP_READ && op->kind != LOOP_WRITE)
		result = -ECANCELED;

	if (result >= 0 && (op->kind == LOOP_STREAM_READ || op->kind == LOOP_STREAM_WRITE)) {
		result = stream_io(op);
		if (result == -EAGAIN) {
			enqueue(l, op);
			return;
		}
	}
	if (result >= 0 && (op->kind == LOOP_POLL_MULTI || op->kind == LOOP_SIGNALS))
		tell_more(l, op, result);
	else
		finish(l, op, result);
}

static void dispatch(struct loop *l, struct loop_op_list *list)
{
	struct loop_op *op;

	while ((op = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, op, link);
		deliver(l, op);
	}
}

static void dispatch_ready(struct loop *l)
{
	struct loop_op_list now = TAILQ_HEAD_INITIALIZER(now);

	TAILQ_CONCAT(&now, &l->ready, link);
	dispatch(l, &now);
}

static void dispatch_timers(struct loop *l)
{
	struct loop_op_list due = TAILQ_HEAD_INITIALIZER(due);
	uint64_t now = l->n_heap ? now_ns() : 0;

	while (l->n_heap && l->heap[0]->deadline_ns <= now) {
		struct loop_op *op = l->heap[0];

		heap_remove(l, 0);
		op->result = 0;
		op->state = LOOP_READY;
		TAILQ_INSERT_TAIL(&due, op, link);
	}
	dispatch(l, &due);
	arm(l);
}

static void dispatch_wake(struct loop *l)
{
	if (__atomic_exchange_n(&l->woken, false, __ATOMIC_ACQ_REL) && l->on_wake)
		l->on_wake(l->on_wake_ctx);
}

static void dispatch_deferred(struct loop *l)
{
	struct deferred_list now = STAILQ_HEAD_INITIALIZER(now);
	struct loop_deferred *d;

	STAILQ_CONCAT(&now, &l->deferred);
	while ((d = STAILQ_FIRST(&now))) {
		STAILQ_REMOVE_HEAD(&now, link);
		d->fn(d);
	}
}

/* ---- the round ---- */

int loop_round(struct loop *l, int64_t timeout_ns)
{
	int r;

	assert(!l->in_round);
	l->in_round = true;
	flush_queued(l);
	if (!TAILQ_EMPTY(&l->ready) || !STAILQ_EMPTY(&l->deferred) || l->broken)
		timeout_ns = 0;
	r = l->engine->wait(l->impl, timeout_ns);
	if (r)
		l->broken = r;

	dispatch_ready(l);
	dispatch_timers(l);
	dispatch_wake(l);
	dispatch_deferred(l);
	if (l->nested)
		submit_now(l);
	l->in_round = false;
	return l->broken;
}

int loop_fd(struct loop *l)
{
	if (!l->nested) {
		l->nested = true;
		if (!l->in_round)
			submit_now(l);
	}
	return l->engine->fd(l->impl);
}

const char *loop_engine(const struct loop *l)
{
	return l->engine->name;
}

/* ---- starting and calling off ---- */

int loop_poll(struct loop *l, struct loop_op *op, int fd, unsigned int events, bool multishot)
{
	begin_queued(l, op, multishot ? LOOP_POLL_MULTI : LOOP_POLL, fd, events);
	return 0;
}

static void begin_io(struct loop *l, struct loop_op *op, enum loop_kind kind, unsigned int events)
{
	/* Results are an int. */
	op->len = min(op->len, (size_t)INT32_MAX & ~FL_PAGE_MASK);
	begin_queued(l, op, kind, op->fd, events);
}

int loop_read(struct loop *l, struct loop_op *op, int fd, void *buf, size_t len, uint64_t offset)
{
	op->fd = fd;
	op->buf = buf;
	op->len = len;
	op->offset = offset;
	if (offset == LOOP_STREAM)
		begin_io(l, op, LOOP_STREAM_READ, POLLIN);
	else
		begin_io(l, op, LOOP_READ, 0);
	return 0;
}

int loop_write(struct loop *l, struct loop_op *op, int fd, const void *buf, size_t len, uint64_t offset)
{
	op->fd = fd;
	op->buf = (void *)(uintptr_t)buf;
	op->len = len;
	op->offset = offset;
	if (offset == LOOP_STREAM)
		begin_io(l, op, LOOP_STREAM_WRITE, POLLOUT);
	else
		begin_io(l, op, LOOP_WRITE, 0);
	return 0;
}

int loop_timer(struct loop *l, struct loop_op *op, uint64_t delay_ns)
{
	uint64_t deadline;
	int r;

	r = heap_make_room(l);
	if (r)
		return r;
	if (!add_checked(now_ns(), delay_ns, &deadline))
		deadline = UINT64_MAX;
	begin(l, op, LOOP_TIMER, -1);
	op->deadline_ns = min(deadline, (uint64_t)INT64_MAX);	/* what a timespec holds */
	op->state = LOOP_FLYING;
	heap_up(l, l->n_heap++, op);
	arm(l);
	return 0;
}

int loop_signals(struct loop *l, struct loop_op *op, const sigset_t *set)
{
	int fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	begin_queued(l, op, LOOP_SIGNALS, fd, POLLIN);
	return 0;
}

int loop_cancel(struct loop *l, struct loop_op *op)
{
	if (!op->loop)
		return -ENOENT;
	assert(op->loop == l);
	if (op->cancelled)
		return 0;

	op->cancelled = true;
	switch ((enum loop_state)op->state) {
	case LOOP_QUEUED:
		TAILQ_REMOVE(&l->queued, op, link);
		loop_ready(op, -ECANCELED);
		break;
	case LOOP_FLYING:
		if (op->kind == LOOP_TIMER) {
			heap_remove(l, op->offset);
			loop_ready(op, -ECANCELED);
		} else {
			l->engine->cancel(l->impl, op);
			if (l->nested && !l->in_round)
				submit_now(l);
		}
		break;
	case LOOP_READY:
	case LOOP_RUNNING:
	case LOOP_CANCELLING:
	case LOOP_IDLE:
		break;			/* deliver() and tell_more() look at cancelled */
	}
	poke_if_asleep(l);
	return 0;
}

void loop_defer(struct loop *l, struct loop_deferred *d)
{
	STAILQ_INSERT_TAIL(&l->deferred, d, link);
	poke_if_asleep(l);
}

void loop_on_wake(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	l->on_wake = fn;
	l->on_wake_ctx = ctx;
}

void loop_wake(struct loop *l)
{
	/* If it was set already, the round that clears it has not yet called back. */
	if (!__atomic_exchange_n(&l->woken, true, __ATOMIC_ACQ_REL))
		loop_poke(l);
}

/* ---- the io_uring engine ---- */

struct uring {
	struct io_uring ring;
	struct loop_op_list cancelling;
};

/* An empty SQE, after making room if need be. NULL: the kernel takes no more before completions
 * have been looked at. */
static struct io_uring_sqe *uring_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe && io_uring_submit(&u->ring) >= 0)
		sqe = io_uring_get_sqe(&u->ring);
	return sqe;
}

static int uring_start(void *engine, struct loop_op *op)
{
	struct uring *u = engine;
	struct io_uring_sqe *sqe = uring_sqe(u);

	if (!sqe)
		return -EBUSY;
	if (loop_kind_polls(op->kind))
		io_uring_prep_poll_add(sqe, op->fd, op->events);
	else if (op->kind == LOOP_READ)
		io_uring_prep_read(sqe, op->fd, op->buf, (unsigned int)op->len, op->offset);
	else
		io_uring_prep_write(sqe, op->fd, op->buf, (unsigned int)op->len, op->offset);
	io_uring_sqe_set_data(sqe, op);
	op->state = LOOP_FLYING;
	return 0;
}

static void uring_cancel(void *engine, struct loop_op *op)
{
	struct uring *u = engine;

	op->state = LOOP_CANCELLING;
	TAILQ_INSERT_TAIL(&u->cancelling, op, link);
}

/*
 * The kernel works through submissions in order, and the operation's address is not used again
 * before its own completion was seen: a cancellation cannot hit a later operation. Its own
 * completion has no user data and is passed over.
 */
static void uring_flush_cancels(struct uring *u)
{
	struct io_uring_sqe *sqe;
	struct loop_op *op;

	while ((op = TAILQ_FIRST(&u->cancelling))) {
		sqe = uring_sqe(u);
		if (!sqe)
			return;
		TAILQ_REMOVE(&u->cancelling, op, link);
		op->state = LOOP_FLYING;
		io_uring_prep_cancel(sqe, op, 0);
		io_uring_sqe_set_data(sqe, NULL);
	}
}

/* Errors that pass by themselves: a signal, memory, a completion queue that must be emptied. */
static int uring_error(int r)
{
	return r >= 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY || r == -ETIME ? 0 : r;
}

static int uring_submit(void *engine)
{
	struct uring *u = engine;

	uring_flush_cancels(u);
	return uring_error(io_uring_submit(&u->ring));
}

static void uring_reap(struct uring *u)
{
	struct io_uring_cqe *cqe;
	struct loop_op *op;
	int result;

	/* Not more than there may be in one round: the rest stays for the next. */
	for (unsigned int i = 0; i < *u->ring.cq.kring_entries; i++) {
		if (io_uring_peek_cqe(&u->ring, &cqe))
			return;
		op = io_uring_cqe_get_data(cqe);
		result = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		if (!op)
			continue;
		if (op->state == LOOP_CANCELLING)
			TAILQ_REMOVE(&u->cancelling, op, link);
		loop_ready(op, result);
	}
}

static int uring_wait(void *engine, int64_t timeout_ns)
{
	struct uring *u = engine;
	struct io_uring_cqe *cqe;
	int r;

	uring_flush_cancels(u);
	if (timeout_ns < 0) {
		r = io_uring_submit_and_wait(&u->ring, 1);
	} else if (!timeout_ns) {
		r = io_uring_submit(&u->ring);
	} else {
		struct __kernel_timespec t = {
			.tv_sec = timeout_ns / NS_PER_S,
			.tv_nsec = timeout_ns % NS_PER_S,
		};

		r = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &t, NULL);
	}
	uring_reap(u);
	return uring_error(r);
}

static int uring_fd(void *engine)
{
	struct uring *u = engine;

	return u->ring.ring_fd;
}

static void uring_free(void *engine)
{
	struct uring *u = engine;

	io_uring_queue_exit(&u->ring);
	free(u);
}

static bool uring_can(struct io_uring *ring)
{
	static const int needed[] = {
		IORING_OP_POLL_ADD, IORING_OP_READ, IORING_OP_WRITE, IORING_OP_ASYNC_CANCEL,
	};
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool can = probe != NULL;

	for (size_t i = 0; can && i < ARRAY_SIZE(needed); i++)
		can = io_uring_opcode_supported(probe, needed[i]);
	io_uring_free_probe(probe);
	return can;
}

static const struct loop_engine uring_engine = {
	.name = "io_uring",
	.start = uring_start,
	.cancel = uring_cancel,
	.submit = uring_submit,
	.wait = uring_wait,
	.fd = uring_fd,
	.free = uring_free,
};

static int uring_new(unsigned int entries, void **ret)
{
	const unsigned int features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
	struct io_uring_params params = { .flags = IORING_SETUP_CLAMP };
	_cleanup_free_ struct uring *u = NULL;
	int r;

	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	TAILQ_INIT(&u->cancelling);
	r = io_uring_queue_init_params(entries, &u->ring, &params);
	if (r)
		return r;
	/* A child must not submit for us, and our pages there would only be copied. */
	r = io_uring_ring_dontfork(&u->ring);
	if (!r && ((params.features & features) != features || !uring_can(&u->ring)))
		r = -EOPNOTSUPP;
	if (r) {
		io_uring_queue_exit(&u->ring);
		return r;
	}
	*ret = steal_ptr(&u);
	return 0;
}

/* ---- birth and death ---- */

static int choose_engine(struct loop *l, unsigned int entries)
{
	const char *forced = getenv("FAULTLINE_ENGINE");
	int r;

	if (forced && !*forced)
		forced = NULL;
	if (forced && strcmp(forced, "uring") && strcmp(forced, "threads"))
		return -EINVAL;

	if (!forced || !strcmp(forced, "uring")) {
		r = uring_new(entries, &l->impl);
		if (!r)
			l->engine = &uring_engine;
		if (!r || forced)
			return r;
	}
	return loop_threads_new(l, &l->engine, &l->impl);
}

/* The loop's own two polls do not keep it busy. */
static void begin_own(struct loop *l, struct loop_op *op, int fd, const char *name,
		      void (*done)(struct loop_op *op, int result, bool more))
{
	op->done = done;
	op->name = name;
	begin_queued(l, op, LOOP_POLL_MULTI, fd, POLLIN);
	l->n_ops--;
}

static struct loop *destroy(struct loop *l)
{
	if (l->engine)
		l->engine->free(l->impl);
	close_fd(&l->wake_fd);
	close_fd(&l->timer_fd);
	free(l->heap);
	free(l);
	return NULL;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	if (l->n_ops)
		fatalx("loop: freed with %u operations in flight", l->n_ops);
	return destroy(l);
}

DEFINE_CLEANUP(struct loop *, destroy);

int loop_new(struct loop **ret, unsigned int entries)
{
	_cleanup_(destroyp) struct loop *l = NULL;
	int r;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->wake_fd = l->timer_fd = -1;
	TAILQ_INIT(&l->queued);
	TAILQ_INIT(&l->ready);
	STAILQ_INIT(&l->deferred);

	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0)
		return -errno;
	l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->timer_fd < 0)
		return -errno;
	r = choose_engine(l, entries);
	if (r)
		return r;

	begin_own(l, &l->wake_op, l->wake_fd, "loop.wake", wake_fd_ready);
	begin_own(l, &l->timer_op, l->timer_fd, "loop.timer", timer_fd_ready);
	*ret = steal_ptr(&l);
	return 0;
}
