/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * job.h - the sessions that share one budget, and what they cost.
 *
 * A job is made by `faultline run` (FLP_JOB_CREATE) or, in the service, for a uid that connects
 * without a token. It lives while somebody holds a reference: its control connection, each of its
 * sessions. What it costs in RAM is its managed resident pages (those on their way in and out
 * included), the bytes that its pools take, and the anonymous memory of its processes that is not
 * adopted.
 *
 * Threads: the charges are atomics, changed from any worker; all else that changes is under lock.
 * Lock order: jobs.lock, then job.lock; a session's lock is taken before job.lock, never inside.
 */
#ifndef FAULTLINE_DAEMON_JOB_H
#define FAULTLINE_DAEMON_JOB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <bsd/sys/queue.h>

#include "common/hist.h"
#include "include/faultline-protocol.h"

struct session;
struct swap;

struct job {
	/* constant once made */
	uint64_t id;
	uint8_t token[FLP_TOKEN_SIZE];
	uid_t uid;
	uint64_t budget, pool_max, swap_max;
	uint32_t prefetch;		/* pages */
	bool by_uid;			/* the service's default job of a uid */
	char name[32];
	struct swap *swap;		/* NULL: none */

	/* charges, any thread */
	_Atomic int64_t resident;	/* pages: RESIDENT, FILLING, LEAVING */
	_Atomic int64_t pool_bytes;
	_Atomic int64_t unmanaged;	/* bytes */
	_Atomic uint64_t peak;		/* bytes, of the sum */
	_Atomic uint32_t n_waiting;	/* faults that wait for the budget */
	_Atomic bool over;		/* nothing more can be taken out: faults do not wait */

	/* under lock */
	pthread_mutex_t lock;
	unsigned int refs;
	LIST_HEAD(, session) sessions;	/* attached ones; session.job_link */
	uint32_t n_sessions;
	pthread_cond_t unpinned;	/* a session's pins became 0 */
	struct flp_counters ended;	/* sums over the sessions that have ended */
	uint64_t n_ended;
	char reason[128];		/* why it is over; "" when it is not */

	struct hist latency;		/* of faults, ns; atomic adds */

	/* the reclaim thread's own */
	struct job_reclaim {
		uint64_t last_ns;
		uint64_t stuck_since_ns;
		uint64_t evicted_then;
		bool passing;		/* over for as long as a fork takes */
	} reclaim;

	LIST_ENTRY(job) link;		/* jobs.list */
};

struct jobs {
	pthread_mutex_t lock;
	LIST_HEAD(, job) list;
	uint64_t next_id;
	uint32_t n;
};

void jobs_init(struct jobs *j);
void jobs_fini(struct jobs *j);		/* asserts that none is left */

/* A new job with one reference. The swap is taken over, also on failure. -ENOMEM, -EINVAL. */
int  job_new(struct job **ret, struct jobs *all, uid_t uid, const struct flp_job_create *c,
	     struct swap *swap);
struct job *job_ref(struct job *j);
struct job *job_unref(struct jobs *all, struct job *j);	/* returns NULL; frees at zero */
/* With a reference, or NULL. The token is compared in constant time. */
struct job *job_by_token(struct jobs *all, const uint8_t token[FLP_TOKEN_SIZE], uid_t uid);
struct job *job_by_uid(struct jobs *all, uid_t uid);	/* the service's default job */

/* What it costs now, bytes. */
static inline uint64_t job_cost(struct job *j)
{
	int64_t sum = atomic_load_explicit(&j->resident, memory_order_relaxed) * 4096 +
		      atomic_load_explicit(&j->pool_bytes, memory_order_relaxed) +
		      atomic_load_explicit(&j->unmanaged, memory_order_relaxed);

	return sum > 0 ? (uint64_t)sum : 0;
}
void job_note_peak(struct job *j);	/* after a charge */

/*
 * The sessions of a job. They end on their home workers, while the control loop and the reclaim
 * thread look at them: a walk pins the one it stands on, and holds no lock in between, so that the
 * session's own lock may be taken.
 *
 *	for (s = job_session_next(j, NULL); s; s = job_session_next(j, s))
 */
void job_session_add(struct job *j, struct session *s);		/* it is attached */
/* The next one, pinned, and prev not any more; NULL as prev: the first; NULL: that was all. */
struct session *job_session_next(struct job *j, struct session *prev);
void job_session_put(struct job *j, struct session *s);		/* a walk that stops early */
/* It is about to be freed: waits until no walk stands on it, takes it off the list, and adds what it
 * counted to ended, the gauges left out. Its lock must not be held. A no-op if it was not added. */
void job_session_end(struct job *j, struct session *s, const struct flp_counters *last);

/* The job with the smallest number above id, with a reference, or NULL: to walk all of them. */
struct job *job_next(struct jobs *all, uint64_t id);
#define JOBS_ALL ((uid_t)-1)
unsigned int jobs_of_uid(struct jobs *all, uid_t uid);		/* how many; or JOBS_ALL */

/* Room was made: kick the other sessions of the job that have faults waiting for it. */
void job_kick_waiting(struct job *j, struct session *but);

/* A record of its state; the counters are the sums over live sessions and ended ones. */
void job_status(struct job *j, struct flp_status_job *ret);
void counters_add(struct flp_counters *sum, const struct flp_counters *c);
void counters_add_ended(struct flp_counters *sum, const struct flp_counters *c);	/* no gauges */

#endif
