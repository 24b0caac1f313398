/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-align.c - arithmetic that must not go wrong, and locals that release themselves. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "tests/harness.h"

static void rounding_goes_to_whole_pages(void)
{
	t_eq(page_down(4095), 0);
	t_eq(page_down(4096), 4096);
	t_eq(page_up(1), 4096);
	t_eq(page_up(4096), 4096);
	t_eq(page_up(0), 0);
	t_eq(round_up_to(17, 8), 24);
	t_eq(round_down_to(17, 8), 16);
	t_assert(is_power_of_two(1) && is_power_of_two(UINT64_C(1) << 63));
	t_assert(!is_power_of_two(0) && !is_power_of_two(6));
}

static void checked_sums_leave_the_result_alone_when_they_overflow(void)
{
	uint64_t v = 7;

	t_assert(add_checked(UINT64_MAX - 1, 1, &v));
	t_assert(v == UINT64_MAX);
	t_assert(!add_checked(UINT64_MAX, 1, &v));
	t_assert(v == UINT64_MAX);
	t_assert(!mul_checked(UINT64_C(1) << 32, UINT64_C(1) << 32, &v));
	t_assert(v == UINT64_MAX);
	t_assert(mul_checked(3, 5, &v));
	t_eq(v, 15);
}

static void page_range_is_whole_not_empty_and_ends(void)
{
	t_assert(page_range_ok(0x1000, 0x2000));
	t_assert(!page_range_ok(0x1000, 0));
	t_assert(!page_range_ok(0x1001, 0x1000));
	t_assert(!page_range_ok(0x1000, 0x1001));
	t_assert(!page_range_ok(UINT64_MAX & ~FL_PAGE_MASK, 0x1000));
	t_assert(page_range_ok((UINT64_MAX & ~FL_PAGE_MASK) - 0x1000, 0x1000));
}

static int n_called;

static int counted(int v)
{
	n_called++;
	return v;
}

static void min_and_max_evaluate_once_and_nest(void)
{
	t_eq(min(counted(3), max(counted(1), counted(2))), 2);
	t_eq(n_called, 3);
}

struct outer {
	int a;
	long inner;
};

static void container_is_found_from_its_member(void)
{
	struct outer o;
	int array[5];

	t_assert(container_of(&o.inner, struct outer, inner) == &o);
	t_eq(ARRAY_SIZE(array), 5);
}

static int n_freed;
struct thing { int x; };

static void thing_free(struct thing *t)
{
	n_freed++;
	errno = EIO;
}
DEFINE_CLEANUP(struct thing *, thing_free);

static void locals_are_released_unless_stolen(void)
{
	struct thing thing, *kept;

	errno = ENOENT;
	{
		_cleanup_(thing_freep) struct thing *t = &thing;
		_cleanup_(thing_freep) struct thing *none = NULL;

		t_assert(t && !none);
	}
	t_eq(n_freed, 1);
	t_eq(errno, ENOENT);
	{
		_cleanup_(thing_freep) struct thing *t = &thing;

		kept = steal_ptr(&t);
		t_assert(!t);
	}
	t_assert(kept == &thing);
	t_eq(n_freed, 1);
}

static void descriptors_are_closed_unless_stolen(void)
{
	int number, kept;

	{
		_cleanup_close_ int fd = t_sys(open("/dev/null", O_RDONLY | O_CLOEXEC));
		_cleanup_close_ int none = -1;

		number = fd;
		t_eq(none, -1);
	}
	t_eq(fcntl(number, F_GETFD), -1);
	{
		_cleanup_close_ int fd = t_sys(open("/dev/null", O_RDONLY | O_CLOEXEC));

		kept = steal_fd(&fd);
		t_eq(fd, -1);
	}
	t_sys(fcntl(kept, F_GETFD));
	close_fd(&kept);
	t_eq(kept, -1);
	close_fd(&kept);
}

static const struct t_test tests[] = {
	T(rounding_goes_to_whole_pages),
	T(checked_sums_leave_the_result_alone_when_they_overflow),
	T(page_range_is_whole_not_empty_and_ends),
	T(min_and_max_evaluate_once_and_nest),
	T(container_is_found_from_its_member),
	T(locals_are_released_unless_stolen),
	T(descriptors_are_closed_unless_stolen),
	{0}
};

static const struct t_suite suites[] = { { "align", tests }, {0} };

HARNESS_MAIN(suites)
