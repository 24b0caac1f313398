/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * faultline.c - the command line of Faultline: picks the command.
 */
#include <config.h>

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/align.h"
#include "cli/cli.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run",	cmd_run,	"run a command within a budget of RAM" },
	{ "status",	cmd_status,	"show jobs, what they cost and what they do" },
};

static int print_help(void)
{
	fputs("Usage: faultline [--version] [--help] COMMAND [ARGUMENT]...\n"
	      "Give programs more memory than the machine wants to spend on them.\n"
	      "\n"
	      "Commands:\n", stdout);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].help);
	fputs("\nfaultline COMMAND --help says more, and so does faultline-COMMAND(1).\n", stdout);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static int print_version(void)
{
	return printf("faultline %s\n", PACKAGE_VERSION) < 0 || fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static bool is_option(const char *arg, const char *letter, const char *word)
{
	return !strcmp(arg, letter) || !strcmp(arg, word);
}

int main(int argc, char **argv)
{
	const struct command *command;

	setlocale(LC_ALL, "");
	if (argc < 2) {
		cli_say("no command is given (see faultline --help)");
		return CLI_USAGE;
	}
	if (is_option(argv[1], "-h", "--help"))
		return print_help();
	if (is_option(argv[1], "-V", "--version"))
		return print_version();
	command = find_command(argv[1]);
	if (!command) {
		cli_say("unknown %s '%s' (see faultline --help)",
			argv[1][0] == '-' ? "option" : "command",
			cli_safe(argv[1], strlen(argv[1])));
		return CLI_USAGE;
	}
	return command->run(argc - 1, argv + 1);
}
