/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault.c - the life of a fault, from a batch of events to a page that is there.
 *
 * Everything runs on the session's home worker. That is what makes an answer right: installing a page
 * (UFFDIO_COPY) succeeds only while no munmap, mremap or madvise of the client is between its start and
 * the reading of its event; what has been read has been applied, by this same thread, before it installs
 * anything. So a page that can be installed is a page whose entry is up to date. It is also why the lock
 * may be dropped while pages are decoded and installed: nobody else changes regions, and the pages
 * concerned are FILLING.
 *
 *	read a batch --> apply its UNMAP, REMAP, REMOVE in order --> its faults, one by one:
 *
 *	unknown address ------> the area grew: extend the region (or forget it: not registered)
 *	bo reserved by another> park; the second time in the reservation's own queue
 *	FILLING, LEAVING -----> park on the page
 *	RESIDENT -------------> a duplicate: wake
 *	UNKNOWN, EMPTY -------> zeros        } for it and its neighbours as the stream of faults says,
 *	STORED ---------------> its contents } if the job has room; else wait for the budget
 *
 * A fault that waits is a struct fault on one of the lists of struct faults. It holds nothing; when what it
 * waits for comes, it becomes ready and starts again from the top.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/align.h"
#include "common/gate.h"
#include "daemon/ctl.h"
#include "daemon/fault.h"
#include "daemon/fill.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/reclaimer.h"
#include "daemon/session.h"
#include "daemon/stream.h"
#include "daemon/swapin.h"
#include "daemon/uffd.h"
#include "daemon/worker.h"

#define EXTEND_BYTES	(UINT64_C(16) << 20)	/* of a region that grew; more than there is does no harm */
#define FIRST_PART	8u			/* pages of a window before the thread runs again */
#define BACKOFF_MIN_US	20u
#define BACKOFF_MAX_US	2000u
#define BATCHES		4			/* of one visit: others wait too */

static void answered(struct session *s, struct fault *f, unsigned int kind);

/* ---- lists ---- */

static struct fault_list *bucket(struct faults *f, uint64_t va)
{
	return &f->parked[(va >> 12) % FAULT_BUCKETS];
}

void faults_init(struct faults *f)
{
	memset(f, 0, sizeof(*f));
	for (unsigned int i = 0; i < FAULT_BUCKETS; i++)
		TAILQ_INIT(&f->parked[i]);
	TAILQ_INIT(&f->reserved);
	TAILQ_INIT(&f->budget);
	TAILQ_INIT(&f->deferred);
	TAILQ_INIT(&f->ready);
}

/* Give up the place in a reservation's queue, or the reservation. */
static void leave_queue(struct session *s, struct fault *f)
{
	struct bo *bo = f->on_queue ? bo_find(s, f->queue_bo) : NULL;

	if (!f->on_queue)
		return;
	f->on_queue = false;
	if (bo && !resv_cancel(&f->queued, -ESTALE))
		resv_release(&bo->resv, f);
	if (!TAILQ_EMPTY(&s->faults.reserved))
		worker_kick(s);
}

static void forget(struct session *s, struct fault *f)
{
	leave_queue(s, f);
	free(f);
}

static void forget_list(struct session *s, struct fault_list *list)
{
	struct fault *f;

	while ((f = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, f, link);
		forget(s, f);
	}
}

void faults_fini(struct session *s)
{
	struct faults *f = &s->faults;
	struct fault *x;

	TAILQ_FOREACH(x, &f->budget, link)
		atomic_fetch_sub(&s->job->n_waiting, 1);
	for (unsigned int i = 0; i < FAULT_BUCKETS; i++)
		forget_list(s, &f->parked[i]);
	forget_list(s, &f->reserved);
	forget_list(s, &f->budget);
	forget_list(s, &f->deferred);
	forget_list(s, &f->ready);
}

static void wait_on(struct session *s, struct fault_list *list, struct fault *f)
{
	TAILQ_INSERT_TAIL(list, f, link);
	if (list != &s->faults.budget)
		return;
	atomic_fetch_add(&s->job->n_waiting, 1);
	if (!f->waited_budget)
		s->c.faults[FLP_FAULT_BUDGET]++;
	f->waited_budget = true;
}

/* Counted when it begins: who looks at the counters sees the fault that waits now. */
static void count_parked(struct session *s, struct fault *f)
{
	if (!f->parked)
		s->c.faults[FLP_FAULT_PARKED]++;
	f->parked = true;
}

static void defer(struct session *s, struct fault *f)
{
	struct faults *all = &s->faults;

	all->backoff_us = all->backoff_us ? min(all->backoff_us * 2, BACKOFF_MAX_US) : BACKOFF_MIN_US;
	all->retry_ns = worker_now() + all->backoff_us * UINT64_C(1000);
	worker_retry_at(s->home, all->retry_ns);
	wait_on(s, &all->deferred, f);
}

/*
 * An event has been read, which may be the one that is in the way: what is deferred need not wait for
 * longer than its thread takes to run again. It is not tried at once: the thread has only been woken.
 */
static void hurry_deferred(struct session *s, uint64_t now)
{
	struct faults *all = &s->faults;
	uint64_t soon = now + BACKOFF_MIN_US * UINT64_C(1000);

	all->backoff_us = 0;
	if (TAILQ_EMPTY(&all->deferred) || all->retry_ns <= soon)
		return;
	all->retry_ns = soon;
	worker_retry_at(s->home, soon);
}

void fault_park(struct session *s, struct fault *f)
{
	count_parked(s, f);
	wait_on(s, bucket(&s->faults, f->va), f);
}

static void make_ready(struct session *s, struct fault_list *from)
{
	TAILQ_CONCAT(&s->faults.ready, from, link);
}

/*
 * A page that is RESIDENT now was installed, or returned, which woke who waited for it in the kernel;
 * one more wake is for who came just then. Any other state is for the fault to look at.
 */
void fault_page_settled(struct session *s, struct bo *bo, uint32_t index)
{
	struct fault *f, *next;
	struct fault_list *list;
	bool resident, woken = false;
	uint64_t va;

	if (!region_of_page(s, bo, index, &va))
		return;
	list = bucket(&s->faults, va);
	if (TAILQ_EMPTY(list))
		return;
	resident = page_state(pagetable_get(&bo->pages, index)) == PAGE_RESIDENT;
	for (f = TAILQ_FIRST(list); f; f = next) {
		next = TAILQ_NEXT(f, link);
		if (f->va != va)
			continue;
		TAILQ_REMOVE(list, f, link);
		if (!resident) {
			TAILQ_INSERT_TAIL(&s->faults.ready, f, link);
			continue;
		}
		if (!woken)
			uffd_wake(s->uffd, va, FLS_PAGE);
		woken = true;
		answered(s, f, FLP_FAULT_PRESENT);
	}
}

/* Pages moved or went: whoever is parked looks again. */
static void settle_range(struct session *s, uint64_t start, uint64_t end)
{
	struct fault *f, *next;

	for (unsigned int i = 0; i < FAULT_BUCKETS; i++)
		for (f = TAILQ_FIRST(&s->faults.parked[i]); f; f = next) {
			next = TAILQ_NEXT(f, link);
			if (f->va < start || f->va >= end)
				continue;
			TAILQ_REMOVE(&s->faults.parked[i], f, link);
			TAILQ_INSERT_TAIL(&s->faults.ready, f, link);
		}
}

/* ---- answers ---- */

static void answered(struct session *s, struct fault *f, unsigned int kind)
{
	uint64_t ns = worker_now() - f->read_ns;

	s->c.faults[kind]++;
	hist_add(&s->latency, ns);
	hist_add(&s->job->latency, ns);
	s->faults.backoff_us = 0;
	leave_queue(s, f);
	free(f);
}

/* What the table calls RESIDENT has raised a fault. */
static void answer_resident(struct session *s, struct fault *f, struct page *p)
{
	static const uint8_t zeros[FLS_PAGE] __attribute__((aligned(4096)));
	unsigned int done;
	int r;

	/* A REMOVE's event comes before its zap: a page filled in between is zapped after all, and the
	 * client discarded it: zeros. */
	if (page_removed(p) && RULE(RULE_EXCUSE_ZAP)) {
		r = uffd_copy(s->uffd, f->va, zeros, 1, true, &done);
		if (!r)
			bo_kill_copy(region_find(s, f->va)->bo, p);
		if (r == -EAGAIN) {
			defer(s, f);
			return;
		}
		if (r == -EEXIST && RULE(RULE_WAKE_ON_EEXIST))
			uffd_wake(s->uffd, f->va, FLS_PAGE);
		answered(s, f, r ? FLP_FAULT_PRESENT : FLP_FAULT_ZERO);
		return;
	}
	/* A duplicate of a fault that was answered: the page is there. POISON tells, by refusing; should
	 * the page really be gone, its contents are lost, and that must not read as zeros. */
	r = uffd_poison(s->uffd, f->va, 1);
	if (r == -EAGAIN) {
		defer(s, f);
		return;
	}
	if (!r) {
		log_warnx("session %llu: page %llx is gone and nobody took it: SIGBUS",
			  (unsigned long long)s->id, (unsigned long long)f->va);
		s->c.poisoned++;
		answered(s, f, FLP_FAULT_POISON);
		return;
	}
	if (RULE(RULE_WAKE_ON_EEXIST))
		uffd_wake(s->uffd, f->va, FLS_PAGE);
	answered(s, f, FLP_FAULT_PRESENT);
}

static void answer_poison(struct session *s, struct fault *f)
{
	if (uffd_poison(s->uffd, f->va, 1) == -EAGAIN) {
		defer(s, f);
		return;
	}
	uffd_wake(s->uffd, f->va, FLS_PAGE);
	answered(s, f, FLP_FAULT_POISON);
}

static void extend_region(struct session *s, struct fault *f)
{
	struct region *next = region_next(s, f->va);
	uint64_t end = (f->va + EXTEND_BYTES) & ~(EXTEND_BYTES - 1);

	if (next && next->start < end)
		end = next->start;
	if (region_add(s, f->va, end))
		defer(s, f);
	else
		TAILQ_INSERT_TAIL(&s->faults.ready, f, link);
}

/*
 * No region: an area that grew by mremap (no event tells, yet the tail is registered), or one that is not
 * registered any more. A bare wake in the first case would spin for ever.
 */
static void answer_unknown(struct session *s, struct fault *f)
{
	int r = uffd_look(s->uffd, f->va);

	if (r == -EINVAL && RULE(RULE_EXTEND_ON_FAULT)) {
		extend_region(s, f);
		return;
	}
	if (r == -EAGAIN) {
		defer(s, f);
		return;
	}
	uffd_wake(s->uffd, f->va, FLS_PAGE);
	answered(s, f, FLP_FAULT_PRESENT);
}

/* ---- filling ---- */

struct window {
	struct region *region;
	struct bo *bo;
	uint32_t index;			/* of its first page, the faulting one unless it runs backwards */
	uint32_t n;
	uint32_t fault_at;		/* which of them faulted */
	uint64_t va;			/* of the first */
	unsigned int kind;		/* of the fault, for the counters */
	struct page *page[FILL_PAGES];
	bool zero;			/* none of them has contents */
};

static bool fillable(const struct page *p)
{
	switch (page_state(p)) {
	case PAGE_UNKNOWN:
	case PAGE_EMPTY:
		return true;
	case PAGE_STORED:
		return page_kind(p) != KIND_SWAP;
	case PAGE_FILLING:
	case PAGE_RESIDENT:
	case PAGE_LEAVING:
	case PAGE_POISONED:
	case PAGE_STATES:
		break;
	}
	return false;
}

static bool has_contents(const struct page *p)
{
	return page_state(p) == PAGE_STORED;
}

/* Pages of region, from index on in steps of step, that may be filled together with it: those with
 * contents with those, those without with those. Reserved at once. */
static uint32_t gather(struct window *w, int step, uint32_t most)
{
	uint32_t first = w->region->first;
	uint32_t last = first + (uint32_t)((w->region->end - w->region->start) >> 12) - 1;
	uint32_t n = 0;
	bool contents = false;

	for (int64_t i = w->index; n < most && i >= first && i <= last; i += step, n++) {
		struct page *p = pagetable_need(&w->bo->pages, (uint64_t)i);

		if (!p || !fillable(p) || (n && has_contents(p) != contents))
			break;
		contents = has_contents(p);
		w->page[n] = p;
	}
	w->zero = !contents;
	return n;
}

static void reverse(struct window *w)
{
	for (uint32_t i = 0; i < w->n / 2; i++) {
		struct page *p = w->page[i];

		w->page[i] = w->page[w->n - 1 - i];
		w->page[w->n - 1 - i] = p;
	}
	w->index -= w->n - 1;
	w->fault_at = w->n - 1;
}

static unsigned int kind_of_fault(const struct page *p)
{
	if (page_state(p) != PAGE_STORED)
		return FLP_FAULT_ZERO;
	return page_kind(p) == KIND_POOL ? FLP_FAULT_POOL :
	       page_kind(p) == KIND_SWAP ? FLP_FAULT_SWAP : FLP_FAULT_SAME;
}

static void settle(struct session *s, struct window *w, uint32_t i)
{
	fault_page_settled(s, w->bo, w->index + i);
}

/* Pages [from, to) are there. */
static void filled(struct session *s, struct window *w, uint32_t from, uint32_t to, bool keep_copy)
{
	for (uint32_t i = from; i < to; i++) {
		bo_page_filled(w->bo, w->page[i]);
		if (!keep_copy && page_kind(w->page[i]) != KIND_NONE)
			bo_kill_copy(w->bo, w->page[i]);
		settle(s, w, i);
	}
	if (to > from)
		reclaim_added(s, w->bo, w->index + from, to - from);
}

static void undo(struct session *s, struct window *w, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		bo_page_fill_undone(w->bo, w->page[i]);
		settle(s, w, i);
	}
}

/* The bytes of [from, to), as far as they can be had; the faulting page must. Not under the lock. */
static uint32_t make_bytes(struct worker *wk, struct session *s, struct window *w, uint32_t from,
			   uint32_t to)
{
	uint32_t i;

	for (i = from; i < to; i++)
		if (fill_make(wk->fill, i, s->secret, w->bo->id))
			break;
	return i;
}

static void lost(struct session *s, struct window *w, struct fault *f, uint32_t i)
{
	log_warnx("session %llu: page %llx cannot be read back (checksum): SIGBUS",
		  (unsigned long long)s->id,
		  (unsigned long long)(w->va + (uint64_t)i * FLS_PAGE));
	s->c.checksum_errors++;
	bo_page_poisoned(w->bo, w->page[i]);
	settle(s, w, i);
	if (f)
		answer_poison(s, f);
}

/* What the kernel said to the faulting page itself; it is as it was before. */
static void answer_refused(struct session *s, struct window *w, struct fault *f, int error)
{
	struct page *p = w->page[w->fault_at];

	switch (error) {
	case -EEXIST:
		/* It is there: by a zero page or a freed page that came alive with no event. What is in
		 * memory is what the program has seen. */
		bo_page_filling(w->bo, p);
		bo_page_filled(w->bo, p);
		if (page_kind(p) != KIND_NONE)
			bo_kill_copy(w->bo, p);
		reclaim_added(s, w->bo, w->index + w->fault_at, 1);
		if (RULE(RULE_WAKE_ON_EEXIST))
			uffd_wake(s->uffd, f->va, FLS_PAGE);
		answered(s, f, FLP_FAULT_PRESENT);
		return;
	case -EAGAIN:		/* an event is on its way, or being waited for */
	case -ENOMEM:		/* the client's own memory cgroup is full: take out, try again */
		defer(s, f);
		return;
	case -ESRCH:
		forget(s, f);
		return;
	default:		/* ENOENT: not registered any more */
		uffd_wake(s->uffd, f->va, FLS_PAGE);
		answered(s, f, FLP_FAULT_PRESENT);
	}
}

/* A part of a window: [from, to) is wanted, [from, done) is there. */
struct part {
	uint32_t from, to, ready, done;
	int error;			/* why it is not all there: the kernel's, or 0: a bad record */
};

/* Decode and install a part. Not under the lock. What follows a page that is there already, or that
 * cannot be decoded, stays out: a neighbour only ever ends the run. */
static void fill_part(struct worker *wk, struct session *s, struct window *w, struct part *p)
{
	unsigned int n = 0;

	p->done = p->from;
	p->ready = make_bytes(wk, s, w, p->from, p->to);
	if (p->ready == p->from)
		return;
	GATE(GATE_DAEMON_BEFORE_INSTALL);
	p->error = uffd_copy(s->uffd, w->va + (uint64_t)p->from * FLS_PAGE, wk->fill->pages[p->from],
			     p->ready - p->from, true, &n);
	p->done += n;
}

static void settle_part(struct session *s, struct window *w, const struct part *p, bool keep)
{
	filled(s, w, p->from, p->done, keep);
	undo(s, w, p->done, p->to);
}

/*
 * Fetch, decode and install a window whose pages are FILLING; f: the fault of one of them, or NULL. The
 * faulting page goes first, with what follows it; a long window goes in two parts, so that the thread
 * runs early.
 */
static void fill_window(struct worker *wk, struct session *s, struct window *w, struct fault *f, bool keep)
{
	struct part a = { .from = w->fault_at, .to = w->fault_at ? w->n : min(w->n, FIRST_PART) };
	struct part b = { .from = w->fault_at ? 0 : a.to, .to = w->fault_at ? w->fault_at : w->n };

	w->bo->n_moving++;
	for (uint32_t i = 0; i < w->n; i++)
		if (w->zero)
			wk->fill->want[i].kind = KIND_NONE;
		else
			fill_fetch(wk->fill, i, w->bo, w->index + i, w->page[i]);
	pthread_mutex_unlock(&s->lock);
	GATE(GATE_DAEMON_BEFORE_FILL);
	fill_part(wk, s, w, &a);
	b.done = b.from;
	if (a.done == a.to && b.from < b.to)
		fill_part(wk, s, w, &b);
	pthread_mutex_lock(&s->lock);
	w->bo->n_moving--;

	settle_part(s, w, &b, keep);
	if (a.ready == a.from) {
		undo(s, w, a.from + 1, a.to);
		lost(s, w, f, a.from);
		return;
	}
	settle_part(s, w, &a, keep);
	if (f && a.done == a.from)
		answer_refused(s, w, f, a.error);
	else if (f)
		answered(s, f, w->kind);
}

/* Reserve the window: charge its pages. */
static void begin_fill(struct window *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		bo_page_filling(w->bo, w->page[i]);
}

static uint32_t widest(const struct session *s, const struct region *r)
{
	uint32_t most = min(s->job->prefetch, FILL_PAGES);

	return r->advice == REGION_RANDOM ? 0 : most;
}

/* Pages of a stream that skips: each on its own. */
static void fill_strided(struct worker *wk, struct session *s, struct region *r, uint32_t index,
			 const struct stream_hint *hint)
{
	uint32_t first = r->first, last = first + (uint32_t)((r->end - r->start) >> 12) - 1;

	for (uint32_t k = 1; k < hint->n; k++) {
		int64_t i = (int64_t)index + (int64_t)hint->stride * k;
		struct window w = { .region = r, .bo = r->bo, .n = 1 };
		struct page *p;

		if (i < first || i > last || !job_room(s->job, 2))
			return;
		p = pagetable_get(&r->bo->pages, (uint64_t)i);
		if (!p || page_state(p) != PAGE_STORED || page_kind(p) == KIND_SWAP)
			continue;
		w.index = (uint32_t)i;
		w.va = r->start + ((uint64_t)(w.index - r->first) << 12);
		w.page[0] = p;
		page_set_prefetched(p, true);
		s->c.prefetched++;
		begin_fill(&w);
		fill_window(wk, s, &w, NULL, true);
	}
}

static void answer_by_filling(struct worker *wk, struct session *s, struct fault *f, struct region *r,
			      struct page *p)
{
	struct window w = { .region = r, .bo = r->bo, .index = region_index(r, f->va) };
	struct stream_hint hint;
	uint32_t room, index = w.index;
	bool stored = page_state(p) == PAGE_STORED;

	stream_fault(&s->faults, r->bo->id, index, widest(s, r), &hint);
	room = job_room(s->job, hint.n);
	if (!room) {
		wait_on(s, &s->faults.budget, f);
		return;
	}
	if (stored)
		s->c.refaults++;
	s->c.prefetch_used += hint.used;
	if (stored && page_kind(p) == KIND_SWAP) {
		int error = swapin_start(wk, s, r, index, f, min(hint.n, room), hint.stride);

		if (error)
			defer(s, f);
		else if (hint.stream)
			stream_brought(hint.stream, index, hint.stride, 1);
		return;
	}
	w.kind = kind_of_fault(p);
	w.n = gather(&w, hint.stride == -1 ? -1 : 1, hint.stride == 1 || hint.stride == -1 ?
		     min(hint.n, room) : 1);
	if (!w.n) {			/* no memory for the page table */
		defer(s, f);
		return;
	}
	if (hint.stride == -1)
		reverse(&w);
	w.va = r->start + ((uint64_t)(w.index - r->first) << 12);
	if (hint.stream)
		stream_brought(hint.stream, index, hint.stride, labs(hint.stride) == 1 ? w.n : hint.n);
	for (uint32_t i = 0; i < w.n; i++)
		if (i != w.fault_at)
			page_set_prefetched(w.page[i], true);
	s->c.prefetched += w.n - 1;
	begin_fill(&w);
	/* A lone fault's stored copy makes room for other pages; a stream is likely to pass here again
	 * without having changed anything. */
	fill_window(wk, s, &w, f, hint.stream != NULL || !reclaim_is_tight(s));
	if (hint.n > 1 && labs(hint.stride) != 1)
		fill_strided(wk, s, r, index, &hint);
}

/* ---- one fault, from the top ---- */

static void granted(struct resv_request *req, int result)
{
	struct fault *f = container_of(req, struct fault, queued);

	/* Granted: whoever released it kicks the session's worker, which finds the fault admitted. */
	if (result)
		f->on_queue = false;
}

/* The bo is reserved by somebody else. */
static void park_on_reservation(struct session *s, struct fault *f, struct bo *bo)
{
	count_parked(s, f);
	if (f->tries++ && !f->on_queue) {
		f->queued = (struct resv_request){ .done = granted, .holder = f, .tid = f->tid };
		f->queue_bo = bo->id;
		f->on_queue = resv_take(&bo->resv, &f->queued) >= 0;
	}
	wait_on(s, &s->faults.reserved, f);
}

static bool admitted(const struct bo *bo, const struct fault *f)
{
	return resv_admits(&bo->resv, NULL, f->tid) || bo->resv.holder == f;
}

static void fault_try(struct worker *wk, struct session *s, struct fault *f)
{
	struct region *r = region_find(s, f->va);
	struct page *p;

	if (s->faults.broken) {		/* by an event of the same batch */
		wait_on(s, &s->faults.reserved, f);
		return;
	}
	if (!r) {
		answer_unknown(s, f);
		return;
	}
	if (!admitted(r->bo, f)) {
		park_on_reservation(s, f, r->bo);
		return;
	}
	p = pagetable_need(&r->bo->pages, region_index(r, f->va));
	if (!p) {
		defer(s, f);
		return;
	}
	switch (page_state(p)) {
	case PAGE_LEAVING:
		/* Never park the agent: it would wait for itself. It meets a missing page of its own slot only
		 * when the page was discarded meanwhile: anything but that is not to be read as zeros. */
		if (f->tid == s->agent_tid && page_discarded(p)) {
			static const uint8_t zeros[FLS_PAGE] __attribute__((aligned(4096)));

			uffd_copy(s->uffd, f->va, zeros, 1, true, &(unsigned int){ 0 });
			uffd_wake(s->uffd, f->va, FLS_PAGE);
			answered(s, f, FLP_FAULT_PRESENT);
			return;
		}
		reclaim_wanted(s, r->bo, region_index(r, f->va));
		/* fall through */
	case PAGE_FILLING:
		fault_park(s, f);
		return;
	case PAGE_RESIDENT:
		answer_resident(s, f, p);
		return;
	case PAGE_POISONED:
		answer_poison(s, f);
		return;
	case PAGE_UNKNOWN:
	case PAGE_EMPTY:
	case PAGE_STORED:
		answer_by_filling(wk, s, f, r, p);
		return;
	case PAGE_STATES:
		break;
	}
	assert(!"a page has a state");
}

static void take_due(struct session *s)
{
	struct faults *f = &s->faults;
	struct fault *x, *next;

	if (!TAILQ_EMPTY(&f->deferred) && worker_now() >= f->retry_ns)
		make_ready(s, &f->deferred);
	else if (!TAILQ_EMPTY(&f->deferred))
		worker_retry_at(s->home, f->retry_ns);
	for (x = TAILQ_FIRST(&f->reserved); x; x = next) {
		struct region *r = region_find(s, x->va);

		next = TAILQ_NEXT(x, link);
		if (r && !admitted(r->bo, x))
			continue;
		TAILQ_REMOVE(&f->reserved, x, link);
		TAILQ_INSERT_TAIL(&f->ready, x, link);
	}
	if (!TAILQ_EMPTY(&f->budget) && job_room(s->job, 1)) {
		TAILQ_FOREACH(x, &f->budget, link)
			atomic_fetch_sub(&s->job->n_waiting, 1);
		make_ready(s, &f->budget);
	}
}

void fault_run_ready(struct worker *w, struct session *s)
{
	struct fault_list now = TAILQ_HEAD_INITIALIZER(now);
	struct fault *f;

	if (s->faults.broken)
		return;
	take_due(s);
	/* What becomes ready while these run, waits for the next round: a fault may wait again. */
	TAILQ_CONCAT(&now, &s->faults.ready, link);
	while ((f = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, f, link);
		fault_try(w, s, f);
	}
	if (!TAILQ_EMPTY(&s->faults.ready))
		worker_kick(s);
}

/* ---- events ---- */

/*
 * There was no memory to apply an event, twice: the table does not agree with the client's memory any
 * more, and every answer could be wrong. The client blocks from now on.
 */
static void check_applied(struct session *s, int error)
{
	if (!error || s->faults.broken)
		return;
	s->faults.broken = true;
	s->reclaim.refused = true;
	log_errx("session %llu: cannot follow what its process does to its memory (%s): it will block",
		 (unsigned long long)s->id, strerror(-error));
}

static int twice(int (*apply)(struct session *, uint64_t, uint64_t), struct session *s, uint64_t start,
		 uint64_t end)
{
	int r = apply(s, start, end);

	return r ? apply(s, start, end) : 0;
}

static void apply_event(struct session *s, const struct uffd_msg *m)
{
	uint64_t start, end, len;
	int r;

	switch (m->event) {
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		start = m->arg.remove.start;
		end = m->arg.remove.end;
		ctl_raise_epoch(s, start, end);
		check_applied(s, twice(m->event == UFFD_EVENT_REMOVE ? region_discard : region_unmap, s,
				       start, end));
		settle_range(s, start, end);
		break;
	case UFFD_EVENT_REMAP:
		start = m->arg.remap.from;
		len = m->arg.remap.len;
		ctl_raise_epoch(s, start, start + len);
		ctl_raise_epoch(s, m->arg.remap.to, m->arg.remap.to + len);
		r = region_move(s, start, m->arg.remap.to, len);
		if (r)
			r = region_move(s, start, m->arg.remap.to, len);
		check_applied(s, r);
		settle_range(s, start, start + len);
		settle_range(s, m->arg.remap.to, m->arg.remap.to + len);
		break;
	default:
		break;
	}
}

static void take_fault(struct worker *w, struct session *s, const struct uffd_msg *m, uint64_t now)
{
	struct fault *f;

	if (m->event != UFFD_EVENT_PAGEFAULT)
		return;
	f = calloc(1, sizeof(*f));
	if (!f) {			/* it will fault again */
		uffd_wake(s->uffd, m->arg.pagefault.address & ~(uint64_t)(FLS_PAGE - 1), FLS_PAGE);
		return;
	}
	f->va = m->arg.pagefault.address & ~(uint64_t)(FLS_PAGE - 1);
	f->tid = m->arg.pagefault.feat.ptid;
	f->write = m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE;
	f->read_ns = now;
	if (!s->faults.cpu_votes--)
		worker_vote(s, f->tid);
	fault_try(w, s, f);
}

/* Events of the batch first, in order; then its faults: the kernel hands out faults before the events
 * that cancel them. */
static void apply_batch(struct worker *w, struct session *s, unsigned int n)
{
	const struct uffd_msg *m = s->table.events;
	uint64_t now = worker_now();
	bool first = RULE(RULE_EVENTS_BEFORE_FAULTS), any = false;

	for (unsigned int i = 0; i < n; i++) {
		if (m[i].event != UFFD_EVENT_PAGEFAULT) {
			apply_event(s, &m[i]);
			any = true;
		} else if (!first) {
			take_fault(w, s, &m[i], now);
		}
	}
	if (any)
		hurry_deferred(s, now);
	ctl_unlock(s);
	for (unsigned int i = 0; first && i < n; i++)
		take_fault(w, s, &m[i], now);
	s->table.header->applied += n;
}

/* One batch. 0: nothing was there, or it may not be read now. */
static int read_batch(struct worker *w, struct session *s)
{
	unsigned int n;
	ssize_t r;

	if (s->faults.broken || !ctl_trylock(s))
		return 0;
	r = uffd_read(s->uffd, s->table.events, STATE_EVENTS);
	if (r < (ssize_t)sizeof(struct uffd_msg)) {
		ctl_unlock(s);
		return 0;
	}
	n = (unsigned int)((size_t)r / sizeof(struct uffd_msg));
	s->table.header->read += n;
	GATE(GATE_DAEMON_AFTER_READ);
	/* What the agent published before an event of this batch could arise is in the ring by now. */
	reclaim_reports(s);
	apply_batch(w, s, n);
	return (int)n;
}

void fault_serve(struct worker *w, struct session *s)
{
	int n = STATE_EVENTS, i;

	/* A batch that is not full was all there was: what comes after it raises a new edge of the poll. */
	for (i = 0; i < BATCHES && n == STATE_EVENTS; i++) {
		n = read_batch(w, s);
		fault_run_ready(w, s);
	}
	if (n == STATE_EVENTS)		/* the poll does not tell of what is left */
		worker_kick(s);
}

/* ---- bringing back ---- */

uint32_t fault_bring_in(struct worker *wk, struct session *s, struct bo *bo, uint64_t index,
			uint32_t most, uint64_t *ret_next)
{
	while ((index = pagetable_skip(&bo->pages, index)) < bo->pages.n_pages) {
		struct page *p = pagetable_get(&bo->pages, index);
		struct window w = { .bo = bo, .index = (uint32_t)index };

		if (!p || page_state(p) != PAGE_STORED) {
			index++;
			continue;
		}
		w.region = region_of_page(s, bo, (uint32_t)index, &w.va);
		if (!w.region) {
			index++;
			continue;
		}
		if (page_kind(p) == KIND_SWAP) {
			*ret_next = index + 1;
			return swapin_start(wk, s, w.region, w.index, NULL, min(most, FILL_PAGES), 1) ?
			       (*ret_next = index, 1) : 1;
		}
		w.n = gather(&w, 1, min(most, FILL_PAGES));
		if (!w.n) {
			index++;
			continue;
		}
		begin_fill(&w);
		fill_window(wk, s, &w, NULL, true);
		*ret_next = page_state(w.page[0]) == PAGE_STORED ? index : index + w.n;
		return w.n;
	}
	*ret_next = bo->pages.n_pages;
	return 0;
}
