/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reclaim.h - taking pages out of one session: who goes, and the life of an eviction.
 *
 * reclaim.c tells it. Everything here runs on the session's home worker with the session's lock held,
 * but for what says otherwise. What is decided for whole jobs is in reclaimer.h.
 */
#ifndef FAULTLINE_DAEMON_RECLAIM_H
#define FAULTLINE_DAEMON_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "include/faultline-shared.h"

struct bo;
struct job;
struct session;
struct worker;

struct victim {			/* a run of pages, in the order in which they came in */
	uint32_t bo, index, n;
};

enum slot_state {
	SLOT_FREE,
	SLOT_EVICTING,		/* the agent has it */
	SLOT_RETURNING,		/* the agent has it: kept pages go back */
	SLOT_DROPPING,		/* the agent has it: kept pages are freed */
	SLOT_KEPT,		/* the daemon has it, pages wait for a RETURN or a DROP */
};

struct slot {			/* the daemon's own idea of a struct fls_slot */
	enum slot_state state;
	uint32_t n;
	uint64_t epoch;
	uint64_t left;		/* bit i: page i is not settled yet */
	uint64_t mask;		/* what RETURN or DROP was sent for */
	struct {
		uint64_t va;
		uint32_t bo, index;
	} page[FLS_SLOT_PAGES];
	uint64_t start, end;	/* addresses that it spans */
	uint64_t retry_ns;	/* KEPT: not before this */
};

#define RECLAIM_PAST	256u	/* events that can still be asked about */

struct reclaim {
	/* rings and epoch: ctl.c */
	uint32_t cmd_tail, rep_head;
	uint64_t epoch;
	struct {
		uint64_t epoch, start, end;
	} past[RECLAIM_PAST];

	bool lost;		/* some RESIDENT pages are not in the queue */
	struct victim *queue;	/* ring of cap entries, a power of two */
	uint32_t head, tail, cap;
	struct slot slot[FLS_SLOTS];
	uint32_t n_busy;	/* slots that are not FREE */
	uint32_t in_flight;	/* pages in EVICTING slots */

	bool library;		/* adopts by call only */
	bool refused;		/* the agent may not evict: a call was refused */
	int refused_error;	/* the last one */
	bool held;		/* quiesced for a fork */
	bool bring_back;	/* everything is to become resident: a fork, a release, a stop */
	bool fork_asked;	/* .. and the agent is to be told */
	uint64_t back_bo, back_index;	/* how far bringing back has come */
	uint64_t release_start, release_end;	/* .. of this range only; 0, 0: all */

	bool adopting;		/* ADOPT sent, no ADOPT_END yet */
	uint64_t adopt_ns, adopt_wait_ns;	/* when it ended; how long until the next */
	uint64_t adopt_unmanaged;	/* what was not managed then */

	uint32_t n_granted;	/* extents that the agent may still append to */
	bool wants_extent;
	uint32_t unmoved;	/* tries in a row that took nothing out */
	uint64_t resume_ns, pause_ns;	/* no victims before this; how long the next pause is */
	uint64_t retry_ns;	/* soonest time that a KEPT slot wants to be tried again; 0: none */
	uint64_t clean_above;	/* full extents are cleaned when more than this is dead: the last try
				 * won nothing */
	uint32_t n_io;		/* writes of the reclaimer that concern this session */
	bool drain;
};

int  reclaim_init(struct session *s);
void reclaim_fini(struct session *s);

void reclaim_added(struct session *s, struct bo *bo, uint32_t index, uint32_t n);	/* RESIDENT now */
void reclaim_cold(struct session *s, struct bo *bo, uint32_t index, uint32_t n);	/* .. first to go */
/* Take out what the job has too much of, as far as slots and extents allow. */
void reclaim_pick(struct session *s);
/* Drain the agent's reports and do what they ask for. Faults that waited become ready. */
void reclaim_reports(struct session *s);
/* KEPT slots that are due, extents that were not to be had, a fork's return of everything. */
void reclaim_continue(struct worker *w, struct session *s);
void reclaim_wanted(struct session *s, struct bo *bo, uint32_t index);	/* a LEAVING page was touched */
/* Is RAM so short that copies of what is resident are better dropped? */
bool reclaim_is_tight(const struct session *s);
/* Stored copies of resident pages die, newest first, until so many bytes did. Returns bytes. */
uint64_t reclaim_drop_copies(struct session *s, uint64_t bytes);
/* The pool's RAM, charged to the job. */
void reclaim_charge_pool(struct session *s);
/* Evict this range now (advice). */
void reclaim_range(struct session *s, uint64_t start, uint64_t end);

#endif
