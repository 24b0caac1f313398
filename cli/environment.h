/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * environment.h - what a job's command finds in its environment, and what our daemon does not.
 */
#ifndef FAULTLINE_CLI_ENVIRONMENT_H
#define FAULTLINE_CLI_ENVIRONMENT_H

#include <stdint.h>

#include "include/faultline-protocol.h"

/* The preload library: $FAULTLINE_PRELOAD, or where it was installed. */
const char *environment_library(void);

/* Can it be named in LD_PRELOAD and read? 0, or -errno with a line in ret_error. */
int environment_check_library(const char *library, char *ret_error);

/* A list for LD_PRELOAD with library in front of all others, once. NULL: no memory. old may be NULL. */
char *preload_with(const char *old, const char *library);
/* ... and without it. "": nothing is left. */
char *preload_without(const char *old, const char *library);

/* Of this process, to be called in a child. 0 or -ENOMEM. */
int environment_for_job(const char *socket, const uint8_t token[FLP_TOKEN_SIZE],
			const char *library);
/* A job's daemon is no part of an outer job, and no service of whoever started us. */
void environment_for_daemon(void);

#endif
