/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * worker.h - the fault workers: one thread per CPU, pinned there, each home to some sessions.
 *
 * A worker sleeps in epoll over the userfaultfds and the kick descriptors of its sessions, its own
 * wake-up and its own loop (reads of the swap file). Others reach a session only through
 * worker_kick(), which makes its home worker run session work soon: apply reports, run faults that
 * waited, tear it down.
 */
#ifndef FAULTLINE_DAEMON_WORKER_H
#define FAULTLINE_DAEMON_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

struct loop;
struct session;

struct worker {
	struct workers *all;
	unsigned int index;
	int cpu;
	pthread_t thread;
	bool started;
	int epfd, wake_fd;
	struct loop *loop;
	struct fill *fill;		/* buffers for decoding: fault.c */

	pthread_mutex_t lock;
	TAILQ_HEAD(, session) kicks;
	bool stop;
	unsigned int n_sessions;	/* homed here */
	LIST_HEAD(, session) sessions;	/* the worker's own list of them */
	uint64_t retry_ns;		/* soonest time that a deferred fault wants another try; 0: none */
};

struct workers {
	struct worker *w;
	unsigned int n;
	unsigned int next;		/* for the next session's home */
};

/* n: 0 one per CPU that the process may run on. */
int  workers_start(struct workers *ws, unsigned int n);
void workers_stop(struct workers *ws);		/* no session may be left */
struct worker *workers_pick(struct workers *ws);
int  worker_add(struct worker *w, struct session *s);	/* its descriptors into the epoll set */
void worker_remove(struct worker *w, struct session *s);
void worker_kick(struct session *s);			/* any thread; s->lock need not be held */
/* For the home worker itself. */
void worker_retry_at(struct worker *w, uint64_t ns);	/* run the sessions that wait, no later than this */
void worker_vote(struct session *s, uint32_t tid);	/* where does this thread run? */
void worker_short_slice(void);				/* for any thread that works in bursts */
uint64_t worker_now(void);				/* CLOCK_MONOTONIC, ns */

#endif
