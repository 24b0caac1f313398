/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fail-alloc.c - let one allocation fail. The linker puts these in the place of the real ones
 * (--wrap), in every object of the program.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>

#include "tests/unit/fail-alloc.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
int __real_fallocate(int fd, int mode, off_t at, off_t len);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
int __wrap_fallocate(int fd, int mode, off_t at, off_t len);

static unsigned int left;
static bool armed, failed;

void fail_alloc_arm(unsigned int n)
{
	left = n;
	armed = true;
	failed = false;
}

bool fail_alloc_disarm(void)
{
	armed = false;
	return failed;
}

static bool this_one(void)
{
	if (!armed || left--)
		return false;
	armed = false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return this_one() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return this_one() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return this_one() ? NULL : __real_realloc(p, n);
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t len)
{
	return this_one() ? -1 : __real_fallocate(fd, mode, at, len);
}
