/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-cli-columns.c - the columns of faultline status: all there, right values, right choice. */
#include <config.h>

#include <string.h>

#include "cli/cli.h"
#include "cli/columns.h"
#include "tests/harness.h"

#define COUNTERS	(sizeof(struct flp_counters) / sizeof(uint64_t))

static char error[CLI_ERROR_SIZE];

static const struct column *column(const char *name)
{
	const struct column *c = column_find(name, strlen(name));

	t_assert(c);
	return c;
}

static void shown(const char *name, const struct row *row, bool bytes, const char *expected)
{
	char text[VALUE_TEXT_MAX];
	struct value v;

	column_value(column(name), row, &v);
	value_format(&v, bytes, text);
	t_streq(text, expected);
}

static void every_counter_has_one_column(void)
{
	unsigned int seen[COUNTERS] = { 0 };

	for (size_t i = 0; i < n_columns; i++)
		if (!columns[i].special)
			seen[columns[i].offset / sizeof(uint64_t)]++;
	for (size_t i = 0; i < COUNTERS; i++)
		if (seen[i] != 1)
			t_fail("field %zu of struct flp_counters has %u columns", i, seen[i]);
}

static void names_are_unique_as_headings_and_as_keys(void)
{
	for (size_t i = 0; i < n_columns; i++)
		for (size_t k = 0; k < i; k++) {
			char a[32], b[32];

			column_key(&columns[i], a, sizeof(a));
			column_key(&columns[k], b, sizeof(b));
			t_assert(strcmp(a, b) != 0);
		}
}

static void a_key_is_lower_case_with_underscores(void)
{
	char key[32];

	column_key(column("P99.9"), key, sizeof(key));
	t_streq(key, "p99_9");
	column_key(column("POOL-MAX"), key, sizeof(key));
	t_streq(key, "pool_max");
}

static void a_list_of_columns_is_taken_in_its_order(void)
{
	struct selection s = { .n = 0 };

	t_ok(selection_parse(&s, "name,JOB,Name", error));
	t_eq(s.n, 2);
	t_streq(s.column[0]->name, "NAME");
	t_streq(s.column[1]->name, "JOB");
}

static void a_plus_adds_to_the_default(void)
{
	struct selection s;
	size_t before;

	selection_default(&s, false);
	before = s.n;
	t_ok(selection_parse(&s, "+peak,job", error));
	t_eq(s.n, before + 1);
	t_streq(s.column[before]->name, "PEAK");
}

static void an_unknown_column_is_named_and_changes_nothing(void)
{
	struct selection s;
	size_t before;

	selection_default(&s, true);
	before = s.n;
	t_fails(selection_parse(&s, "job,nonsense", error), EINVAL);
	t_assert(strstr(error, "'nonsense'"));
	t_fails(selection_parse(&s, "", error), EINVAL);
	t_fails(selection_parse(&s, "job,", error), EINVAL);
	t_fails(selection_parse(&s, "job,\033c", error), EINVAL);
	t_assert(!strchr(error, '\033'));
	t_eq(s.n, before);
}

static void all_columns_fit_in_a_selection(void)
{
	struct selection s;

	selection_all(&s);
	t_eq(s.n, n_columns);
}

static void values_of_a_job_and_of_a_session(void)
{
	struct flp_status_job job = {
		.job = 7, .budget = 512 << 20, .state = FLP_JOB_DEGRADED, .pool_max = UINT64_MAX,
		.name = "sort", .reason = "swap file is full",
		.c = { .resident = 1536 << 10, .pool_pages = 3000, .pool_used = 1000,
		       .fault_p99_ns = 6210 },
	};
	struct flp_status_session session = { .session = 9, .job = 7, .pid = 4711, .name = "sh" };
	struct row j = { .job = &job }, s = { .job = &job, .session = &session };

	job.c.faults[FLP_FAULT_POOL] = 5;
	job.c.faults[FLP_FAULT_PARKED] = 3;	/* counted above */
	shown("JOB", &j, false, "7");
	shown("JOB", &s, false, "7");
	shown("SESSION", &j, false, "");
	shown("SESSION", &s, false, "9");
	shown("NAME", &j, false, "sort");
	shown("NAME", &s, false, "sh");
	shown("STATE", &j, false, "degraded");
	shown("STATE", &s, false, "");
	shown("REASON", &j, false, "swap file is full");
	shown("BUDGET", &j, false, "512M");
	shown("BUDGET", &j, true, "536870912");
	shown("POOL-MAX", &j, true, "");
	shown("RESIDENT", &j, false, "1.5M");
	shown("RESIDENT", &s, true, "0");
	shown("RATIO", &j, false, "3.00");
	shown("RATIO", &s, false, "");
	shown("FAULTS", &j, false, "5");
	shown("FAULTS-PARKED", &j, false, "3");
	shown("P99", &j, false, "6.21us");
	shown("P99", &j, true, "6210");
	shown("PID", &s, false, "4711");
}

static void times_have_three_digits(void)
{
	static const struct { uint64_t ns; const char *text; } each[] = {
		{ 0, "0ns" }, { 999, "999ns" }, { 1000, "1.00us" }, { 9994, "9.99us" },
		{ 9996, "10.0us" }, { 99960, "100us" }, { 999499, "999us" },
		{ 999500, "1.00ms" }, { 1200000, "1.20ms" }, { UINT64_C(90000000000), "90.0s" },
		{ UINT64_C(12345000000000), "12345s" },
	};

	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		char text[VALUE_TEXT_MAX];

		value_format(&(struct value){ VALUE_NS, .n = each[i].ns }, false, text);
		t_streq(text, each[i].text);
	}
}

static void names_are_harmless_on_a_terminal(void)
{
	struct flp_status_job job = { .name = "\033]0;x\007\n\x9b" };
	struct row row = { .job = &job };

	shown("NAME", &row, false, "\\033]0;x\\007\\012\\233");
	memset(job.name, '\001', sizeof(job.name));		/* no NUL */
	column_value(column("NAME"), &row, &(struct value){ 0 });
	shown("NAME", &row, false,
	      "\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001"
	      "\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001\\001");
}

static const struct t_test tests[] = {
	T(every_counter_has_one_column),
	T(names_are_unique_as_headings_and_as_keys),
	T(a_key_is_lower_case_with_underscores),
	T(a_list_of_columns_is_taken_in_its_order),
	T(a_plus_adds_to_the_default),
	T(an_unknown_column_is_named_and_changes_nothing),
	T(all_columns_fit_in_a_selection),
	T(values_of_a_job_and_of_a_session),
	T(times_have_three_digits),
	T(names_are_harmless_on_a_terminal),
	{0}
};

static const struct t_suite suites[] = { { "cli-columns", tests }, {0} };

HARNESS_MAIN(suites)
