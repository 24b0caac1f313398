/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memfd.c - memory of a fixed size that is handed to a client.
 *
 * Whoever maps such a file must be able to rely on its size: it is sealed against shrinking
 * (which would turn loads into SIGBUS) and growing, and the set of seals is closed. Writing
 * is not sealed: a write seal also forbids punching holes, by which pages are given back.
 *
 * The mode is 0600: a memfd starts with 0777, and anybody to whom a descriptor for reading
 * was given could then open it for writing through /proc/self/fd.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/memfd.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U		/* Linux 6.3 */
#endif

static int create(const char *name)
{
	const unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)		/* an older kernel, or a bad name: ask again */
		fd = memfd_create(name, flags);
	return fd < 0 ? -errno : fd;
}

int memfd_sealed(const char *name, uint64_t size)
{
	_cleanup_close_ int fd = -1;

	if (!size || size > INT64_MAX)
		return -EINVAL;

	fd = create(name);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)size) < 0)
		return -errno;
	if (fchmod(fd, 0600) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;

	return steal_fd(&fd);
}
