/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uffd.c - the only place of the daemon that issues userfaultfd ioctls.
 *
 * Owns nothing, decides nothing. Each call may block on the client's mmap lock: only that client's
 * home worker makes them.
 *
 * The ioctls that install pages report twice: errno, and a field of their structure (copy, zeropage,
 * updated, mapped). The field is bytes done when that is more than 0 (then errno is EAGAIN unless it
 * is everything, whatever stopped it), else it is -errno. It is not written at all when the call fails
 * early (EINVAL of the arguments, ESRCH, and EAGAIN on kernels before 6.15): it goes in as 0, and only
 * a value above 0 is believed; for the rest errno is the truth.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "daemon/uffd.h"

#define DEVICE		"/dev/userfaultfd"
#define LINK		"anon_inode:[userfaultfd]"

int uffd_open_device(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int uffd_new(int device)
{
	int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* A stranger's descriptor: no ioctl is issued on it before this said yes. */
bool uffd_is(int fd)
{
	char path[64], link[sizeof(LINK)];
	ssize_t n;

	if (fd < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link));
	return n == (ssize_t)strlen(LINK) && !memcmp(link, LINK, strlen(LINK));
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int uffd_api(int fd, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;
	/* A blocking one polls as an error. */
	return set_nonblocking(fd);
}

int uffd_probe(int device, uint64_t *ret)
{
	struct uffdio_api api = { .api = UFFD_API };
	_cleanup_close_ int fd = -1;

	fd = uffd_new(device);
	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;

	*ret = api.features;
	return 0;
}

/*
 * The file's flags belong to the client as much as to us: it can make the file block, and a read(2) that
 * finds no event would then hold the worker, and every other session of it. A read that may not wait
 * is told so by its own flag.
 */
ssize_t uffd_read(int fd, struct uffd_msg *msg, unsigned int n)
{
	const struct iovec iov = { .iov_base = msg, .iov_len = n * sizeof(*msg) };
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t r;

	r = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	if (r >= 0 || errno != EOPNOTSUPP)
		return r < 0 ? -errno : r;

	/* Linux before 6.10: a blocking userfaultfd polls as an error. */
	if (poll(&pfd, 1, 0) < 0)
		return -errno;
	if (pfd.revents & POLLERR)
		return -EPERM;
	if (!(pfd.revents & POLLIN))
		return -EAGAIN;
	r = readv(fd, &iov, 1);
	return r < 0 ? -errno : r;
}

/* What r and errno of an ioctl, and its field, say. */
static int pages_done(int r, int64_t field, unsigned int n, unsigned int *ret_done)
{
	if (r == 0) {
		*ret_done = n;
		return 0;
	}

	*ret_done = field > 0 ? (unsigned int)((uint64_t)field >> FL_PAGE_SHIFT) : 0;
	return *ret_done ? -EAGAIN : -errno;
}

int uffd_copy(int fd, uint64_t va, const void *src, unsigned int n, bool wake, unsigned int *ret_done)
{
	struct uffdio_copy copy = {
		.dst = va,
		.src = (uintptr_t)src,
		.len = (uint64_t)n << FL_PAGE_SHIFT,
		.mode = wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE,
	};
	int r = ioctl(fd, UFFDIO_COPY, &copy);

	return pages_done(r, copy.copy, n, ret_done);
}

int uffd_zero(int fd, uint64_t va, unsigned int n, bool wake, unsigned int *ret_done)
{
	struct uffdio_zeropage zero = {
		.range = { .start = va, .len = (uint64_t)n << FL_PAGE_SHIFT },
		.mode = wake ? 0 : UFFDIO_ZEROPAGE_MODE_DONTWAKE,
	};
	int r = ioctl(fd, UFFDIO_ZEROPAGE, &zero);

	return pages_done(r, zero.zeropage, n, ret_done);
}

int uffd_wake(int fd, uint64_t va, uint64_t len)
{
	struct uffdio_range range = { .start = va, .len = len };

	return ioctl(fd, UFFDIO_WAKE, &range) < 0 ? -errno : 0;
}

int uffd_poison(int fd, uint64_t va, unsigned int n)
{
	while (n) {
		struct uffdio_poison poison = {
			.range = { .start = va, .len = (uint64_t)n << FL_PAGE_SHIFT },
		};
		unsigned int done = 0;
		int r = ioctl(fd, UFFDIO_POISON, &poison);

		r = pages_done(r, poison.updated, n, &done);
		if (r < 0 && !done)
			return r;
		va += (uint64_t)done << FL_PAGE_SHIFT;
		n -= done;
	}
	return 0;
}

int uffd_look(int fd, uint64_t va)
{
	struct uffdio_continue look = { .range = { .start = va, .len = FL_PAGE_SIZE } };

	return ioctl(fd, UFFDIO_CONTINUE, &look) < 0 ? -errno : 0;
}
