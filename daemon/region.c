/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * region.c - which addresses of a client map which pages.
 *
 * Owned by the session, under its lock. Always: regions do not overlap, each page of a bo is mapped by
 * one region at most, and a bo without a region lives only as long as a page of it is under way.
 *
 * Whatever happens to a range begins with cutting regions at its two ends, which changes no meaning;
 * then it happens to whole regions. Only cutting needs memory: a failure has changed nothing that
 * anybody can see.
 *
 * Everything but region_add() follows an event of the kernel's: it has happened, whatever we think
 * of it.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/bo.h"
#include "daemon/page.h"
#include "daemon/pagetable.h"
#include "daemon/region.h"
#include "daemon/session.h"

/* A discard of more absent pages than this gets a bo of its own instead of 16 bytes for each. */
#define SPARSE_PAGES	((UINT64_C(64) << 20) >> FL_PAGE_SHIFT)

static int region_cmp(const struct region *a, const struct region *b)
{
	return a->start < b->start ? -1 : a->start > b->start;
}
RB_GENERATE(region_tree, region, node, region_cmp)

/* ---- finding ---- */

struct region *region_next(struct session *s, uint64_t va)
{
	struct region *r = RB_ROOT(&s->regions), *best = NULL;

	while (r) {
		if (r->end > va) {
			best = r;
			r = RB_LEFT(r, node);
		} else {
			r = RB_RIGHT(r, node);
		}
	}
	return best;
}

struct region *region_find(struct session *s, uint64_t va)
{
	struct region *r = region_next(s, va);

	return r && r->start <= va ? r : NULL;
}

struct region *region_of_page(struct session *s, struct bo *bo, uint32_t index, uint64_t *ret_va)
{
	struct region *r;

	LIST_FOREACH(r, &bo->regions, bo_link) {
		if (index < r->first || index - r->first >= region_pages(r))
			continue;
		*ret_va = region_va(r, index);
		return r;
	}
	return NULL;
}

/* ---- making and unmaking ---- */

static void map_bo(struct region *r, struct bo *bo, uint32_t first)
{
	r->bo = bo;
	r->first = first;
	LIST_INSERT_HEAD(&bo->regions, r, bo_link);
	bo->n_regions++;
}

/* The bo may be gone afterwards. */
static void unmap_bo(struct region *r)
{
	struct bo *bo = r->bo;

	LIST_REMOVE(r, bo_link);
	r->bo = NULL;
	bo->n_regions--;
	bo_release(bo);
}

static void link_region(struct session *s, struct region *r)
{
	struct region *there = RB_INSERT(region_tree, &s->regions, r);

	assert(!there);
	s->n_regions++;
}

static void unlink_region(struct session *s, struct region *r)
{
	RB_REMOVE(region_tree, &s->regions, r);
	s->n_regions--;
}

static void region_free(struct session *s, struct region *r)
{
	unlink_region(s, r);
	unmap_bo(r);
	free(r);
}

/* A region and its bo, which are the session's from now on. The range is free. */
static int region_new(struct session *s, uint64_t start, uint64_t end)
{
	_cleanup_free_ struct region *r = NULL;
	struct bo *bo;
	int result;

	if (s->n_regions >= REGIONS_MAX)
		return -ENOSPC;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	result = bo_new(&bo, s, (end - start) >> FL_PAGE_SHIFT);
	if (result < 0)
		return result;

	r->start = start;
	r->end = end;
	map_bo(r, bo, 0);
	link_region(s, steal_ptr(&r));
	return 0;
}

int region_cut(struct session *s, uint64_t va)
{
	struct region *r = region_find(s, va), *tail;

	if (!page_aligned(va))
		return -EINVAL;
	if (!r || r->start == va)
		return 0;
	tail = malloc(sizeof(*tail));
	if (!tail)
		return -ENOMEM;

	*tail = *r;
	tail->start = va;
	map_bo(tail, r->bo, region_index(r, va));
	r->end = va;
	link_region(s, tail);
	return 0;
}

static int cut_ends(struct session *s, uint64_t start, uint64_t end)
{
	int r = region_cut(s, start);

	return r < 0 ? r : region_cut(s, end);
}

static bool range_ok(uint64_t start, uint64_t end)
{
	return start < end && page_aligned(start) && page_aligned(end);
}

/* What the two regions that meet at va were before a cut, they are again. */
static void join(struct session *s, uint64_t va)
{
	struct region *b = region_find(s, va);
	struct region *a = va ? region_find(s, va - 1) : NULL;

	if (!a || !b || a == b || a->bo != b->bo || a->first + region_pages(a) != b->first ||
	    a->advice != b->advice || a->dontfork != b->dontfork)
		return;

	a->end = b->end;
	region_free(s, b);
}

/* ---- adopting ---- */

/* Remove the regions that an unfinished region_add() has made: nothing is known of their pages. */
static void take_back(struct session *s, uint64_t start, uint64_t end, uint32_t first_bo)
{
	struct region *r, *next;

	for (r = region_next(s, start); r && r->start < end; r = next) {
		next = RB_NEXT(region_tree, &s->regions, r);
		if (r->bo->id >= first_bo)
			region_free(s, r);
	}
}

int region_add(struct session *s, uint64_t start, uint64_t end)
{
	const uint32_t first_bo = s->next_bo;
	uint64_t at = start;
	int r;

	if (!range_ok(start, end))
		return -EINVAL;

	while (at < end) {
		struct region *next = region_next(s, at);
		uint64_t to = min(end, at + REGION_BO_SIZE);

		if (next && next->start <= at) {
			at = next->end;
			continue;
		}
		if (next)
			to = min(to, next->start);
		if (to < at)		/* at the top of the address space */
			to = end;
		r = region_new(s, at, to);
		if (r < 0) {
			take_back(s, start, end, first_bo);
			return r;
		}
		at = to;
	}
	return 0;
}

/* ---- following events ---- */

/* All that is known of these pages, which are about to lose their addresses. */
static void discard_known(struct region *r)
{
	struct pagetable *pt = &r->bo->pages;
	const uint64_t end = r->first + region_pages(r);

	for (uint64_t i = pagetable_skip(pt, r->first); i < end; i = pagetable_skip(pt, i + 1))
		bo_discard(r->bo, (uint32_t)i);
}

int region_unmap(struct session *s, uint64_t start, uint64_t end)
{
	struct region *r, *next;
	int result;

	if (!range_ok(start, end))
		return -EINVAL;
	result = cut_ends(s, start, end);
	if (result < 0)
		return result;

	for (r = region_next(s, start); r && r->start < end; r = next) {
		next = RB_NEXT(region_tree, &s->regions, r);
		discard_known(r);
		region_free(s, r);
	}
	return 0;
}

/* In the order of addresses, so that at each step the regions in the tree do not overlap. */
static void rekey(struct session *s, uint64_t from, uint64_t to, uint64_t len)
{
	struct region *r;

	while ((r = region_next(s, from)) && r->start < from + len) {
		unlink_region(s, r);
		r->start += to - from;
		r->end += to - from;
		link_region(s, r);
	}
}

int region_move(struct session *s, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t from_end, to_end;
	int r;

	if (!page_range_ok(from, len) || !page_range_ok(to, len))
		return -EINVAL;
	from_end = from + len;
	to_end = to + len;
	if (from < to_end && to < from_end)	/* the kernel refuses such an mremap */
		return -EINVAL;

	r = region_unmap(s, to, to_end);
	if (r < 0)
		return r;
	r = cut_ends(s, from, from_end);
	if (r < 0)
		return r;
	rekey(s, from, to, len);
	/* A page that comes back to where it came from: or each journey would leave a cut behind. */
	join(s, to);
	join(s, to_end);
	return 0;
}

/* All pages of [start, end), which lies in one region and of which no chunk is there, become EMPTY: by
 * giving that part a bo that was born so. */
static int replace_sparse(struct session *s, uint64_t start, uint64_t end)
{
	struct region *r;
	struct bo *bo;
	int result;

	result = cut_ends(s, start, end);
	if (result < 0)
		return result;
	result = bo_new(&bo, s, (end - start) >> FL_PAGE_SHIFT);
	if (result < 0)
		return result;

	bo->pages.born_empty = true;
	r = region_find(s, start);
	unmap_bo(r);
	map_bo(r, bo, 0);
	return 0;
}

/* Pages [i, end) of r, of which the first n have no chunk. */
static int discard_absent(struct session *s, struct region *r, uint64_t i, uint64_t n)
{
	struct pagetable *pt = &r->bo->pages;
	uint64_t va = region_va(r, (uint32_t)i);

	if (pt->born_empty)
		return 0;
	/* Not of one that is reserved: its holder would lose a part of it. */
	if (n > SPARSE_PAGES && !r->bo->resv.holder)
		return replace_sparse(s, va, va + (n << FL_PAGE_SHIFT));

	for (uint64_t k = i; k < i + n; k++) {
		if (!pagetable_need(pt, k))
			return -ENOMEM;
		bo_discard(r->bo, (uint32_t)k);
	}
	return 0;
}

/* The longest run from va to end that is of one kind; ret_next: where it ends. */
static int discard_run(struct session *s, struct region *r, uint64_t va, uint64_t end, uint64_t *ret_next)
{
	struct bo *bo = r->bo;
	const uint64_t stop = region_index(r, va) + ((end - va) >> FL_PAGE_SHIFT);
	uint64_t i = region_index(r, va), there = min(pagetable_skip(&bo->pages, i), stop);
	const uint64_t from = i;

	if (there > i) {
		int result = discard_absent(s, r, i, there - i);

		if (result < 0)
			return result;
		i = there;
	} else {
		while (i < stop && pagetable_get(&bo->pages, i))
			bo_discard(bo, (uint32_t)i++);
	}
	*ret_next = va + ((i - from) << FL_PAGE_SHIFT);
	return 0;
}

int region_discard(struct session *s, uint64_t start, uint64_t end)
{
	uint64_t va = start;
	struct region *r;
	int result;

	if (!range_ok(start, end))
		return -EINVAL;

	while (va < end && (r = region_next(s, va)) && r->start < end) {
		result = discard_run(s, r, max(va, r->start), min(end, r->end), &va);
		if (result < 0)
			return result;
	}
	return 0;
}

/* ---- the end ---- */

void region_free_all(struct session *s)
{
	struct region *r;
	struct bo *bo;

	while ((r = RB_ROOT(&s->regions)))
		region_free(s, r);
	while ((bo = LIST_FIRST(&s->bos)))
		bo_free(bo);
	assert(!s->n_regions && RB_EMPTY(&s->bo_by_id));
}
