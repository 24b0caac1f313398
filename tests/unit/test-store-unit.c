/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-store-unit.c - the book-keeping of units: states, order of reuse, and its sums, against a
 * model that keeps everything the slow way.
 */
#include <config.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/align.h"
#include "daemon/store.h"
#include "tests/harness.h"

static uint32_t open_unit(struct units *u)
{
	uint32_t i = UINT32_MAX;

	t_ok(units_open(u, &i));
	return i;
}

static uint32_t full_unit(struct units *u, uint32_t used, uint32_t live)
{
	uint32_t i = open_unit(u);

	units_append(u, i, used);
	units_kill(u, i, used - live);
	units_close(u, i);
	return i;
}

static uint32_t full_unit_of(struct units *u, uint64_t owner, uint32_t used, uint32_t live)
{
	uint32_t i = full_unit(u, used, live);

	u->unit[i].owner = owner;
	return i;
}

static void a_new_unit_goes_through_its_life(void)
{
	struct units u;
	uint32_t i;

	units_init(&u, 4);
	i = open_unit(&u);
	t_eq(i, 0);
	t_eq(u.unit[i].state, UNIT_OPEN);
	t_eq(u.used_bytes, FLS_EXTENT);
	units_append(&u, i, 4000);
	units_append(&u, i, 96);
	t_eq(u.unit[i].used, 4096);
	t_eq(u.live_bytes, 4096);
	t_assert(!units_kill(&u, i, 96));
	units_close(&u, i);
	t_eq(u.unit[i].state, UNIT_FULL);
	t_eq(u.unit[i].live, 4000);
	t_assert(!units_kill(&u, i, 3992));
	t_assert(units_kill(&u, i, 8));
	t_eq(u.unit[i].state, UNIT_FREE);
	t_eq(u.used_bytes, 0);
	t_eq(u.live_bytes, 0);
	t_eq(u.n_warm, 1);
	units_fini(&u);
}

static void a_zeroed_or_finished_set_can_be_finished(void)
{
	struct units u;

	memset(&u, 0, sizeof(u));
	units_fini(&u);
	units_fini(&u);
	units_init(&u, 3);
	units_fini(&u);
}

static void an_open_unit_without_live_records_closes_to_free(void)
{
	struct units u;
	uint32_t i;

	units_init(&u, 1);
	i = open_unit(&u);
	units_close(&u, i);
	t_eq(u.unit[i].state, UNIT_FREE);
	i = open_unit(&u);
	units_append(&u, i, 40);
	t_assert(!units_kill(&u, i, 40));
	t_eq(u.unit[i].state, UNIT_OPEN);
	units_close(&u, i);
	t_eq(u.unit[i].state, UNIT_FREE);
	t_eq(u.used_bytes, 0);
	t_eq(u.slack_bytes, 0);
	units_fini(&u);
}

static void no_unit_is_left_at_the_end(void)
{
	struct units u;
	uint32_t i = 77;

	units_init(&u, 2);
	open_unit(&u);
	open_unit(&u);
	t_fails(units_open(&u, &i), ENOSPC);
	t_eq(i, 77);
	units_fini(&u);

	units_init(&u, 0);
	t_fails(units_open(&u, &i), ENOSPC);
	t_eq(i, 77);
	units_fini(&u);
}

/* The kernel refuses the array's address space: an error, and it can be tried again. */
static void no_memory_for_the_array_is_an_error(void)
{
	const struct rlimit none = { 0, RLIM_INFINITY };
	struct rlimit was;
	struct units u;
	uint32_t i = 77;
	int r;

	t_sys(getrlimit(RLIMIT_AS, &was));
	if (was.rlim_max != RLIM_INFINITY)
		t_skip("the address space is limited already");
	units_init(&u, 524288);
	t_sys(setrlimit(RLIMIT_AS, &none));
	r = units_open(&u, &i);
	t_sys(setrlimit(RLIMIT_AS, &was));
	t_fails(r, ENOMEM);
	t_eq(i, 77);
	t_eq(u.used_bytes, 0);
	t_eq(open_unit(&u), 0);
	units_fini(&u);
}

static void half_a_million_units_take_memory_as_they_are_used(void)
{
	const uint32_t n = 524288;
	unsigned char resident[8192];
	struct units u;
	size_t pages, in = 0;

	units_init(&u, n);
	for (int k = 0; k < 10; k++)
		open_unit(&u);
	pages = page_up(n * sizeof(*u.unit)) / FL_PAGE_SIZE;
	t_le(pages, sizeof(resident));
	t_sys(mincore(u.unit, pages * FL_PAGE_SIZE, resident));
	for (size_t k = 0; k < pages; k++)
		in += resident[k] & 1;
	if (in == pages)
		t_skip("this kernel gave huge pages");
	t_le(in, 512);
	units_fini(&u);
}

static void the_last_freed_unit_is_used_first_and_the_first_freed_is_cooled_first(void)
{
	struct units u;
	uint32_t a, b, c, i;

	units_init(&u, 8);
	a = full_unit(&u, 800, 800);
	b = full_unit(&u, 800, 800);
	c = full_unit(&u, 800, 800);
	units_kill(&u, b, 800);
	units_kill(&u, a, 800);
	units_kill(&u, c, 800);
	t_eq(u.n_warm, 3);
	t_assert(units_take_warm(&u, &i));
	t_eq(i, b);
	t_eq(u.n_warm, 2);
	t_eq(open_unit(&u), c);
	t_eq(open_unit(&u), a);
	units_give_cold(&u, i, true);
	t_eq(u.n_warm, 0);
	t_assert(!units_take_warm(&u, &i));
	t_eq(open_unit(&u), b);		/* a cold one before one that was never used */
	t_eq(open_unit(&u), 3);
	units_fini(&u);
}

static void a_unit_that_could_not_be_cooled_stays_warm(void)
{
	struct units u;
	uint32_t a, i;

	units_init(&u, 8);
	a = full_unit(&u, 800, 800);
	units_kill(&u, a, 800);
	t_assert(units_take_warm(&u, &i));
	units_give_cold(&u, i, false);
	t_eq(u.n_warm, 1);
	t_eq(u.unit[a].warm, 1);
	units_fini(&u);
}

static void slack_is_what_an_open_unit_has_not_allocated(void)
{
	struct units u;
	uint32_t i;

	units_init(&u, 8);
	i = open_unit(&u);
	t_eq(u.slack_bytes, FLS_EXTENT);
	units_append(&u, i, 8);
	t_eq(u.slack_bytes, FLS_EXTENT - 4096);
	units_append(&u, i, 4088);
	t_eq(u.slack_bytes, FLS_EXTENT - 4096);
	units_append(&u, i, 8);
	t_eq(u.slack_bytes, FLS_EXTENT - 8192);
	units_close(&u, i);
	t_eq(u.slack_bytes, 0);
	t_assert(units_kill(&u, i, 4104));
	t_eq(open_unit(&u), i);		/* warm: allocated from the start */
	t_eq(u.slack_bytes, 0);
	units_append(&u, i, 8);
	t_eq(u.slack_bytes, 0);
	units_fini(&u);
}

static void the_oldest_is_the_one_closed_first(void)
{
	struct units u;
	uint32_t a, b;

	units_init(&u, 8);
	t_assert(!units_oldest(&u));
	a = full_unit(&u, 800, 800);
	b = full_unit(&u, 800, 8);
	t_eq(units_index(&u, units_oldest(&u)), a);
	units_hold(&u, a);
	t_eq(units_index(&u, units_oldest(&u)), b);
	t_assert(!units_release(&u, a));
	t_eq(units_index(&u, units_oldest(&u)), a);
	units_kill(&u, a, 800);
	t_eq(units_index(&u, units_oldest(&u)), b);
	units_fini(&u);
}

static void the_emptiest_has_the_least_live_within_the_limit(void)
{
	struct units u;
	uint32_t a, b;

	units_init(&u, 8);
	t_assert(!units_emptiest(&u, UINT32_MAX));
	a = full_unit(&u, FLS_EXTENT, 500000);
	b = full_unit(&u, FLS_EXTENT, 300000);
	full_unit(&u, FLS_EXTENT, FLS_EXTENT);
	t_eq(units_index(&u, units_emptiest(&u, UINT32_MAX)), b);
	t_eq(units_index(&u, units_emptiest(&u, 300000)), b);
	t_assert(!units_emptiest(&u, 299992));
	units_kill(&u, a, 499992);
	t_eq(units_index(&u, units_emptiest(&u, UINT32_MAX)), a);
	units_hold(&u, a);
	t_eq(units_index(&u, units_emptiest(&u, UINT32_MAX)), b);
	units_hold(&u, b);
	t_assert(!units_emptiest(&u, 500000));
	units_fini(&u);
}

/* The live share changes while the unit is held: it is back where it belongs afterwards. */
static void a_held_unit_is_not_freed_before_it_is_released(void)
{
	struct units u;
	uint32_t a, b;

	units_init(&u, 8);
	a = full_unit(&u, FLS_EXTENT, FLS_EXTENT);
	b = full_unit(&u, FLS_EXTENT, FLS_EXTENT);
	units_hold(&u, a);
	units_hold(&u, b);
	t_assert(!units_kill(&u, a, FLS_EXTENT));
	t_eq(u.unit[a].state, UNIT_FULL);
	t_eq(open_unit(&u), 2);
	t_assert(units_release(&u, a));
	t_eq(u.unit[a].state, UNIT_FREE);
	t_assert(!units_kill(&u, b, FLS_EXTENT - 8));
	t_assert(!units_release(&u, b));
	t_eq(units_index(&u, units_emptiest(&u, 8)), b);
	units_fini(&u);
}

static void a_lost_unit_is_never_offered_and_freed_by_its_last_record(void)
{
	struct units u;
	uint32_t a, b;

	units_init(&u, 8);
	a = full_unit(&u, 800, 800);
	units_hold(&u, a);
	t_assert(!units_lose(&u, a));
	t_assert(!units_emptiest(&u, UINT32_MAX));
	t_assert(!units_oldest(&u));
	t_assert(!units_kill(&u, a, 400));
	t_assert(units_kill(&u, a, 400));
	t_eq(u.unit[a].state, UNIT_FREE);
	t_eq(u.unit[a].busy, 0);

	b = full_unit(&u, 800, 800);
	units_hold(&u, b);
	units_kill(&u, b, 800);
	t_assert(units_lose(&u, b));
	t_eq(u.unit[b].state, UNIT_FREE);
	units_fini(&u);
}

static void an_abandoned_unit_is_cold_and_a_discarded_one_gone(void)
{
	struct units u;
	uint32_t a;

	units_init(&u, 2);
	a = open_unit(&u);
	units_abandon(&u, a);
	t_eq(u.n_warm, 0);
	t_eq(u.used_bytes, 0);
	t_eq(u.slack_bytes, 0);
	t_eq(open_unit(&u), a);
	units_discard(&u, a);
	t_eq(u.unit[a].state, UNIT_BAD);
	t_eq(u.used_bytes, 0);
	t_eq(u.slack_bytes, 0);
	t_eq(open_unit(&u), 1);
	t_fails(units_open(&u, &a), ENOSPC);
	units_fini(&u);
}

static void the_emptiest_of_an_owner_is_found_among_many_of_others(void)
{
	struct units u;
	uint32_t mine, tries = 0;
	struct unit *x = NULL;

	units_init(&u, 2000);
	for (int k = 0; k < 500; k++)
		full_unit_of(&u, 1, 800, 800);
	mine = full_unit_of(&u, 2, 800, 800);
	for (int k = 0; k < 500; k++)
		full_unit_of(&u, 1, 800, 800);
	while (!x) {
		x = units_emptiest_of(&u, 2, UINT32_MAX);
		t_le(++tries, 1001);
	}
	t_eq(units_index(&u, x), mine);
	t_assert(!units_emptiest_of(&u, 3, UINT32_MAX));
	t_eq(units_emptiest_of(&u, 1, UINT32_MAX)->owner, 1);
	units_fini(&u);
}

/* Units of others that are nearly empty do not hide one's own that is less so. */
static void the_emptiest_of_an_owner_is_found_behind_emptier_ones_of_others(void)
{
	struct units u;
	uint32_t mine;

	units_init(&u, 2000);
	for (int k = 0; k < 500; k++)
		full_unit_of(&u, 1, 800, 8);
	mine = full_unit_of(&u, 2, FLS_EXTENT, FLS_EXTENT / 2);
	t_eq(units_index(&u, units_emptiest_of(&u, 2, UINT32_MAX)), mine);
	units_fini(&u);
}

static void a_unit_below_the_limit_is_found_among_many_above_it(void)
{
	struct units u;
	uint32_t low, tries = 0;
	struct unit *x = NULL;

	units_init(&u, 2000);
	for (int k = 0; k < 300; k++)
		full_unit(&u, 30000, 30000);
	low = full_unit(&u, 30000, 20000);
	for (int k = 0; k < 300; k++)
		full_unit(&u, 30000, 30000);
	while (!x) {
		x = units_emptiest(&u, 25000);
		t_le(++tries, 601);
	}
	t_eq(units_index(&u, x), low);
	units_fini(&u);
}

/* ---- what must not happen ends the daemon, rather than hurt the accounts ---- */

static bool aborts(void (*fn)(struct units *u))
{
	const struct rlimit no_core = { 0, 0 };
	pid_t pid = t_sys(fork());
	int status;

	if (!pid) {
		struct units u;

		setrlimit(RLIMIT_CORE, &no_core);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		units_init(&u, 4);
		fn(&u);
		_exit(0);
	}
	t_sys(waitpid(pid, &status, 0));
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void kill_too_much(struct units *u)
{
	units_kill(u, full_unit(u, 800, 400), 408);
}

static void kill_in_a_free_one(struct units *u)
{
	uint32_t i = full_unit(u, 800, 800);

	units_kill(u, i, 800);
	units_kill(u, i, 8);
}

static void append_beyond_the_end(struct units *u)
{
	uint32_t i = open_unit(u);

	units_append(u, i, FLS_EXTENT);
	units_append(u, i, 8);
}

static void append_to_a_closed_one(struct units *u)
{
	units_append(u, full_unit(u, 800, 800), 8);
}

static void close_twice(struct units *u)
{
	units_close(u, full_unit(u, 800, 800));
}

static void hold_twice(struct units *u)
{
	uint32_t i = full_unit(u, 800, 800);

	units_hold(u, i);
	units_hold(u, i);
}

static void abandon_what_was_written(struct units *u)
{
	uint32_t i = open_unit(u);

	units_append(u, i, 8);
	units_abandon(u, i);
}

static void kill_in_one_that_never_was(struct units *u)
{
	units_kill(u, 3, 8);
}

static void impossible_transitions_abort(void)
{
	t_assert(aborts(kill_too_much));
	t_assert(aborts(kill_in_a_free_one));
	t_assert(aborts(append_beyond_the_end));
	t_assert(aborts(append_to_a_closed_one));
	t_assert(aborts(close_twice));
	t_assert(aborts(hold_twice));
	t_assert(aborts(abandon_what_was_written));
	t_assert(aborts(kill_in_one_that_never_was));
}

/* ---- a long random life, against a model ---- */

#define MODEL_N 60u

struct model {
	struct {
		enum { M_FREE, M_OPEN, M_FULL, M_HELD, M_LOST, M_BAD } is;
		bool warm;
		uint32_t used, live;
		uint64_t closed;		/* when: for the oldest */
	} unit[MODEL_N];
	uint64_t now;
	uint32_t n_bad;
};

static bool model_full(const struct model *m, uint32_t i)
{
	return m->unit[i].is == M_FULL;
}

static void compare_unit(const struct units *u, const struct model *m, uint32_t i)
{
	static const enum unit_state state[] = {
		[M_FREE] = UNIT_FREE, [M_OPEN] = UNIT_OPEN, [M_FULL] = UNIT_FULL,
		[M_HELD] = UNIT_FULL, [M_LOST] = UNIT_FULL, [M_BAD] = UNIT_BAD,
	};

	t_eq(u->unit[i].state, state[m->unit[i].is]);
	t_eq(u->unit[i].used, m->unit[i].used);
	t_eq(u->unit[i].live, m->unit[i].live);
	t_eq(u->unit[i].busy, m->unit[i].is == M_HELD || m->unit[i].is == M_LOST);
}

static void compare_sums(const struct units *u, const struct model *m)
{
	uint64_t used = 0, live = 0, slack = 0, warm = 0;

	for (uint32_t i = 0; i < u->n; i++) {
		compare_unit(u, m, i);
		live += m->unit[i].live;
		if (m->unit[i].is == M_FREE)
			warm += m->unit[i].warm;
		else if (m->unit[i].is != M_BAD)
			used += FLS_EXTENT;
		if (m->unit[i].is == M_OPEN && !m->unit[i].warm)
			slack += FLS_EXTENT - page_up(m->unit[i].used);
	}
	t_eq(u->used_bytes, used);
	t_eq(u->live_bytes, live);
	t_eq(u->slack_bytes, slack);
	t_eq(u->n_warm, warm);
}

static void compare_offers(struct units *u, const struct model *m)
{
	uint32_t oldest = UINT32_MAX, least = UINT32_MAX;
	const struct unit *x;

	for (uint32_t i = 0; i < u->n; i++) {
		if (!model_full(m, i))
			continue;
		if (oldest == UINT32_MAX || m->unit[i].closed < m->unit[oldest].closed)
			oldest = i;
		least = min(least, m->unit[i].live);
	}
	x = units_oldest(u);
	t_eq(x ? units_index(u, x) : UINT32_MAX, oldest);
	x = units_emptiest(u, UINT32_MAX);
	t_eq(!x, least == UINT32_MAX);
	/* Within a 32nd of a unit of the best. */
	t_assert(!x || x->live < least + FLS_EXTENT / UNIT_BUCKETS);
}

static void model_freed(struct model *m, uint32_t i)
{
	m->unit[i].is = M_FREE;
	m->unit[i].used = m->unit[i].live = 0;
	m->unit[i].warm = true;
}

static void step_open(struct units *u, struct model *m)
{
	bool any = false, any_warm = false;
	uint32_t i = UINT32_MAX;

	for (uint32_t k = 0; k < MODEL_N; k++) {
		any |= m->unit[k].is == M_FREE;
		any_warm |= m->unit[k].is == M_FREE && m->unit[k].warm;
	}
	if (!any) {
		t_fails(units_open(u, &i), ENOSPC);
		return;
	}
	t_ok(units_open(u, &i));
	t_eq(m->unit[i].is, M_FREE);
	t_eq(m->unit[i].warm, any_warm);
	m->unit[i].is = M_OPEN;
}

static void step_open_unit(struct units *u, struct model *m, uint32_t i)
{
	uint32_t room = (FLS_EXTENT - m->unit[i].used) / 8;
	uint64_t what = t_random_below(20);

	if (what < 14 && room) {
		uint32_t bytes = 8 * (uint32_t)(1 + t_random_below(min(room, 20000u)));

		units_append(u, i, bytes);
		m->unit[i].used += bytes;
		m->unit[i].live += bytes;
	} else if (!m->unit[i].used && what == 14 && m->n_bad < 5) {
		units_discard(u, i);
		m->unit[i].is = M_BAD;
		m->n_bad++;
	} else if (!m->unit[i].used && what == 15) {
		units_abandon(u, i);
		model_freed(m, i);
		m->unit[i].warm = false;
	} else {
		units_close(u, i);
		if (!m->unit[i].live)
			model_freed(m, i);
		else
			m->unit[i].is = M_FULL;
		m->unit[i].closed = (UINT64_C(1) << 40) + m->now;
	}
}

static void step_kill(struct units *u, struct model *m, uint32_t i)
{
	uint32_t live = m->unit[i].live / 8, bytes;
	bool freed;

	if (!live)
		return;
	bytes = t_random_below(4) ? 8 * (uint32_t)(1 + t_random_below(live)) : m->unit[i].live;
	freed = units_kill(u, i, bytes);
	m->unit[i].live -= bytes;
	t_eq(freed, !m->unit[i].live && (m->unit[i].is == M_FULL || m->unit[i].is == M_LOST));
	if (freed)
		model_freed(m, i);
}

static void step_held(struct units *u, struct model *m, uint32_t i)
{
	bool lose = !t_random_below(10);
	bool freed = lose ? units_lose(u, i) : units_release(u, i);

	t_eq(freed, !m->unit[i].live);
	if (freed) {
		model_freed(m, i);
		return;
	}
	m->unit[i].is = lose ? M_LOST : M_FULL;
	m->unit[i].closed = (UINT64_C(1) << 40) - m->now;	/* in front of all others */
}

static void step_cool(struct units *u, struct model *m)
{
	bool cold = t_random_below(2);
	uint32_t i;

	if (!units_take_warm(u, &i))
		return;
	t_eq(m->unit[i].is, M_FREE);
	t_assert(m->unit[i].warm);
	units_give_cold(u, i, cold);
	m->unit[i].warm = !cold;
}

static void step(struct units *u, struct model *m)
{
	uint32_t i = (uint32_t)t_random_below(MODEL_N);

	m->now++;
	if (!t_random_below(6))
		step_open(u, m);
	if (!t_random_below(50))
		step_cool(u, m);
	switch (m->unit[i].is) {
	case M_OPEN:
		if (t_random_below(3))
			step_open_unit(u, m, i);
		else
			step_kill(u, m, i);
		break;
	case M_FULL:
		if (t_random_below(3)) {
			step_kill(u, m, i);
		} else {
			units_hold(u, i);
			m->unit[i].is = M_HELD;
		}
		break;
	case M_HELD:
		if (t_random_below(2))
			step_held(u, m, i);
		else
			step_kill(u, m, i);
		break;
	case M_LOST:
		step_kill(u, m, i);
		break;
	case M_FREE:
	case M_BAD:
		break;
	}
}

static void a_long_random_life_agrees_with_the_model(void)
{
	struct model m = {0};
	struct units u;

	t_seed();
	units_init(&u, MODEL_N);
	for (int k = 0; k < 60000; k++) {
		step(&u, &m);
		compare_sums(&u, &m);
		compare_offers(&u, &m);
	}
	units_fini(&u);
}

static const struct t_test tests[] = {
	T(a_new_unit_goes_through_its_life),
	T(a_zeroed_or_finished_set_can_be_finished),
	T(an_open_unit_without_live_records_closes_to_free),
	T(no_unit_is_left_at_the_end),
	T(no_memory_for_the_array_is_an_error),
	T(half_a_million_units_take_memory_as_they_are_used),
	T(the_last_freed_unit_is_used_first_and_the_first_freed_is_cooled_first),
	T(a_unit_that_could_not_be_cooled_stays_warm),
	T(slack_is_what_an_open_unit_has_not_allocated),
	T(the_oldest_is_the_one_closed_first),
	T(the_emptiest_has_the_least_live_within_the_limit),
	T(a_held_unit_is_not_freed_before_it_is_released),
	T(a_lost_unit_is_never_offered_and_freed_by_its_last_record),
	T(an_abandoned_unit_is_cold_and_a_discarded_one_gone),
	T(the_emptiest_of_an_owner_is_found_among_many_of_others),
	T(the_emptiest_of_an_owner_is_found_behind_emptier_ones_of_others),
	T(a_unit_below_the_limit_is_found_among_many_above_it),
	T(impossible_transitions_abort),
	T_TIMEOUT(a_long_random_life_agrees_with_the_model, 120),
	{0}
};

static const struct t_suite suites[] = { { "store-unit", tests }, {0} };

HARNESS_MAIN(suites)
