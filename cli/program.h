/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * program.h - finding a command as execvp(3) would, and whether a preloaded library will load
 * in it.
 */
#ifndef FAULTLINE_CLI_PROGRAM_H
#define FAULTLINE_CLI_PROGRAM_H

#include <sys/types.h>

enum program_kind {
	PROGRAM_MANAGED	= 0,		/* as far as its file tells */
	PROGRAM_STATIC	= 1,		/* no PT_INTERP: nobody reads LD_PRELOAD */
	PROGRAM_SECURE	= 2,		/* AT_SECURE: LD_PRELOAD is ignored */
	PROGRAM_FOREIGN	= 3,		/* of another architecture than the library */
};

/*
 * Which file a command is: name itself when it has a slash, else the first in the list of
 * folders (of $PATH; NULL: the system's) that may be executed. 0, -ENOENT, -EACCES (there is
 * one, and it may not be executed), -ENOMEM.
 */
int program_find(const char *name, const char *folders, char **ret_path);

/* A file as it would run for this user; a script counts as its interpreter. */
enum program_kind program_inspect(const char *path, uid_t uid, gid_t gid);

/* "is statically linked", to go behind a name; NULL for PROGRAM_MANAGED. */
const char *program_why(enum program_kind kind);

#endif
