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
#include "daemon/worker.h"

#define MIB		(UINT64_C(1) << 20)
#define TICK_MIN	UINT64_C(1000000)
#define TICK_MAX	UINT64_C(50000000)
#define GROWTH		4000u			/* bytes a microsecond that a program may touch */
#define ADOPT_SIZE	(UINT64_C(256) << 10)	/* smallest area worth it */
#define ADOPT_MIN_NS	UINT64_C(2000000)
#define ADOPT_MAX_NS	UINT64_C(500000000)
#define STUCK_NS	UINT64_C(300000000)
#define WARM_UNITS	2u
#define CLEANS		4			/* of a pool in one tick */

void job_watermarks(const struct job *j, struct watermarks *ret)
{
	uint64_t b = j->budget;
	uint64_t reserve = min(max(b / 64, MIB / 4), 2 * MIB);

	ret->limit = b - reserve;
	ret->high = ret->limit - min(max(b / 32, MIB / 2), 8 * MIB);
	ret->low = ret->high - min(max(b / 128, MIB / 4), 4 * MIB);
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

/* ---- the pool: cleaning ---- */

static struct page *page_of(struct session *s, const struct fls_record *r, struct bo **ret_bo)
{
	*ret_bo = bo_find(s, r->bo);
	if (!*ret_bo || r->index >= (*ret_bo)->pages.n_pages)
		return NULL;
	return pagetable_get(&(*ret_bo)->pages, r->index);
}

/* Does its page still point here? */
static bool points_to(const struct page *p, const struct fls_record *r, uint64_t loc)
{
	return p && page_kind(p) == KIND_POOL && page_loc(p) == loc &&
	       page_size_stored(p) == store_record_size(r->len);
}

static bool is_live(void *ctx, const struct fls_record *r, uint64_t loc)
{
	struct bo *bo;

	return points_to(page_of(ctx, r, &bo), r, loc);
}

static bool moved(void *ctx, const struct fls_record *r, uint64_t from, uint64_t to)
{
	struct bo *bo;
	struct page *p = page_of(ctx, r, &bo);

	if (!points_to(p, r, from))
		return false;
	bo_copy_moved(bo, p, KIND_POOL, to);
	return true;
}

static void clean_pool(struct session *s)
{
	struct store_owner owner = { .is_live = is_live, .moved = moved, .ctx = s };
	struct units *u = &s->pool.units;

	for (int i = 0; i < CLEANS; i++) {
		uint64_t dead = u->used_bytes - u->live_bytes;
		struct unit *x;

		if (dead < 3 * MIB && dead < u->used_bytes / 2)
			break;
		if (dead < u->used_bytes / 6)
			break;
		x = units_emptiest(u, FLS_EXTENT * 3 / 4);
		if (!x || pool_clean(&s->pool, x, &owner))
			break;
		s->c.compactions++;
	}
	pool_trim(&s->pool, WARM_UNITS);
}

/* ---- the pool: spilling ---- */

/*
 * One segment on its way to the swap file: records of the oldest extents of one session. The extents are
 * held until it is written, the session by its n_io.
 */
#define SPILL_UNITS	8u
#define SPILL_RECORDS	(FLS_EXTENT / 64)

struct spill {
	struct swap_write write;
	struct reclaimer *reclaimer;
	struct session *session;
	uint32_t unit[SPILL_UNITS];
	uint32_t n_units;
	uint32_t n_records;
	uint64_t from[SPILL_RECORDS];	/* where each record of the buffer was, in order */
};

static struct spill *spill_free(struct spill *x)
{
	if (x)
		free(x->write.buf);
	free(x);
	return NULL;
}

static struct spill *spill_new(struct reclaimer *r, struct session *s)
{
	struct spill *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->reclaimer = r;
	x->session = s;
	x->write.buf = aligned_alloc(FLS_PAGE, FLS_EXTENT);
	x->write.owner = s->id;
	return x->write.buf ? x : spill_free(x);
}

/* A record at loc: into the buffer, unless it is dead, or the copy of a page that is in RAM: such a copy
 * is dropped, not written. */
static void spill_record(struct spill *x, const struct fls_record *r, uint64_t loc)
{
	struct session *s = x->session;
	uint32_t size = store_record_size(r->len);
	struct bo *bo;
	struct page *p = page_of(s, r, &bo);

	if (!points_to(p, r, loc))
		return;
	if (page_state(p) == PAGE_RESIDENT) {
		bo_kill_copy(bo, p);
		s->c.clean_drops++;
		return;
	}
	memcpy((uint8_t *)x->write.buf + x->write.used, s->pool.map + loc, size);
	x->from[x->n_records++] = loc;
	x->write.used += size;
}

struct spill_walk {
	struct spill *x;
	uint64_t base;
};

static int spill_one(void *ctx, uint32_t offset, const struct fls_record *r)
{
	struct spill_walk *w = ctx;

	if (w->x->n_records == SPILL_RECORDS ||
	    w->x->write.used + store_record_size(r->len) > FLS_EXTENT)
		return 1;
	spill_record(w->x, r, w->base + offset);
	return 0;
}

/* The oldest extents, as long as what lives in them fits. Session's lock held. */
static void spill_gather(struct spill *x, uint8_t *copy)
{
	struct units *u = &x->session->pool.units;
	struct unit *next;

	while (x->n_units < SPILL_UNITS && (next = units_oldest(u)) != NULL &&
	       x->write.used + next->live <= FLS_EXTENT) {
		uint32_t i = units_index(u, next), used = next->used;
		struct spill_walk w = { .x = x, .base = (uint64_t)i * FLS_EXTENT };

		units_hold(u, i);
		x->unit[x->n_units++] = i;
		memcpy(copy, x->session->pool.map + w.base, used);
		store_walk(copy, used, spill_one, &w);
	}
}

static void spill_release(struct spill *x)
{
	for (uint32_t i = 0; i < x->n_units; i++)
		units_release(&x->session->pool.units, x->unit[i]);
}

/* Written: the pages that still point to the old places point to the new ones. */
static void spill_commit(struct spill *x, uint64_t base)
{
	struct session *s = x->session;
	uint32_t at = 0;

	for (uint32_t i = 0; i < x->n_records; i++) {
		const struct fls_record *r =
			(const struct fls_record *)(const void *)((uint8_t *)x->write.buf + at);
		uint32_t size = store_record_size(r->len);
		struct bo *bo;
		struct page *p = page_of(s, r, &bo);

		if (points_to(p, r, x->from[i])) {
			bo_copy_moved(bo, p, KIND_SWAP, base + at);
			pool_kill(&s->pool, x->from[i], size);
		} else {
			swap_kill(s->job->swap, base + at, size);
		}
		at += size;
	}
	s->c.swap_writes += x->write.used;
}

static void spill_done(struct swap_write *w, int result, uint64_t loc)
{
	struct spill *x = container_of(w, struct spill, write);
	struct session *s = x->session;

	pthread_mutex_lock(&s->lock);
	if (!result)
		spill_commit(x, loc);
	spill_release(x);
	pool_trim(&s->pool, WARM_UNITS);
	reclaim_charge_pool(s);
	s->reclaim.n_io--;
	pthread_mutex_unlock(&s->lock);
	x->reclaimer->n_writes--;
	job_kick_waiting(s->job, NULL);
	worker_kick(s);
	spill_free(x);
}

/* One more segment of this session. False: there is nothing to spill, or it cannot be now. */
static bool spill(struct reclaimer *r, struct session *s)
{
	static uint8_t copy[FLS_EXTENT];	/* this thread's only */
	struct spill *x = spill_new(r, s);
	int e = -ENOENT;

	if (!x)
		return false;
	pthread_mutex_lock(&s->lock);
	if (s->state == SESSION_ATTACHED)
		spill_gather(x, copy);
	x->write.done = spill_done;
	if (x->n_records) {
		s->reclaim.n_io++;
		r->n_writes++;
		e = swap_write(s->job->swap, r->loop, &x->write);
		if (e) {
			s->reclaim.n_io--;
			r->n_writes--;
		}
	}
	if (e) {
		spill_release(x);
		reclaim_charge_pool(s);
		spill_free(x);
	}
	pthread_mutex_unlock(&s->lock);
	return !e;
}

static bool pool_is_full(struct job *j)
{
	return (uint64_t)atomic_load(&j->pool_bytes) + 3 * FLS_EXTENT > j->pool_max;
}

/* Does the pool hold what hardly compressed? Then only spilling it makes room. */
static bool pool_is_poor(const struct session *s)
{
	return s->c.pool_live > 4 * MIB && s->c.pool_live > s->c.pool_pages / 4 * 3;
}

static void spill_job(struct reclaimer *r, struct job *j)
{
	struct watermarks w;
	struct session *s, *fullest = NULL;
	uint64_t most = 0;

	if (!j->swap)
		return;
	job_watermarks(j, &w);
	for (s = job_session_next(j, NULL); s; s = job_session_next(j, s)) {
		uint64_t bytes;
		bool poor;

		pthread_mutex_lock(&s->lock);
		bytes = s->pool.units.live_bytes;
		poor = pool_is_poor(s) && job_cost(j) > w.low;
		pthread_mutex_unlock(&s->lock);
		if ((pool_is_full(j) || poor) && bytes > most) {
			most = bytes;
			fullest = s;
		}
	}
	if (!fullest)
		return;
	/* Pin it again: the walk above has let go. */
	for (s = job_session_next(j, NULL); s; s = job_session_next(j, s)) {
		if (s != fullest)
			continue;
		for (int i = 0; i < SWAP_WRITES && spill(r, s); i++)
			;
		job_session_put(j, s);
		return;
	}
}

/* ---- over the budget ---- */

static void set_over(struct job *j, const char *reason)
{
	pthread_mutex_lock(&j->lock);
	snprintf(j->reason, sizeof(j->reason), "%s", reason);
	pthread_mutex_unlock(&j->lock);
	if (atomic_exchange(&j->over, *reason != '\0') == (*reason != '\0'))
		return;
	if (*reason)
		log_warnx("job %llu is over its budget: %s", (unsigned long long)j->id, reason);
	else
		log_notice("job %llu is within its budget again", (unsigned long long)j->id);
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
	if (!j->swap && pool_is_full(j))
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
			set_over(j, "");
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
		set_over(j, why_stuck(j, look->refused, look->held));
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
		clean_pool(s);
		if (pool_is_full(j))
			reclaim_drop_copies(s, 2 * FLS_EXTENT);
		reclaim_charge_pool(s);
		look->evicted += s->c.evicted;
		look->busy += s->reclaim.n_busy;
		look->held |= s->reclaim.held && !s->reclaim.release_end;
		if (s->reclaim.refused_error)
			look->refused = s->reclaim.refused_error;
	}
	pthread_mutex_unlock(&s->lock);
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
	spill_job(r, j);
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
	while (!atomic_load(&r->stop) || r->n_writes) {
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
