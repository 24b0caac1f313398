/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spill.h - records on their way between the stores: cleaned within the pool, spilled from the pool to
 * the swap file, cleaned within the swap file.
 *
 * On the reclaim thread. A record is only ever written anew and then, under its session's lock, its page
 * made to point there if it still pointed to the old place: the old copy dies after the new one exists.
 */
#ifndef FAULTLINE_DAEMON_SPILL_H
#define FAULTLINE_DAEMON_SPILL_H

#include <stdbool.h>

struct job;
struct loop;
struct session;

struct spiller {
	struct loop *loop;
	unsigned int n_writes;		/* transfers in flight */
};

/* Extents with little that lives are emptied into others. s is pinned, its lock not held. */
void spill_clean_pool(struct session *s);
bool spill_pool_is_full(struct job *j);
/* Begin what there is to move for this job. */
void spill_job(struct spiller *sp, struct job *j);

#endif
