/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-resv.c - reservations: who gets it, in what order, who is told. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "common/align.h"
#include "daemon/resv.h"
#include "tests/harness.h"

static const char conn_a, conn_b;	/* their addresses are two connections */
#define A	(&conn_a)
#define B	(&conn_b)

struct want {
	struct resv_request req;
	int calls, result;
	unsigned int order;		/* of the call, from 1 */
	void (*then)(struct want *w);
};

static struct resv resv;
static unsigned int order;

static void done(struct resv_request *req, int result)
{
	struct want *w = container_of(req, struct want, req);

	w->calls++;
	w->result = result;
	w->order = ++order;
	if (w->then)
		w->then(w);
}

#define WANT(conn, tid_)	{ .req = { .done = done, .holder = (conn), .tid = (tid_) }, .result = 1 }

static void told(const struct want *w, int result)
{
	t_eq(w->calls, 1);
	t_eq(w->result, result);
}

static void not_told(const struct want *w)
{
	t_eq(w->calls, 0);
}

static void end(void)
{
	resv_fini(&resv);
	t_assert(TAILQ_EMPTY(&resv.queue) && TAILQ_EMPTY(&resv.waits));
}

static void a_free_one_is_had_at_once(void)
{
	struct want w = WANT(A, 1);

	resv_init(&resv);
	t_eq(resv_take(&resv, &w.req), 0);
	t_assert(resv.holder == A && resv.tid == 1);
	t_ok(resv_release(&resv, A));
	t_assert(!resv.holder);
	t_eq(resv_try(&resv, B, 2), 0);
	t_assert(resv.holder == B && resv.tid == 2);
	t_ok(resv_release(&resv, B));
	not_told(&w);
	end();
}

static void the_same_thread_twice_is_a_deadlock(void)
{
	struct want w = WANT(A, 1), other_tid = WANT(A, 2), other_conn = WANT(B, 1);

	resv_init(&resv);
	t_ok(resv_try(&resv, A, 1));
	t_fails(resv_try(&resv, A, 1), EDEADLK);
	t_fails(resv_take(&resv, &w.req), EDEADLK);
	t_fails(resv_wait(&resv, &w.req), EDEADLK);
	t_eq(resv_take(&resv, &other_tid.req), RESV_WAITS);
	t_eq(resv_take(&resv, &other_conn.req), RESV_WAITS);
	not_told(&w);
	end();
	told(&other_tid, -ESTALE);
	told(&other_conn, -ESTALE);
}

static void only_its_holder_can_release_it(void)
{
	resv_init(&resv);
	t_fails(resv_release(&resv, A), EPERM);
	t_ok(resv_try(&resv, A, 1));
	t_fails(resv_release(&resv, B), EPERM);
	t_assert(resv.holder == A);
	t_ok(resv_release(&resv, A));
	end();
}

static void it_is_handed_on_in_the_order_of_asking(void)
{
	enum { N = 20 };
	struct want w[N];

	resv_init(&resv);
	t_ok(resv_try(&resv, A, 99));
	for (unsigned int i = 0; i < N; i++) {
		w[i] = (struct want)WANT(A, i);
		t_eq(resv_take(&resv, &w[i].req), RESV_WAITS);
	}
	for (unsigned int i = 0; i < N; i++) {
		not_told(&w[i]);
		t_ok(resv_release(&resv, A));
		told(&w[i], 0);
		t_eq(w[i].order, i + 1);
		t_eq(resv.tid, i);
		t_fails(resv_try(&resv, B, 1), EBUSY);
	}
	t_ok(resv_release(&resv, A));
	t_assert(!resv.holder);
	end();
}

/* A client that reserves again as soon as it has released does not keep others out. */
static void reserving_in_a_loop_starves_nobody(void)
{
	struct want fault = WANT(B, 7), again = WANT(A, 1);
	unsigned int rounds = 0;

	resv_init(&resv);
	t_ok(resv_try(&resv, A, 1));
	t_eq(resv_take(&resv, &fault.req), RESV_WAITS);
	while (!fault.calls && rounds < 10) {
		t_ok(resv_release(&resv, A));
		rounds++;
		if (resv_take(&resv, &again.req) == RESV_WAITS)
			break;
	}
	t_eq(rounds, 1);
	told(&fault, 0);
	not_told(&again);
	t_ok(resv_release(&resv, B));
	told(&again, 0);
	t_ok(resv_release(&resv, A));
	end();
}

static void a_wait_is_told_at_the_release_and_holds_nothing(void)
{
	struct want wait = WANT(A, 5), take = WANT(A, 6);

	resv_init(&resv);
	t_eq(resv_wait(&resv, &wait.req), 0);		/* free: nothing to wait for */
	t_ok(resv_try(&resv, A, 1));
	t_eq(resv_wait(&resv, &wait.req), RESV_WAITS);
	t_eq(resv_take(&resv, &take.req), RESV_WAITS);
	t_ok(resv_release(&resv, A));
	told(&wait, 0);
	told(&take, 0);
	t_eq(resv.tid, 6);
	t_ok(resv_release(&resv, A));
	t_assert(!resv.holder);
	told(&wait, 0);
	end();
}

static void many_waits_cost_one_call_each(void)
{
	enum { N = 64 };
	struct want w[N];

	resv_init(&resv);
	t_ok(resv_try(&resv, A, 999));
	for (unsigned int i = 0; i < N; i++) {
		w[i] = (struct want)WANT(B, i);
		t_eq(resv_wait(&resv, &w[i].req), RESV_WAITS);
	}
	t_ok(resv_release(&resv, A));
	for (unsigned int i = 0; i < N; i++)
		told(&w[i], 0);
	t_assert(!resv.holder);
	end();
}

static struct want second;

static void wait_again(struct want *w)
{
	t_assert(resv.holder == B);
	t_eq(resv_wait(&resv, &second.req), RESV_WAITS);
}

static void a_wait_that_comes_while_others_are_told_is_for_the_next_release(void)
{
	struct want first = WANT(A, 5), take = WANT(B, 6);

	resv_init(&resv);
	second = (struct want)WANT(A, 7);
	first.then = wait_again;
	t_ok(resv_try(&resv, A, 1));
	t_eq(resv_take(&resv, &take.req), RESV_WAITS);
	t_eq(resv_wait(&resv, &first.req), RESV_WAITS);
	t_ok(resv_release(&resv, A));
	told(&first, 0);
	not_told(&second);
	t_ok(resv_release(&resv, B));
	told(&second, 0);
	end();
}

static void release_it(struct want *w)
{
	t_ok(resv_release(&resv, w->req.holder));
}

/* A queue of faults, each served as soon as it has it: as deep as it is long would be a stack overflow. */
static void a_long_queue_of_short_holders_is_no_recursion(void)
{
	enum { N = 500000 };
	struct want *w = calloc(N, sizeof(*w)), wait = WANT(B, 2);

	t_assert(w);
	resv_init(&resv);
	t_ok(resv_try(&resv, A, UINT32_MAX));
	t_eq(resv_wait(&resv, &wait.req), RESV_WAITS);
	for (unsigned int i = 0; i < N; i++) {
		w[i] = (struct want)WANT(A, i);
		w[i].then = release_it;
		t_eq(resv_take(&resv, &w[i].req), RESV_WAITS);
	}
	order = 0;
	t_ok(resv_release(&resv, A));
	for (unsigned int i = 0; i < N; i++) {
		t_eq(w[i].calls, 1);
		t_eq(w[i].order, i + 1);
	}
	told(&wait, 0);
	t_assert(!resv.holder);
	free(w);
	end();
}

static int barged;

static void release_and_let_another_try(struct want *w)
{
	t_ok(resv_release(&resv, w->req.holder));
	barged = resv_try(&resv, B, 77);
}

static void nobody_barges_in_between_two_of_the_queue(void)
{
	struct want first = WANT(A, 1), next = WANT(A, 2);

	resv_init(&resv);
	first.then = release_and_let_another_try;
	t_ok(resv_try(&resv, A, 99));
	t_eq(resv_take(&resv, &first.req), RESV_WAITS);
	t_eq(resv_take(&resv, &next.req), RESV_WAITS);
	t_ok(resv_release(&resv, A));
	t_fails(barged, EBUSY);
	told(&next, 0);
	t_eq(resv.tid, 2);
	t_ok(resv_release(&resv, A));
	end();
}

static void a_cancelled_request_is_told_once_and_skipped(void)
{
	struct want first = WANT(A, 1), next = WANT(A, 2), wait = WANT(A, 3);

	resv_init(&resv);
	t_ok(resv_try(&resv, B, 1));
	t_eq(resv_take(&resv, &first.req), RESV_WAITS);
	t_eq(resv_take(&resv, &next.req), RESV_WAITS);
	t_eq(resv_wait(&resv, &wait.req), RESV_WAITS);
	t_assert(resv_cancel(&first.req, -ETIMEDOUT));
	told(&first, -ETIMEDOUT);
	t_assert(!resv_cancel(&first.req, -EINTR));
	t_assert(resv_cancel(&wait.req, -EINTR));
	told(&wait, -EINTR);
	t_ok(resv_release(&resv, B));
	told(&first, -ETIMEDOUT);
	told(&wait, -EINTR);
	told(&next, 0);
	t_assert(!resv_cancel(&next.req, -EINTR));
	t_ok(resv_release(&resv, A));
	end();
}

static struct want victim;

static void cancel_victim(struct want *w)
{
	resv_cancel(&victim.req, -EINTR);
}

static void a_wait_that_another_cancels_meanwhile_is_told_once(void)
{
	struct want first = WANT(A, 1);

	resv_init(&resv);
	victim = (struct want)WANT(A, 2);
	first.then = cancel_victim;
	t_ok(resv_try(&resv, B, 1));
	t_eq(resv_wait(&resv, &first.req), RESV_WAITS);
	t_eq(resv_wait(&resv, &victim.req), RESV_WAITS);
	t_ok(resv_release(&resv, B));
	told(&victim, -EINTR);
	end();
}

static unsigned int freed;

static void free_it(struct want *w)
{
	memset(w, 0xee, sizeof(*w));
	free(w);
	freed++;
}

static void a_request_may_be_freed_by_its_own_answer(void)
{
	resv_init(&resv);
	t_ok(resv_try(&resv, B, 1));
	for (unsigned int i = 0; i < 8; i++) {
		struct want *w = malloc(sizeof(*w));

		t_assert(w);
		*w = (struct want)WANT(A, i);
		w->then = free_it;
		t_eq(i % 2 ? resv_take(&resv, &w->req) : resv_wait(&resv, &w->req), RESV_WAITS);
	}
	t_ok(resv_release(&resv, B));
	t_eq(freed, 5);				/* the waits and the first that wants it */
	end();
	t_eq(freed, 8);
}

static void a_holder_that_dies_leaves_nothing_behind(void)
{
	struct want own = WANT(A, 2), own_wait = WANT(A, 3), next = WANT(B, 1), wait = WANT(B, 2);

	resv_init(&resv);
	t_ok(resv_try(&resv, A, 1));
	t_eq(resv_take(&resv, &own.req), RESV_WAITS);
	t_eq(resv_wait(&resv, &own_wait.req), RESV_WAITS);
	t_eq(resv_take(&resv, &next.req), RESV_WAITS);
	t_eq(resv_wait(&resv, &wait.req), RESV_WAITS);
	t_assert(resv_drop_holder(&resv, A));
	not_told(&own);
	not_told(&own_wait);
	told(&next, 0);
	told(&wait, 0);
	t_assert(resv.holder == B);
	t_assert(!resv_drop_holder(&resv, A));
	t_ok(resv_release(&resv, B));
	end();
}

static void a_waiter_that_dies_is_skipped(void)
{
	struct want dead = WANT(A, 2), next = WANT(B, 1);
	const char conn_c = 0;

	resv_init(&resv);
	t_ok(resv_try(&resv, &conn_c, 1));
	t_eq(resv_take(&resv, &dead.req), RESV_WAITS);
	t_eq(resv_take(&resv, &next.req), RESV_WAITS);
	t_assert(!resv_drop_holder(&resv, A));
	t_ok(resv_release(&resv, &conn_c));
	not_told(&dead);
	told(&next, 0);
	t_ok(resv_release(&resv, B));
	end();
}

static int late_take, late_wait;

static void ask_again(struct want *w)
{
	late_take = resv_take(&resv, &w->req);
	late_wait = resv_wait(&resv, &w->req);
	resv_release(&resv, A);
}

static void when_it_ends_all_are_told_and_nobody_gets_it(void)
{
	struct want first = WANT(A, 1), next = WANT(B, 2), wait = WANT(B, 3);

	resv_init(&resv);
	first.then = ask_again;
	t_ok(resv_try(&resv, A, 9));
	t_eq(resv_take(&resv, &first.req), RESV_WAITS);
	t_eq(resv_take(&resv, &next.req), RESV_WAITS);
	t_eq(resv_wait(&resv, &wait.req), RESV_WAITS);
	end();
	told(&first, -ESTALE);
	told(&next, -ESTALE);
	told(&wait, -ESTALE);
	t_fails(late_take, ESTALE);
	t_fails(late_wait, ESTALE);
	t_fails(resv_try(&resv, B, 1), ESTALE);
}

static void faults_of_the_holding_thread_go_on(void)
{
	resv_init(&resv);
	t_assert(resv_admits(&resv, NULL, 1));
	t_ok(resv_try(&resv, A, 1));
	t_assert(resv_admits(&resv, NULL, 1));
	t_assert(!resv_admits(&resv, NULL, 2));
	t_ok(resv_release(&resv, A));
	t_assert(resv_admits(&resv, NULL, 2));
	end();
}

/* Any order of taking, waiting, releasing, cancelling and dying, against a plain list. */
static void it_agrees_with_a_plain_list(void)
{
	enum { N = 12, CONNS = 4 };
	static char conn[CONNS];
	struct want w[N];
	unsigned int line[N], n_line = 0;
	int holder = -1;			/* index in w */

	t_seed();
	resv_init(&resv);
	for (unsigned int i = 0; i < N; i++)
		w[i] = (struct want)WANT(&conn[i % CONNS], i);

	for (int step = 0; step < 200000; step++) {
		const unsigned int i = (unsigned int)t_random_below(N);
		bool queued = w[i].req.queued;
		unsigned int k;

		switch (t_random_below(4)) {
		case 0:
		case 1:
			if (queued || holder == (int)i)
				break;
			w[i].calls = 0;
			t_eq(resv_take(&resv, &w[i].req), holder < 0 ? 0 : RESV_WAITS);
			if (holder < 0)
				holder = (int)i;
			else
				line[n_line++] = i;
			break;
		case 2:
			if (holder < 0)
				break;
			t_ok(resv_release(&resv, w[holder].req.holder));
			holder = n_line ? (int)line[0] : -1;
			if (n_line) {
				told(&w[holder], 0);
				memmove(line, line + 1, --n_line * sizeof(*line));
			}
			break;
		case 3:
			t_eq(resv_cancel(&w[i].req, -EINTR), queued);
			for (k = 0; k < n_line && line[k] != i; k++)
				;
			t_eq(queued, k < n_line);
			if (queued)
				memmove(line + k, line + k + 1, (--n_line - k) * sizeof(*line));
			break;
		}
		t_assert(resv.holder == (holder < 0 ? NULL : w[holder].req.holder));
		if (holder >= 0)
			t_eq(resv.tid, holder);
	}
	end();
}

static const struct t_test tests[] = {
	T(a_free_one_is_had_at_once),
	T(the_same_thread_twice_is_a_deadlock),
	T(only_its_holder_can_release_it),
	T(it_is_handed_on_in_the_order_of_asking),
	T(reserving_in_a_loop_starves_nobody),
	T(a_wait_is_told_at_the_release_and_holds_nothing),
	T(many_waits_cost_one_call_each),
	T(a_wait_that_comes_while_others_are_told_is_for_the_next_release),
	T(a_long_queue_of_short_holders_is_no_recursion),
	T(nobody_barges_in_between_two_of_the_queue),
	T(a_cancelled_request_is_told_once_and_skipped),
	T(a_wait_that_another_cancels_meanwhile_is_told_once),
	T(a_request_may_be_freed_by_its_own_answer),
	T(a_holder_that_dies_leaves_nothing_behind),
	T(a_waiter_that_dies_is_skipped),
	T(when_it_ends_all_are_told_and_nobody_gets_it),
	T(faults_of_the_holding_thread_go_on),
	T(it_agrees_with_a_plain_list),
	{0}
};

static const struct t_suite suites[] = { { "resv", tests }, {0} };

HARNESS_MAIN(suites)
