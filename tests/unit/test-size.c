/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-size.c - sizes as people write them. */
#include <config.h>

#include <stdint.h>
#include <string.h>

#include "common/align.h"
#include "common/size.h"
#include "tests/harness.h"

#define K UINT64_C(1024)

static void every_way_to_write_a_size_is_read(void)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "640B", 640 }, { "7b", 7 },
		{ "1K", K }, { "1k", K }, { "1KB", K }, { "1KiB", K }, { "1kib", K },
		{ "512M", 512 * K * K }, { "512MiB", 512 * K * K }, { "512 MB", 512 * K * K },
		{ "1g", K * K * K }, { "1.5GiB", 3 * K * K * K / 2 }, { ".5K", 512 },
		{ "2T", 2 * K * K * K * K }, { "3P", 3 * K * K * K * K * K },
		{ "15E", 15 * K * K * K * K * K * K }, { " 8 ", 8 }, { "\t8K\t", 8 * K },
		{ "1.9999999999999999", 1 }, { "0.1K", 102 }, { "010", 10 },
		{ "18446744073709551615", UINT64_MAX },
		{ "50%", 500 }, { "12.5%", 125 }, { "100%", 1000 }, { "0%", 0 }, { "99.99 %", 999 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t n = 1;
		int r = size_parse(good[i].text, 1000, &n);

		if (r || n != good[i].bytes)
			t_fail("'%s': %d, %llu", good[i].text, r, (unsigned long long)n);
	}
}

static void what_is_no_size_is_refused_by_name(void)
{
	static const struct {
		const char *text;
		int outcome;
	} bad[] = {
		{ "", SIZE_E_EMPTY }, { "  ", SIZE_E_EMPTY },
		{ "-1", SIZE_E_NEGATIVE }, { " -5%", SIZE_E_NEGATIVE },
		{ "x", SIZE_E_NUMBER }, { "+5", SIZE_E_NUMBER }, { ".", SIZE_E_NUMBER },
		{ "1.", SIZE_E_NUMBER }, { "1.K", SIZE_E_NUMBER }, { "M", SIZE_E_NUMBER },
		{ "%", SIZE_E_NUMBER }, { "1,5G", SIZE_E_UNIT }, { "1..5", SIZE_E_NUMBER },
		{ "12Q", SIZE_E_UNIT }, { "1MM", SIZE_E_UNIT }, { "1Mi", SIZE_E_UNIT },
		{ "1 M 2", SIZE_E_UNIT }, { "5%x", SIZE_E_UNIT }, { "0x10", SIZE_E_UNIT },
		{ "1e3", SIZE_E_UNIT }, { "1iB", SIZE_E_UNIT }, { "1Bi", SIZE_E_UNIT },
		{ "16E", SIZE_E_RANGE }, { "18446744073709551616", SIZE_E_RANGE },
		{ "99999999999999999999999", SIZE_E_RANGE }, { "18014398509481984K", SIZE_E_RANGE },
		{ "15.9999999999999999999E", SIZE_OK }, { "100.1%", SIZE_E_PERCENT },
		{ "101%", SIZE_E_PERCENT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t n = 77;
		int r = size_parse(bad[i].text, 1000, &n);

		if (r != bad[i].outcome)
			t_fail("'%s': %d (%s)", bad[i].text, r, size_error(r));
		t_assert(!r || n == 77);		/* untouched */
		t_assert(!r || strlen(size_error(r)) > 10);
	}
}

static void percentage_of_nothing_is_refused(void)
{
	uint64_t n;

	t_eq(size_parse("50%", 0, &n), SIZE_E_PERCENT);
	t_eq(size_parse("100%", UINT64_MAX, &n), SIZE_OK);
	t_assert(n == UINT64_MAX);
}

static void people_are_shown_one_decimal_at_most(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} shown[] = {
		{ 0, "0" }, { 1, "1B" }, { 1023, "1023B" }, { 1024, "1K" }, { 1536, "1.5K" },
		{ 512 * K * K, "512M" }, { 512 * K * K + 1, "512.0M" }, { K * K - 1, "1.0M" },
		{ 1023 * K, "1023K" }, { 10 * K * K * K * K, "10T" }, { UINT64_MAX, "16.0E" },
		{ 1100, "1.1K" },
	};
	char text[SIZE_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
		t_streq(size_human(text, shown[i].bytes), shown[i].text);
	t_streq(size_bytes(text, UINT64_MAX), "18446744073709551615");
}

static void what_is_shown_can_be_read_again(void)
{
	char text[SIZE_TEXT];

	for (int i = 0; i < 10000; i++) {
		uint64_t bytes = t_random() >> t_random_below(64), n;

		t_eq(size_parse(size_bytes(text, bytes), 0, &n), SIZE_OK);
		t_assert(n == bytes);
		if (bytes >> 63)
			continue;		/* may be rounded up to 16E, which is none */
		t_eq(size_parse(size_human(text, bytes), 0, &n), SIZE_OK);
		t_le(n > bytes ? n - bytes : bytes - n, bytes / 16);
	}
}

static const struct t_test tests[] = {
	T(every_way_to_write_a_size_is_read),
	T(what_is_no_size_is_refused_by_name),
	T(percentage_of_nothing_is_refused),
	T(people_are_shown_one_decimal_at_most),
	T(what_is_shown_can_be_read_again),
	{0}
};

static const struct t_suite suites[] = { { "size", tests }, {0} };

HARNESS_MAIN(suites)
