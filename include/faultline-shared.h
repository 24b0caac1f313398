/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * faultline-shared.h - the memory that the daemon and one client's agent share.
 *
 * A memfd that the daemon creates and seals, mapped by both. It carries the commands of the
 * daemon to the agent, the agent's reports, and the lock and the epoch that keep an eviction
 * and the reading of userfaultfd events apart. The client can write all of it at any time:
 * the daemon keeps its own copy of what it decided, reads each field of a report once, and
 * believes nothing that could harm anybody but this client.
 *
 * Lock. Held by the daemon around {read events, apply them, raise the epoch, stamp again},
 * by the agent around {the epoch is still the slot's; MOVE} and around {publish ADOPTING,
 * REGISTER}. The agent waits on it with a futex and a time-out; the daemon only ever tries.
 * Layout of the word: bits 0..1 owner (0 nobody, 1 agent, 2 daemon), bit 2 the agent sleeps
 * on it, bit 3 the daemon wants a kick when it is free, bits 8..31 the daemon's generation.
 *
 * Slot. One eviction of up to FLS_SLOT_PAGES pages has a slot: a descriptor here and an area
 * of that many pages in each of the staging areas S1 and S2. Page i of a slot always uses
 * page i of its areas. The daemon owns a slot that is not handed out by a command; the agent
 * owns it from the command until it has reported it DONE.
 *
 * Rings. Single producer, single consumer; tail is written by the producer, head by the
 * consumer, both free-running. The producer publishes with release, the consumer reads with
 * acquire. A sleeping agent waits on cmd_bell (futex); the daemon sleeps on the kick eventfd.
 */
#ifndef FAULTLINE_SHARED_H
#define FAULTLINE_SHARED_H

#include <stdint.h>

#define FLS_MAGIC	UINT32_C(0x534c4c46)	/* "FLLS" */
#define FLS_VERSION	1

#define FLS_PAGE	4096u
#define FLS_SLOTS	32u
#define FLS_SLOT_PAGES	64u
#define FLS_CMDS	128u
#define FLS_REPORTS	1024u
#define FLS_EXTENT	(1u << 20)		/* bytes: unit of the pool, and of the swap file */

#define FLS_LOCK_AGENT	1u
#define FLS_LOCK_DAEMON	2u
#define FLS_LOCK_OWNER	3u
#define FLS_LOCK_SLEEP	4u
#define FLS_LOCK_KICK	8u
#define FLS_LOCK_GEN	0xffffff00u

/*
 * A record: one page as it lies in a pool extent or a swap segment, 8-byte aligned, never
 * across an extent's end. The sum is XXH3-128 of the page's plain bytes, seeded by
 * fls_seed() of the session's secret and the page's identity.
 */
enum fls_codec {
	FLS_CODEC_RAW	= 1,		/* len == FLS_PAGE */
	FLS_CODEC_LZ4	= 2,
	FLS_CODEC_ZSTD	= 3,
};

struct fls_record {
	uint64_t sum_lo, sum_hi;
	uint32_t bo;
	uint32_t index;			/* of the page in its bo */
	uint16_t len;			/* of the payload that follows, bytes */
	uint8_t	 codec;
	uint8_t	 gen;			/* of the page's contents, modulo 256 */
	uint32_t pad;
};
#define FLS_RECORD_MAX	(sizeof(struct fls_record) + FLS_PAGE)

static inline uint64_t fls_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline uint64_t fls_seed(uint64_t secret, uint32_t bo, uint32_t index, uint8_t gen)
{
	return fls_mix(fls_mix(secret ^ ((uint64_t)bo << 32 | index)) ^ (secret + gen));
}

/* What became of a page of a slot. */
enum fls_result {
	FLS_R_NONE	= 0,
	FLS_R_STAYED	= 1,		/* never left: pinned, EAGAIN, called off before the MOVE */
	FLS_R_HOLE	= 2,		/* there was nothing at the address */
	FLS_R_ZERO	= 3,		/* all zeros; the page is gone */
	FLS_R_SAME	= 4,		/* every 8 bytes equal sum; gone */
	FLS_R_CLEAN	= 5,		/* equal to the stored copy (old_sum); gone */
	FLS_R_STORED	= 6,		/* a record at loc in the pool; gone */
	FLS_R_KEPT	= 7,		/* in staging, the only copy: RETURN or DROP it */
	FLS_R_RETURNED	= 8,		/* back at its address */
	FLS_R_DROPPED	= 9,
};

#define FLS_P_HAS_OLD	1u		/* old_sum is valid: say CLEAN when it is equal */
#define FLS_P_NO_RAW	2u		/* if it does not compress, KEEP it */

struct fls_page {
	/* by the daemon, before the command */
	uint64_t va;
	uint64_t old_sum;		/* sum_lo of the stored copy, under generation old_gen */
	uint32_t bo;
	uint32_t index;
	uint8_t	 old_gen;
	uint8_t	 gen;			/* for a new record */
	uint8_t	 flags;			/* FLS_P_* */
	/* by the agent */
	uint8_t	 result;		/* enum fls_result */
	uint8_t	 codec;
	uint8_t	 in_s1;			/* KEPT in S1, not in S2 */
	uint16_t len;			/* of the record's payload */
	uint64_t loc;			/* byte offset of the record in the pool */
	uint64_t sum;			/* sum_lo of the record; the value of SAME */
};

struct fls_slot {
	uint64_t epoch;			/* under the lock; daemon stamps */
	uint64_t wanted;		/* bit i: page i was touched; daemon sets (atomic or) */
	uint64_t mask;			/* of RETURN and DROP: which pages */
	uint32_t n;			/* pages of it that are used */
	uint32_t pad;
	struct fls_page page[FLS_SLOT_PAGES];
};

enum fls_op {
	FLS_OP_NONE	= 0,		/* taken already */
	FLS_OP_EVICT	= 1,		/* slot; answered by DONE(slot) */
	FLS_OP_RETURN	= 2,		/* slot, mask: put back at page.va; DONE(slot) */
	FLS_OP_DROP	= 3,		/* slot, mask: free the staged pages; DONE(slot) */
	FLS_OP_GRANT	= 4,		/* a=offset, b=len: an extent of the pool to append to */
	FLS_OP_ADOPT	= 5,		/* look for areas to adopt, a: smallest size in bytes;
					 * answered by ADOPTING.. and ADOPT_END */
	FLS_OP_SCAN	= 6,		/* a=addr, b=len: report what is present of it again, c: the
					 * epoch; PRESENT.. then SCANNED */
	FLS_OP_UNREGISTER = 7,		/* a=addr, b=len: all resident; UNREGISTERED */
	FLS_OP_FORKABLE	= 8,		/* a=addr, b=len, c=0 DONTFORK, 1 DOFORK; FORKABLE */
	FLS_OP_QUIESCED	= 9,		/* answer to FLS_RP_QUIESCE: everything is resident
					 * (a=0) or that cannot be done (a=errno) */
};

struct fls_cmd {
	uint32_t op;			/* enum fls_op */
	uint32_t slot;
	uint64_t a, b, c;
};

enum fls_rp {
	FLS_RP_DONE	= 1,		/* slot */
	FLS_RP_ADOPTING	= 2,		/* a=addr, b=len: about to be registered (under the lock) */
	FLS_RP_ADOPT_FAILED = 3,	/* a=addr, b=len, c=errno: that was not registered */
	FLS_RP_PRESENT	= 4,		/* a=addr, b=len, c=epoch from before the look */
	FLS_RP_SCANNED	= 5,		/* a=addr, b=len, c=epoch: all of it has been looked at */
	FLS_RP_ADOPT_END = 6,
	FLS_RP_NEED_EXTENT = 7,		/* the granted extents are used up */
	FLS_RP_UNREGISTERED = 8,	/* a=addr, b=len, c=errno */
	FLS_RP_QUIESCE	= 9,		/* a=1: bring everything back and hold (a fork); a=0: go on */
	FLS_RP_FORKABLE	= 10,		/* a=addr, b=len, c=errno */
	FLS_RP_EXTENT_FULL = 11,	/* a=offset, b=bytes used: the agent will append no more */
	FLS_RP_REFUSED	= 12,		/* c=errno: a system call was refused; evict no more */
	FLS_RP_RELEASE	= 13,		/* a=addr, b=len: bring it back, then UNREGISTER */
};

struct fls_report {
	uint32_t what;			/* enum fls_rp */
	uint32_t slot;
	uint64_t a, b, c;
};

struct fls_memory {
	uint32_t magic, version;
	uint32_t size, generation;
	uint64_t secret;		/* of the session, constant */

	uint32_t lock __attribute__((aligned(64)));
	uint32_t pad1;
	uint64_t epoch;			/* under the lock */

	uint32_t cmd_tail __attribute__((aligned(64)));	/* daemon */
	uint32_t cmd_bell;		/* futex: bumped with each command */
	uint32_t agent_asleep;		/* agent: it waits on cmd_bell */
	uint32_t sample_us;		/* daemon: how often to refresh rss_anon */
	int32_t	 agent_cpu;		/* daemon: where the agent had better run; -1: anywhere */
	uint32_t pad2;
	uint64_t adopt_bytes;		/* daemon: an rss_anon from which on the agent adopts unasked, once */

	uint32_t cmd_head __attribute__((aligned(64)));	/* agent */
	uint32_t rep_tail;		/* agent */
	uint64_t rss_anon;		/* agent: bytes of anonymous memory of the process */
	uint64_t samples;		/* agent: bumped after rss_anon */

	uint32_t rep_head __attribute__((aligned(64)));	/* daemon */
	uint32_t daemon_asleep;		/* daemon: wants a kick for a report */

	struct fls_cmd cmds[FLS_CMDS] __attribute__((aligned(64)));
	struct fls_report reports[FLS_REPORTS];
	struct fls_slot slots[FLS_SLOTS];
};

#endif
