/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * holder.c - a program for tests to be unkind to: "holder MIB" fills that much memory, says "ready",
 * waits for a byte on its standard input, and says whether every page is what it was.
 */
#include <config.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS (4096 / sizeof(uint64_t))

/* Every eighth word is noise: it compresses, but not to nothing. */
static uint64_t value(size_t page, size_t word)
{
	return word % 8 ? page : (page << 9 | word) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill(uint64_t *memory, size_t n_pages)
{
	for (size_t p = 0; p < n_pages; p++)
		for (size_t w = 0; w < WORDS; w++)
			memory[p * WORDS + w] = value(p, w);
}

static int is_same(const uint64_t *memory, size_t n_pages)
{
	for (size_t p = 0; p < n_pages; p++)
		for (size_t w = 0; w < WORDS; w++)
			if (memory[p * WORDS + w] != value(p, w))
				return 0;
	return 1;
}

int main(int argc, char **argv)
{
	size_t n_pages = argc > 1 ? strtoul(argv[1], NULL, 10) << 8 : 0;
	uint64_t *memory = malloc(n_pages * 4096);
	char c;

	if (!n_pages || !memory)
		return 2;
	fill(memory, n_pages);
	puts("ready");
	fflush(stdout);
	if (read(0, &c, 1) != 1)
		return 3;
	puts(is_same(memory, n_pages) ? "same" : "lost");
	fflush(stdout);
	return 0;
}
