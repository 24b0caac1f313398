/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store-compressed.c - the pool of one session: records in a memfd that its agent also maps.
 *
 * The session owns the pool; every call is made under the session's lock. The memfd is sparse and
 * of a fixed, sealed size, so a mapping of it never turns into SIGBUS, and it survives the daemon.
 * The agent appends to the extents that it was granted, the daemon to one of its own, `cleaning`.
 *
 * What holds always:
 *  - The book-keeping (units) is the daemon's alone, made of claims that pool_add() checked. The
 *    bytes are the client's: it may scribble on all of them at any time, and then only its own
 *    pages are lost. So bytes are copied out first and looked at afterwards, and no assert and no
 *    offset depends on them alone.
 *  - The daemon writes with pwrite(), and only to the unit that it is cleaning into; its mapping
 *    is for reading.
 *  - Records of a unit lie one behind the other, each as long as its header says, pad included (what
 *    a record is smaller than the hole that it was put in): so a unit can be walked. A header that cannot be one ends the walk; what is behind it can still be read, as
 *    the page tables know where it is.
 *  - Cleaning writes the new copy, tells the owner, and lets the old one go after that.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/memfd.h"
#include "daemon/store.h"

#define RECORD_MIN	(sizeof(struct fls_record) + 8)
#define PAD_MAX		256u		/* of a record that took the place of bigger ones */
#define RECORD_MAX	((uint32_t)round_up_to(FLS_RECORD_MAX, 8))

int pool_init(struct pool *p, uint64_t size)
{
	_cleanup_close_ int fd = -1;
	void *map;

	*p = POOL_NULL;
	if (!size || !is_aligned(size, FLS_EXTENT) || size / FLS_EXTENT >= UINT32_MAX ||
	    size > SIZE_MAX)
		return -EINVAL;

	fd = memfd_sealed("faultline-pool", size);
	if (fd < 0)
		return fd;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;

	p->fd = steal_fd(&fd);
	p->size = size;
	p->map = map;
	units_init(&p->units, (uint32_t)(size / FLS_EXTENT));
	p->holes = calloc(1, sizeof(*p->holes));
	return 0;
}

void pool_fini(struct pool *p)
{
	if (p->map)
		munmap((void *)(uintptr_t)p->map, p->size);
	close_fd(&p->fd);
	units_fini(&p->units);
	if (p->holes)
		holes_fini(p->holes);
	free(p->holes);
	*p = POOL_NULL;
}

static uint32_t unit_of(uint64_t loc)
{
	return (uint32_t)(loc / FLS_EXTENT);
}

static uint32_t offset_in_unit(uint64_t loc)
{
	return (uint32_t)(loc % FLS_EXTENT);
}

static uint64_t unit_start(uint32_t i)
{
	return (uint64_t)i * FLS_EXTENT;
}

/* Is this a unit that the agent may append to? loc comes from the client. */
static bool is_granted(const struct pool *p, uint64_t loc)
{
	uint64_t i = loc / FLS_EXTENT;

	return i < p->units.n && i != p->cleaning && p->units.unit[i].state == UNIT_OPEN;
}

int pool_grant(struct pool *p, uint64_t *ret_offset)
{
	uint32_t i;
	int r = units_open(&p->units, &i);

	if (r < 0)
		return r;
	*ret_offset = unit_start(i);
	return 0;
}

int pool_add(struct pool *p, uint64_t loc, uint32_t size)
{
	uint32_t at = offset_in_unit(loc), i = unit_of(loc), used;

	if (!is_granted(p, loc) || !is_aligned(loc, 8) || !is_aligned(size, 8))
		return -EINVAL;
	if (size < RECORD_MIN || size > RECORD_MAX || size > FLS_EXTENT - at)
		return -EINVAL;
	used = p->units.unit[i].used;
	if (at < used)
		return -EINVAL;

	/* What was skipped was appended by the agent, and nobody wants it. */
	units_append(&p->units, i, at - used + size);
	units_kill(&p->units, i, at - used);
	return 0;
}

void pool_close(struct pool *p, uint64_t offset)
{
	if (is_aligned(offset, FLS_EXTENT) && is_granted(p, offset))
		units_close(&p->units, unit_of(offset));
}

void pool_kill(struct pool *p, uint64_t loc, uint32_t size)
{
	if (!units_kill(&p->units, unit_of(loc), size) && p->holes)
		holes_push(p->holes, &p->units, unit_of(loc), offset_in_unit(loc), size);
}

/* From here on the compiler may not look at the source again instead of at the copy. */
static void copy_out(void *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	__asm__ __volatile__("" : : : "memory");
}

int pool_read(const struct pool *p, uint64_t loc, uint32_t size, void *buf, size_t cap)
{
	struct fls_record r;

	assert(cap >= sizeof(r));
	assert(size >= sizeof(r) && size <= FLS_EXTENT - offset_in_unit(loc));
	assert(unit_of(loc) < p->units.n);

	copy_out(buf, p->map + loc, min((size_t)size, cap));
	memcpy(&r, buf, sizeof(r));
	return sizeof(r) + r.len <= size ? 0 : -EBADMSG;
}

uint64_t pool_bytes(const struct pool *p)
{
	return p->units.used_bytes - p->units.slack_bytes + (uint64_t)p->units.n_warm * FLS_EXTENT;
}

uint64_t pool_trim(struct pool *p, uint32_t keep)
{
	uint64_t bytes = 0;
	uint32_t i;

	while (p->units.n_warm > keep && units_take_warm(&p->units, &i)) {
		int r = fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)unit_start(i), FLS_EXTENT);

		units_give_cold(&p->units, i, !r);
		if (!r)
			bytes += FLS_EXTENT;
		else if (errno != EINTR)
			break;
	}
	return bytes;
}

/* The size of the record at r, of which room bytes are there; 0 if it cannot be one. */
static uint32_t record_size(const struct fls_record *r, uint32_t room)
{
	uint32_t size;

	if (room < RECORD_MIN || !r->len || r->len > FLS_PAGE)
		return 0;
	if (r->pad > PAD_MAX || !is_aligned(r->pad, 8))
		return 0;
	size = store_record_size(r->len) + r->pad;
	return size <= room ? size : 0;
}

int store_walk(const void *buf, uint32_t used, store_walk_fn fn, void *ctx)
{
	uint32_t at = 0;

	while (at < used) {
		const void *here = (const uint8_t *)buf + at;
		const struct fls_record *r = here;
		uint32_t size = record_size(r, used - at);
		int ret;

		if (!size)
			return -EBADMSG;
		ret = fn(ctx, at, r);
		if (ret)
			return ret;
		at += size;
	}
	return 0;
}

/* ---- cleaning ---- */

/*
 * One cleaning of one unit: the private copy of it, out of which the live records are packed, a step at a
 * time: whoever holds the lock holds it for a step.
 */
struct clean {
	struct pool *pool;
	const struct store_owner *owner;
	uint32_t unit;				/* the one that is cleaned */
	uint32_t used;				/* bytes of it */
	uint32_t at;				/* how far the walk has come */
	uint32_t base, limit;			/* of this step: where it began, records at most */
	int error;
	uint32_t appended;			/* bytes that found no hole */
	uint32_t packed;			/* bytes of live records at the start of buf */
	uint32_t n;				/* ... and their number */
	uint32_t from[FLS_EXTENT / RECORD_MIN];	/* where each of them was in the unit */
	uint8_t buf[FLS_EXTENT] __attribute__((aligned(8)));
};

static int read_unit(struct clean *c, uint32_t used)
{
	uint32_t done = 0;

	/* Not through the mapping: that would allocate a page for each hole that the client punched. */
	while (done < used) {
		ssize_t n = pread(c->pool->fd, c->buf + done, used - done,
				  (off_t)(unit_start(c->unit) + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (uint32_t)n;
	}
	return 0;
}

/*
 * store_walk_fn: keep what lives, one behind the other. It only ever moves towards the start, to
 * places that the walk has passed.
 */
static int pack(void *ctx, uint32_t offset, const struct fls_record *r)
{
	struct clean *c = ctx;
	uint32_t size = store_record_size(r->len);

	if (!c->limit)
		return 1;
	c->limit--;
	offset += c->base;
	c->at = offset + size + r->pad;
	if (!c->owner->is_live(c->owner->ctx, r, unit_start(c->unit) + offset))
		return 0;
	memmove(c->buf + c->packed, r, size);
	((struct fls_record *)(void *)(c->buf + c->packed))->pad = 0;
	c->packed += size;
	c->from[c->n++] = offset;
	return 0;
}

static int write_all(int fd, const uint8_t *buf, uint32_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		buf += n;
		len -= (uint32_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* An open unit of our own with room for this many bytes more. */
static int cleaning_room(struct pool *p, uint32_t need)
{
	uint32_t i;
	int r;

	if (p->cleaning != UINT32_MAX) {
		if (FLS_EXTENT - p->units.unit[p->cleaning].used >= need)
			return 0;
		units_close(&p->units, p->cleaning);
		p->cleaning = UINT32_MAX;
	}
	r = units_open(&p->units, &i);
	if (r < 0)
		return r;
	p->cleaning = i;
	return 0;
}

/* Move the packed record at `at` to its new place, where its bytes already are. */
static void hand_over(struct clean *c, uint32_t at, uint32_t from, uint64_t to)
{
	struct pool *p = c->pool;
	const struct fls_record *r = (const void *)(c->buf + at);
	uint32_t size = store_record_size(r->len);

	if (!c->owner->moved(c->owner->ctx, r, unit_start(c->unit) + from, to))
		units_kill(&p->units, unit_of(to), size);
	units_kill(&p->units, c->unit, size);
}

/* Bytes of packed records from `at` on that fit into room; *n: how many records that are. */
static uint32_t run_length(const struct clean *c, uint32_t at, uint32_t room, uint32_t *n)
{
	uint32_t len = 0;

	for (*n = 0; at + len < c->packed; ++*n) {
		const struct fls_record *r = (const void *)(c->buf + at + len);
		uint32_t size = store_record_size(r->len);

		if (size > room - len)
			break;
		len += size;
	}
	return len;
}

/* Write as many packed records as fit into the unit that is open now, then hand them over. */
static int move_run(struct clean *c, uint32_t *at, uint32_t *k)
{
	struct pool *p = c->pool;
	const struct fls_record *first = (const void *)(c->buf + *at);
	uint32_t start, len, n;
	int r = cleaning_room(p, store_record_size(first->len));

	if (r < 0)
		return r;
	start = p->units.unit[p->cleaning].used;
	len = run_length(c, *at, FLS_EXTENT - start, &n);
	r = write_all(p->fd, c->buf + *at, len, unit_start(p->cleaning) + start);
	if (r < 0)
		return r;

	c->appended += len;
	units_append(&p->units, p->cleaning, len);
	for (uint64_t to = unit_start(p->cleaning) + start; n; n--, ++*k) {
		const struct fls_record *rec = (const void *)(c->buf + *at);
		uint32_t size = store_record_size(rec->len);

		hand_over(c, *at, c->from[*k], to);
		*at += size;
		to += size;
	}
	return 0;
}

static uint32_t place_of_dead(const struct pool *p, uint64_t loc)
{
	struct fls_record r;

	copy_out(&r, p->map + loc, sizeof(r));
	return record_size(&r, FLS_EXTENT - offset_in_unit(loc));
}

/* Put a packed record into a hole. False: there is none that fits. */
static bool move_to_hole(struct clean *c, uint32_t at, uint32_t from)
{
	struct pool *p = c->pool;
	struct fls_record *r = (struct fls_record *)(void *)(c->buf + at);
	uint32_t size = store_record_size(r->len), slack, place;
	struct hole h;
	uint64_t to;

	if (!p->holes || !holes_pop(p->holes, &p->units, size, c->unit, &h, &slack))
		return false;
	to = unit_start(h.unit) + h.offset;
	/* As far as the dead record's header reaches, its own pad included, or a walk would not find what is
	 * behind it. */
	place = place_of_dead(p, to);
	if (place < size || place - size > PAD_MAX)
		return false;
	r->pad = place - size;
	if (write_all(p->fd, c->buf + at, size, to))
		return false;
	units_revive(&p->units, h.unit, size);
	hand_over(c, at, from, to);
	return true;
}

/* What fits into holes goes there; the rest is packed anew, and appended. */
static void fill_holes(struct clean *c)
{
	uint32_t rest = 0, n = 0, at = 0;

	for (uint32_t k = 0; k < c->n; k++) {
		struct fls_record *r = (struct fls_record *)(void *)(c->buf + at);
		uint32_t size = store_record_size(r->len);

		if (!move_to_hole(c, at, c->from[k])) {
			r->pad = 0;
			memmove(c->buf + rest, r, size);
			c->from[n++] = c->from[k];
			rest += size;
		}
		at += size;
	}
	c->packed = rest;
	c->n = n;
}

static int move_packed(struct clean *c)
{
	uint32_t at = 0, k = 0;
	int r = 0;

	fill_holes(c);
	while (!r && at < c->packed)
		r = move_run(c, &at, &k);
	return r;
}

int pool_clean_begin(struct clean **ret, struct pool *p, struct unit *x)
{
	struct clean *c = malloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->pool = p;
	c->unit = units_index(&p->units, x);
	c->used = x->used;
	c->at = 0;
	c->appended = 0;
	c->error = 0;
	units_hold(&p->units, c->unit);
	*ret = c;
	return 0;
}

void pool_clean_read(struct clean *c)
{
	c->error = read_unit(c, c->used);
}

/* store_walk_fn: how much lives, all in all. */
static int weigh(void *ctx, uint32_t offset, const struct fls_record *r)
{
	struct clean *c = ctx;

	if (c->owner->is_live(c->owner->ctx, r, unit_start(c->unit) + offset))
		c->packed += store_record_size(r->len);
	return 0;
}

/*
 * Before anything moves: does what the walk finds agree with the accounts? If not, a forged header made it
 * step over something that lives, or the owner believes more than the accounts know: they come first.
 */
static int check_unit(struct clean *c)
{
	int r;

	c->packed = 0;
	r = store_walk(c->buf, c->used, weigh, c);
	return r < 0 || c->packed != c->pool->units.unit[c->unit].live ? -EBADMSG : 0;
}

int pool_clean_step(struct clean *c, const struct store_owner *owner, uint32_t records)
{
	struct pool *p = c->pool;

	if (c->error || c->at >= c->used || !p->units.unit[c->unit].live)
		return c->error;
	c->owner = owner;
	if (!c->at)
		c->error = check_unit(c);
	if (c->error)
		return c->error;
	c->packed = c->n = 0;
	c->base = c->at;
	c->limit = records;
	c->error = store_walk(c->buf + c->base, c->used - c->base, pack, c);
	if (c->error >= 0)
		c->error = move_packed(c);
	return c->error ? c->error : c->at < c->used;
}

int pool_clean_end(struct clean *c)
{
	struct units *u = &c->pool->units;
	int r = c->error;

	c->pool->appended = c->appended;
	/* What still lives cannot be found by walking: trying again would win nothing. */
	if (!r && c->at >= c->used && u->unit[c->unit].live)
		r = -EBADMSG;
	if (r == -EBADMSG)
		units_lose(u, c->unit);
	else
		units_release(u, c->unit);
	free(c);
	return r;
}

int pool_clean(struct pool *p, struct unit *x, const struct store_owner *owner)
{
	struct clean *c;
	int r = pool_clean_begin(&c, p, x);

	if (r < 0)
		return r;
	pool_clean_read(c);
	while (pool_clean_step(c, owner, UINT32_MAX) > 0)
		;
	return pool_clean_end(c);
}
