/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fail-alloc.h - let one allocation fail, to see what an object does then.
 *
 * In a program that is linked with $(FAIL_ALLOC_LDFLAGS). Counts malloc, calloc, realloc and
 * fallocate; not what a shared library does inside.
 *
 *	for (unsigned int n = 0; fail_alloc(n, thing_new(&t), &r); n++)
 *		... r is what it returned with its allocation number n failing ...
 */
#ifndef FAULTLINE_TESTS_FAIL_ALLOC_H
#define FAULTLINE_TESTS_FAIL_ALLOC_H

#include <stdbool.h>

void fail_alloc_arm(unsigned int n);	/* the n-th from now on, from 0, fails, once */
bool fail_alloc_disarm(void);		/* true: it did */

#define fail_alloc(n, call, ret) ({					\
	fail_alloc_arm(n);						\
	*(ret) = (call);						\
	fail_alloc_disarm();						\
})

#endif
