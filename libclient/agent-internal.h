/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * agent-internal.h - the agent's memory, and what its three files say to each other.
 *
 * struct agent lies in one mapping between guard pages, shared but not inherited over fork; only the
 * agent's thread touches it. What other threads of the program write (hints, stacks, requests) is in
 * struct agent_shared, in the library's own data, which is never adopted.
 */
#ifndef FAULTLINE_LIBCLIENT_AGENT_INTERNAL_H
#define FAULTLINE_LIBCLIENT_AGENT_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "include/faultline-shared.h"
#include "libclient/agent.h"

#define AGENT_STACK	(256u << 10)
#define AGENT_TLS	8192u
#define AGENT_STACKS	8192u		/* stacks of threads that can be known */
#define AGENT_NOFORK	64u
#define AGENT_MAPS	1024u		/* page regions of one look */

enum agent_life {
	AGENT_OFF,			/* never started, or a fork's child */
	AGENT_STARTING,
	AGENT_ATTACHED,
	AGENT_LOST,			/* the daemon is gone: faults block, nothing is evicted */
	AGENT_FAILED,			/* gave up before anything was adopted: result says why */
};

struct agent_range {
	uint64_t start, end;
};

/* Of the process; any thread. */
struct agent_shared {
	uint32_t life;			/* enum agent_life; futex */
	int32_t	 result;
	uint32_t tid;			/* of the agent; 0 when its thread is gone (futex, kernel) */
	uint32_t *bell;			/* what wakes it, once it is attached */
	uint64_t hint_bytes;		/* mapped since it looked */
	uint32_t creating;		/* threads that are being made */
	uint32_t scanning;		/* futex: it looks at the map of the process */
	uint32_t n_stacks;
	uint32_t stacks_full;		/* no more can be known: adopt nothing new */
	struct agent_range stack[AGENT_STACKS];

	uint32_t fork;			/* futex: FORK_* in the low byte, forks under way above it */
	int32_t	 fork_result;
	uint32_t n_nofork, nofork_lock;	/* ranges for which the program itself said DONTFORK */
	struct agent_range nofork[AGENT_NOFORK];

	uint32_t request;		/* futex: REQ_NONE, _POSTED, _DONE; one at a time, under request_lock */
	uint32_t request_lock;
	uint32_t request_kind;		/* 1 adopt, 2 release */
	uint64_t request_addr, request_len;
	int32_t	 request_result;
	struct agent_config config;
};

enum { FORK_NONE, FORK_ASKED, FORK_SENT, FORK_READY, FORK_STATE = 0xff, FORK_HOLD = 0x100 };
enum { REQ_NONE, REQ_POSTED, REQ_SENT, REQ_DONE };

struct agent {
	/* constant once attached */
	struct fls_memory *mem;
	int sock, uffd, staging_uffd, kick, pool, pagemap, maps, statm;
	uint8_t *s1, *s2;
	bool library;
	struct agent_range own[8];	/* never adopted: mappings of the agent, .bss, TCB of main */
	unsigned int n_own;
	uint64_t cpus[16];		/* where the program may run */

	/* of the loop */
	bool lost;
	bool unmarked;			/* DONTFORK was refused: evict nothing more */
	uint32_t cpu_now;
	uint32_t generation_bits;
	uint64_t min_size;		/* of an area worth adopting */
	uint64_t next_sample_us;
	uint64_t n_adopted;		/* ranges registered so far */
	bool want_adopt, adopt_asked;

	/* extents that records are appended to */
	struct {
		uint64_t offset;
		uint32_t used, written, len;
	} extent[4];
	unsigned int n_extents;		/* extent[0] is the open one */
	struct agent_range closed[4];	/* offset, bytes used: to be reported */
	uint32_t n_closed;
	bool asked_extent;

	/* buffers */
	uint64_t lz4[20480 / 8];
	uint8_t stack[AGENT_STACK] __attribute__((aligned(4096)));
	uint8_t tls[AGENT_TLS] __attribute__((aligned(64)));
	uint8_t out[FLS_SLOT_PAGES * (FLS_PAGE + 64)] __attribute__((aligned(64)));
	uint8_t text[16384];
	uint64_t pagemap_buf[FLS_SLOT_PAGES];
	uint64_t regions[AGENT_MAPS * 3];	/* struct page_region of PAGEMAP_SCAN */
};

extern struct agent_shared agent_shared;
extern struct agent *agent_self;

/* agent.c */
bool agent_lock(struct agent *a);		/* false: not had in time */
void agent_unlock(struct agent *a);
void agent_report(struct agent *a, enum fls_rp what, uint32_t slot, uint64_t x, uint64_t y, uint64_t z);

/* agent-evict.c */
void agent_evict(struct agent *a, uint32_t slot);
void agent_return(struct agent *a, uint32_t slot);
void agent_drop(struct agent *a, uint32_t slot);
void agent_grant(struct agent *a, uint64_t offset, uint64_t len);

/* agent-adopt.c */
int  agent_adopt_range(struct agent *a, uint64_t start, uint64_t end);
void agent_adopt_areas(struct agent *a);
void agent_scan(struct agent *a, uint64_t start, uint64_t end, uint64_t epoch);

#endif
