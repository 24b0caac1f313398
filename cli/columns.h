/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * columns.h - the columns of faultline status: what they are called, what is in them, which are
 * shown.
 *
 * A row is a job or one of its sessions. A value knows what it is (bytes, a count, ...), so that
 * the table, the raw forms and JSON each print it their way.
 */
#ifndef FAULTLINE_CLI_COLUMNS_H
#define FAULTLINE_CLI_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/faultline-protocol.h"

struct row {
	const struct flp_status_job *job;
	const struct flp_status_session *session;	/* NULL: the row is the job's */
};

enum value_kind {
	VALUE_NONE,			/* does not apply to this row, or unlimited */
	VALUE_BYTES,
	VALUE_COUNT,
	VALUE_RATIO,
	VALUE_NS,
	VALUE_TEXT,
};

struct value {
	enum value_kind kind;
	uint64_t n;			/* BYTES, COUNT, NS */
	double ratio;
	const char *text;		/* of TEXT; untrusted, at most n bytes */
};

enum column_of {
	OF_BOTH,
	OF_JOBS,
	OF_SESSIONS,
};

struct column {
	const char *name;		/* as in the heading; in JSON in lower case, - as _ */
	const char *help;
	enum value_kind kind;
	bool (*special)(const struct row *row, struct value *ret);	/* NULL: a counter */
	size_t offset;			/* of the counter, in struct flp_counters */
	enum column_of of;
};

#define COLUMNS_MAX	64

extern const struct column columns[];
extern const size_t n_columns;

struct selection {
	const struct column *column[COLUMNS_MAX];
	size_t n;
};

const struct column *column_find(const char *name, size_t n);

/* Names with commas between them; a leading '+' adds to what *s holds. 0, or -EINVAL with a line
 * in ret_error (CLI_ERROR_SIZE bytes), and *s as it was. */
int selection_parse(struct selection *s, const char *list, char *ret_error);
void selection_default(struct selection *ret, bool sessions);
void selection_all(struct selection *ret);

/* Does a job, or a session, have such a thing at all? */
bool column_applies(const struct column *c, bool session);
void column_value(const struct column *c, const struct row *row, struct value *ret);

/* For a terminal: "" for VALUE_NONE; bytes: plain numbers. The text is always harmless. */
#define VALUE_TEXT_MAX	1100
void value_format(const struct value *v, bool bytes, char ret_text[VALUE_TEXT_MAX]);

/* The name of a column as a JSON key. */
void column_key(const struct column *c, char *ret_key, size_t n);

#endif
