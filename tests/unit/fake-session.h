/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fake-session.h - a session and its job with nothing behind them but page tables and a pool: what
 * bos and regions need of one. Calls that would go to the job and to the swap file are counted here.
 */
#ifndef FAULTLINE_TESTS_FAKE_SESSION_H
#define FAULTLINE_TESTS_FAKE_SESSION_H

#include <stdint.h>
#include <stdlib.h>

#include "daemon/bo.h"
#include "daemon/job.h"
#include "daemon/page.h"
#include "daemon/region.h"
#include "daemon/session.h"

extern unsigned int fake_peaks;			/* calls of job_note_peak() */
extern uint64_t fake_swap_live;			/* bytes in the swap file; tests add, swap_kill() takes */
extern uint64_t fake_swap_last;			/* the place that was killed last */

struct session *fake_session(void);
/* Ends it, and sees that nothing of it is left in its job, its counters, its stores and its table. */
void fake_session_end(struct session *s);
/* All counters and charges are what the pages of all bos say. */
void fake_session_check(struct session *s);

/* A copy for a page in RAM: a record of the pool or of the swap file is there afterwards. */
void fake_copy(struct bo *bo, struct page *p, enum page_kind kind, uint32_t size);
/* Bring a page that is UNKNOWN or EMPTY into a state by legal steps. STORED: of this kind; else with a
 * clean copy of it, if that can be. */
void fake_bring(struct bo *bo, struct page *p, enum page_state state, enum page_kind kind);

#endif
