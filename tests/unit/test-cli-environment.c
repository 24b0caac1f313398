/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-cli-environment.c - LD_PRELOAD and the job's variables. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/environment.h"
#include "tests/harness.h"

#define LIBRARY "/l/faultline-preload.so"

static void becomes(char *(*edit)(const char *old, const char *library), const char *old,
		    const char *expected)
{
	char *list = edit(old, LIBRARY);

	t_assert(list);
	t_streq(list, expected);
	free(list);
}

static void the_library_comes_first_and_once(void)
{
	becomes(preload_with, NULL, LIBRARY);
	becomes(preload_with, "", LIBRARY);
	becomes(preload_with, "/a.so", LIBRARY ":/a.so");
	becomes(preload_with, LIBRARY, LIBRARY);
	becomes(preload_with, "/a.so:" LIBRARY " b.so::", LIBRARY ":/a.so:b.so");
	becomes(preload_with, LIBRARY "x", LIBRARY ":" LIBRARY "x");
}

static void the_library_can_be_taken_out(void)
{
	becomes(preload_without, LIBRARY, "");
	becomes(preload_without, "/a.so " LIBRARY ":b.so", "/a.so:b.so");
	becomes(preload_without, "", "");
}

static void a_job_has_its_variables(void)
{
	uint8_t token[FLP_TOKEN_SIZE] = { 0x00, 0x1f, 0xff, [15] = 0xa0 };

	setenv("LD_PRELOAD", "/a.so", 1);
	t_ok(environment_for_job("/s", token, LIBRARY));
	t_streq(getenv("FAULTLINE_SOCKET"), "/s");
	t_streq(getenv("FAULTLINE_JOB"), "001fff000000000000000000000000a0");
	t_streq(getenv("LD_PRELOAD"), LIBRARY ":/a.so");
}

static void a_private_daemon_has_none_of_them(void)
{
	setenv("FAULTLINE_PRELOAD", LIBRARY, 1);
	setenv("FAULTLINE_SOCKET", "/s", 1);
	setenv("FAULTLINE_JOB", "00", 1);
	setenv("NOTIFY_SOCKET", "/n", 1);
	setenv("LD_PRELOAD", LIBRARY ":/a.so", 1);
	environment_for_daemon();
	t_assert(!getenv("FAULTLINE_SOCKET") && !getenv("FAULTLINE_JOB") && !getenv("NOTIFY_SOCKET"));
	t_streq(getenv("LD_PRELOAD"), "/a.so");
	setenv("LD_PRELOAD", LIBRARY, 1);
	environment_for_daemon();
	t_assert(!getenv("LD_PRELOAD"));
}

static void a_library_that_cannot_be_preloaded_is_refused(void)
{
	char error[CLI_ERROR_SIZE];

	t_fails(environment_check_library("/with space.so", error), EINVAL);
	t_fails(environment_check_library("/a:b.so", error), EINVAL);
	t_fails(environment_check_library("relative.so", error), EINVAL);
	t_fails(environment_check_library("/nonexistent.so", error), ENOENT);
	t_assert(strstr(error, "/nonexistent.so"));
	t_ok(environment_check_library("/proc/self/exe", error));
}

static void the_installed_library_is_the_default(void)
{
	unsetenv("FAULTLINE_PRELOAD");
	t_streq(environment_library(), PKGLIBDIR "/faultline-preload.so");
	setenv("FAULTLINE_PRELOAD", LIBRARY, 1);
	t_streq(environment_library(), LIBRARY);
}

static const struct t_test tests[] = {
	T(the_library_comes_first_and_once),
	T(the_library_can_be_taken_out),
	T(a_job_has_its_variables),
	T(a_private_daemon_has_none_of_them),
	T(a_library_that_cannot_be_preloaded_is_refused),
	T(the_installed_library_is_the_default),
	{0}
};

static const struct t_suite suites[] = { { "cli-environment", tests }, {0} };

HARNESS_MAIN(suites)
