/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * slice.h - a thread that works in short bursts asks for a short time slice.
 *
 * Since Linux 6.12 the scheduler takes the wish for a slice of an ordinary thread (sched_attr.runtime):
 * a shorter one has an earlier deadline, so that the thread runs soon after it was woken. It takes no
 * privilege, and gives no more CPU time. Elsewhere the call changes nothing.
 */
#ifndef FAULTLINE_COMMON_SLICE_H
#define FAULTLINE_COMMON_SLICE_H

#include <stdint.h>

#define SLICE_NS	100000u		/* the shortest that there is */

struct slice_attr {			/* the kernel's struct sched_attr, first version */
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};
#define SLICE_ATTR	{ .size = sizeof(struct slice_attr), .runtime = SLICE_NS }

#endif
