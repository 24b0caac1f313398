/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-cli-report.c - what a daemon reports is put in order; and the summary of a job. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cli/report.h"
#include "cli/summary.h"
#include "tests/harness.h"

static void add_job(struct report *r, uint64_t number, uint32_t state)
{
	struct flp_status_job job = { .job = number, .state = state };

	t_ok(report_add(r, FLP_STATUS_JOB, &job, sizeof(job)));
}

static void add_session(struct report *r, uint64_t job, uint64_t number)
{
	struct flp_status_session s = { .job = job, .session = number };

	t_ok(report_add(r, FLP_STATUS_SESSION, &s, sizeof(s)));
}

static void sessions_are_found_by_job_in_order(void)
{
	const struct flp_status_session *s;
	struct report r = { 0 };
	size_t n;

	add_session(&r, 2, 12);
	add_session(&r, 1, 13);
	add_job(&r, 2, FLP_JOB_IDLE);
	add_session(&r, 2, 11);
	add_job(&r, 1, FLP_JOB_ACTIVE);
	add_session(&r, 4, 14);
	report_sort(&r);
	t_eq(r.jobs[0].job, 1);
	s = report_sessions(&r, 2, &n);
	t_eq(n, 2);
	t_eq(s[0].session, 11);
	t_eq(s[1].session, 12);
	t_assert(!report_sessions(&r, 3, &n));
	t_eq(n, 0);
	s = report_sessions(&r, 4, &n);
	t_eq(n, 1);
	t_eq(s[0].session, 14);
	report_done(&r);
}

static void many_records_are_kept(void)
{
	struct report r = { 0 };
	size_t n;

	for (uint64_t i = 0; i < 1000; i++)
		add_session(&r, i % 10, i);
	report_sort(&r);
	for (uint64_t job = 0; job < 10; job++) {
		const struct flp_status_session *s = report_sessions(&r, job, &n);

		t_eq(n, 100);
		for (size_t i = 0; i < n; i++)
			t_eq(s[i].session, i * 10 + job);
	}
	report_done(&r);
}

static void a_record_of_a_wrong_size_or_type_is_refused(void)
{
	struct flp_status_job job = { 0 };
	struct report r = { 0 };

	t_fails(report_add(&r, FLP_STATUS_JOB, &job, sizeof(job) - 1), EBADMSG);
	t_fails(report_add(&r, FLP_STATUS_SESSION, &job, 0), EBADMSG);
	t_fails(report_add(&r, FLP_WELCOME, &job, sizeof(job)), EBADMSG);
	t_eq(r.n_jobs, 0);
	report_done(&r);
}

static void a_daemon_that_never_ends_its_answer_is_stopped(void)
{
	struct flp_status_session s = { 0 };
	struct report r = { .n_sessions = REPORT_MAX };

	t_fails(report_add(&r, FLP_STATUS_SESSION, &s, sizeof(s)), E2BIG);
}

static void one_degraded_job_is_enough(void)
{
	struct report r = { 0 };

	add_job(&r, 1, FLP_JOB_ACTIVE);
	t_assert(!report_degraded(&r));
	add_job(&r, 2, FLP_JOB_DEGRADED);
	t_assert(report_degraded(&r));
	report_done(&r);
	t_streq(job_state_name(99), "unknown");
}

/* ---- the summary ---- */

static char lines[2048];

static void keep_line(const char *line, void *ctx)
{
	size_t n = strlen(lines);

	t_assert(!strchr(line, '\n'));
	snprintf(lines + n, sizeof(lines) - n, "%s\n", line);
}

static void a_job_that_fitted_says_so_in_one_line(void)
{
	struct flp_status_job job = { .budget = 64 << 20, .c = { .resident_peak = 3 << 20 } };

	lines[0] = '\0';
	summary_format(&job, keep_line, NULL);
	t_streq(lines, "budget 64M, peak 3M, unmanaged 0; it fitted, nothing was taken out\n");
}

static void a_busy_job_tells_it_all(void)
{
	struct flp_status_job job = {
		.budget = 64 << 20, .state = FLP_JOB_DEGRADED, .reason = "swap is full\033",
		.c = {
			.resident_peak = 64 << 20, .unmanaged = 1 << 20,
			.faults = { 1, 2, 3, 4, 5, 6, 7, 8 },
			.evicted = 100, .evict_clean = 40, .evict_kept = 2, .refaults = 9,
			.prefetched = 50, .prefetch_used = 45, .compressed_in = 3000,
			.compressed_out = 1000, .swap_writes = 2 << 20, .swap_reads = 1 << 20,
			.checksum_errors = 1, .poisoned = 1, .fault_p50_ns = 6000,
			.fault_p99_ns = 27000, .fault_p999_ns = 59000,
		},
	};

	lines[0] = '\0';
	summary_format(&job, keep_line, NULL);
	t_streq(lines,
		"budget 64M, peak 64M, unmanaged 1M\n"
		"faults 23: zero 1, same 2, pool 3, swap 4, present 5; parked 6, waited for budget 7\n"
		"fault latency p50 6.00us, p99 27.0us, p99.9 59.0us\n"
		"evicted 100 pages, 40 of them clean; 2 returned; refaults 9; prefetched 50, "
		"45 of them used\n"
		"compressed 2.9K to 1000B (ratio 3.00)\n"
		"swap: 2M written, 1M read\n"
		"1 stored pages failed their checksum, 1 were poisoned\n"
		"degraded: swap is full\\033\n");
}

static const struct t_test tests[] = {
	T(sessions_are_found_by_job_in_order),
	T(many_records_are_kept),
	T(a_record_of_a_wrong_size_or_type_is_refused),
	T(a_daemon_that_never_ends_its_answer_is_stopped),
	T(one_degraded_job_is_enough),
	T(a_job_that_fitted_says_so_in_one_line),
	T(a_busy_job_tells_it_all),
	{0}
};

static const struct t_suite suites[] = { { "cli-report", tests }, {0} };

HARNESS_MAIN(suites)
