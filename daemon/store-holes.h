/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store-holes.h - places of dead records, by size, for cleaning to put live ones in.
 *
 * A log that is only appended to must leave much of itself dead, or be rewritten all the time: what is
 * cleaned goes into holes of nearly its size first. A hole is a hint: it is good as long as its unit is
 * what it was (its generation), FULL and held by nobody. Owned by a pool, under the session's lock.
 */
#ifndef FAULTLINE_DAEMON_STORE_HOLES_H
#define FAULTLINE_DAEMON_STORE_HOLES_H

#include <stdbool.h>
#include <stdint.h>

struct units;

#define HOLE_SIZES	520u		/* record size / 8 */
#define HOLE_SLACK	64u		/* bytes that a record may be smaller than its hole */

struct hole {
	uint32_t unit, offset, generation;
};

struct hole_stack {
	struct hole *hole;
	uint32_t n, cap;
};

struct holes {
	struct hole_stack of[HOLE_SIZES];
};

void holes_fini(struct holes *h);		/* accepts all zero */
/* A record of so many bytes died there. Forgotten without memory, or when there are very many. */
void holes_push(struct holes *h, const struct units *u, uint32_t unit, uint32_t offset, uint32_t size);
/* A good hole for a record of size, not in unit but: true, and how much bigger it is. */
bool holes_pop(struct holes *h, const struct units *u, uint32_t size, uint32_t but, struct hole *ret,
	       uint32_t *ret_slack);

#endif
