/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bo.h - a buffer object: pages that are managed as one thing, whoever maps them.
 *
 * A private bo is a stretch of one client's own anonymous memory; its pages are numbered from 0 and
 * keep their number when the client moves them about (mremap): what maps them is a region. Made when
 * an area is adopted, gone when no region maps it and no page of it is under way.
 *
 * Owned by its session, everything under the session's lock.
 */
#ifndef FAULTLINE_DAEMON_BO_H
#define FAULTLINE_DAEMON_BO_H

#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "daemon/pagetable.h"
#include "daemon/resv.h"

struct region;
struct session;

enum bo_kind { BO_PRIVATE, BO_SHARED };

struct bo {
	uint32_t id;			/* within its session, never used twice; from 1 */
	enum bo_kind kind;
	struct session *session;
	struct pagetable pages;
	struct resv resv;
	uint32_t n_regions;		/* regions that map it */
	LIST_HEAD(, region) regions;	/* region.bo_link */
	uint32_t n_moving;		/* pages in slots of an eviction or in an unfinished fill;
					 * counted by those who hold them: fault.c, reclaim.c */
	LIST_ENTRY(bo) link;		/* session.bos */
	RB_ENTRY(bo) node;		/* session.bo_by_id */
};
RB_HEAD(bo_tree, bo);
RB_PROTOTYPE(bo_tree, bo, node, bo_cmp)

int  bo_new(struct bo **ret, struct session *s, uint64_t n_pages);
/* Free it if nothing refers to it any more; its stored copies die. */
void bo_release(struct bo *bo);
/* Free it whatever is under way: the session ends. No region may map it. */
void bo_free(struct bo *bo);
struct bo *bo_find(struct session *s, uint32_t id);

/*
 * Changes of a page's state, with what they mean for the job's charge and the session's counters.
 * Each asserts the state that it starts from.
 */
void bo_page_present(struct bo *bo, struct page *p);	/* UNKNOWN -> RESIDENT: reported */
void bo_page_filling(struct bo *bo, struct page *p);	/* UNKNOWN, EMPTY, STORED -> FILLING; keeps the copy */
void bo_page_filled(struct bo *bo, struct page *p);	/* FILLING -> RESIDENT; keeps a copy that is a record */
void bo_page_fill_undone(struct bo *bo, struct page *p);	/* FILLING -> what it was */
void bo_page_fill_dropped(struct bo *bo, struct page *p);	/* FILLING, discarded -> EMPTY */
void bo_page_poisoned(struct bo *bo, struct page *p);	/* FILLING -> POISONED */
void bo_page_leaving(struct bo *bo, struct page *p);	/* RESIDENT -> LEAVING */
void bo_page_stayed(struct bo *bo, struct page *p);	/* LEAVING -> RESIDENT; not if discarded */
void bo_page_stored(struct bo *bo, struct page *p);	/* LEAVING -> STORED; its copy is there */
void bo_page_lost(struct bo *bo, struct page *p);	/* LEAVING -> POISONED: its agent lied about it */
void bo_page_left_discarded(struct bo *bo, struct page *p);	/* LEAVING -> EMPTY: discarded, or a hole */

/*
 * What a REMOVE does to one page: it is EMPTY afterwards, or will be when its fill or eviction ends.
 * A page of an absent chunk is left alone: see region_discard().
 */
void bo_discard(struct bo *bo, uint32_t index);

/* The stored copy of a page in RAM, or STORED: it dies, in its store too. Then a STORED page must change
 * its state. */
void bo_kill_copy(struct bo *bo, struct page *p);
/* A page in RAM gets a new copy; the old one dies. */
void bo_set_copy(struct bo *bo, struct page *p, enum page_kind kind, uint64_t loc, uint32_t size,
		 uint64_t sum, uint8_t gen);
/* The record is elsewhere now (cleaned, spilled). What was at the old place is the caller's to kill. */
void bo_copy_moved(struct bo *bo, struct page *p, enum page_kind kind, uint64_t loc);

/*
 * All that a page's copy adds to the session's counters, as the page is now: live bytes of its store;
 * STORED: bytes by kind; in RAM with a record: clean. For a change that no helper above makes: -1, the
 * change, 1.
 */
void bo_count_stored(struct session *s, const struct page *p, int sign);

#endif
