/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spill.c - see spill.h.
 *
 * A transfer is one buffer of at most a segment: gathered from extents of the pool (a spill), or read back
 * from a segment of the swap file of which little lives (a cleaning). It holds its session by n_io. What it
 * took records from stays held until the buffer is written.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/align.h"
#include "daemon/job.h"
#include "daemon/reclaim.h"
#include "daemon/reclaimer.h"
#include "daemon/session.h"
#include "daemon/spill.h"
#include "daemon/worker.h"

#define MIB		(UINT64_C(1) << 20)
#define WARM_UNITS	1u
#define CLEANS		2			/* extents of a pool in one look */
#define CLEAN_STEP	24u			/* records moved in one hold of the session's lock */
#define SPILL_UNITS	8u
#define SPILL_RECORDS	(FLS_EXTENT / 64)
#define TRIMS		4u			/* segments given back to the file system in one look */

/* ---- the pool: cleaning ---- */

static struct page *page_of(struct session *s, const struct fls_record *r, struct bo **ret_bo)
{
	*ret_bo = bo_find(s, r->bo);
	if (!*ret_bo || r->index >= (*ret_bo)->pages.n_pages)
		return NULL;
	return pagetable_get(&(*ret_bo)->pages, r->index);
}

/* Does its page still point here? */
static bool points_to(const struct page *p, const struct fls_record *r, enum page_kind kind, uint64_t loc)
{
	return p && page_kind(p) == kind && page_loc(p) == loc &&
	       page_size_stored(p) == store_record_size(r->len);
}

static bool is_live(void *ctx, const struct fls_record *r, uint64_t loc)
{
	struct bo *bo;

	return points_to(page_of(ctx, r, &bo), r, KIND_POOL, loc);
}

static bool moved(void *ctx, const struct fls_record *r, uint64_t from, uint64_t to)
{
	struct bo *bo;
	struct page *p = page_of(ctx, r, &bo);

	if (!points_to(p, r, KIND_POOL, from))
		return false;
	bo_copy_moved(bo, p, KIND_POOL, to);
	return true;
}

/* The extent that is most worth cleaning, if any is. lock held. */
static struct unit *dirtiest(struct session *s)
{
	struct units *u = &s->pool.units;
	uint64_t used = u->used_bytes - u->slack_bytes, dead = used - u->live_bytes;
	struct unit *x;

	if (dead < (reclaim_is_tight(s) ? max(used / 50, MIB) : max(used / 6, 3 * MIB)))
		return NULL;
	x = units_emptiest(u, FLS_EXTENT);
	if (!x || x->live <= FLS_EXTENT / 4 * 3)
		return x;
	/* Little is gained by moving much, unless there are holes elsewhere for all of it; and when they did
	 * not fit the last time, not before there are more. */
	return dead < FLS_EXTENT + MIB / 2 || dead < s->reclaim.clean_above ? NULL : x;
}

/* A cleaning that mostly appended what it took won little: wait for more holes. */
static void note_gain(struct session *s)
{
	struct units *u = &s->pool.units;
	uint64_t dead = u->used_bytes - u->slack_bytes - u->live_bytes;

	if (s->pool.appended > FLS_EXTENT / 2)
		s->reclaim.clean_above = dead + max(u->used_bytes / 32, 2 * MIB);
	else
		s->reclaim.clean_above = 0;
}

static bool clean_one(struct session *s)
{
	struct store_owner owner = { .is_live = is_live, .moved = moved, .ctx = s };
	struct clean *c = NULL;
	struct unit *x;
	int r;

	pthread_mutex_lock(&s->lock);
	x = s->state == SESSION_ATTACHED ? dirtiest(s) : NULL;
	r = x ? pool_clean_begin(&c, &s->pool, x) : -ENOENT;
	pthread_mutex_unlock(&s->lock);
	if (r)
		return false;
	pool_clean_read(c);
	do {
		pthread_mutex_lock(&s->lock);
		r = pool_clean_step(c, &owner, CLEAN_STEP);
		pthread_mutex_unlock(&s->lock);
	} while (r > 0);
	pthread_mutex_lock(&s->lock);
	r = pool_clean_end(c);
	if (!r)
		s->c.compactions++;
	note_gain(s);
	pool_trim(&s->pool, WARM_UNITS);
	reclaim_charge_pool(s);
	pthread_mutex_unlock(&s->lock);
	return !r;
}

void spill_clean_pool(struct session *s)
{
	for (int i = 0; i < CLEANS && clean_one(s); i++)
		;
}

/* ---- transfers ---- */

struct spill {
	struct swap_write write;
	struct swap_read read;		/* a cleaning of the swap file */
	struct spiller *spiller;
	struct session *session;
	enum page_kind kind;		/* where the records come from */
	uint32_t unit[SPILL_UNITS];	/* extents that are held */
	bool bad[SPILL_UNITS];		/* .. the client has scribbled on it */
	uint32_t n_units;
	uint64_t segment;		/* the one that is cleaned */
	uint32_t segment_used;
	uint32_t n_records;
	uint64_t from[SPILL_RECORDS];	/* where each record of the buffer was, in order */
};

static struct spill *spill_free(struct spill *x)
{
	if (x) {
		free(x->write.buf);
		free(x->read.buf);
	}
	free(x);
	return NULL;
}

static void spill_done(struct swap_write *w, int result, uint64_t loc);

static struct spill *spill_new(struct spiller *sp, struct session *s, enum page_kind kind)
{
	struct spill *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->spiller = sp;
	x->session = s;
	x->kind = kind;
	x->write.buf = aligned_alloc(FLS_PAGE, FLS_EXTENT);
	x->write.owner = s->id;
	x->write.done = spill_done;
	return x->write.buf ? x : spill_free(x);
}

/* A record at loc: into the buffer, unless it is dead, or the copy in RAM of a page that is in RAM: such a
 * copy is dropped, not written. r lies in memory of our own. */
static void spill_record(struct spill *x, const struct fls_record *r, uint64_t loc)
{
	struct session *s = x->session;
	uint32_t size = store_record_size(r->len);
	struct bo *bo;
	struct page *p = page_of(s, r, &bo);

	if (!points_to(p, r, x->kind, loc))
		return;
	if (page_state(p) == PAGE_RESIDENT) {
		bo_kill_copy(bo, p);
		s->c.clean_drops++;
		return;
	}
	memcpy((uint8_t *)x->write.buf + x->write.used, r, size);
	((struct fls_record *)(void *)((uint8_t *)x->write.buf + x->write.used))->pad = 0;
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
static void spill_gather(struct spill *x)
{
	static uint8_t copy[FLS_EXTENT];	/* this thread's only */
	struct units *u = &x->session->pool.units;
	struct unit *next;

	while (x->n_units < SPILL_UNITS && (next = units_oldest(u)) != NULL &&
	       x->write.used + next->live <= FLS_EXTENT) {
		uint32_t i = units_index(u, next), used = next->used;
		struct spill_walk w = { .x = x, .base = (uint64_t)i * FLS_EXTENT };

		units_hold(u, i);
		memcpy(copy, x->session->pool.map + w.base, used);
		x->bad[x->n_units] = store_walk(copy, used, spill_one, &w) < 0;
		x->unit[x->n_units++] = i;
	}
}

static void spill_release(struct spill *x)
{
	for (uint32_t i = 0; i < x->n_units; i++)
		if (x->bad[i])
			units_lose(&x->session->pool.units, x->unit[i]);
		else
			units_release(&x->session->pool.units, x->unit[i]);
	if (x->kind == KIND_SWAP)
		swap_clean_end(x->session->job->swap, x->segment);
}

static void kill_old(struct spill *x, uint64_t loc, uint32_t size)
{
	if (x->kind == KIND_POOL)
		pool_kill(&x->session->pool, loc, size);
	else
		swap_kill(x->session->job->swap, loc, size);
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

		if (points_to(p, r, x->kind, x->from[i])) {
			bo_copy_moved(bo, p, KIND_SWAP, base + at);
			kill_old(x, x->from[i], size);
		} else {
			swap_kill(s->job->swap, base + at, size);
		}
		at += size;
	}
	s->c.swap_writes += x->write.used;
	if (x->kind == KIND_SWAP)
		s->c.compactions++;
}

/* The end of a transfer, whatever came of it. */
static void spill_end(struct spill *x)
{
	struct session *s = x->session;

	pthread_mutex_lock(&s->lock);
	spill_release(x);
	pool_trim(&s->pool, WARM_UNITS);
	reclaim_charge_pool(s);
	s->reclaim.n_io--;
	/* Its teardown may have waited for this, and begins when the lock is let go. */
	worker_kick(s);
	job_kick_waiting(s->job, NULL);
	pthread_mutex_unlock(&s->lock);
	x->spiller->n_writes--;
	spill_free(x);
}

static void spill_done(struct swap_write *w, int result, uint64_t loc)
{
	struct spill *x = container_of(w, struct spill, write);
	struct session *s = x->session;

	pthread_mutex_lock(&s->lock);
	if (!result)
		spill_commit(x, loc);
	pthread_mutex_unlock(&s->lock);
	spill_end(x);
}

/* One more segment of this session. False: there is nothing to spill, or it cannot be now. */
static bool spill(struct spiller *sp, struct session *s)
{
	struct spill *x = spill_new(sp, s, KIND_POOL);
	int e = -ENOENT;

	if (!x)
		return false;
	pthread_mutex_lock(&s->lock);
	if (s->state == SESSION_ATTACHED)
		spill_gather(x);
	s->reclaim.n_io++;
	sp->n_writes++;
	if (x->n_records)
		e = swap_write(s->job->swap, sp->loop, &x->write);
	pthread_mutex_unlock(&s->lock);
	if (e)
		spill_end(x);
	return !e;
}

/* ---- cleaning the swap file ---- */

static void segment_read(struct swap_read *read, int result)
{
	struct spill *x = container_of(read, struct spill, read);
	struct session *s = x->session;
	struct spill_walk w = { .x = x, .base = x->segment };
	int e = result ? result : -ENOENT;

	pthread_mutex_lock(&s->lock);
	if (!result && s->state == SESSION_ATTACHED && x->read.base <= x->segment &&
	    x->read.base + x->read.got >= x->segment + x->segment_used)
		store_walk((uint8_t *)x->read.buf + (x->segment - x->read.base), x->segment_used,
			   spill_one, &w);
	if (x->n_records)
		e = swap_write(s->job->swap, x->spiller->loop, &x->write);
	pthread_mutex_unlock(&s->lock);
	if (e)
		spill_end(x);
}

/* A segment of this session of which little lives is read, and what lives is written anew. */
static void clean_swap(struct spiller *sp, struct session *s)
{
	struct spill *x;
	int e = -ENOMEM;

	x = spill_new(sp, s, KIND_SWAP);
	if (!x)
		return;
	if (!swap_clean_begin(s->job->swap, s->id, FLS_EXTENT / 2, &x->segment, &x->segment_used)) {
		spill_free(x);
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->reclaim.n_io++;
	sp->n_writes++;
	pthread_mutex_unlock(&s->lock);
	x->read = (struct swap_read){
		.done = segment_read, .loc = x->segment, .size = sizeof(struct fls_record),
		.after = x->segment_used - sizeof(struct fls_record), .cap = FLS_EXTENT,
		.buf = aligned_alloc(FLS_PAGE, FLS_EXTENT),
	};
	if (x->read.buf)
		e = swap_read(s->job->swap, sp->loop, &x->read);
	if (e)
		spill_end(x);
}

/* ---- what a job needs ---- */

bool spill_pool_is_full(struct job *j)
{
	return (uint64_t)atomic_load(&j->pool_bytes) + 3 * FLS_EXTENT > j->pool_max;
}

/* Does the pool hold what hardly compressed? Then only spilling it makes room. */
static bool pool_is_poor(const struct session *s)
{
	return s->c.pool_live > 4 * MIB && s->c.pool_live > s->c.pool_pages / 4 * 3;
}

/* A session with something to spill, the one with the most, pinned; or NULL. */
static struct session *fullest(struct job *j, bool *ret_poor)
{
	struct session *s, *best = NULL;
	uint64_t most = 0, id = 0;

	for (s = job_session_next(j, NULL); s; s = job_session_next(j, s)) {
		pthread_mutex_lock(&s->lock);
		if (s->pool.units.live_bytes > most) {
			most = s->pool.units.live_bytes;
			id = s->id;
			*ret_poor = pool_is_poor(s);
		}
		pthread_mutex_unlock(&s->lock);
	}
	for (s = most ? job_session_next(j, NULL) : NULL; s; s = job_session_next(j, s))
		if (s->id == id) {
			best = s;
			break;
		}
	return best;
}

/* Cleaning writes what lives once more: worth it when little does, or when the file is nearly full. */
static bool swap_is_sparse(struct job *j)
{
	struct swap_stat st;

	swap_stat(j->swap, &st);
	if (st.health == SWAP_FAILED || st.used < 64 * FLS_EXTENT)
		return false;
	if (st.health == SWAP_FULL || st.used > j->swap_max / 8 * 7)
		return st.live < st.used / 4 * 3;
	return st.live < st.used / 4;
}

void spill_job(struct spiller *sp, struct job *j)
{
	struct watermarks w;
	struct session *s;
	bool poor = false;

	if (!j->swap)
		return;
	job_watermarks(j, &w);
	if (spill_pool_is_full(j) || job_cost(j) > w.low) {
		s = fullest(j, &poor);
		for (int i = 0; s && (spill_pool_is_full(j) || poor) && i < SWAP_WRITES; i++)
			if (!spill(sp, s))
				break;
		if (s)
			job_session_put(j, s);
	}
	if (sp->n_writes < SWAP_WRITES && swap_is_sparse(j)) {
		for (s = job_session_next(j, NULL); s; s = job_session_next(j, s))
			clean_swap(sp, s);
	}
	swap_trim(j->swap, TRIMS);
}
