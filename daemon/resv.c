/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * resv.c - the reservation of a buffer object: a sleeping lock with a FIFO.
 *
 * Embedded in its bo, under the lock of the bo's session. Requests belong to their callers, and are
 * linked here only between RESV_WAITS and their done() or cancelling.
 *
 * It is fair because a release never makes it free while somebody stands in the queue: it goes to the
 * first of them, and whoever tries meanwhile is behind. Waits are told at the first release after they
 * came, and then have to look for themselves: they do not make it look reserved to each other.
 *
 * A done() may release at once what it was given, whose done() may do the same: such a chain is run by
 * the one loop in settle(), not by recursion as deep as the queue is long.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/resv.h"

void resv_init(struct resv *r)
{
	*r = (struct resv){ 0 };
	TAILQ_INIT(&r->queue);
	TAILQ_INIT(&r->waits);
}

static struct resv_queue *queue_of(const struct resv_request *req)
{
	return req->wait_only ? &req->resv->waits : &req->resv->queue;
}

static int enqueue(struct resv *r, struct resv_request *req, bool wait_only)
{
	assert(!req->queued && req->done);

	req->resv = r;
	req->wait_only = wait_only;
	req->round = r->releases;
	req->queued = true;
	TAILQ_INSERT_TAIL(queue_of(req), req, link);
	return RESV_WAITS;
}

static void dequeue(struct resv_request *req)
{
	TAILQ_REMOVE(queue_of(req), req, link);
	req->queued = false;
}

/* req may be freed by this. */
static void answer(struct resv_request *req, int result)
{
	dequeue(req);
	req->done(req, result);
}

static bool held_by(const struct resv *r, const void *holder, uint32_t tid)
{
	return r->holder == holder && r->tid == tid;
}

static void hold(struct resv *r, const void *holder, uint32_t tid)
{
	r->holder = holder;
	r->tid = tid;
}

/* After a release: hand it on, tell those that waited for one. */
static void settle(struct resv *r)
{
	struct resv_request *req;

	if (r->settling)		/* released by a done() that is called below */
		return;

	r->settling = true;
	for (;;) {
		req = TAILQ_FIRST(&r->queue);
		if (!r->holder && req) {
			hold(r, req->holder, req->tid);
			answer(req, 0);
			continue;
		}
		req = TAILQ_FIRST(&r->waits);
		if (!req || req->round >= r->releases)
			break;
		answer(req, 0);
	}
	r->settling = false;
}

int resv_try(struct resv *r, const void *holder, uint32_t tid)
{
	assert(holder);

	if (r->stale)
		return -ESTALE;
	if (held_by(r, holder, tid))
		return -EDEADLK;
	if (r->holder || !TAILQ_EMPTY(&r->queue))
		return -EBUSY;

	hold(r, holder, tid);
	return 0;
}

int resv_take(struct resv *r, struct resv_request *req)
{
	int result = resv_try(r, req->holder, req->tid);

	return result == -EBUSY ? enqueue(r, req, false) : result;
}

int resv_wait(struct resv *r, struct resv_request *req)
{
	if (r->stale)
		return -ESTALE;
	if (!r->holder && TAILQ_EMPTY(&r->queue))
		return 0;
	if (held_by(r, req->holder, req->tid))
		return -EDEADLK;
	return enqueue(r, req, true);
}

int resv_release(struct resv *r, const void *holder)
{
	if (!r->holder || r->holder != holder)
		return -EPERM;

	hold(r, NULL, 0);
	r->releases++;
	settle(r);
	return 0;
}

bool resv_cancel(struct resv_request *req, int result)
{
	if (!req->queued)
		return false;

	answer(req, result);
	return true;
}

static void drop_requests(struct resv_queue *q, const void *holder)
{
	struct resv_request *req, *next;

	TAILQ_FOREACH_SAFE(req, q, link, next)
		if (req->holder == holder)
			dequeue(req);
}

bool resv_drop_holder(struct resv *r, const void *holder)
{
	drop_requests(&r->queue, holder);
	drop_requests(&r->waits, holder);
	return resv_release(r, holder) == 0;
}

void resv_fini(struct resv *r)
{
	struct resv_request *req;

	r->stale = true;
	r->settling = true;		/* nobody gets it any more */
	while ((req = TAILQ_FIRST(&r->queue)))
		answer(req, -ESTALE);
	while ((req = TAILQ_FIRST(&r->waits)))
		answer(req, -ESTALE);
	hold(r, NULL, 0);
}
