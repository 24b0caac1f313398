/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-hist.c - the histogram of nanoseconds. */
#include <config.h>

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "common/hist.h"
#include "tests/harness.h"

static struct hist h;

static void empty_one_says_zero(void)
{
	t_eq(hist_count(&h), 0);
	t_eq(hist_quantile(&h, 0.5), 0);
}

static void small_values_are_exact(void)
{
	for (uint64_t i = 0; i < 16; i++)
		hist_add(&h, i);
	t_eq(hist_quantile(&h, 0), 0);
	t_eq(hist_quantile(&h, 0.5), 7);
	t_eq(hist_quantile(&h, 1), 15);
}

/* For values all over the range: never below, and at most a sixteenth above. */
static void quantile_is_within_a_sixteenth(void)
{
	for (unsigned int bit = 0; bit < HIST_MAX_BITS; bit++) {
		uint64_t base = UINT64_C(1) << bit;
		const uint64_t values[] = { base, base + base / 3, base + base / 2, 2 * base - 1 };

		for (unsigned int i = 0; i < 4; i++) {
			uint64_t q;

			hist_reset(&h);
			hist_add(&h, values[i]);
			q = hist_quantile(&h, 0.5);
			t_ge(q, values[i]);
			t_le(q, values[i] + values[i] / 16);
		}
	}
}

static void too_long_counts_as_the_longest(void)
{
	hist_add(&h, UINT64_MAX);
	hist_add(&h, UINT64_C(1) << HIST_MAX_BITS);
	t_eq(hist_count(&h), 2);
	t_eq(hist_quantile(&h, 1), (UINT64_C(1) << HIST_MAX_BITS) - 1);
}

static void tail_shows_in_high_quantiles_only(void)
{
	for (int i = 0; i < 998; i++)
		hist_add(&h, 10);
	hist_add(&h, 1000000);
	hist_add(&h, 1000000);
	t_eq(hist_quantile(&h, 0.5), 10);
	t_eq(hist_quantile(&h, 0.998), 10);
	t_ge(hist_quantile(&h, 0.999), 1000000);
	t_ge(hist_quantile(&h, 1), 1000000);
}

static void merge_adds_up(void)
{
	static struct hist other;

	hist_add(&h, 1);
	hist_add(&other, 1);
	hist_add(&other, 5000);
	hist_merge(&h, &other);
	t_eq(hist_count(&h), 3);
	t_eq(hist_count(&other), 2);
	t_eq(hist_quantile(&h, 0.6), 1);
	hist_reset(&h);
	t_eq(hist_count(&h), 0);
}

static void *add_many(void *arg)
{
	for (uint64_t i = 0; i < 50000; i++)
		hist_add(&h, i);
	return NULL;
}

static void adds_from_several_threads_all_count(void)
{
	pthread_t t[3];

	for (int i = 0; i < 3; i++)
		t_eq(pthread_create(&t[i], NULL, add_many, NULL), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	t_eq(hist_count(&h), 150000);
}

static const struct t_test tests[] = {
	T(empty_one_says_zero),
	T(small_values_are_exact),
	T(quantile_is_within_a_sixteenth),
	T(too_long_counts_as_the_longest),
	T(tail_shows_in_high_quantiles_only),
	T(merge_adds_up),
	T(adds_from_several_threads_all_count),
	{0}
};

static const struct t_suite suites[] = { { "hist", tests }, {0} };

HARNESS_MAIN(suites)
