/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * gated.h - a daemon, an agent and a client whose every step the test decides.
 *
 * The daemon is tests/faultlined-hooked. The client is a process forked from the test, with the hooked
 * agent linked in, and actors: threads that each do one step at a time, when the test says so. What is
 * managed is what a step adopts, and nothing is evicted but what the test names: the budget is large. So
 * a test is a script:
 *
 *	gated_start(&(struct gated){ 0 });
 *	va = fresh(4);					memory of the client, adopted, filled
 *	hold(GATE_AGENT_AFTER_MOVE);			the agent is to wait there
 *	evict(va, 4);
 *	wait_held(GATE_AGENT_AFTER_MOVE);
 *	begin(B, step_discard, va, 4 * PAGE, 0, 0);	.. while thread B discards the pages
 *	end(B);
 *	let_go(GATE_AGENT_AFTER_MOVE);
 *
 * Every wait has an end: what does not come fails the test, and the client and the daemon are killed.
 */
#ifndef FAULTLINE_TESTS_GATED_H
#define FAULTLINE_TESTS_GATED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/gate.h"
#include "tests/util-daemon.h"

#define PAGE		UINT64_C(4096)
#define GONE		(UINT64_MAX - 1)	/* result of a step: SIGBUS or SIGSEGV */

enum { A, B, C, D, N_ACTORS };

struct gated {
	bool swap;			/* a small pool: what leaves goes on to a swap file */
	uint64_t budget;		/* 0: 256 MiB */
};

extern struct test_daemon the_daemon;
extern pid_t the_client;

void gated_start(const struct gated *how);
void gated_stop(void);			/* client and daemon are killed; their gates need not be open */

/* ---- gates ---- */

void hold(enum gate_id id);		/* the next who comes there */
bool is_held(enum gate_id id);		/* as many have come as were to be held */
void wait_held(enum gate_id id);
void let_go(enum gate_id id);		/* the first who is held */
void rule_off(enum rule_id id);

/* ---- actors ---- */

typedef uint64_t step_fn(uint64_t a, uint64_t b, uint64_t c, uint64_t d);

void begin(unsigned int actor, step_fn *fn, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
bool is_done(unsigned int actor);
uint64_t end(unsigned int actor);
uint64_t act(unsigned int actor, step_fn *fn, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
/* It sleeps for a userfaultfd's sake: on a page, or until an event of it is read. */
bool is_blocked(unsigned int actor);
void wait_blocked(unsigned int actor);
void wait_settled(unsigned int actor);	/* done, or blocked */
bool agent_is_blocked(void);

/* Steps. Results are the system call's, or -errno as an unsigned number. */
step_fn step_map;			/* at or 0, pages: the address; never over what is there */
step_fn step_adopt;			/* va, pages */
step_fn step_map_apart;			/* pages: the address; room to grow behind it, nothing before it */
step_fn step_fill;			/* va, pages, tag: a pattern of its own for each page and tag */
step_fn step_bad;			/* va, pages, tag: how many pages do not have that pattern */
step_fn step_nonzero;			/* va, pages: how many pages are not all zeros */
step_fn step_read;			/* va: the word there, or GONE */
step_fn step_write;			/* va, value: 0, or GONE */
step_fn step_discard;			/* va, bytes */
step_fn step_unmap;			/* va, bytes */
step_fn step_remap;			/* va, old bytes, new bytes, to (0: anywhere; va: in place) */
step_fn step_protect;			/* va, bytes, prot */
step_fn step_present;			/* va, pages: how many are in RAM */

/* ---- what is evicted ---- */

#define NOISE		1000		/* from this tag on, pages cannot be compressed */

uint64_t untouched(uint64_t pages);		/* step_map_apart by A, adopted */
uint64_t fresh(uint64_t pages, uint64_t tag);	/* .. and filled */
void evict(uint64_t va, uint64_t pages);	/* asked for */
void evict_all(uint64_t va, uint64_t pages);	/* .. and all of them STORED */
void evict_ended(void);				/* nothing is under way any more */
struct flp_range_status pages_of(uint64_t va, uint64_t pages);	/* zeros: unknown addresses */
struct flp_counters counters(void);

#endif
