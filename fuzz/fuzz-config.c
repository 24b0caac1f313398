/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fuzz-config.c - no file crashes the reader of configurations; what it accepts is within its
 * bounds, says something readable about the rest, and can be written down and read again.
 */
#include <config.h>

#include <string.h>

#include "daemon/config.h"
#include "daemon/log.h"
#include "fuzz/fuzz.h"

static void check_line(void *ctx, enum log_level level, const char *line)
{
	must(strlen(line) < LOG_LINE_SIZE);
	for (const char *p = line; *p; p++)
		must((unsigned char)*p >= ' ' && *p != 0x7f);
}

static int parse(struct config *c, const void *text, size_t size)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, size, "r");
	int r;

	must(file);
	r = config_parse(c, "fuzz.conf", file);
	fclose(file);
	must(r == 0 || r == -EINVAL);
	return r;
}

static void check_config(const struct config *c)
{
	must(c->socket[0] == '/' && strlen(c->socket) < 108);
	must(c->swap_dir[0] == '/');
	must(c->workers <= 1024);
	must(c->prefetch <= 512);
	must(config_pool_max(c, 1 << 20) <= 1 << 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(config_freep) struct config *a = NULL, *b = NULL;
	static char text[8192];
	FILE *out;

	if (!size || size > 4096)
		return 0;
	log_set_sink(check_line, NULL);
	must(!config_new(&a));
	must(!config_new(&b));
	if (!parse(a, data, size)) {
		out = fmemopen(text, sizeof(text), "w");
		must(out);
		config_print(a, out);
		must(!fclose(out));
		must(!parse(b, text, strlen(text)));
		must(b->default_budget == a->default_budget && b->max_budget == a->max_budget);
		must(b->swap_max == a->swap_max && b->workers == a->workers);
		must(!strcmp(b->pool_max, a->pool_max));
	}
	check_config(a);
	log_set_sink(NULL, NULL);
	return 0;
}
