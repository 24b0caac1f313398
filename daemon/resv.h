/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * resv.h - the reservation of a buffer object: a sleeping lock with one FIFO of waiters.
 *
 *	FREE --resv_take--> HELD --resv_release--> FREE, or HELD by the first in the queue
 *
 * Held by a thread of a client (a connection and a thread id). A fault of any other thread parks
 * until it is released; on its second try it stands in the queue itself, so that a client which
 * reserves in a loop cannot starve it. Waiters of resv_wait() are told at the next release and hold
 * nothing. Everything here is under the lock of the bo's session, and done() is called with it held:
 * it must not take another lock of that kind. It may call anything here, on the same reservation too,
 * and free its request; it must not free the bo.
 */
#ifndef FAULTLINE_DAEMON_RESV_H
#define FAULTLINE_DAEMON_RESV_H

#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

struct resv_request {
	/* 0: reserved (or unreserved, for a wait); -ETIMEDOUT, -EINTR (cancelled), -ESTALE (the bo is
	 * gone). Called once for a request that was queued, never for one that was answered at once. */
	void (*done)(struct resv_request *req, int result);
	const void *holder;		/* the connection */
	uint32_t tid;
	/* private to resv.c; zero it before the first use */
	bool queued, wait_only;
	struct resv *resv;
	uint64_t round;			/* of a wait: releases when it was queued */
	TAILQ_ENTRY(resv_request) link;
};
TAILQ_HEAD(resv_queue, resv_request);

struct resv {
	const void *holder;		/* NULL: free */
	uint32_t tid;
	struct resv_queue queue;	/* of those that want to hold it */
	struct resv_queue waits;
	uint64_t releases;
	bool settling;			/* it is being handed on */
	bool stale;
};

void resv_init(struct resv *r);
void resv_fini(struct resv *r);		/* every waiter is told -ESTALE, and so are those that come */

#define RESV_WAITS 1			/* queued: done() will come */
/* 0: reserved. RESV_WAITS. -EDEADLK: this thread holds it already. -ESTALE. */
int  resv_take(struct resv *r, struct resv_request *req);
int  resv_try(struct resv *r, const void *holder, uint32_t tid);	/* 0, -EBUSY, -EDEADLK, -ESTALE */
/* 0: it is free. RESV_WAITS. -EDEADLK: this thread holds it. -ESTALE. */
int  resv_wait(struct resv *r, struct resv_request *req);
/* 0, or -EPERM: not held by this holder. Hands it to the first in the queue. */
int  resv_release(struct resv *r, const void *holder);
/* A request that was queued: not any more, done(result) is called. False: it had been answered. */
bool resv_cancel(struct resv_request *req, int result);
/* Whatever this holder holds or waits for here: gone, with no done(). True if it held it. */
bool resv_drop_holder(struct resv *r, const void *holder);
/* May a fault of this thread go on? (free, or the holder's own) */
static inline bool resv_admits(const struct resv *r, const void *holder_session, uint32_t tid)
{
	(void)holder_session;
	return !r->holder || r->tid == tid;
}

#endif
