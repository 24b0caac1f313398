/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * gate.h - places where a test can hold the daemon or an agent, and rules it can switch off.
 *
 * Only in programs compiled with FL_TEST_HOOKS (tests/faultlined-hooked, the hooked preload
 * library): elsewhere GATE() is nothing and RULE() is true. A test makes a file of
 * struct gate_board, puts its path in FAULTLINE_GATES of the daemon and of the job, and both map
 * it. A gate that is armed counts its arrivals and waits there until it is opened. A rule that is
 * switched off skips one part of the protocol, to show that the part is needed.
 *
 * In an agent a gate makes raw system calls and touches only the board.
 */
#ifndef FAULTLINE_COMMON_GATE_H
#define FAULTLINE_COMMON_GATE_H

#include <stdint.h>

enum gate_id {
	GATE_AGENT_ADOPT_PUBLISHED,	/* ADOPTING published, not yet registered */
	GATE_AGENT_ADOPT_REGISTERED,	/* registered, presence not yet looked at */
	GATE_AGENT_PRESENT_SEEN,	/* presence looked at, not yet reported */
	GATE_AGENT_BEFORE_LOCK,		/* has the command, before taking the lock for MOVE */
	GATE_AGENT_BEFORE_MOVE1,	/* holds the lock, the epoch was right */
	GATE_AGENT_BETWEEN_MOVES,	/* pages in S1 */
	GATE_AGENT_AFTER_MOVE,		/* pages in S2, lock dropped */
	GATE_AGENT_BEFORE_REPORT,	/* results written, DONE not published */
	GATE_AGENT_BEFORE_RETURN,	/* has a RETURN, lock not yet taken */
	GATE_DAEMON_AFTER_READ,		/* a batch has been read, nothing applied */
	GATE_DAEMON_BEFORE_FILL,	/* page is FILLING, bytes not yet fetched */
	GATE_DAEMON_BEFORE_INSTALL,	/* bytes ready, before the COPY */
	GATE_DAEMON_BEFORE_REPORT,	/* a DONE was taken, not applied */
	GATE_DAEMON_SWAP_READ,		/* a swap read completed, not yet looked at */
	GATE_DAEMON_FILE_READ,		/* a read of a file is about to begin, in a thread of its own
					 * (FAULTLINE_ENGINE=threads): its worker goes on */
	GATE_N
};

enum rule_id {
	RULE_EVENTS_BEFORE_FAULTS,	/* a batch's events are applied before its faults */
	RULE_PRESENCE_ONLY_UNKNOWN,	/* only UNKNOWN believes a presence report */
	RULE_EXCUSE_ZAP,		/* a page that was filled before the zap of a REMOVE may be gone */
	RULE_EXTEND_ON_FAULT,		/* a fault at an unknown address extends the region */
	RULE_TWO_STEP_MOVE,		/* MOVE goes through S1 */
	RULE_EPOCH_CHECK,		/* the agent looks at the slot's epoch under the lock */
	RULE_LOCK,			/* the agent takes the lock */
	RULE_RESTAMP,			/* slots that an event does not touch are stamped again */
	RULE_STAMPED_ADOPTION,		/* a presence report of an old epoch is dropped */
	RULE_REMEMBER_DISCARD,		/* a discard of a LEAVING or FILLING page is remembered */
	RULE_STAGING_PAGEMAP,		/* the agent looks for holes before it reads staging */
	RULE_RETURN_BY_COPY,		/* where MOVE back says EINVAL */
	RULE_WAKE_ON_EEXIST,		/* COPY said EEXIST: wake all the same */
	RULE_N
};

struct gate_board {
	uint32_t armed[GATE_N];		/* test: how many arrivals are to be held; counts down */
	uint32_t arrived[GATE_N];	/* arrivals held so far (futex) */
	uint32_t opened[GATE_N];	/* test: how many of them may go on (futex) */
	uint32_t rule_off[RULE_N];	/* test: 1 switches the rule off */
	uint32_t pid[GATE_N];		/* who arrived last */
};

#ifdef FL_TEST_HOOKS
extern struct gate_board *gate_board;		/* NULL: no test is watching */
void gate_map(const char *path);		/* daemon: at the start; the agent maps its own way */
void gate_arrive(enum gate_id id);
#define GATE(id)	do { if (gate_board) gate_arrive(id); } while (0)
#define RULE(id)	(!gate_board || !__atomic_load_n(&gate_board->rule_off[id], __ATOMIC_RELAXED))
#else
#define GATE(id)	do { } while (0)
#define RULE(id)	1
#endif

#endif
