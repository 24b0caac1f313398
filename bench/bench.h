/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench.h - what the benchmark programs share: clock, random numbers, histogram, page contents.
 *
 * Nothing here knows of Faultline: membench is an ordinary program that Faultline, or the
 * kernel's swap, is measured with. All is static inline, so that a benchmark is one file and
 * one object; no function allocates.
 *
 * The data is a table of orders. A row is 64 bytes of fields such as a real table has: a rising
 * number, references into other tables, a month, an amount, names from short lists, padded, and
 * two words that do not compress at all (a random key and a check). LZ4 makes a 4 KiB page of it
 * 1.93 times smaller (faultbench --ratio), 1.76 times when the rows have been shuffled, as sort
 * does: most of the redundancy is in the row, some of it between neighbours.
 * A page is 63 rows and a footer with the page's number, how often it was written, and a check
 * over all of it.
 */
#ifndef FAULTLINE_BENCH_H
#define FAULTLINE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define BENCH_PAGE	4096u
#define BENCH_ROWS	63u			/* in a page, beside the footer */
#define BENCH_WORDS	(BENCH_PAGE / 8)

/* ---- clock ---- */

static inline uint64_t bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- random numbers: splitmix64, the same sequence for the same seed everywhere ---- */

static inline uint64_t bench_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline uint64_t bench_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return bench_mix(*state);
}

/* A number below n: the high half of the product, no division. */
static inline uint64_t bench_scale(uint64_t random, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)random * n) >> 64);
}

static inline uint64_t bench_below(uint64_t *state, uint64_t n)
{
	return bench_scale(bench_random(state), n);
}

/* ---- histogram: 64 linear steps in each power of two, so a quantile is right to 1.6 % ---- */

#define HIST_SHIFT	6
#define HIST_STEPS	(1u << HIST_SHIFT)
#define HIST_SLOTS	((64 - HIST_SHIFT + 1) * HIST_STEPS)

struct bench_hist {
	uint64_t n, sum, max;
	uint64_t slot[HIST_SLOTS];
};

static inline size_t bench_hist_slot(uint64_t ns)
{
	int shift;

	if (ns < HIST_STEPS)
		return ns;
	shift = 63 - __builtin_clzll(ns) - HIST_SHIFT;
	return (size_t)(shift + 1) * HIST_STEPS + ((ns >> shift) - HIST_STEPS);
}

/* The middle of a slot. */
static inline uint64_t bench_hist_value(size_t slot)
{
	size_t shift = slot / HIST_STEPS;

	if (shift <= 1)
		return slot;
	shift--;
	return ((slot % HIST_STEPS + HIST_STEPS) << shift) + ((UINT64_C(1) << shift) >> 1);
}

static inline void bench_hist_add(struct bench_hist *h, uint64_t ns)
{
	h->n++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
	h->slot[bench_hist_slot(ns)]++;
}

static inline uint64_t bench_hist_quantile(const struct bench_hist *h, double q)
{
	uint64_t want = (uint64_t)((double)h->n * q), seen = 0;
	size_t i;

	for (i = 0; i < HIST_SLOTS; i++) {
		seen += h->slot[i];
		if (seen > want)
			return bench_hist_value(i);
	}
	return h->max;
}

static inline double bench_hist_mean(const struct bench_hist *h)
{
	return h->n ? (double)h->sum / (double)h->n : 0;
}

/* ---- contents ---- */

struct bench_row {
	uint64_t id;			/* rising by one */
	uint32_t customer;		/* a reference: which row of the other table, for join */
	uint32_t key;			/* random: what sort sorts by */
	uint32_t amount;		/* below 2^16; what a write changes */
	uint32_t product;		/* one of 200 */
	uint32_t month;			/* rising slowly */
	uint16_t quantity;		/* 1 or 2 */
	uint16_t status;		/* 0, or 1 for one in four */
	char	 city[16];		/* one of 16 names */
	char	 state[12];		/* one of 4 words */
	uint32_t check;			/* of the row as it was made: where rows move by themselves */
};

struct bench_footer {
	uint64_t page;			/* number of the page */
	uint64_t writes;		/* since it was filled */
	uint64_t spare[5];
	uint64_t check;			/* of all the words before */
};

struct bench_page {
	struct bench_row rows[BENCH_ROWS];
	struct bench_footer footer;
};

_Static_assert(sizeof(struct bench_row) == 64, "a row is a cache line");
_Static_assert(sizeof(struct bench_page) == BENCH_PAGE, "a page is a page");

static const char bench_cities[16][16] = {
	"Amsterdam", "Barcelona", "Copenhagen", "Dresden", "Edinburgh", "Florence", "Gothenburg",
	"Helsinki", "Innsbruck", "Lisbon", "Marseille", "Nuremberg", "Oslo", "Prague", "Rotterdam",
	"Salzburg",
};

static const char bench_states[4][12] = {
	"delivered", "in transit", "ordered", "returned",
};

static inline uint32_t bench_row_check(const struct bench_row *row)
{
	uint64_t w[8], sum = 0;
	size_t i;

	memcpy(w, row, sizeof(w));
	w[7] &= UINT32_MAX;		/* the check itself is the upper half */
	for (i = 0; i < 8; i++)
		sum = (sum ^ w[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(sum >> 32);
}

static inline void bench_row_make(struct bench_row *row, uint64_t id, uint64_t seed)
{
	uint64_t state = seed ^ bench_mix(id), a = bench_random(&state), b = bench_random(&state);

	row->id = id;
	row->key = (uint32_t)a;
	row->customer = (uint32_t)(a >> 32) & 0x3ffff;
	row->product = (uint32_t)bench_scale(a * 3, 200);
	row->month = (uint32_t)(202401 + id / 1000000);
	row->amount = (uint32_t)b & 0xffff;
	row->quantity = (uint16_t)(1 + (b >> 20) % 2);
	row->status = (b >> 24) % 8 == 0;
	memcpy(row->city, bench_cities[(b >> 28) % 16], sizeof(row->city));
	memcpy(row->state, bench_states[(b >> 32) % 4], sizeof(row->state));
	row->check = bench_row_check(row);
}

typedef uint64_t bench_word __attribute__((__may_alias__));

static inline uint64_t bench_page_check(const struct bench_page *page)
{
	const bench_word *w = (const bench_word *)page;
	uint64_t s0 = 0, s1 = 0;
	size_t i;

	/* Each word by its own odd number: a word that is lost, old or elsewhere shows. */
	for (i = 0; i + 1 < BENCH_WORDS - 1; i += 2) {
		s0 += w[i] * (2 * i + 1);
		s1 += w[i + 1] * (2 * i + 3);
	}
	return s0 + s1 + w[i] * (2 * i + 1);
}

/* Changes one word and the check with it, without reading the others. */
static inline void bench_page_set(struct bench_page *page, size_t word, uint64_t value)
{
	bench_word *w = (bench_word *)page;

	page->footer.check += (value - w[word]) * (2 * word + 1);
	w[word] = value;
}

static inline void bench_page_fill(struct bench_page *page, uint64_t number, uint64_t seed)
{
	size_t i;

	for (i = 0; i < BENCH_ROWS; i++)
		bench_row_make(&page->rows[i], number * BENCH_ROWS + i + 1, seed);
	memset(&page->footer, 0, sizeof(page->footer));
	page->footer.page = number;
	page->footer.check = bench_page_check(page);
}

static inline bool bench_page_good(const struct bench_page *page, uint64_t number)
{
	return page->footer.page == number && page->footer.check == bench_page_check(page);
}

#define BENCH_AMOUNT_WORD(row)	((row) * 8 + offsetof(struct bench_row, amount) / 8)
#define BENCH_WRITES_WORD	(BENCH_ROWS * 8 + offsetof(struct bench_footer, writes) / 8)

_Static_assert(offsetof(struct bench_row, amount) % 8 == 0, "the low half of a little-endian word");

#endif
