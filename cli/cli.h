/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cli.h - what the commands of faultline(1) have in common: exit codes, and how they complain.
 *
 * A command is one process with one thread. Everything it says goes to stderr, one line per
 * message and one write(2) per line, so that lines of several commands do not mix.
 */
#ifndef FAULTLINE_CLI_CLI_H
#define FAULTLINE_CLI_CLI_H

#include <stdint.h>

/* EXIT STATUS of the man pages; never renumbered. */
#define CLI_OK		0
#define CLI_FAILED	1
#define CLI_USAGE	2
#define CLI_NO_DAEMON	3
#define CLI_DEGRADED	4
/* faultline run: as env(1) and nohup(1) */
#define RUN_FAILED	125
#define RUN_NO_EXEC	126
#define RUN_NOT_FOUND	127
#define RUN_SIGNAL	128		/* + number of the signal */

#define CLI_ERROR_SIZE	512		/* one line; longer ones are cut */

/* The name that starts each line, "faultline run"; a string that lives for ever. */
void cli_set_name(const char *name);
const char *cli_name(void);

void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Format into an error line that a caller gave; always terminated. */
void cli_error(char *ret_error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * What somebody else wrote, as it may go to a terminal: anything but printable ASCII is
 * encoded as by vis(3). At most size bytes are looked at, fewer where a NUL comes first.
 * The result lives in a ring of eight buffers, for use in one message.
 */
const char *cli_safe(const char *text, uint64_t size);

/* What getopt_long(3) answered with '?': the option, as it was written. */
void cli_option_error(char *ret_error, char **argv, const char *command);

int cmd_run(int argc, char **argv);
int cmd_status(int argc, char **argv);

#endif
