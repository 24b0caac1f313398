/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cli.c - how the commands of faultline(1) complain. See cli.h.
 */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>
/* strnvis(), which differs between the BSDs, is not used here. */
#define LIBBSD_OPENBSD_VIS
#include <bsd/vis.h>

#include "common/align.h"
#include "cli/cli.h"

#define SAFE_MAX	256		/* longest text that a message of the protocol carries */
#define SAFE_RING	8

static const char *name = "faultline";

void cli_set_name(const char *new_name)
{
	name = new_name;
}

const char *cli_name(void)
{
	return name;
}

/* stderr may be closed or full: there is nobody left to tell that. */
static void write_line(const char *line, size_t len)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, line, len);
	while (n < 0 && errno == EINTR);
}

void cli_say(const char *format, ...)
{
	char line[64 + CLI_ERROR_SIZE];
	int saved = errno;
	size_t n;
	va_list ap;

	snprintf(line, 64, "%s: ", name);
	n = strlen(line);
	va_start(ap, format);
	vsnprintf(line + n, sizeof(line) - n - 1, format, ap);
	va_end(ap);
	strlcat(line, "\n", sizeof(line));
	write_line(line, strlen(line));
	errno = saved;
}

void cli_error(char *ret_error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(ret_error, CLI_ERROR_SIZE, format, ap);
	va_end(ap);
}

/*
 * Only ASCII is taken to be harmless: what a terminal does with the rest depends on its locale,
 * and direction marks are printable to iswprint(3).
 */
const char *cli_safe(const char *text, uint64_t size)
{
	static char ring[SAFE_RING][4 * SAFE_MAX + 1];
	static unsigned int next;
	char *out = ring[next++ % SAFE_RING];
	size_t n = strnlen(text, min(size, (uint64_t)SAFE_MAX));

	strvisx(out, text, n, VIS_OCTAL | VIS_TAB | VIS_NL | VIS_NOLOCALE);
	return out;
}

/*
 * optopt is the letter of an unknown short option; for a long one, which may have been unknown,
 * ambiguous or given a value that it does not take, it is 0 or the option's own number.
 */
void cli_option_error(char *ret_error, char **argv, const char *command)
{
	const char *arg = argv[optind - 1];

	if (optopt > 0 && optopt < 256 && strncmp(arg, "--", 2) != 0)
		cli_error(ret_error, "unknown option '-%c' (see faultline %s --help)", optopt, command);
	else
		cli_error(ret_error, "unknown or ambiguous option '%s' (see faultline %s --help)",
			  cli_safe(arg, strlen(arg)), command);
}
