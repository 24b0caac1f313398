/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fake-session.c - a session for tests of what lives in one. See fake-session.h. */
#include <config.h>

#include <string.h>

#include "tests/harness.h"
#include "tests/unit/fake-session.h"

#define POOL_SIZE	(UINT64_C(256) << 20)

unsigned int fake_peaks;
uint64_t fake_swap_live, fake_swap_last;
static uint64_t pool_extent = UINT64_MAX, pool_used, swap_end;

void job_note_peak(struct job *j)
{
	fake_peaks++;
}

void swap_kill(struct swap *swap, uint64_t loc, uint32_t size)
{
	t_assert(swap);
	t_ge(fake_swap_live, size);
	fake_swap_live -= size;
	fake_swap_last = loc;
}

struct session *fake_session(void)
{
	struct session *s = calloc(1, sizeof(*s));
	struct job *job = calloc(1, sizeof(*job));

	t_assert(s && job);
	pool_extent = UINT64_MAX;
	swap_end = 0;
	job->swap = (struct swap *)job;		/* only its not being NULL is looked at */
	s->job = job;
	s->next_bo = 1;
	LIST_INIT(&s->bos);
	RB_INIT(&s->regions);
	RB_INIT(&s->bo_by_id);
	t_ok(state_init(&s->table, 1));
	t_ok(pool_init(&s->pool, POOL_SIZE));
	return s;
}

static void add_page(struct flp_counters *c, const struct page *p)
{
	const uint32_t size = page_size_stored(p);

	if (page_in_ram(p))
		c->resident += 4096;
	if (page_state(p) == PAGE_STORED) {
		c->stored += 4096;
		c->zero += page_kind(p) == KIND_ZERO ? 4096 : 0;
		c->same += page_kind(p) == KIND_SAME ? 4096 : 0;
		c->pool_pages += page_kind(p) == KIND_POOL ? 4096 : 0;
		c->swap_pages += page_kind(p) == KIND_SWAP ? 4096 : 0;
	} else if (page_kind(p) == KIND_POOL || page_kind(p) == KIND_SWAP) {
		c->clean += 4096;
	}
	c->pool_live += page_kind(p) == KIND_POOL ? size : 0;
	c->swap_live += page_kind(p) == KIND_SWAP ? size : 0;
}

static void compare(struct session *s, const struct flp_counters *c)
{
	t_eq(s->c.resident, c->resident);
	t_eq(s->job->resident * 4096, c->resident);
	t_eq(s->c.stored, c->stored);
	t_eq(s->c.zero, c->zero);
	t_eq(s->c.same, c->same);
	t_eq(s->c.pool_pages, c->pool_pages);
	t_eq(s->c.swap_pages, c->swap_pages);
	t_eq(s->c.clean, c->clean);
	t_eq(s->c.pool_live, c->pool_live);
	t_eq(s->c.swap_live, c->swap_live);
	t_eq(s->pool.units.live_bytes, c->pool_live);
	t_eq(fake_swap_live, c->swap_live);
}

void fake_session_check(struct session *s)
{
	struct flp_counters c = { 0 };
	struct bo *bo;

	LIST_FOREACH(bo, &s->bos, link) {
		struct pagetable *pt = &bo->pages;

		for (uint64_t i = pagetable_skip(pt, 0); i < pt->n_pages; i = pagetable_skip(pt, i + 1))
			add_page(&c, pagetable_get(pt, i));
	}
	compare(s, &c);
}

void fake_session_end(struct session *s)
{
	region_free_all(s);
	compare(s, &(struct flp_counters){ 0 });
	t_eq(s->n_regions, 0);
	t_eq(s->table.n_free, s->table.n_chunks);
	state_fini(&s->table);
	pool_fini(&s->pool);
	free(s->job);
	free(s);
}

static uint64_t pool_place(struct session *s, uint32_t size)
{
	uint64_t loc;

	if (pool_extent == UINT64_MAX || pool_used + size > FLS_EXTENT) {
		if (pool_extent != UINT64_MAX)
			pool_close(&s->pool, pool_extent);
		t_ok(pool_grant(&s->pool, &pool_extent));
		pool_used = 0;
	}
	loc = pool_extent + pool_used;
	t_ok(pool_add(&s->pool, loc, size));
	pool_used += size;
	return loc;
}

void fake_copy(struct bo *bo, struct page *p, enum page_kind kind, uint32_t size)
{
	uint64_t loc = 0;

	if (kind == KIND_POOL) {
		loc = pool_place(bo->session, size);
	} else if (kind == KIND_SWAP) {
		loc = swap_end;
		swap_end += size;
		fake_swap_live += size;
	} else {
		size = 0;
	}
	bo_set_copy(bo, p, kind, loc, size, 42, (uint8_t)(page_gen(p) + 1));
}

void fake_bring(struct bo *bo, struct page *p, enum page_state state, enum page_kind kind)
{
	if (state == page_state(p))
		return;
	if (state == PAGE_EMPTY) {
		page_set_state(p, PAGE_UNKNOWN, PAGE_EMPTY);
		page_set_removed(p, true);
		return;
	}

	bo_page_filling(bo, p);
	if (kind != KIND_NONE) {
		bo_page_filled(bo, p);
		bo_page_leaving(bo, p);
		fake_copy(bo, p, kind, 1024);
		bo_page_stored(bo, p);
		if (state == PAGE_STORED)
			return;
		bo_page_filling(bo, p);
	}
	if (state == PAGE_POISONED)
		bo_page_poisoned(bo, p);
	if (state == PAGE_RESIDENT || state == PAGE_LEAVING)
		bo_page_filled(bo, p);
	if (state == PAGE_LEAVING)
		bo_page_leaving(bo, p);
	t_eq(page_state(p), state);
}
