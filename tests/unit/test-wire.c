/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-wire.c - what a message must look like. */
#include <config.h>

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/align.h"
#include "common/wire.h"
#include "tests/harness.h"

static union wire_buffer m;
static size_t len;

#define HELLO	{ .version = FLP_VERSION, .role = FLP_ROLE_AGENT, .name = "test" }

static void build(enum flp_type type, const void *body)
{
	len = wire_build(&m, type, 7, body);
}

static void *body(void)
{
	return m.bytes + sizeof(struct flp_header);
}

static int check(unsigned int n_fds, enum wire_direction to)
{
	return wire_check(&m, len, n_fds, to);
}

/* The reason is told, and a copy at any alignment is judged the same. */
static void refused(const char *why, unsigned int n_fds, enum wire_direction to)
{
	uint8_t odd[FLP_MAX_MESSAGE + 1];
	const char *said = "nothing";

	t_fails(wire_check_why(&m, len, n_fds, to, &said), EBADMSG);
	t_streq(said, why);
	memcpy(odd + 1, &m, len);
	t_fails(wire_check(odd + 1, len, n_fds, to), EBADMSG);
}

/* One good message of every type. */
static const struct {
	enum flp_type type;
	enum wire_direction to;
	unsigned int n_fds;
	union {
		struct flp_hello hello;
		struct flp_welcome welcome;
		struct flp_error error;
		struct flp_attach attach;
		struct flp_attached attached;
		struct flp_job_create job_create;
		struct flp_job_created job_created;
		struct flp_log log;
		struct flp_status status;
		struct flp_status_daemon status_daemon;
		struct flp_status_job status_job;
		struct flp_status_session status_session;
		struct flp_reserve reserve;
		struct flp_range range;
		struct flp_advise advise;
		struct flp_range_status range_status;
	} body;
} good[] = {
	{ FLP_HELLO, WIRE_TO_DAEMON, 0, { .hello = HELLO } },
	{ FLP_WELCOME, WIRE_TO_CLIENT, 1, { .welcome = { .version = FLP_VERSION } } },
	{ FLP_ERROR, WIRE_TO_CLIENT, 0, { .error = { .error = -EPERM, .text = "no" } } },
	{ FLP_OK, WIRE_TO_CLIENT, 0, {{0}} },
	{ FLP_ATTACH, WIRE_TO_DAEMON, 2, { .attach = { .s1 = 1 << 30, .s2 = UINT64_C(1) << 40 } } },
	{ FLP_ATTACHED, WIRE_TO_CLIENT, 3, { .attached = { 4096, 4096 } } },
	{ FLP_JOB_CREATE, WIRE_TO_DAEMON, 0, { .job_create = { .budget = 1, .prefetch = UINT32_MAX } } },
	{ FLP_JOB_CREATE, WIRE_TO_DAEMON, 1,
		{ .job_create = { .budget = 1, .prefetch = 512, .flags = FLP_JOB_OWN_SWAP } } },
	{ FLP_JOB_CREATED, WIRE_TO_CLIENT, 0, { .job_created = { .job = 1 } } },
	{ FLP_LOG, WIRE_TO_CLIENT, 0, { .log = { .level = 4, .text = "careful" } } },
	{ FLP_STATUS, WIRE_TO_DAEMON, 0, { .status = { .job = 0 } } },
	{ FLP_STATUS_DAEMON, WIRE_TO_CLIENT, 0, { .status_daemon = { .pid = 1 } } },
	{ FLP_STATUS_JOB, WIRE_TO_CLIENT, 0, { .status_job = { .job = 1 } } },
	{ FLP_STATUS_SESSION, WIRE_TO_CLIENT, 0, { .status_session = { .job = 1 } } },
	{ FLP_RESERVE, WIRE_TO_DAEMON, 0, { .reserve = { 4096, 4096, -1, 5, 0 } } },
	{ FLP_UNRESERVE, WIRE_TO_DAEMON, 0, { .range = { 4096, 4096 } } },
	{ FLP_WAIT_UNRESERVED, WIRE_TO_DAEMON, 0, { .reserve = { 4096, 4096, 0, 5, 0 } } },
	{ FLP_ADVISE, WIRE_TO_DAEMON, 0, { .advise = { 4096, 4096, FLP_ADVICE_EVICT, 0 } } },
	{ FLP_RANGE_STAT, WIRE_TO_DAEMON, 0, { .range = { 4096, 4096 } } },
	{ FLP_RANGE_STATUS, WIRE_TO_CLIENT, 0, { .range_status = { .pages = 1 } } },
};

static void every_type_has_a_message_that_is_right(void)
{
	bool seen[64] = { false };
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		build(good[i].type, &good[i].body);
		t_ok(check(good[i].n_fds, good[i].to));
		seen[good[i].type] = true;
	}
	for (unsigned int type = 0; type < 64; type++) {
		bool known = strcmp(wire_name(type), "unknown") != 0;

		t_eq(known, seen[type]);
		n += known;
	}
	t_eq(n, 19);
}

static void what_only_the_other_side_says_is_refused(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		build(good[i].type, &good[i].body);
		refused("a type that only the other side may send", good[i].n_fds,
			good[i].to == WIRE_TO_DAEMON ? WIRE_TO_CLIENT : WIRE_TO_DAEMON);
	}
}

static void every_wrong_length_is_refused(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		build(good[i].type, &good[i].body);
		for (size_t l = 0; l < len; l++)
			t_fails(wire_check(&m, l, good[i].n_fds, good[i].to), EBADMSG);
		t_fails(wire_check(&m, len + 1, good[i].n_fds, good[i].to), EBADMSG);

		m.h.len = (uint32_t)(len += 8);
		refused("a length that is not the type's", good[i].n_fds, good[i].to);
	}
}

static void every_wrong_number_of_descriptors_is_refused(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		if (good[i].type == FLP_WELCOME)
			continue;		/* an agent's has one, others have none */
		build(good[i].type, &good[i].body);
		for (unsigned int n = 0; n <= FLP_MAX_FDS; n++)
			if (n != good[i].n_fds)
				refused("wrong number of descriptors", n, good[i].to);
	}
}

static void stranger_is_refused(void)
{
	const struct flp_hello hello = HELLO;

	build(FLP_HELLO, &hello);
	m.h.magic++;
	refused("not a message of this protocol", 0, WIRE_TO_DAEMON);
	build(FLP_HELLO, &hello);
	m.h.len++;
	refused("a length that is not the packet's", 0, WIRE_TO_DAEMON);
	for (unsigned int type = 0; type < 70000; type += 13) {
		if (strcmp(wire_name(type), "unknown"))
			continue;
		build(FLP_OK, NULL);
		m.h.type = (uint16_t)type;
		if (strcmp(wire_name(m.h.type), "unknown"))
			continue;
		refused("a type that is not known", 0, WIRE_TO_DAEMON);
	}
}

static void other_version_is_told_apart_from_garbage(void)
{
	struct flp_hello hello = HELLO;

	build(FLP_HELLO, &hello);
	m.h.version = FLP_VERSION + 1;
	t_fails(check(0, WIRE_TO_DAEMON), EPROTONOSUPPORT);
	hello.version = FLP_VERSION + 1;
	build(FLP_HELLO, &hello);
	t_fails(check(0, WIRE_TO_DAEMON), EPROTONOSUPPORT);
	m.h.version = FLP_VERSION + 1;
	m.h.len = (uint32_t)(len -= 8);		/* its layout is for ever */
	t_fails(check(0, WIRE_TO_DAEMON), EBADMSG);
}

static void fields_out_of_range_are_refused(void)
{
	struct flp_hello *hello = body();
	struct flp_log *log = body();
	struct flp_advise *advise = body();
	struct flp_error *error = body();

	for (uint32_t role = 0; role < 10; role++) {
		build(FLP_HELLO, &(struct flp_hello)HELLO);
		hello->role = role;
		t_eq(check(0, WIRE_TO_DAEMON), role >= 1 && role <= 3 ? 0 : -EBADMSG);
	}
	for (uint32_t level = 0; level < 10; level++) {
		build(FLP_LOG, NULL);
		log->level = level;
		t_eq(check(0, WIRE_TO_CLIENT), level >= 3 && level <= 7 ? 0 : -EBADMSG);
	}
	build(FLP_ADVISE, &(struct flp_advise){ 4096, 4096, FLP_ADVICE_EVICT + 1, 0 });
	refused("a value out of range", 0, WIRE_TO_DAEMON);
	advise->advice = 0;
	advise->pad = 1;
	refused("padding that is not zero", 0, WIRE_TO_DAEMON);
	build(FLP_ERROR, &(struct flp_error){ .error = -EPERM });
	error->error = EPERM;
	refused("not an error number", 0, WIRE_TO_CLIENT);
	error->error = INT32_MIN;
	refused("not an error number", 0, WIRE_TO_CLIENT);
}

static void unknown_flags_are_refused(void)
{
	struct flp_hello hello = HELLO;

	hello.flags = 1;
	build(FLP_HELLO, &hello);
	refused("unknown flags", 0, WIRE_TO_DAEMON);
	build(FLP_RESERVE, &(struct flp_reserve){ 4096, 4096, 0, 1, 1u << 31 });
	refused("unknown flags", 0, WIRE_TO_DAEMON);
	build(FLP_ATTACH, &(struct flp_attach){ 1 << 30, UINT64_C(1) << 40, UINT64_C(1) << 63 });
	refused("unknown flags", 2, WIRE_TO_DAEMON);
}

static void text_without_an_end_is_refused(void)
{
	struct flp_hello hello = HELLO;
	struct flp_job_create job = { .budget = 1 };
	struct flp_log log = { .level = 5 };

	memset(hello.name, 'x', sizeof(hello.name));
	build(FLP_HELLO, &hello);
	refused("text without an end", 0, WIRE_TO_DAEMON);
	memset(job.name, 'x', sizeof(job.name));
	build(FLP_JOB_CREATE, &job);
	refused("text without an end", 0, WIRE_TO_DAEMON);
	memset(log.text, 'x', sizeof(log.text));
	build(FLP_LOG, &log);
	refused("text without an end", 0, WIRE_TO_CLIENT);
}

static void ranges_are_whole_pages_and_end(void)
{
	static const enum flp_type types[] = {
		FLP_RESERVE, FLP_UNRESERVE, FLP_WAIT_UNRESERVED, FLP_ADVISE, FLP_RANGE_STAT,
	};
	static const struct flp_range bad[] = {
		{ 4096, 0 }, { 1, 4096 }, { 4096, 1 }, { 4096, 4097 }, { ~UINT64_C(4095), 4096 },
		{ 4096, ~UINT64_C(4095) }, { UINT64_MAX, UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
			build(types[i], NULL);
			memcpy(body(), &bad[k], sizeof(bad[k]));
			refused("a range that is not of whole pages", 0, WIRE_TO_DAEMON);
		}
	}
}

static void staging_areas_must_be_possible_and_apart(void)
{
	const uint64_t size = 32 * 64 * 4096, at = UINT64_C(1) << 40;

	build(FLP_ATTACH, &(struct flp_attach){ at, at + size, FLP_ATTACH_LIBRARY });
	t_ok(check(2, WIRE_TO_DAEMON));
	build(FLP_ATTACH, &(struct flp_attach){ at, at + size - 4096, 0 });
	refused("the staging areas overlap", 2, WIRE_TO_DAEMON);
	build(FLP_ATTACH, &(struct flp_attach){ at, at, 0 });
	refused("the staging areas overlap", 2, WIRE_TO_DAEMON);
	build(FLP_ATTACH, &(struct flp_attach){ at + 1, 0, 0 });
	refused("a staging area that cannot be", 2, WIRE_TO_DAEMON);
	build(FLP_ATTACH, &(struct flp_attach){ at, ~UINT64_C(4095), 0 });
	refused("a staging area that cannot be", 2, WIRE_TO_DAEMON);
}

static void job_that_contradicts_itself_is_refused(void)
{
	struct flp_job_create job = { .budget = 0 };

	build(FLP_JOB_CREATE, &job);
	refused("no budget", 0, WIRE_TO_DAEMON);
	job.budget = 1;
	job.prefetch = 513;
	build(FLP_JOB_CREATE, &job);
	refused("more than 512 pages of prefetch", 0, WIRE_TO_DAEMON);
	job.prefetch = 0;
	job.flags = FLP_JOB_NO_SWAP;
	build(FLP_JOB_CREATE, &job);
	t_ok(check(0, WIRE_TO_DAEMON));
	job.swap_max = 1;
	build(FLP_JOB_CREATE, &job);
	refused("no swap, but a swap file or a size for it", 0, WIRE_TO_DAEMON);
	job.swap_max = 0;
	job.flags |= FLP_JOB_OWN_SWAP;
	build(FLP_JOB_CREATE, &job);
	refused("no swap, but a swap file or a size for it", 1, WIRE_TO_DAEMON);
}

static void errors_have_a_text_always(void)
{
	const struct flp_error *e = body();
	char text[1000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	len = wire_build_error(&m, 3, -ENOMEM, NULL);
	t_ok(check(0, WIRE_TO_CLIENT));
	t_eq(m.h.cookie, 3);
	t_streq(e->text, "Cannot allocate memory");
	len = wire_build_error(&m, 3, -EPERM, text);
	t_ok(check(0, WIRE_TO_CLIENT));
	t_eq(strlen(e->text), FLP_TEXT_SIZE - 1);
	len = wire_build_error(&m, 3, 17, "odd");
	t_ok(check(0, WIRE_TO_CLIENT));
	t_eq(e->error, -EIO);
	wire_build_error(&m, 3, -4000, NULL);
	t_streq(e->text, "error");
}

static void printer_shows_names_and_ranges_and_fits(void)
{
	char text[128], small[10];

	build(FLP_ADVISE, &(struct flp_advise){ 0x1000, 0x2000, 3, 0 });
	wire_print(text, sizeof(text), &m, len, 0);
	t_streq(text, "ADVISE #7 0x1000+0x2000 advice=3");
	t_eq(wire_print(small, sizeof(small), &m, len, 0), strlen(text));
	t_streq(small, "ADVISE #7");
	t_eq(wire_print(NULL, 0, &m, len, 0), strlen(text));
	wire_build_error(&m, 7, -EPERM, "\033[2J");
	wire_print(text, sizeof(text), &m, m.h.len, 2);
	t_streq(text, "ERROR #7 error=-1 fds=2");
	wire_print(text, sizeof(text), &m, 3, 0);
	t_streq(text, "3 stray bytes");
	m.h.magic = 0;
	wire_print(text, sizeof(text), &m, sizeof(m.h), 0);
	t_streq(text, "unknown #7 type=3 version=1 len=16");
}

static const struct t_test tests[] = {
	T(every_type_has_a_message_that_is_right),
	T(what_only_the_other_side_says_is_refused),
	T(every_wrong_length_is_refused),
	T(every_wrong_number_of_descriptors_is_refused),
	T(stranger_is_refused),
	T(other_version_is_told_apart_from_garbage),
	T(fields_out_of_range_are_refused),
	T(unknown_flags_are_refused),
	T(text_without_an_end_is_refused),
	T(ranges_are_whole_pages_and_end),
	T(staging_areas_must_be_possible_and_apart),
	T(job_that_contradicts_itself_is_refused),
	T(errors_have_a_text_always),
	T(printer_shows_names_and_ranges_and_fits),
	{0}
};

static const struct t_suite suites[] = { { "wire", tests }, {0} };

HARNESS_MAIN(suites)
