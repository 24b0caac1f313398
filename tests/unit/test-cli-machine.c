/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-cli-machine.c - what a kernel must have, and what a person is told when it has not. */
#include <config.h>

#include <string.h>

#include "cli/cli.h"
#include "cli/machine.h"
#include "common/uffd-abi.h"
#include "tests/harness.h"

#define ENOUGH	(UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | \
		 UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_POISON | UFFD_FEATURE_MOVE)

static char error[CLI_ERROR_SIZE];

static struct machine machine(int device_error, int probe_error, uint64_t features)
{
	return (struct machine){
		.device = device_error ? -1 : 0,
		.device_error = device_error,
		.probe_error = probe_error,
		.features = features,
		.release = "5.15.0-test",
	};
}

static void says(enum machine_verdict verdict, const struct machine *m, bool service,
		 const char *word)
{
	error[0] = '\0';
	t_eq(machine_judge(m, service, error), verdict);
	if (!strstr(error, word))
		t_fail("'%s' does not say '%s'", error, word);
}

static void a_machine_that_has_it_all_is_fine(void)
{
	struct machine m = machine(0, 0, ENOUGH);

	says(MACHINE_OK, &m, false, "");
	m.features = UINT64_MAX;
	says(MACHINE_OK, &m, false, "");
}

static void each_missing_feature_is_named(void)
{
	static const struct { uint64_t bit; const char *name; } each[] = {
		{ UFFD_FEATURE_EVENT_REMAP, "EVENT_REMAP" },
		{ UFFD_FEATURE_EVENT_REMOVE, "EVENT_REMOVE" },
		{ UFFD_FEATURE_EVENT_UNMAP, "EVENT_UNMAP" },
		{ UFFD_FEATURE_THREAD_ID, "THREAD_ID" },
		{ UFFD_FEATURE_POISON, "POISON" },
		{ UFFD_FEATURE_MOVE, "MOVE" },
	};

	for (size_t i = 0; i < 6; i++) {
		struct machine m = machine(0, 0, ENOUGH & ~each[i].bit);
		char names[128];

		t_eq(machine_missing(m.features), each[i].bit);
		machine_names(each[i].bit, names, sizeof(names));
		t_streq(names, each[i].name);
		says(MACHINE_OLD_KERNEL, &m, true, each[i].name);
		says(MACHINE_OLD_KERNEL, &m, true, "5.15.0-test");
		says(MACHINE_OLD_KERNEL, &m, true, "Linux 6.8");
	}
}

static void all_missing_features_fit_in_the_line(void)
{
	struct machine m = machine(0, 0, 0);

	says(MACHINE_OLD_KERNEL, &m, false,
	     "EVENT_REMAP, EVENT_REMOVE, EVENT_UNMAP, THREAD_ID, POISON, MOVE");
}

static void the_device_need_not_be_ours_when_a_service_answers(void)
{
	struct machine m = machine(EACCES, 0, ENOUGH);

	says(MACHINE_OK, &m, true, "");
	says(MACHINE_NO_ACCESS, &m, false, "chgrp GROUP /dev/userfaultfd");
	m.device_error = ENOENT;
	says(MACHINE_NO_ACCESS, &m, false, "there is no /dev/userfaultfd");
}

static void an_old_kernel_is_named_before_a_missing_right(void)
{
	struct machine m = machine(EACCES, 0, ENOUGH & ~(uint64_t)UFFD_FEATURE_MOVE);

	says(MACHINE_OLD_KERNEL, &m, false, "MOVE");
	m = machine(ENOENT, ENOSYS, 0);
	says(MACHINE_OLD_KERNEL, &m, true, "no userfaultfd");
}

static void a_sandbox_that_forbids_asking_is_not_an_old_kernel(void)
{
	struct machine m = machine(EACCES, EPERM, 0);

	says(MACHINE_OK, &m, true, "");
	says(MACHINE_NO_ACCESS, &m, false, "Permission denied");
}

static void looking_at_this_machine_leaves_nothing_behind(void)
{
	struct machine m = MACHINE_NONE;

	machine_look(&m);
	t_assert(m.release[0]);
	t_assert((m.device >= 0) == !m.device_error);
	t_assert(m.probe_error || m.features);
	machine_done(&m);
	machine_done(&m);
	t_eq(m.device, -1);
}

static const struct t_test tests[] = {
	T(a_machine_that_has_it_all_is_fine),
	T(each_missing_feature_is_named),
	T(all_missing_features_fit_in_the_line),
	T(the_device_need_not_be_ours_when_a_service_answers),
	T(an_old_kernel_is_named_before_a_missing_right),
	T(a_sandbox_that_forbids_asking_is_not_an_old_kernel),
	T(looking_at_this_machine_leaves_nothing_behind),
	{0}
};

static const struct t_suite suites[] = { { "cli-machine", tests }, {0} };

HARNESS_MAIN(suites)
