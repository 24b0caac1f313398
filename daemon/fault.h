/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault.h - from a fault event to a page that is there. fault.c tells the life of one.
 *
 * All of it runs on the session's home worker.
 */
#ifndef FAULTLINE_DAEMON_FAULT_H
#define FAULTLINE_DAEMON_FAULT_H

#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "daemon/resv.h"

struct bo;
struct session;
struct worker;

/* A fault that could not be answered at once: it holds nothing and costs no CPU. */
struct fault {
	uint64_t va;			/* of the page */
	uint32_t tid;			/* of the thread, as its client knows it */
	bool write;
	uint8_t tries;			/* how often it found its bo reserved */
	bool parked, waited_budget;	/* ... once: it has been counted */
	bool on_queue;			/* queued stands in the reservation's queue, or holds it */
	uint64_t read_ns;		/* when its event was read */
	uint32_t queue_bo;		/* .. of this bo */
	struct resv_request queued;	/* its place in the reservation's queue, from the second try */
	TAILQ_ENTRY(fault) link;
};
TAILQ_HEAD(fault_list, fault);

/* A run of faults at a constant distance. */
struct stream {
	uint32_t bo;
	uint32_t last;			/* page that faulted last */
	uint32_t next;			/* first page behind what was brought in for it */
	int32_t stride;			/* in pages; 0: not known yet */
	uint16_t window;		/* pages to bring in */
	uint16_t hits;
	uint16_t brought;		/* pages of the last window */
	uint32_t used;			/* tick */
};
#define FAULT_STREAMS	16
#define FAULT_BUCKETS	64

struct faults {
	struct fault_list parked[FAULT_BUCKETS];	/* by page: it is FILLING or LEAVING */
	struct fault_list reserved;	/* their bo is reserved by somebody */
	struct fault_list budget;	/* the job is at its limit */
	struct fault_list deferred;	/* the kernel said EAGAIN: an event is on its way */
	struct fault_list ready;	/* what they waited for has come */
	bool broken;			/* an event could not be applied: nothing is answered */
	uint32_t n_reads;		/* swap reads in flight */
	uint64_t retry_ns;		/* when to try the deferred again; 0: none */
	uint32_t backoff_us;
	struct stream stream[FAULT_STREAMS];
	uint32_t tick;
	uint16_t cpu_votes;		/* faults until the next look at where the threads run */
};

void faults_init(struct faults *f);
void faults_fini(struct session *s);		/* forgets those that wait: the client is gone */

/* The userfaultfd is readable: read a batch, apply its events, answer its faults. */
void fault_serve(struct worker *w, struct session *s);
/* f waits until its page leaves FILLING or LEAVING. lock held. */
void fault_park(struct session *s, struct fault *f);
/* A page has left FILLING or LEAVING: what was parked on it becomes ready. lock held. */
void fault_page_settled(struct session *s, struct bo *bo, uint32_t index);
/* Run what is ready: parked faults, those that waited for budget or reservation, the deferred that are
 * due. lock held; dropped while pages are filled. */
void fault_run_ready(struct worker *w, struct session *s);
/* Bring in up to most pages of bo from index on that are STORED; *ret_next: where to go on. lock held,
 * dropped meanwhile. Returns pages brought in or under way; 0 at the end of bo. */
uint32_t fault_bring_in(struct worker *w, struct session *s, struct bo *bo, uint64_t index,
			uint32_t most, uint64_t *ret_next);

#endif
