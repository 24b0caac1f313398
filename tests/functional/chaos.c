/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chaos.c - threads that unmap, map anew, move, grow, discard and protect memory while it is evicted.
 *
 * client-chaos.c does it and knows what every word must be. Ten seconds; a minute with FAULTLINE_SOAK
 * (make soak). The seed is printed, FAULTLINE_TEST_SEED replays its deeds.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/functional/in-job.h"
#include "tests/harness.h"

#define MIB	(UINT64_C(1) << 20)

static void chaos(const struct flp_job_create *job, const char *threads, const char *pressure)
{
	const char *seconds = getenv("FAULTLINE_SOAK") ? "60" : "5";
	char seed[32], text[256];
	const char *const argv[] = { "client-chaos", seconds, threads, pressure, seed, NULL };
	unsigned long long rounds = 0, bad = 1;
	struct test_daemon d;
	struct flp_counters c;
	struct in_job p;
	int status;

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)t_seed());
	daemon_start(&d, job);
	in_job_start(&p, &d, argv);
	in_job_read(&p, text, sizeof(text));
	status = in_job_wait(&p, 10);
	c = daemon_status(&d).c;
	t_note("%s%d pages evicted, %d tries called off", text, (int)c.evicted, (int)c.evict_kept);
	t_eq(status, 0);
	t_eq(sscanf(text, "rounds %llu bad %llu", &rounds, &bad), 2);
	t_eq(bad, 0);
	t_gt(rounds, 10);
	t_gt(c.evicted, 1000);
	t_eq(c.poisoned, 0);
	daemon_stop(&d);
}

static void every_word_is_what_it_must_be(void)
{
	struct flp_job_create job = daemon_job(32 * MIB);

	job.flags = FLP_JOB_NO_SWAP;
	job.swap_max = 0;
	chaos(&job, "2", "24");
}

static void every_word_is_what_it_must_be_with_a_swap_file(void)
{
	struct flp_job_create job = daemon_job(24 * MIB);

	job.pool_max = 4 * MIB;
	chaos(&job, "3", "24");
}

static const struct t_test tests[] = {
	T_TIMEOUT(every_word_is_what_it_must_be, 120),
	T_TIMEOUT(every_word_is_what_it_must_be_with_a_swap_file, 120),
	{0}
};

static const struct t_suite suites[] = { { "chaos", tests }, {0} };

HARNESS_MAIN(suites)
