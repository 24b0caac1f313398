/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * json.h - writes one JSON value to a stream, correctly escaped and indented.
 *
 * libsmartcols can print a table as JSON, but not objects of several kinds inside each other.
 * A key is NULL inside an array. Everything that is begun is ended by the caller; what cannot
 * be written shows in ferror(3) of the stream.
 */
#ifndef FAULTLINE_CLI_JSON_H
#define FAULTLINE_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *out;
	int depth;
	bool first;			/* nothing written yet at this depth */
};

#define JSON_INIT(stream)	{ .out = (stream), .first = true }

void json_begin(struct json *j, const char *key, char bracket);	/* '{' or '[' */
void json_end(struct json *j, char bracket);			/* '}' or ']' */
void json_u64(struct json *j, const char *key, uint64_t value);
void json_double(struct json *j, const char *key, double value);
void json_null(struct json *j, const char *key);

/*
 * At most size bytes, up to a NUL. Invalid UTF-8 becomes U+FFFD: the text may be anybody's, and
 * what is printed must be JSON all the same.
 */
void json_text(struct json *j, const char *key, const char *text, uint64_t size);

#endif
