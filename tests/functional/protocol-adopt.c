/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * protocol-adopt.c - what the agent saw of an area, told after it has changed.
 *
 * Each rule twice: with it nothing is lost, without it (gate_board.rule_off) the program dies of a page
 * that is believed to be there.
 */
#include <config.h>

#include <sys/mman.h>

#include "tests/functional/gated.h"
#include "tests/harness.h"

/* ---- an old report ---- */

/*
 * The agent has seen that a page is there, and not yet told, when another page, never touched, is moved
 * to its place.
 */
static uint64_t replaced_after_the_look(void)
{
	uint64_t hole, va;

	hole = untouched(1);
	va = act(A, step_map_apart, 1, 0, 0, 0);
	t_eq(act(A, step_fill, va, 1, 1, 0), 0);
	hold(GATE_AGENT_PRESENT_SEEN);
	begin(A, step_adopt, va, 1, 0, 0);
	wait_held(GATE_AGENT_PRESENT_SEEN);
	t_eq(act(B, step_remap, hole, PAGE, PAGE, va), va);
	let_go(GATE_AGENT_PRESENT_SEEN);
	t_eq(end(A), 0);
	untouched(1);			/* told after it: what was to be believed, was */
	return act(C, step_read, va, 0, 0, 0);
}

static void an_overtaken_report_is_dropped(void)
{
	gated_start(&(struct gated){ 0 });
	t_eq(replaced_after_the_look(), 0);
	gated_stop();
}

/* ---- discards before the registration, after it, and after the look ---- */

static uint64_t discarded_at(enum gate_id gate)
{
	uint64_t va;

	gated_start(&(struct gated){ 0 });
	va = act(A, step_map_apart, 2, 0, 0, 0);
	t_eq(act(A, step_fill, va, 2, 1, 0), 0);
	hold(gate);
	begin(A, step_adopt, va, 2, 0, 0);
	wait_held(gate);
	begin(B, step_discard, va, PAGE, 0, 0);
	wait_settled(B);
	let_go(gate);
	t_eq(end(A), 0);
	t_eq(end(B), 0);
	return va;
}

static void expect_one_discarded(uint64_t va)
{
	t_until(pages_of(va, 2).resident == 1);
	evict_all(va + PAGE, 1);
	t_eq(act(B, step_nonzero, va, 1, 0, 0), 0);
	t_until(pages_of(va, 1).resident == 1);
	gated_stop();
}

static void discarded_before_the_registration(void)
{
	expect_one_discarded(discarded_at(GATE_AGENT_ADOPT_PUBLISHED));
}

static void discarded_before_the_look(void)
{
	expect_one_discarded(discarded_at(GATE_AGENT_ADOPT_REGISTERED));
}

static void discarded_after_the_look(void)
{
	expect_one_discarded(discarded_at(GATE_AGENT_PRESENT_SEEN));
}

/* ---- a REMOVE comes before its zap ---- */

#define BIG	UINT64_C(16384)		/* pages: to zap them takes milliseconds */

/* Small pages, all there but one behind them. */
static uint64_t step_map_big(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t va = step_map_apart(BIG + 1, 0, 0, 0);

	madvise((void *)(uintptr_t)va, (BIG + 1) * PAGE, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < BIG; i++)
		step_write(va + i * PAGE, i + 1, 0, 0);
	return va;
}

/*
 * A large area is discarded. Its event has been read, the pages are still on their way out when the agent
 * looks: it sees what will not be there. (A look that was overtaken makes the daemon ask for another.)
 * Returns how many pages the daemon believes in that are not there.
 */
static uint64_t looked_at_while_zapped(uint64_t *ret_va)
{
	uint64_t va = act(A, step_map_big, 0, 0, 0, 0);

	t_eq(act(A, step_adopt, va, BIG, 0, 0), 0);
	t_until(pages_of(va, BIG).resident == BIG);
	hold(GATE_AGENT_PRESENT_SEEN);
	begin(A, step_adopt, va, BIG, 0, 0);
	wait_held(GATE_AGENT_PRESENT_SEEN);
	begin(B, step_discard, va, BIG * PAGE, 0, 0);
	t_until(pages_of(va + (BIG - 1) * PAGE, 1).unknown);
	let_go(GATE_AGENT_PRESENT_SEEN);
	t_eq(end(A), 0);
	t_eq(end(B), 0);
	*ret_va = untouched(1);			/* .. and its report is behind the second look's */
	t_until(pages_of(*ret_va, 1).pages);
	t_eq(act(A, step_present, va, BIG, 0, 0), 0);
	*ret_va = va;
	return pages_of(va, BIG).resident;
}

static void a_discarded_page_is_not_believed_to_be_there(void)
{
	uint64_t va;

	gated_start(&(struct gated){ 0 });
	for (int i = 0; i < 5; i++) {
		t_eq(looked_at_while_zapped(&va), 0);
		t_eq(act(C, step_read, va + (BIG - 1) * PAGE, 0, 0, 0), 0);
		t_eq(act(A, step_unmap, va, (BIG + 1) * PAGE, 0, 0), 0);
	}
	gated_stop();
}

/* A look that comes in time for the last page, which goes last, is not always had at the first try. */
static void a_discarded_page_that_is_believed_in_kills_the_program(void)
{
	uint64_t va;
	int tries = 100;

	gated_start(&(struct gated){ 0 });
	rule_off(RULE_PRESENCE_ONLY_UNKNOWN);
	while (!looked_at_while_zapped(&va) && --tries)
		t_eq(act(A, step_unmap, va, (BIG + 1) * PAGE, 0, 0), 0);
	t_note("tries left: %d", tries);
	t_assert(tries);
	t_eq(act(C, step_read, va + (BIG - 1) * PAGE, 0, 0, 0), GONE);
	gated_stop();
}

/* The page behind them is touched in between: filled, and then zapped with the others. False: not this
 * time. */
static bool filled_before_its_zap(uint64_t *ret_last)
{
	uint64_t va = act(A, step_map_big, 0, 0, 0, 0), last = va + BIG * PAGE;

	t_eq(act(A, step_adopt, va, BIG + 1, 0, 0), 0);
	t_until(pages_of(va, BIG).resident == BIG);
	begin(B, step_discard, va, (BIG + 1) * PAGE, 0, 0);
	t_until(pages_of(va, 1).unknown);
	t_eq(act(C, step_write, last, 7, 0, 0), 0);
	t_eq(end(B), 0);
	t_until(pages_of(last, 1).resident);
	*ret_last = last;
	if (!act(C, step_present, last, 1, 0, 0))
		return true;
	t_eq(act(A, step_unmap, va, (BIG + 1) * PAGE, 0, 0), 0);
	return false;
}

static uint64_t need_page_filled_before_its_zap(void)
{
	int tries = 100;
	uint64_t last;

	while (!filled_before_its_zap(&last) && --tries)
		;
	t_note("tries left: %d", tries);
	t_assert(tries);
	return last;
}

static void a_page_that_is_filled_before_its_zap_is_zeros(void)
{
	gated_start(&(struct gated){ 0 });
	t_eq(act(C, step_read, need_page_filled_before_its_zap(), 0, 0, 0), 0);
	gated_stop();
}

static void a_page_that_is_filled_before_its_zap_can_be_evicted(void)
{
	uint64_t last;

	gated_start(&(struct gated){ 0 });
	last = need_page_filled_before_its_zap();
	evict(last, 1);
	evict_ended();
	t_eq(pages_of(last, 1).unknown, 1);
	t_eq(act(C, step_read, last, 0, 0, 0), 0);
	gated_stop();
}

static void without_an_excuse_a_page_that_is_zapped_kills_the_program(void)
{
	gated_start(&(struct gated){ 0 });
	rule_off(RULE_EXCUSE_ZAP);
	t_eq(act(C, step_read, need_page_filled_before_its_zap(), 0, 0, 0), GONE);
	gated_stop();
}

static void an_overtaken_report_that_is_believed_kills_the_program(void)
{
	gated_start(&(struct gated){ 0 });
	rule_off(RULE_STAMPED_ADOPTION);
	t_eq(replaced_after_the_look(), GONE);
	gated_stop();
}

static const struct t_test tests[] = {
	T(an_overtaken_report_is_dropped),
	T(an_overtaken_report_that_is_believed_kills_the_program),
	T(discarded_before_the_registration),
	T(discarded_before_the_look),
	T(discarded_after_the_look),
	T(a_discarded_page_is_not_believed_to_be_there),
	T_TIMEOUT(a_discarded_page_that_is_believed_in_kills_the_program, 60),
	T_TIMEOUT(a_page_that_is_filled_before_its_zap_is_zeros, 60),
	T_TIMEOUT(a_page_that_is_filled_before_its_zap_can_be_evicted, 60),
	T_TIMEOUT(without_an_excuse_a_page_that_is_zapped_kills_the_program, 60),
	{0}
};

static const struct t_suite suites[] = { { "protocol-adopt", tests }, {0} };

HARNESS_MAIN(suites)
