/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hammer.c - ten million increments of counters in memory four times the budget: none is lost.
 *
 * client-hammer.c increments and compares; here it gets its budget, and it is seen that pages really left.
 */
#include <config.h>

#include <stdio.h>
#include <sys/wait.h>

#include "tests/functional/in-job.h"
#include "tests/harness.h"

#define MIB	(UINT64_C(1) << 20)

static void hammer(const struct flp_job_create *job, const char *increments, uint64_t least)
{
	char mib[32], seed[32], text[256], must[64];
	const char *const argv[] = { "client-hammer", mib, "4", increments, seed, NULL };
	struct test_daemon d;
	struct flp_counters c;
	struct in_job p;
	int status;

	snprintf(mib, sizeof(mib), "%d", (int)(4 * job->budget / MIB));
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)t_seed());
	snprintf(must, sizeof(must), "increments %s lost 0\n", increments);
	daemon_start(&d, job);
	in_job_start(&p, &d, argv);
	in_job_read(&p, text, sizeof(text));
	status = in_job_wait(&p, 10);
	c = daemon_status(&d).c;
	t_note("%d pages evicted, %d refaults", (int)c.evicted, (int)c.refaults);
	t_streq(text, must);
	t_eq(status, 0);
	t_gt(c.evicted, least);
	t_gt(c.refaults, least);
	t_eq(c.poisoned, 0);
	daemon_stop(&d);
}

static void no_increment_is_lost(void)
{
	struct flp_job_create job = daemon_job(16 * MIB);

	job.flags = FLP_JOB_NO_SWAP;
	job.swap_max = 0;
	job.pool_max = 12 * MIB;
	hammer(&job, "10000000", 100000);
}

/* A pool that holds a fraction of it: most goes to the swap file and comes from there. */
static void no_increment_is_lost_through_the_swap_file(void)
{
	struct flp_job_create job = daemon_job(16 * MIB);

	job.pool_max = 4 * MIB;
	hammer(&job, "1280000", 20000);
}

static const struct t_test tests[] = {
	T_TIMEOUT(no_increment_is_lost, 120),
	T_TIMEOUT(no_increment_is_lost_through_the_swap_file, 120),
	{0}
};

static const struct t_suite suites[] = { { "hammer", tests }, {0} };

HARNESS_MAIN(suites)
