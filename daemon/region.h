/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * region.h - a range of a client's address space that is registered and maps pages of a bo.
 *
 * Regions of a session do not overlap; they are kept in a tree by address, under the session's lock.
 * munmap cuts them, mremap moves them: the pages of the bo keep their numbers.
 */
#ifndef FAULTLINE_DAEMON_REGION_H
#define FAULTLINE_DAEMON_REGION_H

#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "common/align.h"

struct bo;
struct session;

enum region_advice { REGION_NORMAL, REGION_SEQUENTIAL, REGION_RANDOM };

struct region {
	uint64_t start, end;		/* addresses, whole pages */
	struct bo *bo;
	uint32_t first;			/* the bo's page at start */
	enum region_advice advice;
	bool dontfork;			/* the agent was told to mark it so */
	RB_ENTRY(region) node;		/* session.regions */
	LIST_ENTRY(region) bo_link;	/* bo.regions */
};
RB_HEAD(region_tree, region);
RB_PROTOTYPE(region_tree, region, node, region_cmp)

#define REGION_BO_SIZE	(UINT64_C(64) << 30)	/* bytes that one bo covers at most */
/* Of a session: more than a process has areas (vm.max_map_count), so that only a liar gets there. */
#define REGIONS_MAX	(UINT32_C(1) << 18)

static inline uint32_t region_index(const struct region *r, uint64_t va)
{
	return r->first + (uint32_t)((va - r->start) >> FL_PAGE_SHIFT);
}

static inline uint64_t region_pages(const struct region *r)
{
	return (r->end - r->start) >> FL_PAGE_SHIFT;
}

/* Of a page that it maps. */
static inline uint64_t region_va(const struct region *r, uint32_t index)
{
	return r->start + ((uint64_t)(index - r->first) << FL_PAGE_SHIFT);
}

struct region *region_find(struct session *s, uint64_t va);		/* that holds va, or NULL */
struct region *region_next(struct session *s, uint64_t va);		/* first with end > va, or NULL */
/* The region that maps this page of bo now, or NULL; ret_va: where. */
struct region *region_of_page(struct session *s, struct bo *bo, uint32_t index, uint64_t *ret_va);

/*
 * All of these want whole pages, else -EINVAL. -ENOMEM from those that follow an event: what was done
 * of it stands, the rest can be asked for again; a session that cannot follow its client has to end.
 */

/* Regions, with new bos, for what of [start, end) has none yet; or, on failure, none. 0, -ENOMEM,
 * -EINVAL, -ENOSPC: REGIONS_MAX. */
int  region_add(struct session *s, uint64_t start, uint64_t end);
/* The client unmapped it: pages are discarded, regions cut. */
int  region_unmap(struct session *s, uint64_t start, uint64_t end);
/* The client moved [from, from + len) to to: what was at to is gone. */
int  region_move(struct session *s, uint64_t from, uint64_t to, uint64_t len);
/* The client discarded the contents: pages EMPTY, regions stay. */
int  region_discard(struct session *s, uint64_t start, uint64_t end);
/* A region boundary at va, if it lies inside of a region: to give a part of it another advice. */
int  region_cut(struct session *s, uint64_t va);
/* The session ends: no region and no bo is left, whatever is under way. */
void region_free_all(struct session *s);

#endif
