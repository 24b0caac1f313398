/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * state.h - what of a session must outlive the daemon, in a memfd with a versioned layout.
 *
 * Layout: struct state_header, then the event ring, then chunk descriptors, then chunks. Events are
 * read(2) straight into the ring; applied moves only after the page table has: what a daemon had read
 * and not applied is found again there. Page-table chunks carry who they belong to.
 */
#ifndef FAULTLINE_DAEMON_STATE_H
#define FAULTLINE_DAEMON_STATE_H

#include <stdint.h>
#include "common/uffd-abi.h"
#include "daemon/page.h"

#define STATE_MAGIC		UINT32_C(0x54534c46)	/* "FLST" */
#define STATE_VERSION		1
#define STATE_EVENTS		64u			/* events of one batch at most */
#define STATE_CHUNK_PAGES	512u
#define STATE_MAX_CHUNKS	(UINT64_C(1) << 21)	/* pages of 4 TiB; the file is sparse */

struct state_header {
	uint32_t magic, version;
	uint32_t event_size, chunk_pages;
	uint64_t session;
	uint64_t read, applied;		/* events, free-running */
	uint32_t n_chunks, pad;
};

struct state_chunk {			/* descriptor */
	uint32_t bo;			/* 0: free */
	uint32_t first;			/* index / STATE_CHUNK_PAGES */
};

struct state {
	int fd;
	struct state_header *header;
	struct uffd_msg *events;	/* STATE_EVENTS */
	struct state_chunk *desc;
	struct page *pages;
	uint32_t max_chunks, n_chunks;
	uint32_t *free;			/* stack of free chunks */
	uint32_t n_free, cap_free;
};
#define STATE_NULL (struct state){ .fd = -1 }

int  state_init(struct state *st, uint64_t session);
void state_fini(struct state *st);		/* accepts STATE_NULL */
/* -ENOMEM; -ENOSPC: the session has as many as there can be. */
int  state_chunk_new(struct state *st, uint32_t bo, uint32_t first, uint32_t *ret);	/* all UNKNOWN */
void state_chunk_free(struct state *st, uint32_t chunk);
static inline struct page *state_chunk_pages(const struct state *st, uint32_t chunk)
{
	return st->pages + (uint64_t)chunk * STATE_CHUNK_PAGES;
}

#endif
