/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hist.c - how long things took: a histogram of nanoseconds.
 *
 * Log-linear: values below HIST_SUB have a bucket each, and every power of two above is cut
 * into HIST_SUB buckets of equal width. So a quantile is at most one sub-bucket, 1/16 of the
 * value, too high, from nanoseconds to minutes, in a fixed 4.6 KiB.
 *
 * Any thread may add; the counters are relaxed atomics, and nothing else is shared. A reader
 * sees a sum that was true for each bucket at some moment, which is enough for statistics.
 */
#include <config.h>

#include <stdint.h>

#include "common/hist.h"

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int exponent;

	if (ns < HIST_SUB)
		return (unsigned int)ns;
	if (ns >> HIST_MAX_BITS)
		return HIST_BUCKETS - 1;

	exponent = 63u - (unsigned int)__builtin_clzll(ns);	/* >= HIST_SUB_BITS */
	return (exponent - HIST_SUB_BITS + 1) * HIST_SUB +
	       (unsigned int)(ns >> (exponent - HIST_SUB_BITS)) % HIST_SUB;
}

/* The largest value that belongs in bucket i. */
static uint64_t bucket_end(unsigned int i)
{
	unsigned int octave = i / HIST_SUB;

	if (!octave)
		return i;
	return ((uint64_t)(HIST_SUB + i % HIST_SUB + 1) << (octave - 1)) - 1;
}

static uint64_t load(const struct hist *h, unsigned int i)
{
	return __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED);
}

void hist_add(struct hist *h, uint64_t ns)
{
	__atomic_fetch_add(&h->bucket[bucket_of(ns)], 1, __ATOMIC_RELAXED);
}

void hist_merge(struct hist *into, const struct hist *from)
{
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = load(from, i);

		if (n)
			__atomic_fetch_add(&into->bucket[i], n, __ATOMIC_RELAXED);
	}
}

void hist_reset(struct hist *h)
{
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		__atomic_store_n(&h->bucket[i], 0, __ATOMIC_RELAXED);
}

uint64_t hist_count(const struct hist *h)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		n += load(h, i);
	return n;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t total = hist_count(h), sum = 0, rank;
	unsigned int last = 0;

	if (!total)
		return 0;

	/* The rank-th smallest, counted from 1; adds that happen meanwhile only raise the sums. */
	rank = q <= 0 ? 1 : q >= 1 ? total : (uint64_t)(q * (double)total);
	if ((double)rank < q * (double)total)
		rank++;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = load(h, i);

		if (!n)
			continue;
		last = i;
		sum += n;
		if (sum >= rank)
			break;
	}
	return bucket_end(last);
}
