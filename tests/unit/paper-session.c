/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * paper-session.c - a session with nothing behind it. See paper-session.h.
 *
 * All ranges are one buffer object, with one reservation. An attached session ends as a real one
 * does: later, in another thread.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/worker.h"
#include "paper-session.h"

struct paper {
	struct session s;
	struct resv resv;
	int fd[3];
};

bool paper_drained;
unsigned int paper_drains, paper_alive;
struct flp_counters paper_counters;

static struct paper *paper(struct session *s)
{
	return container_of(s, struct paper, s);
}

int session_new(struct session **ret, struct job *job, struct jobs *jobs, struct workers *w,
		uint32_t generation, const struct ucred *peer, int pidfd, const struct flp_hello *hello)
{
	static uint64_t next_id;
	struct paper *p = calloc(1, sizeof(*p));

	close(pidfd);
	if (!p)
		return -ENOMEM;
	p->s.id = ++next_id;
	p->s.job = job_ref(job);
	p->s.jobs = jobs;
	p->s.pid = peer->pid;
	p->s.uid = peer->uid;
	p->fd[0] = p->fd[1] = p->fd[2] = -1;
	memcpy(p->s.name, hello->name, sizeof(p->s.name));
	pthread_mutex_init(&p->s.lock, NULL);
	resv_init(&p->resv);
	__atomic_add_fetch(&paper_alive, 1, __ATOMIC_RELAXED);
	*ret = &p->s;
	return 0;
}

int session_attach(struct session *s, int uffd, int staging_uffd, const struct flp_attach *a,
		   struct flp_attached *ret, int ret_fds[3])
{
	struct paper *p = paper(s);

	close(uffd);
	close(staging_uffd);
	for (int i = 0; i < 3; i++)
		ret_fds[i] = p->fd[i] = eventfd(0, EFD_CLOEXEC);
	*ret = (struct flp_attached){ .memory_size = 4096, .pool_size = 1 << 20 };
	s->library = a->flags & FLP_ATTACH_LIBRARY;
	s->state = SESSION_ATTACHED;
	job_session_add(s->job, s);
	return 0;
}

static void *end(void *arg)
{
	struct session *s = arg;
	struct paper *p = paper(s);
	struct flp_counters last = paper_counters;

	pthread_mutex_lock(&s->lock);
	resv_fini(&p->resv);
	pthread_mutex_unlock(&s->lock);
	job_session_end(s->job, s, &last);
	for (int i = 0; i < 3; i++)
		close_fd(&p->fd[i]);
	job_unref(s->jobs, s->job);
	__atomic_sub_fetch(&paper_alive, 1, __ATOMIC_RELAXED);
	s->gone(s, s->gone_ctx);
	pthread_mutex_destroy(&s->lock);
	free(p);
	return NULL;
}

void session_close(struct session *s)
{
	pthread_attr_t attr;
	pthread_t thread;

	if (s->state == SESSION_NEW) {
		end(s);
		return;
	}
	s->state = SESSION_CLOSING;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, end, s))
		abort();
	pthread_attr_destroy(&attr);
}

void session_status(struct session *s, struct flp_status_session *ret)
{
	*ret = (struct flp_status_session){
		.session = s->id,
		.job = s->job->id,
		.pid = (uint32_t)s->pid,
		.uid = s->uid,
		.c = paper_counters,
	};
	memcpy(ret->name, s->name, sizeof(ret->name));
}

void session_counters(struct session *s, struct flp_counters *ret)
{
	*ret = paper_counters;
}

int session_reserve(struct session *s, const struct flp_reserve *m, struct resv_request *req)
{
	struct resv *resv = &paper(s)->resv;
	int r;

	pthread_mutex_lock(&s->lock);
	r = m->timeout_ns ? resv_take(resv, req) : resv_try(resv, req->holder, req->tid);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int session_wait_unreserved(struct session *s, const struct flp_reserve *m, struct resv_request *req)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = resv_wait(&paper(s)->resv, req);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int session_unreserve(struct session *s, const struct flp_range *m, const void *holder)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = resv_release(&paper(s)->resv, holder);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void session_drop_holder(struct session *s, const void *holder)
{
	pthread_mutex_lock(&s->lock);
	resv_drop_holder(&paper(s)->resv, holder);
	pthread_mutex_unlock(&s->lock);
}

void worker_kick(struct session *s)
{
}

bool session_drain(struct session *s)
{
	paper_drains++;
	return paper_drained;
}

int session_advise(struct session *s, const struct flp_advise *m)
{
	return m->advice == FLP_ADVICE_EVICT ? -EINVAL : 0;
}

int session_range_status(struct session *s, const struct flp_range *m, struct flp_range_status *ret)
{
	*ret = (struct flp_range_status){ .pages = m->len / 4096, .resident = m->len / 4096 };
	return 0;
}
