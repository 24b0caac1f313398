/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kernel-access.c - memory that the kernel reads and writes for a program: out when it is touched, or
 * pinned when it is wanted out.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "tests/functional/in-job.h"
#include "tests/harness.h"

#define MIB	(UINT64_C(1) << 20)

static void the_kernel_finds_and_leaves_what_it_must(void)
{
	static const char *const names[] = {
		"read-write", "vectors", "direct", "pipe", "fixed", "fixed-direct",
	};
	const char *const argv[] = { "client-kernel", t_tmpdir(), "16", NULL };
	struct flp_job_create job = daemon_job(16 * MIB);
	struct test_daemon d;
	struct in_job p;
	char line[256];

	daemon_start(&d, &job);
	in_job_start(&p, &d, argv);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct flp_counters c;
		size_t n = strlen(names[i]);

		in_job_line(&p, line, sizeof(line));
		c = daemon_status(&d).c;
		t_note("%s; %d pages evicted, %d tries called off", line, (int)c.evicted, (int)c.evict_kept);
		t_assert(!strncmp(line, names[i], n) && line[n] == ' ');
		if (strcmp(line + n, " ok") && strncmp(line + n, " skipped: ", 10))
			t_fail("%s", line);
		t_gt(c.refaults, 1000 * (i + 1));
	}
	t_eq(in_job_wait(&p, 10), 0);
	t_eq(daemon_status(&d).c.poisoned, 0);
	daemon_stop(&d);
}

static const struct t_test tests[] = {
	T_TIMEOUT(the_kernel_finds_and_leaves_what_it_must, 120),
	{0}
};

static const struct t_suite suites[] = { { "kernel-access", tests }, {0} };

HARNESS_MAIN(suites)
