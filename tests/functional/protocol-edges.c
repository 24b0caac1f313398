/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * protocol-edges.c - every edge of the page state diagram, with everything that a program can do to a
 * page while it is on it.
 *
 * Of three pages the middle one is touched, discarded, unmapped, replaced, moved or protected while the
 * eviction or the fill of it stands at a gate; with a second thread waiting for it, and without. What is
 * right is what the program would have seen without us, for all three; and all of it once more after
 * another eviction.
 */
#include <config.h>

#include <sys/mman.h>

#include "tests/functional/gated.h"
#include "tests/harness.h"

#define APART	(UINT64_C(8) << 20)

/* ---- what is done to the middle page ---- */

static uint64_t step_map_anew(uint64_t va, uint64_t b, uint64_t c, uint64_t d)
{
	munmap((void *)(uintptr_t)va, PAGE);
	if (step_map(va, 1, 0, 0) != va)
		return 1;
	return step_fill(va, 1, 2, 0);
}

struct deed {
	const char *name;
	step_fn *fn;
	uint64_t b, c;			/* further arguments of the step */
	bool away;			/* its last one: the address, moved by APART */
};

static const struct deed deeds[] = {
	{ "nothing", .fn = NULL },
	{ "read", .fn = step_read },
	{ "write", .fn = step_write, .b = 77 },
	{ "discard", .fn = step_discard, .b = PAGE },
	{ "unmap", .fn = step_unmap, .b = PAGE },
	{ "map anew", .fn = step_map_anew },
	{ "move", .fn = step_remap, .b = PAGE, .c = PAGE, .away = true },
	{ "protect", .fn = step_protect, .b = PAGE, .c = PROT_READ },
};

#define N_DEEDS		(sizeof(deeds) / sizeof(deeds[0]))

static void begin_deed(const struct deed *d, uint64_t page)
{
	if (!d->fn)
		return;
	begin(B, d->fn, page, d->b, d->c, d->away ? page + APART : 0);
	wait_settled(B);
}

/* ---- what is right after it ---- */

#define TAG	UINT64_C(10)		/* of the first of the three pages, and so on */

static uint64_t three_pages(uint64_t tag, uint64_t *ret_word)
{
	uint64_t va = untouched(3);

	for (uint64_t i = 0; i < 3; i++)
		t_eq(act(A, step_fill, va + i * PAGE, 1, tag + i, 0), 0);
	*ret_word = act(A, step_read, va + PAGE, 0, 0, 0);
	return va;
}

static bool is_right(const struct deed *d, uint64_t page, uint64_t tag, uint64_t word)
{
	if (d->fn == step_write)	/* that word, and no other */
		return act(D, step_read, page, 0, 0, 0) == d->b &&
		       !act(D, step_write, page, word, 0, 0) && !act(D, step_bad, page, 1, tag, 0) &&
		       !act(D, step_write, page, d->b, 0, 0);
	if (d->fn == step_discard)
		return !act(D, step_nonzero, page, 1, 0, 0);
	if (d->fn == step_map_anew)
		return !act(D, step_bad, page, 1, 2, 0);
	if (d->fn == step_unmap)
		return act(D, step_read, page, 0, 0, 0) == GONE;
	if (d->away)
		return act(D, step_read, page, 0, 0, 0) == GONE &&
		       !act(D, step_bad, page + APART, 1, tag, 0);
	return !act(D, step_bad, page, 1, tag, 0);
}

static void expect_right(const struct deed *d, uint64_t va, uint64_t tag, uint64_t word, const char *when)
{
	if (!is_right(d, va + PAGE, tag + 1, word))
		t_fail("%s, %s: the page is not what it must be", d->name, when);
	for (uint64_t i = 0; i < 3; i += 2)
		if (act(D, step_bad, va + i * PAGE, 1, tag + i, 0))
			t_fail("%s, %s: its neighbour %d has suffered", d->name, when, (int)i);
}

/* Right now, and after one more journey. */
static void expect_right_twice(const struct deed *d, uint64_t va, uint64_t tag, uint64_t word)
{
	evict_ended();
	expect_right(d, va, tag, word, "at once");
	evict(va, 3);
	if (d->away)
		evict(va + PAGE + APART, 1);
	evict_ended();
	expect_right(d, va, tag, word, "after another eviction");
}

/* ---- on its way out ---- */

static void out(const struct deed *d, enum gate_id gate, uint64_t tag, bool waits)
{
	uint64_t word, va = three_pages(tag, &word);

	hold(gate);
	evict(va, 3);
	wait_held(gate);
	if (waits) {
		begin(C, step_read, va + PAGE, 0, 0, 0);
		wait_blocked(C);
	}
	begin_deed(d, va + PAGE);
	let_go(gate);
	end(B);
	end(C);
	expect_right_twice(d, va, tag, word);
}

static void leaves(enum gate_id gate, uint64_t tag)
{
	gated_start(&(struct gated){ 0 });
	for (size_t i = 0; i < N_DEEDS; i++) {
		out(&deeds[i], gate, tag, false);
		/* Where the page has not left yet there is nothing to wait for. */
		if (gate != GATE_AGENT_BEFORE_LOCK && gate != GATE_AGENT_BEFORE_MOVE1)
			out(&deeds[i], gate, tag, true);
	}
	gated_stop();
}

#define LEAVES(name_, gate_, tag_)	static void name_(void) { leaves(gate_, tag_); }

LEAVES(before_the_lock, GATE_AGENT_BEFORE_LOCK, TAG)
LEAVES(before_the_move, GATE_AGENT_BEFORE_MOVE1, TAG)
LEAVES(between_the_moves, GATE_AGENT_BETWEEN_MOVES, TAG)
LEAVES(in_staging, GATE_AGENT_AFTER_MOVE, TAG)
LEAVES(before_the_report, GATE_AGENT_BEFORE_REPORT, TAG)
LEAVES(during_the_report, GATE_DAEMON_BEFORE_REPORT, TAG)
LEAVES(kept, GATE_AGENT_BEFORE_RETURN, NOISE)	/* it does not compress, and there is no swap file */

/* ---- on its way in ---- */

static void in(const struct deed *d, enum gate_id gate)
{
	uint64_t word, va = three_pages(TAG, &word);

	evict_all(va, 3);
	hold(gate);
	begin(C, step_read, va + PAGE, 0, 0, 0);
	wait_held(gate);
	begin_deed(d, va + PAGE);
	let_go(gate);
	end(B);
	end(C);
	expect_right_twice(d, va, TAG, word);
}

static void before_the_fill(void)
{
	gated_start(&(struct gated){ 0 });
	for (size_t i = 0; i < N_DEEDS; i++)
		in(&deeds[i], GATE_DAEMON_BEFORE_FILL);
	gated_stop();
}

static void before_the_install(void)
{
	gated_start(&(struct gated){ 0 });
	for (size_t i = 0; i < N_DEEDS; i++)
		in(&deeds[i], GATE_DAEMON_BEFORE_INSTALL);
	gated_stop();
}

/* From the swap file: the worker goes on meanwhile, so what is done to the page is done. */
static void read_from_swap(const struct deed *d, enum gate_id gate)
{
	uint64_t word, va, full;

	gated_start(&(struct gated){ .swap = true });
	va = three_pages(TAG, &word);
	evict_all(va, 3);
	full = fresh(2048, NOISE);
	evict_all(full, 2048);
	t_until(counters().swap_pages >= 1536 * PAGE);
	hold(gate);
	begin(C, step_read, va + PAGE, 0, 0, 0);
	wait_held(gate);
	begin_deed(d, va + PAGE);
	let_go(gate);
	end(B);
	end(C);
	expect_right_twice(d, va, TAG, word);
	gated_stop();
}

#define READS(name_, gate_, i_)	static void name_(void) { read_from_swap(&deeds[i_], gate_); }

READS(swap_read_nothing, GATE_DAEMON_FILE_READ, 0)
READS(swap_read_read, GATE_DAEMON_FILE_READ, 1)
READS(swap_read_write, GATE_DAEMON_FILE_READ, 2)
READS(swap_read_discard, GATE_DAEMON_FILE_READ, 3)
READS(swap_read_unmap, GATE_DAEMON_FILE_READ, 4)
READS(swap_read_map_anew, GATE_DAEMON_FILE_READ, 5)
READS(swap_read_move, GATE_DAEMON_FILE_READ, 6)
READS(swap_read_protect, GATE_DAEMON_FILE_READ, 7)
READS(swap_read_done_nothing, GATE_DAEMON_SWAP_READ, 0)
READS(swap_read_done_read, GATE_DAEMON_SWAP_READ, 1)
READS(swap_read_done_write, GATE_DAEMON_SWAP_READ, 2)
READS(swap_read_done_discard, GATE_DAEMON_SWAP_READ, 3)
READS(swap_read_done_unmap, GATE_DAEMON_SWAP_READ, 4)
READS(swap_read_done_map_anew, GATE_DAEMON_SWAP_READ, 5)
READS(swap_read_done_move, GATE_DAEMON_SWAP_READ, 6)
READS(swap_read_done_protect, GATE_DAEMON_SWAP_READ, 7)

static const struct t_test tests[] = {
	T_TIMEOUT(before_the_lock, 60),
	T_TIMEOUT(before_the_move, 60),
	T_TIMEOUT(between_the_moves, 60),
	T_TIMEOUT(in_staging, 60),
	T_TIMEOUT(before_the_report, 60),
	T_TIMEOUT(during_the_report, 60),
	T_TIMEOUT(kept, 60),
	T_TIMEOUT(before_the_fill, 60),
	T_TIMEOUT(before_the_install, 60),
	T(swap_read_nothing),
	T(swap_read_read),
	T(swap_read_write),
	T(swap_read_discard),
	T(swap_read_unmap),
	T(swap_read_map_anew),
	T(swap_read_move),
	T(swap_read_protect),
	T(swap_read_done_nothing),
	T(swap_read_done_read),
	T(swap_read_done_write),
	T(swap_read_done_discard),
	T(swap_read_done_unmap),
	T(swap_read_done_map_anew),
	T(swap_read_done_move),
	T(swap_read_done_protect),
	{0}
};

static const struct t_suite suites[] = { { "protocol-edges", tests }, {0} };

HARNESS_MAIN(suites)
