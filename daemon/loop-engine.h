/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loop-engine.h - what loop.c asks of an engine. Private to loop.c and loop-threads.c.
 *
 * An operation is always in one place, and state says in which:
 *
 *   IDLE --loop_*()--> QUEUED --start()--> FLYING --loop_ready()--> READY --done()--> IDLE
 *                        ^                 (engine)                   |
 *                        +---- multishot: done(more) in RUNNING <-----+
 *
 * Timers fly in loop.c's own heap. To an engine every poll is for once: a multishot poll is
 * started again after each call, so it is level-triggered with every engine and every kernel.
 */
#ifndef FAULTLINE_DAEMON_LOOP_ENGINE_H
#define FAULTLINE_DAEMON_LOOP_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "daemon/loop.h"

enum loop_kind {
	LOOP_POLL, LOOP_POLL_MULTI, LOOP_SIGNALS,	/* these, and */
	LOOP_STREAM_READ, LOOP_STREAM_WRITE,		/* ... these wait for op->events */
	LOOP_READ, LOOP_WRITE,				/* at op->offset */
	LOOP_TIMER,
};

enum loop_state {
	LOOP_IDLE,
	LOOP_QUEUED,		/* on loop.queued */
	LOOP_FLYING,		/* the engine's */
	LOOP_CANCELLING,	/* the engine's, too: it has something to do to it */
	LOOP_READY,		/* result is set; on loop.ready or being taken from there */
	LOOP_RUNNING,		/* in done(more) */
};

TAILQ_HEAD(loop_op_list, loop_op);

static inline bool loop_kind_polls(int kind)
{
	return kind <= LOOP_STREAM_WRITE;
}

struct loop_engine {
	const char *name;
	/* Make it FLYING, or READY with an error. -EBUSY: not now, leave it queued. */
	int (*start)(void *engine, struct loop_op *op);
	/* It is FLYING. It becomes READY sooner or later; how soon is up to the engine. */
	void (*cancel)(void *engine, struct loop_op *op);
	/* A poll of this descriptor is over, which may be closed from now on. NULL: no matter. */
	void (*forget)(void *engine, int fd);
	/* What was started is on its way when this returns. 0, -errno: broken. */
	int (*submit)(void *engine);
	/* The same, then wait (-1: for ever) until something is READY, or anything else happens. */
	int (*wait)(void *engine, int64_t timeout_ns);
	int (*fd)(void *engine);
	void (*free)(void *engine);
};

/* For the engine: this is the result. On the loop's thread. */
void loop_ready(struct loop_op *op, int result);
/* For the engine: have the round go on; any thread. The wake callback is not called for it. */
void loop_poke(struct loop *l);

int loop_threads_new(struct loop *l, const struct loop_engine **ret, void **ret_engine);

#endif
