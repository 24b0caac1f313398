/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * faultline-protocol.h - what is said on the socket of faultlined.
 *
 * The socket is AF_UNIX, SOCK_SEQPACKET: one send is one message. Both ends are on one
 * machine and of one architecture: fields have the host's byte order and natural
 * alignment, and every padding is written out, sent as zero and checked. A message is a
 * struct flp_header followed by the body that its type names; header.len counts both and
 * equals the size of the packet. The descriptors that a message carries (SCM_RIGHTS) are
 * listed at its type; more or fewer are an error, and the receiver closes them all. A peer
 * that breaks a rule gets FLP_ERROR where that can be sent, and is dropped.
 *
 * Numbers are never used twice. A peer of another FLP_VERSION is refused in the reply to
 * its FLP_HELLO, whose layout stays what it is for ever.
 */
#ifndef FAULTLINE_PROTOCOL_H
#define FAULTLINE_PROTOCOL_H

#include <stdint.h>

#define FLP_MAGIC	UINT32_C(0x31544c46)	/* "FLT1", first byte first */
#define FLP_VERSION	1
#define FLP_MAX_MESSAGE	4096
#define FLP_MAX_FDS	4
#define FLP_TOKEN_SIZE	16
#define FLP_TEXT_SIZE	256

#define FLP_SOCKET_PATH	"/run/faultline/socket"	/* of the system service */
#define FLP_ENV_SOCKET	"FAULTLINE_SOCKET"	/* a job's children: where the daemon is */
#define FLP_ENV_JOB	"FAULTLINE_JOB"		/* ... and which job: the token, in hex */

enum flp_type {
	/* anyone; first on every connection */
	FLP_HELLO		= 1,	/* struct flp_hello */
	FLP_WELCOME		= 2,	/* struct flp_welcome; the agent gets 1 fd: /dev/userfaultfd */
	FLP_ERROR		= 3,	/* struct flp_error: the answer to any request that failed */
	FLP_OK			= 4,	/* no body: the answer to a request that has nothing to say */

	/* the agent of a client */
	FLP_ATTACH		= 10,	/* struct flp_attach; 2 fds: userfaultfd A (events), B (staging),
					 * neither initialised by UFFDIO_API */
	FLP_ATTACHED		= 11,	/* struct flp_attached; 3 fds: session memory (memfd of
					 * faultline-shared.h), pool (memfd), kick (eventfd) */

	/* faultline run */
	FLP_JOB_CREATE		= 20,	/* struct flp_job_create; 0 or 1 fd: the swap file */
	FLP_JOB_CREATED		= 21,	/* struct flp_job_created */
	FLP_LOG			= 22,	/* struct flp_log, unasked, to the connection that made the job */

	/* faultline status; answered by any number of records, then FLP_OK. libfaultline: of the job
	 * that its agent is in, whatever is asked for, without sessions. */
	FLP_STATUS		= 30,	/* struct flp_status: which job, or all that the caller may see */
	FLP_STATUS_DAEMON	= 31,	/* struct flp_status_daemon */
	FLP_STATUS_JOB		= 32,	/* struct flp_status_job */
	FLP_STATUS_SESSION	= 33,	/* struct flp_status_session */

	/* libfaultline; on a connection of the same process as the agent's */
	FLP_RESERVE		= 40,	/* struct flp_reserve; FLP_OK when it is reserved */
	FLP_UNRESERVE		= 41,	/* struct flp_range */
	FLP_WAIT_UNRESERVED	= 42,	/* struct flp_reserve (flags 0) */
	FLP_ADVISE		= 43,	/* struct flp_advise */
	FLP_RANGE_STAT		= 44,	/* struct flp_range */
	FLP_RANGE_STATUS	= 45,	/* struct flp_range_status */
};

struct flp_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t len;
	uint32_t cookie;		/* the answer carries the request's */
};

enum flp_role {
	FLP_ROLE_AGENT		= 1,	/* becomes a session of the job */
	FLP_ROLE_LIBRARY	= 2,	/* calls on the session of the same process */
	FLP_ROLE_CONTROL	= 3,	/* run, status */
};

struct flp_hello {
	uint32_t version;		/* FLP_VERSION */
	uint32_t role;			/* enum flp_role */
	uint8_t  job[FLP_TOKEN_SIZE];	/* all zero: the caller's default job (service only) */
	uint32_t agent_tid;		/* of the agent's thread, in the client's pid namespace */
	uint32_t flags;			/* 0 */
	char	 name[32];		/* of the program; NUL-terminated, untrusted */
};

struct flp_welcome {
	uint32_t version;
	uint32_t generation;		/* of the daemon: changes when it is restarted */
	uint64_t session;		/* number of the session, of an agent; else 0 */
	uint64_t budget;		/* bytes, of the job; 0 for a control connection */
	uint64_t uffd_features;		/* what UFFDIO_API will be asked for */
	uint32_t pid;			/* of the daemon */
	uint32_t pad;
};

struct flp_error {
	int32_t	 error;			/* -errno */
	uint32_t pad;
	char	 text[FLP_TEXT_SIZE];	/* one line for a person */
};

struct flp_attach {
	uint64_t s1, s2;		/* staging areas: FLS_SLOTS * FLS_SLOT_PAGES pages each */
	uint64_t flags;			/* FLP_ATTACH_* */
};
#define FLP_ATTACH_LIBRARY	(UINT64_C(1) << 0)	/* manage only what is adopted by call */

struct flp_attached {
	uint64_t memory_size;		/* of the session memory */
	uint64_t pool_size;		/* of the pool's memfd, sparse */
};

struct flp_job_create {
	uint64_t budget;		/* bytes */
	uint64_t pool_max;		/* bytes; UINT64_MAX: the daemon's default share */
	uint64_t swap_max;		/* bytes; UINT64_MAX: as the file system allows */
	uint32_t prefetch;		/* pages, 0 to 512; UINT32_MAX: default */
	uint32_t flags;			/* FLP_JOB_* */
	char	 name[32];
};
#define FLP_JOB_NO_SWAP		(1u << 0)	/* no fd; swap_max 0 */
#define FLP_JOB_OWN_SWAP	(1u << 1)	/* 1 fd, open for reading and writing; else the
						 * daemon makes a file without a name */

struct flp_job_created {
	uint8_t	 token[FLP_TOKEN_SIZE];
	uint64_t job;			/* its number */
};

struct flp_log {
	uint32_t level;			/* as syslog(3): 3 error .. 7 debug */
	uint32_t pad;
	char	 text[FLP_TEXT_SIZE];
};

struct flp_status {
	uint64_t job;			/* 0: all */
};

struct flp_status_daemon {
	uint32_t pid;
	uint32_t generation;
	uint64_t uptime_us;
	uint64_t n_jobs, n_sessions;
	uint64_t uffd_features;
	char	 version[32];
	char	 engine[16];		/* "io_uring" or "threads" */
	char	 mode[16];		/* "service" or "private" */
};

enum flp_job_state {
	FLP_JOB_IDLE		= 0,	/* nothing adopted: it fits */
	FLP_JOB_ACTIVE		= 1,
	FLP_JOB_DEGRADED	= 2,	/* over budget, nothing more can be taken out: reason */
};

#define FLP_FAULT_ZERO		0	/* first touch */
#define FLP_FAULT_SAME		1	/* same-filled or known zero, made anew */
#define FLP_FAULT_POOL		2	/* from the compressed pool */
#define FLP_FAULT_SWAP		3	/* from the swap file */
#define FLP_FAULT_PRESENT	4	/* there already: a duplicate */
#define FLP_FAULT_PARKED	5	/* had to wait for a page or a reservation (also counted above) */
#define FLP_FAULT_BUDGET	6	/* had to wait for the budget (also counted above) */
#define FLP_FAULT_POISON	7	/* answered with SIGBUS */
#define FLP_FAULT_KINDS		8

/* Counters of a job; a job's are the sums over its sessions, the ended ones included. */
struct flp_counters {
	uint64_t resident;		/* bytes, managed */
	uint64_t resident_peak;		/* bytes, managed + unmanaged + pool: the job's cost at its highest */
	uint64_t unmanaged;		/* bytes of anonymous memory that is not adopted */
	uint64_t staging;		/* bytes on their way out */
	uint64_t stored;		/* bytes of pages that are out, of any kind */
	uint64_t zero;			/* of those: all zeros */
	uint64_t same;			/* of those: same-filled */
	uint64_t pool_pages;		/* of those: bytes before compression in the pool */
	uint64_t pool_live;		/* bytes after compression, headers counted */
	uint64_t pool_used;		/* bytes of RAM that the pool's extents take */
	uint64_t swap_pages;		/* bytes before compression in the swap file */
	uint64_t swap_live;		/* bytes after */
	uint64_t swap_used;		/* bytes of the file */
	uint64_t clean;			/* bytes of resident pages that keep a stored copy */
	uint64_t poisoned;		/* pages */
	uint64_t faults[FLP_FAULT_KINDS];
	uint64_t prefetched;		/* pages */
	uint64_t prefetch_used;		/* pages that were prefetched and not dropped unchanged */
	uint64_t evicted;		/* pages taken out */
	uint64_t evict_clean;		/* of those: unchanged, nothing was compressed */
	uint64_t evict_kept;		/* tries that ended with the page returned */
	uint64_t refaults;		/* faults on pages that had been taken out */
	uint64_t clean_drops;		/* stored copies dropped to make room */
	uint64_t compressed_in;		/* bytes given to the compressor, all time */
	uint64_t compressed_out;	/* bytes that it made */
	uint64_t swap_writes, swap_reads;	/* bytes, all time */
	uint64_t compactions;		/* extents and segments cleaned */
	uint64_t checksum_errors;
	uint64_t fault_p50_ns, fault_p99_ns, fault_p999_ns;	/* from read to answered */
};

struct flp_status_job {
	uint64_t job;
	uint32_t uid;
	uint32_t state;			/* enum flp_job_state */
	uint64_t budget, pool_max, swap_max;
	uint32_t prefetch;
	uint32_t n_sessions;
	char	 name[32];
	char	 reason[128];		/* of DEGRADED, else empty */
	struct flp_counters c;
};

struct flp_status_session {
	uint64_t session, job;
	uint32_t pid, uid;
	uint32_t home;			/* CPU of its worker */
	uint32_t n_regions;
	uint64_t virtual_bytes;		/* registered */
	char	 name[32];
	struct flp_counters c;
};

struct flp_range {
	uint64_t addr, len;		/* in the client's memory; whole pages */
};

struct flp_reserve {
	uint64_t addr, len;
	int64_t	 timeout_ns;		/* < 0: for ever; 0: try, -EBUSY */
	uint32_t tid;			/* the thread that will hold it */
	uint32_t flags;			/* 0 */
};

enum flp_advice {
	FLP_ADVICE_NORMAL	= 0,
	FLP_ADVICE_SEQUENTIAL	= 1,
	FLP_ADVICE_RANDOM	= 2,	/* no prefetch */
	FLP_ADVICE_WILLNEED	= 3,	/* bring it in */
	FLP_ADVICE_COLD		= 4,	/* first to go */
	FLP_ADVICE_EVICT	= 5,	/* take it out now */
};

struct flp_advise {
	uint64_t addr, len;
	uint32_t advice;
	uint32_t pad;
};

struct flp_range_status {
	uint64_t pages, resident, stored, unknown, moving;
};

#endif
