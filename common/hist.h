/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hist.h - how long things took: a histogram of nanoseconds. See hist.c. */
#ifndef FAULTLINE_COMMON_HIST_H
#define FAULTLINE_COMMON_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS	4			/* 16 buckets per power of two: 6 % wide */
#define HIST_SUB	(1u << HIST_SUB_BITS)
#define HIST_MAX_BITS	40			/* 2^40 ns, 18 minutes; longer counts as that */
#define HIST_BUCKETS	((HIST_MAX_BITS - HIST_SUB_BITS + 1) * HIST_SUB)

/* All zero is an empty one. */
struct hist {
	uint64_t bucket[HIST_BUCKETS];		/* relaxed atomics */
};

void hist_add(struct hist *h, uint64_t ns);		/* any thread */
void hist_merge(struct hist *into, const struct hist *from);
void hist_reset(struct hist *h);
uint64_t hist_count(const struct hist *h);
/* The value that the share q (0 to 1) of all is not above: the upper end of its bucket. 0: empty. */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
