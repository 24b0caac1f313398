/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-loop.c - the event loop: every behaviour with both engines. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/loop.h"
#include "tests/harness.h"
#include "tests/unit/fail-alloc.h"

#define MS UINT64_C(1000000)
#define FOR_EVER -1

static struct loop *loop;

/* An operation that remembers what it was told. */
struct probe {
	struct loop_op op;
	int calls, finals, result;
	struct probe *cancels, *restarts;
	int restart_fd;
	char byte;
};

static int order[64], n_order;

static void probe_done(struct loop_op *op, int result, bool more)
{
	struct probe *p = container_of(op, struct probe, op);

	p->calls++;
	p->result = result;
	if (n_order < (int)ARRAY_SIZE(order))
		order[n_order++] = result;
	if (more) {
		t_assert(op->loop == loop);
	} else {
		t_assert(!op->loop);
		p->finals++;
	}
	if (p->cancels)
		t_ok(loop_cancel(loop, &p->cancels->op));
}

#define PROBE { .op = { .done = probe_done, .name = "probe" } }

static void begin(void)
{
	t_ok(loop_new(&loop, 8));
	n_order = 0;
}

static void end(void)
{
	loop = loop_free(loop);
}

static void rounds_until_done(const struct probe *p)
{
	while (!p->finals)
		t_ok(loop_round(loop, FOR_EVER));
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

static void make_pair(int fds[2])
{
	t_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
}

static void close_pair(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static void engine_is_the_one_that_was_asked_for(void)
{
	const char *asked = getenv("FAULTLINE_ENGINE");

	begin();
	t_streq(loop_engine(loop), !strcmp(asked, "uring") ? "io_uring" : "threads");
	end();
}

static void unknown_engine_is_refused(void)
{
	setenv("FAULTLINE_ENGINE", "steam", 1);
	t_fails(loop_new(&loop, 8), EINVAL);
}

static void free_of_nothing_is_fine(void)
{
	t_assert(!loop_free(NULL));
}

/* The harness sees what would be left open. */
static void every_failed_allocation_leaves_nothing_behind(void)
{
	unsigned int n = 0;
	int r;

	while (fail_alloc(n, loop_new(&loop, 8), &r)) {
		t_eq(r, -ENOMEM);
		n++;
	}
	t_ok(r);
	t_ge(n, 2);
	end();
}

static void one_shot_poll_ends_with_one_done(void)
{
	struct probe p = PROBE;
	int fds[2];

	begin();
	make_pair(fds);
	t_ok(loop_poll(loop, &p.op, fds[0], POLLIN, false));
	t_ok(loop_round(loop, 0));
	t_eq(p.calls, 0);
	t_sys(write(fds[1], "x", 1));
	rounds_until_done(&p);
	t_eq(p.calls, 1);
	t_assert(p.result & POLLIN);
	t_ok(loop_round(loop, 0));
	t_eq(p.calls, 1);
	close_pair(fds);
	end();
}

static void multishot_poll_tells_for_as_long_as_it_is_ready(void)
{
	struct probe p = PROBE;
	char c;
	int fds[2];

	begin();
	make_pair(fds);
	t_ok(loop_poll(loop, &p.op, fds[0], POLLIN, true));
	t_sys(write(fds[1], "x", 1));
	while (p.calls < 3)			/* nobody reads: still ready */
		t_ok(loop_round(loop, FOR_EVER));
	t_eq(p.finals, 0);
	t_sys(read(fds[0], &c, 1));
	t_ok(loop_round(loop, 0));		/* one may have been under way */
	p.calls = 0;
	t_ok(loop_round(loop, 0));
	t_eq(p.calls, 0);
	t_sys(write(fds[1], "x", 1));
	while (!p.calls)
		t_ok(loop_round(loop, FOR_EVER));

	t_ok(loop_cancel(loop, &p.op));
	rounds_until_done(&p);
	t_eq(p.result, -ECANCELED);
	close_pair(fds);
	end();
}

static void hangup_is_told(void)
{
	struct probe p = PROBE;
	int fds[2];

	begin();
	make_pair(fds);
	t_ok(loop_poll(loop, &p.op, fds[0], POLLIN, false));
	close(fds[1]);
	rounds_until_done(&p);
	t_assert(p.result & POLLHUP);
	close(fds[0]);
	end();
}

static void bad_descriptor_is_told_to_done(void)
{
	struct probe p = PROBE, q = PROBE;

	begin();
	t_ok(loop_poll(loop, &p.op, 1000, POLLIN, false));
	t_ok(loop_read(loop, &q.op, 1000, &q.byte, 1, 0));
	rounds_until_done(&p);
	rounds_until_done(&q);
	t_eq(p.result, -EBADF);
	t_eq(q.result, -EBADF);
	end();
}

static void two_polls_of_one_descriptor_are_apart(void)
{
	struct probe in = PROBE, out = PROBE;
	int fds[2];

	begin();
	make_pair(fds);
	t_ok(loop_poll(loop, &in.op, fds[0], POLLIN, false));
	t_ok(loop_poll(loop, &out.op, fds[0], POLLOUT, false));
	rounds_until_done(&out);
	t_eq(in.calls, 0);
	t_sys(write(fds[1], "x", 1));
	rounds_until_done(&in);
	t_assert(in.result & POLLIN);
	t_eq(out.calls, 1);
	close_pair(fds);
	end();
}

/* Closes its descriptor, and polls a new file that gets the same number. */
static void reuse_done(struct loop_op *op, int result, bool more)
{
	struct probe *p = container_of(op, struct probe, op);
	int fd = op->fd;

	p->finals++;
	if (p->restarts) {
		close(fd);
		t_eq(fcntl(p->restart_fd, F_DUPFD_CLOEXEC, fd), fd);
		t_ok(loop_poll(loop, &p->restarts->op, fd, POLLIN, false));
	}
}

static void number_of_a_closed_descriptor_can_be_used_again(void)
{
	struct probe p = PROBE, q = PROBE;
	int a[2], b[2];

	begin();
	make_pair(a);
	make_pair(b);
	p.op.done = reuse_done;
	p.restarts = &q;
	p.restart_fd = b[0];
	t_ok(loop_poll(loop, &p.op, a[0], POLLIN, false));
	t_sys(write(a[1], "x", 1));
	rounds_until_done(&p);
	t_ok(loop_round(loop, 0));
	t_eq(q.calls, 0);
	t_sys(write(b[1], "x", 1));
	rounds_until_done(&q);
	close_pair(a);
	close_pair(b);
	end();
}

static void file_is_written_and_read_at_offsets(void)
{
	struct probe p = PROBE, q = PROBE;
	char path[256], buf[8] = "";
	int fd;

	begin();
	snprintf(path, sizeof(path), "%s/file", t_tmpdir());
	fd = t_sys(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	t_ok(loop_write(loop, &p.op, fd, "abcdef", 6, 4096));
	rounds_until_done(&p);
	t_eq(p.result, 6);
	t_ok(loop_read(loop, &q.op, fd, buf, sizeof(buf), 4098));
	rounds_until_done(&q);
	t_eq(q.result, 4);
	t_memeq(buf, "cdef", 4);
	close(fd);
	end();
}

static void many_operations_more_than_the_queue_holds_all_end(void)
{
	enum { N = 200 };
	static struct probe p[N];
	char path[256];
	int fd, left = N;

	begin();			/* 8 entries */
	snprintf(path, sizeof(path), "%s/file", t_tmpdir());
	fd = t_sys(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	t_eq(t_sys(pwrite(fd, "z", 1, N - 1)), 1);
	for (int i = 0; i < N; i++) {
		p[i] = (struct probe)PROBE;
		t_ok(loop_read(loop, &p[i].op, fd, &p[i].byte, 1, (uint64_t)i));
	}
	while (left) {
		t_ok(loop_round(loop, FOR_EVER));
		left = N;
		for (int i = 0; i < N; i++)
			left -= p[i].finals;
	}
	for (int i = 0; i < N; i++) {
		t_eq(p[i].calls, 1);
		t_eq(p[i].result, 1);
	}
	t_eq(p[N - 1].byte, 'z');
	close(fd);
	end();
}

/* A result that comes while the loop is looking at another one must not be slept over. */
static void results_of_file_operations_are_never_slept_over(void)
{
	struct probe a = PROBE, b = PROBE;
	char path[256];
	int fd;

	begin();
	snprintf(path, sizeof(path), "%s/file", t_tmpdir());
	fd = t_sys(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	for (int i = 0; i < 5000; i++) {
		a.finals = b.finals = 0;
		t_ok(loop_read(loop, &a.op, fd, &a.byte, 1, 0));
		t_ok(loop_read(loop, &b.op, fd, &b.byte, 1, 0));
		rounds_until_done(&a);
		rounds_until_done(&b);
	}
	close(fd);
	end();
}

/* More completions at once than the completion queue (16 for 8 entries) holds. */
static void completions_more_than_the_queue_holds_all_arrive(void)
{
	enum { N = 100 };
	static struct probe p[N];
	int fds[2], left = N;

	begin();
	make_pair(fds);
	for (int i = 0; i < N; i++) {
		p[i] = (struct probe)PROBE;
		t_ok(loop_poll(loop, &p[i].op, fds[0], POLLIN, false));
	}
	t_ok(loop_round(loop, 0));
	t_sys(write(fds[1], "x", 1));
	while (left) {
		t_ok(loop_round(loop, FOR_EVER));
		left = N;
		for (int i = 0; i < N; i++)
			left -= p[i].finals;
	}
	close_pair(fds);
	end();
}

static void stream_is_read_when_it_has_something(void)
{
	struct probe p = PROBE, q = PROBE;
	char buf[8] = "";
	int fds[2];

	begin();
	t_sys(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
	t_ok(loop_read(loop, &p.op, fds[0], buf, sizeof(buf), LOOP_STREAM));
	t_ok(loop_round(loop, 0));
	t_eq(p.calls, 0);
	t_ok(loop_write(loop, &q.op, fds[1], "hello", 5, LOOP_STREAM));
	rounds_until_done(&p);
	t_eq(q.result, 5);
	t_eq(p.result, 5);
	t_memeq(buf, "hello", 5);
	close_pair(fds);
	end();
}

static void cancelled_operations_end_once_with_ecanceled(void)
{
	struct probe poll = PROBE, stream = PROBE, timer = PROBE, queued = PROBE;
	int fds[2];

	begin();
	make_pair(fds);
	t_fails(loop_cancel(loop, &poll.op), ENOENT);
	t_ok(loop_poll(loop, &poll.op, fds[0], POLLIN, false));
	t_ok(loop_read(loop, &stream.op, fds[0], &stream.byte, 1, LOOP_STREAM));
	t_ok(loop_timer(loop, &timer.op, 3600 * 1000 * MS));
	t_ok(loop_round(loop, 0));
	t_ok(loop_poll(loop, &queued.op, fds[0], POLLIN, true));

	t_ok(loop_cancel(loop, &poll.op));
	t_ok(loop_cancel(loop, &poll.op));
	t_ok(loop_cancel(loop, &stream.op));
	t_ok(loop_cancel(loop, &timer.op));
	t_ok(loop_cancel(loop, &queued.op));
	t_eq(poll.calls + stream.calls + timer.calls + queued.calls, 0);	/* never from cancel */
	rounds_until_done(&poll);
	rounds_until_done(&stream);
	rounds_until_done(&timer);
	rounds_until_done(&queued);
	t_ok(loop_round(loop, 0));
	t_eq(poll.calls + stream.calls + timer.calls + queued.calls, 4);
	t_eq(poll.result, -ECANCELED);
	t_eq(stream.result, -ECANCELED);
	t_eq(timer.result, -ECANCELED);
	t_eq(queued.result, -ECANCELED);
	close_pair(fds);
	end();
}

static void multishot_poll_may_cancel_itself_in_its_callback(void)
{
	struct probe p = PROBE;
	int fds[2];

	begin();
	make_pair(fds);
	p.cancels = &p;
	t_ok(loop_poll(loop, &p.op, fds[0], POLLIN, true));
	t_sys(write(fds[1], "x", 1));
	while (!p.calls)
		t_ok(loop_round(loop, FOR_EVER));
	p.cancels = NULL;
	rounds_until_done(&p);
	t_eq(p.calls, 2);
	t_eq(p.result, -ECANCELED);
	close_pair(fds);
	end();
}

static void callback_may_cancel_what_is_ready_in_the_same_round(void)
{
	struct probe a = PROBE, b = PROBE;
	int fds[2];

	begin();
	make_pair(fds);
	t_sys(write(fds[1], "x", 1));
	a.cancels = &b;
	b.cancels = NULL;
	t_ok(loop_poll(loop, &a.op, fds[0], POLLIN, false));
	t_ok(loop_poll(loop, &b.op, fds[0], POLLIN, false));
	rounds_until_done(&a);
	rounds_until_done(&b);
	t_eq(b.calls, 1);
	t_eq(b.result, -ECANCELED);
	close_pair(fds);
	end();
}

static void timers_come_in_order_and_not_early(void)
{
	static const int delay[] = { 30, 10, 20, 5, 40, 15 };
	static struct probe p[ARRAY_SIZE(delay)];
	uint64_t start;
	unsigned int done = 0;

	begin();
	start = now_ns();
	for (unsigned int i = 0; i < ARRAY_SIZE(delay); i++) {
		p[i] = (struct probe)PROBE;
		t_ok(loop_timer(loop, &p[i].op, (uint64_t)delay[i] * MS));
	}
	while (done < ARRAY_SIZE(delay)) {
		t_ok(loop_round(loop, FOR_EVER));
		done = 0;
		for (unsigned int i = 0; i < ARRAY_SIZE(delay); i++) {
			done += (unsigned int)p[i].finals;
			if (!p[i].finals)
				continue;
			t_eq(p[i].result, 0);
			t_ge(now_ns() - start, (uint64_t)delay[i] * MS);
			for (unsigned int j = 0; j < ARRAY_SIZE(delay); j++)
				t_assert(delay[j] > delay[i] || p[j].finals);
		}
	}
	end();
}

static void many_timers_added_and_cancelled_keep_their_order(void)
{
	enum { N = 300 };
	static struct probe p[N];
	int left = N;

	begin();
	for (int i = 0; i < N; i++) {
		p[i] = (struct probe)PROBE;
		t_ok(loop_timer(loop, &p[i].op, t_random_below(10 * MS)));
	}
	for (int i = 0; i < N; i += 3)
		t_ok(loop_cancel(loop, &p[i].op));
	while (left) {
		t_ok(loop_round(loop, FOR_EVER));
		left = N;
		for (int i = 0; i < N; i++)
			left -= p[i].finals;
	}
	for (int i = 0; i < N; i++) {
		t_eq(p[i].calls, 1);
		t_eq(p[i].result, i % 3 ? 0 : -ECANCELED);
	}
	end();
}

/* Starts itself again without delay. */
static void again_done(struct loop_op *op, int result, bool more)
{
	struct probe *p = container_of(op, struct probe, op);

	p->calls++;
	t_ok(loop_timer(loop, op, 0));
}

static void timer_that_restarts_itself_gets_one_call_a_round(void)
{
	struct probe p = PROBE;

	begin();
	p.op.done = again_done;
	t_ok(loop_timer(loop, &p.op, 0));
	for (int i = 0; i < 10; i++) {
		int before = p.calls;

		t_ok(loop_round(loop, FOR_EVER));
		t_le(p.calls - before, 1);
	}
	t_gt(p.calls, 0);
	p.op.done = probe_done;
	t_ok(loop_cancel(loop, &p.op));
	rounds_until_done(&p);
	end();
}

static void round_waits_no_longer_than_it_is_told(void)
{
	uint64_t start;

	begin();
	start = now_ns();
	t_ok(loop_round(loop, 20 * (int64_t)MS));
	t_ge(now_ns() - start, 1 * MS);		/* own descriptors may end it, time must */
	while (now_ns() - start < 20 * MS)
		t_ok(loop_round(loop, 5 * (int64_t)MS));
	end();
}

static void on_signal(struct loop_op *op, int signo, bool more)
{
	struct probe *p = container_of(op, struct probe, op);

	if (!more) {
		p->finals++;
		return;
	}
	p->calls++;
	p->result = signo;
}

static void signals_arrive_as_calls(void)
{
	struct probe p = PROBE;
	sigset_t set;

	begin();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	p.op.done = on_signal;
	t_ok(loop_signals(loop, &p.op, &set));
	kill(getpid(), SIGUSR1);
	while (p.calls < 1)
		t_ok(loop_round(loop, FOR_EVER));
	t_eq(p.result, SIGUSR1);
	t_ok(loop_round(loop, 0));
	kill(getpid(), SIGUSR2);
	while (p.calls < 2)
		t_ok(loop_round(loop, FOR_EVER));
	t_eq(p.result, SIGUSR2);
	t_ok(loop_cancel(loop, &p.op));
	rounds_until_done(&p);
	end();
}

static void on_alarm(int signo)
{
}

static void interrupting_signal_does_not_break_the_loop(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct probe p = PROBE;
	timer_t timer;
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec often = { .it_value.tv_nsec = 500000, .it_interval.tv_nsec = 500000 };

	begin();
	sigaction(SIGUSR1, &sa, NULL);
	t_sys(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	t_sys(timer_settime(timer, 0, &often, NULL));
	t_ok(loop_timer(loop, &p.op, 20 * MS));
	rounds_until_done(&p);
	t_eq(p.result, 0);
	timer_delete(timer);
	end();
}

/* ---- waking ---- */

static int n_woken;
static uint64_t sent, seen;		/* atomic */

static void on_wake(void *ctx)
{
	t_assert(ctx == &n_woken);
	n_woken++;
	seen = __atomic_load_n(&sent, __ATOMIC_ACQUIRE);
}

static void *wake_often(void *arg)
{
	for (uint64_t i = 1; i <= 20000; i++) {
		__atomic_store_n(&sent, i, __ATOMIC_RELEASE);
		loop_wake(loop);
	}
	return NULL;
}

static void no_wake_from_another_thread_is_lost(void)
{
	pthread_t t;

	begin();
	loop_on_wake(loop, on_wake, &n_woken);
	t_eq(pthread_create(&t, NULL, wake_often, NULL), 0);
	while (seen < 20000)
		t_ok(loop_round(loop, FOR_EVER));
	pthread_join(t, NULL);
	end();
}

static void wakes_are_one_call_a_round(void)
{
	begin();
	n_woken = 0;
	loop_on_wake(loop, on_wake, &n_woken);
	for (int i = 0; i < 5; i++)
		loop_wake(loop);
	t_ok(loop_round(loop, FOR_EVER));
	t_ok(loop_round(loop, 0));
	t_ok(loop_round(loop, 0));
	t_eq(n_woken, 1);
	end();
}

/* ---- deferring ---- */

static struct loop_deferred first, second;
static int n_first, n_second;

static void run_first(struct loop_deferred *d)
{
	n_first++;
	loop_defer(loop, &second);
}

static void run_second(struct loop_deferred *d)
{
	n_second++;
}

static void deferred_by_a_deferred_waits_for_the_next_round(void)
{
	begin();
	first.fn = run_first;
	second.fn = run_second;
	loop_defer(loop, &first);
	t_ok(loop_round(loop, FOR_EVER));	/* does not wait: there is something to do */
	t_eq(n_first, 1);
	t_eq(n_second, 0);
	t_ok(loop_round(loop, FOR_EVER));
	t_eq(n_second, 1);
	end();
}

/* ---- nested ---- */

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return t_sys(poll(&p, 1, timeout_ms)) == 1;
}

/* Rounds only when the descriptor says so, as in an epoll set. */
static void nested_until_done(int fd, const struct probe *p)
{
	while (!p->finals) {
		t_assert(readable(fd, 10000));
		t_ok(loop_round(loop, 0));
	}
}

static void nested_quiet(int fd)
{
	while (readable(fd, 0))
		t_ok(loop_round(loop, 0));
}

static void nested_loop_says_when_it_has_something_to_do(void)
{
	struct probe poll = PROBE, timer = PROBE, file = PROBE, cancelled = PROBE, multi = PROBE;
	char path[256];
	int fds[2], file_fd, fd;

	begin();
	make_pair(fds);
	snprintf(path, sizeof(path), "%s/file", t_tmpdir());
	file_fd = t_sys(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	t_sys(pwrite(file_fd, "q", 1, 0));
	t_ok(loop_poll(loop, &multi.op, fds[0], POLLIN, true));	/* before it is nested */
	fd = loop_fd(loop);
	nested_quiet(fd);

	t_ok(loop_timer(loop, &timer.op, 2 * MS));
	nested_until_done(fd, &timer);
	nested_quiet(fd);
	t_ok(loop_read(loop, &file.op, file_fd, &file.byte, 1, 0));
	nested_until_done(fd, &file);
	t_eq(file.byte, 'q');
	nested_quiet(fd);
	t_ok(loop_timer(loop, &cancelled.op, 3600 * 1000 * MS));
	nested_quiet(fd);
	t_ok(loop_cancel(loop, &cancelled.op));
	nested_until_done(fd, &cancelled);
	nested_quiet(fd);

	t_eq(multi.calls, 0);
	t_sys(write(fds[1], "x", 1));
	t_assert(readable(fd, 10000));
	t_ok(loop_round(loop, 0));
	t_eq(multi.calls, 1);
	t_assert(readable(fd, 10000));			/* still ready */
	t_sys(read(fds[0], &multi.byte, 1));
	nested_quiet(fd);
	t_ok(loop_poll(loop, &poll.op, fds[0], POLLIN, false));
	nested_quiet(fd);
	t_sys(write(fds[1], "x", 1));
	nested_until_done(fd, &poll);
	t_ok(loop_cancel(loop, &multi.op));
	nested_until_done(fd, &multi);

	first.fn = run_second;
	n_second = 0;
	nested_quiet(fd);
	loop_defer(loop, &first);
	t_assert(readable(fd, 10000));
	t_ok(loop_round(loop, 0));
	t_eq(n_second, 1);

	nested_quiet(fd);
	loop_on_wake(loop, on_wake, &n_woken);
	n_woken = 0;
	loop_wake(loop);
	t_assert(readable(fd, 10000));
	t_ok(loop_round(loop, 0));
	t_eq(n_woken, 1);
	close(file_fd);
	close_pair(fds);
	end();
}

/* What a callback starts in a nested round is on its way when the round is over. */
static void chain_done(struct loop_op *op, int result, bool more)
{
	struct probe *p = container_of(op, struct probe, op);

	p->calls++;
	if (p->calls < 5)
		t_ok(loop_poll(loop, op, p->restart_fd, POLLIN, false));
	else
		p->finals++;
}

static void nested_callback_may_start_more(void)
{
	struct probe p = PROBE;
	int fds[2], fd;

	begin();
	make_pair(fds);
	fd = loop_fd(loop);
	p.op.done = chain_done;
	p.restart_fd = fds[0];
	t_sys(write(fds[1], "x", 1));
	t_ok(loop_poll(loop, &p.op, fds[0], POLLIN, false));
	nested_until_done(fd, &p);
	t_eq(p.calls, 5);
	close_pair(fds);
	end();
}

static void loop_works_inside_of_a_loop(void)
{
	struct probe inner_timer = PROBE, outer_poll = PROBE;
	struct loop *outer, *inner;

	begin();
	inner = loop;
	t_ok(loop_timer(inner, &inner_timer.op, 2 * MS));
	t_ok(loop_new(&outer, 8));
	outer_poll.op.done = on_signal;		/* asks nothing of the loop */
	t_ok(loop_poll(outer, &outer_poll.op, loop_fd(inner), POLLIN, true));
	while (!inner_timer.finals) {
		t_ok(loop_round(outer, FOR_EVER));
		t_ok(loop_round(inner, 0));
	}
	t_ok(loop_cancel(outer, &outer_poll.op));
	while (!outer_poll.finals)
		t_ok(loop_round(outer, FOR_EVER));
	loop_free(outer);
	end();
}

/* ---- the table, once for each engine ---- */

#define TESTS(X)								\
	X(engine_is_the_one_that_was_asked_for)					\
	X(every_failed_allocation_leaves_nothing_behind)			\
	X(one_shot_poll_ends_with_one_done)					\
	X(multishot_poll_tells_for_as_long_as_it_is_ready)			\
	X(hangup_is_told)							\
	X(bad_descriptor_is_told_to_done)					\
	X(two_polls_of_one_descriptor_are_apart)				\
	X(number_of_a_closed_descriptor_can_be_used_again)			\
	X(file_is_written_and_read_at_offsets)					\
	X(many_operations_more_than_the_queue_holds_all_end)			\
	X(results_of_file_operations_are_never_slept_over)			\
	X(completions_more_than_the_queue_holds_all_arrive)			\
	X(stream_is_read_when_it_has_something)					\
	X(cancelled_operations_end_once_with_ecanceled)				\
	X(multishot_poll_may_cancel_itself_in_its_callback)			\
	X(callback_may_cancel_what_is_ready_in_the_same_round)			\
	X(timers_come_in_order_and_not_early)					\
	X(many_timers_added_and_cancelled_keep_their_order)			\
	X(timer_that_restarts_itself_gets_one_call_a_round)			\
	X(round_waits_no_longer_than_it_is_told)				\
	X(signals_arrive_as_calls)						\
	X(interrupting_signal_does_not_break_the_loop)				\
	X(no_wake_from_another_thread_is_lost)					\
	X(wakes_are_one_call_a_round)						\
	X(deferred_by_a_deferred_waits_for_the_next_round)			\
	X(nested_loop_says_when_it_has_something_to_do)				\
	X(nested_callback_may_start_more)					\
	X(loop_works_inside_of_a_loop)

/* A kernel or a sandbox may refuse io_uring: then that half cannot be tested here. */
static void use(const char *engine)
{
	struct loop *l;
	int r;

	setenv("FAULTLINE_ENGINE", engine, 1);
	r = loop_new(&l, 8);
	if (r == -ENOSYS || r == -EPERM || r == -EOPNOTSUPP)
		t_skip("no io_uring here: %s", strerror(-r));
	t_ok(r);
	loop_free(l);
}

#define DEFINE(name)								\
	static void uring_##name(void) { use("uring"); name(); }		\
	static void threads_##name(void) { use("threads"); name(); }
TESTS(DEFINE)

#define URING(test)	{ .name = #test, .fn = uring_##test },
#define THREADS(test)	{ .name = #test, .fn = threads_##test },
static const struct t_test uring_tests[] = { TESTS(URING) {0} };
static const struct t_test threads_tests[] = { TESTS(THREADS) {0} };
static const struct t_test other_tests[] = {
	T(unknown_engine_is_refused),
	T(free_of_nothing_is_fine),
	{0}
};

static const struct t_suite suites[] = {
	{ "loop", other_tests },
	{ "loop-uring", uring_tests },
	{ "loop-threads", threads_tests },
	{0}
};

HARNESS_MAIN(suites)
