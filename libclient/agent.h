/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * agent.h - the helper thread that runs inside a client. agent.c tells what it may and may not do.
 *
 * Started once per process, by the preload library's constructor or by libfaultline's first adoption.
 * Everything that it uses is in one mapping of its own, with guard pages, DONTFORK.
 */
#ifndef FAULTLINE_LIBCLIENT_AGENT_H
#define FAULTLINE_LIBCLIENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "include/faultline-protocol.h"

struct agent_config {
	char socket[108];			/* path */
	uint8_t job[FLP_TOKEN_SIZE];
	bool library;				/* adopt by call only */
	bool now;				/* connect at once, not when the process has grown */
};

/* 0; -EALREADY it runs; -errno nothing was started. Does not wait for the connection. */
int  agent_start(const struct agent_config *c);
/* Wait until it is attached (0), or has given up (-errno why). timeout_ms < 0: for ever. */
int  agent_wait(int timeout_ms);
bool agent_running(void);
/* Manage this range: 0 when the daemon knows it; -errno. Whole pages of private anonymous memory. */
int  agent_adopt(uint64_t addr, uint64_t len);
/* Bring it back and let go of it. */
int  agent_release(uint64_t addr, uint64_t len);
/* Something may have grown: look again soon (a hint, any thread, async-signal-safe). */
void agent_hint(uint64_t bytes);
/* Stacks of threads, which are never adopted. */
void agent_stack_begin(void);			/* a thread is about to be made */
void agent_stack_end(void);			/* its stack is known, or it was not made */
void agent_stack_add(uint64_t start, uint64_t end);
void agent_stack_dead(uint64_t start);
/* Around fork(2): everything resident and nothing LEAVING; 0, or -ENOMEM: do not fork. */
int  agent_fork_prepare(void);
void agent_fork_parent(void);
void agent_fork_child(void);
/* The program said MADV_DONTFORK (or DOFORK) itself: that is kept. */
void agent_note_dontfork(uint64_t start, uint64_t end, bool dontfork);

#endif
