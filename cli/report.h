/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.h - what a daemon said in answer to FLP_STATUS, gathered and put in order.
 *
 * The records come in any order. Their strings are clients': they may hold anything, and are
 * NUL-terminated only by luck.
 */
#ifndef FAULTLINE_CLI_REPORT_H
#define FAULTLINE_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/faultline-protocol.h"

#define REPORT_MAX	100000		/* records: more than that is no honest daemon */

struct report {
	struct flp_status_daemon daemon;
	bool has_daemon;
	struct flp_status_job *jobs;		/* by number */
	size_t n_jobs;
	struct flp_status_session *sessions;	/* by job, then by number */
	size_t n_sessions;
};

/* One record. 0, -EBADMSG: not a record, or of a wrong size; -E2BIG, -ENOMEM. */
int report_add(struct report *r, uint16_t type, const void *body, size_t n);
void report_sort(struct report *r);
void report_done(struct report *r);

/* The sessions of a job in a sorted report: the first, and how many. */
const struct flp_status_session *report_sessions(const struct report *r, uint64_t job,
						 size_t *ret_n);
bool report_degraded(const struct report *r);

const char *job_state_name(uint32_t state);

/* Faults that were answered, each once. */
uint64_t faults_total(const struct flp_counters *c);

#endif
