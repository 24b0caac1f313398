/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uffd-abi.h - <linux/userfaultfd.h>, and what kernels after 6.1 added to it.
 *
 * The headers of Debian 12 end at feature bit 12; a binary built there must still use what a
 * newer kernel offers. These are the kernel's own numbers, defined only where the header has
 * none. That a number is defined says nothing: what a kernel can do is what UFFDIO_API and
 * UFFDIO_REGISTER answer.
 *
 * A structure cannot be probed for, but its ioctl can: the kernel's header has both or none.
 */
#ifndef FAULTLINE_COMMON_UFFD_ABI_H
#define FAULTLINE_COMMON_UFFD_ABI_H

#include <sys/ioctl.h>
#include <linux/userfaultfd.h>

#ifndef USERFAULTFD_IOC_NEW		/* Linux 6.1: /dev/userfaultfd */
#define USERFAULTFD_IOC		0xAA
#define USERFAULTFD_IOC_NEW	_IO(USERFAULTFD_IOC, 0x00)
#endif

/* Linux 6.4 */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED	(1 << 13)
#endif
#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP		((__u64)1 << 1)
#endif

/* Linux 6.6 */
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON		(1 << 14)
#endif
#ifndef UFFDIO_POISON
#define _UFFDIO_POISON			(0x08)
#define UFFDIO_POISON_MODE_DONTWAKE	((__u64)1 << 0)

struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;			/* bytes, or -errno */
};
#define UFFDIO_POISON		_IOWR(UFFDIO, _UFFDIO_POISON, struct uffdio_poison)
#endif

/* Linux 6.7 */
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC		(1 << 15)
#endif

/* Linux 6.8 */
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE		(1 << 16)
#endif
#ifndef UFFDIO_MOVE
#define _UFFDIO_MOVE			(0x05)
#define UFFDIO_MOVE_MODE_DONTWAKE	((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((__u64)1 << 1)

struct uffdio_move {
	__u64 dst, src, len;
	__u64 mode;
	__s64 move;			/* bytes, holes included; or -errno */
};
#define UFFDIO_MOVE		_IOWR(UFFDIO, _UFFDIO_MOVE, struct uffdio_move)
#endif

#endif
