/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cost.h - what a running job really takes of the machine, as the kernel counts it. See cost.c.
 */
#ifndef FAULTLINE_TESTS_COST_H
#define FAULTLINE_TESTS_COST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes. As a sample: at one moment. As a peak: each at its own highest. */
struct cost {
	uint64_t anon;			/* RssAnon of the programs: not of faultline, faultlined */
	uint64_t pool;			/* RAM behind the pool's memfd */
	uint64_t total;			/* anon + pool, what a budget bounds */
	uint64_t swap;			/* room that the swap file takes on its file system */
	uint64_t daemon;		/* RssAnon of faultlined, and its other memfds */
	uint64_t samples;
};

/* Add to peak what the tree of processes below root, root included, takes now. */
void cost_sample(pid_t root, struct cost *peak);

/*
 * Sample until root, a child of the caller, has ended; then its wait status. Processes that
 * outlive root are not waited for. look, when it is given, sees each sample.
 */
int cost_watch(pid_t root, int interval_ms, void (*look)(const struct cost *now),
	       struct cost *ret_peak, int *ret_status);

#endif
