/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * protocol-rate.c - a job that discards memory all the time goes on evicting.
 *
 * Each discard raises the epoch. Slots that it does not touch are stamped anew; without that, each
 * discard calls off all that is on its way out. So: how many pages leave while a thread changes what is
 * twice the budget, page after page at a steady pace, and how many when another thread discards elsewhere
 * ten thousand times a second? Only what is measured in one run is compared; the pace is one that a busy
 * machine keeps up as well.
 */
#include <config.h>

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/functional/gated.h"
#include "tests/harness.h"

#define BUDGET		(UINT64_C(32) << 20)
#define PAGES		(2 * BUDGET / PAGE)
#define PACE		1000u		/* pages that are changed in a second */
#define DISCARDS	10000u		/* a second */
#define SECONDS		3u

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Sleep until the nth of so many a second is due. False: that is after the end. */
static bool wait_turn(uint64_t start, uint64_t n, uint64_t rate, uint64_t seconds)
{
	uint64_t due = start + n * 1000000000 / rate;
	struct timespec ts = {
		.tv_sec = (time_t)(due / 1000000000), .tv_nsec = (long)(due % 1000000000),
	};

	if (n == rate * seconds || now_ns() > start + seconds * 1000000000)
		return false;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	return true;
}

/* Change a word of one page after the other; go on where it stopped. */
static uint64_t step_write_through(uint64_t va, uint64_t pages, uint64_t rate, uint64_t seconds)
{
	static uint64_t at;
	uint64_t start = now_ns(), n;

	for (n = 0; wait_turn(start, n, rate, seconds); n++)
		step_write(va + at++ % pages * PAGE, n, 0, 0);
	return n;
}

static uint64_t step_discard_often(uint64_t va, uint64_t rate, uint64_t seconds, uint64_t d)
{
	uint64_t start = now_ns(), n;

	for (n = 0; wait_turn(start, n, rate, seconds); n++)
		step_discard(va, PAGE, 0, 0);
	return n;
}

struct rate {
	uint64_t evicted, called_off;	/* pages */
};

static struct rate rate_of_a_while(uint64_t va)
{
	struct flp_counters before = counters(), after;
	struct rate r;

	act(A, step_write_through, va, PAGES, PACE, SECONDS);
	after = counters();
	r.evicted = after.evicted - before.evicted;
	r.called_off = after.evict_kept - before.evict_kept;
	t_note("%d pages evicted, %d called off", (int)r.evicted, (int)r.called_off);
	return r;
}

static void measure(struct rate *ret_alone, struct rate *ret_disturbed)
{
	uint64_t va = fresh(PAGES, 1), elsewhere = fresh(1, 2);

	rate_of_a_while(va);			/* what the filling left behind */
	*ret_alone = rate_of_a_while(va);
	begin(B, step_discard_often, elsewhere, DISCARDS, SECONDS, 0);
	*ret_disturbed = rate_of_a_while(va);
	t_note("%d discards", (int)end(B));
	t_gt(ret_alone->evicted, 1000);
}

static void a_job_that_discards_goes_on_evicting(void)
{
	struct rate alone, disturbed;

	gated_start(&(struct gated){ .budget = BUDGET });
	measure(&alone, &disturbed);
	t_ge(disturbed.evicted * 100 / alone.evicted, 70);
	t_lt(disturbed.called_off, disturbed.evicted);
	gated_stop();
}

static void without_new_stamps_most_is_called_off(void)
{
	struct rate alone, disturbed;

	gated_start(&(struct gated){ .budget = BUDGET });
	rule_off(RULE_RESTAMP);
	measure(&alone, &disturbed);
	t_gt(disturbed.called_off, disturbed.evicted);
	gated_stop();
}

static const struct t_test tests[] = {
	T_TIMEOUT(a_job_that_discards_goes_on_evicting, 60),
	T_TIMEOUT(without_new_stamps_most_is_called_off, 60),
	{0}
};

static const struct t_suite suites[] = { { "protocol-rate", tests }, {0} };

HARNESS_MAIN(suites)
