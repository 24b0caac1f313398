/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * job.c - the sessions that share one budget, and what they cost. See job.h.
 *
 * Owned by whoever holds a reference. The last one is dropped under jobs.lock and job.lock both, so
 * that a look-up, which holds jobs.lock, never finds a job that is on its way out.
 *
 * The sum over the sessions needs the lock of each, which is taken before job.lock and so not while
 * the list is walked. Instead a walk pins the session it stands on: a pinned one stays on the list,
 * and its home worker, which comes to job_session_end() with no lock held, waits for the moment that
 * a walk needs to go on. Nobody who holds a pin waits for that worker.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <bsd/string.h>

#include "common/cleanup.h"
#include "daemon/job.h"
#include "daemon/session.h"
#include "daemon/store.h"
#include "daemon/worker.h"

#define PREFETCH_DEFAULT 32

/* ---- all jobs ---- */

void jobs_init(struct jobs *j)
{
	*j = (struct jobs){ .next_id = 1 };
	pthread_mutex_init(&j->lock, NULL);
	LIST_INIT(&j->list);
}

void jobs_fini(struct jobs *j)
{
	assert(LIST_EMPTY(&j->list));
	assert(!j->n);
	pthread_mutex_destroy(&j->lock);
}

/* ---- one job ---- */

static struct job *job_free(struct job *j)
{
	if (!j)
		return NULL;
	assert(LIST_EMPTY(&j->sessions));
	swap_free(j->swap);
	pthread_cond_destroy(&j->unpinned);
	pthread_mutex_destroy(&j->lock);
	free(j);
	return NULL;
}
DEFINE_CLEANUP(struct job *, job_free);
DEFINE_CLEANUP(struct swap *, swap_free);

static int make_token(uint8_t token[FLP_TOKEN_SIZE])
{
	/* 16 bytes come at once or not at all, once the kernel's generator is seeded. */
	ssize_t n = getrandom(token, FLP_TOKEN_SIZE, 0);

	if (n == FLP_TOKEN_SIZE)
		return 0;
	return n < 0 ? -errno : -EIO;
}

static int set_limits(struct job *j, const struct flp_job_create *c)
{
	if (!c->budget || (c->pool_max != UINT64_MAX && c->pool_max > c->budget))
		return -EINVAL;
	j->budget = c->budget;
	j->pool_max = c->pool_max == UINT64_MAX ? c->budget / 2 : c->pool_max;
	j->swap_max = j->swap ? c->swap_max : 0;
	j->prefetch = c->prefetch == UINT32_MAX ? PREFETCH_DEFAULT : c->prefetch;
	return 0;
}

static void jobs_insert(struct jobs *all, struct job *j)
{
	pthread_mutex_lock(&all->lock);
	j->id = all->next_id++;
	LIST_INSERT_HEAD(&all->list, j, link);
	all->n++;
	pthread_mutex_unlock(&all->lock);
}

int job_new(struct job **ret, struct jobs *all, uid_t uid, const struct flp_job_create *c,
	    struct swap *swap)
{
	_cleanup_(swap_freep) struct swap *owned = swap;
	_cleanup_(job_freep) struct job *j = NULL;
	int r;

	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->unpinned, NULL);
	LIST_INIT(&j->sessions);
	j->refs = 1;
	j->uid = uid;
	j->swap = steal_ptr(&owned);
	strlcpy(j->name, c->name, sizeof(j->name));

	r = set_limits(j, c);
	if (r)
		return r;
	r = make_token(j->token);
	if (r)
		return r;
	jobs_insert(all, j);
	*ret = steal_ptr(&j);
	return 0;
}

struct job *job_ref(struct job *j)
{
	pthread_mutex_lock(&j->lock);
	assert(j->refs);
	j->refs++;
	pthread_mutex_unlock(&j->lock);
	return j;
}

struct job *job_unref(struct jobs *all, struct job *j)
{
	bool last;

	if (!j)
		return NULL;
	pthread_mutex_lock(&all->lock);
	pthread_mutex_lock(&j->lock);
	assert(j->refs);
	last = !--j->refs;
	pthread_mutex_unlock(&j->lock);
	if (last) {
		LIST_REMOVE(j, link);
		all->n--;
	}
	pthread_mutex_unlock(&all->lock);
	return last ? job_free(j) : NULL;
}

/* ---- finding ---- */

/* Takes as long whether the first byte differs or none does. */
static bool token_equal(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t diff = 0;

	for (size_t i = 0; i < FLP_TOKEN_SIZE; i++)
		diff |= a[i] ^ b[i];
	return !diff;
}

struct job *job_by_token(struct jobs *all, const uint8_t token[FLP_TOKEN_SIZE], uid_t uid)
{
	struct job *j, *found = NULL;

	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(j, &all->list, link)
		if (token_equal(j->token, token) && j->uid == uid)
			found = j;
	if (found)
		job_ref(found);
	pthread_mutex_unlock(&all->lock);
	return found;
}

struct job *job_by_uid(struct jobs *all, uid_t uid)
{
	struct job *j;

	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(j, &all->list, link)
		if (j->by_uid && j->uid == uid)
			break;
	if (j)
		job_ref(j);
	pthread_mutex_unlock(&all->lock);
	return j;
}

struct job *job_next(struct jobs *all, uint64_t id)
{
	struct job *j, *best = NULL;

	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(j, &all->list, link)
		if (j->id > id && (!best || j->id < best->id))
			best = j;
	if (best)
		job_ref(best);
	pthread_mutex_unlock(&all->lock);
	return best;
}

unsigned int jobs_of_uid(struct jobs *all, uid_t uid)
{
	unsigned int n = 0;
	struct job *j;

	pthread_mutex_lock(&all->lock);
	LIST_FOREACH(j, &all->list, link)
		n += uid == JOBS_ALL || j->uid == uid;
	pthread_mutex_unlock(&all->lock);
	return n;
}

/* ---- its sessions ---- */

void job_session_add(struct job *j, struct session *s)
{
	pthread_mutex_lock(&j->lock);
	assert(!s->in_job);
	s->in_job = true;
	LIST_INSERT_HEAD(&j->sessions, s, job_link);
	j->n_sessions++;
	pthread_mutex_unlock(&j->lock);
}

static void unpin(struct job *j, struct session *s)
{
	assert(s->pins);
	if (!--s->pins)
		pthread_cond_broadcast(&j->unpinned);
}

struct session *job_session_next(struct job *j, struct session *prev)
{
	struct session *s;

	pthread_mutex_lock(&j->lock);
	/* A pinned one is still on the list, so it still knows who is next. */
	s = prev ? LIST_NEXT(prev, job_link) : LIST_FIRST(&j->sessions);
	if (s)
		s->pins++;
	if (prev)
		unpin(j, prev);
	pthread_mutex_unlock(&j->lock);
	return s;
}

void job_session_put(struct job *j, struct session *s)
{
	pthread_mutex_lock(&j->lock);
	unpin(j, s);
	pthread_mutex_unlock(&j->lock);
}

void job_session_end(struct job *j, struct session *s, const struct flp_counters *last)
{
	pthread_mutex_lock(&j->lock);
	if (s->in_job) {
		while (s->pins)
			pthread_cond_wait(&j->unpinned, &j->lock);
		LIST_REMOVE(s, job_link);
		s->in_job = false;
		j->n_sessions--;
		j->n_ended++;
		counters_add_ended(&j->ended, last);
	}
	pthread_mutex_unlock(&j->lock);
}

/* ---- what it costs ---- */

void job_kick_waiting(struct job *j, struct session *but)
{
	struct session *s;

	if (!atomic_load(&j->n_waiting))
		return;
	pthread_mutex_lock(&j->lock);
	LIST_FOREACH(s, &j->sessions, job_link)
		if (s != but)
			worker_kick(s);
	pthread_mutex_unlock(&j->lock);
}

void job_note_peak(struct job *j)
{
	uint64_t cost = job_cost(j);
	uint64_t peak = atomic_load_explicit(&j->peak, memory_order_relaxed);

	while (cost > peak &&
	       !atomic_compare_exchange_weak_explicit(&j->peak, &peak, cost, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

#define GAUGES(X)							\
	X(resident) X(unmanaged) X(staging) X(stored) X(zero) X(same)	\
	X(pool_pages) X(pool_live) X(pool_used)				\
	X(swap_pages) X(swap_live) X(swap_used) X(clean)

#define TOTALS(X)							\
	X(poisoned) X(prefetched) X(prefetch_used)			\
	X(evicted) X(evict_clean) X(evict_kept) X(refaults)		\
	X(clean_drops) X(compressed_in) X(compressed_out)		\
	X(swap_writes) X(swap_reads) X(compactions) X(checksum_errors)

#define N_FIELDS_(f)	+ 1
/* A counter that is in neither list: resident_peak, the three quantiles, and the faults. */
_Static_assert(sizeof(struct flp_counters) ==
	       sizeof(uint64_t) * ((0 GAUGES(N_FIELDS_) TOTALS(N_FIELDS_)) + 4 + FLP_FAULT_KINDS),
	       "every counter is a gauge or a total");

/* What happened stays true when the session is gone; what it held does not. Peaks and quantiles have
 * no sum: the job keeps its own. */
void counters_add_ended(struct flp_counters *sum, const struct flp_counters *c)
{
#define ADD_(f)	sum->f += c->f;
	TOTALS(ADD_)
	for (int i = 0; i < FLP_FAULT_KINDS; i++)
		sum->faults[i] += c->faults[i];
}

void counters_add(struct flp_counters *sum, const struct flp_counters *c)
{
	GAUGES(ADD_)
	counters_add_ended(sum, c);
}

/* True when none ended meanwhile: one that did would be missing, in the list and among the ended. */
static bool try_sum_sessions(struct job *j, struct flp_counters *ret)
{
	struct flp_counters sum;
	uint64_t n_ended;
	bool same;

	pthread_mutex_lock(&j->lock);
	sum = j->ended;
	n_ended = j->n_ended;
	pthread_mutex_unlock(&j->lock);

	for (struct session *s = job_session_next(j, NULL); s; s = job_session_next(j, s)) {
		struct flp_counters c;

		session_counters(s, &c);
		counters_add(&sum, &c);
	}

	pthread_mutex_lock(&j->lock);
	same = n_ended == j->n_ended;
	pthread_mutex_unlock(&j->lock);
	*ret = sum;
	return same;
}

static void sum_sessions(struct job *j, struct flp_counters *ret)
{
	/* A job whose processes end faster than that is not worth waiting for. */
	for (int tries = 0; tries < 8; tries++)
		if (try_sum_sessions(j, ret))
			break;
}

/* The swap file is the job's: it knows better than a sum what it takes. */
static void look_at_swap(struct job *j, struct flp_counters *c)
{
	struct swap_stat st;

	if (!j->swap)
		return;
	swap_stat(j->swap, &st);
	c->swap_live = st.live;
	c->swap_used = st.used;
	c->swap_writes = st.written;
	c->swap_reads = st.read;
}

static enum flp_job_state state_of(struct job *j, const struct flp_counters *c)
{
	if (atomic_load_explicit(&j->over, memory_order_relaxed))
		return FLP_JOB_DEGRADED;
	return c->resident + c->staging + c->stored ? FLP_JOB_ACTIVE : FLP_JOB_IDLE;
}

void job_status(struct job *j, struct flp_status_job *ret)
{
	struct flp_status_job st = {
		.job = j->id,
		.uid = j->uid,
		.budget = j->budget,
		.pool_max = j->pool_max,
		.swap_max = j->swap_max,
		.prefetch = j->prefetch,
	};

	sum_sessions(j, &st.c);
	look_at_swap(j, &st.c);
	job_note_peak(j);
	st.c.resident_peak = atomic_load_explicit(&j->peak, memory_order_relaxed);
	st.c.fault_p50_ns = hist_quantile(&j->latency, 0.5);
	st.c.fault_p99_ns = hist_quantile(&j->latency, 0.99);
	st.c.fault_p999_ns = hist_quantile(&j->latency, 0.999);
	st.state = state_of(j, &st.c);
	strlcpy(st.name, j->name, sizeof(st.name));

	pthread_mutex_lock(&j->lock);
	st.n_sessions = j->n_sessions;
	if (st.state == FLP_JOB_DEGRADED)
		strlcpy(st.reason, j->reason, sizeof(st.reason));
	pthread_mutex_unlock(&j->lock);
	*ret = st;
}
