/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagetable.c - index -> struct page of one bo.
 *
 * Owned by the bo, under the session's lock. The directory has four bytes for each 512 pages, in
 * memory that is only touched where a chunk is: a sparse area of terabytes costs what is used of it.
 * An entry, once there, stays at its address for as long as the table lives.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/align.h"
#include "daemon/pagetable.h"

/* From this size on the directory is mapped, and not charged against the overcommit limit. */
#define DIR_MAPPED	(UINT64_C(1) << 20)

static uint64_t dir_size(uint32_t n_dir)
{
	return n_dir * sizeof(uint32_t);
}

static uint32_t *dir_new(uint32_t n_dir)
{
	void *p;

	if (dir_size(n_dir) < DIR_MAPPED)
		return calloc(n_dir, sizeof(uint32_t));

	p = mmap(NULL, dir_size(n_dir), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void dir_free(uint32_t *dir, uint32_t n_dir)
{
	if (dir_size(n_dir) < DIR_MAPPED)
		free(dir);
	else if (dir)
		munmap(dir, dir_size(n_dir));
}

int pagetable_init(struct pagetable *pt, struct state *st, uint32_t bo, uint64_t n_pages)
{
	const uint32_t n_dir = (uint32_t)((n_pages + STATE_CHUNK_PAGES - 1) / STATE_CHUNK_PAGES);
	uint32_t *dir;

	*pt = (struct pagetable){ 0 };
	if (!bo || !n_pages || n_pages > UINT32_MAX)
		return -EINVAL;

	dir = dir_new(n_dir);
	if (!dir)
		return -ENOMEM;

	*pt = (struct pagetable){
		.state = st,
		.bo = bo,
		.n_pages = n_pages,
		.dir = dir,
		.n_dir = n_dir,
	};
	return 0;
}

void pagetable_fini(struct pagetable *pt)
{
	for (uint64_t i = pagetable_skip(pt, 0); i < pt->n_pages;
	     i = pagetable_skip(pt, i + STATE_CHUNK_PAGES))
		state_chunk_free(pt->state, pt->dir[i / STATE_CHUNK_PAGES] - 1);
	dir_free(pt->dir, pt->n_dir);
	*pt = (struct pagetable){ 0 };
}

struct page *pagetable_get(const struct pagetable *pt, uint64_t index)
{
	uint32_t chunk;

	assert(index < pt->n_pages);

	chunk = pt->dir[index / STATE_CHUNK_PAGES];
	return chunk ? state_chunk_pages(pt->state, chunk - 1) + index % STATE_CHUNK_PAGES : NULL;
}

static void make_empty(struct page *p)
{
	for (unsigned int i = 0; i < STATE_CHUNK_PAGES; i++) {
		page_set_state(p + i, PAGE_UNKNOWN, PAGE_EMPTY);
		page_set_removed(p + i, true);
	}
}

struct page *pagetable_need(struct pagetable *pt, uint64_t index)
{
	uint32_t *slot, chunk = 0;
	struct page *p;

	p = pagetable_get(pt, index);
	if (p)
		return p;

	slot = pt->dir + index / STATE_CHUNK_PAGES;
	if (state_chunk_new(pt->state, pt->bo, (uint32_t)(index / STATE_CHUNK_PAGES), &chunk) < 0)
		return NULL;
	if (pt->born_empty)
		make_empty(state_chunk_pages(pt->state, chunk));
	*slot = chunk + 1;
	return state_chunk_pages(pt->state, chunk) + index % STATE_CHUNK_PAGES;
}

uint64_t pagetable_skip(const struct pagetable *pt, uint64_t index)
{
	uint64_t d = index / STATE_CHUNK_PAGES;

	if (index >= pt->n_pages)
		return pt->n_pages;
	if (pt->dir[d])
		return index;

	for (d++; d < pt->n_dir; d++)
		if (pt->dir[d])
			return d * STATE_CHUNK_PAGES;
	return pt->n_pages;
}
