/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* config.h - what the administrator wants: faultline.conf(5), read and checked. See config.c. */
#ifndef FAULTLINE_DAEMON_CONFIG_H
#define FAULTLINE_DAEMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "common/cleanup.h"
#include "common/size.h"

#define CONFIG_PATH	SYSCONFDIR "/faultline/faultline.conf"

/* Constant once it is loaded. */
struct config {
	/* [Daemon] */
	char *socket;
	bool has_allow_group;		/* false: whoever can reach the socket may use it */
	gid_t allow_gid;		/* (gid_t)-1: the group does not exist, so nobody but root */
	uint32_t workers;		/* 0: one for each CPU */
	/* [Budget] */
	uint64_t default_budget;	/* bytes; 0: there is no default job */
	uint64_t max_budget;		/* bytes; 0: no limit */
	/* [Pool] */
	char pool_max[SIZE_TEXT];	/* as written; see config_pool_max() */
	/* [Swap] */
	bool swap_enable;
	char *swap_dir;
	uint64_t swap_max;		/* bytes a job; UINT64_MAX: what the file system has */
	/* [Prefetch] */
	uint32_t prefetch;		/* pages */
};

/*
 * Read path (NULL: CONFIG_PATH, which need not exist), then the files named NAME.conf in the
 * directory path.d, in the order of their names; later settings win. What is wrong is logged, with file and line: warnings for unknown
 * keys, errors for everything else. 0; -EINVAL: there were errors; -errno: a file cannot be read.
 */
int config_load(const char *path, struct config **ret);
struct config *config_free(struct config *c);	/* NULL is fine */
DEFINE_CLEANUP(struct config *, config_free);

/* For --check-config: load it, and say on out (NULL: nowhere) what would be in effect. */
int config_check(const char *path, FILE *out);
void config_print(const struct config *c, FILE *out);	/* in the format of the file */

/* Bytes that the pool of a job with that budget may take. */
uint64_t config_pool_max(const struct config *c, uint64_t budget);

/* Read one file's worth of text on top of what c says; for tests. As config_load(). */
int config_parse(struct config *c, const char *name, FILE *file);
/* A configuration of defaults. 0, -ENOMEM. */
int config_new(struct config **ret);

#endif
