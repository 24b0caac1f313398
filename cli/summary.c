/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * summary.c - what faultline run -v says of a job when its command has ended.
 *
 * A line is left out when it would say nothing but zeros, except for the first.
 */
#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "cli/cli.h"
#include "cli/columns.h"
#include "cli/report.h"
#include "cli/summary.h"

struct out {
	void (*say)(const char *line, void *ctx);
	void *ctx;
};

static void __attribute__((format(printf, 2, 3))) emit(struct out *o, const char *format, ...)
{
	char line[CLI_ERROR_SIZE];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	o->say(line, o->ctx);
}

static void cost(struct out *o, const struct flp_status_job *job)
{
	char budget[SIZE_TEXT], peak[SIZE_TEXT], unmanaged[SIZE_TEXT];

	emit(o, "budget %s, peak %s, unmanaged %s%s", size_human(budget, job->budget),
	     size_human(peak, job->c.resident_peak), size_human(unmanaged, job->c.unmanaged),
	     job->c.evicted ? "" : "; it fitted, nothing was taken out");
}

static void faults(struct out *o, const struct flp_counters *c)
{
	const uint64_t *f = c->faults;

	emit(o, "faults %" PRIu64 ": zero %" PRIu64 ", same %" PRIu64 ", pool %" PRIu64 ", swap %"
	     PRIu64 ", present %" PRIu64 "; parked %" PRIu64 ", waited for budget %" PRIu64,
	     faults_total(c), f[FLP_FAULT_ZERO], f[FLP_FAULT_SAME], f[FLP_FAULT_POOL],
	     f[FLP_FAULT_SWAP], f[FLP_FAULT_PRESENT], f[FLP_FAULT_PARKED], f[FLP_FAULT_BUDGET]);
}

static void latency(struct out *o, const struct flp_counters *c)
{
	char p50[VALUE_TEXT_MAX], p99[VALUE_TEXT_MAX], p999[VALUE_TEXT_MAX];

	value_format(&(struct value){ VALUE_NS, .n = c->fault_p50_ns }, false, p50);
	value_format(&(struct value){ VALUE_NS, .n = c->fault_p99_ns }, false, p99);
	value_format(&(struct value){ VALUE_NS, .n = c->fault_p999_ns }, false, p999);
	emit(o, "fault latency p50 %s, p99 %s, p99.9 %s", p50, p99, p999);
}

static void evictions(struct out *o, const struct flp_counters *c)
{
	emit(o, "evicted %" PRIu64 " pages, %" PRIu64 " of them clean; %" PRIu64 " returned; refaults %"
	     PRIu64 "; prefetched %" PRIu64 ", %" PRIu64 " of them used", c->evicted, c->evict_clean,
	     c->evict_kept, c->refaults, c->prefetched, c->prefetch_used);
}

/* Of all time: at the end of a job the pool is empty. */
static void pool(struct out *o, const struct flp_counters *c)
{
	char in[SIZE_TEXT], made[SIZE_TEXT];

	emit(o, "compressed %s to %s (ratio %.2f)", size_human(in, c->compressed_in),
	     size_human(made, c->compressed_out),
	     (double)c->compressed_in / (double)c->compressed_out);
}

static void swap(struct out *o, const struct flp_counters *c)
{
	char written[SIZE_TEXT], read[SIZE_TEXT];

	emit(o, "swap: %s written, %s read", size_human(written, c->swap_writes),
	     size_human(read, c->swap_reads));
}

static void damage(struct out *o, const struct flp_counters *c)
{
	emit(o, "%" PRIu64 " stored pages failed their checksum, %" PRIu64 " were poisoned",
	     c->checksum_errors, c->poisoned);
}

void summary_format(const struct flp_status_job *job, void (*say)(const char *line, void *ctx),
		    void *ctx)
{
	struct out o = { say, ctx };
	const struct flp_counters *c = &job->c;

	cost(&o, job);
	if (faults_total(c)) {
		faults(&o, c);
		latency(&o, c);
	}
	if (c->evicted || c->evict_kept)
		evictions(&o, c);
	if (c->compressed_out)
		pool(&o, c);
	if (c->swap_writes || c->swap_reads)
		swap(&o, c);
	if (c->checksum_errors || c->poisoned || c->faults[FLP_FAULT_POISON])
		damage(&o, c);
	if (job->state == FLP_JOB_DEGRADED)
		emit(&o, "degraded: %s", cli_safe(job->reason, sizeof(job->reason)));
}
