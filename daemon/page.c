/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * page.c - the state of one page: the only writer of struct page.
 *
 * A page entry belongs to a page table (pagetable.c), and through it to a bo; it is read and written
 * under the lock of the bo's session. Nothing here counts or charges: whoever changes a state goes
 * through the helpers of bo.c, which keep the job's charge and the session's counters true to it.
 *
 *	UNKNOWN ----------------reported present-------------+
 *	   |                                                 v
 *	   +--fault---+        +--------installed-------> RESIDENT ---chosen--> LEAVING
 *	              v        |                             ^                   | | |
 *	 EMPTY -----> FILLING -+                             +--kept, returned---+ | |
 *	              ^        |                                                   | |
 *	              |        +--error--> POISONED <------what was reported of it-+ |
 *	            fault                                  cannot be                 |
 *	              |                                                              |
 *	              +------------------- STORED <------------------stored----------+
 *
 *	Discarded (REMOVE, UNMAP): all but FILLING and LEAVING become EMPTY at once, these two when
 *	their fill or eviction ends. A fill that is given up leaves the page what it was.
 *
 *	transition              done by                      when
 *	UNKNOWN  -> RESIDENT    bo_page_present()            the agent saw it there; only UNKNOWN believes it
 *	UNKNOWN  -> FILLING     bo_page_filling()            a fault, a prefetch
 *	EMPTY    -> FILLING     bo_page_filling()
 *	STORED   -> FILLING     bo_page_filling()
 *	FILLING  -> RESIDENT    bo_page_filled()             installed, or found to be there
 *	FILLING  -> STORED      bo_page_fill_undone()        given up, its contents are still stored
 *	FILLING  -> EMPTY       bo_page_fill_undone()        given up, it was EMPTY
 *	FILLING  -> EMPTY       bo_page_fill_dropped()       it was discarded meanwhile
 *	FILLING  -> UNKNOWN     bo_page_fill_undone()        given up, it was UNKNOWN
 *	FILLING  -> POISONED    bo_page_poisoned()           the stored copy cannot be read
 *	RESIDENT -> LEAVING     bo_page_leaving()            chosen as a victim
 *	LEAVING  -> STORED      bo_page_stored()             taken out, its contents are stored
 *	LEAVING  -> RESIDENT    bo_page_stayed()             never left, or returned
 *	LEAVING  -> EMPTY       bo_page_left_discarded()     discarded meanwhile, or there was nothing
 *	LEAVING  -> POISONED    bo_page_lost()               its agent reported what cannot be
 *	others   -> EMPTY       bo_discard()                 REMOVE, UNMAP
 *
 * FILLING and LEAVING are the reserved states: a fault on such a page parks until it leaves them, and
 * a discard only sets a flag, which whoever reserved it obeys. Nothing becomes UNKNOWN again but a
 * fill of an UNKNOWN page that was given up. An EMPTY page becomes RESIDENT only by our own fill: a
 * report of presence may be from before the discard took effect.
 *
 *	UNKNOWN, EMPTY, POISONED: no stored copy.
 *	STORED: a stored copy, of any kind, which is the page.
 *	FILLING, RESIDENT, LEAVING: charged to the job; may have a stored copy (a clean one, as far as
 *	the checksum will agree).
 */
#include <config.h>

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/page.h"

#define STATE_SHIFT		0
#define STATE_MASK		(UINT64_C(7) << STATE_SHIFT)
#define KIND_SHIFT		3
#define KIND_MASK		(UINT64_C(7) << KIND_SHIFT)
#define DISCARDED		(UINT64_C(1) << 6)
#define REMOVED			(UINT64_C(1) << 7)
#define GEN_SHIFT		8
#define GEN_MASK		(UINT64_C(0xff) << GEN_SHIFT)
#define SIZE_SHIFT		16
#define SIZE_MASK		(UINT64_C(0x3ff) << SIZE_SHIFT)
#define LOC_SHIFT		26
#define LOC_MASK		(((UINT64_C(1) << 36) - 1) << LOC_SHIFT)
#define PREFETCHED		(UINT64_C(1) << 62)
#define COLD			(UINT64_C(1) << 63)

_Static_assert(sizeof(struct page) == 16, "a page entry is 16 bytes");
_Static_assert((STATE_MASK | KIND_MASK | DISCARDED | REMOVED | GEN_MASK | SIZE_MASK | LOC_MASK |
		PREFETCHED | COLD) == UINT64_MAX, "the fields fill the word");
_Static_assert(PAGE_STATES <= 8, "a state has three bits");

static const char *const names[PAGE_STATES] = {
	[PAGE_UNKNOWN]	= "unknown",
	[PAGE_EMPTY]	= "empty",
	[PAGE_FILLING]	= "filling",
	[PAGE_RESIDENT]	= "resident",
	[PAGE_LEAVING]	= "leaving",
	[PAGE_STORED]	= "stored",
	[PAGE_POISONED]	= "poisoned",
};

/* legal[from][to]; what is not named is not. */
static const bool legal[PAGE_STATES][PAGE_STATES] = {
	[PAGE_UNKNOWN] = {
		[PAGE_RESIDENT] = true,
		[PAGE_FILLING] = true,
		[PAGE_EMPTY] = true,
	},
	[PAGE_EMPTY] = {
		[PAGE_FILLING] = true,
	},
	[PAGE_FILLING] = {
		[PAGE_RESIDENT] = true,
		[PAGE_EMPTY] = true,
		[PAGE_STORED] = true,
		[PAGE_UNKNOWN] = true,
		[PAGE_POISONED] = true,
	},
	[PAGE_RESIDENT] = {
		[PAGE_LEAVING] = true,
		[PAGE_EMPTY] = true,
	},
	[PAGE_LEAVING] = {
		[PAGE_STORED] = true,
		[PAGE_RESIDENT] = true,
		[PAGE_EMPTY] = true,
		[PAGE_POISONED] = true,
	},
	[PAGE_STORED] = {
		[PAGE_FILLING] = true,
		[PAGE_EMPTY] = true,
	},
	[PAGE_POISONED] = {
		[PAGE_EMPTY] = true,
	},
};

static void set_field(struct page *p, uint64_t mask, unsigned int shift, uint64_t value)
{
	assert(!(value & ~(mask >> shift)));
	p->word = (p->word & ~mask) | value << shift;
}

static void set_flag(struct page *p, uint64_t flag, bool on)
{
	if (on)
		p->word |= flag;
	else
		p->word &= ~flag;
}

static bool kind_is_record(enum page_kind kind)
{
	return kind == KIND_POOL || kind == KIND_SWAP;
}

const char *page_state_name(enum page_state s)
{
	return (unsigned int)s < PAGE_STATES ? names[s] : "?";
}

bool page_state_legal(enum page_state from, enum page_state to)
{
	return (unsigned int)from < PAGE_STATES && (unsigned int)to < PAGE_STATES && legal[from][to];
}

void page_set_state(struct page *p, enum page_state from, enum page_state to)
{
	assert(page_state(p) == from);
	assert(page_state_legal(from, to));
	/* A copy is exactly what a STORED page has, and what these have not. */
	assert(to != PAGE_STORED || page_kind(p) != KIND_NONE);
	assert((to != PAGE_EMPTY && to != PAGE_UNKNOWN && to != PAGE_POISONED) ||
	       page_kind(p) == KIND_NONE);

	set_field(p, STATE_MASK, STATE_SHIFT, to);
}

void page_set_stored(struct page *p, enum page_kind kind, uint64_t loc, uint32_t size, uint64_t sum,
		     uint8_t gen)
{
	assert(page_in_ram(p));
	assert(kind != KIND_NONE && page_kind(p) == KIND_NONE);
	assert(kind_is_record(kind) ? size > 0 : !size && !loc);
	assert(!(loc & 7) && !(size & 7));

	set_field(p, KIND_MASK, KIND_SHIFT, kind);
	set_field(p, LOC_MASK, LOC_SHIFT, loc / 8);
	set_field(p, SIZE_MASK, SIZE_SHIFT, size / 8);
	set_field(p, GEN_MASK, GEN_SHIFT, gen);
	p->sum = sum;
}

void page_drop_stored(struct page *p)
{
	set_field(p, KIND_MASK, KIND_SHIFT, KIND_NONE);
	set_field(p, LOC_MASK, LOC_SHIFT, 0);
	set_field(p, SIZE_MASK, SIZE_SHIFT, 0);
	p->sum = 0;
}

void page_relocate(struct page *p, enum page_kind kind, uint64_t loc)
{
	assert(kind_is_record(kind) && kind_is_record(page_kind(p)));
	assert(!(loc & 7));

	set_field(p, KIND_MASK, KIND_SHIFT, kind);
	set_field(p, LOC_MASK, LOC_SHIFT, loc / 8);
}

void page_set_discarded(struct page *p, bool on)
{
	assert(!on || page_state(p) == PAGE_FILLING || page_state(p) == PAGE_LEAVING);
	set_flag(p, DISCARDED, on);
}

void page_set_removed(struct page *p, bool on)
{
	set_flag(p, REMOVED, on);
}

void page_set_prefetched(struct page *p, bool on)
{
	set_flag(p, PREFETCHED, on);
}

void page_set_cold(struct page *p, bool on)
{
	set_flag(p, COLD, on);
}
