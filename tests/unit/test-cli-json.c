/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-cli-json.c - what is printed is JSON, whatever is in the texts. */
#include <config.h>

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "tests/harness.h"

static char *text;
static size_t text_size;

static struct json start(void)
{
	struct json j = JSON_INIT(open_memstream(&text, &text_size));

	t_assert(j.out);
	return j;
}

/* Also frees what was written last. */
static void wrote(struct json *j, const char *expected)
{
	fclose(j->out);
	t_streq(text, expected);
	free(text);
}

static void an_object_with_an_array(void)
{
	struct json j = start();

	json_begin(&j, NULL, '{');
	json_u64(&j, "n", UINT64_MAX);
	json_begin(&j, "list", '[');
	json_text(&j, NULL, "a", 9);
	json_begin(&j, NULL, '{');
	json_double(&j, "r", 2.5);
	json_null(&j, "x");
	json_end(&j, '}');
	json_end(&j, ']');
	json_end(&j, '}');
	wrote(&j, "{\n   \"n\": 18446744073709551615,\n   \"list\": [\n      \"a\",\n      {\n"
	      "         \"r\": 2.500,\n         \"x\": null\n      }\n   ]\n}\n");
}

static void empty_brackets_stay_on_one_line(void)
{
	struct json j = start();

	json_begin(&j, NULL, '{');
	json_begin(&j, "none", '[');
	json_end(&j, ']');
	json_end(&j, '}');
	wrote(&j, "{\n   \"none\": []\n}\n");
}

static void escaped(const char *in, size_t n, const char *expected)
{
	struct json j = start();

	json_text(&j, NULL, in, n);
	wrote(&j, expected);
}

static void quotes_and_control_characters_are_escaped(void)
{
	escaped("a\"b\\c", 9, "\"a\\\"b\\\\c\"");
	escaped("\033[31m\n\t\177", 9, "\"\\u001b[31m\\u000a\\u0009\\u007f\"");
	escaped("\xc2\x9b""31m", 9, "\"\\u009b31m\"");		/* CSI in eight bits */
}

static void a_text_ends_at_its_size_or_a_nul(void)
{
	escaped("abcdef", 3, "\"abc\"");
	escaped("ab\0cd", 5, "\"ab\"");
	escaped("", 0, "\"\"");
}

static void good_utf8_is_kept(void)
{
	escaped("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 99, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

static void bad_utf8_is_replaced(void)
{
	escaped("\xff", 9, "\"\\ufffd\"");
	escaped("\x80", 9, "\"\\ufffd\"");
	escaped("\xc0\xaf", 9, "\"\\ufffd\\ufffd\"");			/* too long a form */
	escaped("\xe0\x9f\xbf", 9, "\"\\ufffd\\ufffd\\ufffd\"");
	escaped("\xed\xa0\x80", 9, "\"\\ufffd\\ufffd\\ufffd\"");	/* a surrogate */
	escaped("\xf4\x90\x80\x80", 9, "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
	escaped("\xe2\x82\xac", 2, "\"\\ufffd\\ufffd\"");		/* cut off */
	escaped("\xe2\x82z", 9, "\"\\ufffd\\ufffdz\"");
}

static void numbers_are_not_the_locales(void)
{
	static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8" };
	struct json j = start();

	for (size_t i = 0; i < 3 && !setlocale(LC_NUMERIC, names[i]); i++)
		;
	json_double(&j, NULL, 1234.5);
	wrote(&j, "1234.500");
}

static void what_is_no_number_is_null(void)
{
	struct json j = start();

	json_double(&j, NULL, NAN);
	wrote(&j, "null");
	j = start();
	json_double(&j, NULL, INFINITY);
	wrote(&j, "null");
}

static const struct t_test tests[] = {
	T(an_object_with_an_array),
	T(empty_brackets_stay_on_one_line),
	T(quotes_and_control_characters_are_escaped),
	T(a_text_ends_at_its_size_or_a_nul),
	T(good_utf8_is_kept),
	T(bad_utf8_is_replaced),
	T(numbers_are_not_the_locales),
	T(what_is_no_number_is_null),
	{0}
};

static const struct t_suite suites[] = { { "cli-json", tests }, {0} };

HARNESS_MAIN(suites)
