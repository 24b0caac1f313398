/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * page.h - the state of one page, in 16 bytes. page.c has the diagram, and is its only writer.
 *
 * word: state 0..2, kind 3..5, discarded 6, removed 7, generation 8..15, record size / 8 16..25,
 * location / 8 26..61, prefetched 62, cold 63. A page of all zero bits is UNKNOWN.
 * sum: the low half of the checksum of the stored copy; of a SAME page the 8 bytes that fill it.
 */
#ifndef FAULTLINE_DAEMON_PAGE_H
#define FAULTLINE_DAEMON_PAGE_H

#include <stdbool.h>
#include <stdint.h>

enum page_state {
	PAGE_UNKNOWN,		/* registered; never since filled, discarded or reported */
	PAGE_EMPTY,		/* discarded: the next touch gets zeros */
	PAGE_FILLING,		/* reserved: on its way in */
	PAGE_RESIDENT,
	PAGE_LEAVING,		/* reserved: on its way out */
	PAGE_STORED,		/* its contents are what kind says */
	PAGE_POISONED,		/* its contents are lost: SIGBUS */
	PAGE_STATES
};

enum page_kind {		/* of the stored copy */
	KIND_NONE,
	KIND_ZERO,
	KIND_SAME,
	KIND_POOL,
	KIND_SWAP,
};

struct page {
	uint64_t word;
	uint64_t sum;
};

static inline enum page_state page_state(const struct page *p) { return p->word & 7; }
static inline enum page_kind page_kind(const struct page *p) { return (p->word >> 3) & 7; }
static inline bool page_discarded(const struct page *p) { return (p->word >> 6) & 1; }
static inline bool page_removed(const struct page *p) { return (p->word >> 7) & 1; }
static inline uint8_t page_gen(const struct page *p) { return (uint8_t)(p->word >> 8); }
static inline uint32_t page_size_stored(const struct page *p)
{
	return (uint32_t)((p->word >> 16) & 0x3ff) * 8;
}
static inline uint64_t page_loc(const struct page *p)
{
	return ((p->word >> 26) & ((UINT64_C(1) << 36) - 1)) * 8;
}
static inline bool page_prefetched(const struct page *p) { return (p->word >> 62) & 1; }
static inline bool page_cold(const struct page *p) { return (p->word >> 63) & 1; }
static inline bool page_in_ram(const struct page *p)	/* charged as resident */
{
	enum page_state s = page_state(p);

	return s == PAGE_FILLING || s == PAGE_RESIDENT || s == PAGE_LEAVING;
}

const char *page_state_name(enum page_state s);
bool page_state_legal(enum page_state from, enum page_state to);
void page_set_state(struct page *p, enum page_state from, enum page_state to);	/* asserts legality */
/* Of a page in RAM that has no copy (bo_set_copy() kills an old one first, and counts). */
void page_set_stored(struct page *p, enum page_kind kind, uint64_t loc, uint32_t size, uint64_t sum,
		     uint8_t gen);
void page_drop_stored(struct page *p);		/* kind NONE; the generation stays */
void page_relocate(struct page *p, enum page_kind kind, uint64_t loc);
void page_set_discarded(struct page *p, bool on);
void page_set_removed(struct page *p, bool on);
void page_set_prefetched(struct page *p, bool on);
void page_set_cold(struct page *p, bool on);

#endif
