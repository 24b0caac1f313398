/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.c - what a daemon said in answer to FLP_STATUS, gathered and put in order.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/align.h"
#include "cli/report.h"

/* Arrays grow when their count reaches a power of two: no capacity to keep. */
static int append(void **array, size_t *n, const void *item, size_t size)
{
	if (*n >= REPORT_MAX)
		return -E2BIG;
	if (*n == 0 || is_power_of_two(*n)) {
		void *grown = reallocarray(*array, *n ? 2 * *n : 1, size);

		if (!grown)
			return -ENOMEM;
		*array = grown;
	}
	memcpy((char *)*array + *n * size, item, size);
	(*n)++;
	return 0;
}

static int add_daemon(struct report *r, const void *body)
{
	memcpy(&r->daemon, body, sizeof(r->daemon));
	r->has_daemon = true;
	return 0;
}

int report_add(struct report *r, uint16_t type, const void *body, size_t n)
{
	void *array;
	int result;

	if (type == FLP_STATUS_DAEMON && n == sizeof(r->daemon))
		return add_daemon(r, body);
	if (type == FLP_STATUS_JOB && n == sizeof(*r->jobs)) {
		array = r->jobs;
		result = append(&array, &r->n_jobs, body, n);
		r->jobs = array;
		return result;
	}
	if (type == FLP_STATUS_SESSION && n == sizeof(*r->sessions)) {
		array = r->sessions;
		result = append(&array, &r->n_sessions, body, n);
		r->sessions = array;
		return result;
	}
	return -EBADMSG;
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_jobs(const void *a, const void *b)
{
	const struct flp_status_job *x = a, *y = b;

	return compare(x->job, y->job);
}

static int compare_sessions(const void *a, const void *b)
{
	const struct flp_status_session *x = a, *y = b;
	int c = compare(x->job, y->job);

	return c ? c : compare(x->session, y->session);
}

void report_sort(struct report *r)
{
	if (r->n_jobs)
		qsort(r->jobs, r->n_jobs, sizeof(*r->jobs), compare_jobs);
	if (r->n_sessions)
		qsort(r->sessions, r->n_sessions, sizeof(*r->sessions), compare_sessions);
}

void report_done(struct report *r)
{
	free(r->jobs);
	free(r->sessions);
	*r = (struct report){ 0 };
}

const struct flp_status_session *report_sessions(const struct report *r, uint64_t job,
						 size_t *ret_n)
{
	size_t first = 0, end = r->n_sessions, n = 0;

	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (r->sessions[middle].job < job)
			first = middle + 1;
		else
			end = middle;
	}
	while (first + n < r->n_sessions && r->sessions[first + n].job == job)
		n++;
	*ret_n = n;
	return n ? &r->sessions[first] : NULL;
}

bool report_degraded(const struct report *r)
{
	for (size_t i = 0; i < r->n_jobs; i++)
		if (r->jobs[i].state == FLP_JOB_DEGRADED)
			return true;
	return false;
}

const char *job_state_name(uint32_t state)
{
	static const char *const names[] = {
		[FLP_JOB_IDLE]		= "idle",
		[FLP_JOB_ACTIVE]	= "active",
		[FLP_JOB_DEGRADED]	= "degraded",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

/* PARKED and BUDGET say that one of the others had to wait. */
uint64_t faults_total(const struct flp_counters *c)
{
	return c->faults[FLP_FAULT_ZERO] + c->faults[FLP_FAULT_SAME] + c->faults[FLP_FAULT_POOL] +
	       c->faults[FLP_FAULT_SWAP] + c->faults[FLP_FAULT_PRESENT] +
	       c->faults[FLP_FAULT_POISON];
}
