/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* swapin.c - see swapin.h. On the session's home worker; completions come from that worker's loop. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/align.h"
#include "common/gate.h"
#include "daemon/fault.h"
#include "daemon/fill.h"
#include "daemon/log.h"
#include "daemon/reclaimer.h"
#include "daemon/session.h"
#include "daemon/stream.h"
#include "daemon/swapin.h"
#include "daemon/uffd.h"
#include "daemon/worker.h"

#define MOST_BYTES	(256u << 10)	/* of one read */
#define TYPICAL		2200u		/* bytes of a record, to size the read */

struct swapin {
	struct swap_read read;
	struct worker *worker;
	struct session *session;
	struct bo *bo;			/* held by n_moving */
	uint32_t index;
	uint32_t n;
	int32_t stride;
	uint64_t loc;
	uint32_t size;
	bool waited_for;		/* by a fault, not just brought back */
	uint64_t began_ns;
};

static void swapin_free(struct swapin *x)
{
	free(x->read.buf);
	free(x);
}

/* The record of a page, if it lies in what was read. */
static const void *record_at(const struct swapin *x, uint64_t loc, uint32_t size)
{
	if (loc < x->read.base || loc + size > x->read.base + x->read.got)
		return NULL;
	return (const uint8_t *)x->read.buf + (loc - x->read.base);
}

/* Install one page that is FILLING and whose bytes are at place 0. Not under the lock. */
static int install(struct worker *w, struct session *s, uint64_t va)
{
	unsigned int done;

	GATE(GATE_DAEMON_BEFORE_INSTALL);
	return uffd_copy(s->uffd, va, w->fill->pages[0], 1, true, &done);
}

static void poison(struct session *s, struct bo *bo, struct page *p, uint32_t index, uint64_t va, int error)
{
	log_warnx("session %llu: page %llx cannot be read back from the swap file (%s): SIGBUS",
		  (unsigned long long)s->id, (unsigned long long)va, strerror(-error));
	if (error == -EBADMSG)
		s->c.checksum_errors++;
	bo_page_poisoned(bo, p);
	fault_page_settled(s, bo, index);
}

/*
 * The page of the read: FILLING since it began. lock held, dropped meanwhile. False: the neighbours are
 * not worth a try.
 */
static bool finish_page(struct swapin *x, int result)
{
	struct session *s = x->session;
	struct bo *bo = x->bo;
	struct page *p = pagetable_get(&bo->pages, x->index);
	const void *rec = result ? NULL : record_at(x, x->loc, x->size);
	uint64_t va;
	int r = result;

	if (!RULE(RULE_REMEMBER_DISCARD))
		page_set_discarded(p, false);
	if (page_discarded(p)) {
		bo_page_fill_dropped(bo, p);
		fault_page_settled(s, bo, x->index);
		return false;
	}
	if (!region_of_page(s, bo, x->index, &va)) {
		bo_page_fill_undone(bo, p);
		return false;
	}
	if (!r)
		r = rec ? fill_take(x->worker->fill, 0, x->index, p, rec, x->size) : -EIO;
	pthread_mutex_unlock(&s->lock);
	if (!r)
		r = fill_make(x->worker->fill, 0, s->secret, bo->id);
	if (r) {
		pthread_mutex_lock(&s->lock);
		poison(s, bo, p, x->index, va, r);
		return false;
	}
	r = install(x->worker, s, va);
	pthread_mutex_lock(&s->lock);
	if (r && r != -EEXIST) {
		/* An event is on its way, or the client is going: the fault, when it is tried again,
		 * begins anew. */
		bo_page_fill_undone(bo, p);
		fault_page_settled(s, bo, x->index);
		return false;
	}
	if (r == -EEXIST)
		uffd_wake(s->uffd, va, FLS_PAGE);
	/* Its copy in the file takes no RAM, and may save a write. */
	bo_page_filled(bo, p);
	if (r == -EEXIST)
		bo_kill_copy(bo, p);
	reclaim_added(s, bo, x->index, 1);
	fault_page_settled(s, bo, x->index);
	if (x->waited_for)
		s->c.faults[FLP_FAULT_SWAP]++;
	return true;
}

/* A neighbour whose record was read along: nobody waits for it, so any doubt leaves it where it is. */
static bool finish_neighbour(struct swapin *x, int64_t index)
{
	struct session *s = x->session;
	struct bo *bo = x->bo;
	struct page *p = index < 0 || (uint64_t)index >= bo->pages.n_pages ? NULL :
			 pagetable_get(&bo->pages, (uint64_t)index);
	const void *rec;
	uint64_t va;
	int r;

	if (!p || page_state(p) != PAGE_STORED || page_kind(p) != KIND_SWAP || !job_room(s->job, 2))
		return false;
	rec = record_at(x, page_loc(p), page_size_stored(p));
	if (!rec || !region_of_page(s, bo, (uint32_t)index, &va) ||
	    fill_take(x->worker->fill, 0, (uint32_t)index, p, rec, page_size_stored(p)))
		return false;
	bo_page_filling(bo, p);
	pthread_mutex_unlock(&s->lock);
	r = fill_make(x->worker->fill, 0, s->secret, bo->id);
	if (!r)
		r = install(x->worker, s, va);
	pthread_mutex_lock(&s->lock);
	if (r) {
		bo_page_fill_undone(bo, p);
		fault_page_settled(s, bo, (uint32_t)index);
		return false;
	}
	bo_page_filled(bo, p);
	page_set_prefetched(p, true);
	s->c.prefetched++;
	reclaim_added(s, bo, (uint32_t)index, 1);
	fault_page_settled(s, bo, (uint32_t)index);
	return true;
}

/* The session is being torn down. */
static void give_up(struct swapin *x)
{
	struct page *p = pagetable_get(&x->bo->pages, x->index);

	if (page_discarded(p))
		bo_page_fill_dropped(x->bo, p);
	else
		bo_page_fill_undone(x->bo, p);
}

static void done(struct swap_read *read, int result)
{
	struct swapin *x = container_of(read, struct swapin, read);
	struct session *s = x->session;

	GATE(GATE_DAEMON_SWAP_READ);
	pthread_mutex_lock(&s->lock);
	if (s->state == SESSION_ATTACHED) {
		uint32_t k = 1;

		if (finish_page(x, result))
			while (k < x->n &&
			       finish_neighbour(x, (int64_t)x->index + (int64_t)x->stride * k))
				k++;
		if (x->waited_for)
			stream_read(&s->faults, x->bo->id, x->index, k);
	} else {
		give_up(x);
	}
	s->c.swap_reads += x->read.got;
	x->bo->n_moving--;
	s->faults.n_reads--;
	bo_release(x->bo);
	pthread_mutex_unlock(&s->lock);
	worker_kick(s);			/* what became ready; or the teardown that waited for this */
	swapin_free(x);
}

int swapin_start(struct worker *w, struct session *s, struct region *r, uint32_t index, struct fault *f,
		 uint32_t n, int32_t stride)
{
	struct page *p = pagetable_get(&r->bo->pages, index);
	uint32_t around = min((n - 1) * TYPICAL, MOST_BYTES - 3 * FLS_PAGE);
	struct swapin *x = calloc(1, sizeof(*x));
	int e;

	if (!x)
		return -ENOMEM;
	x->worker = w;
	x->session = s;
	x->bo = r->bo;
	x->index = index;
	x->n = n;
	x->stride = stride;
	x->loc = page_loc(p);
	x->size = page_size_stored(p);
	x->waited_for = f != NULL;
	x->read = (struct swap_read){
		.done = done, .loc = x->loc, .size = x->size,
		.before = stride < 0 ? around : 0, .after = stride > 0 ? around : 0,
		.cap = (around + 3 * FLS_PAGE + FLS_PAGE - 1) & ~(FLS_PAGE - 1),
	};
	x->read.buf = aligned_alloc(FLS_PAGE, x->read.cap);
	if (!x->read.buf) {
		swapin_free(x);
		return -ENOMEM;
	}
	bo_page_filling(r->bo, p);
	r->bo->n_moving++;
	s->faults.n_reads++;
	e = swap_read(s->job->swap, w->loop, &x->read);
	if (e) {
		bo_page_fill_undone(r->bo, p);
		r->bo->n_moving--;
		s->faults.n_reads--;
		swapin_free(x);
		return e;
	}
	if (f)
		fault_park(s, f);
	return 0;
}
