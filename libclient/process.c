/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * process.c - what libfaultline has once in a process: its agent, and the list of adopted regions.
 *
 * However many contexts there are, they share one agent, and so one daemon and one job. One lock orders
 * whoever gives the agent something to do, and forks: a range that is adopted or let go of while
 * everything is being held resident for a fork would be neither here nor there. It is held while the
 * daemon brings a region back and takes note of it. That needs no other thread of the process; no signal
 * handler runs on the thread that holds it, and no page of the caller's is touched under it.
 *
 * In a child of fork(2) there is no agent. The list is still there, with the handles of the parent's
 * regions, which can only be freed.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/align.h"
#include "libclient/agent.h"
#include "libclient/internal.h"

#define KNOWN_NS	UINT64_C(10000000000)
#define PAUSE_NS	50000
#define PAUSE_MAX_NS	2000000

static struct {
	pthread_mutex_t lock;
	pid_t pid;			/* whose agent was started; 0: nobody's */
	struct agent_config config;	/* ... for this daemon and job */
	bool fork_handlers;
	LIST_HEAD(, faultline_region) regions;
} process = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void process_lock(sigset_t *mask)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, mask);
	pthread_mutex_lock(&process.lock);
}

static void process_unlock(const sigset_t *mask)
{
	pthread_mutex_unlock(&process.lock);
	pthread_sigmask(SIG_SETMASK, mask, NULL);
}

/* ---- forks ---- */

/* It cannot be refused from here: where not everything could be brought back, the agent has marked the
 * ranges MADV_DONTFORK, and the child has none of them. */
static void before_fork(void)
{
	pthread_mutex_lock(&process.lock);
	(void)agent_fork_prepare();
}

static void after_fork_parent(void)
{
	agent_fork_parent();
	pthread_mutex_unlock(&process.lock);
}

static void after_fork_child(void)
{
	agent_fork_child();
	process.pid = 0;
	pthread_mutex_unlock(&process.lock);
}

static int watch_forks(void)
{
	int r = 0;

	if (!process.fork_handlers)
		r = -pthread_atfork(before_fork, after_fork_parent, after_fork_child);
	process.fork_handlers = !r;
	return r;
}

/* ---- the agent ---- */

static bool same_service(const struct agent_config *a, const struct agent_config *b)
{
	return !strcmp(a->socket, b->socket) && !memcmp(a->job, b->job, sizeof(a->job));
}

/* Start it, or find it started. */
static int start_agent(const struct agent_config *c)
{
	int r = watch_forks();

	if (r)
		return r;
	if (process.pid == getpid())
		return same_service(&process.config, c) ? 0 : -EBUSY;
	r = agent_start(c);
	if (r && r != -EALREADY)
		return r;
	process.pid = getpid();
	process.config = *c;
	return 0;
}

int process_start_agent(struct faultline *ctx)
{
	struct agent_config c = { .library = true, .now = true };
	sigset_t mask;
	int r;

	_Static_assert(sizeof(c.socket) == sizeof(ctx->socket), "one path fits where the other does");
	memcpy(c.socket, ctx->socket, sizeof(c.socket));
	memcpy(c.job, ctx->job, sizeof(c.job));
	process_lock(&mask);
	r = start_agent(&c);
	process_unlock(&mask);
	if (r == -EBUSY)
		return context_fail(ctx, r, "connect: this process is in another daemon's or another job's "
				    "care already");
	if (!r)
		r = agent_wait(CONNECT_MS);
	return r ? context_fail(ctx, r, "connect: the helper thread could not attach to the daemon: %s",
				strerrordesc_np(-r)) : 0;
}

/* ---- regions ---- */

static bool overlaps_another(const struct faultline_region *region)
{
	struct faultline_region *x;

	LIST_FOREACH(x, &process.regions, link)
		if (x->pid == region->pid && x->addr < region->addr + region->len &&
		    region->addr < x->addr + x->len)
			return true;
	return false;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/*
 * The agent tells the daemon of a range by one way, and calls on it go by another: wait until the daemon
 * has heard of it. until: what it says then, 0 or -EINVAL.
 */
static int wait_known(const struct faultline_region *region, int until)
{
	struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint64_t end = now_ns() + KNOWN_NS;
	int r;

	for (;;) {
		r = connection_knows(region->ctx, region->addr);
		if (r == until)
			return 0;
		if (r && r != -EINVAL)
			return r;
		if (now_ns() > end)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
		pause.tv_nsec = min(pause.tv_nsec * 2, (long)PAUSE_MAX_NS);
	}
}

/* Not known in time: nobody would serve it. When it cannot be let go of either, there is no daemon. */
static int adopt(struct faultline_region *region)
{
	int r = agent_adopt(region->addr, region->len);

	if (r)
		return r;
	r = wait_known(region, 0);
	if (r)
		(void)agent_release(region->addr, region->len);
	return r;
}

int process_adopt(struct faultline_region *region)
{
	sigset_t mask;
	int r;

	process_lock(&mask);
	r = overlaps_another(region) ? -EBUSY : adopt(region);
	if (!r)
		LIST_INSERT_HEAD(&process.regions, region, link);
	process_unlock(&mask);
	return r;
}

int process_release(struct faultline_region *region)
{
	sigset_t mask;
	int r;

	process_lock(&mask);
	r = agent_release(region->addr, region->len);
	/* Unmapped, or mapped anew as something else: there is nothing left to let go of. */
	if (r == -EINVAL || r == -ENOMEM)
		r = 0;
	if (!r) {
		LIST_REMOVE(region, link);
		(void)wait_known(region, -EINVAL);
	}
	process_unlock(&mask);
	return r;
}

struct faultline_region *process_region_of(const struct faultline *ctx)
{
	struct faultline_region *x;
	sigset_t mask;

	process_lock(&mask);
	LIST_FOREACH(x, &process.regions, link)
		if (x->ctx == ctx)
			break;
	process_unlock(&mask);
	return x;
}

void process_forget(struct faultline_region *region)
{
	sigset_t mask;

	process_lock(&mask);
	LIST_REMOVE(region, link);
	process_unlock(&mask);
}
