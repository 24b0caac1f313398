/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loop.h - one thread's event loop: operations that complete by a callback.
 *
 * Two engines behind one interface, chosen when a loop is made: io_uring, or, where the kernel
 * refuses that (sysctl, seccomp, old), epoll with a small pool of threads for file I/O.
 * FAULTLINE_ENGINE=uring|threads in the environment forces one. Only loop.c knows liburing.
 *
 * A loop belongs to the thread that runs it; only loop_wake() may be called from others.
 * A started operation ends with exactly one done(), also when cancelled (-ECANCELED); a poll that
 * was armed with multishot has any number of calls with more=true before it: one a round for as
 * long as the descriptor is ready. done() is only ever called from loop_round(). The owner of an
 * operation may not be freed, nor its descriptor closed, while op->loop is set; in the last done()
 * it is not any more, and the operation may be started again.
 *
 * A round: submit what was queued and wait; completions, in order; timers that are due; the
 * wake callback if somebody woke the loop; then what was deferred.
 */
#ifndef FAULTLINE_DAEMON_LOOP_H
#define FAULTLINE_DAEMON_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

struct loop;

struct loop_op {
	void (*done)(struct loop_op *op, int result, bool more);
	struct loop *loop;		/* set while in flight */
	const char *name;		/* for traces: "session.recv" */
	/* private to the loop */
	int kind, state, fd;
	bool cancelled;
	unsigned int events;
	uint64_t offset, deadline_ns;
	void *buf;
	size_t len;
	int result;
	TAILQ_ENTRY(loop_op) link;
};

struct loop_deferred {
	void (*fn)(struct loop_deferred *d);
	STAILQ_ENTRY(loop_deferred) link;
};

int  loop_new(struct loop **ret, unsigned int entries);	/* -EINVAL: FAULTLINE_ENGINE is unknown */
struct loop *loop_free(struct loop *l);		/* nothing may be in flight; NULL is fine */
const char *loop_engine(const struct loop *l);	/* "io_uring" or "threads" */

/*
 * Start an operation. 0, or -errno and done is not called (-ENOMEM for a timer, -errno of
 * signalfd(2); the others cannot fail here: what is wrong with fd is told to done). Reads and writes
 * may be short. An offset of LOOP_STREAM is for pipes, sockets and the like: wait until it is
 * ready, then one read(2) or write(2). Buffers stay the loop's until done.
 */
#define LOOP_STREAM UINT64_MAX
int  loop_poll(struct loop *l, struct loop_op *op, int fd, unsigned int events, bool multishot);
int  loop_read(struct loop *l, struct loop_op *op, int fd, void *buf, size_t len, uint64_t offset);
int  loop_write(struct loop *l, struct loop_op *op, int fd, const void *buf, size_t len, uint64_t offset);
int  loop_timer(struct loop *l, struct loop_op *op, uint64_t delay_ns);	/* CLOCK_MONOTONIC; result 0 */
/* The signals of set arrive as done(op, signo, more=true); they must be blocked in every thread. */
int  loop_signals(struct loop *l, struct loop_op *op, const sigset_t *set);
/* done comes, in a later round if not in this: with -ECANCELED, or with what a read or write that
 * was under way has come to. -ENOENT: not in flight. */
int  loop_cancel(struct loop *l, struct loop_op *op);

/* At the end of this round, once; not again before it has run. */
void loop_defer(struct loop *l, struct loop_deferred *d);
void loop_on_wake(struct loop *l, void (*fn)(void *ctx), void *ctx);
void loop_wake(struct loop *l);					/* any thread, any number of times */

/* A descriptor that polls readable when loop_round(l, 0) has something to do: to nest a loop in an
 * epoll set. Call it before the first wait: from then on operations are submitted as they start. */
int  loop_fd(struct loop *l);
/* One round. timeout_ns: 0 do not wait, -1 for ever. 0, or -errno when the loop is broken. */
int  loop_round(struct loop *l, int64_t timeout_ns);

#endif
