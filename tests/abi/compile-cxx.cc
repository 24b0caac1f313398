/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* compile-cxx.cc - faultline.h is C++, and what it declares links with the C library. */
#include <cstdio>

#include "tests/abi/use-all.h"

int main()
{
	struct faultline *ctx = nullptr;
	bool ok = use_all.f_new(&ctx) == 0 && ctx && use_all_numbers[0] == FAULTLINE_MAJOR;

	faultline_free(ctx);
	std::printf("1..1\n%sok 1 - a context is made and freed from C++\n", ok ? "" : "not ");
	return !ok;
}
