/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * columns.c - the columns of faultline status.
 *
 * The order of the table is the order of --help and of --output-all. Every field of
 * struct flp_counters has its column; a unit test counts them.
 */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <bsd/string.h>

#include "common/align.h"
#include "common/size.h"
#include "cli/cli.h"
#include "cli/columns.h"
#include "cli/report.h"

static const struct flp_counters *counters_of(const struct row *row)
{
	return row->session ? &row->session->c : &row->job->c;
}

/* ---- columns that are no counter, for rows that they apply to; false: no value now ---- */

static bool get_job(const struct row *row, struct value *ret)
{
	ret->n = row->job->job;
	return true;
}

static bool get_session(const struct row *row, struct value *ret)
{
	ret->n = row->session->session;
	return true;
}

static bool get_name(const struct row *row, struct value *ret)
{
	ret->text = row->session ? row->session->name : row->job->name;
	ret->n = row->session ? sizeof(row->session->name) : sizeof(row->job->name);
	return true;
}

static bool get_state(const struct row *row, struct value *ret)
{
	ret->text = job_state_name(row->job->state);
	ret->n = strlen(ret->text);
	return true;
}

static bool get_reason(const struct row *row, struct value *ret)
{
	ret->text = row->job->reason;
	ret->n = sizeof(row->job->reason);
	return row->job->reason[0];
}

static bool get_uid(const struct row *row, struct value *ret)
{
	ret->n = row->session ? row->session->uid : row->job->uid;
	return true;
}

static bool get_pid(const struct row *row, struct value *ret)
{
	ret->n = row->session->pid;
	return true;
}

static bool get_cpu(const struct row *row, struct value *ret)
{
	ret->n = row->session->home;
	return true;
}

static bool get_regions(const struct row *row, struct value *ret)
{
	ret->n = row->session->n_regions;
	return true;
}

static bool get_virtual(const struct row *row, struct value *ret)
{
	ret->n = row->session->virtual_bytes;
	return true;
}

static bool get_sessions(const struct row *row, struct value *ret)
{
	ret->n = row->job->n_sessions;
	return true;
}

static bool get_budget(const struct row *row, struct value *ret)
{
	ret->n = row->job->budget;
	return true;
}

static bool get_pool_max(const struct row *row, struct value *ret)
{
	ret->n = row->job->pool_max;
	return ret->n != UINT64_MAX;
}

static bool get_swap_max(const struct row *row, struct value *ret)
{
	ret->n = row->job->swap_max;
	return ret->n != UINT64_MAX;
}

static bool get_prefetch(const struct row *row, struct value *ret)
{
	ret->n = row->job->prefetch;
	return row->job->prefetch != UINT32_MAX;
}

/* What a byte of the pool's RAM holds, room that is not yet used counted. */
static bool get_ratio(const struct row *row, struct value *ret)
{
	const struct flp_counters *c = counters_of(row);

	if (!c->pool_used)
		return false;
	ret->ratio = (double)c->pool_pages / (double)c->pool_used;
	return true;
}

static bool get_faults(const struct row *row, struct value *ret)
{
	ret->n = faults_total(counters_of(row));
	return true;
}

#define SPECIAL(name, kind, get, of, help) { name, help, kind, get, 0, of }
#define COUNTER(name, kind, field, help)					\
	{ name, help, kind, NULL, offsetof(struct flp_counters, field), OF_BOTH }
#define BYTES(name, field, help)	COUNTER(name, VALUE_BYTES, field, help)
#define COUNT(name, field, help)	COUNTER(name, VALUE_COUNT, field, help)
#define FAULTS(name, kind, help)						\
	{ name, help, VALUE_COUNT, NULL,					\
	  offsetof(struct flp_counters, faults) + (kind) * sizeof(uint64_t), OF_BOTH }

const struct column columns[] = {
	SPECIAL("JOB", VALUE_COUNT, get_job, OF_BOTH, "number of the job"),
	SPECIAL("SESSION", VALUE_COUNT, get_session, OF_SESSIONS, "number of the session"),
	SPECIAL("NAME", VALUE_TEXT, get_name, OF_BOTH, "of the job or the program"),
	SPECIAL("STATE", VALUE_TEXT, get_state, OF_JOBS, "idle (it fits), active or degraded"),
	SPECIAL("REASON", VALUE_TEXT, get_reason, OF_JOBS, "why it is degraded"),
	SPECIAL("UID", VALUE_COUNT, get_uid, OF_BOTH, "whose it is"),
	SPECIAL("PID", VALUE_COUNT, get_pid, OF_SESSIONS, "process of the session"),
	SPECIAL("CPU", VALUE_COUNT, get_cpu, OF_SESSIONS, "where the session's faults are served"),
	SPECIAL("SESSIONS", VALUE_COUNT, get_sessions, OF_JOBS, "processes that are connected"),
	SPECIAL("REGIONS", VALUE_COUNT, get_regions, OF_SESSIONS, "managed areas of the session"),
	SPECIAL("VIRTUAL", VALUE_BYTES, get_virtual, OF_SESSIONS, "size of the managed areas"),
	SPECIAL("BUDGET", VALUE_BYTES, get_budget, OF_JOBS, "RAM that the job may take"),
	SPECIAL("POOL-MAX", VALUE_BYTES, get_pool_max, OF_JOBS, "of that, for the compressed pool"),
	SPECIAL("SWAP-MAX", VALUE_BYTES, get_swap_max, OF_JOBS, "most of its swap file"),
	SPECIAL("PREFETCH", VALUE_COUNT, get_prefetch, OF_JOBS, "most pages brought in with a faulting one"),
	BYTES("RESIDENT", resident, "managed memory in RAM"),
	BYTES("PEAK", resident_peak, "highest cost: resident, unmanaged and pool together"),
	BYTES("UNMANAGED", unmanaged, "anonymous memory in RAM that is not adopted"),
	BYTES("STAGING", staging, "memory on its way out"),
	BYTES("STORED", stored, "memory that is out of RAM as pages"),
	BYTES("ZERO", zero, "of STORED: all zeros, takes no room"),
	BYTES("SAME", same, "of STORED: one value repeated, takes no room"),
	BYTES("POOL-DATA", pool_pages, "of STORED: in the pool, before compression"),
	BYTES("POOL-LIVE", pool_live, "the same after compression"),
	BYTES("POOL", pool_used, "RAM that the pool takes"),
	SPECIAL("RATIO", VALUE_RATIO, get_ratio, OF_BOTH, "POOL-DATA to POOL"),
	BYTES("SWAP-DATA", swap_pages, "of STORED: in the swap file, before compression"),
	BYTES("SWAP-LIVE", swap_live, "the same after compression"),
	BYTES("SWAP", swap_used, "room that the swap file takes"),
	BYTES("CLEAN", clean, "resident memory that keeps a stored copy"),
	COUNT("POISONED", poisoned, "pages that were lost: SIGBUS for who touches them"),
	SPECIAL("FAULTS", VALUE_COUNT, get_faults, OF_BOTH, "page faults answered, of all kinds"),
	FAULTS("FAULTS-ZERO", FLP_FAULT_ZERO, "of FAULTS: first touch"),
	FAULTS("FAULTS-SAME", FLP_FAULT_SAME, "of FAULTS: zero or same-filled, made anew"),
	FAULTS("FAULTS-POOL", FLP_FAULT_POOL, "of FAULTS: from the pool"),
	FAULTS("FAULTS-SWAP", FLP_FAULT_SWAP, "of FAULTS: from the swap file"),
	FAULTS("FAULTS-PRESENT", FLP_FAULT_PRESENT, "of FAULTS: there already"),
	FAULTS("FAULTS-PARKED", FLP_FAULT_PARKED, "of FAULTS: waited for a page or a reservation"),
	FAULTS("FAULTS-BUDGET", FLP_FAULT_BUDGET, "of FAULTS: waited for the budget"),
	FAULTS("FAULTS-POISON", FLP_FAULT_POISON, "of FAULTS: answered with SIGBUS"),
	COUNT("REFAULTS", refaults, "faults on pages that had been taken out"),
	COUNT("PREFETCHED", prefetched, "pages brought in before they were touched"),
	COUNT("PREFETCH-USED", prefetch_used, "of those: not dropped unchanged"),
	COUNT("EVICTED", evicted, "pages taken out"),
	COUNT("EVICT-CLEAN", evict_clean, "of those: unchanged, nothing was compressed"),
	COUNT("EVICT-KEPT", evict_kept, "tries that ended with the page returned"),
	COUNT("CLEAN-DROPS", clean_drops, "stored copies dropped to make room"),
	BYTES("COMPRESSED-IN", compressed_in, "given to the compressor, all time"),
	BYTES("COMPRESSED-OUT", compressed_out, "made by it, all time"),
	BYTES("SWAP-WRITTEN", swap_writes, "written to the swap file, all time"),
	BYTES("SWAP-READ", swap_reads, "read from the swap file, all time"),
	COUNT("COMPACTIONS", compactions, "extents and segments cleaned"),
	COUNT("CHECKSUM-ERRORS", checksum_errors, "stored pages that were not what was stored"),
	COUNTER("P50", VALUE_NS, fault_p50_ns, "half of the faults took at most this long"),
	COUNTER("P99", VALUE_NS, fault_p99_ns, "99 % of them"),
	COUNTER("P99.9", VALUE_NS, fault_p999_ns, "99.9 % of them"),
};
const size_t n_columns = ARRAY_SIZE(columns);
_Static_assert(ARRAY_SIZE(columns) <= COLUMNS_MAX, "a selection holds them all");

const struct column *column_find(const char *name, size_t n)
{
	for (size_t i = 0; i < n_columns; i++)
		if (strlen(columns[i].name) == n && !strncasecmp(columns[i].name, name, n))
			return &columns[i];
	return NULL;
}

static bool selected(const struct selection *s, const struct column *c)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->column[i] == c)
			return true;
	return false;
}

/* A column that is named twice is shown once: nobody can want more, and room is limited. */
static void select_column(struct selection *s, const struct column *c)
{
	if (!selected(s, c))
		s->column[s->n++] = c;
}

int selection_parse(struct selection *s, const char *list, char *ret_error)
{
	struct selection picked = { .n = 0 };
	const char *p = list;

	if (*p == '+') {
		picked = *s;
		p++;
	}
	for (;;) {
		size_t n = strcspn(p, ",");
		const struct column *c = column_find(p, n);

		if (!c) {
			cli_error(ret_error, "unknown column '%s' (see faultline status --help)",
				  cli_safe(p, n));
			return -EINVAL;
		}
		select_column(&picked, c);
		if (!p[n])
			break;
		p += n + 1;
	}
	*s = picked;
	return 0;
}

/* The jobs' ones fit in 100 characters with numbers of the usual size. */
void selection_default(struct selection *ret, bool sessions)
{
	static const char *const of_jobs[] = {
		"JOB", "NAME", "STATE", "BUDGET", "RESIDENT", "UNMANAGED", "POOL", "RATIO", "SWAP",
		"FAULTS", "P99",
	};
	static const char *const of_sessions[] = {
		"JOB", "SESSION", "PID", "NAME", "STATE", "BUDGET", "RESIDENT", "UNMANAGED", "POOL",
		"RATIO", "SWAP", "FAULTS", "P99",
	};
	const char *const *names = sessions ? of_sessions : of_jobs;
	size_t n = sessions ? ARRAY_SIZE(of_sessions) : ARRAY_SIZE(of_jobs);

	ret->n = 0;
	for (size_t i = 0; i < n; i++)
		select_column(ret, column_find(names[i], strlen(names[i])));
}

void selection_all(struct selection *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < n_columns; i++)
		select_column(ret, &columns[i]);
}

bool column_applies(const struct column *c, bool session)
{
	return c->of == OF_BOTH || (c->of == OF_SESSIONS) == session;
}

void column_value(const struct column *c, const struct row *row, struct value *ret)
{
	struct value v = { .kind = c->kind };

	if (!column_applies(c, row->session != NULL))
		v.kind = VALUE_NONE;
	else if (!c->special)
		memcpy(&v.n, (const char *)counters_of(row) + c->offset, sizeof(v.n));
	else if (!c->special(row, &v))
		v.kind = VALUE_NONE;
	*ret = v;
}

/* Three significant digits: "950ns", "6.21us", "1.20ms". */
static void format_ns(uint64_t ns, char *ret_text, size_t n)
{
	static const char *const units[] = { "us", "ms", "s" };
	double v = (double)ns / 1000;
	size_t unit = 0;

	if (ns < 1000) {
		snprintf(ret_text, n, "%" PRIu64 "ns", ns);
		return;
	}
	while (v >= 999.5 && unit + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		unit++;
	}
	snprintf(ret_text, n, "%.*f%s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[unit]);
}

void value_format(const struct value *v, bool bytes, char ret_text[VALUE_TEXT_MAX])
{
	char size[SIZE_TEXT];

	switch (v->kind) {
	case VALUE_NONE:
		ret_text[0] = '\0';
		break;
	case VALUE_BYTES:
		if (bytes)
			snprintf(ret_text, VALUE_TEXT_MAX, "%" PRIu64, v->n);
		else
			strlcpy(ret_text, size_human(size, v->n), VALUE_TEXT_MAX);
		break;
	case VALUE_COUNT:
		snprintf(ret_text, VALUE_TEXT_MAX, "%" PRIu64, v->n);
		break;
	case VALUE_RATIO:
		snprintf(ret_text, VALUE_TEXT_MAX, "%.2f", v->ratio);
		break;
	case VALUE_NS:
		if (bytes)
			snprintf(ret_text, VALUE_TEXT_MAX, "%" PRIu64, v->n);
		else
			format_ns(v->n, ret_text, VALUE_TEXT_MAX);
		break;
	case VALUE_TEXT:
		strlcpy(ret_text, cli_safe(v->text, v->n), VALUE_TEXT_MAX);
		break;
	}
}

void column_key(const struct column *c, char *ret_key, size_t n)
{
	strlcpy(ret_key, c->name, n);
	for (char *p = ret_key; *p; p++)
		*p = isalnum((unsigned char)*p) ? (char)tolower((unsigned char)*p) : '_';
}
