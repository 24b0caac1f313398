/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fuzz.h - what a fuzz target is: one function, of bytes that anybody may have written.
 *
 * It must return 0 for every input, and abort() where something that always holds does not. With
 * --enable-fuzz libFuzzer calls it; otherwise replay.c does, in `make check`.
 */
#ifndef FAULTLINE_FUZZ_FUZZ_H
#define FAULTLINE_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assertion that no compiler option switches off. */
#define must(x)									\
	do {									\
		if (!(x)) {							\
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);	\
			abort();						\
		}								\
	} while (0)

#endif
