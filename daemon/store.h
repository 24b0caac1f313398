/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store.h - where the contents of pages live when they are not in RAM as pages.
 *
 * A store is an array of units of FLS_EXTENT bytes (1 MiB): extents of the pool's memfd,
 * segments of a swap file. Records (struct fls_record, then its payload, 8-byte aligned)
 * are only ever appended to a unit; a unit whose records are all dead is free again, and a
 * unit with few live ones is cleaned by moving those elsewhere. So both stores share the
 * book-keeping of units below, and differ in how bytes get in and out.
 *
 * A store knows bytes and offsets, and nothing of clients and pages: who owns a record is in
 * the record's header, and what becomes of it is asked through the callbacks.
 *
 * A location is a byte offset in the store, a multiple of 8. A record's size is that of the
 * header and the payload, rounded up to 8.
 *
 * Threads: every call on one store is made under the lock of the session that owns it
 * (pool), or under the store's own lock (swap, which serves all sessions of a job).
 */
#ifndef FAULTLINE_DAEMON_STORE_H
#define FAULTLINE_DAEMON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <bsd/sys/queue.h>

#include "daemon/store-holes.h"
#include "include/faultline-shared.h"

struct loop;

static inline uint32_t store_record_size(uint16_t payload)
{
	return (uint32_t)(sizeof(struct fls_record) + payload + 7) & ~7u;
}

/* ---- units: the book-keeping that both stores share (store-unit.c) ---- */

enum unit_state {
	UNIT_FREE,		/* no bytes of it are in use (it may be warm, see below) */
	UNIT_OPEN,		/* somebody appends to it */
	UNIT_FULL,		/* closed: records only die */
	UNIT_BAD,		/* the medium under it is broken: never used again */
};

struct unit {
	uint32_t used;		/* bytes appended */
	uint32_t live;		/* bytes of records that are alive; live <= used */
	uint32_t state : 2;
	uint32_t warm : 1;	/* FREE, OPEN: all of its memory or disk blocks are still allocated */
	uint32_t busy : 1;	/* being spilled or cleaned: leave it alone; see units_hold() */
	uint32_t lost : 1;	/* busy for good: see units_lose() */
	uint32_t listed : 1;	/* FULL: it is on full and on a bucket */
	uint32_t generation;	/* how often it has become free */
	uint64_t owner;		/* for the owner of the store: e.g. the session (swap) */
	TAILQ_ENTRY(unit) link;		/* FREE: on warm or free; FULL: on full, oldest first */
	TAILQ_ENTRY(unit) link_bucket;	/* FULL: on bucket[], by live share */
};
TAILQ_HEAD(unit_list, unit);

#define UNIT_BUCKETS 32u

struct units {
	struct unit *unit;	/* room for n_max of them, its pages allocated as they are first used */
	uint32_t n, n_max;	/* n: ever used */
	struct unit_list free, warm, full, bucket[UNIT_BUCKETS];
	uint64_t used_bytes;	/* FLS_EXTENT for each unit that is OPEN or FULL */
	uint64_t live_bytes;
	uint64_t slack_bytes;	/* the part of used_bytes in OPEN units that is not allocated yet */
	uint32_t n_warm;	/* units on warm */
};

void units_init(struct units *u, uint32_t n_max);
void units_fini(struct units *u);				/* accepts units_init'ed, or all zero */
int  units_open(struct units *u, uint32_t *ret_index);		/* FREE -> OPEN; -ENOSPC; -ENOMEM */
void units_append(struct units *u, uint32_t i, uint32_t bytes);	/* bytes more are used, and alive */
void units_close(struct units *u, uint32_t i);			/* OPEN -> FULL, or FREE if nothing lives */
void units_abandon(struct units *u, uint32_t i);		/* OPEN, nothing appended, no pages -> FREE */
void units_discard(struct units *u, uint32_t i);		/* OPEN, nothing appended -> BAD */
/* A record was written into the place of dead ones of a FULL unit. */
void units_revive(struct units *u, uint32_t i, uint32_t bytes);
/* Bytes of records died. True: the unit became FREE by it. */
bool units_kill(struct units *u, uint32_t i, uint32_t bytes);
/*
 * A FULL unit that somebody reads from outside of the lock is held: busy. It is not offered again, and
 * it does not become FREE when its last record dies, for then a new record of the same page could lie
 * at the old one's place, and be taken for it. Releasing it makes it FREE if nothing lives (true).
 */
void units_hold(struct units *u, uint32_t i);
bool units_release(struct units *u, uint32_t i);
/* A held unit whose records cannot be found: never offered again, FREE when the last dies (true: it is). */
bool units_lose(struct units *u, uint32_t i);
/*
 * The FULL, not busy unit with the smallest live share, if that is at most max_live bytes; or NULL.
 * (Smallest to within a 32nd of a unit: the search is bounded.) _of: among those of an owner; this
 * looks at a bounded number of others, and goes on from there the next time.
 */
struct unit *units_emptiest(struct units *u, uint32_t max_live);
struct unit *units_emptiest_of(struct units *u, uint64_t owner, uint32_t max_live);
struct unit *units_oldest(struct units *u);			/* FULL, not busy; or NULL */
/* The FREE unit that has been warm for longest, off the lists so that its pages can be given back
 * without the lock, then on free, or back on warm if that failed. */
bool units_take_warm(struct units *u, uint32_t *ret_index);
void units_give_cold(struct units *u, uint32_t i, bool cold);
static inline uint32_t units_index(const struct units *u, const struct unit *x)
{
	return (uint32_t)(x - u->unit);
}

/* ---- the pool of one session (store-compressed.c) ---- */

/*
 * A memfd, sparse, of a fixed virtual size, sealed against shrinking and growing. The agent
 * writes records into extents that it was granted; the daemon may append too (cleaning).
 * The daemon maps it read-only. The client can change its bytes at any time: whatever is
 * read is copied out first, and checked after that.
 */
struct pool {
	int fd;
	uint64_t size;
	const uint8_t *map;
	struct units units;	/* hold a unit while its bytes are being spilled */
	uint32_t cleaning;	/* the open unit that cleaning appends to, or UINT32_MAX */
	uint32_t appended;	/* by the last cleaning: bytes that found no hole */
	struct holes *holes;	/* places of dead records; NULL without memory */
};
#define POOL_NULL (struct pool){ .fd = -1, .cleaning = UINT32_MAX }

int  pool_init(struct pool *p, uint64_t size);
void pool_fini(struct pool *p);
/* An extent for the agent to append to. -ENOSPC when the memfd is full. */
int  pool_grant(struct pool *p, uint64_t *ret_offset);
/* The agent says that it appended a record here: 0, or -EINVAL if that cannot be (outside of an
 * open unit, overlaps what was appended before, crosses the end, bad size). The records of a unit are
 * added in the order of their offsets; one that is left out is dead. */
int  pool_add(struct pool *p, uint64_t loc, uint32_t size);
/* The agent appends no more. (An offset that is no extent of its own is ignored: agents can lie.) */
void pool_close(struct pool *p, uint64_t offset);
/* A record that was added, and of that size, died. */
void pool_kill(struct pool *p, uint64_t loc, uint32_t size);
/* Copy a record out: header and payload, at most cap bytes. 0, or -EBADMSG when header.len does
 * not fit in size. */
int  pool_read(const struct pool *p, uint64_t loc, uint32_t size, void *buf, size_t cap);
uint64_t pool_bytes(const struct pool *p);		/* RAM that it takes, warm units counted */
/* Give warm units back to the system until at most keep are left. Returns bytes given back. */
uint64_t pool_trim(struct pool *p, uint32_t keep);

/*
 * Walk the records of a unit of size used at buf (a copy). For each header that can be one, in
 * order, fn gets its offset in the unit. Stops at the first that cannot be (length, alignment),
 * with -EBADMSG; or at the first non-zero result of fn, which it returns.
 */
typedef int (*store_walk_fn)(void *ctx, uint32_t offset, const struct fls_record *r);
int store_walk(const void *buf, uint32_t used, store_walk_fn fn, void *ctx);

/*
 * Cleaning: move the live records of a unit elsewhere, within the pool. is_live says whether the
 * page of this record still points to loc with this size, store_record_size(r->len); moved tells it
 * the new place, and returns false if it does not want it any more. Neither kills anything: cleaning
 * kills the old record, and the new one if it is not wanted. r is the caller's private copy.
 */
struct store_owner {
	bool (*is_live)(void *ctx, const struct fls_record *r, uint64_t loc);
	bool (*moved)(void *ctx, const struct fls_record *r, uint64_t from, uint64_t to);
	void *ctx;
};
/* x: FULL, not busy. 0: the unit is free. -ENOSPC: no unit to write to. -EBADMSG: the client has
 * scribbled on it; what could not be read is left where it is, and the unit is not offered again.
 * -ENOMEM, -EIO: try again. All leave every page readable as before. */
int pool_clean(struct pool *p, struct unit *x, const struct store_owner *owner);
/*
 * The same in steps, for whoever must not hold the pool's lock for long: begin, step and end under the
 * lock, read without it. A step moves at most so many records: 1, there is more; 0, all is done; or the
 * error that end returns. x is held from begin to end, and the pool must not go meanwhile.
 */
struct clean;
int  pool_clean_begin(struct clean **ret, struct pool *p, struct unit *x);	/* 0, -ENOMEM */
void pool_clean_read(struct clean *c);
int  pool_clean_step(struct clean *c, const struct store_owner *owner, uint32_t records);
int  pool_clean_end(struct clean *c);		/* as pool_clean(); c is gone */

/* ---- the swap file of one job (store-swap.c) ---- */

/*
 * Written in runs of a segment, several in flight, through the loop of the thread that calls;
 * read with neighbours. O_DIRECT where the file system can. Errors are states that heal: full
 * (-ENOSPC; tried again after a back-off, sooner after a segment was freed) and failed (-EIO).
 */
struct swap;

enum swap_health { SWAP_OK, SWAP_FULL, SWAP_FAILED };

struct swap_stat {
	uint64_t used;		/* bytes of segments in use */
	uint64_t live;
	uint64_t file;		/* bytes of the file */
	uint64_t written, read;	/* all time */
	uint32_t writes_in_flight;
	enum swap_health health;
	int error;		/* of FULL or FAILED: -errno */
};

/* fd, of a regular file, for reading and writing, is owned by the swap from now on, also when this
 * fails. max: bytes, at least FLS_EXTENT; UINT64_MAX: what the file system has, less a reserve of the
 * larger of 1 GiB and 5 % of it. At most 512 GiB are used. */
int  swap_new(struct swap **ret, int fd, uint64_t max);
struct swap *swap_free(struct swap *s);		/* no I/O may be in flight; NULL is fine */
/* A file without a name in dir, mode 0600: O_TMPFILE, else create and unlink. -errno. */
int  swap_open_unnamed(const char *dir);

/*
 * Write one segment: buf (page aligned, FLS_EXTENT bytes, of which used hold records) is taken
 * over by the swap until done is called, from the loop, once. result 0: the records are at
 * *loc + their offset in buf; all are alive until they are killed. Or -ENOSPC, -EIO, ..: nothing was
 * stored. At most SWAP_WRITES in flight: -EBUSY at once beyond that. While the swap is FULL or FAILED
 * and its back-off is not over: -ENOSPC or -EIO at once. Whenever this returns < 0, done is not called.
 * The bytes of buf behind used, up to a page, are overwritten. used: a multiple of 8, not 0.
 */
#define SWAP_WRITES 4
struct swap_write {
	void (*done)(struct swap_write *w, int result, uint64_t loc);
	void *buf;
	uint32_t used;
	uint64_t owner;
	/* private to the swap */
	void *priv;
};
int  swap_write(struct swap *s, struct loop *l, struct swap_write *w);
void swap_kill(struct swap *s, uint64_t loc, uint32_t size);

/*
 * Read one record, and as much around it, aligned to 4096, as cap allows (one record lies on up to
 * three pages; -EINVAL if cap is too small, or loc is no place of a record). It never crosses a segment's
 * end. done is called once, from the loop l, or not at all when this returns < 0.
 * On success buf + (loc - r->base) is the record and [base, base + got) of the store lies in buf:
 * neighbours in it are the caller's to use, if it knows that they are alive.
 */
struct swap_read {
	void (*done)(struct swap_read *r, int result);
	uint64_t loc;
	uint32_t size;		/* of the record */
	uint32_t before, after;	/* bytes wanted on each side of it, hints */
	void *buf;		/* 4096-aligned */
	uint32_t cap;
	uint64_t base;		/* out */
	uint32_t got;		/* out */
	void *priv;
};
int  swap_read(struct swap *s, struct loop *l, struct swap_read *r);
void swap_stat(struct swap *s, struct swap_stat *ret);

/*
 * A segment worth cleaning: of the given owner, at most max_live bytes alive. True: *loc and *used
 * say where; it is marked busy until swap_clean_end(). The caller reads it with swap_read() and
 * writes its live records anew.
 */
bool swap_clean_begin(struct swap *s, uint64_t owner, uint32_t max_live, uint64_t *loc, uint32_t *used);
void swap_clean_end(struct swap *s, uint64_t loc);
/* Give disk space of free segments back, of at most n of them; a few are kept. Writing does this too; an
 * idle thread should do it now and then. Returns how many were given back. */
unsigned int swap_trim(struct swap *s, unsigned int n);

#endif
