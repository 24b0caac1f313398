/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - what the files of libfaultline know of each other: the context, its calls, its regions.
 *
 * Contexts and regions lie in mappings of their own, never on the heap: the application may have adopted
 * that, and whoever touched them under a lock would wait for a page, perhaps until another thread
 * unreserves it, which needs the lock. For the same reason nothing of the caller's is read or written
 * under a lock, and no signal handler runs while one is held.
 */
#ifndef FAULTLINE_LIBCLIENT_INTERNAL_H
#define FAULTLINE_LIBCLIENT_INTERNAL_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/cleanup.h"
#include "include/faultline-protocol.h"
#include "include/faultline.h"

#define FAULTLINE_API	__attribute__((visibility("default")))

#define CALLS_MAX	128		/* of a context at a time; the daemon has the same limit */
#define CONNECT_MS	10000		/* for each step of connecting */
#define ERROR_SIZE	(FLP_TEXT_SIZE + 64)

/* A request that has not been answered, or whose answer has not been taken yet. */
struct call {
	uint32_t cookie;		/* 0: the slot is free */
	int wake;			/* eventfd of its thread; -1: never used */
	bool woken;			/* ... has been written to */
	bool done;
	bool has_record;
	int result;
	enum flp_type want;		/* record that is kept; 0: none */
	enum flp_type last;		/* what ends the answer: want, or FLP_OK */
	union {
		struct flp_welcome welcome;
		struct flp_range_status range;
		struct flp_status_job job;
		struct flp_error error;
	} record;
};

enum context_state { CONTEXT_NEW, CONTEXT_CONNECTING, CONTEXT_CONNECTED, CONTEXT_LOST };

struct faultline {
	pid_t pid;			/* constant: a fork's child may only free it */

	pthread_mutex_t lock;		/* over all that follows; held for no system call that waits */
	enum context_state state;
	char socket[108];		/* constant once CONNECTING */
	uint8_t job[FLP_TOKEN_SIZE];
	bool job_set;			/* ... by the application, not from the environment */
	int fd;				/* -1: never connected; constant from CONNECTED on */
	uint32_t cookie;		/* the last that was used */
	char error[ERROR_SIZE];
	struct call call[CALLS_MAX];
};

struct faultline_region {
	struct faultline *ctx;		/* all constant */
	pid_t pid;
	uint64_t addr, len;
	LIST_ENTRY(faultline_region) link;	/* of process.c's list */
};

/* ---- context.c ---- */

/* Signals are blocked as long as the lock is held; mask: what to go back to. */
void context_lock(struct faultline *ctx, sigset_t *mask);
void context_unlock(struct faultline *ctx, const sigset_t *mask);
/* May this context be used here at all? 0, -EINVAL: NULL, -ECHILD. */
int  context_check(const struct faultline *ctx);
/* Keep the text of an error, and return it. Without the lock. */
int  context_fail(struct faultline *ctx, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Zeroed memory of its own; NULL. */
void *own_memory(size_t size);
void own_memory_free(void *p, size_t size);

/* ---- connection.c ---- */

/* Connect and greet. 0 or -errno, with its text kept. One thread; the state is the caller's business. */
int  connection_open(struct faultline *ctx);
void connection_close(struct faultline *ctx);
/*
 * One request and its answer; any number of threads at a time. what: the name of the call, for texts.
 * The record (of type want, unless that is 0) goes to ret_record, size bytes of it.
 */
int  connection_call(struct faultline *ctx, const char *what, enum flp_type type, const void *body,
		     enum flp_type want, void *ret_record, size_t size);
/* Does the daemon know of a managed page there? 0: yes; -EINVAL: no; -errno. Keeps no text. */
int  connection_knows(struct faultline *ctx, uint64_t addr);

/* ---- process.c ---- */

/* The agent of this process, for this context's daemon and job. 0 or -errno, with its text kept. */
int  process_start_agent(struct faultline *ctx);
/*
 * Have the agent manage a range, or let go of it, and keep the list of regions. -errno. When they return 0
 * the daemon knows: what is asked of it next is about the range as it is now.
 */
int  process_adopt(struct faultline_region *region);
int  process_release(struct faultline_region *region);
/* Any region of ctx that is left, or NULL. */
struct faultline_region *process_region_of(const struct faultline *ctx);
/* A region of this process's past, inherited over a fork: take it off the list. */
void process_forget(struct faultline_region *region);

/* ---- no thread is cancelled in a call: its slot, or the agent's, would be lost ---- */

static inline int cancel_off(void)
{
	int old = PTHREAD_CANCEL_ENABLE;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	return old;
}

static inline void cancel_restore(const int *old)
{
	pthread_setcancelstate(*old, NULL);
}

#define _uncancelled_	_cleanup_(cancel_restore) __attribute__((__unused__)) const int cancel_was_ = cancel_off()

#endif
