/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * client-hammer.c - a program for tests: "client-hammer MIB THREADS INCREMENTS SEED".
 *
 * Counters, one in each page of MIB of memory, are incremented at random, and so are their shadows, which
 * lie in shared memory: that is never managed. A page is visited for a few increments. At the end, and now
 * and then in between, a counter is what its shadow is; the rest of a page is what it was. Prints
 * "increments N lost N"; status 1 if any was lost.
 */
#include <config.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WORDS	512u
#define VISIT	16u			/* increments of one visit */

static uint64_t *memory;
static uint32_t *shadow;
static uint64_t n_pages, n_threads, per_thread, seed;
static uint64_t lost;

struct thread {
	pthread_t id;
	uint64_t n;
};

/* The counter is in a word of its own; every eighth of the others is noise. */
static uint64_t filling(uint64_t page, uint64_t word)
{
	uint64_t x = (page << 9 | word) * UINT64_C(0x9e3779b97f4a7c15);

	return word % 8 ? page : x ^ x >> 31;
}

static uint64_t counter_word(uint64_t page)
{
	return page * 7 % WORDS;
}

static void fill(uint64_t page)
{
	for (uint64_t w = 0; w < WORDS; w++)
		memory[page * WORDS + w] = w == counter_word(page) ? 0 : filling(page, w);
}

static int is_right(uint64_t page)
{
	const volatile uint64_t *p = memory + page * WORDS;

	for (uint64_t w = 0; w < WORDS; w++)
		if (p[w] != (w == counter_word(page) ? shadow[page] : filling(page, w)))
			return 0;
	return 1;
}

static void check(uint64_t page)
{
	if (is_right(page))
		return;
	fprintf(stderr, "page %llu: the counter is %llu, its shadow %u\n", (unsigned long long)page,
		(unsigned long long)memory[page * WORDS + counter_word(page)], shadow[page]);
	__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
}

/* Page p belongs to thread p % n_threads. */
static void *hammer(void *arg)
{
	const struct thread *t = arg;
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + t->n + 1, mine = n_pages / n_threads;

	for (uint64_t i = 0; i < per_thread; i += VISIT) {
		volatile uint64_t *counter;
		uint64_t page;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		page = (x >> 8) % mine * n_threads + t->n;
		counter = memory + page * WORDS + counter_word(page);
		for (unsigned int k = 0; k < VISIT; k++) {
			(*counter)++;
			shadow[page]++;
		}
		if (i / VISIT % 64 == 0)
			check(page);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct thread thread[64];

	if (argc != 5)
		return 2;
	n_pages = strtoull(argv[1], NULL, 10) << 8;
	n_threads = strtoull(argv[2], NULL, 10);
	per_thread = strtoull(argv[3], NULL, 10) / n_threads;
	seed = strtoull(argv[4], NULL, 10);
	memory = mmap(NULL, n_pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shadow = mmap(NULL, n_pages * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!n_threads || n_threads > 64 || memory == MAP_FAILED || shadow == MAP_FAILED)
		return 2;
	for (uint64_t p = 0; p < n_pages; p++)
		fill(p);
	for (uint64_t i = 0; i < n_threads; i++) {
		thread[i].n = i;
		if (pthread_create(&thread[i].id, NULL, hammer, &thread[i]))
			return 2;
	}
	for (uint64_t i = 0; i < n_threads; i++)
		pthread_join(thread[i].id, NULL);
	for (uint64_t p = 0; p < n_pages; p++)
		check(p);
	printf("increments %llu lost %llu\n", (unsigned long long)(per_thread / VISIT * VISIT * n_threads),
	       (unsigned long long)lost);
	return lost != 0;
}
