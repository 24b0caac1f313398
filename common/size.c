/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * size.c - sizes as people write them.
 *
 * Pure functions, used by the daemon, the command line and the library: no libbsd, and no
 * locale (the decimal point is a point). The arithmetic is done in integers, since a double
 * does not hold every byte count; what does not fit is an error and never a smaller size.
 */
#include <config.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/align.h"
#include "common/size.h"

static const char units[] = "BKMGTPE";		/* each 1024 of the one before */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static const char *skip_blanks(const char *p)
{
	while (is_blank(*p))
		p++;
	return p;
}

/* A decimal number: whole + fraction / scale. */
struct number {
	uint64_t whole, fraction, scale;
};

#define MAX_SCALE UINT64_C(1000000000)		/* decimals after the ninth say nothing more */

static int parse_number(const char **pp, struct number *n)
{
	const char *p = *pp;

	*n = (struct number){ .scale = 1 };
	if (!is_digit(*p) && !(*p == '.' && is_digit(p[1])))
		return SIZE_E_NUMBER;
	for (; is_digit(*p); p++) {
		if (!mul_checked(n->whole, 10, &n->whole) ||
		    !add_checked(n->whole, (uint64_t)(*p - '0'), &n->whole))
			return SIZE_E_RANGE;
	}
	if (*p == '.' && !is_digit(p[1]))
		return SIZE_E_NUMBER;
	if (*p == '.')
		p++;
	for (; is_digit(*p); p++) {
		if (n->scale < MAX_SCALE) {
			n->fraction = n->fraction * 10 + (uint64_t)(*p - '0');
			n->scale *= 10;
		}
	}
	*pp = p;
	return SIZE_OK;
}

/* n times unit; unit is at most 2^60 and the fraction below 2^30. */
static int multiply(const struct number *n, uint64_t unit, uint64_t *ret)
{
	unsigned __int128 part = (unsigned __int128)n->fraction * unit / n->scale;
	uint64_t v;

	if (!mul_checked(n->whole, unit, &v) || !add_checked(v, (uint64_t)part, &v))
		return SIZE_E_RANGE;
	*ret = v;
	return SIZE_OK;
}

static int share(const struct number *n, uint64_t total, uint64_t *ret)
{
	unsigned __int128 v;

	if (!total || n->whole > 100 || (n->whole == 100 && n->fraction))
		return SIZE_E_PERCENT;
	v = (unsigned __int128)n->whole * n->scale + n->fraction;	/* below 2^38 */
	*ret = (uint64_t)(v * total / n->scale / 100);
	return SIZE_OK;
}

/* The unit at p, and where it ends; NULL: that is no unit. */
static const char *parse_unit(const char *p, uint64_t *unit)
{
	const char *found = *p ? strchr(units, upper(*p)) : NULL;

	*unit = 1;
	if (!found)
		return *p && !is_blank(*p) ? NULL : p;
	*unit <<= 10 * (found - units);
	p++;
	if (found == units)		/* B */
		return p;
	if (upper(*p) == 'I' && upper(p[1]) == 'B')
		return p + 2;
	return upper(*p) == 'B' ? p + 1 : p;
}

int size_parse(const char *text, uint64_t total, uint64_t *ret)
{
	const char *p = skip_blanks(text);
	struct number n;
	uint64_t unit;
	int r;

	if (!*p)
		return SIZE_E_EMPTY;
	if (*p == '-')
		return SIZE_E_NEGATIVE;
	r = parse_number(&p, &n);
	if (r)
		return r;

	p = skip_blanks(p);
	if (*p == '%')
		return *skip_blanks(p + 1) ? SIZE_E_UNIT : share(&n, total, ret);
	p = parse_unit(p, &unit);
	if (!p || *skip_blanks(p))
		return SIZE_E_UNIT;
	return multiply(&n, unit, ret);
}

const char *size_error(int outcome)
{
	switch ((enum size_outcome)outcome) {
	case SIZE_OK:
		return "fine";
	case SIZE_E_EMPTY:
		return "is empty; give a size such as 512M";
	case SIZE_E_NEGATIVE:
		return "is negative; give a size such as 512M";
	case SIZE_E_NUMBER:
		return "is not a number; give a size such as 512M";
	case SIZE_E_UNIT:
		return "has an unknown unit; use one of K, M, G, T, P, E (powers of 1024) or none";
	case SIZE_E_RANGE:
		return "is too large; a size is less than 16E";
	case SIZE_E_PERCENT:
		return "is not a share that can be taken here; give 0% to 100% where a percentage "
		       "is allowed, else a size such as 512M";
	}
	return "is not a size";
}

char *size_bytes(char buf[static SIZE_TEXT], uint64_t bytes)
{
	snprintf(buf, SIZE_TEXT, "%llu", (unsigned long long)bytes);
	return buf;
}

char *size_human(char buf[static SIZE_TEXT], uint64_t bytes)
{
	unsigned int exponent = 0;
	uint64_t tenths;

	if (bytes < 1024) {
		snprintf(buf, SIZE_TEXT, bytes ? "%uB" : "%u", (unsigned int)bytes);
		return buf;
	}
	/* The largest unit of which the rounded number is at least 1: 1023.95K is 1.0M. */
	do {
		exponent++;
		tenths = (uint64_t)(((unsigned __int128)bytes * 10 + (UINT64_C(1) << (10 * exponent - 1)))
				    >> (10 * exponent));
	} while (tenths >= 10240 && units[exponent + 1]);

	if (bytes % (UINT64_C(1) << (10 * exponent)) == 0)
		snprintf(buf, SIZE_TEXT, "%llu%c", (unsigned long long)(tenths / 10), units[exponent]);
	else
		snprintf(buf, SIZE_TEXT, "%llu.%llu%c", (unsigned long long)(tenths / 10),
			 (unsigned long long)(tenths % 10), units[exponent]);
	return buf;
}
