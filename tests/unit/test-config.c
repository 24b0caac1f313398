/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-config.c - configuration files: what they may say, and what is said about the rest. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/align.h"
#include "daemon/config.h"
#include "daemon/log.h"
#include "tests/harness.h"

static char logged[16][LOG_LINE_SIZE];
static enum log_level levels[16];
static unsigned int n_logged;

static void remember(void *ctx, enum log_level level, const char *line)
{
	if (n_logged == ARRAY_SIZE(logged))
		return;
	levels[n_logged] = level;
	snprintf(logged[n_logged++], LOG_LINE_SIZE, "%s", line);
}

static int parse(struct config **ret, const char *text)
{
	_cleanup_(config_freep) struct config *c = NULL;
	FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int r;

	t_assert(file);
	n_logged = 0;
	log_set_sink(remember, NULL);
	t_ok(config_new(&c));
	r = config_parse(c, "test.conf", file);
	fclose(file);
	log_set_sink(NULL, NULL);
	if (!r && ret)
		*ret = steal_ptr(&c);
	return r;
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "we");
	t_assert(file);
	fputs(text, file);
	t_eq(fclose(file), 0);
}

static void defaults_are_those_of_the_manual(void)
{
	_cleanup_(config_freep) struct config *c = NULL;

	t_ok(config_new(&c));
	t_streq(c->socket, "/run/faultline/socket");
	t_assert(c->has_allow_group);
	t_eq(c->workers, 0);
	t_gt(c->default_budget, 0);
	t_eq(c->max_budget, 0);
	t_eq(config_pool_max(c, 1000), 500);
	t_assert(c->swap_enable);
	t_streq(c->swap_dir, "/var/tmp");
	t_assert(c->swap_max == UINT64_MAX);
	t_eq(c->prefetch, 64);
}

static void every_key_is_read(void)
{
	_cleanup_(config_freep) struct config *c = NULL;

	t_ok(parse(&c, "# a comment\n"
		   "[Daemon]\nSocket=/tmp/s\nAllowGroup=root\nWorkers = 3\n"
		   "[Budget]\nDefault=512M\nMax=1.5GiB\n"
		   "[Pool]\nMax=10%\n"
		   "[Swap]\nEnable=No\nDirectory=/srv/swap\nMax=4g\n"
		   "[Prefetch]\n  Pages=0"));
	t_eq(n_logged, 0);
	t_streq(c->socket, "/tmp/s");
	t_assert(c->has_allow_group);
	t_eq(c->allow_gid, 0);
	t_eq(c->workers, 3);
	t_eq(c->default_budget, 512 << 20);
	t_eq(c->max_budget, 1536 << 20);
	t_eq(config_pool_max(c, 1000), 100);
	t_assert(!c->swap_enable);
	t_streq(c->swap_dir, "/srv/swap");
	t_eq(c->swap_max, INT64_C(4) << 30);
	t_eq(c->prefetch, 0);
}

static void empty_value_is_the_default_again(void)
{
	_cleanup_(config_freep) struct config *c = NULL;

	t_ok(parse(&c, "[Prefetch]\nPages=1\nPages=\n[Swap]\nDirectory=/x\nDirectory=\n"));
	t_eq(c->prefetch, 64);
	t_streq(c->swap_dir, "/var/tmp");
}

static void pool_is_never_more_than_the_budget(void)
{
	_cleanup_(config_freep) struct config *c = NULL;

	t_ok(parse(&c, "[Pool]\nMax=1G\n"));
	t_eq(config_pool_max(c, 1 << 20), 1 << 20);
	t_eq(config_pool_max(c, UINT64_C(4) << 30), 1 << 30);
	t_eq(config_pool_max(c, 0), 0);
}

static void star_lets_everybody_in(void)
{
	_cleanup_(config_freep) struct config *c = NULL;

	t_ok(parse(&c, "[Daemon]\nAllowGroup=*\n"));
	t_assert(!c->has_allow_group);
}

static void unknown_key_is_a_warning_with_file_and_line(void)
{
	_cleanup_(config_freep) struct config *c = NULL;

	t_ok(parse(&c, "[Daemon]\n\nSoccet=/x\n[Nonsense]\nSocket=/x\n"));
	t_eq(n_logged, 2);
	t_eq(levels[0], LOG_LEVEL_WARN);
	t_streq(logged[0], "test.conf:3: Soccet= in section [Daemon] is not known and ignored");
	t_streq(logged[1], "test.conf:5: Socket= in section [Nonsense] is not known and ignored");
	t_streq(c->socket, "/run/faultline/socket");
}

static void every_bad_value_is_an_error_that_says_what_is_allowed(void)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{ "[Daemon]\nSocket=run", "test.conf:2: Socket=run is not an absolute path" },
		{ "[Daemon]\nAllowGroup=no such group", "nor *" },
		{ "[Daemon]\nWorkers=-1", "test.conf:2: Workers=-1 is not a number from 0" },
		{ "[Daemon]\nWorkers=2000", "to 1024" },
		{ "[Budget]\nDefault=lots", "test.conf:2: Default=lots is not a number; give a size" },
		{ "[Budget]\nDefault=101%", "0% to 100%" },
		{ "[Budget]\nDefault=infinity", "give a size" },
		{ "[Budget]\nMax=0", "leaves no job anything" },
		{ "[Budget]\nMax=5Q", "K, M, G" },
		{ "[Pool]\nMax=-5", "is negative" },
		{ "[Pool]\nMax=1.000000000000000000000000000000000000G", "too many digits" },
		{ "[Swap]\nEnable=maybe", "test.conf:2: Enable=maybe is not yes or no" },
		{ "[Swap]\nDirectory=swap", "is not an absolute path" },
		{ "[Swap]\nMax=50%", "percentage" },
		{ "[Prefetch]\nPages=513", "0 to 512" },
		{ "\n\nnot an assignment\n", "test.conf:3: neither a [Section] nor Key=Value" },
		{ "[Daemon\n", "test.conf:1: neither" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		t_fails(parse(NULL, bad[i].text), EINVAL);
		t_eq(n_logged, 1);
		t_eq(levels[0], LOG_LEVEL_ERROR);
		if (!strstr(logged[0], bad[i].message))
			t_fail("'%s' does not say '%s'", logged[0], bad[i].message);
	}
}

static void all_mistakes_are_told_in_one_run(void)
{
	t_fails(parse(NULL, "[Prefetch]\nPages=x\n[Swap]\nEnable=x\n"), EINVAL);
	t_eq(n_logged, 2);
}

static void overlong_line_is_an_error_and_not_two_lines(void)
{
	char text[1000];

	snprintf(text, sizeof(text), "[Prefetch]\nPages=1%0500d\n[Swap]\nEnable=yes\n", 0);
	t_fails(parse(NULL, text), EINVAL);
	t_eq(n_logged, 1);
	t_assert(strstr(logged[0], "test.conf:2: the line is longer than"));
}

static void untrusted_text_is_shown_harmless(void)
{
	t_fails(parse(NULL, "[Swap]\nEnable=\033[2Jboo\n"), EINVAL);
	t_assert(!strchr(logged[0], '\033'));
	t_assert(strstr(logged[0], "boo"));
}

static void indented_line_is_a_line_of_its_own(void)
{
	_cleanup_(config_freep) struct config *c = NULL;

	t_ok(parse(&c, "[Prefetch]\nPages=1\n  Pages=2\n"));
	t_eq(c->prefetch, 2);
}

static void drop_ins_win_in_the_order_of_their_names(void)
{
	_cleanup_(config_freep) struct config *c = NULL;
	char path[512], dir[516];

	snprintf(path, sizeof(path), "%s/faultline.conf", t_tmpdir());
	snprintf(dir, sizeof(dir), "%s.d", path);
	t_sys(mkdir(dir, 0700));
	write_file(t_tmpdir(), "faultline.conf", "[Prefetch]\nPages=1\n[Daemon]\nWorkers=1\n[Swap]\nMax=1\n");
	write_file(dir, "20-b.conf", "[Prefetch]\nPages=3\n");
	write_file(dir, "10-a.conf", "[Prefetch]\nPages=2\n[Daemon]\nWorkers=2\n");
	write_file(dir, ".hidden.conf", "[Prefetch]\nPages=x\n");
	write_file(dir, "notes.txt", "[Prefetch]\nPages=x\n");
	t_ok(config_load(path, &c));
	t_eq(c->prefetch, 3);
	t_eq(c->workers, 2);
	t_eq(c->swap_max, 1);
}

static void named_file_must_exist_and_drop_ins_are_read_all_the_same(void)
{
	char path[512], dir[516];

	snprintf(path, sizeof(path), "%s/faultline.conf", t_tmpdir());
	snprintf(dir, sizeof(dir), "%s.d", path);
	t_sys(mkdir(dir, 0700));
	write_file(dir, "10-a.conf", "[Prefetch]\nPages=x\n");
	log_set_sink(remember, NULL);
	t_fails(config_check(path, NULL), ENOENT);	/* it was named, so it must exist */
	t_eq(n_logged, 2);				/* and all mistakes are told */
	log_set_sink(NULL, NULL);
}

static void default_larger_than_the_limit_is_an_error(void)
{
	char path[512];

	write_file(t_tmpdir(), "a.conf", "[Budget]\nDefault=2M\nMax=1M\n");
	snprintf(path, sizeof(path), "%s/a.conf", t_tmpdir());
	log_set_sink(remember, NULL);
	t_fails(config_check(path, NULL), EINVAL);
	log_set_sink(NULL, NULL);
	t_assert(strstr(logged[0], "Default= of [Budget], 2M, is more than its Max=, 1M"));
}

static void what_is_printed_can_be_read_again(void)
{
	_cleanup_(config_freep) struct config *a = NULL, *b = NULL;
	char text[1024] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	t_ok(parse(&a, "[Daemon]\nWorkers=7\nAllowGroup=12\n[Budget]\nDefault=1G\nMax=2G\n[Pool]\nMax=33%\n"
		   "[Swap]\nEnable=no\nMax=77\n[Prefetch]\nPages=5\n"));
	config_print(a, out);
	fclose(out);
	t_ok(parse(&b, text));
	t_eq(n_logged, 0);
	t_eq(b->workers, 7);
	t_eq(b->allow_gid, 12);
	t_eq(b->default_budget, 1 << 30);
	t_eq(b->max_budget, INT64_C(2) << 30);
	t_streq(b->pool_max, "33%");
	t_assert(!b->swap_enable);
	t_eq(b->swap_max, 77);
	t_eq(b->prefetch, 5);
}

static const struct t_test tests[] = {
	T(defaults_are_those_of_the_manual),
	T(every_key_is_read),
	T(empty_value_is_the_default_again),
	T(pool_is_never_more_than_the_budget),
	T(star_lets_everybody_in),
	T(unknown_key_is_a_warning_with_file_and_line),
	T(every_bad_value_is_an_error_that_says_what_is_allowed),
	T(all_mistakes_are_told_in_one_run),
	T(overlong_line_is_an_error_and_not_two_lines),
	T(untrusted_text_is_shown_harmless),
	T(indented_line_is_a_line_of_its_own),
	T(drop_ins_win_in_the_order_of_their_names),
	T(named_file_must_exist_and_drop_ins_are_read_all_the_same),
	T(default_larger_than_the_limit_is_an_error),
	T(what_is_printed_can_be_read_again),
	{0}
};

static const struct t_suite suites[] = { { "config", tests }, {0} };

HARNESS_MAIN(suites)
