/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * environment.c - what a job's command finds in its environment, and what our daemon does not.
 *
 * LD_PRELOAD is a list with colons or spaces between the names, and neither can be quoted.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/cleanup.h"
#include "cli/cli.h"
#include "cli/environment.h"

#define LIBRARY_DEFAULT	PKGLIBDIR "/faultline-preload.so"
#define SEPARATORS	": \t\n"

const char *environment_library(void)
{
	const char *library = getenv("FAULTLINE_PRELOAD");

	return library && library[0] ? library : LIBRARY_DEFAULT;
}

int environment_check_library(const char *library, char *ret_error)
{
	const char *safe = cli_safe(library, strlen(library));
	int r;

	if (library[0] != '/' || strpbrk(library, SEPARATORS)) {
		cli_error(ret_error, "the preload library '%s' must have an absolute path without "
			  "spaces and colons (FAULTLINE_PRELOAD)", safe);
		return -EINVAL;
	}
	if (access(library, R_OK) == 0)
		return 0;
	r = -errno;
	cli_error(ret_error, "cannot read the preload library %s: %s (the environment variable "
		  "FAULTLINE_PRELOAD can name another)", safe, strerror(-r));
	return r;
}

/* The names of old but library, behind what out holds; out has room for all. */
static void append_others(char *out, size_t size, const char *old, const char *library)
{
	while (old && *old) {
		size_t n = strcspn(old, SEPARATORS);

		if (n && (n != strlen(library) || strncmp(old, library, n) != 0)) {
			size_t at = strlen(out);

			snprintf(out + at, size - at, "%s%.*s", at ? ":" : "", (int)n, old);
		}
		old += n + !!old[n];
	}
}

static char *new_list(const char *old, const char *library, const char *start)
{
	size_t size = (old ? strlen(old) : 0) + strlen(library) + 2;
	char *out = malloc(size);

	if (!out)
		return NULL;
	strlcpy(out, start, size);
	append_others(out, size, old, library);
	return out;
}

char *preload_with(const char *old, const char *library)
{
	return new_list(old, library, library);
}

char *preload_without(const char *old, const char *library)
{
	return new_list(old, library, "");
}

int environment_for_job(const char *socket, const uint8_t token[FLP_TOKEN_SIZE],
			const char *library)
{
	_cleanup_free_ char *list = preload_with(getenv("LD_PRELOAD"), library);
	char hex[2 * FLP_TOKEN_SIZE + 1];

	for (int i = 0; i < FLP_TOKEN_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", token[i]);
	if (!list || setenv("LD_PRELOAD", list, 1) < 0 || setenv(FLP_ENV_SOCKET, socket, 1) < 0 ||
	    setenv(FLP_ENV_JOB, hex, 1) < 0)
		return -ENOMEM;
	return 0;
}

void environment_for_daemon(void)
{
	static const char *const not_its[] = {
		FLP_ENV_SOCKET, FLP_ENV_JOB, "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID",
		"LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID", NULL,
	};
	const char *old = getenv("LD_PRELOAD");
	_cleanup_free_ char *list = old ? preload_without(old, environment_library()) : NULL;

	for (const char *const *name = not_its; *name; name++)
		unsetenv(*name);
	if (old && (!list || !list[0] || setenv("LD_PRELOAD", list, 1) < 0))
		unsetenv("LD_PRELOAD");
}
