/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store-internal.h - what store-swap.c asks of the system, for its tests to answer otherwise.
 *
 * Only store-swap.c and tests include this.
 */
#ifndef FAULTLINE_DAEMON_STORE_INTERNAL_H
#define FAULTLINE_DAEMON_STORE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct loop_op;

struct swap_hooks {
	/* loop_read, loop_write */
	int (*read)(struct loop *l, struct loop_op *op, int fd, void *buf, size_t len, uint64_t offset);
	int (*write)(struct loop *l, struct loop_op *op, int fd, const void *buf, size_t len,
		     uint64_t offset);
	/* What came of it, and what the swap is to believe. */
	int (*result)(bool write, uint64_t offset, size_t len, int result);
	int (*punch)(int fd, uint64_t offset, uint64_t len);	/* 0, -errno */
	/* Bytes that an unprivileged user may still fill, and of the whole file system. */
	int (*space)(int fd, uint64_t *ret_available, uint64_t *ret_total);
	bool (*direct_works)(int fd);		/* O_DIRECT is set: does the file system mean it? */
	int (*tmpfile)(const char *dir);	/* a descriptor, -errno */
	uint64_t (*now_ns)(void);
};

extern const struct swap_hooks swap_hooks_real;
/* Before there is any swap; NULL: the real ones. */
void swap_set_hooks(const struct swap_hooks *h);

#endif
