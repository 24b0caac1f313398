/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* session.c - see session.h: how a session begins and ends, and what others may ask of it. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/memfd.h"
#include "daemon/ctl.h"
#include "daemon/log.h"
#include "daemon/reclaimer.h"
#include "daemon/session.h"
#include "daemon/uffd.h"
#include "daemon/worker.h"

#define POOL_SIZE	(UINT64_C(64) << 30)	/* virtual */
#define SAMPLE_US	10000u
#define GROWTH		4000u			/* bytes that a program may touch in a microsecond */

static _Atomic uint64_t next_id = 1;

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	if (s->state != SESSION_NEW) {
		faults_fini(s);
		region_free_all(s);
		atomic_fetch_sub(&s->job->pool_bytes, s->pool_charged);
		atomic_fetch_sub(&s->job->unmanaged, s->unmanaged);
	}
	reclaim_fini(s);
	pool_fini(&s->pool);
	state_fini(&s->table);
	if (s->mem)
		munmap(s->mem, sizeof(*s->mem));
	drop_fd(&s->mem_fd);
	drop_fd(&s->uffd);
	drop_fd(&s->staging_uffd);
	drop_fd(&s->kick_fd);
	drop_fd(&s->pidfd);
	if (s->job)
		job_kick_waiting(s->job, NULL);
	s->job = job_unref(s->jobs, s->job);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
DEFINE_CLEANUP(struct session *, session_free);

int session_new(struct session **ret, struct job *job, struct jobs *jobs, struct workers *w,
		uint32_t generation, const struct ucred *peer, int pidfd,
		const struct flp_hello *hello)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->id = atomic_fetch_add(&next_id, 1);
	s->job = job_ref(job);
	s->jobs = jobs;
	s->workers = w;
	s->generation = generation;
	s->pid = peer->pid;
	s->uid = peer->uid;
	s->agent_tid = hello->agent_tid;
	strlcpy(s->name, hello->name, sizeof(s->name));
	s->uffd = s->staging_uffd = s->kick_fd = s->mem_fd = -1;
	s->pidfd = pidfd;
	s->state = SESSION_NEW;
	s->table = STATE_NULL;
	s->pool = POOL_NULL;
	s->next_bo = 1;
	s->cpu_seen = -1;
	RB_INIT(&s->regions);
	RB_INIT(&s->bo_by_id);
	LIST_INIT(&s->bos);
	pthread_mutex_init(&s->lock, NULL);
	faults_init(&s->faults);
	*ret = s;
	return 0;
}

static int make_memory(struct session *s)
{
	struct fls_memory *m;

	s->mem_fd = memfd_sealed("faultline-session", sizeof(*m));
	if (s->mem_fd < 0)
		return s->mem_fd;
	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED, s->mem_fd, 0);
	if (m == MAP_FAILED)
		return -errno;
	if (getrandom(&s->secret, sizeof(s->secret), 0) != sizeof(s->secret))
		return -EIO;
	s->mem = m;
	m->magic = FLS_MAGIC;
	m->version = FLS_VERSION;
	m->size = sizeof(*m);
	m->generation = s->generation;
	m->secret = s->secret;
	m->lock = s->generation << 8;
	m->adopt_bytes = s->library ? UINT64_MAX : job_adopt_at(s->job);
	m->sample_us = (uint32_t)min(max(m->adopt_bytes / 8 / GROWTH, UINT64_C(500)), (uint64_t)SAMPLE_US);
	m->agent_cpu = -1;
	m->daemon_asleep = 1;
	return 0;
}

static int take_uffds(struct session *s, int uffd, int staging_uffd)
{
	int r;

	s->uffd = uffd;
	s->staging_uffd = staging_uffd;
	if (uffd == staging_uffd || !uffd_is(uffd) || !uffd_is(staging_uffd))
		return -EINVAL;
	r = uffd_api(uffd, UFFD_FEATURES_NEEDED);
	return r ? r : uffd_api(staging_uffd, UFFD_FEATURES_STAGING);
}

/* The session of the same process that is of the other kind; pinned. */
static struct session *other_session(struct session *s)
{
	struct session *x;

	for (x = job_session_next(s->job, NULL); x; x = job_session_next(s->job, x))
		if (x->pid == s->pid && x->library != s->library)
			return x;
	return NULL;
}

static void set_other(struct session *s, bool there, uint64_t resident)
{
	struct session *x = other_session(s);

	if (s->library)
		atomic_store(&s->beside, x && there);
	if (!x)
		return;
	if (s->library)
		atomic_store(&x->beside_bytes, resident);
	else
		atomic_store(&x->beside, there);
	job_session_put(s->job, x);
}

int session_attach(struct session *s, int uffd, int staging_uffd, const struct flp_attach *a,
		   struct flp_attached *ret, int ret_fds[3])
{
	int r = take_uffds(s, uffd, staging_uffd);

	s->library = a->flags & FLP_ATTACH_LIBRARY;
	if (!r)
		r = make_memory(s);
	if (!r)
		r = pool_init(&s->pool, POOL_SIZE);
	if (!r)
		r = state_init(&s->table, s->id);
	if (!r)
		r = reclaim_init(s);
	if (r)
		return r;
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->kick_fd < 0)
		return -errno;
	s->home = workers_pick(s->workers);
	s->state = SESSION_ATTACHED;
	r = worker_add(s->home, s);
	if (r) {
		s->state = SESSION_NEW;
		return r;
	}
	job_session_add(s->job, s);
	set_other(s, true, 0);
	*ret = (struct flp_attached){ .memory_size = sizeof(*s->mem), .pool_size = s->pool.size };
	ret_fds[0] = s->mem_fd;
	ret_fds[1] = s->pool.fd;
	ret_fds[2] = s->kick_fd;
	return 0;
}

/* ---- the end ---- */

void session_close(struct session *s)
{
	bool attached;

	pthread_mutex_lock(&s->lock);
	attached = s->state == SESSION_ATTACHED;
	if (attached)
		s->state = SESSION_CLOSING;
	pthread_mutex_unlock(&s->lock);
	if (attached) {
		worker_kick(s);
		return;
	}
	session_gone(s);
}

bool session_finish(struct worker *w, struct session *s)
{
	if (s->faults.n_reads || s->reclaim.n_io)
		return false;		/* their completion kicks */
	worker_remove(w, s);
	return true;
}

void session_gone(struct session *s)
{
	void (*gone)(struct session *, void *) = s->gone;
	void *ctx = s->gone_ctx;
	struct flp_counters last;

	if (s->state != SESSION_NEW) {
		session_counters(s, &last);
		set_other(s, false, 0);
		job_session_end(s->job, s, &last);
	}
	if (gone)
		gone(s, ctx);
	session_free(s);
}

/* ---- looking ---- */

void session_adopted(struct session *s, uint64_t bytes)
{
	int64_t less = min((int64_t)bytes, s->unmanaged);

	atomic_fetch_sub(&s->job->unmanaged, less);
	s->unmanaged -= less;
	s->c.unmanaged = (uint64_t)s->unmanaged;
}

void session_sample(struct session *s)
{
	uint64_t rss = __atomic_load_n(&s->mem->rss_anon, __ATOMIC_RELAXED);
	uint64_t managed = s->c.resident + atomic_load(&s->beside_bytes);
	int64_t now;

	/* Only as much as there can be: the client writes this. */
	rss = min(rss, UINT64_C(1) << 46);
	now = rss > managed && !atomic_load(&s->beside) ? (int64_t)(rss - managed) : 0;
	atomic_fetch_add(&s->job->unmanaged, now - s->unmanaged);
	s->unmanaged = now;
	s->c.unmanaged = (uint64_t)now;
}

void session_tell_other(struct session *s)
{
	uint64_t resident;

	if (!atomic_load(&s->beside))
		return;
	pthread_mutex_lock(&s->lock);
	resident = s->c.resident;
	pthread_mutex_unlock(&s->lock);
	set_other(s, true, resident);
}

static void fill_counters(struct session *s, struct flp_counters *ret)
{
	*ret = s->c;
	ret->fault_p50_ns = hist_quantile(&s->latency, 0.5);
	ret->fault_p99_ns = hist_quantile(&s->latency, 0.99);
	ret->fault_p999_ns = hist_quantile(&s->latency, 0.999);
}

void session_counters(struct session *s, struct flp_counters *ret)
{
	pthread_mutex_lock(&s->lock);
	fill_counters(s, ret);
	pthread_mutex_unlock(&s->lock);
}

void session_status(struct session *s, struct flp_status_session *ret)
{
	struct region *r;

	memset(ret, 0, sizeof(*ret));
	pthread_mutex_lock(&s->lock);
	ret->session = s->id;
	ret->job = s->job->id;
	ret->pid = (uint32_t)s->pid;
	ret->uid = s->uid;
	ret->home = s->home ? (uint32_t)s->home->cpu : 0;
	RB_FOREACH(r, region_tree, &s->regions) {
		ret->n_regions++;
		ret->virtual_bytes += r->end - r->start;
	}
	strlcpy(ret->name, s->name, sizeof(ret->name));
	fill_counters(s, &ret->c);
	pthread_mutex_unlock(&s->lock);
}

/* ---- calls of the library ---- */

static struct region *whole_region(struct session *s, uint64_t addr, uint64_t len)
{
	struct region *r = s->state == SESSION_ATTACHED ? region_find(s, addr) : NULL;

	return r && len && addr + len > addr && addr + len <= r->end ? r : NULL;
}

int session_reserve(struct session *s, const struct flp_reserve *m, struct resv_request *req)
{
	struct region *r;
	int e = -EINVAL;

	pthread_mutex_lock(&s->lock);
	r = whole_region(s, m->addr, m->len);
	if (r)
		e = m->timeout_ns ? resv_take(&r->bo->resv, req) :
				    resv_try(&r->bo->resv, req->holder, req->tid);
	pthread_mutex_unlock(&s->lock);
	return e;
}

int session_wait_unreserved(struct session *s, const struct flp_reserve *m, struct resv_request *req)
{
	struct region *r;
	int e = -EINVAL;

	pthread_mutex_lock(&s->lock);
	r = whole_region(s, m->addr, m->len);
	if (r && !m->timeout_ns)
		e = r->bo->resv.holder ? -EBUSY : 0;
	else if (r)
		e = resv_wait(&r->bo->resv, req);
	pthread_mutex_unlock(&s->lock);
	return e;
}

int session_unreserve(struct session *s, const struct flp_range *m, const void *holder)
{
	struct region *r;
	int e = -EINVAL;

	pthread_mutex_lock(&s->lock);
	r = whole_region(s, m->addr, m->len);
	if (r)
		e = resv_release(&r->bo->resv, holder);
	pthread_mutex_unlock(&s->lock);
	if (!e)
		worker_kick(s);
	return e;
}

void session_drop_holder(struct session *s, const void *holder)
{
	struct bo *bo;

	pthread_mutex_lock(&s->lock);
	LIST_FOREACH(bo, &s->bos, link)
		resv_drop_holder(&bo->resv, holder);
	pthread_mutex_unlock(&s->lock);
	worker_kick(s);
}

static void advise_regions(struct session *s, const struct flp_advise *m, enum region_advice advice)
{
	struct region *r;

	/* Without memory to cut them, the advice is for all of the regions at the ends. */
	(void)region_cut(s, m->addr);
	(void)region_cut(s, m->addr + m->len);
	for (r = region_next(s, m->addr); r && r->start < m->addr + m->len; r = region_next(s, r->end))
		r->advice = advice;
}

static void make_cold(struct session *s, const struct flp_advise *m)
{
	struct region *r;

	for (r = region_next(s, m->addr); r && r->start < m->addr + m->len; r = region_next(s, r->end)) {
		uint64_t from = max(r->start, m->addr), to = min(r->end, m->addr + m->len);

		reclaim_cold(s, r->bo, region_index(r, from), (uint32_t)((to - from) / FLS_PAGE));
	}
}

int session_advise(struct session *s, const struct flp_advise *m)
{
	int e = 0;

	pthread_mutex_lock(&s->lock);
	if (s->state != SESSION_ATTACHED || !region_next(s, m->addr) ||
	    region_next(s, m->addr)->start >= m->addr + m->len) {
		pthread_mutex_unlock(&s->lock);
		return -EINVAL;
	}
	switch (m->advice) {
	case FLP_ADVICE_NORMAL:
		advise_regions(s, m, REGION_NORMAL);
		break;
	case FLP_ADVICE_SEQUENTIAL:
		advise_regions(s, m, REGION_SEQUENTIAL);
		break;
	case FLP_ADVICE_RANDOM:
		advise_regions(s, m, REGION_RANDOM);
		break;
	case FLP_ADVICE_WILLNEED:
		s->will_start = m->addr;
		s->will_end = m->addr + m->len;
		break;
	case FLP_ADVICE_COLD:
		make_cold(s, m);
		break;
	case FLP_ADVICE_EVICT:
		reclaim_range(s, m->addr, m->addr + m->len);
		break;
	default:
		e = -EINVAL;
	}
	pthread_mutex_unlock(&s->lock);
	worker_kick(s);
	return e;
}

static void count_page(const struct page *p, struct flp_range_status *st)
{
	switch (p ? page_state(p) : PAGE_UNKNOWN) {
	case PAGE_RESIDENT:
		st->resident++;
		break;
	case PAGE_STORED:
		st->stored++;
		break;
	case PAGE_FILLING:
	case PAGE_LEAVING:
		st->moving++;
		break;
	case PAGE_UNKNOWN:
	case PAGE_EMPTY:
	case PAGE_POISONED:
	case PAGE_STATES:
		st->unknown++;
		break;
	}
}

int session_range_status(struct session *s, const struct flp_range *m, struct flp_range_status *ret)
{
	struct flp_range_status st = { 0 };
	struct region *r;

	pthread_mutex_lock(&s->lock);
	for (r = region_next(s, m->addr); r && r->start < m->addr + m->len; r = region_next(s, r->end)) {
		uint64_t from = max(r->start, m->addr), to = min(r->end, m->addr + m->len);

		for (uint64_t va = from; va < to; va += FLS_PAGE) {
			count_page(pagetable_get(&r->bo->pages, region_index(r, va)), &st);
			st.pages++;
		}
	}
	pthread_mutex_unlock(&s->lock);
	if (!st.pages)
		return -EINVAL;
	*ret = st;
	return 0;
}

/* ---- the daemon stops ---- */

bool session_drain(struct session *s)
{
	struct reclaim *r = &s->reclaim;
	bool done;

	pthread_mutex_lock(&s->lock);
	if (s->state == SESSION_ATTACHED && !s->draining) {
		s->draining = true;
		r->drain = true;
		r->bring_back = true;
		r->back_bo = r->back_index = 0;
	}
	done = s->state != SESSION_ATTACHED || (s->draining && !r->bring_back && RB_EMPTY(&s->regions));
	pthread_mutex_unlock(&s->lock);
	if (!done)
		worker_kick(s);
	return done;
}
