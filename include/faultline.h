/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * faultline.h - buffers larger than RAM, served by faultlined. The manual: libfaultline(3).
 *
 * Calls that return int return 0, or -errno; errno itself is not used. What they return through
 * pointers is left alone on failure. A NULL handle is -EINVAL. Sizes, offsets and lengths are in
 * bytes; ranges are of whole pages. Flags are 0; bits that are not known are -EINVAL. After the
 * daemon is gone every call returns -ENOTCONN. In a child of fork(2) every call returns -ECHILD,
 * except those that free a handle.
 */
#ifndef FAULTLINE_H
#define FAULTLINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FAULTLINE_MAJOR	0
#define FAULTLINE_MINOR	1

#if defined(__GNUC__)
#define FAULTLINE_MUST_CHECK	__attribute__((__warn_unused_result__))
#else
#define FAULTLINE_MUST_CHECK
#endif

/* A connection to the daemon. Any number of threads may use one. */
struct faultline;
/* A range of this process's memory that the daemon manages. Any number of threads may use one. */
struct faultline_region;

/*
 * Contexts: faultline_new(3).
 */

/* A context, not connected; daemon and job are those that the environment names. -ENOMEM. */
int faultline_new(struct faultline **ret) FAULTLINE_MUST_CHECK;

/* Release its regions, close the connection, free it. NULL is fine. No other thread may use it. */
void faultline_free(struct faultline *ctx);

/* The path of the daemon's socket. -EINVAL, -ENAMETOOLONG, -EISCONN: too late. */
int faultline_set_socket(struct faultline *ctx, const char *path) FAULTLINE_MUST_CHECK;

/* The job: its token, 32 digits of lower-case hexadecimal. -EINVAL, -EISCONN: too late. */
int faultline_set_job(struct faultline *ctx, const char *token) FAULTLINE_MUST_CHECK;

/* Connect, and start the process's helper thread: the one call that does. Errors: faultline_new(3). */
int faultline_connect(struct faultline *ctx) FAULTLINE_MUST_CHECK;

/* What the last call on ctx that failed said; never NULL, good until this thread's next call of it. */
const char *faultline_error(const struct faultline *ctx);

/* The version of the library that runs: "0.1.0". */
const char *faultline_version(void);

/*
 * Regions: faultline_region_adopt(3).
 */

/* Have whole pages of private anonymous memory managed, where they are. -EINVAL: they are something
 * else; -EBUSY: managed already; -ENOTCONN. */
int faultline_region_adopt(struct faultline *ctx, void *addr, size_t len, uint64_t flags,
			   struct faultline_region **ret) FAULTLINE_MUST_CHECK;

/* Bring every page back, let go of the range and free the handle; on failure it stays. -ENOTCONN. */
int faultline_region_release(struct faultline_region *region);

#define FAULTLINE_ADVICE_NORMAL		0
#define FAULTLINE_ADVICE_SEQUENTIAL	1	/* bring in much ahead */
#define FAULTLINE_ADVICE_RANDOM		2	/* bring in nothing ahead */
#define FAULTLINE_ADVICE_WILLNEED	3	/* bring it in, in the background */
#define FAULTLINE_ADVICE_COLD		4	/* first to be taken out, when something has to be */
#define FAULTLINE_ADVICE_EVICT		5	/* take it out, in the background */

/* Say how a part of the region is used: bytes from offset on. -EINVAL, -ENOTCONN. */
int faultline_region_advise(struct faultline_region *region, size_t offset, size_t len,
			    int advice) FAULTLINE_MUST_CHECK;

struct faultline_region_stat {
	uint32_t size;		/* set it to the size of this structure before the call */
	uint32_t pad;
	uint64_t bytes;		/* of the region, and of the states below: their sum */
	uint64_t resident;	/* in RAM */
	uint64_t stored;	/* taken out */
	uint64_t moving;	/* on their way in or out */
	uint64_t untouched;	/* without contents: they read as zeros */
};

/* How much of the region is where, as of now. -EINVAL: also a size that is too small; -ENOTCONN. */
int faultline_region_stat(struct faultline_region *region,
			  struct faultline_region_stat *ret) FAULTLINE_MUST_CHECK;

/*
 * Reservations: faultline_region_reserve(3). A reserved region belongs to one thread: others that touch
 * a page of it that is not in RAM wait until it is unreserved.
 */

#define FAULTLINE_FOREVER	UINT64_MAX

/* Reserve the region for the calling thread, in turn. -EDEADLK: it has it already; -ENOTCONN. */
int faultline_region_reserve(struct faultline_region *region) FAULTLINE_MUST_CHECK;

/* The same, at once: -EBUSY when somebody has it or waits for it. */
int faultline_region_try_reserve(struct faultline_region *region) FAULTLINE_MUST_CHECK;

/* The same, waiting no longer than so many nanoseconds: -ETIMEDOUT. */
int faultline_region_reserve_timed(struct faultline_region *region,
				   uint64_t timeout_ns) FAULTLINE_MUST_CHECK;

/* Give it up, from any thread of this context. -EPERM: it is not reserved through this context. */
int faultline_region_unreserve(struct faultline_region *region);

/* Wait, no longer than so many nanoseconds, until it is unreserved once; hold nothing. -ETIMEDOUT,
 * -EDEADLK: by the thread that has it. */
int faultline_region_wait_unreserved(struct faultline_region *region,
				     uint64_t timeout_ns) FAULTLINE_MUST_CHECK;

/*
 * The job: faultline_stat(3).
 */

#define FAULTLINE_JOB_IDLE	0	/* it fits, nothing is managed */
#define FAULTLINE_JOB_ACTIVE	1
#define FAULTLINE_JOB_DEGRADED	2	/* over its budget, and nothing more can be taken out */

struct faultline_stat {
	uint32_t size;		/* set it to the size of this structure before the call */
	uint32_t state;		/* FAULTLINE_JOB_* */
	uint64_t job;		/* its number, as faultline(1) shows it */
	uint64_t sessions;	/* processes that are in it */
	/* bytes */
	uint64_t budget;
	uint64_t resident;	/* managed and in RAM */
	uint64_t unmanaged;	/* anonymous memory in RAM that is not managed */
	uint64_t peak;		/* RAM that the job has cost at its highest */
	uint64_t stored;	/* taken out, wherever it is */
	uint64_t pool;		/* of that: in the compressed pool */
	uint64_t pool_used;	/* RAM that the pool takes */
	uint64_t swap;		/* of that: in the swap file */
	uint64_t swap_used;	/* size of the swap file */
	uint64_t poisoned;	/* lost: whoever touches it gets SIGBUS */
	/* faults that were answered, by what they were answered with */
	uint64_t faults;	/* all of them: the sum of the next five */
	uint64_t faults_zero;	/* a first touch, or a page of one repeated value */
	uint64_t faults_pool;	/* from the pool */
	uint64_t faults_swap;	/* from the swap file */
	uint64_t faults_present;	/* it was there */
	uint64_t faults_poison;	/* SIGBUS */
	/* of those */
	uint64_t faults_parked;	/* had to wait for a page under way, or for a reservation */
	uint64_t faults_budget;	/* had to wait for other pages to leave */
	/* pages */
	uint64_t evicted;	/* taken out, ever */
	uint64_t refaults;	/* ... and asked for again */
	uint64_t prefetched;	/* brought in ahead */
	/* nanoseconds, from a fault's arrival at the daemon to its answer */
	uint64_t fault_p50_ns;
	uint64_t fault_p99_ns;
	uint64_t fault_p999_ns;
};

/* The counters of the job that this process is in. -EINVAL: also a size that is too small; -ENOTCONN. */
int faultline_stat(struct faultline *ctx, struct faultline_stat *ret) FAULTLINE_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
