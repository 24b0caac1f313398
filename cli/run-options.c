/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run-options.c - the command line of faultline run, as a structure that has been checked.
 *
 * Options end at the first argument that is none: what follows belongs to the command. What is
 * given twice counts as it was given last.
 */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/stdlib.h>

#include "common/align.h"
#include "common/size.h"
#include "cli/cli.h"
#include "cli/run-options.h"

enum { OPT_POOL_MAX = 256, OPT_SWAP, OPT_PREFETCH, OPT_FALLBACK, OPT_SOCKET };

static const struct option long_options[] = {
	{ "budget",	required_argument,	NULL, 'b' },
	{ "pool-max",	required_argument,	NULL, OPT_POOL_MAX },
	{ "swap",	required_argument,	NULL, OPT_SWAP },
	{ "prefetch",	required_argument,	NULL, OPT_PREFETCH },
	{ "fallback",	no_argument,		NULL, OPT_FALLBACK },
	{ "socket",	required_argument,	NULL, OPT_SOCKET },
	{ "verbose",	no_argument,		NULL, 'v' },
	{ "help",	no_argument,		NULL, 'h' },
	{ "version",	no_argument,		NULL, 'V' },
	{ 0 }
};

/* What was given, before a percentage can be worked out: the budget may come last. */
struct given {
	const char *budget, *pool_max, *swap, *prefetch;
};

static int parse_size(const char *option, const char *text, uint64_t whole, uint64_t *ret_bytes,
		      char *ret_error)
{
	int outcome = size_parse(text, whole, ret_bytes);

	if (outcome == SIZE_OK)
		return 0;
	cli_error(ret_error, "%s '%s' %s", option, cli_safe(text, strlen(text)),
		  size_error(outcome));
	return -EINVAL;
}

static int parse_budget(struct run_options *o, const char *text, uint64_t ram, char *ret_error)
{
	int r = parse_size("--budget", text, ram, &o->budget, ret_error);
	char most[SIZE_TEXT];

	if (r < 0)
		return r;
	if (o->budget < RUN_BUDGET_MIN) {
		cli_error(ret_error, "--budget '%s' is too small: 8M is the least", text);
		return -EINVAL;
	}
	if (o->budget > ram) {
		cli_error(ret_error, "--budget '%s' is more than the RAM of this machine (%s)", text,
			  size_human(most, ram));
		return -EINVAL;
	}
	o->budget = page_down(o->budget);
	return 0;
}

/* The pool is a part of the budget, so its percentage is of that. */
static int parse_pool_max(struct run_options *o, const char *text, char *ret_error)
{
	int r;

	o->pool_max = UINT64_MAX;
	if (!text)
		return 0;
	r = parse_size("--pool-max", text, o->budget, &o->pool_max, ret_error);
	if (r < 0)
		return r;
	if (o->pool_max <= o->budget)
		return 0;
	cli_error(ret_error, "--pool-max '%s' is more than the budget: the pool is a part of it", text);
	return -EINVAL;
}

static int parse_prefetch(struct run_options *o, const char *text, char *ret_error)
{
	const char *wrong;

	o->prefetch = UINT32_MAX;
	if (!text)
		return 0;
	o->prefetch = (uint32_t)strtonum(text, 0, RUN_PREFETCH_MAX, &wrong);
	if (!wrong)
		return 0;
	cli_error(ret_error, "--prefetch '%s' is not a number of pages from 0 to %d",
		  cli_safe(text, strlen(text)), RUN_PREFETCH_MAX);
	return -EINVAL;
}

/* PATH[:SIZE]: the last colon with no slash behind it ends the path; SIZE may be empty. */
static int parse_swap_path(struct run_options *o, const char *text, char *ret_error)
{
	const char *colon = strrchr(text, ':');
	size_t n = strlen(text);

	if (colon && !strchr(colon, '/')) {
		n = (size_t)(colon - text);
		if (colon[1]) {
			int r = parse_size("--swap, size", colon + 1, 0, &o->swap_max,
					   ret_error);

			if (r < 0)
				return r;
		}
	}
	if (!n || !o->swap_max) {
		cli_error(ret_error, "--swap '%s' %s (write PATH, PATH:SIZE or none)",
			  cli_safe(text, strlen(text)), n ? "has no room" : "names no file");
		return -EINVAL;
	}
	o->swap = RUN_SWAP_PATH;
	o->swap_path = strndup(text, n);
	return o->swap_path ? 0 : -ENOMEM;
}

static int parse_swap(struct run_options *o, const char *text, char *ret_error)
{
	o->swap_max = UINT64_MAX;
	if (!text)
		return 0;
	if (strcmp(text, "none") != 0)
		return parse_swap_path(o, text, ret_error);
	o->swap = RUN_SWAP_NONE;
	o->swap_max = 0;
	return 0;
}

/* RUN_*, or -EINVAL */
static int take_options(struct run_options *o, struct given *given, int argc, char **argv,
			char *ret_error)
{
	int c;

	optind = 0;			/* glibc: start anew */
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:b:vhV", long_options, NULL)) != -1) {
		switch (c) {
		case 'b':
			given->budget = optarg;
			break;
		case OPT_POOL_MAX:
			given->pool_max = optarg;
			break;
		case OPT_SWAP:
			given->swap = optarg;
			break;
		case OPT_PREFETCH:
			given->prefetch = optarg;
			break;
		case OPT_FALLBACK:
			o->fallback = true;
			break;
		case OPT_SOCKET:
			o->socket = optarg;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'h':
			return RUN_HELP;
		case 'V':
			return RUN_VERSION;
		case ':':
			cli_error(ret_error, "option '%s' needs a value (see faultline run --help)",
				  cli_safe(argv[optind - 1], strlen(argv[optind - 1])));
			return -EINVAL;
		default:
			cli_option_error(ret_error, argv, "run");
			return -EINVAL;
		}
	}
	return RUN_PARSED;
}

static int check(struct run_options *o, const struct given *given, uint64_t ram, char *ret_error)
{
	int r = parse_budget(o, given->budget ? given->budget : "50%", ram, ret_error);

	if (r < 0)
		return r;
	r = parse_pool_max(o, given->pool_max, ret_error);
	if (r < 0)
		return r;
	r = parse_prefetch(o, given->prefetch, ret_error);
	return r < 0 ? r : parse_swap(o, given->swap, ret_error);
}

int run_options_parse(struct run_options *ret, int argc, char **argv, uint64_t ram,
		      char *ret_error)
{
	_cleanup_(run_options_done) struct run_options o = RUN_OPTIONS_NULL;
	struct given given = { 0 };
	int r = take_options(&o, &given, argc, argv, ret_error);

	if (r != RUN_PARSED)
		return r;
	r = check(&o, &given, ram, ret_error);
	if (r < 0)
		return r;
	if (o.socket && !o.socket[0]) {
		cli_error(ret_error, "--socket names no file");
		return -EINVAL;
	}
	if (optind >= argc) {
		cli_error(ret_error, "no command is given (see faultline run --help)");
		return -EINVAL;
	}
	o.command = argv + optind;
	*ret = o;
	o = (struct run_options)RUN_OPTIONS_NULL;
	return RUN_PARSED;
}

void run_options_done(struct run_options *o)
{
	free(o->swap_path);
	o->swap_path = NULL;
}
