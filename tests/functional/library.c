/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * library.c - libfaultline against a real daemon: memory beyond the budget, reservations that hold up
 * the faults of others, and what is left when something goes away.
 *
 * The test's process is the client. That a thread waits is seen where it can be seen (the daemon's
 * counters, the system call that it sleeps in), never by sleeping.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/align.h"
#include "include/faultline.h"
#include "tests/harness.h"
#include "tests/util-daemon.h"

#define MIB	((size_t)1 << 20)
#define PAGE	((size_t)4096)
#define BIG	(64 * MIB)
#define SMALL	(4 * MIB)
#define BUDGET	(16 * MIB)
#define SECOND	UINT64_C(1000000000)

static struct test_daemon d;
static struct faultline *ctx;

/* ---- the stage ---- */

static void connect_context(struct faultline **ret)
{
	t_ok(faultline_new(ret));
	t_ok(faultline_set_socket(*ret, d.socket));
	t_ok(faultline_set_job(*ret, d.token));
	t_ok(faultline_connect(*ret));
}

static void set_stage(void)
{
	struct flp_job_create job = daemon_job(BUDGET);

	daemon_start(&d, &job);
	connect_context(&ctx);
}

static void clear_stage(void)
{
	faultline_free(ctx);
	daemon_stop(&d);
}

static uint8_t *map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	t_assert(p != MAP_FAILED);
	return p;
}

static struct faultline_region *adopt(void *p, size_t len)
{
	struct faultline_region *r;

	t_ok(faultline_region_adopt(ctx, p, len, 0, &r));
	return r;
}

/* Half of each page is noise and half is not: pages that compress to about half. */
static uint64_t word(size_t i)
{
	uint64_t x = i * UINT64_C(0x9e3779b97f4a7c15);

	return i & 256 ? i / 512 : x ^ x >> 29;
}

static void write_pattern(uint8_t *p, size_t len)
{
	uint64_t *w = (uint64_t *)(void *)p;

	for (size_t i = 0; i < len / sizeof(*w); i++)
		w[i] = word(i);
}

static void check_pattern(const uint8_t *p, size_t len)
{
	const uint64_t *w = (const uint64_t *)(const void *)p;

	for (size_t i = 0; i < len / sizeof(*w); i++)
		if (w[i] != word(i))
			t_fail("word %zu is %#llx and not %#llx", i, (unsigned long long)w[i],
			       (unsigned long long)word(i));
}

static struct faultline_region_stat stat_of(struct faultline_region *r)
{
	struct faultline_region_stat st = { .size = sizeof(st) };

	t_ok(faultline_region_stat(r, &st));
	t_eq(st.bytes, st.resident + st.stored + st.moving + st.untouched);
	return st;
}

static struct faultline_stat job_stat(void)
{
	struct faultline_stat st = { .size = sizeof(st) };

	t_ok(faultline_stat(ctx, &st));
	return st;
}

static struct faultline_region *small_region(uint8_t **ret)
{
	*ret = map(SMALL);
	write_pattern(*ret, SMALL);
	return adopt(*ret, SMALL);
}

static void evict(struct faultline_region *r)
{
	t_until(stat_of(r).untouched == 0);	/* what was there has been found */
	t_ok(faultline_region_advise(r, 0, SMALL, FAULTLINE_ADVICE_EVICT));
	t_until(stat_of(r).stored == SMALL);
}

/* ---- threads ---- */

struct helper {
	pthread_t thread;
	_Atomic pid_t tid;
	_Atomic bool done;
	int result;
	int (*fn)(struct helper *h);
	struct faultline_region *region;
	const volatile uint8_t *touch;
	uint64_t timeout_ns;
	_Atomic unsigned int *order;	/* takes its number in the order of those that were served */
	unsigned int place;
};

static void *helper_main(void *arg)
{
	struct helper *h = arg;

	h->tid = gettid();
	h->result = h->fn(h);
	h->done = true;
	return NULL;
}

static void start(struct helper *h)
{
	t_eq(pthread_create(&h->thread, NULL, helper_main, h), 0);
	t_until(h->tid);
}

static void finish(struct helper *h)
{
	t_eq(pthread_join(h->thread, NULL), 0);
	t_assert(h->done);
}

/* Does it sleep in poll(2)? It has sent its request then. */
static bool waits_for_answer(const struct helper *h)
{
	char path[64], text[128] = "";
	int fd, nr;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)h->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	t_sys(fd);
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	if (sscanf(text, "%d", &nr) != 1)
		return false;
#ifdef SYS_poll
	if (nr == SYS_poll)
		return true;
#endif
	return nr == SYS_ppoll;
}

static int do_touch(struct helper *h)
{
	return *h->touch;
}

static int do_reserve(struct helper *h)
{
	int r = faultline_region_reserve_timed(h->region, h->timeout_ns);

	if (!r && h->order)
		h->place = ++*h->order;
	return r ? r : faultline_region_unreserve(h->region);
}

static int do_unreserve(struct helper *h)
{
	return faultline_region_unreserve(h->region);
}

static int do_try(struct helper *h)
{
	return faultline_region_try_reserve(h->region);
}

static int do_wait(struct helper *h)
{
	return faultline_region_wait_unreserved(h->region, h->timeout_ns);
}

/* What another thread gets to hear. */
static int in_thread(int (*fn)(struct helper *), struct faultline_region *r, uint64_t timeout_ns)
{
	struct helper h = { .fn = fn, .region = r, .timeout_ns = timeout_ns };

	start(&h);
	finish(&h);
	return h.result;
}

static uint64_t parked(void)
{
	return daemon_status(&d).c.faults[FLP_FAULT_PARKED];
}

/* ---- memory ---- */

static void data_of_four_times_the_budget_comes_back_as_it_was_written(void)
{
	struct faultline_region *r;
	struct faultline_stat st;
	uint8_t *p = map(BIG);

	set_stage();
	r = adopt(p, BIG);
	write_pattern(p, BIG);
	check_pattern(p, BIG);
	st = job_stat();
	t_eq(st.budget, BUDGET);
	t_eq(st.job, d.job);
	t_eq(st.sessions, 1);
	t_eq(st.state, FAULTLINE_JOB_ACTIVE);
	t_le(st.resident, BUDGET);
	t_ge(st.stored, BIG - BUDGET);
	t_ge(st.faults_zero, 1);
	t_ge(st.refaults, 1);
	t_ge(st.evicted, (BIG - BUDGET) / PAGE);
	t_eq(st.poisoned, 0);
	t_le(st.peak, BUDGET + BUDGET / 4);
	t_eq(stat_of(r).bytes, BIG);
	t_le(stat_of(r).resident, BUDGET);
	munmap(p, BIG);
	t_ok(faultline_region_release(r));
	clear_stage();
}

static void what_was_there_when_it_was_adopted_counts_as_resident(void)
{
	struct faultline_region *r;
	uint8_t *p = map(SMALL);

	set_stage();
	write_pattern(p, SMALL / 2);
	r = adopt(p, SMALL);
	t_until(stat_of(r).resident == SMALL / 2);
	t_eq(stat_of(r).untouched, SMALL / 2);
	check_pattern(p, SMALL / 2);
	t_eq(p[SMALL - 1], 0);
	clear_stage();
	munmap(p, SMALL);
}

static void only_what_is_adopted_is_managed(void)
{
	struct flp_status_session s;
	uint8_t *p = map(3 * SMALL);

	set_stage();
	write_pattern(p, 3 * SMALL);
	adopt(p + SMALL, SMALL);
	t_assert(daemon_session(&d, getpid(), &s));
	t_eq(s.n_regions, 1);
	t_eq(s.virtual_bytes, SMALL);
	clear_stage();
	munmap(p, 3 * SMALL);
}

static void what_is_evicted_on_request_comes_back_when_touched(void)
{
	struct faultline_region *r;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	evict(r);
	t_eq(stat_of(r).resident, 0);
	check_pattern(p, SMALL);
	t_until(stat_of(r).resident == SMALL);	/* a page can be read before it is written down */
	clear_stage();
	munmap(p, SMALL);
}

static void a_part_is_evicted_without_the_rest(void)
{
	struct faultline_region *r;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	t_until(stat_of(r).resident == SMALL);
	t_ok(faultline_region_advise(r, MIB, MIB, FAULTLINE_ADVICE_EVICT));
	t_until(stat_of(r).stored == MIB);
	t_eq(stat_of(r).resident, SMALL - MIB);
	t_ok(faultline_region_advise(r, MIB, MIB, FAULTLINE_ADVICE_WILLNEED));
	t_until(stat_of(r).resident == SMALL);
	check_pattern(p, SMALL);
	clear_stage();
	munmap(p, SMALL);
}

static void every_advice_is_taken(void)
{
	struct faultline_region *r;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	for (int advice = FAULTLINE_ADVICE_NORMAL; advice <= FAULTLINE_ADVICE_EVICT; advice++)
		t_ok(faultline_region_advise(r, 0, SMALL, advice));
	t_fails(faultline_region_advise(r, 0, SMALL, FAULTLINE_ADVICE_EVICT + 1), EINVAL);
	t_fails(faultline_region_advise(r, 0, SMALL, -1), EINVAL);
	t_fails(faultline_region_advise(r, 0, SMALL + PAGE, 0), EINVAL);
	t_fails(faultline_region_advise(r, SMALL, PAGE, 0), EINVAL);
	t_fails(faultline_region_advise(r, 1, PAGE, 0), EINVAL);
	t_fails(faultline_region_advise(r, 0, 1, 0), EINVAL);
	t_fails(faultline_region_advise(r, 0, 0, 0), EINVAL);
	t_fails(faultline_region_advise(r, SIZE_MAX & ~(PAGE - 1), 2 * PAGE, 0), EINVAL);
	check_pattern(p, SMALL);
	clear_stage();
	munmap(p, SMALL);
}

/* ---- what may be adopted ---- */

static int try_adopt(void *p, size_t len, uint64_t flags)
{
	struct faultline_region *r = (void *)&r;
	int e = faultline_region_adopt(ctx, p, len, flags, &r);

	if (e)
		t_assert(r == (void *)&r);
	return e;
}

static void what_is_not_private_anonymous_memory_is_refused(void)
{
	uint8_t *p = map(SMALL), *shared, *file;
	int fd;

	set_stage();
	shared = mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	t_assert(shared != MAP_FAILED);
	t_fails(try_adopt(shared, SMALL, 0), EINVAL);
	munmap(shared, SMALL);
	fd = t_sys(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	t_assert(file != MAP_FAILED);
	close(fd);
	t_fails(try_adopt(file, PAGE, 0), EINVAL);
	munmap(file, PAGE);
	t_fails(try_adopt((void *)((uintptr_t)&p & ~(PAGE - 1)), PAGE, 0), EINVAL);
	t_assert(strstr(faultline_error(ctx), "stack"));
	t_sys(mprotect(p + PAGE, PAGE, PROT_READ));
	t_fails(try_adopt(p, 2 * PAGE, 0), EINVAL);
	t_sys(munmap(p + 2 * PAGE, PAGE));
	t_fails(try_adopt(p + 2 * PAGE, 2 * PAGE, 0), EINVAL);
	t_fails(try_adopt(p + SMALL - PAGE, 2 * SMALL, 0), EINVAL);
	t_fails(try_adopt(p + 1, PAGE, 0), EINVAL);
	t_fails(try_adopt(p, PAGE + 1, 0), EINVAL);
	t_fails(try_adopt(p, 0, 0), EINVAL);
	t_fails(try_adopt(NULL, PAGE, 0), EINVAL);
	t_fails(try_adopt(p, PAGE, 1), EINVAL);
	t_fails(try_adopt(p, SIZE_MAX & ~(PAGE - 1), 0), EINVAL);
	t_fails(faultline_region_adopt(ctx, p, PAGE, 0, NULL), EINVAL);
	clear_stage();
	munmap(p, SMALL);
}

static void what_is_adopted_already_is_refused(void)
{
	uint8_t *p = map(SMALL);

	set_stage();
	adopt(p + PAGE, PAGE);
	t_fails(try_adopt(p, SMALL, 0), EBUSY);
	t_fails(try_adopt(p + PAGE, PAGE, 0), EBUSY);
	adopt(p, PAGE);
	adopt(p + 2 * PAGE, PAGE);
	clear_stage();
	munmap(p, SMALL);
}

/* The range goes to the daemon by way of the agent, calls on it by way of the connection. */
static void what_was_adopted_is_known_at_once(void)
{
	uint8_t *p = map(SMALL);

	set_stage();
	for (int i = 0; i < 300; i++) {
		struct faultline_region *r = adopt(p, SMALL);

		t_ok(faultline_region_try_reserve(r));
		t_ok(faultline_region_release(r));
	}
	clear_stage();
	munmap(p, SMALL);
}

/* ---- reservations ---- */

static void who_touches_a_reserved_page_waits_until_it_is_unreserved(void)
{
	struct helper h = { .fn = do_touch };
	uint64_t before;
	uint8_t *p;

	set_stage();
	h.region = small_region(&p);
	h.touch = p + 5 * PAGE;
	evict(h.region);
	t_ok(faultline_region_reserve(h.region));
	before = parked();
	start(&h);
	t_until(parked() > before);
	t_assert(!h.done);
	t_ok(faultline_region_unreserve(h.region));
	finish(&h);
	check_pattern(p, SMALL);
	clear_stage();
	munmap(p, SMALL);
}

static void the_holder_itself_does_not_wait(void)
{
	struct faultline_region *r;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	evict(r);
	t_ok(faultline_region_reserve(r));
	check_pattern(p, SMALL);
	t_ok(faultline_region_unreserve(r));
	clear_stage();
	munmap(p, SMALL);
}

static void a_reservation_is_given_up_by_any_thread_of_the_context(void)
{
	struct faultline_region *r;
	struct faultline *other;
	uint8_t *p;

	set_stage();
	connect_context(&other);		/* shares the agent, and nothing else */
	r = small_region(&p);
	t_fails(faultline_region_unreserve(r), EPERM);
	t_ok(faultline_region_reserve(r));
	t_ok(in_thread(do_unreserve, r, 0));
	t_fails(faultline_region_unreserve(r), EPERM);
	faultline_free(other);
	clear_stage();
	munmap(p, SMALL);
}

static void a_reserved_region_is_busy(void)
{
	struct faultline_region *r;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	t_ok(faultline_region_wait_unreserved(r, FAULTLINE_FOREVER));
	t_ok(faultline_region_try_reserve(r));
	t_fails(faultline_region_try_reserve(r), EDEADLK);
	t_fails(faultline_region_reserve(r), EDEADLK);
	t_fails(faultline_region_wait_unreserved(r, FAULTLINE_FOREVER), EDEADLK);
	t_fails(in_thread(do_try, r, 0), EBUSY);
	t_fails(in_thread(do_reserve, r, 0), ETIMEDOUT);
	t_fails(in_thread(do_reserve, r, 1000000), ETIMEDOUT);
	t_fails(in_thread(do_wait, r, 0), ETIMEDOUT);
	t_fails(in_thread(do_wait, r, 1000000), ETIMEDOUT);
	t_ok(faultline_region_unreserve(r));
	t_ok(in_thread(do_reserve, r, 0));
	clear_stage();
	munmap(p, SMALL);
}

static void waiters_are_served_in_the_order_they_came(void)
{
	struct helper h[4] = { { .fn = do_reserve } };
	struct faultline_region *r;
	_Atomic unsigned int order = 0;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	t_ok(faultline_region_reserve(r));
	for (size_t i = 0; i < ARRAY_SIZE(h); i++) {
		h[i] = (struct helper){
			.fn = do_reserve, .region = r, .timeout_ns = i % 2 ? FAULTLINE_FOREVER : 20 * SECOND,
			.order = &order,
		};
		start(&h[i]);
		t_until(waits_for_answer(&h[i]));
	}
	t_ok(faultline_region_unreserve(r));
	for (size_t i = 0; i < ARRAY_SIZE(h); i++) {
		finish(&h[i]);
		t_eq(h[i].result, 0);
		t_eq(h[i].place, i + 1);
	}
	clear_stage();
	munmap(p, SMALL);
}

static void who_waits_for_the_end_of_a_reservation_holds_nothing(void)
{
	struct helper h = { .fn = do_wait, .timeout_ns = FAULTLINE_FOREVER };
	uint8_t *p;

	set_stage();
	h.region = small_region(&p);
	t_ok(faultline_region_reserve(h.region));
	start(&h);
	t_until(waits_for_answer(&h));
	t_ok(faultline_region_unreserve(h.region));
	finish(&h);
	t_eq(h.result, 0);
	t_ok(faultline_region_try_reserve(h.region));
	clear_stage();
	munmap(p, SMALL);
}

static void a_context_that_is_freed_gives_up_what_it_holds(void)
{
	struct faultline *other;
	struct faultline_region *r;
	uint8_t *p;

	set_stage();
	connect_context(&other);
	p = map(SMALL);
	t_ok(faultline_region_adopt(other, p, SMALL, 0, &r));
	t_ok(faultline_region_reserve(r));
	faultline_free(other);			/* and its region: p is free to be adopted again */
	r = adopt(p, SMALL);
	t_ok(faultline_region_try_reserve(r));
	clear_stage();
	munmap(p, SMALL);
}

/* The sleeper's own page fault waits for a reservation of ours: it must not be needed by anybody. */
static const volatile uint8_t *handler_touch;
static _Atomic int handled;

static void touch_in_handler(int sig)
{
	handled = 1 + *handler_touch % 2;
}

static void a_thread_that_is_stopped_in_its_handler_holds_up_nobody(void)
{
	struct sigaction sa = { .sa_handler = touch_in_handler };
	struct helper h = { .fn = do_reserve, .timeout_ns = FAULTLINE_FOREVER };
	struct faultline_region *r;
	uint8_t *p, *q;
	uint64_t before;

	set_stage();
	r = small_region(&p);
	h.region = small_region(&q);
	evict(r);
	t_ok(faultline_region_reserve(r));
	t_ok(faultline_region_reserve(h.region));
	start(&h);
	t_until(waits_for_answer(&h));
	t_sys(sigaction(SIGUSR1, &sa, NULL));
	handler_touch = p;
	before = parked();
	pthread_kill(h.thread, SIGUSR1);
	t_until(parked() > before);
	t_assert(!handled);

	t_eq(stat_of(r).stored, SMALL);		/* answered, with the other thread where it is */
	t_ok(faultline_region_unreserve(h.region));
	t_ok(in_thread(do_try, h.region, 0) == -EBUSY ? 0 : -1);	/* it is h's now */
	t_ok(faultline_region_unreserve(r));
	finish(&h);
	t_eq(h.result, 0);
	t_assert(handled);
	clear_stage();
	munmap(p, SMALL);
	munmap(q, SMALL);
}

#define ROUNDS 200

static int add_up(struct helper *h)
{
	volatile uint64_t *sum = (volatile uint64_t *)(uintptr_t)h->touch;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		int r = faultline_region_reserve(h->region);

		if (r)
			return r;
		*sum = *sum + 1;
		r = faultline_region_unreserve(h->region);
		if (r)
			return r;
	}
	return 0;
}

static void many_threads_reserve_one_after_the_other(void)
{
	struct helper h[8];
	struct faultline_region *r;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	*(uint64_t *)(void *)p = 0;
	for (size_t i = 0; i < ARRAY_SIZE(h); i++) {
		h[i] = (struct helper){ .fn = add_up, .region = r, .touch = p };
		start(&h[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(h); i++) {
		finish(&h[i]);
		t_eq(h[i].result, 0);
	}
	t_eq(*(uint64_t *)(void *)p, ROUNDS * ARRAY_SIZE(h));
	clear_stage();
	munmap(p, SMALL);
}

/* ---- letting go ---- */

static void what_is_released_is_all_there_and_ordinary_memory(void)
{
	struct flp_status_session s;
	struct faultline_region *r;
	unsigned char in_core[SMALL / PAGE];
	int status;
	pid_t pid;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	evict(r);
	t_ok(faultline_region_release(r));
	t_sys(mincore(p, SMALL, in_core));
	for (size_t i = 0; i < SMALL / PAGE; i++)
		t_eq(in_core[i] & 1, 1);
	t_until(daemon_session(&d, getpid(), &s) && s.n_regions == 0);
	check_pattern(p, SMALL);
	/* A fork copies it: it is not marked any more. */
	pid = t_sys(fork());
	if (!pid) {
		check_pattern(p, SMALL);
		_exit(0);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	t_eq(status, 0);
	t_ok(faultline_region_release(adopt(p, SMALL)));
	check_pattern(p, SMALL);
	clear_stage();
	munmap(p, SMALL);
}

static void a_child_has_the_contents_and_no_context(void)
{
	struct faultline_region *r, *x;
	struct faultline_stat st = { .size = sizeof(st) };
	int status;
	uint8_t *p;
	pid_t pid;

	set_stage();
	r = small_region(&p);
	evict(r);
	pid = t_sys(fork());
	if (!pid) {
		check_pattern(p, SMALL);
		t_fails(faultline_stat(ctx, &st), ECHILD);
		t_fails(faultline_region_reserve(r), ECHILD);
		t_fails(faultline_region_adopt(ctx, p, SMALL, 0, &x), ECHILD);
		t_fails(faultline_connect(ctx), ECHILD);
		t_assert(strstr(faultline_error(ctx), "forked"));
		faultline_free(ctx);
		connect_context(&ctx);		/* one of its own is another matter */
		evict(adopt(p, SMALL));
		check_pattern(p, SMALL);
		faultline_free(ctx);
		_exit(0);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	t_eq(status, 0);
	check_pattern(p, SMALL);
	evict(r);				/* goes on as before */
	check_pattern(p, SMALL);
	clear_stage();
	munmap(p, SMALL);
}

static void a_daemon_that_stops_leaves_everything_in_place(void)
{
	struct faultline_stat st = { .size = sizeof(st) };
	struct faultline_region *r;
	uint8_t *p;

	set_stage();
	r = small_region(&p);
	evict(r);
	daemon_stop(&d);
	check_pattern(p, SMALL);
	t_until(faultline_stat(ctx, &st) == -ENOTCONN);
	t_fails(faultline_region_reserve(r), ENOTCONN);
	faultline_free(ctx);
	check_pattern(p, SMALL);
	munmap(p, SMALL);
}

static void after_the_daemon_is_gone_every_call_says_so(void)
{
	struct helper h = { .fn = do_reserve, .timeout_ns = FAULTLINE_FOREVER };
	struct faultline_region_stat rst = { .size = sizeof(rst) };
	struct faultline_stat st = { .size = sizeof(st) };
	struct faultline_region *x;
	struct faultline *other;
	uint8_t *p, *q = map(PAGE);

	set_stage();
	h.region = small_region(&p);
	t_ok(faultline_region_reserve(h.region));
	start(&h);
	t_until(waits_for_answer(&h));
	daemon_kill(&d);
	finish(&h);
	t_eq(h.result, -ENOTCONN);
	for (int i = 0; i < 2; i++) {
		t_fails(faultline_stat(ctx, &st), ENOTCONN);
		t_fails(faultline_region_reserve(h.region), ENOTCONN);
		t_fails(faultline_region_try_reserve(h.region), ENOTCONN);
		t_fails(faultline_region_unreserve(h.region), ENOTCONN);
		t_fails(faultline_region_wait_unreserved(h.region, 0), ENOTCONN);
		t_fails(faultline_region_stat(h.region, &rst), ENOTCONN);
		t_fails(faultline_region_advise(h.region, 0, PAGE, 0), ENOTCONN);
		t_fails(faultline_region_release(h.region), ENOTCONN);
		t_fails(faultline_region_adopt(ctx, q, PAGE, 0, &x), ENOTCONN);
		t_fails(faultline_connect(ctx), ENOTCONN);
	}
	t_ok(faultline_new(&other));
	t_ok(faultline_set_socket(other, d.socket));
	t_assert(faultline_connect(other) < 0);
	faultline_free(other);
	faultline_free(ctx);
	munmap(q, PAGE);
}

/* ---- contexts ---- */

static void a_process_is_in_one_job_only(void)
{
	struct flp_job_create job = daemon_job(BUDGET);
	struct test_daemon second;
	struct faultline *other;

	set_stage();
	daemon_start(&second, &job);
	t_ok(faultline_new(&other));
	t_ok(faultline_set_socket(other, second.socket));
	t_ok(faultline_set_job(other, second.token));
	t_fails(faultline_connect(other), EBUSY);
	faultline_free(other);
	t_ok(faultline_set_socket(ctx, d.socket) == -EISCONN ? 0 : -1);
	t_fails(faultline_set_job(ctx, d.token), EISCONN);
	t_fails(faultline_connect(ctx), EISCONN);
	daemon_stop(&second);
	clear_stage();
}

static void the_environment_says_where_to_go(void)
{
	struct flp_job_create job = daemon_job(BUDGET);

	daemon_start(&d, &job);
	setenv(FLP_ENV_SOCKET, d.socket, 1);
	setenv(FLP_ENV_JOB, d.token, 1);
	t_ok(faultline_new(&ctx));
	t_ok(faultline_connect(ctx));
	t_eq(job_stat().job, d.job);
	clear_stage();
}

/* As faultline run starts it: two agents in one process, each with memory of its own. */
static void beside_the_preload_library_each_manages_its_own(void)
{
	struct flp_job_create job = daemon_job(BUDGET);
	const char *build = getenv("FAULTLINE_BUILDDIR"), *preload = getenv("FAULTLINE_PRELOAD");
	char program[512];
	int status;
	pid_t pid;

	daemon_start(&d, &job);
	t_assert(build && preload);
	snprintf(program, sizeof(program), "%s/tests/functional/.libs/beside", build);
	pid = t_sys(fork());
	if (!pid) {
		setenv(FLP_ENV_SOCKET, d.socket, 1);
		setenv(FLP_ENV_JOB, d.token, 1);
		setenv("LD_PRELOAD", preload, 1);
		dup2(2, 1);
		execl(program, program, (char *)NULL);
		_exit(99);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	t_eq(status, 0);
	t_le(daemon_status(&d).c.resident_peak, 2 * BUDGET);	/* until it is adopted, it grows */
	daemon_stop(&d);
}

static const struct t_test memory[] = {
	T_TIMEOUT(data_of_four_times_the_budget_comes_back_as_it_was_written, 60),
	T(what_was_there_when_it_was_adopted_counts_as_resident),
	T(only_what_is_adopted_is_managed),
	T(what_is_evicted_on_request_comes_back_when_touched),
	T(a_part_is_evicted_without_the_rest),
	T(every_advice_is_taken),
	T(what_is_not_private_anonymous_memory_is_refused),
	T(what_is_adopted_already_is_refused),
	T(what_was_adopted_is_known_at_once),
	{0}
};

static const struct t_test reservations[] = {
	T(who_touches_a_reserved_page_waits_until_it_is_unreserved),
	T(the_holder_itself_does_not_wait),
	T(a_reservation_is_given_up_by_any_thread_of_the_context),
	T(a_reserved_region_is_busy),
	T(waiters_are_served_in_the_order_they_came),
	T(who_waits_for_the_end_of_a_reservation_holds_nothing),
	T(a_context_that_is_freed_gives_up_what_it_holds),
	T(a_thread_that_is_stopped_in_its_handler_holds_up_nobody),
	T_TIMEOUT(many_threads_reserve_one_after_the_other, 60),
	{0}
};

static const struct t_test ends[] = {
	T(what_is_released_is_all_there_and_ordinary_memory),
	T(a_child_has_the_contents_and_no_context),
	T(a_daemon_that_stops_leaves_everything_in_place),
	T(after_the_daemon_is_gone_every_call_says_so),
	T(a_process_is_in_one_job_only),
	T(the_environment_says_where_to_go),
	T_TIMEOUT(beside_the_preload_library_each_manages_its_own, 60),
	{0}
};

static const struct t_suite suites[] = {
	{ "memory", memory }, { "reservations", reservations }, { "ends", ends }, {0}
};

HARNESS_MAIN(suites)
