/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * json.c - writes one JSON value to a stream. See json.h.
 */
#include <config.h>

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/json.h"

#define INDENT	3		/* as util-linux prints it */

static void new_line(struct json *j)
{
	fprintf(j->out, "\n%*s", j->depth * INDENT, "");
}

/* Length of the well-formed UTF-8 sequence at s (n bytes are there), or 0. (Unicode, table 3-7.) */
static size_t utf8_length(const unsigned char *s, size_t n)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (len > n)
		return 0;
	if (s[0] == 0xe0)
		lo = 0xa0;		/* shorter forms exist */
	else if (s[0] == 0xed)
		hi = 0x9f;		/* surrogates */
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f;		/* beyond U+10FFFF */
	if (s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* DEL and the C1 controls are legal in JSON, and no good on a terminal. */
static void put_char(struct json *j, const unsigned char *s, size_t len)
{
	if (*s == '"' || *s == '\\')
		fprintf(j->out, "\\%c", *s);
	else if (*s < 0x20 || *s == 0x7f)
		fprintf(j->out, "\\u%04x", (unsigned int)*s);
	else if (*s == 0xc2 && s[1] < 0xa0)
		fprintf(j->out, "\\u%04x", (unsigned int)s[1]);
	else
		fwrite(s, 1, len, j->out);
}

static void put_string(struct json *j, const char *text, uint64_t size)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = strnlen(text, size);

	fputc('"', j->out);
	while (n) {
		size_t len = utf8_length(s, n);

		if (len)
			put_char(j, s, len);
		else
			fputs("\\ufffd", j->out);
		s += len ? len : 1;
		n -= len ? len : 1;
	}
	fputc('"', j->out);
}

/* Comma, indentation, key: everything in front of a value. */
static void lead(struct json *j, const char *key)
{
	if (!j->first)
		fputc(',', j->out);
	j->first = false;
	if (j->depth)
		new_line(j);
	if (key) {
		put_string(j, key, UINT64_MAX);
		fputs(": ", j->out);
	}
}

void json_begin(struct json *j, const char *key, char bracket)
{
	lead(j, key);
	fputc(bracket, j->out);
	j->depth++;
	j->first = true;
}

void json_end(struct json *j, char bracket)
{
	bool empty = j->first;

	assert(j->depth > 0);
	j->depth--;
	j->first = false;
	if (!empty)
		new_line(j);
	fputc(bracket, j->out);
	if (!j->depth)
		fputc('\n', j->out);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	lead(j, key);
	fprintf(j->out, "%" PRIu64, value);
}

/* The locale's decimal comma is not JSON's. */
void json_double(struct json *j, const char *key, double value)
{
	char digits[64];

	if (!isfinite(value)) {
		json_null(j, key);
		return;
	}
	lead(j, key);
	snprintf(digits, sizeof(digits), "%.3f", value);
	for (char *p = digits; *p; p++)
		if (*p != '-' && (*p < '0' || *p > '9'))
			*p = '.';
	fputs(digits, j->out);
}

void json_null(struct json *j, const char *key)
{
	lead(j, key);
	fputs("null", j->out);
}

void json_text(struct json *j, const char *key, const char *text, uint64_t size)
{
	lead(j, key);
	put_string(j, text, size);
}
