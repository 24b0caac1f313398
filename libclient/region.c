/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * region.c - the calls of libfaultline on memory that the daemon manages, and on the job.
 *
 * A region is a range that was adopted, for as long as its handle lives. Its handle never changes: any
 * thread may use it, until one releases it. What is true of the memory only the daemon knows.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/align.h"
#include "libclient/internal.h"

#define REGION_MAX	(UINT64_C(64) << 30)	/* bytes of one buffer object of the daemon */

_Static_assert(FAULTLINE_ADVICE_NORMAL == FLP_ADVICE_NORMAL &&
	       FAULTLINE_ADVICE_SEQUENTIAL == FLP_ADVICE_SEQUENTIAL &&
	       FAULTLINE_ADVICE_RANDOM == FLP_ADVICE_RANDOM &&
	       FAULTLINE_ADVICE_WILLNEED == FLP_ADVICE_WILLNEED &&
	       FAULTLINE_ADVICE_COLD == FLP_ADVICE_COLD &&
	       FAULTLINE_ADVICE_EVICT == FLP_ADVICE_EVICT, "advice is sent as it is given");
_Static_assert(FAULTLINE_JOB_IDLE == (int)FLP_JOB_IDLE && FAULTLINE_JOB_ACTIVE == (int)FLP_JOB_ACTIVE &&
	       FAULTLINE_JOB_DEGRADED == (int)FLP_JOB_DEGRADED, "states are handed on as they come");

static int region_check(const struct faultline_region *region)
{
	if (!region)
		return -EINVAL;
	return region->pid == getpid() ? context_check(region->ctx) : -ECHILD;
}

static int no_room(struct faultline *ctx, const char *what, uint32_t size, size_t least)
{
	return context_fail(ctx, -EINVAL, "%s: size is %u, where it is at least %zu", what, size, least);
}

/* ---- what the memory is ---- */

/* One line of /proc/self/maps: "start-end rw-p offset dev inode   name". */
struct area {
	uint64_t start, end;
	char perms[5];
	bool anonymous;
};

static const char *number(const char *p, unsigned int base, uint64_t *ret)
{
	uint64_t v = 0;

	for (;; p++) {
		unsigned int digit = *p >= '0' && *p <= '9' ? (unsigned int)(*p - '0') :
				     *p >= 'a' && *p <= 'f' ? (unsigned int)(*p - 'a') + 10 : base;

		if (digit >= base)
			break;
		v = v * base + digit;
	}
	*ret = v;
	return p;
}

static const char *next_field(const char *p)
{
	while (*p && *p != ' ')
		p++;
	while (*p == ' ')
		p++;
	return p;
}

static void parse_area(const char *line, struct area *ret)
{
	const char *p = number(line, 16, &ret->start);
	uint64_t inode;

	p = next_field(number(p + (*p == '-'), 16, &ret->end));
	for (unsigned int i = 0; i < 4; i++)
		ret->perms[i] = *p && *p != ' ' ? *p++ : '-';
	ret->perms[4] = '\0';
	p = next_field(next_field(next_field(p)));	/* past permissions, offset, device */
	p = next_field(number(p, 10, &inode));
	ret->anonymous = !inode && (!*p || !strncmp(p, "[heap]", 6) || !strncmp(p, "[anon:", 6));
}

struct look {
	uint64_t at, end;		/* what is still to be found */
	const char *wrong;
};

/* True: enough has been seen. */
static bool look_at(struct look *l, const char *line)
{
	struct area a;

	parse_area(line, &a);
	if (a.end <= l->at)
		return false;
	if (a.start > l->at)
		l->wrong = "a part of it is not mapped";
	else if (a.perms[3] != 'p' || !a.anonymous)
		l->wrong = "a part of it is not private anonymous memory, or is a stack";
	else if (strncmp(a.perms, "rw-", 3) != 0)
		l->wrong = "a part of it is not readable and writable, or is executable";
	l->at = min(a.end, l->end);
	return l->wrong || l->at == l->end;
}

/* Without stdio: its buffer is on the heap, which may be what is asked about. */
static int look_through(int fd, struct look *l)
{
	char buf[4096];
	size_t have = 0;
	ssize_t n;

	while ((n = read(fd, buf + have, sizeof(buf) - 1 - have)) != 0) {
		char *line = buf, *nl;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
		buf[have] = '\0';
		while ((nl = strchr(line, '\n'))) {
			*nl = '\0';
			if (look_at(l, line))
				return 0;
			line = nl + 1;
		}
		have -= (size_t)(line - buf);
		memmove(buf, line, have);
		if (have == sizeof(buf) - 1)	/* a name longer than any of ours: its end is not needed */
			have /= 2;
	}
	l->wrong = "a part of it is not mapped";
	return 0;
}

/* The kernel says no to a part of what must not be adopted; the rest is found out here. */
static int check_memory(struct faultline *ctx, uint64_t addr, uint64_t len)
{
	_cleanup_close_ int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct look l = { .at = addr, .end = addr + len };
	uint64_t stack = (uint64_t)(uintptr_t)&l;
	int r = fd < 0 ? -errno : look_through(fd, &l);

	if (r)
		return context_fail(ctx, r, "region_adopt: /proc/self/maps: %s", strerrordesc_np(-r));
	if (!l.wrong && stack - addr < len)
		l.wrong = "it holds the stack of this thread";
	return l.wrong ? context_fail(ctx, -EINVAL, "region_adopt: %s", l.wrong) : 0;
}

/* ---- adopting ---- */

static int check_range(struct faultline *ctx, const void *addr, size_t len, uint64_t flags)
{
	uint64_t at = (uint64_t)(uintptr_t)addr;

	if (flags)
		return context_fail(ctx, -EINVAL, "region_adopt: unknown flags %#llx",
				    (unsigned long long)flags);
	if (!page_range_ok(at, len))
		return context_fail(ctx, -EINVAL, "region_adopt: %p and %zu bytes are not whole pages",
				    addr, len);
	if (len > REGION_MAX)
		return context_fail(ctx, -EFBIG, "region_adopt: a region has at most %llu GiB",
				    (unsigned long long)(REGION_MAX >> 30));
	return check_memory(ctx, at, len);
}

static int adopt_failed(struct faultline *ctx, int error)
{
	switch (error) {
	case -EBUSY:
		return context_fail(ctx, error, "region_adopt: a part of it is managed already");
	case -ENOTCONN:
		return context_fail(ctx, error, "region_adopt: the daemon is gone");
	case -EAGAIN:
		return context_fail(ctx, error, "region_adopt: too many threads wait for answers on this "
				    "context");
	case -ETIMEDOUT:
		return context_fail(ctx, error, "region_adopt: the daemon did not take it over");
	default:
		return context_fail(ctx, error, "region_adopt: the kernel refused: %s",
				    strerrordesc_np(-error));
	}
}

/* Asked before anything is registered: a range that nobody serves blocks whoever touches it. */
static int check_connected(struct faultline *ctx, const char *what)
{
	bool connected;
	sigset_t mask;

	context_lock(ctx, &mask);
	connected = ctx->state == CONTEXT_CONNECTED;
	context_unlock(ctx, &mask);
	return connected ? 0 : context_fail(ctx, -ENOTCONN, "%s: there is no connection to a daemon", what);
}

FAULTLINE_API int faultline_region_adopt(struct faultline *ctx, void *addr, size_t len, uint64_t flags,
					 struct faultline_region **ret)
{
	struct faultline_region *region;
	int r = context_check(ctx);
	_uncancelled_;

	if (r)
		return r;
	if (!ret)
		return context_fail(ctx, -EINVAL, "region_adopt: nowhere to return the handle");
	r = check_connected(ctx, "region_adopt");
	if (!r)
		r = check_range(ctx, addr, len, flags);
	if (r)
		return r;
	region = own_memory(sizeof(*region));
	if (!region)
		return context_fail(ctx, -ENOMEM, "region_adopt: no memory");
	*region = (struct faultline_region){
		.ctx = ctx, .pid = getpid(), .addr = (uint64_t)(uintptr_t)addr, .len = len,
	};
	r = process_adopt(region);
	if (r) {
		own_memory_free(region, sizeof(*region));
		return adopt_failed(ctx, r);
	}
	*ret = region;
	return 0;
}

FAULTLINE_API int faultline_region_release(struct faultline_region *region)
{
	_uncancelled_;
	int r = 0;

	if (!region)
		return -EINVAL;
	if (region->pid != getpid())
		process_forget(region);
	else
		r = process_release(region);
	if (r)
		return context_fail(region->ctx, r, "region_release: %s", r == -ENOTCONN ?
				    "the daemon is gone" : strerrordesc_np(-r));
	own_memory_free(region, sizeof(*region));
	return 0;
}

/* ---- looking and advising ---- */

FAULTLINE_API int faultline_region_advise(struct faultline_region *region, size_t offset, size_t len,
					  int advice)
{
	struct flp_advise m = { .advice = (uint32_t)advice };
	int r = region_check(region);

	if (r)
		return r;
	if (!page_range_ok(offset, len) || offset + len > region->len)
		return context_fail(region->ctx, -EINVAL, "region_advise: %zu bytes at %zu are not whole "
				    "pages of the region", len, offset);
	if (advice < FAULTLINE_ADVICE_NORMAL || advice > FAULTLINE_ADVICE_EVICT)
		return context_fail(region->ctx, -EINVAL, "region_advise: unknown advice %d", advice);
	m.addr = region->addr + offset;
	m.len = len;
	return connection_call(region->ctx, "region_advise", FLP_ADVISE, &m, 0, NULL, 0);
}

FAULTLINE_API int faultline_region_stat(struct faultline_region *region,
					struct faultline_region_stat *ret)
{
	struct flp_range_status st = { 0 };
	struct flp_range m;
	int r = region_check(region);

	if (r)
		return r;
	if (!ret)
		return context_fail(region->ctx, -EINVAL, "region_stat: nowhere to return it");
	if (ret->size < sizeof(*ret))
		return no_room(region->ctx, "region_stat", ret->size, sizeof(*ret));
	m = (struct flp_range){ .addr = region->addr, .len = region->len };
	r = connection_call(region->ctx, "region_stat", FLP_RANGE_STAT, &m, FLP_RANGE_STATUS, &st,
			    sizeof(st));
	if (r)
		return r;
	/* A newer caller's structure is longer: what this library does not know stays as it is. */
	*ret = (struct faultline_region_stat){
		.size = sizeof(*ret),
		.bytes = st.pages * FL_PAGE_SIZE,
		.resident = st.resident * FL_PAGE_SIZE,
		.stored = st.stored * FL_PAGE_SIZE,
		.moving = st.moving * FL_PAGE_SIZE,
		.untouched = st.unknown * FL_PAGE_SIZE,
	};
	return 0;
}

static uint64_t answered(const struct flp_counters *c)
{
	return c->faults[FLP_FAULT_ZERO] + c->faults[FLP_FAULT_SAME] + c->faults[FLP_FAULT_POOL] +
	       c->faults[FLP_FAULT_SWAP] + c->faults[FLP_FAULT_PRESENT] + c->faults[FLP_FAULT_POISON];
}

static void fill_stat(struct faultline_stat *ret, const struct flp_status_job *j)
{
	const struct flp_counters *c = &j->c;

	*ret = (struct faultline_stat){
		.size = sizeof(*ret),
		.state = j->state,
		.job = j->job,
		.sessions = j->n_sessions,
		.budget = j->budget,
		.resident = c->resident,
		.unmanaged = c->unmanaged,
		.peak = c->resident_peak,
		.stored = c->stored,
		.pool = c->pool_pages,
		.pool_used = c->pool_used,
		.swap = c->swap_pages,
		.swap_used = c->swap_used,
		.poisoned = c->poisoned * FL_PAGE_SIZE,
		.faults = answered(c),
		.faults_zero = c->faults[FLP_FAULT_ZERO] + c->faults[FLP_FAULT_SAME],
		.faults_pool = c->faults[FLP_FAULT_POOL],
		.faults_swap = c->faults[FLP_FAULT_SWAP],
		.faults_present = c->faults[FLP_FAULT_PRESENT],
		.faults_poison = c->faults[FLP_FAULT_POISON],
		.faults_parked = c->faults[FLP_FAULT_PARKED],
		.faults_budget = c->faults[FLP_FAULT_BUDGET],
		.evicted = c->evicted,
		.refaults = c->refaults,
		.prefetched = c->prefetched,
		.fault_p50_ns = c->fault_p50_ns,
		.fault_p99_ns = c->fault_p99_ns,
		.fault_p999_ns = c->fault_p999_ns,
	};
}

FAULTLINE_API int faultline_stat(struct faultline *ctx, struct faultline_stat *ret)
{
	const struct flp_status m = { .job = 0 };
	struct flp_status_job j;
	int r = context_check(ctx);

	if (r)
		return r;
	if (!ret)
		return context_fail(ctx, -EINVAL, "stat: nowhere to return it");
	if (ret->size < sizeof(*ret))
		return no_room(ctx, "stat", ret->size, sizeof(*ret));
	r = connection_call(ctx, "stat", FLP_STATUS, &m, FLP_STATUS_JOB, &j, sizeof(j));
	if (!r)
		fill_stat(ret, &j);
	return r;
}

/* ---- reservations ---- */

static int reserve(struct faultline_region *region, const char *what, enum flp_type type,
		   uint64_t timeout_ns)
{
	struct flp_reserve m = { .tid = (uint32_t)gettid() };
	int r = region_check(region);

	if (r)
		return r;
	m.addr = region->addr;
	m.len = region->len;
	m.timeout_ns = timeout_ns > INT64_MAX ? -1 : (int64_t)timeout_ns;
	return connection_call(region->ctx, what, type, &m, 0, NULL, 0);
}

FAULTLINE_API int faultline_region_reserve(struct faultline_region *region)
{
	return reserve(region, "region_reserve", FLP_RESERVE, FAULTLINE_FOREVER);
}

FAULTLINE_API int faultline_region_try_reserve(struct faultline_region *region)
{
	return reserve(region, "region_try_reserve", FLP_RESERVE, 0);
}

/* The daemon says EBUSY where nothing was waited for. */
static int timed_out(int r)
{
	return r == -EBUSY ? -ETIMEDOUT : r;
}

FAULTLINE_API int faultline_region_reserve_timed(struct faultline_region *region, uint64_t timeout_ns)
{
	return timed_out(reserve(region, "region_reserve_timed", FLP_RESERVE, timeout_ns));
}

FAULTLINE_API int faultline_region_wait_unreserved(struct faultline_region *region, uint64_t timeout_ns)
{
	return timed_out(reserve(region, "region_wait_unreserved", FLP_WAIT_UNRESERVED, timeout_ns));
}

FAULTLINE_API int faultline_region_unreserve(struct faultline_region *region)
{
	struct flp_range m;
	int r = region_check(region);

	if (r)
		return r;
	m = (struct flp_range){ .addr = region->addr, .len = region->len };
	return connection_call(region->ctx, "region_unreserve", FLP_UNRESERVE, &m, 0, NULL, 0);
}
