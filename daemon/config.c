/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * config.c - what the administrator wants: faultline.conf(5), read and checked.
 *
 * One table of keys: where each stands, its default (as text, read by the same function as
 * what a file says), and what is allowed, for the message. An empty value means the default.
 *
 * inih splits lines into section, key and value. It has limits of its own (the length of a
 * line, continuation lines), which its reader here makes into errors or takes away; and it does
 * not tell line numbers, which the reader counts.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/config.h"
#include "daemon/log.h"
#include "include/faultline-protocol.h"

#define MAX_WORKERS	1024
#define MAX_PREFETCH	512
#define MAX_SHOWN	60		/* characters of a value in a message */

/* ---- values ---- */

/* Each sets one field from a value that is not empty; NULL, or what is wrong with it. */
typedef const char *(*key_fn)(struct config *c, const char *value, bool is_default);

static const char *replace(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return "cannot be kept: out of memory";
	free(*field);
	*field = copy;
	return NULL;
}

static const char *set_socket(struct config *c, const char *value, bool is_default)
{
	if (value[0] != '/')
		return "is not an absolute path";
	if (strlen(value) > 107)
		return "is too long for a socket: at most 107 characters";
	return replace(&c->socket, value);
}

/* 0 and *ret, or an errno; ENOENT: there is no such group. */
static int find_group(const char *name, gid_t *ret)
{
	_cleanup_free_ char *buf = NULL;
	struct group group, *found;
	size_t room = 1024;
	int r;

	do {
		free(buf);
		room *= 4;
		buf = malloc(room);
		if (!buf)
			return ENOMEM;
		r = getgrnam_r(name, &group, buf, room, &found);
	} while (r == ERANGE && room < (1u << 24));
	if (r)
		return r;
	if (!found)
		return ENOENT;
	*ret = group.gr_gid;
	return 0;
}

static const char *set_allow_group(struct config *c, const char *value, bool is_default)
{
	const char *error;
	gid_t gid;

	if (!strcmp(value, "*")) {
		c->has_allow_group = false;
		return NULL;
	}
	if (find_group(value, &gid)) {
		gid = (gid_t)strtonum(value, 0, UINT32_MAX - 1, &error);
		if (error && !is_default)
			return "is not the name or number of a group, nor *";
		if (error)
			gid = (gid_t)-1;
	}
	c->has_allow_group = true;
	c->allow_gid = gid;
	return NULL;
}

static const char *set_workers(struct config *c, const char *value, bool is_default)
{
	const char *error;
	long long n = strtonum(value, 0, MAX_WORKERS, &error);

	if (error)
		return "is not a number from 0 (one for each CPU) to 1024";
	c->workers = (uint32_t)n;
	return NULL;
}

static uint64_t ram(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A size, a share of total where that is not 0, or "infinity". */
static const char *get_size(const char *value, uint64_t total, uint64_t infinity, uint64_t *ret)
{
	int r;

	if (!strcasecmp(value, "infinity")) {
		*ret = infinity;
		return NULL;
	}
	r = size_parse(value, total, ret);
	return r ? size_error(r) : NULL;
}

static const char *set_budget_default(struct config *c, const char *value, bool is_default)
{
	if (!strcasecmp(value, "infinity"))
		return "is not a budget; give a size such as 512M, a percentage of RAM, or 0 for "
		       "no default job";
	return get_size(value, ram(), 0, &c->default_budget);
}

static const char *set_budget_max(struct config *c, const char *value, bool is_default)
{
	uint64_t n = 0;
	const char *why = get_size(value, ram(), 0, &n);

	if (!why && !n && strcasecmp(value, "infinity"))
		return "leaves no job anything; give a size, a percentage of RAM, or infinity";
	if (!why)
		c->max_budget = n;
	return why;
}

static const char *set_pool_max(struct config *c, const char *value, bool is_default)
{
	char text[SIZE_TEXT];
	uint64_t n;
	int r;

	r = size_parse(value, UINT64_MAX, &n);		/* of a budget that is not known yet */
	if (r)
		return size_error(r);
	if (strlcpy(text, value, sizeof(text)) >= sizeof(text))
		return "has too many digits";
	memcpy(c->pool_max, text, sizeof(text));
	return NULL;
}

static const char *set_swap_enable(struct config *c, const char *value, bool is_default)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcasecmp(value, words[i])) {
			c->swap_enable = i % 2;
			return NULL;
		}
	}
	return "is not yes or no";
}

static const char *set_swap_dir(struct config *c, const char *value, bool is_default)
{
	if (value[0] != '/')
		return "is not an absolute path";
	return replace(&c->swap_dir, value);
}

static const char *set_swap_max(struct config *c, const char *value, bool is_default)
{
	return get_size(value, 0, UINT64_MAX, &c->swap_max);
}

static const char *set_prefetch(struct config *c, const char *value, bool is_default)
{
	const char *error;
	long long n = strtonum(value, 0, MAX_PREFETCH, &error);

	if (error)
		return "is not a number of pages from 0 to 512";
	c->prefetch = (uint32_t)n;
	return NULL;
}

static const struct key {
	const char *section, *name, *def;
	key_fn set;
} keys[] = {
	{ "Daemon",	"Socket",	FLP_SOCKET_PATH, set_socket },
	{ "Daemon",	"AllowGroup",	"faultline",	set_allow_group },
	{ "Daemon",	"Workers",	"0",		set_workers },
	{ "Budget",	"Default",	"50%",		set_budget_default },
	{ "Budget",	"Max",		"infinity",	set_budget_max },
	{ "Pool",	"Max",		"50%",		set_pool_max },
	{ "Swap",	"Enable",	"yes",		set_swap_enable },
	{ "Swap",	"Directory",	"/var/tmp",	set_swap_dir },
	{ "Swap",	"Max",		"infinity",	set_swap_max },
	{ "Prefetch",	"Pages",	"64",		set_prefetch },
};

static const struct key *find_key(const char *section, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].section, section) && !strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

/* ---- one file ---- */

struct parse {
	struct config *config;
	FILE *file;
	const char *name;
	unsigned int line;
	bool failed;
};

struct shown {
	char text[LOG_VIS_SIZE(MAX_SHOWN)];
};

static const char *show(struct shown *s, const char *text)
{
	return log_vis(s->text, sizeof(s->text), text, MAX_SHOWN);
}

static void skip_line(FILE *file)
{
	int c;

	do
		c = getc(file);
	while (c != EOF && c != '\n');
}

/*
 * fgets() for inih. A line that it would cut in two, and so take the rest for another one, is an
 * error; blanks at the beginning, by which it knows a continuation, go.
 */
static char *read_line(char *buf, int size, void *ctx)
{
	struct parse *p = ctx;
	size_t n, blanks;

	if (!fgets(buf, size, p->file))
		return NULL;
	p->line++;
	n = strlen(buf);
	if ((!n || buf[n - 1] != '\n') && !feof(p->file)) {
		skip_line(p->file);
		log_errx("%s:%u: the line is longer than %d characters, or has a zero byte in it",
			 p->name, p->line, size - 2);
		p->failed = true;
		buf[0] = '\0';
		return buf;
	}
	blanks = strspn(buf, " \t");
	memmove(buf, buf + blanks, n - blanks + 1);
	return buf;
}

static int handle(void *ctx, const char *section, const char *name, const char *value)
{
	struct parse *p = ctx;
	const struct key *key = find_key(section, name);
	struct shown a, b;
	const char *why;
	bool is_default;

	if (!key) {
		log_warnx("%s:%u: %s= in section [%s] is not known and ignored", p->name, p->line,
			  show(&a, name), show(&b, section));
		return 1;
	}
	is_default = !value || !*value;
	why = key->set(p->config, is_default ? key->def : value, is_default);
	if (why) {
		log_errx("%s:%u: %s=%s %s", p->name, p->line, key->name,
			 show(&a, value ? value : ""), why);
		p->failed = true;
	}
	return 1;
}

int config_parse(struct config *c, const char *name, FILE *file)
{
	struct parse p = { .config = c, .file = file, .name = name };
	int line;

	line = ini_parse_stream(read_line, &p, handle, &p);
	if (line == -2)
		return -ENOMEM;
	if (ferror(file)) {
		log_errx("%s: cannot be read", name);
		return -EIO;
	}
	if (line > 0) {
		log_errx("%s:%d: neither a [Section] nor Key=Value", name, line);
		p.failed = true;
	}
	return p.failed ? -EINVAL : 0;
}

/* ---- all files ---- */

static int parse_path(struct config *c, const char *path, bool may_lack)
{
	FILE *file = fopen(path, "re");
	int r;

	if (!file) {
		r = -errno;
		if (r == -ENOENT && may_lack)
			return 0;
		log_err("%s: cannot be opened", path);
		return r;
	}
	r = config_parse(c, path, file);
	fclose(file);
	return r;
}

static int is_drop_in(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return d->d_name[0] != '.' && dot && !strcmp(dot, ".conf");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* All of them, so that one run shows all mistakes; the first error is the result. */
static int parse_drop_ins(struct config *c, const char *path)
{
	_cleanup_free_ char *dir = NULL;
	struct dirent **names;
	int n, r = 0;

	if (asprintf(&dir, "%s.d", path) < 0) {
		dir = NULL;
		return -ENOMEM;
	}
	n = scandir(dir, &names, is_drop_in, by_name);
	if (n < 0) {
		r = errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
		if (r)
			log_err("%s: cannot be read", dir);
		return r;
	}
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file = NULL;
		int one = -ENOMEM;

		if (asprintf(&file, "%s/%s", dir, names[i]->d_name) < 0)
			file = NULL;
		else
			one = parse_path(c, file, false);
		if (!r)
			r = one;
		free(names[i]);
	}
	free(names);
	return r;
}

/* What one key alone does not tell. */
static int check_whole(const struct config *c, const char *path)
{
	char a[SIZE_TEXT], b[SIZE_TEXT];

	if (c->max_budget && c->default_budget > c->max_budget) {
		log_errx("%s: Default= of [Budget], %s, is more than its Max=, %s", path,
			 size_human(a, c->default_budget), size_human(b, c->max_budget));
		return -EINVAL;
	}
	return 0;
}

int config_load(const char *path, struct config **ret)
{
	_cleanup_(config_freep) struct config *c = NULL;
	const char *main_file = path ? path : CONFIG_PATH;
	int r, drop_ins;

	r = config_new(&c);
	if (r)
		return r;
	r = parse_path(c, main_file, !path);
	drop_ins = parse_drop_ins(c, main_file);
	if (!r)
		r = drop_ins;
	if (!r)
		r = check_whole(c, main_file);
	if (r)
		return r;
	*ret = steal_ptr(&c);
	return 0;
}

int config_new(struct config **ret)
{
	_cleanup_(config_freep) struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].set(c, keys[i].def, true))
			return -ENOMEM;		/* nothing else can be wrong with a default */
	*ret = steal_ptr(&c);
	return 0;
}

struct config *config_free(struct config *c)
{
	if (!c)
		return NULL;
	free(c->socket);
	free(c->swap_dir);
	free(c);
	return NULL;
}

uint64_t config_pool_max(const struct config *c, uint64_t budget)
{
	uint64_t n = 0;

	if (budget && size_parse(c->pool_max, budget, &n))
		n = 0;		/* cannot be: it was parsed before */
	return min(n, budget);
}

/* ---- telling ---- */

static void print_size(FILE *out, const char *key, uint64_t n, uint64_t infinity)
{
	char text[SIZE_TEXT];

	if (n == infinity)
		fprintf(out, "%s=infinity\n", key);
	else
		fprintf(out, "%s=%s\n", key, size_bytes(text, n));
}

void config_print(const struct config *c, FILE *out)
{
	fprintf(out, "[Daemon]\nSocket=%s\n", c->socket);
	if (!c->has_allow_group)
		fprintf(out, "AllowGroup=*\n");
	else if (c->allow_gid == (gid_t)-1)
		fprintf(out, "# AllowGroup= names no group of this machine: only root is let in\n");
	else
		fprintf(out, "AllowGroup=%u\n", (unsigned int)c->allow_gid);
	fprintf(out, "Workers=%u\n\n[Budget]\n", c->workers);
	print_size(out, "Default", c->default_budget, UINT64_MAX);
	print_size(out, "Max", c->max_budget, 0);
	fprintf(out, "\n[Pool]\nMax=%s\n\n[Swap]\nEnable=%s\nDirectory=%s\n", c->pool_max,
		c->swap_enable ? "yes" : "no", c->swap_dir);
	print_size(out, "Max", c->swap_max, UINT64_MAX);
	fprintf(out, "\n[Prefetch]\nPages=%u\n", c->prefetch);
}

int config_check(const char *path, FILE *out)
{
	_cleanup_(config_freep) struct config *c = NULL;
	int r;

	r = config_load(path, &c);
	if (!r && out)
		config_print(c, out);
	return r;
}
