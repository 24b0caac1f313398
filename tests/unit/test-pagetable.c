/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-pagetable.c - index -> page of one bo, and what an absent chunk says. */
#include <config.h>

#include <string.h>

#include "daemon/pagetable.h"
#include "tests/harness.h"
#include "tests/unit/fail-alloc.h"

static struct state st;

static void start(struct pagetable *pt, uint64_t n_pages)
{
	t_ok(state_init(&st, 1));
	t_ok(pagetable_init(pt, &st, 1, n_pages));
}

static void end(struct pagetable *pt)
{
	pagetable_fini(pt);
	t_eq(st.n_free, st.n_chunks);
	state_fini(&st);
}

static void a_page_that_was_never_needed_is_absent(void)
{
	struct pagetable pt;

	start(&pt, 5000);
	for (uint64_t i = 0; i < 5000; i++)
		t_assert(!pagetable_get(&pt, i));
	t_eq(pagetable_absent(&pt), PAGE_UNKNOWN);
	t_eq(st.n_chunks, 0);
	end(&pt);
}

static void a_page_stays_where_it_is(void)
{
	struct pagetable pt;
	struct page *p, *q;

	start(&pt, 5000);
	p = pagetable_need(&pt, 1000);
	t_assert(p && page_state(p) == PAGE_UNKNOWN);
	for (uint64_t i = 0; i < 5000; i++)
		t_assert(pagetable_need(&pt, i));
	q = pagetable_get(&pt, 1000);
	t_eq((intptr_t)p, (intptr_t)q);
	t_eq((intptr_t)pagetable_get(&pt, 1001), (intptr_t)(p + 1));
	t_eq(st.n_chunks, 10);
	end(&pt);
}

static void each_page_has_an_entry_of_its_own(void)
{
	struct pagetable pt;

	start(&pt, 3000);
	for (uint64_t i = 0; i < 3000; i++)
		pagetable_need(&pt, i)->sum = i;
	for (uint64_t i = 0; i < 3000; i++)
		t_eq(pagetable_get(&pt, i)->sum, i);
	end(&pt);
}

static void its_chunks_can_be_found_without_the_directory(void)
{
	struct pagetable pt;

	start(&pt, 100000);
	pagetable_need(&pt, 99999)->sum = 1;
	t_eq(st.desc[0].bo, 1);
	t_eq(st.desc[0].first, 99999 / STATE_CHUNK_PAGES);
	t_eq(state_chunk_pages(&st, 0)[99999 % STATE_CHUNK_PAGES].sum, 1);
	end(&pt);
}

static void skip_goes_to_the_next_page_that_is_there(void)
{
	struct pagetable pt;

	start(&pt, 10 * 512 + 3);
	t_eq(pagetable_skip(&pt, 0), 10 * 512 + 3);
	pagetable_need(&pt, 4 * 512 + 7);
	pagetable_need(&pt, 10 * 512 + 1);
	t_eq(pagetable_skip(&pt, 0), 4 * 512);
	t_eq(pagetable_skip(&pt, 4 * 512 - 1), 4 * 512);
	t_eq(pagetable_skip(&pt, 4 * 512 + 9), 4 * 512 + 9);
	t_eq(pagetable_skip(&pt, 5 * 512), 10 * 512);
	t_eq(pagetable_skip(&pt, 10 * 512 + 2), 10 * 512 + 2);
	t_eq(pagetable_skip(&pt, 10 * 512 + 3), 10 * 512 + 3);
	t_eq(pagetable_skip(&pt, UINT64_MAX), 10 * 512 + 3);
	end(&pt);
}

static void a_table_of_16_tib_costs_what_is_used_of_it(void)
{
	struct pagetable pt;

	start(&pt, UINT32_MAX);
	pagetable_need(&pt, UINT32_MAX - UINT64_C(1))->sum = 9;
	pagetable_need(&pt, 0)->sum = 8;
	t_eq(pagetable_get(&pt, UINT32_MAX - UINT64_C(1))->sum, 9);
	t_eq(pagetable_skip(&pt, 512), UINT32_MAX - UINT32_MAX % 512u);
	t_eq(st.n_chunks, 2);
	end(&pt);
}

static void a_size_that_cannot_be_is_refused(void)
{
	struct pagetable pt;

	t_ok(state_init(&st, 1));
	t_fails(pagetable_init(&pt, &st, 1, 0), EINVAL);
	pagetable_fini(&pt);
	t_fails(pagetable_init(&pt, &st, 1, UINT64_C(1) << 32), EINVAL);
	pagetable_fini(&pt);
	t_fails(pagetable_init(&pt, &st, 0, 1), EINVAL);
	pagetable_fini(&pt);
	state_fini(&st);
}

static void absent_pages_of_a_table_born_empty_are_empty(void)
{
	struct pagetable pt;

	start(&pt, 2000);
	pt.born_empty = true;
	t_eq(pagetable_absent(&pt), PAGE_EMPTY);
	t_assert(!pagetable_get(&pt, 600));
	t_assert(pagetable_need(&pt, 600));
	for (uint64_t i = 512; i < 1024; i++) {
		t_eq(page_state(pagetable_get(&pt, i)), PAGE_EMPTY);
		t_assert(page_removed(pagetable_get(&pt, i)));
	}
	t_assert(!pagetable_get(&pt, 1024));
	end(&pt);
}

static void the_chunks_of_a_table_that_ends_serve_another(void)
{
	struct pagetable a, b;

	start(&a, 2048);
	t_ok(pagetable_init(&b, &st, 2, 2048));
	for (uint64_t i = 0; i < 2048; i += 512) {
		pagetable_need(&a, i)->sum = 1;
		pagetable_need(&b, i)->sum = 2;
	}
	pagetable_fini(&a);
	t_eq(st.n_free, 4);
	t_ok(pagetable_init(&a, &st, 3, 2048));
	for (uint64_t i = 0; i < 2048; i += 512) {
		t_eq(pagetable_need(&a, i)->sum, 0);
		t_eq(pagetable_get(&b, i)->sum, 2);
	}
	t_eq(st.n_chunks, 8);
	pagetable_fini(&b);
	end(&a);
}

static void without_memory_a_page_stays_absent(void)
{
	struct pagetable pt;
	struct page *p;
	unsigned int n;
	int r;

	t_ok(state_init(&st, 1));
	t_assert(fail_alloc(0, pagetable_init(&pt, &st, 1, 512), &r));
	t_fails(r, ENOMEM);
	pagetable_fini(&pt);

	t_ok(pagetable_init(&pt, &st, 1, 512));
	for (n = 0; fail_alloc(n, pagetable_need(&pt, 3), &p); n++) {
		t_assert(!p);
		t_assert(!pagetable_get(&pt, 3));
	}
	t_gt(n, 0);
	t_assert(p);
	end(&pt);
}

static void it_agrees_with_a_flat_array(void)
{
	enum { PAGES = 512 * 37 + 11 };
	static bool there[PAGES / 512 + 1];
	static uint64_t flat[PAGES];
	struct pagetable pt;

	t_seed();
	start(&pt, PAGES);
	for (int i = 0; i < 20000; i++) {
		uint64_t at = t_random_below(PAGES), next = at;

		if (!t_random_below(64)) {
			flat[at] = t_random();
			pagetable_need(&pt, at)->sum = flat[at];
			there[at / 512] = true;
		}
		t_eq(!!pagetable_get(&pt, at), there[at / 512]);
		if (there[at / 512])
			t_assert(pagetable_get(&pt, at)->sum == flat[at]);
		while (next < PAGES && !there[next / 512])
			next++;
		t_eq(pagetable_skip(&pt, at), next);
	}
	end(&pt);
}

static const struct t_test tests[] = {
	T(a_page_that_was_never_needed_is_absent),
	T(a_page_stays_where_it_is),
	T(each_page_has_an_entry_of_its_own),
	T(its_chunks_can_be_found_without_the_directory),
	T(skip_goes_to_the_next_page_that_is_there),
	T(a_table_of_16_tib_costs_what_is_used_of_it),
	T(a_size_that_cannot_be_is_refused),
	T(absent_pages_of_a_table_born_empty_are_empty),
	T(the_chunks_of_a_table_that_ends_serve_another),
	T(without_memory_a_page_stays_absent),
	T(it_agrees_with_a_flat_array),
	{0}
};

static const struct t_suite suites[] = { { "pagetable", tests }, {0} };

HARNESS_MAIN(suites)
