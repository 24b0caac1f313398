/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* compile-c99.c - faultline.h is C99, pedantically, and links. */
#include "tests/abi/use-all.h"	/* first: faultline.h needs no header before it */

#include <stdio.h>
#include <string.h>

int main(void)
{
	char wanted[32];
	int ok;

	sprintf(wanted, "%d.%d.", (int)use_all_numbers[0], (int)use_all_numbers[1]);
	ok = strncmp(use_all.f_version(), wanted, strlen(wanted)) == 0;
	printf("1..1\n%sok 1 - the library is of the version that the header says\n", ok ? "" : "not ");
	return !ok;
}
