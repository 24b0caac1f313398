/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fill.h - bytes of stored pages, fetched and checked; a worker's buffers for it.
 *
 * A record is copied out of its store first, then checked, then decoded, then its checksum is compared:
 * whoever can write the store can only make the page unreadable, never wrong.
 */
#ifndef FAULTLINE_DAEMON_FILL_H
#define FAULTLINE_DAEMON_FILL_H

#include <stdint.h>

#include "daemon/page.h"
#include "include/faultline-shared.h"

#define FILL_PAGES	64u		/* of one window */

struct bo;
struct session;

struct fill {
	/* pages ready to be installed, adjacent */
	uint8_t pages[FILL_PAGES][FLS_PAGE] __attribute__((aligned(4096)));
	/* records as they were copied out */
	uint8_t records[FILL_PAGES][FLS_RECORD_MAX + 8] __attribute__((aligned(64)));
	struct {
		enum page_kind kind;
		uint32_t size;
		uint32_t index;
		uint64_t sum;
		uint8_t gen;
		int error;
	} want[FILL_PAGES];
};

int  fill_new(struct fill **ret);
struct fill *fill_free(struct fill *f);

/* Copy out what page p of bo needs, into place i. The session's lock is held. */
void fill_fetch(struct fill *f, unsigned int i, struct bo *bo, uint32_t index, const struct page *p);
/* The same for a record that is in memory already (read from the swap file): 0, or -EBADMSG. */
int  fill_take(struct fill *f, unsigned int i, uint32_t index, const struct page *p,
	       const void *record, uint32_t size);
/* Decode and check place i into pages[i]: 0, or -EBADMSG: it is lost. The lock need not be held. */
int  fill_make(struct fill *f, unsigned int i, uint64_t secret, uint32_t bo);

#endif
