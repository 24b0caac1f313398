/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * adopt.c - a table four times as large as its job's budget, through libfaultline.
 *
 *	faultline run --budget 64M -- ./adopt
 *
 * Inside of faultline run the preload library manages a program's large memory by itself, sooner or
 * later; this one asks for it from the start, and says what it will need.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <faultline.h>

#define SIZE	((size_t)256 << 20)
#define PART	((size_t)8 << 20)

static void check(const struct faultline *ctx, int r)
{
	if (r == 0)
		return;
	fprintf(stderr, "adopt: %s (%s)\n", faultline_error(ctx), strerror(-r));
	exit(EXIT_FAILURE);
}

static void show(struct faultline *ctx)
{
	struct faultline_stat st = { .size = sizeof(st) };

	check(ctx, faultline_stat(ctx, &st));
	printf("budget %llu MiB: %llu MiB in RAM, %llu MiB taken out, of that %llu MiB on disk\n",
	       (unsigned long long)st.budget >> 20, (unsigned long long)st.resident >> 20,
	       (unsigned long long)st.stored >> 20, (unsigned long long)st.swap >> 20);
}

int main(void)
{
	struct faultline *ctx;
	struct faultline_region *region;
	unsigned char *table;
	unsigned long sum = 0;

	if (faultline_new(&ctx))
		return EXIT_FAILURE;
	check(ctx, faultline_connect(ctx));
	table = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table == MAP_FAILED)
		return EXIT_FAILURE;
	check(ctx, faultline_region_adopt(ctx, table, SIZE, 0, &region));

	for (size_t i = 0; i < SIZE; i++)
		table[i] = (unsigned char)(i >> 10);
	show(ctx);

	check(ctx, faultline_region_advise(region, 0, SIZE, FAULTLINE_ADVICE_SEQUENTIAL));
	for (size_t i = 0; i < SIZE; i++)
		sum += table[i];
	printf("sum %lu\n", sum);

	/* The first part is wanted next, the last one for long not. */
	check(ctx, faultline_region_advise(region, 0, PART, FAULTLINE_ADVICE_WILLNEED));
	check(ctx, faultline_region_advise(region, SIZE - PART, PART, FAULTLINE_ADVICE_COLD));
	show(ctx);

	/* What is not needed any more need not be brought back first. */
	munmap(table, SIZE);
	check(ctx, faultline_region_release(region));
	faultline_free(ctx);
	return 0;
}
