/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-kernel-abi.c - the numbers of uffd-abi.h and procmap-abi.h are the kernel's, and a sealed
 * memfd is what it says. What this kernel or this user may not do is skipped.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/align.h"
#include "common/cleanup.h"
#include "common/memfd.h"
#include "common/procmap-abi.h"
#include "common/uffd-abi.h"
#include "tests/harness.h"

/* A userfaultfd with these features, made through the device if there is one. */
static int new_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	_cleanup_close_ int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd;

	fd = dev >= 0 ? ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK)
		      : (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		t_skip("no userfaultfd for this user: %s", strerror(errno));
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		t_skip("this kernel has no feature %#llx", (unsigned long long)features);
	}
	return fd;
}

static uint8_t *map_pages(unsigned int n)
{
	uint8_t *p = mmap(NULL, n * FL_PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	t_assert(p != MAP_FAILED);
	return p;
}

/* What can be done to the range, as a set of ioctl numbers. */
static uint64_t registered(int uffd, void *p, unsigned int n)
{
	struct uffdio_register r = {
		.range = { .start = (uintptr_t)p, .len = n * FL_PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	t_sys(ioctl(uffd, UFFDIO_REGISTER, &r));
	return r.ioctls;
}

static void ioctl_numbers_are_those_of_the_kernel(void)
{
	t_eq(UFFDIO_MOVE, 0xc028aa05);
	t_eq(UFFDIO_POISON, 0xc020aa08);
	t_eq(USERFAULTFD_IOC_NEW, 0xaa00);
	t_eq(PAGEMAP_SCAN, 0xc0606610);
	t_eq(PROCMAP_QUERY, 0xc0686611);
}

static void move_takes_pages_and_skips_holes(void)
{
	_cleanup_close_ int uffd = new_uffd(UFFD_FEATURE_MOVE);
	uint8_t *src = map_pages(4), *dst = map_pages(4);
	struct uffdio_move m = {
		.dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = 4 * FL_PAGE_SIZE,
	};

	t_assert(registered(uffd, dst, 4) & 1u << _UFFDIO_MOVE);
	memset(src, 'a', FL_PAGE_SIZE);
	memset(src + 2 * FL_PAGE_SIZE, 'c', FL_PAGE_SIZE);

	t_eq(ioctl(uffd, UFFDIO_MOVE, &m), -1);		/* page 1 is a hole */
	t_eq(m.move, FL_PAGE_SIZE);
	m = (struct uffdio_move){
		.dst = m.dst + FL_PAGE_SIZE, .src = m.src + FL_PAGE_SIZE,
		.len = 3 * FL_PAGE_SIZE, .mode = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES,
	};
	t_sys(ioctl(uffd, UFFDIO_MOVE, &m));
	t_eq(m.move, 3 * FL_PAGE_SIZE);
	t_eq(dst[0], 'a');
	t_eq(dst[2 * FL_PAGE_SIZE], 'c');
	t_eq(src[0], 0);
	munmap(src, 4 * FL_PAGE_SIZE);
	munmap(dst, 4 * FL_PAGE_SIZE);
}

static sigjmp_buf jump;

static void on_sigbus(int signo)
{
	siglongjmp(jump, 1);
}

static void poison_is_sigbus_for_the_toucher(void)
{
	_cleanup_close_ int uffd = new_uffd(UFFD_FEATURE_POISON);
	struct sigaction sa = { .sa_handler = on_sigbus };
	volatile uint8_t *p = map_pages(1);
	struct uffdio_poison poison = {
		.range = { .start = (uintptr_t)p, .len = FL_PAGE_SIZE },
	};

	t_assert(registered(uffd, (void *)(uintptr_t)p, 1) & 1u << _UFFDIO_POISON);
	t_sys(ioctl(uffd, UFFDIO_POISON, &poison));
	t_eq(poison.updated, FL_PAGE_SIZE);
	sigaction(SIGBUS, &sa, NULL);
	if (!sigsetjmp(jump, 1)) {
		(void)p[0];
		t_fail("a poisoned page could be read");
	}
	munmap((void *)(uintptr_t)p, FL_PAGE_SIZE);
}

/* Each by itself, so that a wrong bit cannot hide behind a right one. */
static void feature_bits_are_known(void)
{
	static const uint64_t bits[] = {
		UFFD_FEATURE_WP_UNPOPULATED, UFFD_FEATURE_POISON, UFFD_FEATURE_WP_ASYNC,
		UFFD_FEATURE_MOVE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		t_eq(bits[i], 1 << (13 + i));
		close(new_uffd(bits[i]));
	}
}

/* A write-protected page that was never filled raises a fault: only with WP_UNPOPULATED, which
 * also shows that the bit is this one. */
static void wp_async_resolves_by_itself(void)
{
	_cleanup_close_ int uffd = new_uffd(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED);
	_cleanup_close_ int pagemap = t_sys(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	uint8_t *p = map_pages(4);
	struct uffdio_register r = {
		.range = { .start = (uintptr_t)p, .len = 4 * FL_PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = { .range = r.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct page_region region[4];
	struct pm_scan_arg scan = {
		.size = sizeof(scan), .start = r.range.start, .end = r.range.start + r.range.len,
		.vec = (uintptr_t)region, .vec_len = ARRAY_SIZE(region),
		.category_mask = PAGE_IS_WRITTEN, .return_mask = PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
	};

	t_sys(ioctl(uffd, UFFDIO_REGISTER, &r));
	t_sys(ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
	p[2 * FL_PAGE_SIZE] = 1;		/* nobody reads uffd: it would hang, were it not async */
	t_eq(t_sys(ioctl(pagemap, PAGEMAP_SCAN, &scan)), 1);
	t_eq(region[0].start, (uintptr_t)p + 2 * FL_PAGE_SIZE);
	t_eq(region[0].end, (uintptr_t)p + 3 * FL_PAGE_SIZE);
	t_eq(region[0].categories, PAGE_IS_WRITTEN | PAGE_IS_PRESENT);
	munmap(p, 4 * FL_PAGE_SIZE);
}

static void pagemap_scan_finds_what_is_present(void)
{
	_cleanup_close_ int pagemap = t_sys(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
	uint8_t *p = map_pages(8);
	struct page_region region[4];
	struct pm_scan_arg scan = {
		.size = sizeof(scan), .start = (uintptr_t)p, .end = (uintptr_t)p + 8 * FL_PAGE_SIZE,
		.vec = (uintptr_t)region, .vec_len = ARRAY_SIZE(region),
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_PFNZERO | PAGE_IS_FILE,
	};
	int n;

	madvise(p, 8 * FL_PAGE_SIZE, MADV_NOHUGEPAGE);
	p[FL_PAGE_SIZE] = 1;
	p[2 * FL_PAGE_SIZE] = 1;
	t_eq(*(volatile uint8_t *)&p[5 * FL_PAGE_SIZE], 0);		/* the zero page */
	n = ioctl(pagemap, PAGEMAP_SCAN, &scan);
	if (n < 0 && errno == ENOTTY)
		t_skip("PAGEMAP_SCAN needs Linux 6.7");
	t_eq(t_sys(n), 2);
	t_eq(region[0].start, (uintptr_t)p + FL_PAGE_SIZE);
	t_eq(region[0].end, (uintptr_t)p + 3 * FL_PAGE_SIZE);
	t_eq(region[0].categories, PAGE_IS_PRESENT);
	t_eq(region[1].start, (uintptr_t)p + 5 * FL_PAGE_SIZE);
	t_eq(region[1].categories, PAGE_IS_PRESENT | PAGE_IS_PFNZERO);
	t_eq(scan.walk_end, scan.end);
	munmap(p, 8 * FL_PAGE_SIZE);
}

static void procmap_query_finds_an_area(void)
{
	_cleanup_close_ int maps = t_sys(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
	uint8_t *p = map_pages(8);
	char name[64] = "";
	struct procmap_query q = {
		.size = sizeof(q), .query_addr = (uintptr_t)p + FL_PAGE_SIZE,
		.vma_name_size = sizeof(name), .vma_name_addr = (uintptr_t)name,
	};

	/* Guards, so that the area has the bounds that we gave it. */
	t_sys(mprotect(p, FL_PAGE_SIZE, PROT_NONE));
	t_sys(mprotect(p + 7 * FL_PAGE_SIZE, FL_PAGE_SIZE, PROT_NONE));
	if (ioctl(maps, PROCMAP_QUERY, &q)) {
		t_eq(errno, ENOTTY);
		t_skip("PROCMAP_QUERY needs Linux 6.11");
	}
	t_eq(q.vma_start, (uintptr_t)p + FL_PAGE_SIZE);
	t_eq(q.vma_end, (uintptr_t)p + 7 * FL_PAGE_SIZE);
	t_eq(q.vma_flags, PROCMAP_QUERY_VMA_READABLE | PROCMAP_QUERY_VMA_WRITABLE);
	t_eq(q.vma_page_size, FL_PAGE_SIZE);
	t_eq(q.inode, 0);

	q = (struct procmap_query){
		.size = sizeof(q), .query_addr = (uintptr_t)p + 7 * FL_PAGE_SIZE,
		.query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA | PROCMAP_QUERY_VMA_EXECUTABLE |
			       PROCMAP_QUERY_FILE_BACKED_VMA,
	};
	t_sys(ioctl(maps, PROCMAP_QUERY, &q));		/* some library above */
	t_assert(q.vma_flags & PROCMAP_QUERY_VMA_EXECUTABLE);
	t_assert(q.inode);

	q = (struct procmap_query){ .size = sizeof(q), .query_addr = FL_PAGE_SIZE };
	t_eq(ioctl(maps, PROCMAP_QUERY, &q), -1);
	t_eq(errno, ENOENT);
	munmap(p, 8 * FL_PAGE_SIZE);
}

/* ---- memfd ---- */

static void sealed_memory_keeps_its_size_and_can_be_punched(void)
{
	_cleanup_close_ int fd = t_ok(memfd_sealed("faultline-test", 3 * FL_PAGE_SIZE));
	struct stat st;

	t_sys(fstat(fd, &st));
	t_eq(st.st_size, 3 * FL_PAGE_SIZE);
	t_eq(st.st_mode & 0777, 0600);
	t_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	t_eq(ftruncate(fd, (off_t)FL_PAGE_SIZE), -1);
	t_eq(errno, EPERM);
	t_eq(ftruncate(fd, 1 << 20), -1);
	t_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);		/* no more seals */
	t_eq(errno, EPERM);
	t_eq(t_sys(pwrite(fd, "x", 1, (off_t)FL_PAGE_SIZE)), 1);
	t_sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 3 * (off_t)FL_PAGE_SIZE));
	t_sys(fstat(fd, &st));
	t_eq(st.st_blocks, 0);
}

static void memory_of_no_or_absurd_size_is_refused(void)
{
	t_fails(memfd_sealed("faultline-test", 0), EINVAL);
	t_fails(memfd_sealed("faultline-test", UINT64_MAX), EINVAL);
}

static const struct t_test abi_tests[] = {
	T(ioctl_numbers_are_those_of_the_kernel),
	T(move_takes_pages_and_skips_holes),
	T(poison_is_sigbus_for_the_toucher),
	T(feature_bits_are_known),
	T(wp_async_resolves_by_itself),
	T(pagemap_scan_finds_what_is_present),
	T(procmap_query_finds_an_area),
	{0}
};

static const struct t_test memfd_tests[] = {
	T(sealed_memory_keeps_its_size_and_can_be_punched),
	T(memory_of_no_or_absurd_size_is_refused),
	{0}
};

static const struct t_suite suites[] = {
	{ "kernel-abi", abi_tests },
	{ "memfd", memfd_tests },
	{0}
};

HARNESS_MAIN(suites)
