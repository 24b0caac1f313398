/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fuzz-size.c - whatever a person writes as a size, the answer is a size or a sentence.
 */
#include <config.h>

#include <string.h>

#include "common/size.h"
#include "fuzz/fuzz.h"

static void try_total(const char *text, uint64_t total)
{
	const uint64_t untouched = UINT64_C(0x5a5a5a5a5a5a5a5a);
	uint64_t n = untouched, again = 0;
	char human[SIZE_TEXT], bytes[SIZE_TEXT];
	int r = size_parse(text, total, &n);

	must(r >= 0);
	if (r != SIZE_OK) {
		must(n == untouched);
		must(size_error(r) && size_error(r)[0] != '\0');
		return;
	}
	must(size_human(human, n) == human && strlen(human) < sizeof(human));
	must(size_bytes(bytes, n) == bytes && strlen(bytes) < sizeof(bytes));
	must(size_parse(bytes, 0, &again) == SIZE_OK && again == n);
	if (strchr(text, '%'))
		must(n <= total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[256];

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	try_total(text, 0);
	try_total(text, UINT64_C(1) << 30);
	try_total(text, UINT64_MAX);
	return 0;
}
