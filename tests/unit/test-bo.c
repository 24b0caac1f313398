/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-bo.c - a buffer object's life, and that charges and counters follow its pages exactly. */
#include <config.h>

#include <string.h>

#include "tests/harness.h"
#include "tests/unit/fail-alloc.h"
#include "tests/unit/fake-session.h"

static struct session *s;
static struct bo *bo;

static struct page *start(void)
{
	struct page *p;

	s = fake_session();
	t_ok(bo_new(&bo, s, 1000));
	p = pagetable_need(&bo->pages, 7);
	t_assert(p);
	return p;
}

static void end(void)
{
	fake_session_check(s);
	fake_session_end(s);
}

/* ---- life ---- */

static void ids_begin_at_one_and_are_never_used_twice(void)
{
	struct bo *a, *b, *c;

	s = fake_session();
	t_ok(bo_new(&a, s, 1));
	t_ok(bo_new(&b, s, 1));
	t_eq(a->id, 1);
	t_eq(b->id, 2);
	bo_release(b);
	t_ok(bo_new(&c, s, 1));
	t_eq(c->id, 3);
	end();
}

static void when_the_ids_are_used_up_there_are_no_more(void)
{
	struct bo *a;

	s = fake_session();
	s->next_bo = UINT32_MAX - 1;
	t_ok(bo_new(&a, s, 1));
	t_fails(bo_new(&a, s, 1), ENOSPC);
	end();
}

static void a_bo_is_found_by_its_id(void)
{
	enum { N = 300 };
	struct bo *b[N];

	s = fake_session();
	for (unsigned int i = 0; i < N; i++)
		t_ok(bo_new(&b[i], s, 1));
	for (unsigned int i = 0; i < N; i += 3)
		bo_release(b[i]);
	for (unsigned int i = 0; i < N; i++)
		t_assert(bo_find(s, i + 1) == (i % 3 ? b[i] : NULL));
	t_assert(!bo_find(s, 0) && !bo_find(s, N + 1));
	end();
}

static void it_lives_while_a_region_maps_it_or_a_page_is_under_way(void)
{
	start();
	bo->n_regions = 1;
	bo_release(bo);
	t_assert(bo_find(s, 1));
	bo->n_regions = 0;
	bo->n_moving = 1;
	bo_release(bo);
	t_assert(bo_find(s, 1));
	bo->n_moving = 0;
	bo_release(bo);
	t_assert(!bo_find(s, 1));
	end();
}

static void without_memory_there_is_no_bo_and_no_id_is_used(void)
{
	struct bo *b = NULL;
	unsigned int n;
	int r;

	s = fake_session();
	for (n = 0; fail_alloc(n, bo_new(&b, s, 1000), &r); n++) {
		t_fails(r, ENOMEM);
		t_assert(!b && LIST_EMPTY(&s->bos));
	}
	t_eq(n, 2);
	t_eq(b->id, 1);
	t_fails(bo_new(&b, s, 0), EINVAL);
	end();
}

static void tell(struct resv_request *req, int result)
{
	req->tid = (uint32_t)-result;
}

static void who_waits_for_a_bo_that_goes_is_told(void)
{
	struct resv_request req = { .done = tell, .holder = &req, .tid = 5 };

	start();
	t_ok(resv_try(&bo->resv, s, 1));
	t_eq(resv_take(&bo->resv, &req), RESV_WAITS);
	bo_release(bo);
	t_eq(req.tid, ESTALE);
	end();
}

static void whatever_its_pages_are_nothing_is_left_of_it(void)
{
	start();
	for (int state = 0; state < PAGE_STATES; state++)
		for (int kind = KIND_NONE; kind <= KIND_SWAP; kind++) {
			const uint32_t i = (uint32_t)(state * 10 + kind);

			if (state == PAGE_STORED && kind == KIND_NONE)
				continue;
			fake_bring(bo, pagetable_need(&bo->pages, i), state, kind);
		}
	fake_session_check(s);
	t_gt(s->c.resident, 0);
	t_gt(s->c.stored, 0);
	t_gt(s->c.clean, 0);
	end();		/* sees to it */
}

/* ---- one page ---- */

static void a_page_reported_present_is_charged(void)
{
	struct page *p = start();

	bo_page_present(bo, p);
	t_eq(page_state(p), PAGE_RESIDENT);
	t_eq(s->job->resident, 1);
	t_eq(s->c.resident, 4096);
	t_eq(fake_peaks, 1);
	end();
}

static void a_page_is_charged_from_the_start_of_its_fill(void)
{
	struct page *p = start();

	bo_page_filling(bo, p);
	t_eq(s->job->resident, 1);
	bo_page_filled(bo, p);
	t_eq(s->job->resident, 1);
	t_eq(fake_peaks, 1);
	end();
}

static void a_page_is_charged_until_it_is_stored(void)
{
	struct page *p = start();

	fake_bring(bo, p, PAGE_LEAVING, KIND_NONE);
	t_eq(s->job->resident, 1);
	fake_copy(bo, p, KIND_POOL, 1000);
	t_eq(s->c.pool_live, 1000);
	t_eq(s->c.clean, 4096);
	bo_page_stored(bo, p);
	t_eq(s->job->resident, 0);
	t_eq(s->c.resident, 0);
	t_eq(s->c.stored, 4096);
	t_eq(s->c.pool_pages, 4096);
	t_eq(s->c.pool_live, 1000);
	t_eq(s->c.clean, 0);
	end();
}

static void each_kind_is_counted_as_what_it_is(void)
{
	start();
	for (unsigned int kind = KIND_ZERO; kind <= KIND_SWAP; kind++)
		for (unsigned int i = 0; i < kind; i++)
			fake_bring(bo, pagetable_need(&bo->pages, kind * 8 + i), PAGE_STORED, kind);
	t_eq(s->c.stored, 10 * 4096);
	t_eq(s->c.zero, 1 * 4096);
	t_eq(s->c.same, 2 * 4096);
	t_eq(s->c.pool_pages, 3 * 4096);
	t_eq(s->c.swap_pages, 4 * 4096);
	t_eq(s->c.pool_live, 3 * 1024);
	t_eq(s->c.swap_live, 4 * 1024);
	end();
}

static void a_page_filled_from_a_record_keeps_it_as_a_clean_copy(void)
{
	struct page *p = start();

	fake_bring(bo, p, PAGE_STORED, KIND_SWAP);
	bo_page_filling(bo, p);
	t_eq(s->c.stored, 0);
	t_eq(s->c.swap_pages, 0);
	t_eq(s->c.clean, 4096);
	bo_page_filled(bo, p);
	t_eq(page_kind(p), KIND_SWAP);
	t_eq(s->c.clean, 4096);
	t_eq(s->c.swap_live, 1024);

	bo_page_leaving(bo, p);			/* unchanged: out again with the same copy */
	bo_page_stored(bo, p);
	t_eq(s->c.clean, 0);
	t_eq(s->c.swap_pages, 4096);
	t_eq(s->c.swap_live, 1024);
	end();
}

static void a_page_filled_with_zeros_keeps_no_copy(void)
{
	struct page *p = start();

	fake_bring(bo, p, PAGE_STORED, KIND_ZERO);
	bo_page_filling(bo, p);
	t_eq(s->c.clean, 0);
	bo_page_filled(bo, p);
	t_eq(page_kind(p), KIND_NONE);
	end();
}

static void a_fill_that_is_given_up_leaves_the_page_as_it_was(void)
{
	static const enum page_state states[] = { PAGE_UNKNOWN, PAGE_EMPTY, PAGE_STORED };

	start();
	for (int kind = KIND_ZERO; kind <= KIND_SWAP; kind++) {
		for (unsigned int i = 0; i < 3; i++) {
			struct page *p = pagetable_need(&bo->pages, (uint32_t)kind * 8 + i), before;

			fake_bring(bo, p, states[i], kind);
			before = *p;
			bo_page_filling(bo, p);
			bo_page_fill_undone(bo, p);
			t_memeq(p, &before, sizeof(before));
			fake_session_check(s);
		}
	}
	t_eq(s->job->resident, 0);
	end();
}

/* The kernel tells of a discard before it does it: what was filled in between may still go. */
static void a_page_that_was_removed_is_marked_so_after_its_fill(void)
{
	struct page *p = start();

	bo_discard(bo, 7);
	t_eq(page_state(p), PAGE_EMPTY);
	t_assert(page_removed(p));
	bo_page_filling(bo, p);
	bo_page_filled(bo, p);
	t_assert(page_removed(p));
	end();
}

static void a_page_that_its_agent_lost_is_poisoned(void)
{
	for (unsigned int kind = KIND_NONE; kind <= KIND_SWAP; kind++) {
		struct page *p = start();

		fake_bring(bo, p, PAGE_LEAVING, kind);
		bo_page_lost(bo, p);
		t_eq(page_state(p), PAGE_POISONED);
		t_eq(page_kind(p), KIND_NONE);
		t_eq(s->job->resident, 0);
		t_eq(s->c.poisoned, 1);
		end();
	}
}

static void a_poisoned_page_costs_nothing_and_is_counted(void)
{
	struct page *p = start();

	fake_bring(bo, p, PAGE_STORED, KIND_POOL);
	bo_page_filling(bo, p);
	bo_page_poisoned(bo, p);
	t_eq(page_state(p), PAGE_POISONED);
	t_eq(s->job->resident, 0);
	t_eq(s->c.poisoned, 1);
	t_eq(s->c.pool_live, 0);
	bo_discard(bo, 7);
	t_eq(page_state(p), PAGE_EMPTY);
	t_eq(s->c.poisoned, 1);
	end();
}

static void a_page_that_stayed_is_as_before(void)
{
	struct page *p = start(), before;

	fake_bring(bo, p, PAGE_RESIDENT, KIND_POOL);
	before = *p;
	bo_page_leaving(bo, p);
	bo_page_stayed(bo, p);
	t_memeq(p, &before, sizeof(before));
	t_eq(s->c.clean, 4096);
	end();
}

static void a_new_copy_takes_the_place_of_the_old(void)
{
	struct page *p = start();
	uint64_t old;

	fake_bring(bo, p, PAGE_LEAVING, KIND_SWAP);
	old = page_loc(p);
	fake_copy(bo, p, KIND_POOL, 800);
	t_eq(fake_swap_last, old);
	t_eq(fake_swap_live, 0);
	t_eq(s->c.swap_live, 0);
	t_eq(s->c.pool_live, 800);
	fake_copy(bo, p, KIND_SAME, 0);
	t_eq(s->pool.units.live_bytes, 0);
	t_eq(s->c.pool_live, 0);
	bo_page_stored(bo, p);
	t_eq(s->c.same, 4096);
	end();
}

static void a_copy_that_is_spilled_is_counted_where_it_is(void)
{
	static const enum page_state states[] = { PAGE_STORED, PAGE_RESIDENT };

	for (unsigned int i = 0; i < 2; i++) {
		struct page *p = start();
		uint64_t loc;

		fake_bring(bo, p, states[i], KIND_POOL);
		loc = page_loc(p);
		fake_swap_live += 1024;
		bo_copy_moved(bo, p, KIND_SWAP, 1 << 20);
		pool_kill(&s->pool, loc, 1024);
		t_eq(s->c.pool_live, 0);
		t_eq(s->c.swap_live, 1024);
		t_eq(s->c.swap_pages, i ? 0 : 4096);
		t_eq(s->c.clean, i ? 4096 : 0);
		t_eq(page_gen(p), 1);
		fake_session_check(s);
		bo_release(bo);
		end();
	}
}

/* ---- discarding ---- */

static void a_discarded_page_is_empty_and_costs_nothing(void)
{
	static const enum page_state states[] = {
		PAGE_UNKNOWN, PAGE_EMPTY, PAGE_RESIDENT, PAGE_STORED, PAGE_POISONED,
	};

	start();
	for (unsigned int i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		for (unsigned int kind = KIND_ZERO; kind <= KIND_SWAP; kind++) {
			const uint32_t index = i * 8 + kind;
			struct page *p = pagetable_need(&bo->pages, index);

			fake_bring(bo, p, states[i], kind);
			page_set_cold(p, true);
			page_set_prefetched(p, true);
			bo_discard(bo, index);
			t_eq(page_state(p), PAGE_EMPTY);
			t_eq(page_kind(p), KIND_NONE);
			t_assert(page_removed(p) && !page_discarded(p));
			fake_session_check(s);
		}
	}
	t_eq(s->c.resident, 0);
	t_eq(s->c.stored, 0);
	t_eq(s->c.clean, 0);
	t_eq(s->pool.units.live_bytes, 0);
	t_eq(fake_swap_live, 0);
	end();
}

static void a_page_being_filled_is_discarded_when_its_fill_ends(void)
{
	for (unsigned int kind = KIND_NONE; kind <= KIND_SWAP; kind++) {
		struct page *p = start();

		fake_bring(bo, p, PAGE_FILLING, kind);
		bo_discard(bo, 7);
		bo_discard(bo, 7);
		t_eq(page_state(p), PAGE_FILLING);
		t_assert(page_discarded(p));
		t_eq(s->job->resident, 1);
		bo_page_fill_dropped(bo, p);
		t_eq(page_state(p), PAGE_EMPTY);
		t_eq(page_kind(p), KIND_NONE);
		t_assert(page_removed(p) && !page_discarded(p));
		t_eq(s->job->resident, 0);
		end();
	}
}

static void a_page_on_its_way_out_is_discarded_when_its_eviction_ends(void)
{
	for (unsigned int kind = KIND_NONE; kind <= KIND_SWAP; kind++) {
		struct page *p = start();

		fake_bring(bo, p, PAGE_LEAVING, kind);
		bo_discard(bo, 7);
		t_eq(page_state(p), PAGE_LEAVING);
		t_assert(page_discarded(p));
		bo_page_left_discarded(bo, p);
		t_eq(page_state(p), PAGE_EMPTY);
		t_assert(page_removed(p) && !page_discarded(p));
		t_eq(s->job->resident, 0);
		t_eq(s->c.clean, 0);
		end();
	}
}

static void discarding_an_absent_page_is_left_to_its_region(void)
{
	start();
	bo_discard(bo, 900);
	t_assert(!pagetable_get(&bo->pages, 900));
	end();
}

/* ---- any order ---- */

static void one_step(struct page *p, uint32_t index)
{
	const enum page_kind kind = KIND_ZERO + t_random_below(4);
	const uint64_t dice = t_random_below(8);

	if (!t_random_below(6)) {
		bo_discard(bo, index);
		return;
	}
	switch (page_state(p)) {
	case PAGE_UNKNOWN:
		if (dice < 4)
			bo_page_present(bo, p);
		else
			bo_page_filling(bo, p);
		break;
	case PAGE_EMPTY:
	case PAGE_STORED:
		bo_page_filling(bo, p);
		break;
	case PAGE_FILLING:
		if (page_discarded(p))
			bo_page_fill_dropped(bo, p);
		else if (!dice)
			bo_page_poisoned(bo, p);
		else if (dice < 3)
			bo_page_fill_undone(bo, p);
		else
			bo_page_filled(bo, p);
		break;
	case PAGE_RESIDENT:
		if (!dice && page_kind(p))
			bo_kill_copy(bo, p);
		else
			bo_page_leaving(bo, p);
		break;
	case PAGE_LEAVING:
		if (page_discarded(p)) {
			bo_page_left_discarded(bo, p);
		} else if (!t_random_below(50)) {
			bo_page_lost(bo, p);
		} else if (dice < 2) {
			bo_page_stayed(bo, p);
		} else {
			if (!page_kind(p) || dice < 5)
				fake_copy(bo, p, kind, (uint32_t)(5 + t_random_below(500)) * 8);
			bo_page_stored(bo, p);
		}
		break;
	case PAGE_POISONED:
		bo_discard(bo, index);
		break;
	case PAGE_STATES:
		t_fail("no such state");
	}
}

static void whatever_happens_the_counters_are_what_the_pages_say(void)
{
	enum { PAGES = 40 };

	t_seed();
	start();
	for (int i = 0; i < 40000; i++) {
		const uint32_t index = (uint32_t)t_random_below(PAGES) * 25;

		one_step(pagetable_need(&bo->pages, index), index);
		if (i % 16 == 0)
			fake_session_check(s);
	}
	end();
}

static const struct t_test tests[] = {
	T(ids_begin_at_one_and_are_never_used_twice),
	T(when_the_ids_are_used_up_there_are_no_more),
	T(a_bo_is_found_by_its_id),
	T(it_lives_while_a_region_maps_it_or_a_page_is_under_way),
	T(without_memory_there_is_no_bo_and_no_id_is_used),
	T(who_waits_for_a_bo_that_goes_is_told),
	T(whatever_its_pages_are_nothing_is_left_of_it),
	T(a_page_reported_present_is_charged),
	T(a_page_is_charged_from_the_start_of_its_fill),
	T(a_page_is_charged_until_it_is_stored),
	T(each_kind_is_counted_as_what_it_is),
	T(a_page_filled_from_a_record_keeps_it_as_a_clean_copy),
	T(a_page_filled_with_zeros_keeps_no_copy),
	T(a_fill_that_is_given_up_leaves_the_page_as_it_was),
	T(a_page_that_was_removed_is_marked_so_after_its_fill),
	T(a_page_that_its_agent_lost_is_poisoned),
	T(a_poisoned_page_costs_nothing_and_is_counted),
	T(a_page_that_stayed_is_as_before),
	T(a_new_copy_takes_the_place_of_the_old),
	T(a_copy_that_is_spilled_is_counted_where_it_is),
	T(a_discarded_page_is_empty_and_costs_nothing),
	T(a_page_being_filled_is_discarded_when_its_fill_ends),
	T(a_page_on_its_way_out_is_discarded_when_its_eviction_ends),
	T(discarding_an_absent_page_is_left_to_its_region),
	T(whatever_happens_the_counters_are_what_the_pages_say),
	{0}
};

static const struct t_suite suites[] = { { "bo", tests }, {0} };

HARNESS_MAIN(suites)
