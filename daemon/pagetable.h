/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagetable.h - index -> struct page of one bo, 16 bytes a page that was ever looked at.
 *
 * In chunks of 512 pages (2 MiB of memory), which live in the session's state memfd; a directory in
 * the heap finds them, and can be made again from the chunks' descriptors. A page of an absent chunk
 * is UNKNOWN, or, of a table that was born empty, EMPTY. Under the session's lock.
 */
#ifndef FAULTLINE_DAEMON_PAGETABLE_H
#define FAULTLINE_DAEMON_PAGETABLE_H

#include <stdbool.h>
#include <stdint.h>
#include "daemon/page.h"
#include "daemon/state.h"

struct pagetable {
	struct state *state;
	uint32_t bo;
	bool born_empty;		/* set it before the first use */
	uint64_t n_pages;
	uint32_t *dir;			/* chunk + 1, or 0 */
	uint32_t n_dir;
};

int  pagetable_init(struct pagetable *pt, struct state *st, uint32_t bo, uint64_t n_pages);
void pagetable_fini(struct pagetable *pt);	/* accepts all zero */
struct page *pagetable_get(const struct pagetable *pt, uint64_t index);	/* NULL: its chunk is absent */
struct page *pagetable_need(struct pagetable *pt, uint64_t index);		/* NULL: no memory */
static inline enum page_state pagetable_absent(const struct pagetable *pt)
{
	return pt->born_empty ? PAGE_EMPTY : PAGE_UNKNOWN;
}
/* The first index >= index whose chunk is there, or n_pages. */
uint64_t pagetable_skip(const struct pagetable *pt, uint64_t index);

#endif
