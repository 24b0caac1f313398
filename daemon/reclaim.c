/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reclaim.c - the life of an eviction, and who goes.
 *
 * Runs on the session's home worker, under the session's lock (reclaim_drop_copies and the picking also
 * serve the reclaimer's wishes, but are run here).
 *
 * Victims are taken first in, first out: each page that becomes RESIDENT joins a queue of runs, and what
 * is taken from its head and is still RESIDENT goes. A page that is touched while it is in staging comes
 * back at no copy, and joins the queue again: its second chance.
 *
 *	FREE --reclaim_pick: pages LEAVING, EVICT--> EVICTING --DONE--> every page settled: FREE
 *	                                                        +-----> some KEPT: KEPT
 *	KEPT --RETURN--> RETURNING --DONE--> FREE, or KEPT: once more, a little later
 *	KEPT --DROP----> DROPPING --DONE--> FREE or KEPT     (pages that were discarded meanwhile)
 *
 * What a DONE says is read once per page and believed only as far as it concerns this client: a record is
 * accepted where the agent was granted room, a CLEAN only for a page that has a copy.
 *
 * A slot's pages are LEAVING, and held by their bo's n_moving, until the slot has settled them.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/align.h"
#include "common/gate.h"
#include "daemon/ctl.h"
#include "daemon/fault.h"
#include "daemon/log.h"
#include "daemon/reclaim.h"
#include "daemon/reclaimer.h"
#include "daemon/session.h"
#include "daemon/worker.h"

#define QUEUE_FIRST	1024u
#define RUN_PAGES	FLS_SLOT_PAGES
#define RETRY_NS	UINT64_C(300000)	/* a KEPT page that could not be returned */
#define UNMOVED_SLOTS	8u			/* slots in a row that took nothing out: pause */
#define PAUSE_MIN_NS	UINT64_C(1000000)	/* doubles */
#define PAUSE_MAX_NS	UINT64_C(64000000)
#define EXTENTS_AHEAD	4u
#define BACK_PAGES	512u			/* of one step of bringing everything back */
#define DROP_LOOK	65536u			/* runs of one look for copies to drop */

int reclaim_init(struct session *s)
{
	struct reclaim *r = &s->reclaim;

	memset(r, 0, sizeof(*r));
	r->queue = calloc(QUEUE_FIRST, sizeof(*r->queue));
	if (!r->queue)
		return -ENOMEM;
	r->cap = QUEUE_FIRST;
	return 0;
}

void reclaim_fini(struct session *s)
{
	free(s->reclaim.queue);
	s->reclaim.queue = NULL;
	s->reclaim.cap = 0;
}

/* ---- the queue ---- */

static bool grow(struct reclaim *r)
{
	struct victim *q = calloc((size_t)r->cap * 2, sizeof(*q));

	if (!q)
		return false;
	for (uint32_t i = r->head; i != r->tail; i++)
		q[(i - r->head) & (r->cap * 2 - 1)] = r->queue[i & (r->cap - 1)];
	r->tail -= r->head;
	r->head = 0;
	free(r->queue);
	r->queue = q;
	r->cap *= 2;
	return true;
}

void reclaim_added(struct session *s, struct bo *bo, uint32_t index, uint32_t n)
{
	struct reclaim *r = &s->reclaim;
	struct victim *last = r->tail != r->head ? &r->queue[(r->tail - 1) & (r->cap - 1)] : NULL;

	if (last && last->bo == bo->id && last->index + last->n == index && last->n + n <= RUN_PAGES) {
		last->n += n;
		return;
	}
	while (n) {
		uint32_t now = min(n, RUN_PAGES);

		/* Without memory these pages are found again when their bo is looked through. */
		if (r->tail - r->head == r->cap && !grow(r)) {
			r->lost = true;
			return;
		}
		r->queue[r->tail++ & (r->cap - 1)] = (struct victim){ bo->id, index, now };
		index += now;
		n -= now;
	}
}

void reclaim_cold(struct session *s, struct bo *bo, uint32_t index, uint32_t n)
{
	struct reclaim *r = &s->reclaim;

	while (n) {
		uint32_t now = min(n, RUN_PAGES);

		if (r->tail - r->head == r->cap && !grow(r))
			return;
		r->queue[--r->head & (r->cap - 1)] = (struct victim){ bo->id, index, now };
		index += now;
		n -= now;
	}
}

/* Every RESIDENT page anew, when some were lost to a lack of memory. */
static void refill_queue(struct session *s)
{
	struct bo *bo;

	s->reclaim.lost = false;
	LIST_FOREACH(bo, &s->bos, link)
		for (uint64_t i = pagetable_skip(&bo->pages, 0); i < bo->pages.n_pages;
		     i = pagetable_skip(&bo->pages, i + 1)) {
			struct page *p = pagetable_get(&bo->pages, i);

			if (p && page_state(p) == PAGE_RESIDENT)
				reclaim_added(s, bo, (uint32_t)i, 1);
		}
}

/* ---- picking ---- */

bool reclaim_is_tight(const struct session *s)
{
	struct watermarks w;

	job_watermarks(s->job, &w);
	return job_cost(s->job) > w.low - (w.limit - w.low);
}

/* Pages that this session should have on their way out, beyond those that are. */
static int64_t wanted_out(const struct session *s)
{
	struct job *j = s->job;
	struct watermarks w;
	uint64_t cost = job_cost(j);
	int64_t resident = atomic_load_explicit(&j->resident, memory_order_relaxed);
	int64_t mine = (int64_t)(s->c.resident / FLS_PAGE), pages;

	job_watermarks(j, &w);
	if (cost <= w.high && !(s->reclaim.in_flight && cost > w.low))
		return 0;
	pages = (int64_t)((cost - w.low) / FLS_PAGE);
	if (resident > mine && resident > 0)
		pages = pages * mine / resident + 1;
	/* Each page out leaves about half of it behind in the pool. */
	pages += pages / 2;
	return pages - s->reclaim.in_flight;
}

static struct slot *free_slot(struct session *s, uint32_t *ret)
{
	for (uint32_t i = 0; i < FLS_SLOTS; i++)
		if (s->reclaim.slot[i].state == SLOT_FREE) {
			*ret = i;
			return &s->reclaim.slot[i];
		}
	return NULL;
}

/* DONTFORK before the first page of a region leaves: the commands are obeyed in order, and the agent
 * evicts nothing when it could not be said. */
static bool mark_dontfork(struct session *s, struct region *r)
{
	if (r->dontfork)
		return true;
	if (!ctl_command(s, FLS_OP_FORKABLE, 0, r->start, r->end - r->start, 0))
		return false;
	r->dontfork = true;
	return true;
}

static bool evictable(const struct bo *bo, const struct page *p)
{
	(void)bo;
	return p && page_state(p) == PAGE_RESIDENT;
}

/* Take pages of a run into the slot. False: the slot is full, or the ring is; v is what is left. */
static bool take_run(struct session *s, struct slot *slot, struct victim *v)
{
	struct bo *bo = bo_find(s, v->bo);

	for (; bo && v->n; v->index++, v->n--) {
		struct page *p = pagetable_get(&bo->pages, v->index);
		struct region *r;
		uint64_t va;

		if (!evictable(bo, p))
			continue;
		r = region_of_page(s, bo, v->index, &va);
		if (!r)
			continue;
		if (slot->n == FLS_SLOT_PAGES || !mark_dontfork(s, r))
			return false;
		slot->page[slot->n].va = va;
		slot->page[slot->n].bo = bo->id;
		slot->page[slot->n++].index = v->index;
		bo_page_leaving(bo, p);
		bo->n_moving++;
	}
	return true;
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Write the slot down for the agent, in the order of addresses, and send it. */
static void send_slot(struct session *s, uint32_t i, struct slot *slot)
{
	struct fls_slot *out = &s->mem->slots[i];

	qsort(slot->page, slot->n, sizeof(slot->page[0]), by_address);
	slot->start = slot->page[0].va;
	slot->end = slot->page[slot->n - 1].va + FLS_PAGE;
	slot->left = slot->n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << slot->n) - 1;
	slot->epoch = s->reclaim.epoch;
	slot->state = SLOT_EVICTING;
	for (uint32_t k = 0; k < slot->n; k++) {
		struct bo *bo = bo_find(s, slot->page[k].bo);
		const struct page *p = pagetable_get(&bo->pages, slot->page[k].index);
		bool has_old = page_kind(p) == KIND_POOL || page_kind(p) == KIND_SWAP;

		out->page[k] = (struct fls_page){
			.va = slot->page[k].va, .bo = bo->id, .index = slot->page[k].index,
			.old_gen = page_gen(p), .gen = (uint8_t)(page_gen(p) + 1),
			.old_sum = has_old ? p->sum : 0,
			.flags = (has_old ? FLS_P_HAS_OLD : 0) | (s->job->swap ? 0 : FLS_P_NO_RAW),
		};
	}
	out->n = slot->n;
	out->mask = 0;
	__atomic_store_n(&out->wanted, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&out->epoch, slot->epoch, __ATOMIC_RELAXED);
	s->reclaim.n_busy++;
	s->reclaim.in_flight += slot->n;
	s->c.staging += (uint64_t)slot->n * FLS_PAGE;
	/* The ring has room for one command per slot and more: only a client that obeys nothing fills it. */
	ctl_command(s, FLS_OP_EVICT, i, 0, 0, 0);
}

static bool commands_free(const struct session *s)
{
	return s->reclaim.cmd_tail - __atomic_load_n(&s->mem->cmd_head, __ATOMIC_ACQUIRE) < FLS_CMDS / 2;
}

/* At most so many pages, from the head of the queue, into one slot, but for the last rest entries of the
 * queue. Returns how many. */
static uint32_t pick_slot(struct session *s, uint32_t most, uint32_t rest)
{
	struct reclaim *r = &s->reclaim;
	uint32_t i = 0;
	struct slot *slot = commands_free(s) ? free_slot(s, &i) : NULL;
	bool room = true;

	if (!slot)
		return 0;
	slot->n = 0;
	while (room && r->tail - r->head > rest && slot->n < min(most, FLS_SLOT_PAGES)) {
		struct victim *v = &r->queue[r->head & (r->cap - 1)];

		room = take_run(s, slot, v);
		if (room)
			r->head++;
	}
	if (slot->n)
		send_slot(s, i, slot);
	return slot->n;
}

static bool may_evict(const struct session *s)
{
	const struct reclaim *r = &s->reclaim;

	return s->state == SESSION_ATTACHED && !r->refused && !r->held && !r->drain;
}

/* Extents for the agent to write to, ahead of its need. */
static void grant_extents(struct session *s)
{
	struct reclaim *r = &s->reclaim;
	uint64_t offset;

	while (r->n_granted < EXTENTS_AHEAD) {
		uint64_t pool = (uint64_t)atomic_load(&s->job->pool_bytes);

		if (pool + FLS_EXTENT > s->job->pool_max && r->n_granted) {
			r->wants_extent = true;
			return;
		}
		if (pool > s->job->pool_max + FLS_EXTENT || !commands_free(s) ||
		    pool_grant(&s->pool, &offset)) {
			r->wants_extent = true;
			return;
		}
		ctl_command(s, FLS_OP_GRANT, 0, offset, FLS_EXTENT, 0);
		r->n_granted++;
	}
	r->wants_extent = false;
}

void reclaim_pick(struct session *s)
{
	int64_t want;
	uint32_t n;

	if (!may_evict(s) || worker_now() < s->reclaim.resume_ns)
		return;
	want = wanted_out(s);
	if (want <= 0)
		return;
	if (s->reclaim.lost)
		refill_queue(s);
	grant_extents(s);
	while (want > 0 && (n = pick_slot(s, (uint32_t)min(want, (int64_t)FLS_SLOT_PAGES), 0)))
		want -= n;
	reclaim_charge_pool(s);
}

void reclaim_range(struct session *s, uint64_t start, uint64_t end)
{
	const uint32_t rest = s->reclaim.tail - s->reclaim.head;

	for (struct region *r = region_next(s, start); r && r->start < end; r = region_next(s, r->end)) {
		uint64_t from = max(r->start, start), to = min(r->end, end);

		for (uint64_t va = from; va < to; va += (uint64_t)RUN_PAGES * FLS_PAGE)
			reclaim_cold(s, r->bo, region_index(r, va),
				     (uint32_t)min((to - va) / FLS_PAGE, (uint64_t)RUN_PAGES));
	}
	grant_extents(s);
	while (may_evict(s) && pick_slot(s, FLS_SLOT_PAGES, rest))
		;
}

void reclaim_wanted(struct session *s, struct bo *bo, uint32_t index)
{
	for (uint32_t i = 0; i < FLS_SLOTS; i++) {
		struct slot *slot = &s->reclaim.slot[i];

		for (uint32_t k = 0; slot->state == SLOT_EVICTING && k < slot->n; k++)
			if (slot->page[k].bo == bo->id && slot->page[k].index == index) {
				__atomic_fetch_or(&s->mem->slots[i].wanted, UINT64_C(1) << k,
						  __ATOMIC_RELAXED);
				return;
			}
	}
}

/* ---- the pool ---- */

void reclaim_charge_pool(struct session *s)
{
	int64_t now = (int64_t)pool_bytes(&s->pool);

	atomic_fetch_add(&s->job->pool_bytes, now - s->pool_charged);
	s->pool_charged = now;
	s->c.pool_used = (uint64_t)now;
}

uint64_t reclaim_drop_copies(struct session *s, uint64_t bytes)
{
	struct reclaim *r = &s->reclaim;
	uint64_t dropped = 0;
	uint32_t looked = 0;

	for (uint32_t i = r->tail; i != r->head && dropped < bytes && looked < DROP_LOOK; looked++) {
		struct victim *v = &r->queue[--i & (r->cap - 1)];
		struct bo *bo = bo_find(s, v->bo);

		for (uint32_t k = 0; bo && k < v->n; k++) {
			struct page *p = pagetable_get(&bo->pages, v->index + k);

			if (!p || page_state(p) != PAGE_RESIDENT || page_kind(p) != KIND_POOL)
				continue;
			dropped += page_size_stored(p);
			bo_kill_copy(bo, p);
			s->c.clean_drops++;
		}
	}
	return dropped;
}

/* ---- reports ---- */

/* The page's contents are in a record of the pool now. False: that cannot be. */
static bool accept_record(struct session *s, struct bo *bo, struct page *p, const struct fls_page *m)
{
	uint32_t size = store_record_size(m->len);

	if (!m->len || m->len > FLS_PAGE || (m->loc & 7) || pool_add(&s->pool, m->loc, size))
		return false;
	s->c.compressed_in += FLS_PAGE;
	s->c.compressed_out += size;
	bo_set_copy(bo, p, KIND_POOL, m->loc, size, m->sum, (uint8_t)(page_gen(p) + 1));
	return true;
}

static void discard_left(struct session *s, struct bo *bo, struct page *p, const struct fls_page *m)
{
	if (m->result == FLS_R_STORED && m->len && m->len <= FLS_PAGE && !(m->loc & 7) &&
	    !pool_add(&s->pool, m->loc, store_record_size(m->len)))
		pool_kill(&s->pool, m->loc, store_record_size(m->len));
	bo_page_left_discarded(bo, p);
}

static void page_is_out(struct session *s, struct bo *bo, struct page *p)
{
	page_set_removed(p, false);	/* it was there: what the flag excused is over */
	if (page_prefetched(p))
		page_set_prefetched(p, false);
	bo_page_stored(bo, p);
	s->c.evicted++;
}

/*
 * A page whose contents the client destroyed by what it reported: it must not read as anything. Stored
 * as a record that no checksum can match, it is poisoned by its next fault.
 */
static void page_is_lost(struct session *s, struct bo *bo, struct page *p)
{
	log_warnx("session %llu: its agent reported a record where it may not write",
		  (unsigned long long)s->id);
	bo_page_lost(bo, p);
}

/* True: the page is settled. */
static bool settle_page(struct session *s, struct slot *slot, uint32_t k, const struct fls_page *m)
{
	struct bo *bo = bo_find(s, slot->page[k].bo);
	uint32_t index = slot->page[k].index;
	struct page *p = pagetable_get(&bo->pages, index);
	bool kept = m->result == FLS_R_KEPT || m->result == FLS_R_NONE;

	if (kept)
		return false;
	if (RULE(RULE_REMEMBER_DISCARD) ? page_discarded(p) : false) {
		discard_left(s, bo, p, m);
		goto settled;
	}
	page_set_discarded(p, false);
	switch (m->result) {
	case FLS_R_ZERO:
		bo_set_copy(bo, p, KIND_ZERO, 0, 0, 0, (uint8_t)(page_gen(p) + 1));
		page_is_out(s, bo, p);
		break;
	case FLS_R_SAME:
		bo_set_copy(bo, p, KIND_SAME, 0, 0, m->sum, (uint8_t)(page_gen(p) + 1));
		page_is_out(s, bo, p);
		break;
	case FLS_R_CLEAN:
		if (page_kind(p) != KIND_POOL && page_kind(p) != KIND_SWAP) {
			page_is_lost(s, bo, p);
			break;
		}
		s->c.evict_clean++;
		page_is_out(s, bo, p);
		break;
	case FLS_R_STORED:
		if (accept_record(s, bo, p, m))
			page_is_out(s, bo, p);
		else
			page_is_lost(s, bo, p);
		break;
	case FLS_R_HOLE:
		/* Nothing was there. With the excuse of a REMOVE it is EMPTY; else what is not there is a
		 * question for its next fault (answer_resident). */
		if (page_removed(p)) {
			bo_page_left_discarded(bo, p);
			break;
		}
		/* fall through */
	default:			/* STAYED, RETURNED */
		s->c.evict_kept++;
		bo_page_stayed(bo, p);
		reclaim_added(s, bo, index, 1);
	}
settled:
	slot->left &= ~(UINT64_C(1) << k);
	bo->n_moving--;
	s->c.staging -= FLS_PAGE;
	fault_page_settled(s, bo, index);
	if (!bo->n_moving && !bo->n_regions)
		bo_release(bo);
	return true;
}

/* Pages of a slot that are KEPT: which of them go back, and which were discarded meanwhile. */
static uint64_t discarded_of(struct session *s, const struct slot *slot)
{
	uint64_t mask = 0, va;

	for (uint32_t k = 0; k < slot->n; k++) {
		struct bo *bo;

		if (!(slot->left >> k & 1))
			continue;
		bo = bo_find(s, slot->page[k].bo);
		if (page_discarded(pagetable_get(&bo->pages, slot->page[k].index)) ||
		    !region_of_page(s, bo, slot->page[k].index, &va))
			mask |= UINT64_C(1) << k;
	}
	return mask;
}

static void send_back(struct session *s, uint32_t i, struct slot *slot)
{
	struct fls_slot *out = &s->mem->slots[i];
	uint64_t drop = RULE(RULE_REMEMBER_DISCARD) ? discarded_of(s, slot) : 0;
	uint64_t va;

	if (!commands_free(s))
		return;
	slot->mask = drop ? drop : slot->left;
	slot->epoch = s->reclaim.epoch;
	slot->start = UINT64_MAX;
	slot->end = 0;
	for (uint32_t k = 0; k < slot->n; k++) {
		if (!(slot->mask >> k & 1))
			continue;
		/* mremap may have moved it. */
		if (region_of_page(s, bo_find(s, slot->page[k].bo), slot->page[k].index, &va)) {
			slot->page[k].va = va;
			out->page[k].va = va;
		}
		slot->start = min(slot->start, slot->page[k].va);
		slot->end = max(slot->end, slot->page[k].va + FLS_PAGE);
		out->page[k].result = FLS_R_NONE;
	}
	slot->state = drop ? SLOT_DROPPING : SLOT_RETURNING;
	out->mask = slot->mask;
	__atomic_store_n(&out->epoch, slot->epoch, __ATOMIC_RELAXED);
	ctl_command(s, drop ? FLS_OP_DROP : FLS_OP_RETURN, i, 0, 0, 0);
}

static void keep_slot(struct session *s, uint32_t i, struct slot *slot, bool again)
{
	slot->state = SLOT_KEPT;
	slot->retry_ns = again ? worker_now() + RETRY_NS : 0;
	if (!again) {
		send_back(s, i, slot);
		return;
	}
	worker_retry_at(s->home, slot->retry_ns);
}

/* Nothing would leave, several times in a row: wait before the next try. */
static void pause_picking(struct session *s)
{
	struct reclaim *r = &s->reclaim;

	r->unmoved = 0;
	r->resume_ns = worker_now() + r->pause_ns;
	r->pause_ns = min(max(r->pause_ns * 2, PAUSE_MIN_NS), PAUSE_MAX_NS);
}

static void slot_done(struct session *s, uint32_t i)
{
	struct slot *slot = &s->reclaim.slot[i];
	enum slot_state was = slot->state;
	uint64_t asked = was == SLOT_EVICTING ? slot->left : slot->mask;
	uint32_t out = 0;

	GATE(GATE_DAEMON_BEFORE_REPORT);
	if (was == SLOT_FREE || was == SLOT_KEPT)	/* the agent has no business with it */
		return;
	for (uint32_t k = 0; k < slot->n; k++) {
		struct fls_page m = s->mem->slots[i].page[k];	/* once */

		if (!(asked >> k & slot->left >> k & 1))
			continue;
		if (was == SLOT_DROPPING && m.result == FLS_R_DROPPED)
			m.result = FLS_R_HOLE;
		out += settle_page(s, slot, k, &m) && m.result >= FLS_R_ZERO && m.result <= FLS_R_STORED;
	}
	if (was == SLOT_EVICTING) {
		s->reclaim.in_flight -= slot->n;
		s->reclaim.unmoved = out ? 0 : s->reclaim.unmoved + 1;
		if (out)
			s->reclaim.pause_ns = PAUSE_MIN_NS;
		else if (s->reclaim.unmoved >= UNMOVED_SLOTS)
			pause_picking(s);
	}
	if (slot->left) {
		keep_slot(s, i, slot, was != SLOT_EVICTING && (asked & slot->left));
		return;
	}
	slot->state = SLOT_FREE;
	s->reclaim.n_busy--;
}

static void adopting(struct session *s, uint64_t start, uint64_t len)
{
	if (!len || (start | len) & (FLS_PAGE - 1) || start + len < start)
		return;
	/* What is there already may cover another area now: it is to be marked anew. */
	for (struct region *r = region_next(s, start); r && r->start < start + len;
	     r = region_next(s, r->end))
		r->dontfork = false;
	region_add(s, start, start + len);
}

/* Pages that the agent saw: only UNKNOWN believes it, and only if no event has come between. */
static void present(struct session *s, uint64_t start, uint64_t len, uint64_t epoch)
{
	uint64_t end = start + len, va = start;

	if (end < start || (start | len) & (FLS_PAGE - 1))
		return;
	if (RULE(RULE_STAMPED_ADOPTION) && ctl_overtaken(s, epoch, start, end))
		return;
	while (va < end) {
		struct region *r = region_next(s, va);
		uint64_t to;
		uint32_t run = 0;

		if (!r || r->start >= end)
			return;
		va = max(va, r->start);
		to = min(r->end, end);
		for (; va < to; va += FLS_PAGE) {
			uint32_t index = region_index(r, va);
			struct page *p = pagetable_need(&r->bo->pages, index);

			if (p && !RULE(RULE_PRESENCE_ONLY_UNKNOWN) && page_state(p) == PAGE_EMPTY) {
				bo_page_filling(r->bo, p);
				bo_page_filled(r->bo, p);
				page_set_removed(p, false);
				run++;
				continue;
			}
			if (p && page_state(p) == PAGE_UNKNOWN) {
				session_adopted(s, FLS_PAGE);
				bo_page_present(r->bo, p);
				run++;
				continue;
			}
			if (run)
				reclaim_added(s, r->bo, index - run, run);
			run = 0;
		}
		if (run)
			reclaim_added(s, r->bo, region_index(r, to - FLS_PAGE) + 1 - run, run);
	}
}

/* An overtaken look leaves pages UNKNOWN: ask for another. */
static void scanned(struct session *s, uint64_t start, uint64_t len, uint64_t epoch)
{
	if (RULE(RULE_STAMPED_ADOPTION) && start + len > start &&
	    ctl_overtaken(s, epoch, start, start + len) && region_next(s, start))
		ctl_command(s, FLS_OP_SCAN, 0, start, len, s->reclaim.epoch);
}

static void quiesce(struct session *s, bool on)
{
	struct reclaim *r = &s->reclaim;

	r->held = on;
	r->bring_back = on;
	r->fork_asked = on;
	r->back_bo = r->back_index = 0;
	r->release_start = r->release_end = 0;
}

static void released(struct session *s, uint64_t start, uint64_t len)
{
	struct reclaim *r = &s->reclaim;

	if (!s->draining) {
		r->held = false;
		r->bring_back = false;
		r->release_start = r->release_end = 0;
	}
	region_unmap(s, start, start + len);
}

static void apply_report(struct session *s, const struct fls_report *m)
{
	struct reclaim *r = &s->reclaim;

	switch (m->what) {
	case FLS_RP_DONE:
		if (m->slot < FLS_SLOTS)
			slot_done(s, m->slot);
		break;
	case FLS_RP_ADOPTING:
		adopting(s, m->a, m->b);
		break;
	case FLS_RP_ADOPT_FAILED:
		break;			/* a region without a registration: no fault will ever come */
	case FLS_RP_PRESENT:
		present(s, m->a, m->b, m->c);
		break;
	case FLS_RP_SCANNED:
		scanned(s, m->a, m->b, m->c);
		break;
	case FLS_RP_ADOPT_END:
		r->adopting = false;
		r->adopt_ns = worker_now();
		break;
	case FLS_RP_NEED_EXTENT:
		grant_extents(s);
		break;
	case FLS_RP_EXTENT_FULL:
		if (r->n_granted) {
			r->n_granted--;
			pool_close(&s->pool, m->a & ~(uint64_t)(FLS_EXTENT - 1));
		}
		grant_extents(s);
		break;
	case FLS_RP_UNREGISTERED:
		released(s, m->a, m->b);
		break;
	case FLS_RP_QUIESCE:
		quiesce(s, m->a != 0);
		break;
	case FLS_RP_FORKABLE:
		break;
	case FLS_RP_REFUSED:
		r->refused_error = (int)m->c;
		pause_picking(s);
		break;
	case FLS_RP_RELEASE:
		r->held = r->bring_back = true;
		r->release_start = m->a;
		r->release_end = m->a + m->b;
		r->back_bo = r->back_index = 0;
		break;
	}
}

void reclaim_reports(struct session *s)
{
	struct fls_report m;
	bool any = false;

	/* Bounded: a client could report for ever. */
	for (unsigned int i = 0; i < FLS_REPORTS && ctl_report(s, &m); i++) {
		apply_report(s, &m);
		any = true;
	}
	ctl_arm_kick(s);
	if (ctl_has_report(s))
		worker_kick(s);
	if (!any)
		return;
	reclaim_charge_pool(s);
	job_note_peak(s->job);
	if (atomic_load(&s->job->n_waiting))
		job_kick_waiting(s->job, s);
}

/* ---- bringing everything back ---- */

static void tell_agent_of_fork(struct session *s)
{
	struct region *r;

	RB_FOREACH(r, region_tree, &s->regions) {
		if (r->dontfork && !ctl_command(s, FLS_OP_FORKABLE, 0, r->start, r->end - r->start, 1))
			goto later;
		r->dontfork = false;
	}
	if (ctl_command(s, FLS_OP_QUIESCED, 0, 0, 0, 0)) {
		s->reclaim.fork_asked = false;
		return;
	}
later:	/* the ring is full: the rest in another round */
	s->reclaim.bring_back = true;
	worker_retry_at(s->home, worker_now() + RETRY_NS);
}

/* The daemon stops, and everything is resident: let go of all of it. */
static void unregister_all(struct session *s)
{
	struct region *r;

	RB_FOREACH(r, region_tree, &s->regions)
		if (!ctl_command(s, FLS_OP_UNREGISTER, 0, r->start, r->end - r->start, 0)) {
			s->reclaim.bring_back = true;	/* the rest in another round */
			worker_retry_at(s->home, worker_now() + RETRY_NS);
			return;
		}
}

static struct bo *bo_at_or_after(struct session *s, uint64_t id)
{
	struct bo *bo, *best = NULL;

	LIST_FOREACH(bo, &s->bos, link)
		if (bo->id >= id && (!best || bo->id < best->id))
			best = bo;
	return best;
}

/* Some more of it; true: every page of every bo has been looked at. */
static bool bring_some_back(struct worker *w, struct session *s)
{
	struct reclaim *r = &s->reclaim;
	uint32_t n = 0;

	while (n < BACK_PAGES) {
		struct bo *bo = bo_at_or_after(s, r->back_bo);
		uint64_t next = 0;
		uint32_t got;

		if (!bo)
			return true;
		if (r->back_bo != bo->id)
			r->back_index = 0;
		r->back_bo = bo->id;
		got = fault_bring_in(w, s, bo, r->back_index, BACK_PAGES - n, &next);
		if (got && next == r->back_index) {	/* an event is in the way */
			worker_retry_at(w, worker_now() + RETRY_NS);
			return false;
		}
		r->back_index = next;
		if (!got) {
			r->back_bo++;
			r->back_index = 0;
		}
		n += got;
	}
	worker_kick(s);
	return false;
}

static void bring_back(struct worker *w, struct session *s)
{
	struct reclaim *r = &s->reclaim;

	if (!bring_some_back(w, s))
		return;
	if (r->n_busy || s->faults.n_reads) {
		/* What is under way may end STORED: look again after it. */
		r->back_bo = r->back_index = 0;
		worker_retry_at(w, worker_now() + RETRY_NS);
		return;
	}
	if (s->c.stored) {			/* of a bo that no region maps: none; a failed fill: again */
		r->back_bo = r->back_index = 0;
		worker_retry_at(w, worker_now() + RETRY_NS);
		return;
	}
	r->bring_back = false;
	if (r->fork_asked)
		tell_agent_of_fork(s);
	if (s->draining)
		unregister_all(s);
	else if (r->release_end)
		ctl_command(s, FLS_OP_UNREGISTER, 0, r->release_start,
			    r->release_end - r->release_start, 0);
}

/* WILLNEED: as far as there is room, a region a step. */
static void bring_in_range(struct worker *w, struct session *s)
{
	struct region *r = region_next(s, s->will_start);
	uint64_t va, next;
	uint32_t room = job_room(s->job, FLS_SLOT_PAGES);

	if (!r || r->start >= s->will_end || !room) {
		s->will_start = s->will_end = 0;
		return;
	}
	va = max(r->start, s->will_start);
	if (!fault_bring_in(w, s, r->bo, region_index(r, va), room, &next) ||
	    next >= r->first + (r->end - r->start) / FLS_PAGE)
		s->will_start = r->end;
	else
		s->will_start = r->start + (next - r->first) * FLS_PAGE;
	worker_kick(s);
}

void reclaim_continue(struct worker *w, struct session *s)
{
	struct reclaim *r = &s->reclaim;
	uint64_t now = worker_now();

	if (s->faults.broken)
		return;
	for (uint32_t i = 0; r->n_busy && i < FLS_SLOTS; i++) {
		if (r->slot[i].state != SLOT_KEPT)
			continue;
		if (r->slot[i].retry_ns > now)
			worker_retry_at(w, r->slot[i].retry_ns);
		else
			send_back(s, i, &r->slot[i]);
	}
	if (r->wants_extent)
		grant_extents(s);
	if (r->bring_back)
		bring_back(w, s);
	else if (s->will_end)
		bring_in_range(w, s);
}
