/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reclaimer.c - see reclaimer.h. One thread, its own loop; it looks at every job once a tick.
 *
 * A tick is a millisecond while a job is near its budget and longer the further all are from it. For each
 * job: take over what its agents measured; ask them to adopt when that is too much; kick the home workers
 * whose sessions should give up pages; then the pool: extents with little that lives are cleaned, and when
 * it is at its limit the oldest go to the swap file.
 *
 * A job that is over its budget while nothing more can be taken out is DEGRADED: its faults are let in,
 * and it is tried again; that ends by itself when the cost falls.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/align.h"
#include "daemon/ctl.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/reclaim.h"
#include "daemon/reclaimer.h"
#include "daemon/session.h"
#include "daemon/spill.h"
#include "daemon/worker.h"

#define MIB		(UINT64_C(1) << 20)
#define TICK_MIN	UINT64_C(1000000)
#define TICK_MAX	UINT64_C(50000000)
#define GROWTH		4000u			/* bytes a microsecond that a program may touch */
#define ADOPT_SIZE	(UINT64_C(256) << 10)	/* smallest area worth it */
#define ADOPT_MIN_NS	UINT64_C(2000000)
#define ADOPT_MAX_NS	UINT64_C(500000000)
#define STUCK_NS	UINT64_C(300000000)

void job_watermarks(const struct job *j, struct watermarks *ret)
{
	uint64_t b = j->budget;
	uint64_t reserve = min(max(b / 128, MIB / 4), MIB);

	ret->limit = b - reserve;
	ret->high = ret->limit - min(max(b / 64, MIB / 2), 4 * MIB);
	ret->low = ret->high - min(max(b / 256, MIB / 4), 2 * MIB);
}

uint32_t job_room(struct job *j, uint32_t want)
{
	struct watermarks w;
	uint64_t cost = job_cost(j);

	if (atomic_load_explicit(&j->over, memory_order_relaxed))
		return want;
	job_watermarks(j, &w);
	if (cost + FLS_PAGE > w.limit)
		return 0;
	return (uint32_t)min((w.limit - cost) / FLS_PAGE, (uint64_t)want);
}

/* ---- adoption ---- */

/* Early in a small budget: what grows between two looks is not held. */
uint64_t job_adopt_at(const struct job *j)
{
	return j->budget / 4 * 3 - min(48 * MIB, j->budget / 4);
}

static void adopt(struct session *s, uint64_t now)
{
	struct reclaim *r = &s->reclaim;
	uint64_t unmanaged = (uint64_t)s->unmanaged;

	if (s->library || r->adopting || r->held || s->draining || unmanaged < 2 * ADOPT_SIZE)
		return;
	if (unmanaged >= r->adopt_unmanaged + ADOPT_SIZE)
		r->adopt_wait_ns = ADOPT_MIN_NS;
	if (now - r->adopt_ns < r->adopt_wait_ns)
		return;
	if (!ctl_command(s, FLS_OP_ADOPT, 0, ADOPT_SIZE, 0, 0))
		return;
	r->adopting = true;
	r->adopt_unmanaged = unmanaged;
	r->adopt_wait_ns = min(r->adopt_wait_ns * 2 + ADOPT_MIN_NS, ADOPT_MAX_NS);
}

/* ---- over the budget ---- */

/* passing: it is over with the fork that asks for it, and nobody needs to hear of it. */
static void set_over(struct job *j, const char *reason, bool passing)
{
	pthread_mutex_lock(&j->lock);
	snprintf(j->reason, sizeof(j->reason), "%s", reason);
	pthread_mutex_unlock(&j->lock);
	if (atomic_exchange(&j->over, *reason != '\0') == (*reason != '\0'))
		return;
	j->reclaim.passing |= passing && *reason;
	if (j->reclaim.passing)
		log_debug("job %llu %s", (unsigned long long)j->id,
			  *reason ? reason : "is within its budget again");
	else if (*reason)
		log_warnx("job %llu is over its budget: %s", (unsigned long long)j->id, reason);
	else
		log_notice("job %llu is within its budget again", (unsigned long long)j->id);
	if (!*reason)
		j->reclaim.passing = false;
	job_kick_waiting(j, NULL);
}

static const char *why_stuck(struct job *j, int refused, bool held)
{
	struct swap_stat st = { .health = SWAP_OK };

	if (held)
		return "a process is forking, everything is to be resident";
	if (j->swap)
		swap_stat(j->swap, &st);
	if (st.health == SWAP_FULL)
		return "the swap file is full";
	if (st.health == SWAP_FAILED)
		return "the swap file cannot be written";
	if (!j->swap && spill_pool_is_full(j))
		return "the pool is full, and there is no swap file";
	if (refused)
		return "a process may not write to its pool (a filter, or no memory)";
	return "nothing more can be taken out";
}

struct job_look {
	uint64_t evicted, busy;
	int refused;
	bool held, near;
};

static void check_stuck(struct job *j, const struct job_look *look, uint64_t now)
{
	struct watermarks w;
	bool over = atomic_load(&j->over);

	job_watermarks(j, &w);
	if (job_cost(j) <= w.high) {
		j->reclaim.stuck_since_ns = 0;
		if (over)
			set_over(j, "", false);
		return;
	}
	if (look->evicted != j->reclaim.evicted_then && !look->held) {
		j->reclaim.evicted_then = look->evicted;
		j->reclaim.stuck_since_ns = now;
		return;
	}
	if (!j->reclaim.stuck_since_ns)
		j->reclaim.stuck_since_ns = now;
	/* A fork must not wait for room that only its end will make. */
	if (look->held || (now - j->reclaim.stuck_since_ns > STUCK_NS && !over &&
			   (atomic_load(&j->n_waiting) || job_cost(j) > w.limit)))
		set_over(j, why_stuck(j, look->refused, look->held), look->held);
}

/* ---- a tick ---- */

static void look_at_session(struct job *j, struct session *s, uint64_t now, uint32_t sample_us,
			    struct job_look *look)
{
	struct watermarks w;

	job_watermarks(j, &w);
	pthread_mutex_lock(&s->lock);
	if (s->state == SESSION_ATTACHED) {
		__atomic_store_n(&s->mem->sample_us, sample_us, __ATOMIC_RELAXED);
		session_sample(s);
		if (job_cost(j) > job_adopt_at(j))
			adopt(s, now);
		pool_trim(&s->pool, 4);
		if (spill_pool_is_full(j))
			reclaim_drop_copies(s, 2 * FLS_EXTENT);
		reclaim_charge_pool(s);
		look->evicted += s->c.evicted;
		look->busy += s->reclaim.n_busy;
		look->held |= s->reclaim.held && !s->reclaim.release_end;
		if (s->reclaim.refused_error)
			look->refused = s->reclaim.refused_error;
	}
	pthread_mutex_unlock(&s->lock);
	session_tell_other(s);
	spill_clean_pool(s);
	if (job_cost(j) > w.high || atomic_load(&j->n_waiting))
		worker_kick(s);
}

/* How long until this job could be where adoption begins, were it to grow as fast as it can. */
static uint64_t tick_of(struct job *j)
{
	uint64_t cost = job_cost(j), at = job_adopt_at(j);

	if (cost >= at)
		return TICK_MIN;
	/* Half of it: the agent's sample is up to a tick old. */
	return min(max((at - cost) / GROWTH / 2 * 1000, TICK_MIN), TICK_MAX);
}

static uint64_t look_at_job(struct reclaimer *r, struct job *j)
{
	uint64_t now = worker_now(), tick = tick_of(j);
	struct job_look look = { 0 };
	struct session *s;

	for (s = job_session_next(j, NULL); s; s = job_session_next(j, s))
		look_at_session(j, s, now, (uint32_t)(tick / 1000), &look);
	job_note_peak(j);
	spill_job(&r->spiller, j);
	check_stuck(j, &look, now);
	return tick;
}

static uint64_t look_at_all(struct reclaimer *r)
{
	uint64_t tick = TICK_MAX, id = 0;
	struct job *j;

	while ((j = job_next(r->jobs, id))) {
		uint64_t t = look_at_job(r, j);

		tick = min(tick, t);
		id = j->id;
		job_unref(r->jobs, j);
	}
	return tick;
}

static void *reclaimer_main(void *arg)
{
	struct reclaimer *r = arg;

	worker_short_slice();
	while (!atomic_load(&r->stop) || r->spiller.n_writes) {
		uint64_t tick = look_at_all(r);

		if (loop_round(r->loop, (int64_t)tick)) {
			log_errx("the reclaim thread's loop is broken");
			break;
		}
	}
	return NULL;
}

int reclaimer_start(struct reclaimer *r, struct jobs *jobs)
{
	int e;

	*r = (struct reclaimer){ .jobs = jobs };
	e = loop_new(&r->loop, 32);
	if (e)
		return e;
	r->spiller.loop = r->loop;
	e = -pthread_create(&r->thread, NULL, reclaimer_main, r);
	r->started = !e;
	if (e)
		r->loop = loop_free(r->loop);
	return e;
}

void reclaimer_kick(struct reclaimer *r)
{
	loop_wake(r->loop);
}

void reclaimer_stop(struct reclaimer *r)
{
	if (!r->started)
		return;
	atomic_store(&r->stop, true);
	reclaimer_kick(r);
	pthread_join(r->thread, NULL);
	r->loop = loop_free(r->loop);
	r->started = false;
}
