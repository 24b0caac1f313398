/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * procmap-abi.h - two ioctls of /proc/PID files that are newer than Debian 12's <linux/fs.h>:
 * PAGEMAP_SCAN (Linux 6.7, on /proc/PID/pagemap) and PROCMAP_QUERY (6.11, on /proc/PID/maps).
 *
 * Numbers and names are the kernel's. Its header has all of a group or nothing of it, so the
 * ioctl stands for the rest. An older kernel answers with ENOTTY.
 */
#ifndef FAULTLINE_COMMON_PROCMAP_ABI_H
#define FAULTLINE_COMMON_PROCMAP_ABI_H

#include <sys/ioctl.h>
#include <linux/fs.h>
#include <linux/types.h>

#ifndef PAGEMAP_SCAN
/* What a page is; bits of the masks and of the answer. */
#define PAGE_IS_WPALLOWED	(1 << 0)
#define PAGE_IS_WRITTEN		(1 << 1)
#define PAGE_IS_FILE		(1 << 2)
#define PAGE_IS_PRESENT		(1 << 3)
#define PAGE_IS_SWAPPED		(1 << 4)
#define PAGE_IS_PFNZERO		(1 << 5)
#define PAGE_IS_HUGE		(1 << 6)

struct page_region {
	__u64 start, end;
	__u64 categories;
};

#define PM_SCAN_WP_MATCHING	(1 << 0)
#define PM_SCAN_CHECK_WPASYNC	(1 << 1)

struct pm_scan_arg {
	__u64 size;			/* of this structure */
	__u64 flags;			/* PM_SCAN_* */
	__u64 start, end;
	__u64 walk_end;			/* out: where the walk stopped */
	__u64 vec;			/* of struct page_region */
	__u64 vec_len;			/* elements */
	__u64 max_pages;		/* 0: no limit */
	__u64 category_inverted;
	__u64 category_mask;		/* all of these */
	__u64 category_anyof_mask;	/* at least one of these */
	__u64 return_mask;
};
#define PAGEMAP_SCAN	_IOWR('f', 16, struct pm_scan_arg)	/* number of regions, or -1 */
#endif

#ifndef PROCMAP_QUERY
enum procmap_query_flags {
	PROCMAP_QUERY_VMA_READABLE	= 0x01,	/* in the query: the area must have this right */
	PROCMAP_QUERY_VMA_WRITABLE	= 0x02,
	PROCMAP_QUERY_VMA_EXECUTABLE	= 0x04,
	PROCMAP_QUERY_VMA_SHARED	= 0x08,
	PROCMAP_QUERY_COVERING_OR_NEXT_VMA = 0x10,	/* if none covers addr */
	PROCMAP_QUERY_FILE_BACKED_VMA	= 0x20,	/* only areas with a file */
};

struct procmap_query {
	__u64 size;			/* of this structure */
	__u64 query_flags;
	__u64 query_addr;
	__u64 vma_start, vma_end;	/* out, from here on */
	__u64 vma_flags;		/* the four rights */
	__u64 vma_page_size;
	__u64 vma_offset;
	__u64 inode;			/* 0: no file */
	__u32 dev_major, dev_minor;
	__u32 vma_name_size;		/* in: room; out: bytes with the NUL; 0: not wanted */
	__u32 build_id_size;
	__u64 vma_name_addr;
	__u64 build_id_addr;
};
#define PROCMAP_QUERY	_IOWR('f', 17, struct procmap_query)	/* ENOENT: no such area */
#endif

#endif
