/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * protocol-evict.c - a page on its way out, and what its program does with it meanwhile.
 *
 * Each rule twice: with it nothing is lost, without it (gate_board.rule_off) the same interleaving loses
 * bytes or hangs. Nothing here is luck: the scripts hold the daemon and the agent at gates.
 */
#include <config.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/uffd-abi.h"
#include "tests/functional/gated.h"
#include "tests/harness.h"

static void start(void)
{
	gated_start(&(struct gated){ 0 });
}

/* ---- MOVE takes what is at the address by then ---- */

/* The area goes and another comes, unmanaged, with a pattern of its own. */
static void map_anew(unsigned int actor, uint64_t va)
{
	t_eq(act(actor, step_map, va, 1, 0, 0), va);
	t_eq(act(actor, step_fill, va, 1, 2, 0), 0);
}

static uint64_t unmapped_before_the_lock(void)
{
	uint64_t va = fresh(1, 1);

	hold(GATE_AGENT_BEFORE_LOCK);
	evict(va, 1);
	wait_held(GATE_AGENT_BEFORE_LOCK);
	t_eq(act(B, step_unmap, va, PAGE, 0, 0), 0);
	map_anew(B, va);
	let_go(GATE_AGENT_BEFORE_LOCK);
	evict_ended();
	return act(B, step_bad, va, 1, 2, 0);
}

static void an_old_epoch_takes_nothing(void)
{
	start();
	t_eq(unmapped_before_the_lock(), 0);
	gated_stop();
}

static void without_the_epoch_a_strangers_page_is_taken(void)
{
	start();
	rule_off(RULE_EPOCH_CHECK);
	t_eq(unmapped_before_the_lock(), 1);
	gated_stop();
}

/* The agent has seen that its epoch is right when the area goes. */
static uint64_t unmapped_before_the_move(bool locked)
{
	uint64_t va = fresh(1, 1);

	hold(GATE_AGENT_BEFORE_MOVE1);
	evict(va, 1);
	wait_held(GATE_AGENT_BEFORE_MOVE1);
	begin(B, step_unmap, va, PAGE, 0, 0);
	if (locked)
		wait_blocked(B);	/* its event is not read: the agent has the lock */
	else
		t_eq(end(B), 0);
	map_anew(C, va);
	let_go(GATE_AGENT_BEFORE_MOVE1);
	t_eq(end(B), 0);
	evict_ended();
	return act(C, step_bad, va, 1, 2, 0);
}

static void under_the_lock_no_event_is_read(void)
{
	start();
	t_eq(unmapped_before_the_move(true), 0);
	gated_stop();
}

static void without_the_lock_a_strangers_page_is_taken(void)
{
	start();
	rule_off(RULE_LOCK);
	t_eq(unmapped_before_the_move(false), 1);
	gated_stop();
}

static void without_the_first_step_a_strangers_page_is_taken(void)
{
	start();
	rule_off(RULE_TWO_STEP_MOVE);
	t_eq(unmapped_before_the_move(true), 1);
	gated_stop();
}

/* ---- a discard of a page that is under way ---- */

static uint64_t discarded_at(enum gate_id gate)
{
	uint64_t va = fresh(1, 1);

	hold(gate);
	evict(va, 1);
	wait_held(gate);
	t_eq(act(B, step_discard, va, PAGE, 0, 0), 0);
	let_go(gate);
	evict_ended();
	return act(B, step_nonzero, va, 1, 0, 0);
}

static void discarded_between_the_moves_is_zeros(void)
{
	start();
	t_eq(discarded_at(GATE_AGENT_BETWEEN_MOVES), 0);
	gated_stop();
}

static void discarded_in_staging_is_zeros(void)
{
	start();
	t_eq(discarded_at(GATE_AGENT_AFTER_MOVE), 0);
	gated_stop();
}

static void discarded_before_the_report_is_zeros(void)
{
	start();
	t_eq(discarded_at(GATE_AGENT_BEFORE_REPORT), 0);
	gated_stop();
}

static void a_forgotten_discard_of_a_leaving_page_comes_back(void)
{
	start();
	rule_off(RULE_REMEMBER_DISCARD);
	t_eq(discarded_at(GATE_AGENT_AFTER_MOVE), 1);
	gated_stop();
}

/* What does not compress, with no swap file to go to, is kept in staging until it is back. */
static uint64_t discarded_while_kept(void)
{
	uint64_t va = fresh(1, NOISE);

	hold(GATE_AGENT_BEFORE_RETURN);
	evict(va, 1);
	wait_held(GATE_AGENT_BEFORE_RETURN);
	t_eq(act(B, step_discard, va, PAGE, 0, 0), 0);
	let_go(GATE_AGENT_BEFORE_RETURN);
	evict_ended();
	return act(B, step_nonzero, va, 1, 0, 0);
}

static void a_kept_page_that_is_discarded_is_dropped(void)
{
	start();
	t_eq(discarded_while_kept(), 0);
	gated_stop();
}

static void a_forgotten_discard_of_a_kept_page_comes_back(void)
{
	start();
	rule_off(RULE_REMEMBER_DISCARD);
	t_eq(discarded_while_kept(), 1);
	gated_stop();
}

/* A page that comes from the swap file: its bytes arrive after the program has thrown it away. */
static uint64_t discarded_while_filling(bool remembered)
{
	uint64_t va, full, bad;

	gated_start(&(struct gated){ .swap = true });
	if (!remembered)
		rule_off(RULE_REMEMBER_DISCARD);
	va = fresh(1, 1);
	evict_all(va, 1);
	full = fresh(2048, NOISE);		/* an extent goes on to the file when it is full */
	evict_all(full, 2048);
	t_until(counters().swap_pages >= 1536 * PAGE);
	hold(GATE_DAEMON_FILE_READ);
	begin(A, step_nonzero, va, 1, 0, 0);
	wait_held(GATE_DAEMON_FILE_READ);
	t_eq(act(B, step_discard, va, PAGE, 0, 0), 0);
	let_go(GATE_DAEMON_FILE_READ);
	bad = end(A);
	gated_stop();
	return bad;
}

static void a_discarded_page_that_was_being_read_is_zeros(void)
{
	t_eq(discarded_while_filling(true), 0);
}

static void a_forgotten_discard_of_a_filling_page_comes_back(void)
{
	t_eq(discarded_while_filling(false), 1);
}

/* ---- holes ---- */

/* The program takes a page away where nobody sees it: no event tells of its own UFFDIO_MOVE. */
static uint64_t step_take_away(uint64_t va, uint64_t b, uint64_t c, uint64_t d)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	uint64_t to = step_map(0, 1, 0, 0);
	struct uffdio_register r = {
		.range = { .start = to, .len = PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_move m = { .dst = to, .src = va, .len = PAGE };

	close(device);
	return (uint64_t)(ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &r) ||
			  ioctl(fd, UFFDIO_MOVE, &m));
}

static uint64_t evict_around_a_hole(void)
{
	uint64_t va = fresh(3, 1);

	t_eq(act(A, step_take_away, va + PAGE, 0, 0, 0), 0);
	evict(va, 3);
	return va;
}

static void a_hole_in_staging_is_not_read(void)
{
	uint64_t va;

	start();
	va = evict_around_a_hole();
	evict_ended();
	t_eq(pages_of(va, 3).stored, 2);
	t_eq(act(B, step_bad, va, 1, 1, 0), 0);
	/* What is gone without a trace must not read as zeros. */
	t_eq(act(B, step_read, va + PAGE, 0, 0, 0), GONE);
	gated_stop();
}

static void without_a_look_the_agent_sleeps_on_a_hole(void)
{
	start();
	rule_off(RULE_STAGING_PAGEMAP);
	evict_around_a_hole();
	t_until(agent_is_blocked());		/* nobody serves that userfaultfd */
	t_eq(counters().staging, 3 * PAGE);
	gated_stop();
}

/* ---- KEPT pages of an area that has changed ---- */

/* A waits for a page in staging whose area has become read-only. */
static void touched_after_mprotect(int prot)
{
	uint64_t va = fresh(1, 1);

	hold(GATE_AGENT_AFTER_MOVE);
	evict(va, 1);
	wait_held(GATE_AGENT_AFTER_MOVE);
	t_eq(act(B, step_protect, va, PAGE, (uint64_t)prot, 0), 0);
	begin(A, step_bad, va, 1, 1, 0);
	wait_blocked(A);
	t_until(counters().faults[FLP_FAULT_PARKED] == 1);
}

static void a_page_returns_to_a_read_only_area(void)
{
	start();
	touched_after_mprotect(PROT_READ);
	let_go(GATE_AGENT_AFTER_MOVE);
	t_eq(end(A), 0);
	gated_stop();
}

static void without_the_copy_it_never_returns(void)
{
	start();
	rule_off(RULE_RETURN_BY_COPY);
	touched_after_mprotect(PROT_READ);
	hold(GATE_AGENT_BEFORE_RETURN);
	let_go(GATE_AGENT_AFTER_MOVE);
	for (int i = 0; i < 20; i++) {		/* it is tried again and again */
		wait_held(GATE_AGENT_BEFORE_RETURN);
		hold(GATE_AGENT_BEFORE_RETURN);
		let_go(GATE_AGENT_BEFORE_RETURN);
	}
	wait_held(GATE_AGENT_BEFORE_RETURN);
	t_assert(is_blocked(A));
	gated_stop();
}

/* A page that nobody waits for, kept for lack of room, under PROT_NONE. */
static void a_kept_page_returns_under_prot_none(void)
{
	uint64_t va;

	start();
	va = fresh(1, NOISE);
	hold(GATE_AGENT_BEFORE_RETURN);
	evict(va, 1);
	wait_held(GATE_AGENT_BEFORE_RETURN);
	t_eq(act(B, step_protect, va, PAGE, PROT_NONE, 0), 0);
	let_go(GATE_AGENT_BEFORE_RETURN);
	evict_ended();
	t_eq(act(B, step_read, va, 0, 0, 0), GONE);	/* SIGSEGV */
	t_eq(act(B, step_protect, va, PAGE, PROT_READ | PROT_WRITE, 0), 0);
	t_eq(act(B, step_bad, va, 1, NOISE, 0), 0);
	gated_stop();
}

static uint64_t step_lock(uint64_t va, uint64_t bytes, uint64_t c, uint64_t d)
{
	return (uint64_t)(int64_t)mlock((void *)(uintptr_t)va, bytes);
}

static void a_page_that_is_locked_in_staging_returns(void)
{
	uint64_t va;

	start();
	va = fresh(2, 1);
	hold(GATE_AGENT_AFTER_MOVE);
	evict(va, 2);
	wait_held(GATE_AGENT_AFTER_MOVE);
	begin(A, step_lock, va, 2 * PAGE, 0, 0);	/* the kernel touches them for it */
	wait_blocked(A);
	let_go(GATE_AGENT_AFTER_MOVE);
	t_eq(end(A), 0);
	t_eq(act(B, step_bad, va, 2, 1, 0), 0);
	gated_stop();
}

static const struct t_test tests[] = {
	T(an_old_epoch_takes_nothing),
	T(without_the_epoch_a_strangers_page_is_taken),
	T(under_the_lock_no_event_is_read),
	T(without_the_lock_a_strangers_page_is_taken),
	T(without_the_first_step_a_strangers_page_is_taken),
	T(discarded_between_the_moves_is_zeros),
	T(discarded_in_staging_is_zeros),
	T(discarded_before_the_report_is_zeros),
	T(a_forgotten_discard_of_a_leaving_page_comes_back),
	T(a_kept_page_that_is_discarded_is_dropped),
	T(a_forgotten_discard_of_a_kept_page_comes_back),
	T(a_discarded_page_that_was_being_read_is_zeros),
	T(a_forgotten_discard_of_a_filling_page_comes_back),
	T(a_hole_in_staging_is_not_read),
	T(without_a_look_the_agent_sleeps_on_a_hole),
	T(a_page_returns_to_a_read_only_area),
	T(without_the_copy_it_never_returns),
	T(a_kept_page_returns_under_prot_none),
	T(a_page_that_is_locked_in_staging_returns),
	{0}
};

static const struct t_suite suites[] = { { "protocol-evict", tests }, {0} };

HARNESS_MAIN(suites)
