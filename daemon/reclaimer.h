/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reclaimer.h - the thread that keeps jobs inside their budgets.
 *
 * It samples what is not managed, asks agents to adopt, makes home workers take pages out, spills the
 * pool to the swap file, cleans both, and decides that a job is over its budget for good. It is off the
 * fault path: what it does under a session's lock is short.
 */
#ifndef FAULTLINE_DAEMON_RECLAIMER_H
#define FAULTLINE_DAEMON_RECLAIMER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/spill.h"

struct job;
struct jobs;
struct loop;

struct reclaimer {
	pthread_t thread;
	bool started;
	struct jobs *jobs;
	struct loop *loop;
	_Atomic bool stop;
	struct spiller spiller;		/* of its loop */
};

int  reclaimer_start(struct reclaimer *r, struct jobs *jobs);
void reclaimer_stop(struct reclaimer *r);
void reclaimer_kick(struct reclaimer *r);	/* any thread: look now */

/*
 * Watermarks of a job, bytes of cost. Faults are let in below limit; pages go out above high, until low
 * is reached. The reserve above limit is for what an eviction needs before it frees anything.
 */
struct watermarks {
	uint64_t limit, high, low;
};
void job_watermarks(const struct job *j, struct watermarks *ret);
/* The cost from which on areas are adopted. */
uint64_t job_adopt_at(const struct job *j);
/* Pages that a fault may take now: at least 1, or 0: wait. */
uint32_t job_room(struct job *j, uint32_t want);

#endif
