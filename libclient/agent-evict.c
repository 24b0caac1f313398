/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * agent-evict.c - pages out of the program's memory, and back.
 *
 * Runs on the agent's thread. The life of an eviction, as far as it happens here:
 *
 *	program --MOVE, under the lock, the epoch being the slot's--> S1 --MOVE--> S2 --> a record
 *
 * S1 is registered with the userfaultfd that carries the events, so that the kernel refuses the first
 * MOVE (EAGAIN) from the start of any munmap, mremap or madvise until the daemon has read its event:
 * MOVE never looks at its source's registration. S2 has a userfaultfd without events, so that freeing
 * it waits for nobody. The lock and the epoch cover what the daemon has read but that this thread has
 * not heard of yet.
 *
 * A page is in exactly one place: at its address, in S1, in S2, or (freed here only after its record
 * has been written) in the pool. What cannot be stored is KEPT in staging until the daemon orders it
 * back.
 */
#include <config.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define LZ4_STATIC_LINKING_ONLY
#include <lz4.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/gate.h"
#include "common/uffd-abi.h"
#include "libclient/agent-internal.h"
#include "libclient/agent-sys.h"

#define PM_PRESENT	(UINT64_C(1) << 63)
#define PM_SWAPPED	(UINT64_C(1) << 62)
#define EVENT_TRIES	4
#define EVENT_PAUSE_US	20
#define MOST_PAYLOAD	3072		/* above it compressing is not worth the decoding */

static uint8_t *s1_page(const struct agent *a, uint32_t slot, uint32_t i)
{
	return a->s1 + ((uint64_t)slot * FLS_SLOT_PAGES + i) * FLS_PAGE;
}

static uint8_t *s2_page(const struct agent *a, uint32_t slot, uint32_t i)
{
	return a->s2 + ((uint64_t)slot * FLS_SLOT_PAGES + i) * FLS_PAGE;
}

/* One MOVE: pages done, holes counted; *ret_error is 0 or -errno of the first that was not. */
static uint32_t move(int uffd, uint64_t dst, uint64_t src, uint32_t n, int *ret_error)
{
	struct uffdio_move m = {
		.dst = dst, .src = src, .len = (uint64_t)n * FLS_PAGE,
		.mode = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES,
	};
	long r = sys_ioctl(uffd, UFFDIO_MOVE, &m);

	*ret_error = (int)r;
	return m.move > 0 ? (uint32_t)(m.move / FLS_PAGE) : 0;
}

static bool epoch_is(const struct agent *a, const struct fls_slot *s)
{
	return !RULE(RULE_EPOCH_CHECK) ||
	       __atomic_load_n(&a->mem->epoch, __ATOMIC_RELAXED) ==
	       __atomic_load_n(&s->epoch, __ATOMIC_RELAXED);
}

/*
 * MOVE pages [i, n) of the slot out, one run of adjacent addresses. Marks in *moved what left, in
 * *busy what the kernel says is in use. False: an event is on its way; nothing more of this slot may be
 * tried.
 */
static bool move_run(struct agent *a, uint32_t slot, uint64_t va, uint32_t i, uint32_t n,
		     uint64_t *moved, uint64_t *busy)
{
	int uffd = RULE(RULE_TWO_STEP_MOVE) ? a->uffd : a->staging_uffd;
	uint8_t *to = RULE(RULE_TWO_STEP_MOVE) ? s1_page(a, slot, 0) : s2_page(a, slot, 0);
	uint32_t most = n;		/* pages of one try: 1 after an EINVAL, which may be of any page */

	while (n) {
		uint32_t now = n < most ? n : most, done;
		int r;

		done = move(uffd, (uint64_t)(uintptr_t)(to + (uint64_t)i * FLS_PAGE), va, now, &r);
		for (uint32_t k = 0; k < done; k++)
			*moved |= UINT64_C(1) << (i + k);
		va += (uint64_t)done * FLS_PAGE;
		i += done;
		n -= done;
		if (!r || done)
			continue;
		if (r == -EAGAIN)
			return false;
		if (r == -EINVAL && now > 1) {
			most = 1;
			continue;
		}
		if (r == -EBUSY)
			*busy |= UINT64_C(1) << i;
		va += FLS_PAGE;		/* this one stays */
		i++;
		n--;
	}
	return true;
}

/* The pages of want, in runs of adjacent addresses; *again: those that an event stands in the way of.
 * Under the lock. */
static uint64_t move_out(struct agent *a, uint32_t slot, uint64_t want, uint64_t *busy, uint64_t *again)
{
	const struct fls_slot *s = &a->mem->slots[slot];
	uint64_t moved = 0;

	for (uint32_t i = 0; i < FLS_SLOT_PAGES && want >> i; i++) {
		uint32_t n = 1;

		if (!(want >> i & 1))
			continue;
		while (i + n < FLS_SLOT_PAGES && (want >> (i + n) & 1) &&
		       s->page[i + n].va == s->page[i].va + (uint64_t)n * FLS_PAGE)
			n++;
		if (!move_run(a, slot, s->page[i].va, i, n, &moved, busy)) {
			*again = want >> i << i & ~moved & ~*busy;
			break;
		}
		i += n - 1;
	}
	return moved;
}

/* From S1 on to S2. Returns what could not be moved on, and stays in S1. */
static uint64_t move_on(struct agent *a, uint32_t slot, uint64_t want)
{
	uint64_t stuck = 0;

	for (uint32_t i = 0; i < FLS_SLOT_PAGES && want >> i;) {
		uint32_t n = 0, done;
		int r;

		if (!(want >> i & 1)) {
			i++;
			continue;
		}
		while (i + n < FLS_SLOT_PAGES && (want >> (i + n) & 1))
			n++;
		done = move(a->staging_uffd, (uint64_t)(uintptr_t)s2_page(a, slot, i),
			    (uint64_t)(uintptr_t)s1_page(a, slot, i), n, &r);
		i += done;
		if (r && !done) {
			stuck |= UINT64_C(1) << i;
			i++;
		}
	}
	return stuck;
}

static uint64_t out_under_lock(struct agent *a, uint32_t slot, uint64_t want, uint64_t *busy, uint64_t *again)
{
	uint64_t moved = 0;

	*again = 0;
	GATE(GATE_AGENT_BEFORE_LOCK);
	if (RULE(RULE_LOCK) && !agent_lock(a))
		return 0;
	if (epoch_is(a, &a->mem->slots[slot])) {
		GATE(GATE_AGENT_BEFORE_MOVE1);
		moved = move_out(a, slot, want, busy, again);
	}
	if (RULE(RULE_LOCK))
		agent_unlock(a);
	return moved;
}

/*
 * An event anywhere in the process is in the way from before it can be read until the thread behind it
 * has run again: microseconds, as a rule. The slot's epoch says whether it was of these pages.
 */
static uint64_t out(struct agent *a, uint32_t slot, uint64_t want, uint64_t *busy)
{
	uint64_t again, moved = out_under_lock(a, slot, want, busy, &again);

	for (int i = 0; again && i < EVENT_TRIES; i++) {
		sys_sleep_us(EVENT_PAUSE_US);
		moved |= out_under_lock(a, slot, again, busy, &again);
	}
	return moved;
}

/*
 * Pages that were not exclusive (a fork) become so by a write fault that changes nothing. It answers
 * with an error where a store would be a SIGSEGV. Not under the lock: it may fault.
 */
static uint64_t retry_busy(struct agent *a, uint32_t slot, uint64_t busy)
{
	const struct fls_slot *s = &a->mem->slots[slot];
	uint64_t ready = 0, busy_still = 0;

	for (uint32_t i = 0; i < FLS_SLOT_PAGES; i++)
		if ((busy >> i & 1) && !sys_madvise(s->page[i].va, FLS_PAGE, MADV_POPULATE_WRITE))
			ready |= UINT64_C(1) << i;
	return ready ? out(a, slot, ready, &busy_still) : 0;
}

/*
 * Which pages of staging hold something. A page that the kernel had swapped is a swap entry here; a
 * hole is neither, and a load from one would sleep for good: nobody serves that userfaultfd.
 */
static uint64_t look_at_staging(struct agent *a, uint32_t slot, uint32_t n, uint64_t moved)
{
	uint64_t at = (uint64_t)(uintptr_t)s2_page(a, slot, 0) / FLS_PAGE * 8, full = 0;
	long r;

	if (!RULE(RULE_STAGING_PAGEMAP))
		return moved;
	r = sys4(SYS_pread64, a->pagemap, a->pagemap_buf, n * 8, at);
	if (r != (long)n * 8)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		if (a->pagemap_buf[i] & (PM_PRESENT | PM_SWAPPED))
			full |= UINT64_C(1) << i;
	return full & moved;
}

/* ---- records ---- */

void agent_grant(struct agent *a, uint64_t offset, uint64_t len)
{
	a->asked_extent = false;
	if (a->n_extents == sizeof(a->extent) / sizeof(a->extent[0]))
		return;
	a->extent[a->n_extents].offset = offset;
	a->extent[a->n_extents].used = 0;
	a->extent[a->n_extents].written = 0;
	a->extent[a->n_extents++].len = (uint32_t)len;
}

/* Extents granted by commands that wait behind this one: they are needed now. */
static void take_grants(struct agent *a)
{
	struct fls_memory *m = a->mem;
	uint32_t tail = __atomic_load_n(&m->cmd_tail, __ATOMIC_ACQUIRE);

	for (uint32_t i = m->cmd_head; i != tail && tail - i <= FLS_CMDS; i++) {
		struct fls_cmd *c = &m->cmds[i % FLS_CMDS];

		if (c->op != FLS_OP_GRANT)
			continue;
		agent_grant(a, c->a, c->b);
		c->op = FLS_OP_NONE;
	}
}

/* The records that gathered in out, to where they were promised. False: they are not there. */
static bool flush(struct agent *a)
{
	uint32_t from, n;
	long r = 0;

	if (!a->n_extents)
		return true;
	from = a->extent[0].written;
	n = a->extent[0].used - from;
	for (uint32_t done = 0; done < n; done += (uint32_t)r) {
		r = sys4(SYS_pwrite64, a->pool, a->out + done, n - done,
			 a->extent[0].offset + from + done);
		if (r == -EINTR)
			r = 0;
		else if (r <= 0)
			return false;
	}
	a->extent[0].written = a->extent[0].used;
	return true;
}

/* Told after the slot: its records are to be accepted while the extent is still open. */
static void close_extent(struct agent *a)
{
	if (a->n_closed < sizeof(a->closed) / sizeof(a->closed[0])) {
		a->closed[a->n_closed].start = a->extent[0].offset;
		a->closed[a->n_closed++].end = a->extent[0].used;
	}
	memmove(&a->extent[0], &a->extent[1], sizeof(a->extent) - sizeof(a->extent[0]));
	a->n_extents--;
}

/* The slot is DONE: what of extents is to be said. */
static void report_extents(struct agent *a)
{
	for (uint32_t i = 0; i < a->n_closed; i++)
		agent_report(a, FLS_RP_EXTENT_FULL, 0, a->closed[i].start, a->closed[i].end, 0);
	a->n_closed = 0;
	if (!a->asked_extent && a->n_extents < 2) {
		a->asked_extent = true;
		agent_report(a, FLS_RP_NEED_EXTENT, 0, 0, 0, 0);
	}
}

struct batch {			/* pages whose records lie in out, not written yet */
	uint32_t slot;
	uint64_t pending;	/* bit i */
};

/* What is written is STORED; what could not be written is KEPT. */
static void settle_batch(struct agent *a, struct batch *b)
{
	struct fls_slot *s = &a->mem->slots[b->slot];
	uint32_t before = a->n_extents ? a->extent[0].written : 0;

	if (!b->pending)
		return;
	if (flush(a)) {
		b->pending = 0;
		return;
	}
	a->extent[0].used = before;	/* nothing of it counts */
	for (uint32_t i = 0; i < FLS_SLOT_PAGES; i++)
		if (b->pending >> i & 1)
			s->page[i].result = FLS_R_KEPT;
	b->pending = 0;
	agent_report(a, FLS_RP_REFUSED, 0, 0, 0, ENOSPC);
}

static bool same_filled(const uint8_t *page, uint64_t *ret)
{
	const uint64_t *w = (const uint64_t *)(const void *)page;
	uint64_t v = w[0];

	if (w[511] != v || w[257] != v)
		return false;
	for (unsigned int i = 1; i < 511; i++)
		if (w[i] != v)
			return false;
	*ret = v;
	return true;
}

/* Room for one more record of at most FLS_RECORD_MAX in the open extent. */
static bool make_room(struct agent *a, struct batch *b)
{
	if (a->n_extents && a->extent[0].len - a->extent[0].used < FLS_RECORD_MAX + 8) {
		settle_batch(a, b);
		close_extent(a);
	}
	if (!a->n_extents)
		take_grants(a);
	return a->n_extents > 0;
}

static void store_page(struct agent *a, struct batch *b, struct fls_page *p, uint32_t i,
		       const uint8_t *page)
{
	struct fls_record *rec;
	XXH128_hash_t h;
	uint32_t size;
	int len;

	if (!make_room(a, b)) {
		p->result = FLS_R_KEPT;
		return;
	}
	rec = (struct fls_record *)(void *)(a->out + (a->extent[0].used - a->extent[0].written));
	len = LZ4_compress_fast_extState_fastReset(a->lz4, (const char *)page, (char *)(rec + 1),
						   FLS_PAGE, MOST_PAYLOAD, 1);
	if (len <= 0 && (p->flags & FLS_P_NO_RAW)) {
		p->result = FLS_R_KEPT;
		return;
	}
	if (len <= 0)
		memcpy(rec + 1, page, FLS_PAGE);
	h = XXH3_128bits_withSeed(page, FLS_PAGE, fls_seed(a->mem->secret, p->bo, p->index, p->gen));
	rec->sum_lo = h.low64;
	rec->sum_hi = h.high64;
	rec->bo = p->bo;
	rec->index = p->index;
	rec->codec = len > 0 ? FLS_CODEC_LZ4 : FLS_CODEC_RAW;
	rec->len = len > 0 ? (uint16_t)len : FLS_PAGE;
	rec->gen = p->gen;
	rec->pad = 0;
	size = (uint32_t)(sizeof(*rec) + rec->len + 7) & ~7u;
	memset((uint8_t *)(rec + 1) + rec->len, 0, size - sizeof(*rec) - rec->len);

	p->codec = rec->codec;
	p->len = rec->len;
	p->sum = h.low64;
	p->loc = a->extent[0].offset + a->extent[0].used;
	p->result = FLS_R_STORED;
	a->extent[0].used += size;
	b->pending |= UINT64_C(1) << i;
}

static void settle_page(struct agent *a, struct batch *b, struct fls_page *p, uint32_t i)
{
	const uint8_t *page = s2_page(a, b->slot, i);

	if (same_filled(page, &p->sum)) {
		p->result = p->sum ? FLS_R_SAME : FLS_R_ZERO;
		return;
	}
	if (p->flags & FLS_P_HAS_OLD) {
		uint64_t seed = fls_seed(a->mem->secret, p->bo, p->index, p->old_gen);

		if (XXH3_128bits_withSeed(page, FLS_PAGE, seed).low64 == p->old_sum) {
			p->result = FLS_R_CLEAN;
			return;
		}
	}
	store_page(a, b, p, i, page);
}

/* ---- back ---- */

/* Under the lock. */
static uint8_t return_page(struct agent *a, uint32_t slot, uint32_t i, struct fls_page *p)
{
	uint8_t *from = p->in_s1 ? s1_page(a, slot, i) : s2_page(a, slot, i);
	struct uffdio_copy c = { .dst = p->va, .src = (uint64_t)(uintptr_t)from, .len = FLS_PAGE };
	int r;

	if (move(a->uffd, p->va, (uint64_t)(uintptr_t)from, 1, &r))
		return FLS_R_RETURNED;
	/* The area was protected, locked or otherwise changed since: MOVE refuses, COPY does not. */
	if (r != -EINVAL || !RULE(RULE_RETURN_BY_COPY))
		return FLS_R_KEPT;
	if (sys_ioctl(a->uffd, UFFDIO_COPY, &c))
		return FLS_R_KEPT;
	p->in_s1 |= 2;			/* there is a copy of it to free, without the lock */
	return FLS_R_RETURNED;
}

static void free_returned_copy(struct agent *a, uint32_t slot, uint32_t i, struct fls_page *p)
{
	if (!(p->in_s1 & 2))
		return;
	p->in_s1 &= 1;
	sys_madvise(p->in_s1 ? s1_page(a, slot, i) : s2_page(a, slot, i), FLS_PAGE, MADV_DONTNEED);
}

static void return_pages(struct agent *a, uint32_t slot, uint64_t mask)
{
	struct fls_slot *s = &a->mem->slots[slot];

	GATE(GATE_AGENT_BEFORE_RETURN);
	if (RULE(RULE_LOCK) && !agent_lock(a)) {
		for (uint32_t i = 0; i < FLS_SLOT_PAGES; i++)
			if (mask >> i & 1)
				s->page[i].result = FLS_R_KEPT;
		return;
	}
	for (uint32_t i = 0; i < FLS_SLOT_PAGES; i++)
		if (mask >> i & 1)
			s->page[i].result = epoch_is(a, s) ? return_page(a, slot, i, &s->page[i]) :
							     FLS_R_KEPT;
	if (RULE(RULE_LOCK))
		agent_unlock(a);
	for (uint32_t i = 0; i < FLS_SLOT_PAGES; i++)
		if (mask >> i & 1)
			free_returned_copy(a, slot, i, &s->page[i]);
}

void agent_return(struct agent *a, uint32_t slot)
{
	return_pages(a, slot, a->mem->slots[slot].mask);
	GATE(GATE_AGENT_BEFORE_REPORT);
	agent_report(a, FLS_RP_DONE, slot, 0, 0, 0);
}

void agent_drop(struct agent *a, uint32_t slot)
{
	struct fls_slot *s = &a->mem->slots[slot];

	for (uint32_t i = 0; i < FLS_SLOT_PAGES; i++) {
		struct fls_page *p = &s->page[i];

		if (!(s->mask >> i & 1))
			continue;
		sys_madvise(p->in_s1 ? s1_page(a, slot, i) : s2_page(a, slot, i), FLS_PAGE,
			    MADV_DONTNEED);
		p->result = FLS_R_DROPPED;
	}
	agent_report(a, FLS_RP_DONE, slot, 0, 0, 0);
}

/* ---- an eviction ---- */

/* Free in S2 what has left it for the pool or was nothing but a pattern: adjacent ones together. */
static void free_settled(struct agent *a, uint32_t slot, uint64_t gone)
{
	for (uint32_t i = 0; i < FLS_SLOT_PAGES && gone >> i; i++) {
		uint32_t n = 0;

		while (i + n < FLS_SLOT_PAGES && (gone >> (i + n) & 1))
			n++;
		if (n)
			sys_madvise(s2_page(a, slot, i), (uint64_t)n * FLS_PAGE, MADV_DONTNEED);
		i += n;
	}
}

static void settle_all(struct agent *a, uint32_t slot, uint64_t full)
{
	struct fls_slot *s = &a->mem->slots[slot];
	struct batch b = { .slot = slot };
	uint64_t todo = full;

	while (todo) {
		/* Touched meanwhile: back with it at once, a thread waits. */
		uint64_t wanted = __atomic_load_n(&s->wanted, __ATOMIC_RELAXED) & todo;
		uint32_t i = (uint32_t)__builtin_ctzll(todo);

		if (wanted) {
			return_pages(a, slot, wanted);
			todo &= ~wanted;
			continue;
		}
		settle_page(a, &b, &s->page[i], i);
		todo &= ~(UINT64_C(1) << i);
	}
	settle_batch(a, &b);
}

void agent_evict(struct agent *a, uint32_t slot)
{
	struct fls_slot *s = &a->mem->slots[slot];
	uint32_t n = s->n < FLS_SLOT_PAGES ? s->n : FLS_SLOT_PAGES;
	uint64_t all = n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
	uint64_t moved, busy = 0, stuck = 0, full, gone = 0;

	moved = a->unmarked ? 0 : out(a, slot, all, &busy);
	if (busy)
		moved |= retry_busy(a, slot, busy);
	GATE(GATE_AGENT_BETWEEN_MOVES);
	if (RULE(RULE_TWO_STEP_MOVE))
		stuck = move_on(a, slot, moved);
	GATE(GATE_AGENT_AFTER_MOVE);
	full = look_at_staging(a, slot, n, moved & ~stuck);

	for (uint32_t i = 0; i < n; i++) {
		struct fls_page *p = &s->page[i];

		p->in_s1 = stuck >> i & 1;
		p->result = !(moved >> i & 1) ? FLS_R_STAYED :
			    (stuck >> i & 1) ? FLS_R_KEPT : FLS_R_HOLE;
	}
	settle_all(a, slot, full);
	for (uint32_t i = 0; i < n; i++)
		if ((full >> i & 1) && s->page[i].result >= FLS_R_ZERO &&
		    s->page[i].result <= FLS_R_STORED)
			gone |= UINT64_C(1) << i;
	free_settled(a, slot, gone);
	GATE(GATE_AGENT_BEFORE_REPORT);
	agent_report(a, FLS_RP_DONE, slot, 0, 0, 0);
	report_extents(a);
}
