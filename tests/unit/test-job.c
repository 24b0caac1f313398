/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-job.c - jobs: who may find one, how long it lives, and what its sessions add up to.
 *
 * The sessions here are structures that nobody serves: of session.c only session_counters() is
 * called, and stands below, as does the kick of a worker.
 */
#include <config.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/job.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "tests/harness.h"

void worker_kick(struct session *s)
{
}

void session_counters(struct session *s, struct flp_counters *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->c;
	pthread_mutex_unlock(&s->lock);
}

#define MIB (UINT64_C(1) << 20)

static struct jobs jobs;

static struct job *make(uid_t uid, uint64_t budget)
{
	struct flp_job_create c = {
		.budget = budget,
		.pool_max = UINT64_MAX,
		.swap_max = UINT64_MAX,
		.prefetch = UINT32_MAX,
		.name = "test",
	};
	struct job *j;

	t_ok(job_new(&j, &jobs, uid, &c, NULL));
	return j;
}

static struct session *session(void)
{
	struct session *s = calloc(1, sizeof(*s));

	t_assert(s);
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void a_job_is_found_by_its_token_and_uid_only(void)
{
	struct job *a, *b;
	uint8_t token[FLP_TOKEN_SIZE];

	jobs_init(&jobs);
	a = make(1000, 64 * MIB);
	b = make(1001, 64 * MIB);
	t_assert(memcmp(a->token, b->token, FLP_TOKEN_SIZE));
	t_assert(job_by_token(&jobs, a->token, 1000) == a);
	job_unref(&jobs, a);
	t_assert(!job_by_token(&jobs, a->token, 1001));
	for (size_t i = 0; i < FLP_TOKEN_SIZE; i++) {
		memcpy(token, a->token, sizeof(token));
		token[i] ^= 1;
		t_assert(!job_by_token(&jobs, token, 1000));
	}
	job_unref(&jobs, a);
	job_unref(&jobs, b);
	jobs_fini(&jobs);
}

static void a_job_ends_with_its_last_reference(void)
{
	uint8_t token[FLP_TOKEN_SIZE];
	struct job *j;

	jobs_init(&jobs);
	j = make(0, 64 * MIB);
	memcpy(token, j->token, sizeof(token));
	job_ref(j);
	t_assert(!job_unref(&jobs, j));
	t_eq(jobs.n, 1);
	t_assert(!job_unref(&jobs, j));
	t_eq(jobs.n, 0);
	t_assert(!job_by_token(&jobs, token, 0));
	t_assert(!job_unref(&jobs, NULL));
	jobs_fini(&jobs);
}

static void defaults_stand_for_what_was_not_asked_for(void)
{
	struct job *j;

	jobs_init(&jobs);
	j = make(0, 64 * MIB);
	t_eq(j->pool_max, 32 * MIB);
	t_eq(j->swap_max, 0);		/* there is no swap file */
	t_gt(j->prefetch, 0);
	t_le(j->prefetch, 512);
	job_unref(&jobs, j);
	jobs_fini(&jobs);
}

static void limits_that_cannot_be_are_refused(void)
{
	struct flp_job_create c = { .budget = 0, .pool_max = UINT64_MAX };
	struct job *j = NULL;

	jobs_init(&jobs);
	t_fails(job_new(&j, &jobs, 0, &c, NULL), EINVAL);
	c.budget = 8 * MIB;
	c.pool_max = 9 * MIB;
	t_fails(job_new(&j, &jobs, 0, &c, NULL), EINVAL);
	t_assert(!j);
	jobs_fini(&jobs);
}

static void a_walk_sees_jobs_in_order_and_counts_those_of_a_uid(void)
{
	struct job *a, *b, *c, *at;

	jobs_init(&jobs);
	a = make(1, 64 * MIB);
	b = make(2, 64 * MIB);
	c = make(1, 64 * MIB);
	at = job_next(&jobs, 0);
	t_assert(at == a);
	job_unref(&jobs, at);
	at = job_next(&jobs, a->id);
	t_assert(at == b);
	job_unref(&jobs, at);
	t_assert(!job_next(&jobs, c->id));
	t_eq(jobs_of_uid(&jobs, 1), 2);
	t_eq(jobs_of_uid(&jobs, 2), 1);
	t_eq(jobs_of_uid(&jobs, 3), 0);
	t_eq(jobs_of_uid(&jobs, JOBS_ALL), 3);
	t_assert(!job_by_uid(&jobs, 1));
	c->by_uid = true;
	at = job_by_uid(&jobs, 1);
	t_assert(at == c);
	job_unref(&jobs, at);
	job_unref(&jobs, a);
	job_unref(&jobs, b);
	job_unref(&jobs, c);
	jobs_fini(&jobs);
}

static void a_job_is_the_sum_of_its_sessions(void)
{
	struct flp_status_job st;
	struct session *s[3];
	struct job *j;

	jobs_init(&jobs);
	j = make(0, 64 * MIB);
	for (int i = 0; i < 3; i++) {
		s[i] = session();
		s[i]->c = (struct flp_counters){ .resident = 10, .stored = 5, .evicted = 7,
						 .faults[FLP_FAULT_POOL] = 2 };
		job_session_add(j, s[i]);
	}
	job_status(j, &st);
	t_eq(st.n_sessions, 3);
	t_eq(st.state, FLP_JOB_ACTIVE);
	t_eq(st.c.resident, 30);
	t_eq(st.c.stored, 15);
	t_eq(st.c.evicted, 21);
	t_eq(st.c.faults[FLP_FAULT_POOL], 6);

	for (int i = 0; i < 3; i++) {
		job_session_end(j, s[i], &s[i]->c);
		free(s[i]);
	}
	job_unref(&jobs, j);
	jobs_fini(&jobs);
}

static void an_ended_session_leaves_what_it_did_and_not_what_it_held(void)
{
	struct flp_status_job st;
	struct session *s = session();
	struct job *j;

	jobs_init(&jobs);
	j = make(0, 64 * MIB);
	memset(&s->c, 0, sizeof(s->c));
	s->c.resident = s->c.unmanaged = s->c.staging = s->c.stored = s->c.zero = s->c.same = 1;
	s->c.pool_pages = s->c.pool_live = s->c.pool_used = 1;
	s->c.swap_pages = s->c.swap_live = s->c.swap_used = s->c.clean = 1;
	s->c.evicted = s->c.poisoned = s->c.compressed_in = s->c.checksum_errors = 3;
	job_session_add(j, s);
	job_session_end(j, s, &s->c);
	job_session_end(j, s, &s->c);		/* it is not there any more */
	free(s);

	job_status(j, &st);
	t_eq(st.n_sessions, 0);
	t_eq(st.state, FLP_JOB_IDLE);
	t_eq(st.c.resident + st.c.unmanaged + st.c.staging + st.c.stored + st.c.zero + st.c.same, 0);
	t_eq(st.c.pool_pages + st.c.pool_live + st.c.pool_used, 0);
	t_eq(st.c.swap_pages + st.c.swap_live + st.c.swap_used + st.c.clean, 0);
	t_eq(st.c.evicted, 3);
	t_eq(st.c.poisoned, 3);
	t_eq(st.c.compressed_in, 3);
	t_eq(st.c.checksum_errors, 3);
	job_unref(&jobs, j);
	jobs_fini(&jobs);
}

struct ender {
	struct job *job;
	struct session *session;
	_Atomic bool ended;
};

static void *end_session(void *arg)
{
	struct ender *e = arg;

	job_session_end(e->job, e->session, &e->session->c);
	e->ended = true;
	return NULL;
}

/* Whoever walks stands on memory that is not freed under it, with no lock held. */
static void a_session_that_is_walked_over_does_not_end(void)
{
	struct ender e = { .session = session() };
	struct session *other = session(), *at;
	pthread_t thread;

	jobs_init(&jobs);
	e.job = make(0, 64 * MIB);
	job_session_add(e.job, other);
	job_session_add(e.job, e.session);	/* the first of the list */
	at = job_session_next(e.job, NULL);
	t_assert(at == e.session);
	t_eq(pthread_create(&thread, NULL, end_session, &e), 0);
	for (int i = 0; i < 200; i++)
		sched_yield();
	t_assert(!e.ended);
	pthread_mutex_lock(&at->lock);		/* which may be taken */
	pthread_mutex_unlock(&at->lock);

	at = job_session_next(e.job, at);
	t_assert(at == other);
	pthread_join(thread, NULL);
	t_assert(e.ended);
	job_session_put(e.job, at);
	t_assert(!other->pins);
	job_session_end(e.job, other, &other->c);
	free(e.session);
	free(other);
	job_unref(&jobs, e.job);
	jobs_fini(&jobs);
}

static void the_peak_is_the_highest_cost(void)
{
	struct flp_status_job st;
	struct job *j;

	jobs_init(&jobs);
	j = make(0, 64 * MIB);
	j->resident = 100;
	j->pool_bytes = 4096;
	j->unmanaged = 8192;
	job_note_peak(j);
	j->resident = 0;
	job_note_peak(j);
	job_status(j, &st);
	t_eq(st.c.resident_peak, 103 * 4096);
	job_unref(&jobs, j);
	jobs_fini(&jobs);
}

static void a_job_over_its_budget_says_why(void)
{
	struct flp_status_job st;
	struct job *j;

	jobs_init(&jobs);
	j = make(0, 64 * MIB);
	strcpy(j->reason, "swap full");
	job_status(j, &st);
	t_streq(st.reason, "");
	j->over = true;
	job_status(j, &st);
	t_eq(st.state, FLP_JOB_DEGRADED);
	t_streq(st.reason, "swap full");
	job_unref(&jobs, j);
	jobs_fini(&jobs);
}

static void latency_is_told_in_quantiles(void)
{
	struct flp_status_job st;
	struct job *j;

	jobs_init(&jobs);
	j = make(0, 64 * MIB);
	for (int i = 0; i < 98; i++)
		hist_add(&j->latency, 1000);
	hist_add(&j->latency, 1000000);
	hist_add(&j->latency, 1000000);
	job_status(j, &st);
	t_lt(st.c.fault_p50_ns, 1200);
	t_gt(st.c.fault_p99_ns, 900000);
	t_ge(st.c.fault_p999_ns, st.c.fault_p99_ns);
	job_unref(&jobs, j);
	jobs_fini(&jobs);
}

static const struct t_test tests[] = {
	T(a_job_is_found_by_its_token_and_uid_only),
	T(a_job_ends_with_its_last_reference),
	T(defaults_stand_for_what_was_not_asked_for),
	T(limits_that_cannot_be_are_refused),
	T(a_walk_sees_jobs_in_order_and_counts_those_of_a_uid),
	T(a_job_is_the_sum_of_its_sessions),
	T(an_ended_session_leaves_what_it_did_and_not_what_it_held),
	T(a_session_that_is_walked_over_does_not_end),
	T(the_peak_is_the_highest_cost),
	T(a_job_over_its_budget_says_why),
	T(latency_is_told_in_quantiles),
	{0}
};

static const struct t_suite suites[] = { { "job", tests }, {0} };

HARNESS_MAIN(suites)
