/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* summary.h - what faultline run -v says of a job when its command has ended. */
#ifndef FAULTLINE_CLI_SUMMARY_H
#define FAULTLINE_CLI_SUMMARY_H

#include "include/faultline-protocol.h"

/* Lines without their ends; say is called for each. */
void summary_format(const struct flp_status_job *job, void (*say)(const char *line, void *ctx),
		    void *ctx);

#endif
