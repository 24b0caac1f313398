/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wire.c - the messages of faultline-protocol.h: made, checked, printed.
 *
 * Pure functions on bytes, for both sides; no libbsd, no memory allocation, no state. What a
 * message must look like stands in one table: its size, who may say it, how many descriptors
 * come along, and a list of rules for its fields. A new message is a new line there.
 *
 * Bytes are only looked at through memcpy(): a checker must not trust its argument's alignment.
 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/align.h"
#include "common/wire.h"
#include "include/faultline-shared.h"

/* ---- the table ---- */

enum rule_kind {
	RULE_END,
	RULE_ZERO,		/* size bytes, all zero */
	RULE_TEXT,		/* size bytes, with a NUL in them */
	RULE_U32,		/* lo <= value <= hi */
	RULE_FLAGS,		/* no bits outside of hi; size 4 or 8 */
	RULE_PAGES,		/* u64 addr, u64 len: whole pages, some, no overflow */
	RULE_STAGING,		/* u64 addr of a staging area */
};

struct rule {
	enum rule_kind kind;
	uint16_t offset, size;
	uint32_t lo, hi;
	const char *name;	/* of the field */
};

#define FIELD_(k, s, m)		.kind = (k), .offset = offsetof(struct s, m),		\
				.size = sizeof(((struct s *)0)->m), .name = #m
#define ZERO(s, m)		{ FIELD_(RULE_ZERO, s, m) }
#define TEXT(s, m)		{ FIELD_(RULE_TEXT, s, m) }
#define U32(s, m, from, to)	{ FIELD_(RULE_U32, s, m), .lo = (from), .hi = (to) }
#define FLAGS(s, m, mask)	{ FIELD_(RULE_FLAGS, s, m), .hi = (mask) }
#define PAGES(s, m)		{ FIELD_(RULE_PAGES, s, m) }
#define STAGING(s, m)		{ FIELD_(RULE_STAGING, s, m) }
#define RULES(...)		(const struct rule[]){ __VA_ARGS__, { .kind = RULE_END } }

struct message {
	const char *name;
	uint16_t body;			/* bytes */
	uint8_t to;			/* enum wire_direction */
	uint8_t min_fds, max_fds;
	const struct rule *rules;	/* NULL: every content is fine */
	/* What one field alone does not tell; NULL, or a phrase that says what is wrong. */
	const char *(*more)(const void *body, unsigned int n_fds);
};

static const char *attach_more(const void *body, unsigned int n_fds)
{
	const uint64_t size = (uint64_t)FLS_SLOTS * FLS_SLOT_PAGES * FLS_PAGE;
	struct flp_attach a;
	uint64_t apart;

	memcpy(&a, body, sizeof(a));
	apart = a.s1 < a.s2 ? a.s2 - a.s1 : a.s1 - a.s2;
	return apart < size ? "the staging areas overlap" : NULL;
}

static const char *job_create_more(const void *body, unsigned int n_fds)
{
	struct flp_job_create c;

	memcpy(&c, body, sizeof(c));
	if (!c.budget)
		return "no budget";
	if (c.prefetch > 512 && c.prefetch != UINT32_MAX)
		return "more than 512 pages of prefetch";
	if (c.flags & FLP_JOB_NO_SWAP && (c.flags & FLP_JOB_OWN_SWAP || c.swap_max))
		return "no swap, but a swap file or a size for it";
	if (n_fds != !!(c.flags & FLP_JOB_OWN_SWAP))
		return "wrong number of descriptors";
	return NULL;
}

static const char *error_more(const void *body, unsigned int n_fds)
{
	struct flp_error e;

	memcpy(&e, body, sizeof(e));
	return e.error < 0 && e.error >= -4095 ? NULL : "not an error number";
}

#define BODY(s)	.body = sizeof(struct s)

static const struct message messages[] = {
	[FLP_HELLO] = { "HELLO", BODY(flp_hello), WIRE_TO_DAEMON,
		.rules = RULES(U32(flp_hello, role, FLP_ROLE_AGENT, FLP_ROLE_CONTROL),
			       FLAGS(flp_hello, flags, 0), TEXT(flp_hello, name)) },
	[FLP_WELCOME] = { "WELCOME", BODY(flp_welcome), WIRE_TO_CLIENT, .max_fds = 1,
		.rules = RULES(U32(flp_welcome, version, FLP_VERSION, FLP_VERSION),
			       ZERO(flp_welcome, pad)) },
	[FLP_ERROR] = { "ERROR", BODY(flp_error), WIRE_TO_CLIENT, .more = error_more,
		.rules = RULES(ZERO(flp_error, pad), TEXT(flp_error, text)) },
	[FLP_OK] = { "OK", 0, WIRE_TO_CLIENT },
	[FLP_ATTACH] = { "ATTACH", BODY(flp_attach), WIRE_TO_DAEMON, .min_fds = 2, .max_fds = 2,
		.rules = RULES(STAGING(flp_attach, s1), STAGING(flp_attach, s2),
			       FLAGS(flp_attach, flags, FLP_ATTACH_LIBRARY)),
		.more = attach_more },
	[FLP_ATTACHED] = { "ATTACHED", BODY(flp_attached), WIRE_TO_CLIENT, .min_fds = 3, .max_fds = 3 },
	[FLP_JOB_CREATE] = { "JOB_CREATE", BODY(flp_job_create), WIRE_TO_DAEMON, .max_fds = 1,
		.rules = RULES(FLAGS(flp_job_create, flags, FLP_JOB_NO_SWAP | FLP_JOB_OWN_SWAP),
			       TEXT(flp_job_create, name)),
		.more = job_create_more },
	[FLP_JOB_CREATED] = { "JOB_CREATED", BODY(flp_job_created), WIRE_TO_CLIENT },
	[FLP_LOG] = { "LOG", BODY(flp_log), WIRE_TO_CLIENT,
		.rules = RULES(U32(flp_log, level, 3, 7), ZERO(flp_log, pad), TEXT(flp_log, text)) },
	[FLP_STATUS] = { "STATUS", BODY(flp_status), WIRE_TO_DAEMON },
	[FLP_STATUS_DAEMON] = { "STATUS_DAEMON", BODY(flp_status_daemon), WIRE_TO_CLIENT,
		.rules = RULES(TEXT(flp_status_daemon, version), TEXT(flp_status_daemon, engine),
			       TEXT(flp_status_daemon, mode)) },
	[FLP_STATUS_JOB] = { "STATUS_JOB", BODY(flp_status_job), WIRE_TO_CLIENT,
		.rules = RULES(U32(flp_status_job, state, FLP_JOB_IDLE, FLP_JOB_DEGRADED),
			       TEXT(flp_status_job, name), TEXT(flp_status_job, reason)) },
	[FLP_STATUS_SESSION] = { "STATUS_SESSION", BODY(flp_status_session), WIRE_TO_CLIENT,
		.rules = RULES(TEXT(flp_status_session, name)) },
	[FLP_RESERVE] = { "RESERVE", BODY(flp_reserve), WIRE_TO_DAEMON,
		.rules = RULES(PAGES(flp_reserve, addr), FLAGS(flp_reserve, flags, 0)) },
	[FLP_UNRESERVE] = { "UNRESERVE", BODY(flp_range), WIRE_TO_DAEMON,
		.rules = RULES(PAGES(flp_range, addr)) },
	[FLP_WAIT_UNRESERVED] = { "WAIT_UNRESERVED", BODY(flp_reserve), WIRE_TO_DAEMON,
		.rules = RULES(PAGES(flp_reserve, addr), FLAGS(flp_reserve, flags, 0)) },
	[FLP_ADVISE] = { "ADVISE", BODY(flp_advise), WIRE_TO_DAEMON,
		.rules = RULES(PAGES(flp_advise, addr),
			       U32(flp_advise, advice, FLP_ADVICE_NORMAL, FLP_ADVICE_EVICT),
			       ZERO(flp_advise, pad)) },
	[FLP_RANGE_STAT] = { "RANGE_STAT", BODY(flp_range), WIRE_TO_DAEMON,
		.rules = RULES(PAGES(flp_range, addr)) },
	[FLP_RANGE_STATUS] = { "RANGE_STATUS", BODY(flp_range_status), WIRE_TO_CLIENT },
};

_Static_assert(sizeof(struct flp_header) % 8 == 0, "a body is aligned as its message is");
_Static_assert(sizeof(struct flp_header) + sizeof(struct flp_status_session) <= FLP_MAX_MESSAGE &&
	       sizeof(struct flp_header) + sizeof(struct flp_status_job) <= FLP_MAX_MESSAGE,
	       "every message fits in a buffer");

static const struct message *find(unsigned int type)
{
	return type < ARRAY_SIZE(messages) && messages[type].name ? &messages[type] : NULL;
}

size_t wire_body_size(unsigned int type)
{
	const struct message *m = find(type);

	return m ? m->body : 0;
}

const char *wire_name(unsigned int type)
{
	const struct message *m = find(type);

	return m ? m->name : "unknown";
}

/* ---- building ---- */

void wire_header(struct flp_header *h, enum flp_type type, uint32_t cookie)
{
	*h = (struct flp_header){
		.magic = FLP_MAGIC,
		.version = FLP_VERSION,
		.type = (uint16_t)type,
		.len = (uint32_t)(sizeof(*h) + wire_body_size(type)),
		.cookie = cookie,
	};
}

size_t wire_build(union wire_buffer *buf, enum flp_type type, uint32_t cookie, const void *body)
{
	const size_t size = wire_body_size(type);

	wire_header(&buf->h, type, cookie);
	if (body && size)
		memcpy(buf->bytes + sizeof(buf->h), body, size);
	else
		memset(buf->bytes + sizeof(buf->h), 0, size);
	return sizeof(buf->h) + size;
}

size_t wire_build_error(union wire_buffer *buf, uint32_t cookie, int error, const char *text)
{
	struct flp_error e = { .error = error < 0 && error >= -4095 ? error : -EIO };

	if (!text)
		text = strerrordesc_np(-e.error);	/* constant text: no locale, no lock */
	snprintf(e.text, sizeof(e.text), "%s", text ? text : "error");
	return wire_build(buf, FLP_ERROR, cookie, &e);
}

/* ---- checking ---- */

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return !any;
}

/* NULL when the field keeps the rule. */
static const char *check_rule(const struct rule *r, const uint8_t *field)
{
	switch (r->kind) {
	case RULE_ZERO:
		return all_zero(field, r->size) ? NULL : "padding that is not zero";
	case RULE_TEXT:
		return memchr(field, 0, r->size) ? NULL : "text without an end";
	case RULE_U32:
		return get32(field) >= r->lo && get32(field) <= r->hi ? NULL : "a value out of range";
	case RULE_FLAGS:
		return (r->size == 4 ? get32(field) : get64(field)) & ~(uint64_t)r->hi ?
		       "unknown flags" : NULL;
	case RULE_PAGES:
		return page_range_ok(get64(field), get64(field + 8)) ?
		       NULL : "a range that is not of whole pages";
	case RULE_STAGING:
		return page_range_ok(get64(field), (uint64_t)FLS_SLOTS * FLS_SLOT_PAGES * FLS_PAGE) ?
		       NULL : "a staging area that cannot be";
	case RULE_END:
		break;
	}
	return NULL;
}

static const char *check_body(const struct message *m, const uint8_t *body, unsigned int n_fds)
{
	for (const struct rule *r = m->rules; r && r->kind; r++) {
		const char *why = check_rule(r, body + r->offset);

		if (why)
			return why;
	}
	return m->more ? m->more(body, n_fds) : NULL;
}

/* The part of the check that holds for messages of every version. */
static const char *check_envelope(const struct flp_header *h, size_t len)
{
	if (h->magic != FLP_MAGIC)
		return "not a message of this protocol";
	if (h->len != len || len > FLP_MAX_MESSAGE)
		return "a length that is not the packet's";
	return NULL;
}

static const char *check_message(const struct flp_header *h, const uint8_t *body,
				 unsigned int n_fds, enum wire_direction to)
{
	const struct message *m = find(h->type);

	if (!m)
		return "a type that is not known";
	if (m->to != to)
		return "a type that only the other side may send";
	if (h->len != sizeof(*h) + m->body)
		return "a length that is not the type's";
	if (n_fds < m->min_fds || n_fds > m->max_fds)
		return "wrong number of descriptors";
	return check_body(m, body, n_fds);
}

static bool hello_version_ok(const uint8_t *body)
{
	return get32(body + offsetof(struct flp_hello, version)) == FLP_VERSION;
}

int wire_check_why(const void *msg, size_t len, unsigned int n_fds, enum wire_direction to,
		   const char **ret_why)
{
	const char *why = "shorter than a header";
	struct flp_header h;
	int r = -EBADMSG;

	if (len >= sizeof(h)) {
		memcpy(&h, msg, sizeof(h));
		why = check_envelope(&h, len);
		if (!why && h.version != FLP_VERSION) {
			/* The layout of HELLO is for ever: of another one nothing can be read. */
			if (h.type != FLP_HELLO || len == sizeof(h) + sizeof(struct flp_hello))
				r = -EPROTONOSUPPORT;
			why = "another version of the protocol";
		} else if (!why) {
			why = check_message(&h, wire_body(msg), n_fds, to);
			if (!why && h.type == FLP_HELLO && !hello_version_ok(wire_body(msg))) {
				r = -EPROTONOSUPPORT;
				why = "another version of the protocol";
			}
		}
	}
	if (!why)
		return 0;
	*ret_why = why;
	return r;
}

int wire_check(const void *msg, size_t len, unsigned int n_fds, enum wire_direction to)
{
	const char *why;

	return wire_check_why(msg, len, n_fds, to, &why);
}

/* ---- printing ---- */

/* As much of a line as fits; n counts what all of it would take. */
struct line {
	char *buf;
	size_t size;
	int n;
};

static void __attribute__((format(printf, 2, 3))) line_add(struct line *l, const char *format, ...)
{
	size_t at = min((size_t)l->n, l->size);
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(l->size ? l->buf + at : NULL, l->size - at, format, ap);
	va_end(ap);
	if (n > 0)
		l->n += n;
}

static void line_add_field(struct line *l, const struct rule *r, const uint8_t *field)
{
	switch (r->kind) {
	case RULE_U32:
		line_add(l, " %s=%u", r->name, get32(field));
		break;
	case RULE_FLAGS:
		line_add(l, " %s=%#llx", r->name,
			 (unsigned long long)(r->size == 4 ? get32(field) : get64(field)));
		break;
	case RULE_PAGES:
		line_add(l, " %#llx+%#llx", (unsigned long long)get64(field),
			 (unsigned long long)get64(field + 8));
		break;
	case RULE_STAGING:
		line_add(l, " %s=%#llx", r->name, (unsigned long long)get64(field));
		break;
	case RULE_ZERO:
	case RULE_TEXT:
	case RULE_END:
		break;
	}
}

int wire_print(char *buf, size_t size, const void *msg, size_t len, unsigned int n_fds)
{
	struct line l = { .buf = buf, .size = size };
	const struct message *m;
	struct flp_header h;

	if (len < sizeof(h)) {
		line_add(&l, "%zu stray bytes", len);
		return l.n;
	}
	memcpy(&h, msg, sizeof(h));
	m = h.magic == FLP_MAGIC ? find(h.type) : NULL;
	line_add(&l, "%s #%u", m ? m->name : "unknown", h.cookie);
	if (m && len == sizeof(h) + m->body && h.version == FLP_VERSION) {
		const uint8_t *body = wire_body(msg);

		for (const struct rule *r = m->rules; r && r->kind; r++)
			line_add_field(&l, r, body + r->offset);
		if (h.type == FLP_ERROR)
			line_add(&l, " error=%d", (int)get32(body));
	} else {
		line_add(&l, " type=%u version=%u len=%zu", h.type, h.version, len);
	}
	if (n_fds)
		line_add(&l, " fds=%u", n_fds);
	return l.n;
}
