/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stream.c - see stream.h. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/stream.h"

#define NEAR		16	/* pages: a second fault this near makes a stream */
#define FIRST_WINDOW	4u
#define STRIDED_WINDOW	8u	/* pages of a stream that skips */

static struct stream *continued(struct faults *f, uint32_t bo, uint32_t index)
{
	for (unsigned int i = 0; i < FAULT_STREAMS; i++) {
		struct stream *s = &f->stream[i];

		if (s->used && s->bo == bo && s->stride && s->next == index)
			return s;
	}
	return NULL;
}

/* A lone fault not far from here, which this one makes into a stream. */
static struct stream *begun(struct faults *f, uint32_t bo, uint32_t index)
{
	for (unsigned int i = 0; i < FAULT_STREAMS; i++) {
		struct stream *s = &f->stream[i];
		int64_t distance = (int64_t)index - s->last;

		if (s->used && s->bo == bo && distance && llabs(distance) <= NEAR &&
		    (!s->stride || s->hits == 0 || distance == s->stride))
			return s;
	}
	return NULL;
}

static struct stream *oldest(struct faults *f)
{
	struct stream *s = &f->stream[0];

	for (unsigned int i = 1; i < FAULT_STREAMS; i++)
		if (f->stream[i].used < s->used)
			s = &f->stream[i];
	return s;
}

void stream_fault(struct faults *f, uint32_t bo, uint32_t index, uint32_t most, struct stream_hint *ret)
{
	struct stream *s = continued(f, bo, index);

	*ret = (struct stream_hint){ .stride = 1, .n = 1 };
	f->tick++;
	if (!most)
		return;
	if (s) {
		uint32_t widest = abs(s->stride) == 1 ? most : STRIDED_WINDOW;

		s->hits++;
		ret->used = s->brought ? s->brought - 1u : 0;
		s->window = (uint16_t)(s->window * 2u < widest ? s->window * 2u : widest);
	} else if ((s = begun(f, bo, index)) != NULL) {
		s->stride = (int32_t)((int64_t)index - s->last);
		s->hits = 1;
		s->window = (uint16_t)(FIRST_WINDOW < most ? FIRST_WINDOW : most);
	} else {
		s = oldest(f);
		*s = (struct stream){ .bo = bo, .last = index, .next = index, .used = f->tick };
		return;
	}
	s->last = index;
	s->used = f->tick;
	ret->stride = s->stride;
	ret->n = s->window;
	ret->stream = s;
}

void stream_brought(struct stream *s, uint32_t index, int32_t stride, uint32_t n)
{
	s->brought = (uint16_t)n;
	s->next = (uint32_t)((int64_t)index + (int64_t)stride * n);
}

void stream_read(struct faults *f, uint32_t bo, uint32_t index, uint32_t n)
{
	for (unsigned int i = 0; i < FAULT_STREAMS; i++) {
		struct stream *s = &f->stream[i];

		if (s->used && s->bo == bo && s->stride && s->last == index)
			stream_brought(s, index, s->stride, n);
	}
}
