/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-cli-options.c - the command line of faultline run, and what it says about a wrong one. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/run-options.h"
#include "tests/harness.h"

#define MIB	(UINT64_C(1) << 20)
#define RAM	(1024 * MIB)
#define ARGS	16

static char error[CLI_ERROR_SIZE];
static char *argv_[ARGS];

/* The words of line, as a command line behind "run". */
static int parse(struct run_options *ret, const char *line)
{
	static char words[256];
	int argc = 0;

	static char name[] = "run";

	argv_[argc++] = name;
	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " ")) {
		t_lt(argc, ARGS - 1);
		argv_[argc++] = w;
	}
	argv_[argc] = NULL;
	error[0] = '\0';
	return run_options_parse(ret, argc, argv_, RAM, error);
}

static void refused(const char *line, const char *word)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_fails(parse(&o, line), EINVAL);
	if (!strstr(error, word))
		t_fail("'%s' is refused with '%s', which does not say '%s'", line, error, word);
	t_assert(!strchr(error, '\n'));
	t_assert(!o.command);		/* untouched */
}

static void without_options_half_of_the_ram_is_the_budget(void)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_eq(parse(&o, "sort -r x"), RUN_PARSED);
	t_eq(o.budget, RAM / 2);
	t_assert(o.pool_max == UINT64_MAX && o.swap_max == UINT64_MAX && o.prefetch == UINT32_MAX);
	t_eq(o.swap, RUN_SWAP_UNNAMED);
	t_assert(!o.fallback && !o.verbose && !o.socket);
	t_streq(o.command[0], "sort");
	t_streq(o.command[1], "-r");	/* the command's, not ours */
	t_assert(!o.command[3]);
	run_options_done(&o);
}

static void every_option_is_taken(void)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_eq(parse(&o, "--budget 64M --pool-max=25% --swap=/s:1g --prefetch 0 --fallback "
		   "--socket @x -v -- -c"), RUN_PARSED);
	t_eq(o.budget, 64 * MIB);
	t_eq(o.pool_max, 16 * MIB);	/* of the budget */
	t_eq(o.swap, RUN_SWAP_PATH);
	t_streq(o.swap_path, "/s");
	t_eq(o.swap_max, 1024 * MIB);
	t_eq(o.prefetch, 0);
	t_assert(o.fallback && o.verbose);
	t_streq(o.socket, "@x");
	t_streq(o.command[0], "-c");
	run_options_done(&o);
}

static void the_last_budget_counts_for_a_share_of_it(void)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_eq(parse(&o, "--pool-max 50% -b 8M -b 100M x"), RUN_PARSED);
	t_eq(o.pool_max, 50 * MIB);
	run_options_done(&o);
}

static void the_budget_is_between_8M_and_the_ram(void)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_eq(parse(&o, "-b 8M x"), RUN_PARSED);
	t_eq(o.budget, 8 * MIB);
	t_eq(parse(&o, "-b 100% x"), RUN_PARSED);
	t_eq(o.budget, RAM);
	refused("-b 8388607 x", "too small");
	refused("-b 1025M x", "more than the RAM of this machine (1G)");
}

static void a_budget_is_whole_pages(void)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_eq(parse(&o, "-b 8388609 x"), RUN_PARSED);
	t_eq(o.budget, 8 * MIB);
}

static void nonsense_is_refused_and_named(void)
{
	refused("-b x y", "--budget 'x'");
	refused("-b -1 y", "--budget '-1'");
	refused("-b 101% y", "--budget '101%'");
	refused("--pool-max 7q y", "--pool-max '7q'");
	refused("-b 8M --pool-max 9M y", "part of it");
	refused("--prefetch 513 y", "--prefetch '513'");
	refused("--prefetch 1.5 y", "--prefetch '1.5'");
	refused("--prefetch -1 y", "--prefetch '-1'");
	refused("--socket= y", "--socket");
	refused("--frobnicate y", "'--frobnicate'");
	refused("--fallback=1 y", "'--fallback=1'");
	refused("--s x y", "'--s'");		/* swap or socket? */
	refused("-z y", "'-z'");
	refused("-vz y", "'-z'");
	refused("--budget", "needs a value");
	refused("", "no command");
	refused("--", "no command");
}

static void control_characters_do_not_reach_the_terminal(void)
{
	refused("--prefetch \033[31m y", "\\033[31m");
	t_assert(!strchr(error, '\033'));
}

static void a_swap_file_may_have_colons_in_its_path(void)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_eq(parse(&o, "--swap a:b/c x"), RUN_PARSED);
	t_streq(o.swap_path, "a:b/c");
	t_assert(o.swap_max == UINT64_MAX);
	run_options_done(&o);
	t_eq(parse(&o, "--swap c:d: x"), RUN_PARSED);
	t_streq(o.swap_path, "c:d");
	run_options_done(&o);
	refused("--swap a:b x", "'b'");
	refused("--swap a:50% x", "'50%'");	/* of what? */
	refused("--swap a:0 x", "no room");
	refused("--swap :1M x", "names no file");
	refused("--swap= x", "names no file");
}

static void swap_can_be_switched_off(void)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_eq(parse(&o, "--swap none x"), RUN_PARSED);
	t_eq(o.swap, RUN_SWAP_NONE);
	t_eq(o.swap_max, 0);
	t_assert(!o.swap_path);
}

static void help_and_version_need_no_command(void)
{
	struct run_options o = RUN_OPTIONS_NULL;

	t_eq(parse(&o, "-h"), RUN_HELP);
	t_eq(parse(&o, "--help"), RUN_HELP);
	t_eq(parse(&o, "--version"), RUN_VERSION);
	t_eq(parse(&o, "-V"), RUN_VERSION);
}

static const struct t_test tests[] = {
	T(without_options_half_of_the_ram_is_the_budget),
	T(every_option_is_taken),
	T(the_last_budget_counts_for_a_share_of_it),
	T(the_budget_is_between_8M_and_the_ram),
	T(a_budget_is_whole_pages),
	T(nonsense_is_refused_and_named),
	T(control_characters_do_not_reach_the_terminal),
	T(a_swap_file_may_have_colons_in_its_path),
	T(swap_can_be_switched_off),
	T(help_and_version_need_no_command),
	{0}
};

static const struct t_suite suites[] = { { "cli-options", tests }, {0} };

HARNESS_MAIN(suites)
