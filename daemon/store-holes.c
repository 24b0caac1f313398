/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* store-holes.c - see store-holes.h. */
#include <config.h>

#include <stdlib.h>

#include "daemon/store-holes.h"
#include "daemon/store.h"

#define MOST	2048u			/* holes of one size that are remembered */

void holes_fini(struct holes *h)
{
	for (uint32_t i = 0; i < HOLE_SIZES; i++)
		free(h->of[i].hole);
	*h = (struct holes){ 0 };
}

static bool make_room(struct hole_stack *s)
{
	uint32_t cap = s->cap ? s->cap * 2 : 16;
	struct hole *more;

	if (s->n < s->cap)
		return true;
	if (cap > MOST)
		return false;
	more = reallocarray(s->hole, cap, sizeof(*more));
	if (!more)
		return false;
	s->hole = more;
	s->cap = cap;
	return true;
}

void holes_push(struct holes *h, const struct units *u, uint32_t unit, uint32_t offset, uint32_t size)
{
	struct hole_stack *s = &h->of[size / 8];

	if (size / 8 >= HOLE_SIZES || !make_room(s))
		return;
	s->hole[s->n++] = (struct hole){ unit, offset, u->unit[unit].generation };
}

static bool is_good(const struct units *u, const struct hole *x)
{
	const struct unit *unit = &u->unit[x->unit];

	return unit->generation == x->generation && unit->state == UNIT_FULL && !unit->busy;
}

static bool pop(struct hole_stack *s, const struct units *u, uint32_t but, struct hole *ret)
{
	while (s->n) {
		*ret = s->hole[--s->n];
		if (ret->unit != but && is_good(u, ret))
			return true;
	}
	return false;
}

bool holes_pop(struct holes *h, const struct units *u, uint32_t size, uint32_t but, struct hole *ret,
	       uint32_t *ret_slack)
{
	for (uint32_t slack = 0; slack <= HOLE_SLACK && (size + slack) / 8 < HOLE_SIZES; slack += 8)
		if (pop(&h->of[(size + slack) / 8], u, but, ret)) {
			*ret_slack = slack;
			return true;
		}
	return false;
}
