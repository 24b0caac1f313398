/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * swapin.h - a fault whose page is in the swap file: a read, and its continuation.
 *
 * The worker goes on with other faults while the read is under way. When it completes, everything is
 * looked up anew: the page may have been discarded, or moved to another address.
 */
#ifndef FAULTLINE_DAEMON_SWAPIN_H
#define FAULTLINE_DAEMON_SWAPIN_H

#include <stdint.h>

struct fault;
struct region;
struct session;
struct worker;

/*
 * Begin to read page index, and with it up to n - 1 neighbours in direction stride. f becomes parked on
 * the page (NULL: nobody waits). 0; -ENOMEM, -EAGAIN: nothing was begun, f is the caller's. lock held.
 */
int swapin_start(struct worker *w, struct session *s, struct region *r, uint32_t index, struct fault *f,
		 uint32_t n, int32_t stride);

#endif
