/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store-unit.c - which units of a store are free, which are open, and how much lives in each.
 *
 * The struct units is a member of its store and is guarded by whatever guards that (store.h).
 * It does arithmetic only: no I/O, no locks, and no byte of a unit is ever looked at. So its
 * asserts are about the daemon's own doing; what a client says is checked before it gets here.
 *
 *             +------------------------ close, nothing lives; abandon ------------------+
 *             v                                                                         |
 *   (new) -> FREE --open--> OPEN --close--> FULL --last record killed--> FREE           |
 *             ^              | +---------------------------------------------------------
 *             |              +--discard--> BAD
 *             |
 *             +-- release, if nothing lives -- FULL and busy <--hold-- FULL
 *             +-- last record killed -- FULL and busy and lost <--lose-- FULL and busy
 *
 *   state       used, live     is on                               counted in
 *   FREE        0, 0           warm, or free if its pages are gone n_warm (warm)
 *   OPEN        live <= used   no list                             used_bytes, slack_bytes
 *   FULL        live <= used   full and bucket[live share]         used_bytes
 *   FULL, busy  live <= used   no list; live may be 0              used_bytes
 *   BAD         0, 0           no list                             nothing
 *
 * A unit that becomes FREE is warm: its pages (the pool) or disk blocks (swap) are still there.
 * Such units are used first, the last freed before the others: writing to pages that exist is
 * several times cheaper than having them allocated. The store gives the pages of the others
 * back when there are many: units_take_warm() takes one off the lists for that time.
 *
 * There can be half a million units. So no call walks them: the array is reserved as address
 * space and its pages appear as units are first used; the search for the emptiest unit goes by
 * 32 lists, one for each 32nd of a unit that lives, and looks at SEARCH_MAX units of each at most.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/align.h"
#include "daemon/store.h"

#define SEARCH_MAX	16u

void units_init(struct units *u, uint32_t n_max)
{
	*u = (struct units){ .n_max = n_max };
	TAILQ_INIT(&u->free);
	TAILQ_INIT(&u->warm);
	TAILQ_INIT(&u->full);
	for (unsigned int b = 0; b < UNIT_BUCKETS; b++)
		TAILQ_INIT(&u->bucket[b]);
}

void units_fini(struct units *u)
{
	if (u->unit)
		munmap(u->unit, u->n_max * sizeof(*u->unit));
	units_init(u, 0);
}

static struct unit *unit_at(struct units *u, uint32_t i)
{
	assert(i < u->n);
	return &u->unit[i];
}

/* The part of an OPEN unit that takes no memory yet. A warm one takes it all from the start. */
static uint32_t slack(const struct unit *x)
{
	return x->warm ? 0 : FLS_EXTENT - (uint32_t)page_up(x->used);
}

static struct unit_list *bucket_of(struct units *u, uint32_t live)
{
	return &u->bucket[min(live / (FLS_EXTENT / UNIT_BUCKETS), UNIT_BUCKETS - 1)];
}

static void list_full(struct units *u, struct unit *x, bool oldest)
{
	if (oldest)
		TAILQ_INSERT_HEAD(&u->full, x, link);
	else
		TAILQ_INSERT_TAIL(&u->full, x, link);
	TAILQ_INSERT_TAIL(bucket_of(u, x->live), x, link_bucket);
	x->listed = 1;
}

static void unlist_full(struct units *u, struct unit *x)
{
	assert(x->listed);
	TAILQ_REMOVE(&u->full, x, link);
	TAILQ_REMOVE(bucket_of(u, x->live), x, link_bucket);
	x->listed = 0;
}

static void list_free(struct units *u, struct unit *x, bool warm)
{
	x->warm = warm;
	if (warm) {
		TAILQ_INSERT_HEAD(&u->warm, x, link);
		u->n_warm++;
	} else {
		TAILQ_INSERT_HEAD(&u->free, x, link);
	}
}

/* OPEN or FULL, on no list, nothing lives -> FREE */
static void make_free(struct units *u, struct unit *x, bool warm)
{
	assert(x->state == UNIT_OPEN || x->state == UNIT_FULL);
	assert(!x->listed && !x->live);

	*x = (struct unit){ .state = UNIT_FREE, .generation = x->generation + 1 };
	u->used_bytes -= FLS_EXTENT;
	list_free(u, x, warm);
}

static int reserve_array(struct units *u)
{
	void *p;

	if (u->unit)
		return 0;
	p = mmap(NULL, u->n_max * sizeof(*u->unit), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	u->unit = p;
	return 0;
}

/* Warm ones first, then those used before, which keeps a file short; then a new one. */
static struct unit *take_free(struct units *u)
{
	struct unit *x = TAILQ_FIRST(&u->warm);

	if (x) {
		TAILQ_REMOVE(&u->warm, x, link);
		u->n_warm--;
		return x;
	}
	x = TAILQ_FIRST(&u->free);
	if (x) {
		TAILQ_REMOVE(&u->free, x, link);
		return x;
	}
	return u->n < u->n_max ? &u->unit[u->n++] : NULL;
}

int units_open(struct units *u, uint32_t *ret_index)
{
	struct unit *x;
	int r;

	if (!u->n_max)
		return -ENOSPC;
	r = reserve_array(u);
	if (r < 0)
		return r;
	x = take_free(u);
	if (!x)
		return -ENOSPC;

	assert(x->state == UNIT_FREE && !x->used && !x->live && !x->busy);
	x->state = UNIT_OPEN;
	u->used_bytes += FLS_EXTENT;
	u->slack_bytes += slack(x);
	*ret_index = units_index(u, x);
	return 0;
}

void units_append(struct units *u, uint32_t i, uint32_t bytes)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_OPEN);
	assert(bytes <= FLS_EXTENT - x->used);

	u->slack_bytes -= slack(x);
	x->used += bytes;
	u->slack_bytes += slack(x);
	x->live += bytes;
	u->live_bytes += bytes;
}

void units_close(struct units *u, uint32_t i)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_OPEN && !x->busy);

	u->slack_bytes -= slack(x);
	if (!x->live) {
		make_free(u, x, true);
		return;
	}
	x->warm = 0;
	x->state = UNIT_FULL;
	list_full(u, x, false);
}

void units_abandon(struct units *u, uint32_t i)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_OPEN && !x->used);

	u->slack_bytes -= slack(x);
	make_free(u, x, false);
}

void units_discard(struct units *u, uint32_t i)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_OPEN && !x->used);

	u->slack_bytes -= slack(x);
	u->used_bytes -= FLS_EXTENT;
	*x = (struct unit){ .state = UNIT_BAD };
}

static void set_live(struct units *u, struct unit *x, uint32_t live)
{
	struct unit_list *from = bucket_of(u, x->live), *to = bucket_of(u, live);

	if (x->listed && from != to) {
		TAILQ_REMOVE(from, x, link_bucket);
		TAILQ_INSERT_TAIL(to, x, link_bucket);
	}
	u->live_bytes = u->live_bytes - x->live + live;
	x->live = live;
}

void units_revive(struct units *u, uint32_t i, uint32_t bytes)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_FULL && x->live + bytes <= x->used);

	set_live(u, x, x->live + bytes);
}

bool units_kill(struct units *u, uint32_t i, uint32_t bytes)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_OPEN || x->state == UNIT_FULL);
	assert(bytes <= x->live);

	set_live(u, x, x->live - bytes);
	if (x->live || x->state != UNIT_FULL || (x->busy && !x->lost))
		return false;
	if (x->listed)
		unlist_full(u, x);
	make_free(u, x, true);
	return true;
}

void units_hold(struct units *u, uint32_t i)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_FULL && !x->busy);
	unlist_full(u, x);
	x->busy = 1;
}

/* It was held because it was the oldest or the emptiest: so it is the next one again. */
bool units_release(struct units *u, uint32_t i)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_FULL && x->busy && !x->lost);
	if (!x->live) {
		make_free(u, x, true);
		return true;
	}
	x->busy = 0;
	list_full(u, x, true);
	return false;
}

bool units_lose(struct units *u, uint32_t i)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_FULL && x->busy && !x->lost);
	if (!x->live) {
		make_free(u, x, true);
		return true;
	}
	x->lost = 1;
	return false;
}

/*
 * The best of the first units on a bucket. Those looked at go to its end, so that the next search
 * sees others: with many units of other owners, or many above max_live, each is seen in turn.
 */
static struct unit *search_bucket(struct unit_list *list, const uint64_t *owner, uint32_t max_live)
{
	struct unit *first = TAILQ_FIRST(list), *x = first, *best = NULL;

	for (unsigned int k = 0; x && k < SEARCH_MAX; k++) {
		if ((!owner || x->owner == *owner) && x->live <= max_live &&
		    (!best || x->live < best->live))
			best = x;
		TAILQ_REMOVE(list, x, link_bucket);
		TAILQ_INSERT_TAIL(list, x, link_bucket);
		x = TAILQ_FIRST(list);
		if (x == first)
			break;
	}
	return best;
}

static struct unit *search(struct units *u, const uint64_t *owner, uint32_t max_live)
{
	for (uint32_t b = 0; b < UNIT_BUCKETS; b++) {
		struct unit *x;

		if (b * (FLS_EXTENT / UNIT_BUCKETS) > max_live)
			break;
		x = search_bucket(&u->bucket[b], owner, max_live);
		if (x)
			return x;
	}
	return NULL;
}

struct unit *units_emptiest(struct units *u, uint32_t max_live)
{
	return search(u, NULL, max_live);
}

struct unit *units_emptiest_of(struct units *u, uint64_t owner, uint32_t max_live)
{
	return search(u, &owner, max_live);
}

struct unit *units_oldest(struct units *u)
{
	return TAILQ_FIRST(&u->full);
}

bool units_take_warm(struct units *u, uint32_t *ret_index)
{
	struct unit *x = TAILQ_LAST(&u->warm, unit_list);

	if (!x)
		return false;
	TAILQ_REMOVE(&u->warm, x, link);
	u->n_warm--;
	*ret_index = units_index(u, x);
	return true;
}

void units_give_cold(struct units *u, uint32_t i, bool cold)
{
	struct unit *x = unit_at(u, i);

	assert(x->state == UNIT_FREE && x->warm);
	list_free(u, x, !cold);
}
