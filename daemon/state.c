/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * state.c - what of a session must outlive the daemon, in a memfd with a versioned layout.
 *
 * The memfd has its full size from the start, and is sealed there: a file that never grows needs no
 * second mapping, and pointers into it stay good. It is sparse: only what was ever used takes
 * memory, and no more of that than is in use, as a chunk that is freed is punched out.
 *
 *	0		struct state_header
 *	4096		the event ring
 *	8192		descriptors of the chunks
 *	then		the chunks
 *
 * Memory is allocated (fallocate) before it is touched: a store to a hole of a memfd is a SIGBUS when
 * the system has no page to give, and here that must be -ENOMEM for one session.
 *
 * Owned by one session, under its lock. The file is never given to a client.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/memfd.h"
#include "daemon/state.h"

#define CHUNK_SIZE	(STATE_CHUNK_PAGES * sizeof(struct page))
#define EVENTS_AT	FL_PAGE_SIZE
#define DESC_AT		(2 * FL_PAGE_SIZE)
#define CHUNKS_AT	(DESC_AT + STATE_MAX_CHUNKS * sizeof(struct state_chunk))
#define FILE_SIZE	(CHUNKS_AT + STATE_MAX_CHUNKS * CHUNK_SIZE)
#define DESC_PER_PAGE	(FL_PAGE_SIZE / sizeof(struct state_chunk))

_Static_assert(sizeof(struct state_header) <= FL_PAGE_SIZE, "the header has a page");
_Static_assert(STATE_EVENTS * sizeof(struct uffd_msg) <= FL_PAGE_SIZE, "the ring has a page");
_Static_assert(!(CHUNKS_AT % FL_PAGE_SIZE) && !(CHUNK_SIZE % FL_PAGE_SIZE), "chunks are whole pages");

static int allocate(int fd, uint64_t at, uint64_t len)
{
	int r;

	do {
		r = fallocate(fd, 0, (off_t)at, (off_t)len);
	} while (r < 0 && errno == EINTR);

	if (r < 0)
		return errno == ENOSPC ? -ENOMEM : -errno;
	return 0;
}

static void write_header(struct state *st, uint64_t session)
{
	*st->header = (struct state_header){
		.magic = STATE_MAGIC,
		.version = STATE_VERSION,
		.event_size = sizeof(struct uffd_msg),
		.chunk_pages = STATE_CHUNK_PAGES,
		.session = session,
	};
	/* read(2) stores into the ring: let it find the page. */
	memset(st->events, 0, STATE_EVENTS * sizeof(*st->events));
}

int state_init(struct state *st, uint64_t session)
{
	_cleanup_close_ int fd = -1;
	uint8_t *map;
	int r;

	*st = STATE_NULL;

	fd = memfd_sealed("faultline-state", FILE_SIZE);
	if (fd < 0)
		return fd;
	r = allocate(fd, 0, DESC_AT);
	if (r < 0)
		return r;
	map = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;

	st->fd = steal_fd(&fd);
	st->header = (struct state_header *)map;
	st->events = (struct uffd_msg *)(map + EVENTS_AT);
	st->desc = (struct state_chunk *)(map + DESC_AT);
	st->pages = (struct page *)(map + CHUNKS_AT);
	st->max_chunks = STATE_MAX_CHUNKS;
	write_header(st, session);
	return 0;
}

void state_fini(struct state *st)
{
	if (st->header)
		munmap(st->header, FILE_SIZE);
	if (st->fd >= 0)
		close(st->fd);
	free(st->free);
	*st = STATE_NULL;
}

/* Room on the stack of free chunks for one more than there are: freeing one cannot fail. */
static int grow_free(struct state *st)
{
	uint32_t cap = st->cap_free ? st->cap_free * 2 : 64;
	uint32_t *stack;

	if (st->n_chunks < st->cap_free)
		return 0;

	stack = realloc(st->free, cap * sizeof(*stack));
	if (!stack)
		return -ENOMEM;
	st->free = stack;
	st->cap_free = cap;
	return 0;
}

/* The number of a chunk that was never used, with its descriptor there. */
static int chunk_unused(const struct state *st, uint32_t *ret)
{
	uint32_t chunk = st->n_chunks;
	int r;

	if (chunk == st->max_chunks)
		return -ENOSPC;
	if (!(chunk % DESC_PER_PAGE)) {
		r = allocate(st->fd, DESC_AT + chunk * sizeof(struct state_chunk), FL_PAGE_SIZE);
		if (r < 0)
			return r;
	}

	*ret = chunk;
	return 0;
}

int state_chunk_new(struct state *st, uint32_t bo, uint32_t first, uint32_t *ret)
{
	uint32_t chunk = 0;
	int r = 0;

	assert(bo);

	if (st->n_free) {
		chunk = st->free[st->n_free - 1];
	} else {
		r = grow_free(st);
		if (r < 0)
			return r;
		r = chunk_unused(st, &chunk);
		if (r < 0)
			return r;
	}
	r = allocate(st->fd, CHUNKS_AT + chunk * CHUNK_SIZE, CHUNK_SIZE);
	if (r < 0)
		return r;

	if (st->n_free)
		st->n_free--;
	else
		st->header->n_chunks = ++st->n_chunks;
	st->desc[chunk] = (struct state_chunk){ .bo = bo, .first = first };
	*ret = chunk;
	return 0;
}

void state_chunk_free(struct state *st, uint32_t chunk)
{
	assert(chunk < st->n_chunks && st->desc[chunk].bo && st->n_free < st->cap_free);

	st->desc[chunk] = (struct state_chunk){ 0 };
	/* The next owner must find zeros: a hole has them, and takes no memory until then. */
	if (fallocate(st->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(CHUNKS_AT + chunk * CHUNK_SIZE), (off_t)CHUNK_SIZE) < 0)
		memset(state_chunk_pages(st, chunk), 0, CHUNK_SIZE);
	st->free[st->n_free++] = chunk;
}
