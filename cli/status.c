/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * status.c - faultline status: what a daemon's jobs cost and do.
 *
 * One question, one answer, printed as a table, as raw or NAME="value" lines, or as JSON. All
 * names are those of other people's programs: nothing is printed as it came.
 */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libsmartcols.h>

#include <bsd/stdlib.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "cli/cli.h"
#include "cli/columns.h"
#include "cli/control.h"
#include "cli/json.h"
#include "cli/private.h"
#include "cli/report.h"

#define PRIVATE_SHOWN	8	/* sockets named when there are several to choose from */

struct status {
	bool json, bytes, no_headings, raw, pairs, sessions, all;
	const char *output;		/* list of columns; NULL: the default */
	const char *socket;		/* NULL: look for one */
	uint64_t job;			/* 0: all */
	struct selection selection;
	char found[PRIVATE_PATH];	/* a private daemon's socket */
	struct report report;
	char error[CLI_ERROR_SIZE];
};

enum { OPT_OUTPUT_ALL = 256, OPT_SESSIONS, OPT_SOCKET };

static const struct option long_options[] = {
	{ "json",	no_argument,		NULL, 'J' },
	{ "bytes",	no_argument,		NULL, 'b' },
	{ "noheadings",	no_argument,		NULL, 'n' },
	{ "output",	required_argument,	NULL, 'o' },
	{ "output-all",	no_argument,		NULL, OPT_OUTPUT_ALL },
	{ "raw",	no_argument,		NULL, 'r' },
	{ "pairs",	no_argument,		NULL, 'P' },
	{ "sessions",	no_argument,		NULL, OPT_SESSIONS },
	{ "socket",	required_argument,	NULL, OPT_SOCKET },
	{ "help",	no_argument,		NULL, 'h' },
	{ "version",	no_argument,		NULL, 'V' },
	{ 0 }
};

static const char help[] =
"Usage: faultline status [OPTION]... [JOB]\n"
"Show the jobs of faultlined, or one of them, by its number.\n"
"\n"
"  -J, --json               print JSON, with every number and all sessions\n"
"  -b, --bytes              print sizes in bytes and times in nanoseconds\n"
"  -n, --noheadings         leave the headings and the daemon's line out\n"
"  -o, --output=[+]LIST     these columns; with +, these as well\n"
"      --output-all         all columns\n"
"  -r, --raw                columns are separated by single spaces\n"
"  -P, --pairs              print NAME=\"value\" pairs\n"
"      --sessions           show each job's processes under it\n"
"      --socket=PATH        of the faultlined to ask\n"
"  -h, --help               show this text and exit\n"
"  -V, --version            show the version and exit\n"
"\n"
"Columns:\n";

static int print_help(void)
{
	fputs(help, stdout);
	for (size_t i = 0; i < n_columns; i++)
		printf("  %-16s %s\n", columns[i].name, columns[i].help);
	fputs("\nExit status: 0, 1 failure, 2 usage, 3 no daemon answers, 4 a job is degraded.\n"
	      "See faultline-status(1).\n", stdout);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

/* ---- options ---- */

static int parse_job(struct status *s, const char *text)
{
	const char *wrong;

	s->job = (uint64_t)strtonum(text, 1, INT64_MAX, &wrong);
	if (!wrong)
		return 0;
	cli_error(s->error, "'%s' is not the number of a job (faultline status lists them)",
		  cli_safe(text, strlen(text)));
	return -EINVAL;
}

static int parse_selection(struct status *s)
{
	if (s->all)
		selection_all(&s->selection);
	else
		selection_default(&s->selection, s->sessions);
	return s->output ? selection_parse(&s->selection, s->output, s->error) : 0;
}

/* Rows for a person, for a script, or JSON: only one of them. */
static int parse_rest(struct status *s, int argc, char **argv)
{
	if (s->json + s->raw + s->pairs > 1) {
		cli_error(s->error, "--json, --raw and --pairs exclude each other");
		return -EINVAL;
	}
	if (argc - optind > 1) {
		cli_error(s->error, "more than one job is given");
		return -EINVAL;
	}
	if (argc - optind == 1 && parse_job(s, argv[optind]) < 0)
		return -EINVAL;
	return parse_selection(s);
}

/* 0: go on; 'h', 'V'; -EINVAL */
static int parse(struct status *s, int argc, char **argv)
{
	int c;

	optind = 0;			/* glibc: start anew */
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":Jbno:rPhV", long_options, NULL)) != -1) {
		switch (c) {
		case 'J':
			s->json = true;
			break;
		case 'b':
			s->bytes = true;
			break;
		case 'n':
			s->no_headings = true;
			break;
		case 'o':
			s->output = optarg;
			break;
		case OPT_OUTPUT_ALL:
			s->all = true;
			break;
		case 'r':
			s->raw = true;
			break;
		case 'P':
			s->pairs = true;
			break;
		case OPT_SESSIONS:
			s->sessions = true;
			break;
		case OPT_SOCKET:
			s->socket = optarg;
			break;
		case 'h':
		case 'V':
			return c;
		case ':':
			cli_error(s->error, "option '%s' needs a value (see faultline status --help)",
				  cli_safe(argv[optind - 1], strlen(argv[optind - 1])));
			return -EINVAL;
		default:
			cli_option_error(s->error, argv, "status");
			return -EINVAL;
		}
	}
	return parse_rest(s, argc, argv);
}

/* ---- the question ---- */

/* No service: a user's own job has a daemon of its own, which only its socket tells of. */
static const char *find_private(struct status *s)
{
	char paths[PRIVATE_SHOWN][PRIVATE_PATH];
	size_t n = private_find(paths, PRIVATE_SHOWN);

	if (n > 1) {
		cli_say("%zu private daemons answer; choose one with --socket:", n);
		for (size_t i = 0; i < min(n, (size_t)PRIVATE_SHOWN); i++)
			cli_say("  --socket=%s", cli_safe(paths[i], PRIVATE_PATH));
	}
	if (n != 1)
		return n ? "" : NULL;
	memcpy(s->found, paths[0], PRIVATE_PATH);
	return s->found;
}

/* CLI_*: anything but CLI_OK has been complained of. */
static int reach(struct status *s, struct control *c)
{
	const char *named = s->socket ? s->socket : getenv(FLP_ENV_SOCKET);
	const char *other;
	int r = control_open(c, named && named[0] ? named : FLP_SOCKET_PATH, s->error);

	if (control_nobody(r) && !(named && named[0])) {
		other = find_private(s);
		if (other && !other[0])
			return CLI_USAGE;
		if (other)
			r = control_open(c, other, s->error);
	}
	if (r == 0)
		return CLI_OK;
	cli_say("%s", s->error);
	return control_nobody(r) || r == -ECONNRESET || r == -ETIMEDOUT ? CLI_NO_DAEMON : CLI_FAILED;
}

static int ask(struct status *s)
{
	_cleanup_(control_close) struct control c = CONTROL_NULL;
	int r = reach(s, &c);

	if (r != CLI_OK)
		return r;
	if (control_status(&c, s->job, &s->report, s->error) < 0) {
		cli_say("%s", s->error);
		return CLI_FAILED;
	}
	if (s->job && !s->report.n_jobs) {
		cli_say("there is no job %" PRIu64 " (faultline status lists them)", s->job);
		return CLI_FAILED;
	}
	return CLI_OK;
}

/* ---- tables ---- */

static void print_daemon(const struct flp_status_daemon *d)
{
	uint64_t s = d->uptime_us / 1000000;

	printf("faultlined %s, process %u, %s, %s; up %" PRIu64 "d %02u:%02u:%02u; "
	       "%" PRIu64 " jobs, %" PRIu64 " sessions\n",
	       cli_safe(d->version, sizeof(d->version)), d->pid,
	       cli_safe(d->mode, sizeof(d->mode)), cli_safe(d->engine, sizeof(d->engine)),
	       s / 86400, (unsigned int)(s / 3600 % 24), (unsigned int)(s / 60 % 60),
	       (unsigned int)(s % 60), d->n_jobs, d->n_sessions);
}

static int fill_line(const struct status *s, struct libscols_line *line, const struct row *row)
{
	for (size_t i = 0; i < s->selection.n; i++) {
		char text[VALUE_TEXT_MAX];
		struct value v;

		column_value(s->selection.column[i], row, &v);
		value_format(&v, s->bytes, text);
		if (scols_line_set_data(line, i, text))
			return -ENOMEM;
	}
	return 0;
}

static int add_row(const struct status *s, struct libscols_table *table,
		   struct libscols_line *parent, const struct row *row,
		   struct libscols_line **ret_line)
{
	struct libscols_line *line = scols_table_new_line(table, parent);

	if (!line)
		return -ENOMEM;
	*ret_line = line;
	return fill_line(s, line, row);
}

static int add_job(const struct status *s, struct libscols_table *table,
		   const struct flp_status_job *job)
{
	const struct flp_status_session *sessions;
	struct libscols_line *line, *child;
	struct row row = { .job = job };
	size_t n;
	int r = add_row(s, table, NULL, &row, &line);

	if (r < 0 || !s->sessions)
		return r;
	sessions = report_sessions(&s->report, job->job, &n);
	for (size_t i = 0; i < n && r == 0; i++) {
		row.session = &sessions[i];
		r = add_row(s, table, s->raw || s->pairs ? NULL : line, &row, &child);
	}
	return r;
}

static int column_flags(const struct status *s, size_t i)
{
	const struct column *c = s->selection.column[i];
	int flags = 0;

	if (c->kind != VALUE_TEXT && !(i == 0 && s->sessions))
		flags |= SCOLS_FL_RIGHT;
	if (c->kind == VALUE_TEXT)
		flags |= SCOLS_FL_TRUNC;
	if (i == 0 && s->sessions && !s->raw && !s->pairs)
		flags |= SCOLS_FL_TREE;
	return flags;
}

static int add_columns(const struct status *s, struct libscols_table *table)
{
	for (size_t i = 0; i < s->selection.n; i++) {
		const struct column *c = s->selection.column[i];

		if (!scols_table_new_column(table, c->name, 0, column_flags(s, i)))
			return -ENOMEM;
	}
	return 0;
}

static int fill_table(const struct status *s, struct libscols_table *table)
{
	int r = add_columns(s, table);

	scols_table_enable_noheadings(table, s->no_headings);
	scols_table_enable_raw(table, s->raw);
	scols_table_enable_export(table, s->pairs);
	for (size_t i = 0; i < s->report.n_jobs && r == 0; i++)
		r = add_job(s, table, &s->report.jobs[i]);
	return r;
}

static void unref_table(struct libscols_table **table)
{
	if (*table)
		scols_unref_table(*table);
}

static int print_table(const struct status *s)
{
	_cleanup_(unref_table) struct libscols_table *table = scols_new_table();

	if (!table || fill_table(s, table) < 0)
		return -ENOMEM;
	if (s->report.has_daemon && !s->no_headings && !s->raw && !s->pairs)
		print_daemon(&s->report.daemon);
	if (!s->report.n_jobs)
		return 0;
	return scols_print_table(table) ? -EIO : 0;
}

/* ---- JSON ---- */

static void json_value(struct json *j, const char *key, const struct value *v)
{
	switch (v->kind) {
	case VALUE_NONE:
		json_null(j, key);
		break;
	case VALUE_BYTES:
	case VALUE_COUNT:
	case VALUE_NS:
		json_u64(j, key, v->n);
		break;
	case VALUE_RATIO:
		json_double(j, key, v->ratio);
		break;
	case VALUE_TEXT:
		json_text(j, key, v->text, v->n);
		break;
	}
}

/* What does not apply to a kind of row is left out of it; what has no value now is null. */
static void json_row(const struct status *s, struct json *j, const struct row *row)
{
	for (size_t i = 0; i < s->selection.n; i++) {
		const struct column *c = s->selection.column[i];
		char key[32];
		struct value v;

		if (!column_applies(c, row->session != NULL))
			continue;
		column_value(c, row, &v);
		column_key(c, key, sizeof(key));
		json_value(j, key, &v);
	}
}

static void json_daemon(struct json *j, const struct flp_status_daemon *d)
{
	json_begin(j, "daemon", '{');
	json_text(j, "version", d->version, sizeof(d->version));
	json_u64(j, "pid", d->pid);
	json_text(j, "mode", d->mode, sizeof(d->mode));
	json_text(j, "engine", d->engine, sizeof(d->engine));
	json_u64(j, "generation", d->generation);
	json_u64(j, "uptime_us", d->uptime_us);
	json_u64(j, "jobs", d->n_jobs);
	json_u64(j, "sessions", d->n_sessions);
	json_u64(j, "uffd_features", d->uffd_features);
	json_end(j, '}');
}

static void json_job(const struct status *s, struct json *j, const struct flp_status_job *job)
{
	struct row row = { .job = job };
	size_t n;
	const struct flp_status_session *sessions = report_sessions(&s->report, job->job, &n);

	json_begin(j, NULL, '{');
	json_row(s, j, &row);
	json_begin(j, "sessions", '[');
	for (size_t i = 0; i < n; i++) {
		row.session = &sessions[i];
		json_begin(j, NULL, '{');
		json_row(s, j, &row);
		json_end(j, '}');
	}
	json_end(j, ']');
	json_end(j, '}');
}

static void print_json(const struct status *s)
{
	struct json j = JSON_INIT(stdout);

	json_begin(&j, NULL, '{');
	if (s->report.has_daemon)
		json_daemon(&j, &s->report.daemon);
	json_begin(&j, "jobs", '[');
	for (size_t i = 0; i < s->report.n_jobs; i++)
		json_job(s, &j, &s->report.jobs[i]);
	json_end(&j, ']');
	json_end(&j, '}');
}

/* ---- all of it ---- */

static int print(const struct status *s)
{
	int r = 0;

	if (s->json)
		print_json(s);
	else
		r = print_table(s);
	if (r == 0 && (fflush(stdout) || ferror(stdout)))
		r = -EIO;
	if (r < 0)
		cli_say("cannot print the answer: %s", strerror(-r));
	return r;
}

static void status_done(struct status *s)
{
	report_done(&s->report);
}

int cmd_status(int argc, char **argv)
{
	_cleanup_(status_done) struct status s = { 0 };
	int r;

	cli_set_name("faultline status");
	r = parse(&s, argc, argv);
	if (r == 'h')
		return print_help();
	if (r == 'V')
		return printf("faultline %s\n", PACKAGE_VERSION) < 0 ? CLI_FAILED : CLI_OK;
	if (r < 0) {
		cli_say("%s", s.error);
		return CLI_USAGE;
	}
	/* JSON is for programs: unless columns are named, it has them all. */
	if (s.json && !s.output)
		selection_all(&s.selection);
	r = ask(&s);
	if (r != CLI_OK)
		return r;
	if (print(&s) < 0)
		return CLI_FAILED;
	return report_degraded(&s.report) ? CLI_DEGRADED : CLI_OK;
}
