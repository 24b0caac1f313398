/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-region.c - which addresses map which pages, through all that a client does to its memory. */
#include <config.h>

#include <string.h>

#include "common/align.h"
#include "tests/harness.h"
#include "tests/unit/fail-alloc.h"
#include "tests/unit/fake-session.h"

#define MIB(n)	((uint64_t)(n) << 20)
#define GIB(n)	((uint64_t)(n) << 30)
#define BASE	UINT64_C(0x7f0000000000)

static struct session *s;

static struct page *page_at(uint64_t va)
{
	struct region *r = region_find(s, va);

	t_assert(r);
	return pagetable_need(&r->bo->pages, region_index(r, va));
}

static enum page_state state_at(uint64_t va)
{
	struct region *r = region_find(s, va);
	struct page *p;

	t_assert(r);
	p = pagetable_get(&r->bo->pages, region_index(r, va));
	return p ? page_state(p) : pagetable_absent(&r->bo->pages);
}

static void touch(uint64_t va)
{
	bo_page_present(region_find(s, va)->bo, page_at(va));
}

/* All that must always hold. */
static void check(void)
{
	struct region *r, *in_bo, *last = NULL;
	uint32_t n = 0, n_in_bos = 0;
	struct bo *bo;

	RB_FOREACH(r, region_tree, &s->regions) {
		t_lt(r->start, r->end);
		t_assert(page_aligned(r->start) && page_aligned(r->end));
		t_assert(!last || last->end <= r->start);
		t_le(r->first + region_pages(r), r->bo->pages.n_pages);
		last = r;
		n++;
	}
	t_eq(s->n_regions, n);

	LIST_FOREACH(bo, &s->bos, link) {
		uint32_t k = 0;

		t_assert(bo_find(s, bo->id) == bo);
		t_assert(bo->n_regions || bo->n_moving);
		LIST_FOREACH(in_bo, &bo->regions, bo_link) {
			t_assert(in_bo->bo == bo);
			t_assert(region_find(s, in_bo->start) == in_bo);
			k++;
		}
		t_eq(bo->n_regions, k);
		n_in_bos += k;
	}
	t_eq(n_in_bos, n);
}

static void start(void)
{
	s = fake_session();
}

static void end(void)
{
	check();
	fake_session_check(s);
	fake_session_end(s);
}

/* ---- adopting ---- */

static void an_adopted_range_is_found_and_its_neighbours_are_not(void)
{
	struct region *r;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(1)));
	r = region_find(s, BASE);
	t_assert(r && r->start == BASE && r->end == BASE + MIB(1) && r->first == 0);
	t_assert(region_find(s, BASE + MIB(1) - 1) == r);
	t_assert(!region_find(s, BASE - 1) && !region_find(s, BASE + MIB(1)));
	t_assert(region_next(s, 0) == r && region_next(s, BASE + MIB(1) - 1) == r);
	t_assert(!region_next(s, BASE + MIB(1)));
	t_eq(region_index(r, BASE + 5 * 4096 + 17), 5);
	t_eq(state_at(BASE), PAGE_UNKNOWN);
	end();
}

static void only_gaps_are_adopted(void)
{
	struct bo *middle;

	start();
	t_ok(region_add(s, BASE + MIB(4), BASE + MIB(5)));
	middle = region_find(s, BASE + MIB(4))->bo;
	touch(BASE + MIB(4));
	t_ok(region_add(s, BASE, BASE + MIB(9)));
	t_eq(s->n_regions, 3);
	t_assert(region_find(s, BASE + MIB(4))->bo == middle);
	t_eq(state_at(BASE + MIB(4)), PAGE_RESIDENT);
	t_eq(region_find(s, BASE + MIB(5))->end, BASE + MIB(9));
	t_ok(region_add(s, BASE, BASE + MIB(9)));
	t_eq(s->n_regions, 3);
	end();
}

static void a_bo_covers_64_gib_at_most(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + GIB(200)));
	t_eq(s->n_regions, 4);
	t_ne(region_find(s, BASE)->bo->id, region_find(s, BASE + GIB(64))->bo->id);
	t_eq(region_find(s, BASE + GIB(199))->start, BASE + GIB(192));
	t_eq(region_find(s, BASE + GIB(199))->end, BASE + GIB(200));
	end();
}

static void what_is_no_range_of_pages_is_refused(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + MIB(1)));
	t_fails(region_add(s, BASE + 1, BASE + 4096), EINVAL);
	t_fails(region_add(s, BASE, BASE + 4097), EINVAL);
	t_fails(region_add(s, BASE, BASE), EINVAL);
	t_fails(region_add(s, BASE + 4096, BASE), EINVAL);
	t_fails(region_unmap(s, BASE, BASE + 1), EINVAL);
	t_fails(region_discard(s, BASE + 1, BASE + 4096), EINVAL);
	t_fails(region_cut(s, BASE + 1), EINVAL);
	t_fails(region_move(s, BASE, BASE + MIB(2), 17), EINVAL);
	t_fails(region_move(s, BASE, BASE + MIB(2), 0), EINVAL);
	t_fails(region_move(s, BASE, UINT64_MAX - 4095, 8192), EINVAL);
	t_fails(region_move(s, BASE, BASE + 4096, 8192), EINVAL);
	t_eq(s->n_regions, 1);
	end();
}

static void the_top_of_the_address_space_is_no_trap(void)
{
	const uint64_t top = UINT64_MAX & ~FL_PAGE_MASK;

	start();
	t_ok(region_add(s, top - GIB(65), top));
	t_eq(s->n_regions, 2);
	t_assert(region_find(s, top - 1));
	t_assert(!region_find(s, top) && !region_next(s, top));
	t_ok(region_unmap(s, top - GIB(1), top));
	end();
}

static void a_liar_gets_so_many_regions_and_no_more(void)
{
	start();
	s->n_regions = REGIONS_MAX;
	t_fails(region_add(s, BASE, BASE + 4096), ENOSPC);
	s->n_regions = 0;
	t_assert(RB_EMPTY(&s->regions));
	end();
}

static void adopting_is_all_or_nothing(void)
{
	unsigned int n;
	int r;

	start();
	t_ok(region_add(s, BASE + MIB(2), BASE + MIB(3)));
	t_ok(region_add(s, BASE + MIB(5), BASE + MIB(6)));
	touch(BASE + MIB(2));
	for (n = 0; fail_alloc(n, region_add(s, BASE, BASE + GIB(65)), &r); n++) {
		t_fails(r, ENOMEM);
		t_eq(s->n_regions, 2);
		t_eq(state_at(BASE + MIB(2)), PAGE_RESIDENT);
		check();
	}
	t_ok(r);
	t_eq(n, 4 * 3);		/* four gaps: region, bo, directory */
	t_eq(s->n_regions, 6);
	end();
}

/* ---- unmapping ---- */

static void unmapping_the_middle_leaves_both_ends_of_one_bo(void)
{
	struct region *a, *b;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(3)));
	touch(BASE);
	touch(BASE + MIB(1));
	touch(BASE + MIB(2));
	t_ok(region_unmap(s, BASE + MIB(1), BASE + MIB(2)));
	a = region_find(s, BASE);
	b = region_find(s, BASE + MIB(2));
	t_assert(a && b && a != b && a->bo == b->bo);
	t_eq(a->bo->n_regions, 2);
	t_eq(b->first, 512);
	t_assert(!region_find(s, BASE + MIB(1)));
	t_eq(s->job->resident, 2);
	end();
}

static void the_bo_goes_with_its_last_region(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + MIB(3)));
	touch(BASE + MIB(1));
	t_ok(region_unmap(s, BASE, BASE + MIB(1)));
	t_ok(region_unmap(s, BASE + MIB(2), BASE + MIB(9)));
	t_assert(bo_find(s, 1));
	t_ok(region_unmap(s, BASE - MIB(1), BASE + MIB(2)));
	t_assert(!bo_find(s, 1) && LIST_EMPTY(&s->bos));
	t_eq(s->job->resident, 0);
	t_eq(s->table.n_free, s->table.n_chunks);
	end();
}

static void one_unmap_takes_many_regions(void)
{
	start();
	for (uint64_t i = 0; i < 50; i++)
		t_ok(region_add(s, BASE + MIB(2 * i), BASE + MIB(2 * i + 1)));
	t_ok(region_unmap(s, BASE + MIB(10), BASE + MIB(90)));
	t_eq(s->n_regions, 10);
	end();
}

static void unmapping_what_nobody_knows_is_nothing(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + MIB(1)));
	t_ok(region_unmap(s, BASE + MIB(1), BASE + MIB(2)));
	t_ok(region_unmap(s, BASE - MIB(2), BASE));
	t_eq(s->n_regions, 1);
	end();
}

static void a_page_under_way_outlives_its_region(void)
{
	struct page *p, *q;
	struct bo *bo;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(1)));
	bo = region_find(s, BASE)->bo;
	p = page_at(BASE);
	q = page_at(BASE + 4096);
	fake_bring(bo, p, PAGE_LEAVING, KIND_POOL);
	fake_bring(bo, q, PAGE_FILLING, KIND_NONE);
	bo->n_moving = 2;
	t_ok(region_unmap(s, BASE, BASE + MIB(1)));
	t_assert(bo_find(s, 1) == bo);
	t_assert(page_discarded(p) && page_discarded(q));
	t_eq(s->job->resident, 2);
	check();

	bo_page_left_discarded(bo, p);
	bo_page_fill_dropped(bo, q);
	bo->n_moving = 0;
	bo_release(bo);
	t_eq(s->job->resident, 0);
	end();
}

static void without_memory_an_unmap_can_be_asked_for_again(void)
{
	unsigned int n;
	int r;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(3)));
	touch(BASE + MIB(1));
	for (n = 0; fail_alloc(n, region_unmap(s, BASE + MIB(1), BASE + MIB(2)), &r); n++) {
		t_fails(r, ENOMEM);
		check();
		t_eq(state_at(BASE + MIB(1)), PAGE_RESIDENT);
	}
	t_ok(r);
	t_gt(n, 0);
	t_eq(s->job->resident, 0);
	end();
}

/* ---- moving ---- */

static void pages_keep_their_numbers_when_they_move(void)
{
	struct region *r;
	struct bo *bo;
	uint64_t va = 0;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(1)));
	bo = region_find(s, BASE)->bo;
	touch(BASE + 5 * 4096);
	t_ok(region_move(s, BASE, BASE + GIB(1), MIB(1)));
	t_assert(!region_find(s, BASE));
	r = region_find(s, BASE + GIB(1));
	t_assert(r && r->bo == bo && r->first == 0 && r->end == BASE + GIB(1) + MIB(1));
	t_eq(state_at(BASE + GIB(1) + 5 * 4096), PAGE_RESIDENT);
	t_assert(region_of_page(s, bo, 5, &va) == r);
	t_eq(va, BASE + GIB(1) + 5 * 4096);
	t_eq(s->n_regions, 1);
	end();
}

static void a_part_that_moves_leaves_the_rest(void)
{
	struct bo *bo;
	uint64_t va = 0;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(3)));
	bo = region_find(s, BASE)->bo;
	t_ok(region_move(s, BASE + MIB(1), BASE - MIB(8), MIB(1)));
	t_eq(s->n_regions, 3);
	t_eq(bo->n_regions, 3);
	t_assert(region_of_page(s, bo, 255, &va));
	t_eq(va, BASE + MIB(1) - 4096);
	t_assert(region_of_page(s, bo, 256, &va));
	t_eq(va, BASE - MIB(8));
	t_assert(region_of_page(s, bo, 512, &va));
	t_eq(va, BASE + MIB(2));
	t_assert(!region_of_page(s, bo, 768, &va));
	end();
}

static void what_was_at_the_destination_is_gone(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + MIB(1)));
	t_ok(region_add(s, BASE + MIB(4), BASE + MIB(7)));
	touch(BASE);
	touch(BASE + MIB(5));
	touch(BASE + MIB(6));
	t_ok(region_move(s, BASE, BASE + MIB(5), MIB(1)));
	t_eq(s->job->resident, 2);
	t_eq(region_find(s, BASE + MIB(5))->bo->id, 1);
	t_eq(region_find(s, BASE + MIB(4))->bo->id, 2);
	t_eq(state_at(BASE + MIB(5)), PAGE_RESIDENT);
	end();
}

static void several_regions_move_with_their_gaps(void)
{
	start();
	t_ok(region_add(s, BASE + MIB(1), BASE + MIB(2)));
	t_ok(region_add(s, BASE + MIB(3), BASE + MIB(6)));
	t_ok(region_move(s, BASE, BASE + GIB(1), MIB(4)));
	t_assert(!region_find(s, BASE + GIB(1)));
	t_eq(region_find(s, BASE + GIB(1) + MIB(1))->bo->id, 1);
	t_assert(!region_find(s, BASE + GIB(1) + MIB(2)));
	t_eq(region_find(s, BASE + GIB(1) + MIB(3))->bo->id, 2);
	t_eq(region_find(s, BASE + MIB(4))->first, 256);
	end();
}

static void a_page_that_comes_and_goes_leaves_no_cuts_behind(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + MIB(1)));
	for (int i = 0; i < 1000; i++) {
		const uint64_t at = BASE + (uint64_t)(i % 256) * 4096;

		t_ok(region_move(s, at, BASE + GIB(1), 4096));
		t_ok(region_move(s, BASE + GIB(1), at, 4096));
	}
	t_eq(s->n_regions, 1);
	end();
}

static void without_memory_a_move_can_be_asked_for_again(void)
{
	unsigned int n;
	int r;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(3)));
	t_ok(region_add(s, BASE + GIB(1), BASE + GIB(1) + MIB(3)));
	touch(BASE + MIB(1));
	for (n = 0; fail_alloc(n, region_move(s, BASE + MIB(1), BASE + GIB(1) + MIB(1), MIB(1)), &r); n++) {
		t_fails(r, ENOMEM);
		check();
		t_eq(state_at(BASE + MIB(1)), PAGE_RESIDENT);
	}
	t_ok(r);
	t_gt(n, 0);
	t_eq(state_at(BASE + GIB(1) + MIB(1)), PAGE_RESIDENT);
	t_assert(!region_find(s, BASE + MIB(1)));
	end();
}

/* ---- discarding ---- */

static void a_discarded_range_is_empty_and_still_mapped(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + MIB(3)));
	touch(BASE + MIB(1) - 4096);
	touch(BASE + MIB(1));
	touch(BASE + MIB(2));
	t_ok(region_discard(s, BASE + MIB(1), BASE + MIB(2)));
	t_eq(s->n_regions, 1);
	t_eq(state_at(BASE + MIB(1)), PAGE_EMPTY);
	t_eq(state_at(BASE + MIB(1) + 4096), PAGE_EMPTY);
	t_eq(state_at(BASE + MIB(1) - 4096), PAGE_RESIDENT);
	t_eq(state_at(BASE + MIB(2)), PAGE_RESIDENT);
	t_eq(state_at(BASE), PAGE_UNKNOWN);
	t_eq(s->job->resident, 2);
	end();
}

/* It was there when somebody looked, and was discarded before the look was reported. */
static void an_absent_page_that_is_discarded_is_not_believed_to_be_there(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + GIB(4)));
	t_ok(region_discard(s, BASE, BASE + MIB(64)));
	t_eq(state_at(BASE), PAGE_EMPTY);
	t_eq(state_at(BASE + MIB(64)), PAGE_UNKNOWN);
	t_eq(s->n_regions, 1);
	t_ok(region_discard(s, BASE + GIB(1), BASE + GIB(2)));
	t_eq(state_at(BASE + GIB(1)), PAGE_EMPTY);
	t_eq(page_state(page_at(BASE + GIB(1))), PAGE_EMPTY);
	end();
}

static void a_sparse_giant_is_discarded_for_the_price_of_a_bo(void)
{
	uint32_t chunks, regions, bos;

	start();
	t_ok(region_add(s, BASE, BASE + GIB(64)));
	touch(BASE + GIB(10));
	touch(BASE + GIB(20));
	touch(BASE + GIB(40));
	chunks = s->table.n_chunks - s->table.n_free;
	t_ok(region_discard(s, BASE + GIB(15), BASE + GIB(30)));
	t_le(s->table.n_chunks - s->table.n_free, chunks);
	t_eq(state_at(BASE + GIB(10)), PAGE_RESIDENT);
	t_eq(state_at(BASE + GIB(15) - 4096), PAGE_UNKNOWN);
	t_eq(state_at(BASE + GIB(15)), PAGE_EMPTY);
	t_eq(state_at(BASE + GIB(20)), PAGE_EMPTY);
	t_eq(state_at(BASE + GIB(30) - 4096), PAGE_EMPTY);
	t_eq(state_at(BASE + GIB(30)), PAGE_UNKNOWN);
	t_eq(s->job->resident, 2);
	check();

	/* What is EMPTY already costs nothing more. */
	regions = s->n_regions;
	bos = s->next_bo;
	for (int i = 0; i < 100; i++) {
		t_ok(region_discard(s, BASE + GIB(15), BASE + GIB(30)));
		t_ok(region_discard(s, BASE + GIB(17), BASE + GIB(17) + MIB(8)));
	}
	t_eq(s->n_regions, regions);
	t_eq(s->next_bo, bos);
	t_le(s->table.n_chunks - s->table.n_free, chunks);
	end();
}

static void a_reserved_giant_stays_in_one_piece(void)
{
	struct bo *bo;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(512)));
	bo = region_find(s, BASE)->bo;
	t_ok(resv_try(&bo->resv, s, 1));
	t_ok(region_discard(s, BASE + MIB(100), BASE + MIB(400)));
	t_eq(s->n_regions, 1);
	t_eq(state_at(BASE + MIB(400) - 4096), PAGE_EMPTY);
	t_eq(state_at(BASE + MIB(400)), PAGE_UNKNOWN);
	t_ok(resv_release(&bo->resv, s));
	end();
}

static void a_whole_sparse_bo_that_is_discarded_is_replaced(void)
{
	start();
	t_ok(region_add(s, BASE, BASE + GIB(1)));
	t_ok(region_discard(s, BASE, BASE + GIB(1)));
	t_eq(s->n_regions, 1);
	t_assert(!bo_find(s, 1));
	t_eq(state_at(BASE + MIB(77)), PAGE_EMPTY);
	end();
}

static void without_memory_a_discard_can_be_asked_for_again(void)
{
	static const uint64_t size[] = { MIB(8), MIB(512) };

	for (unsigned int i = 0; i < 2; i++) {
		unsigned int n;
		int r;

		start();
		t_ok(region_add(s, BASE, BASE + GIB(1)));
		touch(BASE + MIB(4));
		for (n = 0; fail_alloc(n, region_discard(s, BASE + MIB(1), BASE + MIB(1) + size[i]), &r); n++) {
			t_fails(r, ENOMEM);
			check();
		}
		t_ok(r);
		t_gt(n, 0);
		t_eq(state_at(BASE + MIB(1)), PAGE_EMPTY);
		t_eq(state_at(BASE + MIB(4)), PAGE_EMPTY);
		t_eq(state_at(BASE + size[i]), PAGE_EMPTY);
		t_eq(state_at(BASE), PAGE_UNKNOWN);
		t_eq(state_at(BASE + MIB(1) + size[i]), PAGE_UNKNOWN);
		end();
	}
}

/* ---- the end ---- */

static void when_the_session_ends_nothing_is_left_whatever_is_under_way(void)
{
	struct bo *bo;

	start();
	t_ok(region_add(s, BASE, BASE + MIB(1)));
	bo = region_find(s, BASE)->bo;
	fake_bring(bo, page_at(BASE), PAGE_LEAVING, KIND_POOL);
	fake_bring(bo, page_at(BASE + 4096), PAGE_FILLING, KIND_SWAP);
	fake_bring(bo, page_at(BASE + 8192), PAGE_STORED, KIND_SWAP);
	bo->n_moving = 2;
	t_ok(region_add(s, BASE + MIB(2), BASE + MIB(3)));
	t_ok(region_unmap(s, BASE, BASE + MIB(1)));
	end();		/* sees to it */
}

/* ---- any order, against a flat array ---- */

#define UNITS	48

struct unit_model {
	bool mapped;
	uint32_t bo, index;		/* of its first page; not while it is all discarded */
	enum page_state state[2];	/* of its first and its last page */
};

static struct unit_model model[UNITS];
static uint64_t unit_size;

static uint64_t unit_va(unsigned int u)
{
	return BASE + u * unit_size;
}

static uint64_t sample_va(unsigned int u, int which)
{
	return which ? unit_va(u) + unit_size - 4096 : unit_va(u);
}

static void compare_unit(unsigned int u)
{
	const struct unit_model *m = &model[u];
	struct region *r = region_find(s, unit_va(u));
	uint64_t va = 0;

	t_eq(!!r, m->mapped);
	if (!r)
		return;
	for (int which = 0; which < 2; which++) {
		const uint64_t at = sample_va(u, which);
		struct region *q = region_find(s, at);

		t_assert(q);
		t_eq(state_at(at), m->state[which]);
		t_assert(region_of_page(s, q->bo, region_index(q, at), &va) == q);
		t_eq(va, at);
	}
	if (unit_size == 4096) {	/* never replaced */
		t_eq(r->bo->id, m->bo);
		t_eq(region_index(r, unit_va(u)), m->index);
	}
}

static void compare(void)
{
	int64_t resident = 0;

	for (unsigned int u = 0; u < UNITS; u++) {
		compare_unit(u);
		for (int which = 0; which < (unit_size == 4096 ? 1 : 2); which++)
			resident += model[u].mapped && model[u].state[which] == PAGE_RESIDENT;
	}
	t_eq(s->job->resident, resident);
	check();
}

static void do_add(unsigned int u, unsigned int n)
{
	t_ok(region_add(s, unit_va(u), unit_va(u + n)));
	for (unsigned int i = u; i < u + n; i++) {
		struct region *r = region_find(s, unit_va(i));

		t_assert(r);
		if (model[i].mapped)
			continue;
		model[i] = (struct unit_model){
			.mapped = true,
			.bo = r->bo->id,
			.index = region_index(r, unit_va(i)),
		};
	}
}

static void do_unmap(unsigned int u, unsigned int n)
{
	t_ok(region_unmap(s, unit_va(u), unit_va(u + n)));
	memset(&model[u], 0, n * sizeof(model[0]));
}

static void do_move(unsigned int u, unsigned int n, unsigned int to)
{
	if (to + n > UNITS || (u < to + n && to < u + n))
		return;
	t_ok(region_move(s, unit_va(u), unit_va(to), n * unit_size));
	memcpy(&model[to], &model[u], n * sizeof(model[0]));
	memset(&model[u], 0, n * sizeof(model[0]));
}

static void do_discard(unsigned int u, unsigned int n)
{
	t_ok(region_discard(s, unit_va(u), unit_va(u + n)));
	for (unsigned int i = u; i < u + n; i++)
		model[i].state[0] = model[i].state[1] = PAGE_EMPTY;
}

static void do_touch(unsigned int u, int which)
{
	enum page_state *state = &model[u].state[which];
	struct bo *bo;
	struct page *p;

	if (!model[u].mapped)
		return;
	bo = region_find(s, sample_va(u, which))->bo;
	p = page_at(sample_va(u, which));
	if (*state == PAGE_UNKNOWN) {
		bo_page_present(bo, p);
	} else if (*state == PAGE_EMPTY) {
		bo_page_filling(bo, p);
		bo_page_filled(bo, p);
	}
	*state = PAGE_RESIDENT;
	if (unit_size == 4096)
		model[u].state[!which] = PAGE_RESIDENT;
}

static void any_order(uint64_t size, int steps)
{
	t_seed();
	unit_size = size;
	start();
	for (int i = 0; i < steps; i++) {
		const unsigned int u = (unsigned int)t_random_below(UNITS);
		const unsigned int n = 1 + (unsigned int)t_random_below(min(UNITS - u, 8u));

		switch (t_random_below(10)) {
		case 0:
		case 1:
			do_add(u, n);
			break;
		case 2:
			do_unmap(u, n);
			break;
		case 3:
		case 4:
			do_move(u, n, (unsigned int)t_random_below(UNITS));
			break;
		case 5:
			do_discard(u, n);
			break;
		case 6:
			t_ok(region_cut(s, unit_va(u)));
			break;
		default:
			do_touch(u, (int)t_random_below(2));
			break;
		}
		compare();
	}
	end();
}

static void any_order_of_pages_agrees_with_a_flat_array(void)
{
	any_order(4096, 20000);
}

static void any_order_of_large_parts_agrees_with_a_flat_array(void)
{
	any_order(MIB(32), 1500);
}

static const struct t_test tests[] = {
	T(an_adopted_range_is_found_and_its_neighbours_are_not),
	T(only_gaps_are_adopted),
	T(a_bo_covers_64_gib_at_most),
	T(what_is_no_range_of_pages_is_refused),
	T(the_top_of_the_address_space_is_no_trap),
	T(a_liar_gets_so_many_regions_and_no_more),
	T(adopting_is_all_or_nothing),
	T(unmapping_the_middle_leaves_both_ends_of_one_bo),
	T(the_bo_goes_with_its_last_region),
	T(one_unmap_takes_many_regions),
	T(unmapping_what_nobody_knows_is_nothing),
	T(a_page_under_way_outlives_its_region),
	T(without_memory_an_unmap_can_be_asked_for_again),
	T(pages_keep_their_numbers_when_they_move),
	T(a_part_that_moves_leaves_the_rest),
	T(what_was_at_the_destination_is_gone),
	T(several_regions_move_with_their_gaps),
	T(a_page_that_comes_and_goes_leaves_no_cuts_behind),
	T(without_memory_a_move_can_be_asked_for_again),
	T(a_discarded_range_is_empty_and_still_mapped),
	T(an_absent_page_that_is_discarded_is_not_believed_to_be_there),
	T(a_sparse_giant_is_discarded_for_the_price_of_a_bo),
	T(a_reserved_giant_stays_in_one_piece),
	T(a_whole_sparse_bo_that_is_discarded_is_replaced),
	T(without_memory_a_discard_can_be_asked_for_again),
	T(when_the_session_ends_nothing_is_left_whatever_is_under_way),
	T_TIMEOUT(any_order_of_pages_agrees_with_a_flat_array, 60),
	T_TIMEOUT(any_order_of_large_parts_agrees_with_a_flat_array, 60),
	{0}
};

static const struct t_suite suites[] = { { "region", tests }, {0} };

HARNESS_MAIN(suites)
