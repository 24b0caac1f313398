/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* compile-cxx.cc - faultline.h is C++, and its names link without decoration. */
#include "tests/abi/use-all.h"

#include <cstdio>

int main()
{
	struct faultline *ctx = nullptr;
	struct faultline_stat st = {};
	bool made = use_all.f_new(&ctx) == 0 && ctx && use_all_numbers[0] == FAULTLINE_MAJOR;

	st.size = sizeof(st);
	bool refused = made && use_all.f_stat(ctx, &st) < 0;	/* it is not connected */
	faultline_free(ctx);
	std::printf("1..1\n%sok 1 - a context is made, asked and freed from C++\n",
		    refused ? "" : "not ");
	return !refused;
}
