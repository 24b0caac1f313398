/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * paper-session.h - what the control plane calls of a session, with nothing behind it: no
 * userfaultfd, no worker. Linked instead of session.c.
 */
#ifndef FAULTLINE_TESTS_PAPER_SESSION_H
#define FAULTLINE_TESTS_PAPER_SESSION_H

#include <stdbool.h>

#include "daemon/session.h"

extern bool paper_drained;		/* what session_drain() answers */
extern unsigned int paper_drains;	/* how often it was asked */
extern unsigned int paper_alive;	/* sessions that are not freed */
extern struct flp_counters paper_counters;	/* of each session */

#endif
