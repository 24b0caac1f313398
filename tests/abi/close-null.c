/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* close-null.c - no call crashes on NULL: frees do nothing, the others say -EINVAL. */
#include <config.h>

#include "include/faultline.h"
#include "tests/harness.h"

static void freeing_null_does_nothing(void)
{
	faultline_free(NULL);
}

static void a_context_that_is_null_is_refused(void)
{
	struct faultline_region *region = NULL;
	struct faultline_stat stat = { .size = sizeof(stat) };
	static char page[4096];

	t_fails(faultline_new(NULL), EINVAL);
	t_fails(faultline_set_socket(NULL, "/socket"), EINVAL);
	t_fails(faultline_set_job(NULL, "0123456789abcdef0123456789abcdef"), EINVAL);
	t_fails(faultline_connect(NULL), EINVAL);
	t_fails(faultline_region_adopt(NULL, page, sizeof(page), 0, &region), EINVAL);
	t_fails(faultline_stat(NULL, &stat), EINVAL);
	t_assert(faultline_error(NULL));
	t_assert(!region);
}

static void a_region_that_is_null_is_refused(void)
{
	struct faultline_region_stat stat = { .size = sizeof(stat) };

	t_fails(faultline_region_release(NULL), EINVAL);
	t_fails(faultline_region_advise(NULL, 0, 4096, FAULTLINE_ADVICE_NORMAL), EINVAL);
	t_fails(faultline_region_stat(NULL, &stat), EINVAL);
	t_fails(faultline_region_reserve(NULL), EINVAL);
	t_fails(faultline_region_try_reserve(NULL), EINVAL);
	t_fails(faultline_region_reserve_timed(NULL, 0), EINVAL);
	t_fails(faultline_region_unreserve(NULL), EINVAL);
	t_fails(faultline_region_wait_unreserved(NULL, 0), EINVAL);
}

static const struct t_test tests[] = {
	T(freeing_null_does_nothing),
	T(a_context_that_is_null_is_refused),
	T(a_region_that_is_null_is_refused),
	{0}
};

static const struct t_suite suites[] = { { "close-null", tests }, {0} };

HARNESS_MAIN(suites)
