/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * size.h - sizes as people write them: "512M", "1.5GiB", "50%". See size.c.
 */
#ifndef FAULTLINE_COMMON_SIZE_H
#define FAULTLINE_COMMON_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* Why a text is not a size. Each says in size_error() what is wrong and what would be right. */
enum size_outcome {
	SIZE_OK = 0,
	SIZE_E_EMPTY,
	SIZE_E_NEGATIVE,
	SIZE_E_NUMBER,			/* does not begin with a number */
	SIZE_E_UNIT,			/* something behind the number that is no unit */
	SIZE_E_RANGE,			/* too large for 64 bits */
	SIZE_E_PERCENT,			/* a share, but no total to take it of; or more than 100 % */
};

/*
 * A number, perhaps with decimals, and a unit: none or B (bytes), K, M, G, T, P, E, each also as
 * KB and KiB; capitals or not; always powers of 1024. Or a percentage of total (0: not allowed
 * here). Blanks around it and before the unit are fine. Fractions are rounded down to bytes.
 *
 * SIZE_OK, or a positive outcome; then *ret is untouched.
 */
int size_parse(const char *text, uint64_t total, uint64_t *ret);
const char *size_error(int outcome);

#define SIZE_TEXT 32			/* room that is always enough for these two */
/* "0", "640B", "1.5G", "512M", "10.0T": at most one decimal, rounded to nearest. Returns buf. */
char *size_human(char buf[static SIZE_TEXT], uint64_t bytes);
char *size_bytes(char buf[static SIZE_TEXT], uint64_t bytes);

#endif
