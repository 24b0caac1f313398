/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * session.h - one connected client process: its userfaultfds, its regions, its pages.
 *
 * Made when an agent says HELLO, serving from ATTACH until the connection ends. After that it is
 * torn down by its home worker and freed.
 *
 * Threads. The home worker is the only thread that reads the session's events, installs its pages
 * and applies its agent's reports: that alone makes the answer to a fault agree with the events
 * (fault.c says why). Everything that can change is under lock, so that the reclaim thread can
 * pick victims and clean the pool, and the control loop can look; the home worker drops the lock
 * while it decodes and installs, with the pages concerned in a reserved state.
 *
 * States:  NEW --session_attach--> ATTACHED --session_close--> CLOSING --home worker--> freed
 */
#ifndef FAULTLINE_DAEMON_SESSION_H
#define FAULTLINE_DAEMON_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#include "common/hist.h"
#include "daemon/bo.h"
#include "daemon/fault.h"
#include "daemon/job.h"
#include "daemon/reclaim.h"
#include "daemon/region.h"
#include "daemon/state.h"
#include "daemon/store.h"
#include "include/faultline-protocol.h"
#include "include/faultline-shared.h"

struct worker;
struct workers;

enum session_state { SESSION_NEW, SESSION_ATTACHED, SESSION_CLOSING };

struct session {
	/* constant after attach */
	uint64_t id;
	struct job *job;		/* with a reference */
	struct jobs *jobs;
	struct workers *workers;
	pid_t pid;
	uid_t uid;
	uint32_t agent_tid;
	char name[32];
	bool library;			/* manages only what is adopted by call */
	int uffd, staging_uffd, kick_fd, pidfd;
	struct fls_memory *mem;
	int mem_fd;
	uint64_t secret;
	uint32_t generation;		/* of the daemon */

	struct worker *home;		/* under lock; changed by the home worker only */
	_Atomic bool kicked;		/* on its home's list of kicks */
	TAILQ_ENTRY(session) kick_link;	/* under the worker's lock */

	pthread_mutex_t lock;
	enum session_state state;
	struct state table;		/* memfd: page tables, event ring */
	struct pool pool;
	int64_t pool_charged;		/* bytes of it that are charged to the job */
	struct region_tree regions;
	uint32_t n_regions;
	LIST_HEAD(, bo) bos;
	struct bo_tree bo_by_id;
	uint32_t next_bo;
	struct faults faults;		/* parked and waiting faults, streams: fault.c */
	struct reclaim reclaim;		/* slots, queue of victims: reclaim.c */
	struct flp_counters c;
	struct hist latency;
	int64_t unmanaged;		/* bytes that are charged to the job */
	/* A process where the preload library has an agent and libfaultline another has two sessions. One
	 * of them counts what is not managed: the preload library's. */
	_Atomic bool beside;		/* libfaultline's: there is such another */
	_Atomic uint64_t beside_bytes;	/* the preload library's: what is resident of the other */
	bool draining;			/* the daemon stops: let go of everything */
	uint64_t will_start, will_end;	/* WILLNEED: still to be brought in */

	/* the home worker's own */
	LIST_ENTRY(session) worker_link;	/* worker.sessions */
	bool listed, kick_ready;
	int cpu_seen;			/* where its faults were seen to come from, or -1 */
	struct worker *move_to;

	LIST_ENTRY(session) job_link;	/* job.sessions; see job_session_add() */
	bool in_job;			/* ... it is there; under job.lock */
	unsigned int pins;		/* walks of job.sessions that stand on it; under job.lock */
	/* told once, from the home worker, when the session is gone and about to be freed */
	void (*gone)(struct session *s, void *ctx);
	void *gone_ctx;
};

/* NEW; takes its own reference of job. */
int  session_new(struct session **ret, struct job *job, struct jobs *jobs, struct workers *w,
		 uint32_t generation, const struct ucred *peer, int pidfd,
		 const struct flp_hello *hello);
/*
 * NEW -> ATTACHED. Takes over both userfaultfds, also on failure (their kind is checked, and
 * UFFDIO_API done here). ret_fds: session memory, pool, kick: borrowed, to be sent. -EINVAL: not what
 * was asked for; -EPERM, -ENOMEM, -EMFILE.
 */
int  session_attach(struct session *s, int uffd, int staging_uffd, const struct flp_attach *a,
		    struct flp_attached *ret, int ret_fds[3]);
/* The connection ended. The session is freed some time later, after gone(). A NEW one is freed at once
 * (gone() is called here). */
void session_close(struct session *s);
struct session *session_free(struct session *s);	/* not ATTACHED; NULL is fine */

/* For its home worker: CLOSING; true when nothing of it is under way any more and it has left the worker
 * (lock held). Then, without the lock, session_gone() frees it. */
bool session_finish(struct worker *w, struct session *s);
void session_gone(struct session *s);
/* The agent's sample of the process's size, as what is not managed. Any thread, lock held. */
void session_sample(struct session *s);
/* Where the process has two sessions: tell the other how much is resident here. No lock held. */
void session_tell_other(struct session *s);
/* So much of what the last sample counted as not managed is charged as resident now. */
void session_adopted(struct session *s, uint64_t bytes);

void session_status(struct session *s, struct flp_status_session *ret);
/* The session's own counters as of now: takes lock. */
void session_counters(struct session *s, struct flp_counters *ret);

/* Calls of libfaultline. Results as their man pages say: 0, -EINVAL (no such range), -EBUSY, -EDEADLK,
 * -EPERM, ... */
struct resv_request;
int  session_reserve(struct session *s, const struct flp_reserve *m, struct resv_request *req);
int  session_wait_unreserved(struct session *s, const struct flp_reserve *m, struct resv_request *req);
int  session_unreserve(struct session *s, const struct flp_range *m, const void *holder);
void session_drop_holder(struct session *s, const void *holder);	/* its connection ended */
/*
 * The daemon stops: bring every page back, take nothing out any more, and let go of every range (one
 * that stays registered blocks whoever touches it first). Does not wait, and is called again until it
 * says true: nothing is out and nothing registered, so that the daemon may go.
 */
bool session_drain(struct session *s);
int  session_advise(struct session *s, const struct flp_advise *m);
int  session_range_status(struct session *s, const struct flp_range *m, struct flp_range_status *ret);

#endif
