/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * use-all.h - everything that faultline.h has, for the programs that only want to be compiled.
 * Included twice: the header must not mind.
 */
#include "include/faultline.h"
#include "include/faultline.h"

/* The types of all functions, spelled out: changing one breaks every application. */
struct use_all {
	int (*f_new)(struct faultline **);
	void (*f_free)(struct faultline *);
	int (*f_set_socket)(struct faultline *, const char *);
	int (*f_set_job)(struct faultline *, const char *);
	int (*f_connect)(struct faultline *);
	const char *(*f_error)(const struct faultline *);
	const char *(*f_version)(void);
	int (*f_adopt)(struct faultline *, void *, size_t, uint64_t, struct faultline_region **);
	int (*f_release)(struct faultline_region *);
	int (*f_advise)(struct faultline_region *, size_t, size_t, int);
	int (*f_region_stat)(struct faultline_region *, struct faultline_region_stat *);
	int (*f_reserve)(struct faultline_region *);
	int (*f_try_reserve)(struct faultline_region *);
	int (*f_reserve_timed)(struct faultline_region *, uint64_t);
	int (*f_unreserve)(struct faultline_region *);
	int (*f_wait_unreserved)(struct faultline_region *, uint64_t);
	int (*f_stat)(struct faultline *, struct faultline_stat *);
};

static const struct use_all use_all = {
	faultline_new,
	faultline_free,
	faultline_set_socket,
	faultline_set_job,
	faultline_connect,
	faultline_error,
	faultline_version,
	faultline_region_adopt,
	faultline_region_release,
	faultline_region_advise,
	faultline_region_stat,
	faultline_region_reserve,
	faultline_region_try_reserve,
	faultline_region_reserve_timed,
	faultline_region_unreserve,
	faultline_region_wait_unreserved,
	faultline_stat,
};

static const uint64_t use_all_numbers[] = {
	FAULTLINE_MAJOR,
	FAULTLINE_MINOR,
	FAULTLINE_ADVICE_NORMAL,
	FAULTLINE_ADVICE_SEQUENTIAL,
	FAULTLINE_ADVICE_RANDOM,
	FAULTLINE_ADVICE_WILLNEED,
	FAULTLINE_ADVICE_COLD,
	FAULTLINE_ADVICE_EVICT,
	FAULTLINE_FOREVER,
	FAULTLINE_JOB_IDLE,
	FAULTLINE_JOB_ACTIVE,
	FAULTLINE_JOB_DEGRADED,
};

/* Sizes that programs were compiled with: they only ever grow, and then here too. */
typedef char use_all_region_stat_size[sizeof(struct faultline_region_stat) == 48 ? 1 : -1];
typedef char use_all_stat_size[sizeof(struct faultline_stat) == 216 ? 1 : -1];
