/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run-options.h - the command line of faultline run, as a structure that has been checked.
 */
#ifndef FAULTLINE_CLI_RUN_OPTIONS_H
#define FAULTLINE_CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"

#define RUN_BUDGET_MIN	(UINT64_C(8) << 20)
#define RUN_PREFETCH_MAX 512

enum run_swap {
	RUN_SWAP_UNNAMED	= 0,	/* the daemon makes a file without a name */
	RUN_SWAP_NONE		= 1,
	RUN_SWAP_PATH		= 2,
};

struct run_options {
	uint64_t budget;
	uint64_t pool_max;		/* UINT64_MAX: the daemon's default share */
	uint64_t swap_max;		/* UINT64_MAX: as the file system allows */
	uint32_t prefetch;		/* UINT32_MAX: the daemon's default */
	enum run_swap swap;
	char *swap_path;		/* owned; of RUN_SWAP_PATH */
	const char *socket;		/* of argv; NULL: look for one */
	bool fallback;
	bool verbose;
	char **command;			/* the rest of argv; at least one, NULL-terminated */
};

#define RUN_OPTIONS_NULL { .swap = RUN_SWAP_UNNAMED }

enum run_parsed {
	RUN_PARSED	= 0,
	RUN_HELP	= 1,		/* --help was asked for */
	RUN_VERSION	= 2,		/* --version was */
};

/*
 * argv[0] is the command's own name; ram: bytes, what a percentage is of. RUN_*, -EINVAL with
 * one line in ret_error (CLI_ERROR_SIZE bytes), or -ENOMEM. Not reentrant: getopt(3).
 */
int run_options_parse(struct run_options *ret, int argc, char **argv, uint64_t ram,
		      char *ret_error);
void run_options_done(struct run_options *o);

#endif
