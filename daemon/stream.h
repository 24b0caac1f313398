/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stream.h - what the order of faults says about the next ones.
 *
 * A stream is a run of faults at a constant distance, forwards or backwards. A fault that continues one
 * widens its window; a fault that continues none begins one. The table belongs to a session, and is used
 * by its home worker only.
 */
#ifndef FAULTLINE_DAEMON_STREAM_H
#define FAULTLINE_DAEMON_STREAM_H

#include <stdint.h>

#include "daemon/fault.h"

struct stream_hint {
	int32_t stride;		/* in pages; 1 when nothing is known */
	uint32_t n;		/* pages to bring in, the faulting one included */
	uint32_t used;		/* of those brought in before, how many it shows to have been used */
	struct stream *stream;	/* NULL: a fault on its own */
};

/* A fault at this page; most: the widest window. */
void stream_fault(struct faults *f, uint32_t bo, uint32_t index, uint32_t most, struct stream_hint *ret);
/* The same, told later by whoever read them: for the stream whose last fault was at index, if it is
 * still known. */
void stream_read(struct faults *f, uint32_t bo, uint32_t index, uint32_t n);
/* So many pages, the faulting one included, were brought in for it. */
void stream_brought(struct stream *s, uint32_t index, int32_t stride, uint32_t n);

#endif
