/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * beside.c - a program with both libraries, for tests/functional/library: preloaded into, and a user
 * of libfaultline. One buffer is left to the preload library, one is adopted. Exit status 0: all is well;
 * else a line says what is not.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "include/faultline.h"

#define SIZE	((size_t)40 << 20)
#define WORDS	(SIZE / sizeof(uint64_t))

static void fail(const char *what, int r)
{
	printf("beside: %s: %s\n", what, strerror(-r));
	exit(1);
}

static uint64_t *map(void)
{
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap", -errno);
	return p;
}

static void fill(uint64_t *p, uint64_t salt)
{
	for (size_t i = 0; i < WORDS; i++)
		p[i] = i & 256 ? salt : i * UINT64_C(0x9e3779b97f4a7c15) + salt;
}

static void check(const uint64_t *p, uint64_t salt)
{
	for (size_t i = 0; i < WORDS; i++)
		if (p[i] != (i & 256 ? salt : i * UINT64_C(0x9e3779b97f4a7c15) + salt))
			fail("a word that was not written", -EIO);
}

int main(void)
{
	struct faultline_stat st = { .size = sizeof(st) };
	struct faultline_region *region, *other;
	struct faultline *ctx;
	uint64_t *adopted, *left;
	int r;

	r = faultline_new(&ctx);
	if (!r)
		r = faultline_connect(ctx);
	if (r)
		fail("connect", r);
	adopted = map();
	r = faultline_region_adopt(ctx, adopted, SIZE, 0, &region);
	if (r)
		fail(faultline_error(ctx), r);
	left = map();
	for (uint64_t round = 0; round < 3; round++) {
		fill(adopted, round);
		fill(left, round + 100);
		check(adopted, round);
		check(left, round + 100);
	}
	r = faultline_stat(ctx, &st);
	if (r)
		fail(faultline_error(ctx), r);
	if (st.state != FAULTLINE_JOB_ACTIVE || st.sessions != 2 ||
	    st.resident + st.unmanaged + st.pool_used > st.budget)
		fail("the job is not within its budget", -ENOMEM);
	if (st.unmanaged > (2 << 20))
		fail("what one agent manages is counted by the other", -ENOMEM);
	/* Twice the budget were written to it: the preload library has it. */
	r = faultline_region_adopt(ctx, left, SIZE, 0, &other);
	if (r != -EBUSY)
		fail("what the preload library has could be adopted", r);
	munmap(adopted, SIZE);
	munmap(left, SIZE);
	r = faultline_region_release(region);
	if (r)
		fail(faultline_error(ctx), r);
	faultline_free(ctx);
	return 0;
}
