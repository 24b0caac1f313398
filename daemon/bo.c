/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bo.c - a buffer object: its life, and the changes of its pages' states.
 *
 * Owned by its session, everything under the session's lock. A bo lives while a region maps it or one
 * of its pages is under way: whoever takes away the last of these calls bo_release().
 *
 * This is the one place where a page's state and what it costs change together:
 *
 *	job->resident, c.resident	one page for each FILLING, RESIDENT, LEAVING
 *	c.stored, c.zero, .same,	4096 for each STORED, in all and by kind
 *	 .pool_pages, .swap_pages
 *	c.clean				4096 for each page in RAM that has a record
 *	c.pool_live, c.swap_live	the records' sizes, of STORED pages and clean copies alike
 *
 * So a change is: take off what the page counts for, change it, add what it counts for now.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/bo.h"
#include "daemon/job.h"
#include "daemon/page.h"
#include "daemon/pagetable.h"
#include "daemon/resv.h"
#include "daemon/session.h"
#include "daemon/store.h"

static int bo_cmp(const struct bo *a, const struct bo *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}
RB_GENERATE(bo_tree, bo, node, bo_cmp)

int bo_new(struct bo **ret, struct session *s, uint64_t n_pages)
{
	const uint32_t id = s->next_bo ? s->next_bo : 1;
	_cleanup_free_ struct bo *bo = NULL;
	int r;

	if (id == UINT32_MAX)
		return -ENOSPC;
	bo = calloc(1, sizeof(*bo));
	if (!bo)
		return -ENOMEM;
	r = pagetable_init(&bo->pages, &s->table, id, n_pages);
	if (r < 0)
		return r;

	bo->id = id;
	bo->kind = BO_PRIVATE;
	bo->session = s;
	resv_init(&bo->resv);
	LIST_INIT(&bo->regions);
	LIST_INSERT_HEAD(&s->bos, bo, link);
	RB_INSERT(bo_tree, &s->bo_by_id, bo);
	s->next_bo = id + 1;
	*ret = steal_ptr(&bo);
	return 0;
}

struct bo *bo_find(struct session *s, uint32_t id)
{
	struct bo *bo = RB_ROOT(&s->bo_by_id);

	while (bo && bo->id != id)
		bo = id < bo->id ? RB_LEFT(bo, node) : RB_RIGHT(bo, node);
	return bo;
}

static void charge(struct bo *bo, int pages)
{
	struct session *s = bo->session;

	s->c.resident += (uint64_t)((int64_t)pages * (int64_t)FL_PAGE_SIZE);
	atomic_fetch_add_explicit(&s->job->resident, pages, memory_order_relaxed);
	if (pages > 0)
		job_note_peak(s->job);
}

/* The bo goes: nothing of this page may stay behind in the job, the stores or the counters. */
static void forget_page(struct bo *bo, struct page *p)
{
	if (page_kind(p) != KIND_NONE)
		bo_kill_copy(bo, p);
	if (page_in_ram(p))
		charge(bo, -1);
}

void bo_free(struct bo *bo)
{
	struct pagetable *pt = &bo->pages;

	assert(!bo->n_regions);

	resv_fini(&bo->resv);
	for (uint64_t i = pagetable_skip(pt, 0); i < pt->n_pages; i = pagetable_skip(pt, i + 1))
		forget_page(bo, pagetable_get(pt, i));
	pagetable_fini(pt);
	RB_REMOVE(bo_tree, &bo->session->bo_by_id, bo);
	LIST_REMOVE(bo, link);
	free(bo);
}

void bo_release(struct bo *bo)
{
	if (!bo->n_regions && !bo->n_moving)
		bo_free(bo);
}

static void count(uint64_t *counter, uint64_t bytes, int sign)
{
	if (sign > 0) {
		*counter += bytes;
	} else {
		assert(*counter >= bytes);
		*counter -= bytes;
	}
}

void bo_count_stored(struct session *s, const struct page *p, int sign)
{
	const bool stored = page_state(p) == PAGE_STORED;
	struct flp_counters *c = &s->c;

	if (stored && page_kind(p) != KIND_NONE)
		count(&c->stored, FL_PAGE_SIZE, sign);

	switch (page_kind(p)) {
	case KIND_NONE:
		break;
	case KIND_ZERO:
		if (stored)
			count(&c->zero, FL_PAGE_SIZE, sign);
		break;
	case KIND_SAME:
		if (stored)
			count(&c->same, FL_PAGE_SIZE, sign);
		break;
	case KIND_POOL:
		count(&c->pool_live, page_size_stored(p), sign);
		count(stored ? &c->pool_pages : &c->clean, FL_PAGE_SIZE, sign);
		break;
	case KIND_SWAP:
		count(&c->swap_live, page_size_stored(p), sign);
		count(stored ? &c->swap_pages : &c->clean, FL_PAGE_SIZE, sign);
		break;
	}
}

/* from -> to, counted. */
static void change(struct bo *bo, struct page *p, enum page_state from, enum page_state to)
{
	bo_count_stored(bo->session, p, -1);
	page_set_state(p, from, to);
	bo_count_stored(bo->session, p, 1);
}

/* The page is in no store and not in RAM: its next touch gets zeros. */
static void become_empty(struct bo *bo, struct page *p, enum page_state from)
{
	if (page_in_ram(p))
		charge(bo, -1);
	if (page_kind(p) != KIND_NONE)
		bo_kill_copy(bo, p);
	page_set_discarded(p, false);
	page_set_prefetched(p, false);
	page_set_cold(p, false);
	page_set_state(p, from, PAGE_EMPTY);
	page_set_removed(p, true);
}

void bo_page_present(struct bo *bo, struct page *p)
{
	change(bo, p, PAGE_UNKNOWN, PAGE_RESIDENT);
	charge(bo, 1);
}

void bo_page_filling(struct bo *bo, struct page *p)
{
	change(bo, p, page_state(p), PAGE_FILLING);
	charge(bo, 1);
}

void bo_page_filled(struct bo *bo, struct page *p)
{
	assert(!page_discarded(p));

	/* Nothing is gained by keeping that it was zeros: finding that again costs as much. */
	if (page_kind(p) == KIND_ZERO || page_kind(p) == KIND_SAME)
		bo_kill_copy(bo, p);
	/* The removed flag stays: a REMOVE's event comes before its zap, which may still take this page
	 * away. It goes when an eviction finds the page there. */
	change(bo, p, PAGE_FILLING, PAGE_RESIDENT);
}

void bo_page_fill_undone(struct bo *bo, struct page *p)
{
	enum page_state back = PAGE_UNKNOWN;

	assert(!page_discarded(p));

	if (page_kind(p) != KIND_NONE)
		back = PAGE_STORED;
	else if (page_removed(p))
		back = PAGE_EMPTY;
	change(bo, p, PAGE_FILLING, back);
	charge(bo, -1);
}

void bo_page_fill_dropped(struct bo *bo, struct page *p)
{
	become_empty(bo, p, PAGE_FILLING);
}

void bo_page_poisoned(struct bo *bo, struct page *p)
{
	assert(!page_discarded(p));

	if (page_kind(p) != KIND_NONE)
		bo_kill_copy(bo, p);
	page_set_state(p, PAGE_FILLING, PAGE_POISONED);
	charge(bo, -1);
	bo->session->c.poisoned++;
}

void bo_page_leaving(struct bo *bo, struct page *p)
{
	change(bo, p, PAGE_RESIDENT, PAGE_LEAVING);
}

void bo_page_stayed(struct bo *bo, struct page *p)
{
	assert(!page_discarded(p));

	change(bo, p, PAGE_LEAVING, PAGE_RESIDENT);
}

void bo_page_stored(struct bo *bo, struct page *p)
{
	assert(!page_discarded(p));

	change(bo, p, PAGE_LEAVING, PAGE_STORED);
	charge(bo, -1);
}

void bo_page_lost(struct bo *bo, struct page *p)
{
	if (page_kind(p) != KIND_NONE)
		bo_kill_copy(bo, p);
	page_set_state(p, PAGE_LEAVING, PAGE_POISONED);
	charge(bo, -1);
	bo->session->c.poisoned++;
}

void bo_page_left_discarded(struct bo *bo, struct page *p)
{
	become_empty(bo, p, PAGE_LEAVING);
}

void bo_discard(struct bo *bo, uint32_t index)
{
	struct page *p = pagetable_get(&bo->pages, index);

	if (!p)
		return;

	switch (page_state(p)) {
	case PAGE_EMPTY:
		page_set_removed(p, true);
		break;
	case PAGE_FILLING:
	case PAGE_LEAVING:
		page_set_discarded(p, true);
		break;
	case PAGE_UNKNOWN:
	case PAGE_RESIDENT:
	case PAGE_STORED:
	case PAGE_POISONED:
		become_empty(bo, p, page_state(p));
		break;
	case PAGE_STATES:
		abort();
	}
}

void bo_kill_copy(struct bo *bo, struct page *p)
{
	struct session *s = bo->session;

	bo_count_stored(s, p, -1);
	if (page_kind(p) == KIND_POOL)
		pool_kill(&s->pool, page_loc(p), page_size_stored(p));
	else if (page_kind(p) == KIND_SWAP)
		swap_kill(s->job->swap, page_loc(p), page_size_stored(p));
	page_drop_stored(p);
}

void bo_set_copy(struct bo *bo, struct page *p, enum page_kind kind, uint64_t loc, uint32_t size,
		 uint64_t sum, uint8_t gen)
{
	if (page_kind(p) != KIND_NONE)
		bo_kill_copy(bo, p);
	page_set_stored(p, kind, loc, size, sum, gen);
	bo_count_stored(bo->session, p, 1);
}

void bo_copy_moved(struct bo *bo, struct page *p, enum page_kind kind, uint64_t loc)
{
	bo_count_stored(bo->session, p, -1);
	page_relocate(p, kind, loc);
	bo_count_stored(bo->session, p, 1);
}
