/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * protocol-events.c - what the kernel tells of a client's memory, in the one order in which it is right.
 *
 * Each rule twice: with it the client reads what it must, without it (gate_board.rule_off) the same
 * interleaving goes wrong. The scripts hold the daemon and the agent at gates: nothing here is luck.
 */
#include <config.h>

#include <errno.h>
#include <sys/mman.h>

#include "tests/functional/gated.h"
#include "tests/harness.h"

/*
 * The daemon sits on a batch with a fault of D's, while what the script does collects: all of that comes
 * in one read() when it is let go.
 */
static uint64_t other;

static void start(void)
{
	gated_start(&(struct gated){ 0 });
	other = untouched(1);
}

static void collect_begin(void)
{
	hold(GATE_DAEMON_AFTER_READ);
	begin(D, step_read, other, 0, 0, 0);
	wait_held(GATE_DAEMON_AFTER_READ);
}

/* The daemon has read what has collected, and holds it. */
static void collect_end(void)
{
	hold(GATE_DAEMON_AFTER_READ);
	let_go(GATE_DAEMON_AFTER_READ);
	wait_held(GATE_DAEMON_AFTER_READ);
}

/* ---- events before faults ---- */

static uint64_t fault_and_discard_in_one_read(void)
{
	uint64_t va = fresh(1, 1), bad;

	evict_all(va, 1);
	collect_begin();
	begin(A, step_nonzero, va, 1, 0, 0);
	wait_blocked(A);
	begin(B, step_discard, va, PAGE, 0, 0);
	wait_blocked(B);
	collect_end();
	t_eq(end(B), 0);			/* the discard has happened */
	let_go(GATE_DAEMON_AFTER_READ);
	bad = end(A);
	end(D);
	return bad;
}

static void discarded_bytes_do_not_come_back(void)
{
	start();
	t_eq(fault_and_discard_in_one_read(), 0);
	gated_stop();
}

static void in_the_order_read_discarded_bytes_come_back(void)
{
	start();
	rule_off(RULE_EVENTS_BEFORE_FAULTS);
	t_eq(fault_and_discard_in_one_read(), 1);
	gated_stop();
}

/* ---- growth ---- */

#define APART	(UINT64_C(8) << 20)

/* Two pages become four, there or elsewhere. */
static uint64_t grow(bool move)
{
	uint64_t va = fresh(2, 1), to = move ? va + APART : va;

	evict_all(va, 1);
	t_eq(act(A, step_remap, va, 2 * PAGE, 4 * PAGE, to), to);
	return to;
}

static void grows(bool move)
{
	uint64_t va;

	start();
	va = grow(move);
	t_eq(act(B, step_nonzero, va + 2 * PAGE, 2, 0, 0), 0);
	t_eq(act(A, step_bad, va, 2, 1, 0), 0);
	/* The tail is managed like the rest. */
	t_eq(act(A, step_fill, va, 4, 2, 0), 0);
	evict_all(va, 4);
	t_eq(act(B, step_bad, va, 4, 2, 0), 0);
	gated_stop();
}

static void memory_that_grows_in_place_is_followed(void)
{
	grows(false);
}

static void memory_that_grows_and_moves_is_followed(void)
{
	grows(true);
}

/* The thread is woken, and faults again, for ever. */
static void spins(bool move)
{
	uint64_t va;

	start();
	rule_off(RULE_EXTEND_ON_FAULT);
	va = grow(move);
	begin(B, step_read, va + 2 * PAGE, 0, 0, 0);
	t_until(counters().faults[FLP_FAULT_PRESENT] > 2000);
	t_assert(!is_done(B));
	gated_stop();
}

static void a_bare_wake_spins_where_memory_grew_in_place(void)
{
	spins(false);
}

static void a_bare_wake_spins_where_memory_grew_and_moved(void)
{
	spins(true);
}

/* ---- a page that is there already ---- */

/*
 * A waits for a stored page when B moves another page there, which is present. The daemon knows it as
 * RESIDENT, or, when the agent has not told yet what it saw, not at all. Nobody has woken A.
 */
static uint64_t page_moves_under_a_waiting_thread(bool reported)
{
	uint64_t va = fresh(1, 1), from = act(A, step_map_apart, 1, 0, 0, 0);

	evict_all(va, 1);
	t_eq(act(A, step_fill, from, 1, 2, 0), 0);
	if (!reported)
		hold(GATE_AGENT_PRESENT_SEEN);
	begin(C, step_adopt, from, 1, 0, 0);
	if (reported)
		t_until(pages_of(from, 1).resident == 1);
	else
		wait_held(GATE_AGENT_PRESENT_SEEN);
	collect_begin();
	begin(A, step_bad, va, 1, 2, 0);
	wait_blocked(A);
	begin(B, step_remap, from, PAGE, PAGE, va);
	wait_blocked(B);
	let_go(GATE_DAEMON_AFTER_READ);
	t_eq(end(B), va);
	end(D);
	return va;
}

static void wakes(bool reported)
{
	start();
	page_moves_under_a_waiting_thread(reported);
	t_eq(end(A), 0);
	gated_stop();
}

static void who_waits_for_a_page_that_is_there_is_woken(void)
{
	wakes(true);
}

static void who_waits_for_a_page_that_is_there_unreported_is_woken(void)
{
	wakes(false);
}

static void sleeps(bool reported)
{
	uint64_t va;

	start();
	rule_off(RULE_WAKE_ON_EEXIST);
	va = page_moves_under_a_waiting_thread(reported);
	/* The daemon has answered: nothing that could wake A is left. */
	t_until(counters().faults[FLP_FAULT_PRESENT] > 0);
	t_eq(act(B, step_present, va, 1, 0, 0), 1);
	t_assert(is_blocked(A));
	gated_stop();
}

static void without_the_wake_it_sleeps_on(void)
{
	sleeps(true);
}

static void without_the_wake_it_sleeps_on_an_unreported_page(void)
{
	sleeps(false);
}

static const struct t_test tests[] = {
	T(discarded_bytes_do_not_come_back),
	T(in_the_order_read_discarded_bytes_come_back),
	T(memory_that_grows_in_place_is_followed),
	T(memory_that_grows_and_moves_is_followed),
	T(a_bare_wake_spins_where_memory_grew_in_place),
	T(a_bare_wake_spins_where_memory_grew_and_moved),
	T(who_waits_for_a_page_that_is_there_is_woken),
	T(who_waits_for_a_page_that_is_there_unreported_is_woken),
	T(without_the_wake_it_sleeps_on),
	T(without_the_wake_it_sleeps_on_an_unreported_page),
	{0}
};

static const struct t_suite suites[] = { { "protocol-events", tests }, {0} };

HARNESS_MAIN(suites)
